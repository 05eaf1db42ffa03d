"""The recorder's mixing thread with what it writes: frames of the room in, HLS files out, at the pace of real time."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Concatenate, ParamSpec

from rtcloud.client.types import EncodedFrame
from rtcloud.clock import Clock
from rtcloud.egress.recording.facts import AttemptFacts, open_hls
from rtcloud.egress.recording.hls import HlsWriter, Report, Tracks
from rtcloud.egress.recording.naming import FileNames
from rtcloud.mixer.encoding import TICKS, EncodedPacket
from rtcloud.mixer.mixing import Mixer, MixFormat, Wish
from rtcloud.mixer.thread import MixingThread, Pace
from rtcloud.tasks.figures import Gauge

P = ParamSpec("P")

_log = logging.getLogger(__name__)


class Pipeline:
    """``wish`` is called on the mixing thread."""

    def __init__(
        self,
        form: MixFormat,
        directory: Path,
        names: FileNames,
        report: Report,
        wish: Callable[[Wish], None],
        clock: Clock,
        *,
        keep: bool,
        gauge: Gauge,
    ) -> None:
        self._gauge = gauge
        self._directory = directory
        self._names = names
        self._report = report
        self._clock = clock
        self._keep = keep
        self._mixer = Mixer(form, self._write, wish)
        self._tracks = Tracks(
            width=form.width if form.video else 0,
            height=form.height if form.video else 0,
            sample_rate=form.sample_rate if form.audio else 0,
            channels=form.channels,
        )
        self._hls: HlsWriter | None = None
        pace = Pace(form.fps if form.video else 0, form.patience_us)
        self._thread = MixingThread(self._mixer, pace, clock, close=self._close)
        #: resolves when the files are closed, or with what made the thread fail
        self.done = self._thread.done

    # On the event loop --------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def now_us(self) -> int:
        return self._thread.now_us()

    def put(self, frames: Sequence[EncodedFrame]) -> None:
        self._thread.put(frames)

    def change(self, method: Callable[Concatenate[Mixer, P], None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Calls the mixer's ``method`` on the mixing thread, in order with the frames."""
        self._thread.change(lambda mixer: method(mixer, *args, **kwargs))

    async def stop(self, *, at_server_ms: int | None = None, drains: bool = True) -> None:
        """Ends the recording at this moment (now) and closes the files. ``drains``: frames that are still on their way
        are waited for as long as any frame is."""
        await self._thread.stop(at_server_ms=at_server_ms, drains=drains)

    async def picture(self) -> bytes:
        """The mixed picture as it is, as PNG; empty without video."""
        return await self._thread.ask(Mixer.picture_png)

    def is_healthy(self) -> bool:
        return self._thread.is_healthy()

    # On the mixing thread -----------------------------------------------------------------------------------------

    def _write(self, packet: EncodedPacket) -> None:
        if self._hls is None:
            self._hls = self._open()
        self._hls.write(packet)
        origin = self._mixer.origin_us
        assert origin is not None
        self._gauge.count([packet], max(0, self._thread.now_us() - origin - packet.time * 1_000_000 // TICKS))

    def _open(self) -> HlsWriter:
        origin = self._mixer.origin_us
        assert origin is not None
        begin_ms = self._mixer.server_clock.to_server(origin) // 1000
        facts = AttemptFacts(names=self._names, tracks=self._tracks, begin_ms=begin_ms, keep=self._keep)
        return open_hls(self._directory, facts, self._report, now_ms=self._clock.now_ms)

    def _close(self, mixer: Mixer, end_us: int) -> None:
        length = mixer.finish(end_us)
        if self._hls is not None:
            self._hls.close(length)
        dropped = self._thread.dropped_frames
        counts = asdict(mixer.counts) | {"dropped_frames": dropped}
        if mixer.counts.skipped_pictures or dropped:
            _log.warning("the machine was too slow for this mix", extra=counts)
        else:
            _log.info("recording closed", extra=counts)
