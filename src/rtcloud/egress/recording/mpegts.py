"""An MPEG-TS multiplexer that puts every access unit into whole packets at once.

FFmpeg's own gathers audio and hides its flushing; a recorder that may be killed at any moment needs each frame on disk
as soon as it exists, tables at the start of each segment, and continuity counters that run on across segments.
"""

from collections.abc import Iterable

PACKET = 188
#: what looks at a file's beginning to tell what it is (FFmpeg does) does not know a shorter one for what it is
LEAST_PACKETS = 16
PMT_PID, VIDEO_PID, AUDIO_PID = 0x1000, 0x100, 0x101
#: presentation times start here, so that the clock reference, which runs behind, is never negative
BASE_TIME = 90_000
#: how far the clock reference runs behind: what a player may buffer
CLOCK_LAG = 63_000
#: the clock reference of a stream without video is sent at least this often
CLOCK_EVERY = 3_600
TIME_MASK = (1 << 33) - 1

_VIDEO_STREAM, _AUDIO_STREAM = 0xE0, 0xC0
_STREAM_TYPES, _AAC = {"h264": 0x1B, "h265": 0x24}, 0x0F
_DELIMITERS = {"h264": b"\0\0\0\1\x09\xf0", "h265": b"\0\0\0\1\x46\x01\x50"}
_EMPTY = b"\x47\x1f\xff\x10".ljust(PACKET, b"\xff")
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)


class TsMuxer:
    """``time`` of each unit counts 1/90000 s from the beginning of the whole stream."""

    def __init__(self, *, video: bool, sample_rate: int = 0, channels: int = 0, codec: str = "h264") -> None:
        self._video = video
        self._delimiter = _DELIMITERS[codec]
        self._audio = sample_rate > 0
        self._adts_head = _AAC_RATES.index(sample_rate) if self._audio else 0
        self._channels = channels
        self._counters = {0: 0, PMT_PID: 0, VIDEO_PID: 0, AUDIO_PID: 0}
        self._last_clock: int | None = None
        self._pat = _section(0x00, 1, _u16(1) + _u16(0xE000 | PMT_PID))
        sound = ((_AAC, AUDIO_PID),) if self._audio else ()
        self._maps = {
            True: _map(VIDEO_PID, ((_STREAM_TYPES[codec], VIDEO_PID), *sound), version=0),
            False: _map(AUDIO_PID, sound, version=1 if video else 0),
        }

    def tables(self, *, video: bool | None = None) -> bytes:
        """What a segment starts with. ``video``: whether there are pictures in it, if not as in all."""
        if video is not None:
            self._video = video
        sections = ((0, self._pat), (PMT_PID, self._maps[self._video]))
        return b"".join(self._packets(pid, b"\0" + section, is_table=True) for pid, section in sections)

    def video(self, data: bytes, time: int, *, keyframe: bool) -> bytes:
        """One Annex B access unit, whose decoding and presentation times are the same. It gets the delimiter that it
        must start with, if it lacks it."""
        if not data.startswith((self._delimiter[:5], self._delimiter[1:5])):
            data = self._delimiter + data
        flags = 0x50 if keyframe else 0x10  # random access, clock reference
        return self._packets(VIDEO_PID, _pes(_VIDEO_STREAM, data, time), bytes([flags]) + _clock(time))

    def audio(self, data: bytes, time: int) -> bytes:
        """One raw AAC frame."""
        head = b""
        if not self._video and (self._last_clock is None or time - self._last_clock >= CLOCK_EVERY):
            head = bytes([0x50]) + _clock(time)
            self._last_clock = time
        return self._packets(AUDIO_PID, _pes(_AUDIO_STREAM, self.adts(len(data)) + data, time), head)

    def adts(self, size: int) -> bytes:
        """The header of a raw AAC frame of this size."""
        size += 7
        return bytes(
            (
                0xFF,
                0xF1,
                0x40 | self._adts_head << 2 | self._channels >> 2,
                (self._channels & 3) << 6 | size >> 11,
                size >> 3 & 0xFF,
                (size & 7) << 5 | 0x1F,
                0xFC,
            )
        )

    def _packets(self, pid: int, payload: bytes, adaptation: bytes = b"", *, is_table: bool = False) -> bytes:
        """Cuts ``payload`` into packets of ``pid``. The first carries ``adaptation``; the last is filled up, a table
        behind its payload, a stream in the adaptation field."""
        out: list[bytes] = []
        counter = self._counters[pid]
        field = bytes([len(adaptation)]) + adaptation if adaptation else b""
        at, size, start = 0, len(payload), 0x40
        while at < size:
            missing = PACKET - 4 - len(field) - (size - at)
            if missing > 0:
                if is_table:
                    payload += b"\xff" * missing
                else:
                    field = _stuffed(field, missing)
            room = PACKET - 4 - len(field)
            head = bytes((0x47, start | pid >> 8, pid & 0xFF, (0x30 if field else 0x10) | counter))
            out.append(head + field + payload[at : at + room])
            counter = (counter + 1) & 15
            at += room
            start, field = 0, b""
        self._counters[pid] = counter
        return b"".join(out)


def filling(size: int) -> bytes:
    """What a segment of this size lacks to be known as one: packets of nothing."""
    return _EMPTY * (LEAST_PACKETS - size // PACKET)


def _stuffed(field: bytes, missing: int) -> bytes:
    """An adaptation field (with its length byte) longer by ``missing`` bytes."""
    if field:
        return bytes([field[0] + missing]) + field[1:] + b"\xff" * missing
    return b"\0" if missing == 1 else bytes([missing - 1, 0]) + b"\xff" * (missing - 2)


def _pes(stream: int, data: bytes, time: int) -> bytes:
    size = len(data) + 8
    stamp = (time + BASE_TIME) & TIME_MASK
    return (
        b"\0\0\1"
        + bytes([stream])
        + _u16(size if size <= 0xFFFF and stream == _AUDIO_STREAM else 0)
        + b"\x84\x80\x05"
        + bytes(
            (
                0x21 | stamp >> 29 & 0x0E,
                stamp >> 22 & 0xFF,
                0x01 | stamp >> 14 & 0xFE,
                stamp >> 7 & 0xFF,
                0x01 | stamp << 1 & 0xFE,
            )
        )
        + data
    )


def _clock(time: int) -> bytes:
    base = (time + BASE_TIME - CLOCK_LAG) & TIME_MASK
    return (base << 15 | 0x7E00).to_bytes(6, "big")


def _map(clock_pid: int, streams: Iterable[tuple[int, int]], *, version: int) -> bytes:
    listed = b"".join(bytes([kind]) + _u16(0xE000 | pid) + _u16(0xF000) for kind, pid in streams)
    return _section(0x02, 1, _u16(0xE000 | clock_pid) + _u16(0xF000) + listed, version)


def _section(table: int, number: int, body: bytes, version: int = 0) -> bytes:
    head = bytes([table]) + _u16(0xB000 | len(body) + 9) + _u16(number) + bytes([0xC1 | version << 1, 0, 0])
    return head + body + _crc(head + body).to_bytes(4, "big")


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _crc(data: Iterable[int]) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc
