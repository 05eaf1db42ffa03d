"""From a mix to a single stream, or the other way round, without a hole: for a moment both are fed.

The old one makes the output up to one moment, the new one from there on. To a mix that is the moment of the update; to
a single stream its first keyframe, for which is waited ``WAIT_US`` at most. What comes in meanwhile goes to both; of
the new one's sound what lies before the moment is thrown away, of its video nothing is: it is a chain.
"""

from collections.abc import Callable
from typing import Any

from rtcloud.client.types import EncodedFrame
from rtcloud.egress.publishing.carrying import Carrier
from rtcloud.mixer.clocking import ServerClock

#: the publisher may be away
WAIT_US = 1_500_000


class Handover:
    """Driven in place of ``old`` until ``done`` is called, then ``new`` is. Both are a ``Mixer`` or a ``SingleStream``;
    ``waits`` for a keyframe if the new one is to begin with one."""

    def __init__(
        self, old: Any, new: Any, now_us: int, carrier: Carrier, done: Callable[[], None], *, waits: bool
    ) -> None:
        self._old = old
        self._new = new
        self._carrier = carrier
        self._done = done
        self._waits = waits
        self._began_us = now_us
        self._is_over = False
        new.begin(now_us)

    @property
    def origin_us(self) -> int | None:
        origin_us: int | None = self._old.origin_us
        return origin_us

    @property
    def server_clock(self) -> ServerClock:
        clock: ServerClock = self._old.server_clock
        return clock

    def push(self, track_id: str, frame: EncodedFrame, now_us: int) -> None:
        self._old.push(track_id, frame, now_us)
        self._new.push(track_id, frame, now_us)

    def lost(self, track_id: str) -> None:
        self._old.lost(track_id)
        self._new.lost(track_id)

    def want_keyframe(self) -> None:
        self._old.want_keyframe()
        self._new.want_keyframe()

    def picture_png(self) -> bytes:
        picture: bytes = self._old.picture_png()
        return picture

    def advance(self, until_us: int, *, hurry: bool = False) -> None:
        moment = self._began_us
        if self._waits:
            self._new.ask(until_us)
            keyframe_us: int | None = self._new.first_us
            moment += WAIT_US
            moment = moment if keyframe_us is None else max(self._began_us, min(keyframe_us, moment))
        if until_us < moment:
            self._old.advance(until_us, hurry=hurry)
        else:
            self.complete(moment)

    def complete(self, at_us: int) -> None:
        """The new one goes on from this moment."""
        if self._is_over:
            return
        self._is_over = True
        self._old.finish(at_us)
        self._carrier.follow(self._new)
        if self._waits:
            self._carrier.is_muted = True
            self._new.skip_sound(at_us)
            self._carrier.is_muted = False
        self._done()

    def finish(self, end_us: int) -> int:
        length: int = self._old.finish(end_us)
        return length
