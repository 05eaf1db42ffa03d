"""Makes the MP4 files (or AAC files) of a finished recording from its HLS segments, without encoding again.

The segments of all attempts stand at their wall times, so a break between two attempts keeps its length. A file is
split at ``MAX_BYTES`` or at the wanted duration, at a keyframe, and for no other reason: one whose pictures come late
has them from then on. Sound and pictures that were recorded side by side are brought together. Each file appears under
its name only when complete.
"""

import contextlib
import heapq
import os
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np

from rtcloud.egress.recording.mpegts import BASE_TIME, TIME_MASK, TsMuxer
from rtcloud.egress.recording.naming import FileNames
from rtcloud.mixer.encoding import AAC_FRAME, SAME_PIECE, TICKS, AacEncoder
from rtcloud.mixer.timeline import RATE

#: 2 GB, less what the index of a file of that size may take
MAX_BYTES = 2_000_000_000
#: begins the names of files that are being made
UNFINISHED = ".part"
_TIME_BASE = Fraction(1, TICKS)
#: kind, packet, and its time since the recording's beginning
_Timed = tuple[str, "av.Packet[Any]", int]
#: where there were no pictures for so long, a file may also be split at a sound
_NO_PICTURES = 30 * TICKS


@dataclass(frozen=True, slots=True)
class Source:
    """A closed segment. ``attempt_begin_ms`` is the wall time of its index's time 0; ``lane`` tells apart what is
    recorded side by side: a user's sound and pictures in files of their own."""

    path: Path
    begin_ms: int
    end_ms: int
    attempt_begin_ms: int
    lane: str = "audio_video"


@dataclass(frozen=True, slots=True)
class Product:
    name: str
    begin_ms: int
    end_ms: int
    size: int
    track_type: str


@dataclass(slots=True)
class _Part:
    path: Path
    begin: int  # ticks since the recording's beginning
    end: int
    container: av.container.OutputContainer
    streams: dict[str, Any]
    size: int = 0


class _Writer:
    def __init__(
        self,
        directory: Path,
        extension: str,
        max_ticks: int,
        max_bytes: int,
        templates: dict[str, Path],
        begin: int,
    ) -> None:
        """``begin`` of the first file: what comes first need not be the earliest."""
        self._directory = directory
        self._extension = extension
        self._max_ticks = max_ticks
        self._max_bytes = max_bytes
        self.parts: list[_Part] = []
        self._open: _Part | None = None
        self._templates = templates
        self._begin = begin

    def write(self, kind: str, packet: "av.Packet[Any]", time: int, cuts: bool) -> None:
        part = self._open
        if part is None or (
            cuts
            and time > part.begin
            and (time - part.begin >= self._max_ticks or part.size + packet.size >= self._max_bytes)
        ):
            part = self._next(min(time, self._begin) if part is None else time)
        stream = part.streams.get(kind)
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

    def _next(self, time: int) -> _Part:
        self.close()
        path = self._directory / f"{UNFINISHED}{len(self.parts) + 1}.{self._extension}"
        if self._extension == "mp4":
            container = av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"})
        else:
            container = av.open(str(path), "w", format="adts")
        streams: dict[str, Any] = {}
        for kind, template in self._templates.items():
            with av.open(str(template), format="mpegts") as source:
                stream = next(stream for stream in source.streams if stream.type == kind)
                streams[kind] = added = container.add_stream_from_template(cast(Any, stream))
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
    templates = _templates(sources, ("audio",) if extension == "aac" else ("video", "audio"))
    if not templates:
        return []
    begin_ms = min(source.attempt_begin_ms for source in sources)
    begin = max(0, sources[0].begin_ms - begin_ms - 1) * TICKS // 1000
    writer = _Writer(directory, extension, max_minutes * 60 * TICKS, max_bytes, templates, begin)
    try:
        _write_all(writer, sources, begin_ms, templates, extension)
    except BaseException:  # a full disk must not be filled by what is of no use
        for part in writer.parts:
            part.path.unlink(missing_ok=True)
        raise
    track_type = "_".join(sorted(templates))
    products = []
    for number, part in enumerate(writer.parts, 1):
        name = names.whole(number if len(writer.parts) > 1 else None, extension)
        with part.path.open("rb") as file:
            os.fsync(file.fileno())
        part.path.replace(directory / name)
        size = (directory / name).stat().st_size
        begin, end = (begin_ms + ticks * 1000 // TICKS for ticks in (part.begin, part.end))
        products.append(Product(name, begin, end, size, track_type))
    return products


def _write_all(
    writer: _Writer, sources: Sequence[Source], begin_ms: int, templates: Mapping[str, Path], extension: str
) -> None:
    has_video = "video" in templates
    pictures = -_NO_PICTURES
    try:
        packets = _all_packets(sources, begin_ms)
        if extension == "aac":
            packets = _without_gaps(packets, templates["audio"])
        for kind, packet, time in packets:
            if kind == "video":
                pictures = time
                writer.write(kind, packet, time, packet.is_keyframe)
            elif kind in templates:
                writer.write(kind, packet, time, not has_video or time - pictures >= _NO_PICTURES)
    finally:
        writer.close()


def _templates(sources: Sequence[Source], kinds: Collection[str]) -> dict[str, Path]:
    """For each kind of media a segment that has it; every file of the recording has the same streams."""
    found: dict[str, Path] = {}
    for source in sources:
        missing = [kind for kind in kinds if kind not in found and kind in source.lane]
        if missing:
            with contextlib.suppress(av.FFmpegError, OSError), av.open(str(source.path), format="mpegts") as container:
                found |= {stream.type: source.path for stream in container.streams if _is_there(stream)} | found
    return {kind: found[kind] for kind in found if kind in kinds}


def _all_packets(sources: Sequence[Source], begin_ms: int) -> Iterator[_Timed]:
    lanes: dict[str, list[Source]] = {}
    for source in sources:
        lanes.setdefault(source.lane, []).append(source)

    def one(lane: Sequence[Source]) -> Iterator[_Timed]:
        for source in lane:
            yield from _packets(source, (source.attempt_begin_ms - begin_ms) * TICKS // 1000)

    return _apart(heapq.merge(*map(one, lanes.values()), key=_time))


def _apart(packets: Iterator[_Timed]) -> Iterator[_Timed]:
    """Without what begins with, or before, the last of its kind: an MP4 counts sound in samples, and takes no two that
    begin at the same one."""
    last: dict[str, int] = {}
    for kind, packet, time in packets:
        if kind in last and time - last[kind] < (SAME_PIECE if kind == "audio" else 1):
            continue
        last[kind] = time
        yield kind, packet, time


def _without_gaps(packets: Iterator[_Timed], template: Path) -> Iterator[_Timed]:
    """The sound alone, with silence where there is none: a file of AAC frames has no times to tell of a gap."""
    with av.open(str(template), format="mpegts") as container:
        codec = container.streams.audio[0].codec_context
        rate, channels = codec.sample_rate, codec.channels
    frame = AAC_FRAME * TICKS // rate
    silence = _silence(rate, channels)
    expected: int | None = None
    for kind, packet, time in packets:
        if kind != "audio":
            continue
        while expected is not None and time - expected >= 2 * frame:
            silent: av.Packet[Any] = av.Packet(silence)
            silent.time_base, silent.duration = _TIME_BASE, frame
            yield kind, silent, expected
            expected += frame
        yield kind, packet, time
        expected = time + frame


def _silence(rate: int, channels: int) -> bytes:
    """One AAC frame of it, with its header."""
    encoder = AacEncoder(rate, channels, 64_000)
    packets = encoder.encode(np.zeros((channels, RATE), np.float32), 0)
    data = packets[-1].data
    return TsMuxer(video=False, sample_rate=rate, channels=channels).adts(len(data)) + data


def _packets(source: Source, offset: int) -> Iterator[_Timed]:
    """The segment's packets in the order of their times since the recording's beginning. The demuxer gives out pictures
    only when the next one begins: sound that belongs behind them comes before."""
    waiting: dict[str, deque[_Timed]] = {}
    try:
        with av.open(str(source.path), format="mpegts") as container:
            waiting = {stream.type: deque() for stream in container.streams}
            for timed in _demuxed(container, source, offset):
                waiting.setdefault(timed[0], deque()).append(timed)
                while all(waiting.values()):
                    yield min(waiting.values(), key=_first).popleft()
    except (av.FFmpegError, OSError):
        pass
    yield from heapq.merge(*waiting.values(), key=_time)


def _demuxed(container: av.container.InputContainer, source: Source, offset: int) -> Iterator[_Timed]:
    expected = (source.begin_ms - source.attempt_begin_ms) * TICKS // 1000
    for packet in container.demux():
        if packet.pts is None or packet.time_base is None or packet.size == 0:
            continue
        stamp = int(packet.pts * packet.time_base * TICKS)
        ahead = (stamp - BASE_TIME - expected) & TIME_MASK
        time = expected + (ahead - TIME_MASK - 1 if ahead > TIME_MASK // 2 else ahead) + offset
        if time >= 0:
            yield packet.stream.type, packet, time


def _time(timed: _Timed) -> int:
    return timed[2]


def _first(waiting: deque[_Timed]) -> int:
    return waiting[0][2]


def _is_there(stream: Any) -> bool:
    """Whether a stream has media: a segment may announce pictures, or sound, that never came."""
    codec = stream.codec_context
    return bool(codec.sample_rate > 0 if stream.type == "audio" else stream.type == "video" and codec.width > 0)
