"""The recorder's own thread: frames of the room in, HLS files out, at the pace of real time.

The event loop only appends to a bounded inbox. The thread decodes, composes, encodes and writes; the native parts
release the interpreter, so the loop stays free. It runs ``patience_us`` behind the room: that long late frames have.

When the inbox is full frames are dropped and the track's decoder waits for a keyframe; when the machine is too slow
pictures are left out, sound is not.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec

from rtcloud.client.types import EncodedFrame
from rtcloud.clock import Clock
from rtcloud.egress.recording.hls import HlsWriter, Report, Tracks
from rtcloud.egress.recording.naming import FileNames
from rtcloud.egress.recording.recovery import AttemptFacts
from rtcloud.mixer.encoding import EncodedPacket
from rtcloud.mixer.mixing import Mixer, MixFormat, Wish

MAX_INBOX = 8_000
#: the thread looks at least this often; also the silence after which it counts as stuck
LOOK_EVERY_US = 100_000
STUCK_AFTER = 4.0

P = ParamSpec("P")

_log = logging.getLogger(__name__)


class LocalClock:
    """Wall time that never steps: read once, then moved on by the monotonic clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._anchor_us = clock.now_ms() * 1000
        self._started = clock.monotonic()

    def now_us(self) -> int:
        return self._anchor_us + int((self._clock.monotonic() - self._started) * 1_000_000)


@dataclass(frozen=True, slots=True)
class Lost:
    """Stands in the inbox where frames of the track were dropped."""

    track_id: str


@dataclass(frozen=True, slots=True)
class _End:
    at_us: int
    drains: bool


_Item = tuple[EncodedFrame, int] | Callable[[Mixer], None] | Lost


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
    ) -> None:
        self._form = form
        self._directory = directory
        self._names = names
        self._report = report
        self._clock = clock
        self._keep = keep
        self._local = LocalClock(clock)
        self._mixer = Mixer(form, self._write, wish)
        self._tracks = Tracks(
            width=form.width if form.video else 0,
            height=form.height if form.video else 0,
            sample_rate=form.sample_rate if form.audio else 0,
            channels=form.channels,
        )
        self._inbox: deque[_Item] = deque()
        self._dropping: set[str] = set()
        self._end: _End | None = None
        self._wake = threading.Event()
        self._hls: HlsWriter | None = None
        self._looked = clock.monotonic()
        #: resolves when the files are closed, or with what made the thread fail
        self.done: Future[None] = Future()
        self.dropped_frames = 0
        self._thread = threading.Thread(target=self._run, name="mixer", daemon=True)

    # On the event loop --------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._thread.start()

    def now_us(self) -> int:
        return self._local.now_us()

    def put(self, frames: Sequence[EncodedFrame]) -> None:
        now = self._local.now_us()
        for frame in frames:
            if len(self._inbox) < MAX_INBOX:
                self._dropping.discard(frame.track)
                self._inbox.append((frame, now))
                continue
            self.dropped_frames += 1
            if frame.track not in self._dropping:
                self._dropping.add(frame.track)
                self._inbox.append(Lost(frame.track))

    def change(self, method: Callable[Concatenate[Mixer, P], None], *args: P.args, **kwargs: P.kwargs) -> None:
        """Calls the mixer's ``method`` on the mixing thread, in order with the frames."""
        self._inbox.append(lambda mixer: method(mixer, *args, **kwargs))

    async def stop(self, *, at_server_ms: int | None = None, drains: bool = True) -> None:
        """Ends the recording at this moment (now) and closes the files. ``drains``: frames that are still on their way
        are waited for as long as any frame is."""
        now = self._local.now_us()
        at_us = now if at_server_ms is None else self._mixer.server_clock.to_local(at_server_ms * 1000)
        self._end = _End(min(now, at_us), drains)
        self._wake.set()
        await asyncio.wrap_future(self.done)

    def is_healthy(self) -> bool:
        return self.done.done() or self._clock.monotonic() - self._looked < STUCK_AFTER

    # On the mixing thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._mix()
        except BaseException as error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)

    def _mix(self) -> None:
        interval = min(LOOK_EVERY_US, 1_000_000 // self._form.fps) if self._form.video else LOOK_EVERY_US
        while True:
            now = self._local.now_us()
            self._looked = self._clock.monotonic()
            self._empty_inbox()
            end = self._end
            until = now - self._form.patience_us
            if end is not None and (not end.drains or until >= end.at_us):
                self._close(end.at_us)
                return
            self._mixer.advance(until if end is None else min(until, end.at_us), hurry=True)
            spent = self._local.now_us() - now
            self._wake.wait(max(2_000, interval - spent) / 1_000_000)
            if self._end is not None:
                time.sleep(0.005)  # the event stays set while draining

    def _empty_inbox(self) -> None:
        for _ in range(len(self._inbox)):
            item = self._inbox.popleft()
            if isinstance(item, tuple):
                frame, now = item
                self._mixer.push(frame.track, frame, now)
            elif isinstance(item, Lost):
                self._mixer.lost(item.track_id)
            else:
                item(self._mixer)

    def _write(self, packet: EncodedPacket) -> None:
        if self._hls is None:
            self._hls = self._open()
        self._hls.write(packet)

    def _open(self) -> HlsWriter:
        origin = self._mixer.origin_us
        assert origin is not None
        begin_ms = self._mixer.server_clock.to_server(origin) // 1000
        AttemptFacts(names=self._names, tracks=self._tracks, begin_ms=begin_ms, keep=self._keep).save(self._directory)
        return HlsWriter(
            self._directory,
            self._names,
            self._tracks,
            begin_ms,
            self._report,
            keep=self._keep,
            now_ms=self._clock.now_ms,
        )

    def _close(self, end_us: int) -> None:
        length = self._mixer.finish(end_us)
        if self._hls is not None:
            self._hls.close(length)
        counts = asdict(self._mixer.counts) | {"dropped_frames": self.dropped_frames}
        if self._mixer.counts.skipped_pictures or self.dropped_frames:
            _log.warning("the machine was too slow for this mix", extra=counts)
        else:
            _log.info("recording closed", extra=counts)
