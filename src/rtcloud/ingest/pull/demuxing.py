"""A container that FFmpeg demuxes, in a thread of its own, as a ``Source``.

How it is opened is the opener's matter (``opening``); here its streams become forms, its packets ``SourcePacket``s, and
its failures words that name no address. Each step has a time limit; what lies before the position that was asked for
is left out when the container cannot go there by itself.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from rtcloud.ingest.h264 import nal_units
from rtcloud.ingest.media import Kind, SourcePacket, StreamForm
from rtcloud.ingest.pull.fetching import Budget
from rtcloud.ingest.pull.source import Handover, SourceError

OPEN_WITHIN = 15.0
#: of a live playlist a reload may have to be waited for
READ_WITHIN = 20.0
#: of the file, until its streams are known: tables of hours of video are some megabytes
OPEN_BYTES = 64 << 20
#: files of a playlist that may be missing in a row
MISSING = 3
#: FFmpeg's: how much is looked at to know the streams
PROBE = {"probesize": "2000000", "analyzeduration": "1500000"}

_US = 1_000_000
#: of a NAL unit's first byte: where its type is, and that of a sequence parameter set
_SETS = {"h264": (0, 31, 7), "hevc": (1, 63, 33)}


@dataclass(slots=True)
class _Track:
    stream: Stream
    form: StreamForm
    scale: int  # a tick is so many microseconds …
    divisor: int  # … divided by this
    sets: bytes  # parameter sets that may be missing in the packets
    dts_us: int = 0

    def us(self, ticks: int) -> int:
        return ticks * self.scale // self.divisor


class Demuxed:
    """``open`` is called on the thread."""

    def __init__(self, open: Callable[[Budget], InputContainer], budget: Budget, from_us: int) -> None:
        self.is_live = False
        self.is_ended = False
        self.begin_us = 0
        self.carries: Collection[Kind] = ()
        self._open, self._budget, self._from_us = open, budget, from_us
        self._handover = Handover()
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[SourceError | None] = self._loop.create_future()
        self._closing: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._run, name="pull-demux", daemon=True)

    @property
    def kinds(self) -> int:
        return len(self.carries)

    async def begin(self) -> None:
        """Raises ``SourceError``."""
        self._thread.start()
        if (error := await self._opened) is not None:
            raise error

    async def take(self) -> Sequence[SourcePacket]:
        return await self._handover.take()

    async def close(self) -> None:
        self._budget.closed = True
        self._handover.close()

    # On the thread ----------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        error: SourceError | None = None
        try:
            self._budget.allow(OPEN_WITHIN, OPEN_BYTES)
            container = self._open(self._budget)
            with contextlib.closing(container):
                tracks = self._look(container)
                self._seek(container)
                self._settle(None)
                self._demux(container, tracks)
        except SourceError as failure:
            error = failure
        except (av.FFmpegError, OSError, ValueError) as failure:
            error = self._budget.take_failure() or SourceError(_words(failure))
        except BaseException:
            error = SourceError("it cannot be read")
            raise
        finally:
            self._settle(error)
            self._handover.finish(error)

    def _settle(self, error: SourceError | None) -> None:
        def settle() -> None:
            if not self._opened.done():
                self._opened.set_result(error)

        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(settle)

    def _look(self, container: InputContainer) -> dict[int, _Track]:
        if self._budget.failure is not None and not self._budget.failure.is_missing:
            raise self._budget.failure
        tracks = {stream.index: _track(stream) for stream in _chosen(container)}
        if not tracks:
            raise SourceError("it has no video and no audio")
        self.carries = [track.form.kind for track in tracks.values()]
        self.is_live = container.duration is None or container.duration <= 0
        self.begin_us = container.start_time if container.start_time is not None else 0
        for track in tracks.values():
            track.dts_us = self.begin_us  # of a first packet without a time
        return tracks

    def _seek(self, container: InputContainer) -> None:
        if self._from_us > 0 and not self.is_live:
            self._budget.allow(OPEN_WITHIN, OPEN_BYTES)
            with contextlib.suppress(av.FFmpegError, OSError):
                container.seek(self.begin_us + self._from_us, backward=True)

    def _demux(self, container: InputContainer, tracks: dict[int, _Track]) -> None:
        missing = 0
        packets = container.demux([track.stream for track in tracks.values()])
        while True:
            self._budget.allow(READ_WITHIN)
            packet = next(packets, None)
            if (failure := self._budget.take_failure()) is not None:
                missing += 1
                if not failure.is_missing or missing > MISSING:
                    raise failure
            elif packet is not None:
                missing = 0
            if packet is None:
                self.is_ended = not self.is_live or self._budget.has_end
                return
            for made in _converted(packet, tracks[packet.stream_index]):
                if not self._handover.put(made):
                    return


def _chosen(container: InputContainer) -> Iterator[Stream]:
    kinds: tuple[Kind, Kind] = ("video", "audio")
    for kind in kinds:
        usable = [
            stream
            for stream in container.streams
            if stream.type == kind
            and not stream.disposition & Disposition.attached_pic
            and getattr(stream, "codec_context", None) is not None
        ]
        best = container.streams.best(kind)
        if best in usable:
            yield best
        elif usable:
            yield usable[0]


def _track(stream: Stream) -> _Track:
    assert stream.time_base is not None
    context = stream.codec_context
    codec = context.codec.canonical_name
    is_video = stream.type == "video"
    form = StreamForm(
        kind="video" if is_video else "audio",
        codec=codec,
        config=_config(codec, bytes(context.extradata or b"")),
        width=int(getattr(context, "width", 0) or 0) if is_video else 0,
        height=int(getattr(context, "height", 0) or 0) if is_video else 0,
        rate=0 if is_video else int(getattr(context, "sample_rate", 0) or 0),
        channels=0 if is_video else int(getattr(context, "channels", 0) or 0),
    )
    sets = bytes(context.extradata or b"") if codec in _SETS and not form.config else b""
    return _Track(stream, form, stream.time_base.numerator * _US, stream.time_base.denominator, sets)


def _config(codec: str, extradata: bytes) -> bytes:
    """Annex B has its parameter sets in the packets."""
    is_annex_b = codec in _SETS and extradata.startswith((b"\0\0\1", b"\0\0\0\1"))
    return b"" if is_annex_b else extradata


def _converted(packet: "Packet[Stream]", track: _Track) -> Iterator[SourcePacket]:
    if packet.size == 0:
        return
    if packet.has_sidedata("new_extradata"):
        config = _config(track.form.codec, bytes(packet.get_sidedata("new_extradata")))
        if config != track.form.config:
            track.form = replace(track.form, config=config)
    data = bytes(packet)
    if track.sets and packet.is_keyframe and not _has_sets(track.form.codec, data):
        data = track.sets + data  # as RTSP tells them beforehand only
    pts = packet.pts if packet.pts is not None else packet.dts
    dts = packet.dts if packet.dts is not None else packet.pts
    if pts is None or dts is None:
        yield SourcePacket(track.form, data, track.dts_us, track.dts_us, packet.is_keyframe)
        return
    track.dts_us = track.us(dts)
    yield SourcePacket(track.form, data, track.us(pts), track.dts_us, packet.is_keyframe)


def _has_sets(codec: str, data: bytes) -> bool:
    shift, mask, wanted = _SETS[codec]
    return any(unit[0] >> shift & mask == wanted for unit in nal_units(data) if unit)


def _words(error: Exception) -> str:
    if isinstance(error, av.InvalidDataError):
        return "it is no media that can be read"
    if isinstance(error, av.ExitError | TimeoutError):
        return "it gives too little in its time"
    if isinstance(error, ConnectionError):
        return "the connection broke"
    return "it cannot be read"
