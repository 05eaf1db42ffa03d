"""Makes the MP4 files (or AAC files) of a finished recording from its HLS segments, without encoding again.

The segments of all attempts stand at their wall times, so a break between two attempts keeps its length. A file is
split at ``MAX_BYTES`` or at the wanted duration, at a keyframe, and where pictures come to what had sound only. Each
file appears under its name only when complete.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av

from rtcloud.egress.recording.mpegts import BASE_TIME, TIME_MASK
from rtcloud.egress.recording.naming import FileNames
from rtcloud.mixer.encoding import TICKS

#: 2 GB, less what the index of a file of that size may take
MAX_BYTES = 2_000_000_000
_TIME_BASE = Fraction(1, TICKS)


@dataclass(frozen=True, slots=True)
class Source:
    """A closed segment. ``attempt_begin_ms`` is the wall time of its attempt's time 0."""

    path: Path
    begin_ms: int
    end_ms: int
    attempt_begin_ms: int


@dataclass(frozen=True, slots=True)
class Product:
    name: str
    begin_ms: int
    end_ms: int
    size: int


@dataclass(slots=True)
class _Part:
    path: Path
    begin: int  # ticks since the recording's beginning
    end: int
    container: av.container.OutputContainer
    streams: dict[str, Any]
    size: int = 0


class _Writer:
    def __init__(self, directory: Path, extension: str, max_ticks: int, max_bytes: int) -> None:
        self._directory = directory
        self._extension = extension
        self._max_ticks = max_ticks
        self._max_bytes = max_bytes
        self.parts: list[_Part] = []
        self._open: _Part | None = None

    def write(self, packet: "av.Packet[Any]", time: int, cuts: bool) -> None:
        part = self._open
        if part is None or (
            cuts
            and time > part.begin
            and (
                time - part.begin >= self._max_ticks
                or part.size + packet.size >= self._max_bytes
                or packet.stream.type not in part.streams
            )
        ):
            part = self._next(packet, time)
        stream = part.streams.get(packet.stream.type)
        if stream is None or time < part.begin:
            return
        duration = int(packet.duration * packet.time_base * TICKS) if packet.duration and packet.time_base else 0
        part.end = max(part.end, time + duration)
        part.size += packet.size
        packet.stream = stream
        packet.pts = packet.dts = time - part.begin
        packet.time_base = _TIME_BASE
        part.container.mux(packet)

    def close(self) -> None:
        if self._open is not None:
            self._open.container.close()
            self._open = None

    def _next(self, packet: "av.Packet[Any]", time: int) -> _Part:
        self.close()
        path = self._directory / f".part{len(self.parts) + 1}.{self._extension}"
        if self._extension == "mp4":
            container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        else:
            container = av.open(str(path), "w", format="adts")
        streams: dict[str, Any] = {}
        source = packet.stream.container
        assert source is not None
        for stream in source.streams:
            if stream.type == "audio" or (self._extension == "mp4" and _is_seen(stream)):
                streams[stream.type] = added = container.add_stream_from_template(cast(Any, stream))
                if stream.codec_context.name == "hevc":
                    added.codec_context.codec_tag = "hvc1"  # Apple's players take no other
        part = _Part(path, time, time, cast(Any, container), streams)
        self.parts.append(part)
        self._open = part
        return part


def make_whole(
    sources: Sequence[Source],
    directory: Path,
    names: FileNames,
    *,
    extension: str = "mp4",
    max_minutes: int = 1440,
    max_bytes: int = MAX_BYTES,
) -> list[Product]:
    """Blocking; minutes long for a long recording. Segments that are missing or do not read are left out."""
    sources = sorted((source for source in sources if source.path.exists()), key=lambda source: source.begin_ms)
    if not sources:
        return []
    begin_ms = min(source.attempt_begin_ms for source in sources)
    writer = _Writer(directory, extension, max_minutes * 60 * TICKS, max_bytes)
    try:
        for source in sources:
            for packet, time in _packets(source, (source.attempt_begin_ms - begin_ms) * TICKS // 1000):
                if extension == "aac":
                    if packet.stream.type == "audio":
                        writer.write(packet, time, True)
                    continue
                is_cut = packet.is_keyframe and (packet.stream.type == "video" or _has_no_video(packet))
                writer.write(packet, time, is_cut)
    finally:
        writer.close()
    products = []
    for number, part in enumerate(writer.parts, 1):
        name = names.whole(number if len(writer.parts) > 1 else None, extension)
        with part.path.open("rb") as file:
            os.fsync(file.fileno())
        part.path.replace(directory / name)
        size = (directory / name).stat().st_size
        products.append(Product(name, begin_ms + part.begin * 1000 // TICKS, begin_ms + part.end * 1000 // TICKS, size))
    return products


def _packets(source: Source, offset: int) -> Iterator[tuple["av.Packet[Any]", int]]:
    """The segment's packets with their times since the recording's beginning."""
    expected = (source.begin_ms - source.attempt_begin_ms) * TICKS // 1000
    last: dict[str, int] = {}
    try:
        with av.open(str(source.path), format="mpegts") as container:
            for packet in container.demux():
                if packet.pts is None or packet.time_base is None or packet.size == 0:
                    continue
                stamp = int(packet.pts * packet.time_base * TICKS)
                ahead = (stamp - BASE_TIME - expected) & TIME_MASK
                time = expected + (ahead - TIME_MASK - 1 if ahead > TIME_MASK // 2 else ahead) + offset
                if time > last.get(packet.stream.type, -1):
                    last[packet.stream.type] = time
                    yield packet, time
    except (av.FFmpegError, OSError):
        return


def _has_no_video(packet: "av.Packet[Any]") -> bool:
    container = packet.stream.container
    return container is None or not any(_is_seen(stream) for stream in container.streams)


def _is_seen(stream: Any) -> bool:
    """A video stream that has pictures: a segment may announce one that never came."""
    return bool(stream.type == "video" and stream.codec_context.width > 0)
