"""The files of a relay: what goes out is written as HLS, too, and made into MP4 or AAC at the end, as a recording is.

``FileRecorder`` is given packets by the mixing thread and writes on a thread of its own: a disk that stands still must
not hold the relay up. What waits for it is bounded; over it everything up to the next keyframe is left out. When
writing fails, the next call raises what it failed with, and nothing is written any more; what is there by then is
completed before the products are made (``recovery.complete``).

One name holds for the whole task: that of the mix, or of the one stream, with which the attempt began.
"""

import asyncio
import logging
import queue
import threading
from dataclasses import dataclass, replace
from pathlib import Path

from rtcloud.clock import Clock
from rtcloud.egress.passing import picture_size
from rtcloud.egress.publishing.mixed import mix_format
from rtcloud.egress.publishing.request import RecordParams, RelayRequest
from rtcloud.egress.recording import products
from rtcloud.egress.recording.facts import AttemptFacts, open_hls
from rtcloud.egress.recording.hls import UNKNOWN, HlsWriter, Report, Tracks
from rtcloud.egress.recording.naming import RELAY, FileNames
from rtcloud.egress.recording.recovery import complete
from rtcloud.mixer.encoding import TICKS, EncodedPacket
from rtcloud.tasks.job import JobShell
from rtcloud.tasks.protocol import Order

#: that wait for the disk; a minute and more of a large picture
MAX_WAITING_BYTES = 64 << 20
_AUDIO, _VIDEO = 1, 2  # StreamType

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _End:
    length: int  # ticks


class FileRecorder:
    """``put`` and ``close`` are called by one thread; ``report`` may be called by another."""

    def __init__(self, request: RelayRequest, order: Order, directory: Path, report: Report, clock: Clock) -> None:
        recording = request.record_params
        assert recording is not None
        self._names = file_names(request, order.attempt)
        self._tracks = _tracks(request, recording)
        self._directory = directory
        self._report = report
        self._clock = clock
        self._keep = bool(recording.filing.extension)
        self._inbox: queue.SimpleQueue[tuple[EncodedPacket, int] | _End] = queue.SimpleQueue()
        self._waiting = 0  # bytes; changed under the lock
        self._lock = threading.Lock()
        self._is_dropping = False
        self._error: BaseException | None = None
        self._hls: HlsWriter | None = None
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._has_begun = False

    # On the caller's thread -----------------------------------------------------------------------------------------

    def put(self, packet: EncodedPacket, at_us: int) -> None:
        """``at_us`` is the packet's moment on the server's clock. Raises ``OSError`` once nothing can be written."""
        self._check()
        if not self._is_wanted(packet) or self._has_no_room(packet):
            return
        if not self._has_begun:
            self._has_begun = True
            self._thread.start()
        with self._lock:
            self._waiting += len(packet.data)
        self._inbox.put((packet, at_us))

    def close(self, length: int) -> None:
        """``length`` of the output, in ticks. When this returns the files are closed and reported."""
        if not self._has_begun:
            return
        self._inbox.put(_End(length))
        self._thread.join()
        self._check()

    def _is_wanted(self, packet: EncodedPacket) -> bool:
        if packet.kind == "video":
            return bool(self._tracks.width) and packet.codec == self._tracks.codec
        return bool(self._tracks.sample_rate) and packet.codec == "aac"

    def _has_no_room(self, packet: EncodedPacket) -> bool:
        """A full inbox is left to empty by half."""
        begins = packet.keyframe and (packet.kind == "video" or not self._tracks.width)
        if self._is_dropping:
            self._is_dropping = not begins or self._waiting > MAX_WAITING_BYTES // 2
        elif self._waiting + len(packet.data) > MAX_WAITING_BYTES:
            self._is_dropping = True
            _log.warning("the disk is too slow for the files of this relay", extra={"waiting": self._waiting})
        return self._is_dropping

    def _check(self) -> None:
        error = self._error
        if isinstance(error, OSError):
            raise error
        if error is not None:
            raise OSError(0, "the files cannot be written") from error

    # On the recorder's thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not isinstance(item := self._inbox.get(), _End):
                packet, at_us = item
                self._write(packet, at_us)
                with self._lock:
                    self._waiting -= len(packet.data)
            if self._hls is not None:
                self._hls.close(item.length)
        except BaseException as error:
            try:
                if self._hls is not None:
                    self._hls.abandon()
            finally:
                self._error = error

    def _write(self, packet: EncodedPacket, at_us: int) -> None:
        if self._hls is None:
            self._hls = self._open((at_us - packet.time * 1_000_000 // TICKS) // 1000)
        if packet.kind == "video" and packet.keyframe and self._tracks.width == UNKNOWN:
            self._measure(self._hls, packet)
        self._hls.write(packet)

    def _open(self, begin_ms: int) -> HlsWriter:
        self._facts = AttemptFacts(names=self._names, tracks=self._tracks, begin_ms=begin_ms, keep=self._keep)
        return open_hls(self._directory, self._facts, self._report, now_ms=self._clock.now_ms)

    def _measure(self, hls: HlsWriter, packet: EncodedPacket) -> None:
        """A single stream says in its pictures how large they are."""
        size = picture_size(packet.data, packet.codec)
        if size is not None:
            hls.set_size(*size)
            self._tracks = replace(self._tracks, width=size[0], height=size[1])
            self._facts.tracks = self._tracks
            self._facts.save(self._directory)


async def make_products(shell: JobShell, request: RelayRequest) -> None:
    """The files made from everything, of all attempts; nothing for a relay that is not recorded."""
    recording = request.record_params
    if recording is None:
        return
    await shell.reported()
    for report in await asyncio.to_thread(complete, shell.directory, shell.clock.now_ms()):
        shell.report(report)
    await products.make_products(
        shell,
        file_names(request, shell.order.attempt),
        recording.filing.extension,
        track_type=_tracks(request, recording).track_type,
        max_minutes=recording.max_media_file_duration,
    )


def file_names(request: RelayRequest, attempt: int) -> FileNames:
    """As documented: a single stream's carry whose it is."""
    single, recording = request.single_subscribe_params, request.record_params
    record_id = "" if recording is None else recording.filing.mark
    names = FileNames(request.sdk_app_id, request.numeric, request.room_id, attempt, record_id=record_id)
    if not request.is_single or single is None or single.user_media_stream.user_info is None:
        return names
    stream = single.user_media_stream
    media = "audiovideo" if recording is None else _tracks(request, recording).track_type.replace("_", "")
    return replace(
        names,
        user_id=single.user_media_stream.user_info.user_id,
        media_id="aux" if stream.stream_type == 1 else "main",
        media=media,
        mark=RELAY,
    )


def _tracks(request: RelayRequest, recording: RecordParams) -> Tracks:
    """What is relayed, less what is not to be recorded."""
    form = mix_format(request)
    has_video = form.video and recording.stream_type != _AUDIO
    has_audio = form.audio and recording.stream_type != _VIDEO
    width, height = (UNKNOWN, UNKNOWN) if request.is_single else (form.width, form.height)
    return Tracks(
        width=width if has_video else 0,
        height=height if has_video else 0,
        sample_rate=form.sample_rate if has_audio else 0,
        channels=form.channels,
        codec="h264" if request.is_single else request.video_codec,
    )
