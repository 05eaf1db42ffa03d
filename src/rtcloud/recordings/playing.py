"""Plays one file through the decoders, first to last, and measures what came out of them. Blocking."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av

MAX_ERRORS = 20
_LONGEST_PICTURE_S = 0.5
_RATE = 48_000
_FORMATS = {".ts": "mpegts", ".mp4": "mov", ".m4a": "mov", ".aac": "aac"}


@dataclass(slots=True)
class PlayedStream:
    """Times are in seconds of the file's own clock; a gap is (where, how long)."""

    kind: str  # audio, video
    codec: str
    begin: float = 0.0
    end: float = 0.0
    frames: int = 0
    sizes: list[tuple[int, int]] = field(default_factory=list)
    gap: tuple[float, float] = (0.0, 0.0)  # the longest

    @property
    def seconds(self) -> float:
        return self.end - self.begin


@dataclass(slots=True)
class Played:
    streams: list[PlayedStream] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def of(self, kind: str) -> PlayedStream | None:
        return next((stream for stream in self.streams if stream.kind == kind), None)

    @property
    def begin(self) -> float:
        return min((stream.begin for stream in self.streams), default=0.0)

    @property
    def end(self) -> float:
        return max((stream.end for stream in self.streams), default=0.0)

    @property
    def seconds(self) -> float:
        return self.end - self.begin


def play(path: Path) -> Played:
    """What cannot be played is in ``errors``. A stream that is announced and never comes is not in ``streams``."""
    played = Played()
    measured: dict[int, _Measured] = {}
    try:
        with av.open(str(path), format=_FORMATS.get(path.suffix)) as container:
            for stream in container.streams:
                if stream.type in ("audio", "video"):
                    stream.codec_context.options = {"err_detect": "explode"}
                    measured[stream.index] = _Measured(stream)
            for packet in container.demux([container.streams[index] for index in measured]):
                try:
                    frames = packet.decode()
                except av.FFmpegError as error:
                    _note(played, error, measured[packet.stream.index])
                    continue
                for frame in frames:
                    measured[packet.stream.index].take(frame)
    except (av.FFmpegError, OSError) as error:
        _note(played, error, None)
    played.streams = [each.stream for each in measured.values() if each.stream.frames]
    if not played.streams and not played.errors:
        played.errors.append("there is nothing in it that can be played")
    return played


class _Measured:
    def __init__(self, stream: Any) -> None:
        self.stream = PlayedStream(stream.type, stream.codec_context.name)
        self._last = 0.0  # frame's time

    def take(self, frame: Any) -> None:
        """Frames come in the order of their times."""
        stream = self.stream
        at = float(frame.pts * frame.time_base) if frame.pts is not None and frame.time_base is not None else stream.end
        length = self._length(frame, at)
        if stream.frames == 0:
            stream.begin = stream.end = at
        elif at - stream.end > stream.gap[1]:
            stream.gap = stream.end, at - stream.end
        stream.end = max(stream.end, at + length)
        stream.frames += 1
        self._last = at
        if stream.kind == "video" and (frame.width, frame.height) not in stream.sizes[-1:]:
            stream.sizes.append((frame.width, frame.height))

    def _length(self, frame: Any, at: float) -> float:
        """A picture does not say how long it is: about as long as the one before it."""
        if self.stream.kind == "audio":
            return float(frame.samples / (frame.sample_rate or _RATE))
        return min(at - self._last, _LONGEST_PICTURE_S) if self.stream.frames else 0.0


def _note(played: Played, error: Exception, measured: _Measured | None) -> None:
    if len(played.errors) < MAX_ERRORS:
        where = "" if measured is None else f"{measured.stream.kind} at {measured.stream.end:.2f} s: "
        played.errors.append(f"{where}{getattr(error, 'strerror', None) or error}")


def is_ready_to_stream(path: Path) -> bool:
    """Whether an MP4's table of contents stands before its media. Raises OSError."""
    with path.open("rb") as file:
        while len(head := file.read(8)) == 8:
            size, kind = int.from_bytes(head[:4], "big"), head[4:]
            if kind == b"moov":
                return True
            if kind == b"mdat":
                return False
            skipped = 8
            if size == 1:
                size, skipped = int.from_bytes(file.read(8), "big"), 16
            if size < skipped:
                return False
            file.seek(size - skipped, 1)
    return False
