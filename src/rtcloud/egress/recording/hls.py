"""Writes the HLS of one attempt: MPEG-TS segments and a live index.

Every access unit goes to the file at once and the file to the disk every second, so a killed process loses no more than
that second, and what it left is playable to the last whole packet. Segments start at keyframes; times and continuity
counters run on across them. The index names closed segments only and is replaced atomically.

Where the stream pauses (``pause``) or its picture changes size (``resize``) a segment ends, and the index says that the
next one does not continue it. A gap keeps its length: times, and the segments' names, are those of the wall clock.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from rtcloud.egress.recording.mpegts import TsMuxer, filling
from rtcloud.egress.recording.naming import FileNames
from rtcloud.mixer.encoding import TICKS, EncodedPacket
from rtcloud.tasks.protocol import FileClosed, FileOpened

SEGMENT_SECONDS = 10
LONGEST_SECONDS = 30
LATE_SECONDS = 1
FLUSH_TICKS = TICKS
#: closed segments stay reachable here until the MP4 is made, whatever the uploader does with them
KEEP = "keep"

#: a width or height that is not known yet
UNKNOWN = -1
#: segments further apart than this do not continue each other
GAP_MS = 40

Size = tuple[int, int]
Report = Callable[[FileOpened | FileClosed], None]
#: from which moment on the pictures have another size; None: that of the tracks
Resized = Callable[[int, Size | None], None]


@dataclass(frozen=True, slots=True)
class Segment:
    """``size`` of the picture, (0, 0) where there is none, None for that of the tracks."""

    name: str
    begin_ms: int
    end_ms: int
    size: Size | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracks:
    """What the stream consists of; a width of 0 means no video, a rate of 0 no audio. Where a size is not known before
    the picture comes, it is ``UNKNOWN``."""

    width: int = 0
    height: int = 0
    sample_rate: int = 0
    channels: int = 0
    codec: str = "h264"  # or h265

    @property
    def track_type(self) -> str:
        if self.width and self.sample_rate:
            return "audio_video"
        return "video" if self.width else "audio"


class Index:
    """The text of an index. What was said of a segment is kept as text: an index of thousands of segments is not put
    together anew with each of them."""

    def __init__(self, begin_ms: int) -> None:
        self._begin_ms = begin_ms
        self._body = bytearray()
        self._longest_ms = 0
        self._last: Segment | None = None
        self._first_size: Size | None = None  # of the first picture
        self._said: Size | None = None

    @property
    def end_ms(self) -> int | None:
        """Of the last segment; None without any."""
        return None if self._last is None else self._last.end_ms

    def add(self, segment: Segment) -> None:
        before, self._last = self._last, segment
        length_ms = segment.end_ms - segment.begin_ms
        self._longest_ms = max(self._longest_ms, length_ms)
        lines = []
        if before and (segment.begin_ms - before.end_ms > GAP_MS or segment.size != before.size):
            lines.append("#EXT-X-DISCONTINUITY")
        if segment.size and segment.size[0] > 0 and segment.size != self._said:
            if self._first_size is None:
                self._first_size = segment.size  # stands in the head
            else:
                lines.append(_metadata(segment.size))
            self._said = segment.size
        lines += [f"#EXTINF:{length_ms / 1000:.3f}", segment.name]
        self._body += "".join(line + "\n" for line in lines).encode()

    def render(self, tracks: Tracks, *, ended: bool) -> bytes:
        longest_ms = self._longest_ms or SEGMENT_SECONDS * 1000
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:3",
            "#EXT-X-ALLOW-CACHE:NO",
            "#EXT-X-MEDIA-SEQUENCE:0",
            f"#EXT-X-TARGETDURATION:{-(-longest_ms // 1000)}",
            f"#EXT-X-TRTC-START-REC-TIME:{self._begin_ms}",
        ]
        if self._first_size or tracks.width > 0:
            lines.append(_metadata(self._first_size or (tracks.width, tracks.height)))
        head = "".join(line + "\n" for line in lines).encode()
        return head + self._body + (b"#EXT-X-ENDLIST\n" if ended else b"")


def render_index(begin_ms: int, tracks: Tracks, segments: Iterable[Segment], *, ended: bool) -> bytes:
    index = Index(begin_ms)
    for segment in segments:
        index.add(segment)
    return index.render(tracks, ended=ended)


def _metadata(size: Size) -> str:
    return f"#EXT-X-TRTC-VIDEO-METADATA:WIDTH:{size[0]} HEIGHT:{size[1]}"


def replace_file(path: Path, content: bytes) -> None:
    """The new content or the old one is there, never half of it."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def keep_file(directory: Path, name: str) -> None:
    """Holds on to a closed segment: by a second link, or a copy where the file system has none."""
    kept = directory / KEEP / name
    kept.unlink(missing_ok=True)
    try:
        os.link(directory / name, kept)
    except OSError:
        shutil.copyfile(directory / name, kept)


@dataclass(slots=True)
class _OpenSegment:
    name: str
    start: int  # ticks
    descriptor: int
    begin_ms: int
    size: int = 0
    flushed: int = 0  # ticks
    has_video: bool = False
    announces_video: bool = True
    dimensions: Size | None = None
    pending: list[Future[None]] = field(default_factory=list)


def stays_as_it_is(begin_ms: int, size: Size | None) -> None:
    """``Resized`` where the size is known from the beginning."""


class HlsWriter:
    """``begin_ms`` is the wall time of time 0. Not thread-safe; flushing to disk happens in a thread of its own."""

    def __init__(
        self,
        directory: Path,
        names: FileNames,
        tracks: Tracks,
        begin_ms: int,
        report: Report,
        *,
        keep: bool,
        now_ms: Callable[[], int],
        flusher: Executor | None = None,
        resized: Resized = stays_as_it_is,
    ) -> None:
        """``flusher`` may be shared by several writers, and is then not shut down here."""
        self._directory = directory
        self._names = names
        self._tracks = tracks
        self._begin_ms = begin_ms
        self._report = report
        self._keep = keep
        self._now_ms = now_ms
        self._muxer = TsMuxer(
            video=tracks.width != 0, sample_rate=tracks.sample_rate, channels=tracks.channels, codec=tracks.codec
        )
        self._index = Index(begin_ms)
        self._open: _OpenSegment | None = None
        self._flusher = flusher or ThreadPoolExecutor(1, "hls-flush")
        self._owns_flusher = flusher is None
        #: whether segments that open from now on say that they have pictures
        self.expects_video = tracks.width != 0
        self._size: Size | None = None
        self._is_resized = False
        self._resized = resized
        self._told_size: Size | None = None
        self._last_name = ""
        if keep:
            (directory / KEEP).mkdir(exist_ok=True)

    def write(self, packet: EncodedPacket) -> None:
        if self._open is None or self._cuts(packet, packet.time - self._open.start):
            if self._open is not None:
                self._close_segment(packet.time)
                self._write_index(ended=False)
            self._open = self._open_segment(packet)
        if packet.kind == "video":
            self._open.has_video = True
            self._open.dimensions = self._size or self._open.dimensions
            data = self._muxer.video(packet.data, packet.time, keyframe=packet.keyframe)
        else:
            data = self._muxer.audio(packet.data, packet.time)
        if self._open.dimensions != self._told_size:
            self._told_size = self._open.dimensions
            self._resized(self._open.begin_ms, self._told_size)
        self._append(self._open, data)
        if packet.time - self._open.flushed >= FLUSH_TICKS:
            self._open.flushed = packet.time
            self._flush(self._open)

    def close(self, end: int) -> None:
        """``end`` is the length of everything in ticks."""
        if self._open is not None:
            self._close_segment(max(end, self._open.start + 1))
            self._open = None
        if self._index.end_ms is not None:
            self._write_index(ended=True)
        if self._owns_flusher:
            self._flusher.shutdown()

    def abandon(self) -> None:
        """Writing failed: what is there stays as it is, as if the process had been killed (``recovery``)."""
        segment, self._open = self._open, None
        if segment is not None and segment.descriptor >= 0:
            for flush in segment.pending:
                flush.exception()  # only waited for
            os.close(segment.descriptor)
        if self._owns_flusher:
            self._flusher.shutdown()

    def pause(self, end: int) -> None:
        """Nothing comes for a while: what there is ends here."""
        if self._open is not None:
            self._close_segment(max(end, self._open.start + 1))
            self._open = None
            self._write_index(ended=False)

    @property
    def opened(self) -> int | None:
        """When the segment being written began, in ticks."""
        return None if self._open is None else self._open.start

    def resize(self, width: int, height: int) -> None:
        """The next packet is a keyframe whose picture has this size."""
        self._is_resized = self._size is not None and self._size != (width, height)
        self._size = (width, height)

    def set_size(self, width: int, height: int) -> None:
        """What the picture turned out to be: in the index from now on."""
        self._tracks = replace(self._tracks, width=width, height=height)

    def _cuts(self, packet: EncodedPacket, length: int) -> bool:
        """At a keyframe; where there should be pictures but none come, at a sound. Pictures that come late begin a
        segment: whoever opens one looks only at its beginning for what it holds."""
        assert self._open is not None
        if packet.kind == "video" and (self._is_resized or not self._open.announces_video):
            return packet.keyframe
        if packet.kind == "audio" and self._open.announces_video and not self.expects_video:
            return True
        if packet.kind == "video" or not self.expects_video:
            is_late = packet.kind == "video" and not self._open.has_video
            return packet.keyframe and length >= (LATE_SECONDS if is_late else SEGMENT_SECONDS) * TICKS
        return length >= LONGEST_SECONDS * TICKS

    def _open_segment(self, packet: EncodedPacket) -> _OpenSegment:
        start = packet.time
        begin_ms = self._ms(start)
        name = self._names.segment(begin_ms)
        while name <= self._last_name:  # the last one was shorter than a millisecond, or ended after this one begins
            begin_ms += 1
            name = self._names.segment(begin_ms)
        self._last_name = name
        self._report(
            FileOpened(
                at_ms=self._now_ms(),
                name=name,
                kind="segment",
                begin_ms=begin_ms,
                user_id=self._names.user_id,
                track_type=self._tracks.track_type,
            )
        )
        descriptor = os.open(self._directory / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        announces_video = bool(self._tracks.width) and (packet.kind == "video" or self.expects_video)
        segment = _OpenSegment(name, start, descriptor, begin_ms, flushed=start, announces_video=announces_video)
        if self._size is not None and not announces_video:
            segment.dimensions = (0, 0)
        self._is_resized = False
        self._append(segment, self._muxer.tables(video=announces_video))
        return segment

    def _append(self, segment: _OpenSegment, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(segment.descriptor, view) :]
        except OSError:  # half of an access unit would be a fault of the file's
            with contextlib.suppress(OSError):
                os.ftruncate(segment.descriptor, segment.size)
            raise
        segment.size += len(data)

    def _flush(self, segment: _OpenSegment) -> None:
        """One flush at a time: a disk that is slower than a second gets fewer, not a queue."""
        segment.pending = [flush for flush in segment.pending if not flush.done() or flush.result()]
        if not segment.pending:
            segment.pending.append(self._flusher.submit(os.fdatasync, segment.descriptor))

    def _close_segment(self, end: int) -> None:
        segment = self._open
        assert segment is not None
        self._append(segment, filling(segment.size))
        for flush in segment.pending:
            flush.result()
        os.fdatasync(segment.descriptor)
        os.close(segment.descriptor)
        segment.descriptor = -1
        closed = Segment(segment.name, segment.begin_ms, max(self._ms(end), segment.begin_ms + 1), segment.dimensions)
        if self._keep:
            keep_file(self._directory, closed.name)
        self._index.add(closed)
        self._report(
            FileClosed(
                at_ms=self._now_ms(),
                name=closed.name,
                kind="segment",
                begin_ms=closed.begin_ms,
                end_ms=closed.end_ms,
                size=segment.size,
                user_id=self._names.user_id,
                track_type=self._tracks.track_type,
                media_id=self._names.media_id,
            )
        )

    def _write_index(self, *, ended: bool) -> None:
        end_ms = self._index.end_ms
        assert end_ms is not None
        content = self._index.render(self._tracks, ended=ended)
        replace_file(self._directory / self._names.index, content)
        self._report(
            FileClosed(
                at_ms=self._now_ms(),
                name=self._names.index,
                kind="index",
                begin_ms=self._begin_ms,
                end_ms=end_ms,
                size=len(content),
                user_id=self._names.user_id,
                track_type=self._tracks.track_type,
                media_id=self._names.media_id,
            )
        )

    def _ms(self, ticks: int) -> int:
        return self._begin_ms + round(ticks * 1000 / TICKS)
