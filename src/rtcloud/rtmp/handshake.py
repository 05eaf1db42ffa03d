"""RTMP's handshake, the plain one, from both sides. Pure.

Peers that begin with the digests of the old player ("complex handshake") are answered plainly, which they accept when
they publish; what they echo is not compared.
"""

from rtcloud.rtmp.errors import RtmpError

VERSION = 3
SIZE = 1536


def greeting(noise: bytes, time_ms: int = 0) -> bytes:
    """C0 and C1, or S0 and S1. ``noise`` are 1528 random bytes."""
    assert len(noise) == SIZE - 8
    return bytes([VERSION]) + (time_ms & 0xFFFFFFFF).to_bytes(4, "big") + bytes(4) + noise


class Handshake:
    """What the peer sends, up to the first chunk. ``receive`` gives None until it is complete, then what came after it;
    ``take_answer`` gives the echo as soon as the peer's greeting is there (a server sends its own greeting before it).
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._answered = False
        self._answer = b""

    def receive(self, data: bytes) -> bytes | None:
        self._buffer += data
        if self._buffer and self._buffer[0] != VERSION:
            raise RtmpError(f"RTMP version {self._buffer[0]}")
        if len(self._buffer) > SIZE and not self._answered:
            self._answered = True
            self._answer = bytes(self._buffer[1 : 1 + SIZE])
        if len(self._buffer) < 1 + 2 * SIZE:
            return None
        return bytes(self._buffer[1 + 2 * SIZE :])

    def take_answer(self) -> bytes:
        answer, self._answer = self._answer, b""
        return answer
