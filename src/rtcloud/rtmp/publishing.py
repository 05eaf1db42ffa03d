"""The publisher's side of a connection, without a socket: ``receive`` what came, send what ``take_output`` gives.

``begin`` → (handshake, connect, createStream, publish) → ``Published``, or ``Refused`` with the server's code. After
``Published`` messages may be sent; ``finish`` takes the stream back. Nothing is sent before it was asked for, so the
caller decides how much may lie in ``take_output``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rtcloud.rtmp import chunks
from rtcloud.rtmp.address import Address
from rtcloud.rtmp.amf import Value, encode
from rtcloud.rtmp.chunks import Message
from rtcloud.rtmp.connecting import Client, Refused, flash_version
from rtcloud.rtmp.conversation import STREAM

_AUDIO, _VIDEO = 5, 6  # our chunk streams


@dataclass(frozen=True, slots=True)
class Published:
    """The server takes the stream."""


Event = Published | Refused


class Publisher(Client[Published]):
    vital = (*Client.vital, "publish")

    def __init__(self, address: Address, *, noise: bytes, codecs: Sequence[str] = ()) -> None:
        super().__init__(address, noise=noise, codecs=codecs, largest_message=1 << 20)
        self._published = False

    @property
    def published(self) -> bool:
        return self._published and not self._refused

    def send(self, kind: int, time_ms: int, data: bytes) -> None:
        """A message of audio, video or data (metadata in the form of an FLV script tag)."""
        assert self._published
        if kind == chunks.DATA:
            data = encode("@setDataFrame") + data
        name = {chunks.AUDIO: _AUDIO, chunks.VIDEO: _VIDEO}.get(kind, STREAM)
        self._talk.write(Message(kind, data, time_ms, self._stream), name)

    def finish(self) -> None:
        """Say that the stream ends; the connection may be closed once that is sent."""
        if self._published and not self._refused:
            self._command("FCUnpublish", None, self._address.stream)
            self._command("deleteStream", None, float(self._stream))
        self._published = False

    def _about(self) -> dict[str, Value]:
        return {"type": "nonprivate", "flashVer": flash_version("FMLE/3.0")}

    def _create(self) -> None:
        self._command("releaseStream", None, self._address.stream)
        self._command("FCPublish", None, self._address.stream)
        super()._create()

    def _open(self) -> None:
        self._command("publish", None, self._address.stream, "live", stream=self._stream)

    def _status(self, code: Value, level: Value) -> list[Published | Refused]:
        if code == "NetStream.Publish.Start" and self._stream:
            if not self._published:
                self._published = True
                return [Published()]
        elif level == "error":
            return self._refuse(code)
        return []
