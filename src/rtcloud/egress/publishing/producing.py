"""What a relay makes, through all its updates: the mixing thread, and on it a mix or a single stream.

One output clock runs from the first packet to the last. A mix begins at once, with nobody in it; a single stream with
the first media. An update that keeps to the form goes on with the same mixer; one that turns a mix into a single
stream, or the other way round, hands the output over at one moment (``handover``).
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from rtcloud.client.types import EncodedFrame
from rtcloud.clock import Clock
from rtcloud.egress.publishing.carrying import Batch, Carrier
from rtcloud.egress.publishing.cast import Cast
from rtcloud.egress.publishing.handover import Handover
from rtcloud.egress.publishing.mixed import Mixed, mix_format
from rtcloud.egress.publishing.request import RelayRequest
from rtcloud.egress.publishing.single import Single
from rtcloud.mixer.encoding import EncodedPacket
from rtcloud.mixer.form import Wish
from rtcloud.mixer.thread import LocalClock, MixingThread

_log = logging.getLogger(__name__)


class Production:
    """``deliver``, ``wish`` and ``refuse`` are called on the event loop, ``keep`` with each packet and its
    moment on the mixing thread, and ``close`` there at the end, with the output's length in ticks."""

    def __init__(
        self,
        request: RelayRequest,
        clock: Clock,
        *,
        deliver: Callable[[Batch], None],
        wish: Callable[[Wish], None],
        refuse: Callable[[str], None],
        keep: Callable[[EncodedPacket, int], None] = lambda packet, at_us: None,
        close: Callable[[int], None] = lambda length: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._clock = clock
        self._deliver = deliver
        self._wish = wish
        self._refuse = refuse
        self._close_files = close
        self._carrier = Carrier(LocalClock(clock).now_us, self._cross, keep)
        self._request = request
        self._made = self._make(request)
        self._carrier.follow(self._made.driven)
        self._thread: MixingThread[Any] = MixingThread(
            self._made.driven, self._made.pace, clock, close=self._close, looked=self._look
        )
        #: resolves when everything is closed, or with what made the thread fail
        self.done = self._thread.done

    # On the event loop ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        if not self._request.is_single:
            self._made.driven.begin(self.now_us() - self._made.pace.patience_us)
        self._thread.start()

    def now_us(self) -> int:
        return self._thread.now_us()

    def put(self, frames: Sequence[EncodedFrame], key: Callable[[str], str]) -> None:
        self._thread.put(frames, key)

    def follow(self, cast: Cast, at_us: int) -> None:
        """The people, or where they stand, are so from ``at_us`` on."""
        self._made.follow(cast, self._thread, at_us)

    def update(self, request: RelayRequest) -> None:
        """Another request. The cast that it makes is to be followed next."""
        before, self._request = self._request, request
        form = mix_format(request)
        if request.is_single == before.is_single and form.continues(self._made.form):
            if form != self._made.form or request.sei_params != before.sei_params:
                self._made.update(form, request.sei_params, self._thread, self.now_us())
            return
        old, new = self._made, self._make(request)
        self._made = new

        def exchange(driven: Any) -> None:
            now_us = self.now_us()
            if isinstance(driven, Handover):  # two updates at once
                driven.complete(now_us - old.pace.patience_us)
                driven = old.driven
            if driven.origin_us is None:  # nothing came out yet
                driven.finish(now_us)
                if not request.is_single:
                    new.driven.begin(now_us - new.pace.patience_us)
                self._carrier.follow(new.driven)
                self._thread.replace(new.driven, new.pace)
                return
            handover = Handover(
                driven,
                new.driven,
                now_us,
                self._carrier,
                lambda: self._thread.replace(new.driven, new.pace),
                waits=request.is_single and new.form.video,
            )
            self._thread.replace(handover, old.pace)

        self._thread.change(exchange)

    def want_keyframe(self) -> None:
        self._thread.change(lambda driven: driven.want_keyframe())

    async def picture(self) -> bytes:
        """What can be seen now, as PNG; empty if nothing can."""
        picture: bytes = await self._thread.ask(lambda driven: driven.picture_png())
        return picture

    async def stop(self, *, at_server_ms: int | None = None, drains: bool = True) -> None:
        await self._thread.stop(at_server_ms=at_server_ms, drains=drains)

    def is_healthy(self) -> bool:
        return self._thread.is_healthy()

    def _make(self, request: RelayRequest) -> Mixed | Single:
        form, messages, write = mix_format(request), request.sei_params, self._carrier.write
        if request.is_single:
            return Single(form, messages, write, self._cross_wish, self._clock, self._cross_refusal)
        return Mixed(form, messages, write, self._cross_wish, self._clock)

    # On the mixing thread -------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._carrier.flush()
        if self._carrier.dropped:
            self._carrier.dropped = False
            self._made.driven.want_keyframe()

    def _close(self, driven: Any, end_us: int) -> None:
        driven.finish(end_us)
        self._carrier.flush()
        self._close_files(self._carrier.length)
        counts = asdict(driven.counts) if hasattr(driven, "counts") else {}
        _log.info("relay closed", extra=counts | {"dropped_frames": self._thread.dropped_frames})

    def _cross(self, batch: Batch) -> None:
        self._call(self._take, batch)

    def _cross_wish(self, wish: Wish) -> None:
        self._call(self._wish, wish)

    def _cross_refusal(self, codec: str) -> None:
        self._call(self._refuse, codec)

    def _call(self, function: Callable[..., None], *args: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for it
            self._loop.call_soon_threadsafe(function, *args)

    def _take(self, batch: Batch) -> None:
        """On the loop."""
        self._carrier.taken(batch)
        self._deliver(batch)
