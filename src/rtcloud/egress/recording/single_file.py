"""One index of a single stream with its segments, and what recovery must know of it.

It opens with the first media; moments are local time (``mixer.clocking``), turned into the file's own time here. What
ends (``pause``) may begin again: the index then says that there is a gap.
"""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from rtcloud.egress.recording.facts import AttemptFacts, facts_name, open_hls
from rtcloud.egress.recording.hls import HlsWriter, Report, Size, Tracks
from rtcloud.egress.recording.naming import FileNames
from rtcloud.mixer.encoding import TICKS, EncodedPacket


@dataclass(frozen=True, slots=True)
class Place:
    """Where the files of all streams of an attempt go. ``to_server`` turns local time into the server's."""

    directory: Path
    report: Report
    flusher: Executor
    now_ms: Callable[[], int]
    to_server: Callable[[int], int]
    keep: bool


class StreamFile:
    """``number`` tells this index from the others of its attempt."""

    def __init__(self, place: Place, names: FileNames, tracks: Tracks, number: int) -> None:
        self._place = place
        self._names = names
        self._tracks = tracks
        self._number = number
        self._origin_us = 0
        self._hls: HlsWriter | None = None
        self._facts: AttemptFacts | None = None
        self._last: dict[str, int] = {}
        self._expects_video = tracks.width != 0

    @property
    def opened_us(self) -> int | None:
        """When the segment being written began."""
        opened = None if self._hls is None else self._hls.opened
        return None if opened is None else self._origin_us + opened * 1_000_000 // TICKS

    def expect_video(self, expected: bool) -> None:
        """Whether segments that open from now on have pictures."""
        self._expects_video = expected and self._tracks.width != 0
        if self._hls is not None:
            self._hls.expects_video = self._expects_video

    def resize(self, size: Size, at_us: int) -> None:
        """The keyframe that is written next has pictures of this size."""
        self._writer(at_us).resize(*size)

    def video(self, data: bytes, at_us: int, *, keyframe: bool) -> None:
        self._write(EncodedPacket("video", data, 0, keyframe, "h264"), at_us, 0)

    def audio(self, packet: EncodedPacket, run_us: int) -> None:
        """``packet`` has its time from ``run_us`` on."""
        self._write(packet, run_us, packet.time)

    def pause(self, at_us: int) -> None:
        if self._hls is not None:
            self._hls.pause(max(self._ticks(at_us), *self._last.values()) if self._last else self._ticks(at_us))

    def close(self, end_us: int) -> None:
        if self._hls is not None:
            self._hls.close(max(self._ticks(end_us), *self._last.values()) if self._last else self._ticks(end_us))

    def _write(self, packet: EncodedPacket, at_us: int, offset: int) -> None:
        hls = self._writer(at_us)
        time = max(self._ticks(at_us) + offset, self._last.get(packet.kind, -1) + 1)
        self._last[packet.kind] = time
        hls.write(EncodedPacket(packet.kind, packet.data, time, packet.keyframe, packet.codec))

    def _ticks(self, at_us: int) -> int:
        return (at_us - self._origin_us) * TICKS // 1_000_000

    def _writer(self, at_us: int) -> HlsWriter:
        if self._hls is None:
            place = self._place
            self._origin_us = at_us
            begin_ms = place.to_server(at_us) // 1000
            self._facts = AttemptFacts(names=self._names, tracks=self._tracks, begin_ms=begin_ms, keep=place.keep)
            self._hls = open_hls(
                place.directory,
                self._facts,
                place.report,
                now_ms=place.now_ms,
                name=facts_name(self._number),
                flusher=place.flusher,
                resized=self._remember_size,
            )
            self._hls.expects_video = self._expects_video
        return self._hls

    def _remember_size(self, begin_ms: int, size: Size | None) -> None:
        assert self._facts is not None
        self._facts.sizes.append((begin_ms, size))
        self._facts.save(self._place.directory, facts_name(self._number))
