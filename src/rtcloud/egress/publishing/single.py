"""A relay of one stream: its video goes through untouched, its sound is decoded and encoded again as AAC.

``SingleStream`` is driven like a mixer, on the mixing thread. Video access units are placed by their capture time on
the same clock as the sound and given on when their moment has come, so both stay in step. Nothing comes out before the
first media; from then on sound goes on as silence while the publisher is away, and video pauses.

What is given on begins with a keyframe and has no hole (``egress.passing``). Only H.264 can be relayed so.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from rtcloud.client import sei
from rtcloud.client.types import EncodedFrame
from rtcloud.clock import Clock
from rtcloud.egress.passing import PassedVideo, Unit
from rtcloud.egress.publishing.cast import Cast, Region
from rtcloud.egress.publishing.request import SeiParams
from rtcloud.egress.publishing.sei import RelayMessages
from rtcloud.mixer.clocking import ServerClock, UserClock
from rtcloud.mixer.encoding import TICKS, EncodedPacket
from rtcloud.mixer.form import KeyframeWanted, MixFormat, SubscriptionWanted, Wish
from rtcloud.mixer.layout import Rect
from rtcloud.mixer.mixing import Mixer
from rtcloud.mixer.pictures import MessageSource
from rtcloud.mixer.thread import MixingThread, Pace
from rtcloud.mixer.video import VideoDecoder, png

#: looks per second of the thread: fewer cost less, and each waits longer
LOOKS = 10


class SingleStream:
    """``refuse`` is called with the codec when the video is not H.264, and with "" when it is again."""

    def __init__(
        self,
        form: MixFormat,
        write: Callable[[EncodedPacket], None],
        wish: Callable[[Wish], None],
        messages: MessageSource,
        refuse: Callable[[str], None],
    ) -> None:
        self._form = form
        self._write = write
        self._wish = wish
        self._messages = messages
        self._sound = Mixer(replace(form, video=False), write, wish) if form.audio else None
        self._server_clock = ServerClock()
        self._video_id: str | None = None
        self._clock = UserClock(form.patience_us)
        self._origin_us: int | None = None
        self._video = PassedVideo(refuse)
        self._keyframe_is_wanted = False  # by those who receive
        self._last = -1
        self._pictures = 0
        self._keyframe = b""  # the last one, complete with parameter sets

    @property
    def server_clock(self) -> ServerClock:
        return self._server_clock

    @property
    def origin_us(self) -> int | None:
        return self._origin_us if self._sound is None else self._sound.origin_us

    @property
    def first_us(self) -> int | None:
        """The moment of the first access unit that waits."""
        return self._video.first_us

    def begin(self, origin_us: int) -> None:
        """The output begins now, whether or not there is anything."""
        self._origin_us = origin_us
        if self._sound is not None and self._sound.origin_us is None:
            self._sound.begin(origin_us)

    # Input ----------------------------------------------------------------------------------------------------------

    def listen(self, track_id: str, user_id: str, gain: float) -> None:
        if self._sound is not None:
            self._sound.add_audio(track_id, user_id, gain)

    def watch(self, track_id: str | None) -> None:
        """The video is this track from now on."""
        if track_id == self._video_id:
            return
        self._video_id = track_id
        self._clock = UserClock(self._form.patience_us)
        self._video.restart()
        if track_id is not None:
            self._wish(SubscriptionWanted(track_id, True))

    def remove(self, track_id: str, at_us: int) -> None:
        if self._sound is not None and track_id != self._video_id:
            self._sound.remove(track_id, at_us)

    def ask(self, now_us: int) -> None:
        """For a keyframe, if one is missing or wanted, and not too often."""
        if self._video_id is not None and self._video.asks(now_us, wanted=self._keyframe_is_wanted):
            self._keyframe_is_wanted = False
            self._wish(KeyframeWanted(self._video_id))

    def want_keyframe(self) -> None:
        self._keyframe_is_wanted = True

    def reform(self, form: MixFormat, at_us: int) -> None:
        """Only the sound has a format of ours."""
        if self._sound is not None:
            self._sound.reform(replace(form, video=False), at_us)

    def push(self, track_id: str, frame: EncodedFrame, now_us: int) -> None:
        self._server_clock.observe(frame.arrival_us, now_us)
        if track_id == self._video_id:
            self._take(frame, now_us)
        elif self._sound is not None:
            self._sound.push(track_id, frame, now_us)

    def lost(self, track_id: str) -> None:
        if track_id == self._video_id:
            self._video.lost()
        elif self._sound is not None:
            self._sound.lost(track_id)

    # What is made of it ---------------------------------------------------------------------------------------------

    def levels(self) -> dict[str, int]:
        return {} if self._sound is None else self._sound.levels()

    def in_view(self) -> frozenset[str]:
        return frozenset() if self._video_id is None or not self._pictures else frozenset({self._video_id})

    def picture_png(self) -> bytes:
        """The last keyframe; empty before there was one."""
        return picture_png(self._keyframe)

    # Output ---------------------------------------------------------------------------------------------------------

    def advance(self, until_us: int, *, hurry: bool = False) -> None:
        if self._sound is not None:
            self._sound.advance(until_us, hurry=hurry)
        for unit in self._video.due(until_us):
            self._give(unit)
        self.ask(until_us)

    def skip_sound(self, until_us: int) -> None:
        """Pictures that are older come at once when they may."""
        if self._sound is not None:
            self._sound.advance(until_us)

    def finish(self, end_us: int) -> int:
        self.advance(end_us)
        length = self._last + 1
        if self._sound is not None:
            length = max(length, self._sound.finish(end_us))
        return length

    def _take(self, frame: EncodedFrame, now_us: int) -> None:
        arrival = min(now_us, self._server_clock.to_local(frame.arrival_us))
        capture = None if frame.capture_us is None else self._server_clock.to_local(frame.capture_us)
        placed = self._clock.place(capture, arrival)
        if self._video.push(frame, placed) and self._origin_us is None:
            self.begin(placed if self.origin_us is None else self.origin_us)

    def _give(self, unit: Unit) -> None:
        assert self._origin_us is not None
        time = max(self._last + 1, (unit.placed_us - self._origin_us) * TICKS // 1_000_000)
        self._last = time
        self._pictures += 1
        data = unit.data
        if messages := self._messages(unit.keyframe, time // 90):
            with contextlib.suppress(ValueError):  # whatever that is, it is not ours to mend
                data = sei.insert(data, messages, max_data=sei.MAX_OWN_DATA)
        if unit.keyframe:
            self._keyframe = unit.data
        self._write(EncodedPacket("video", data, time, unit.keyframe, codec="h264"))


def picture_png(keyframe: bytes) -> bytes:
    """An H.264 keyframe as a picture file; empty for one that does not decode."""
    if not keyframe:
        return b""
    picture = VideoDecoder().decode(_Alone(keyframe))
    return b"" if picture is None else png(picture)


@dataclass(frozen=True, slots=True)
class _Alone:
    data: bytes
    keyframe: bool = True
    contiguous: bool = True


class Single:
    """What the event loop tells the stream; see ``mixed.Mixed``."""

    def __init__(
        self,
        form: MixFormat,
        messages: SeiParams,
        write: Callable[[EncodedPacket], None],
        wish: Callable[[Wish], None],
        clock: Clock,
        refuse: Callable[[str], None],
    ) -> None:
        self.form = form
        self.pace = Pace(LOOKS, form.patience_us)
        self._messages = RelayMessages(
            messages,
            form.width,
            form.height,
            levels=lambda: self.driven.levels(),
            in_view=lambda: self.driven.in_view(),
            now=lambda: clock.now_ms() / 1000,
        )
        self.driven = SingleStream(form, write, wish, self._messages, refuse)
        self._sound: set[str] = set()

    def follow(self, cast: Cast, thread: MixingThread[Any], at_us: int) -> None:
        video = next(iter(cast.video), None) if self.form.video else None
        whole = Rect(0, 0, self.form.width, self.form.height)
        regions = tuple(Region(cast.video[key].user_id, key, whole, 0) for key in cast.video if key == video)

        def tell(method: Callable[..., None], *args: object) -> None:
            thread.change(lambda _: method(*args))

        tell(self._watch, video, regions)
        for key, (track, gain) in cast.audio.items():
            if key not in self._sound:
                tell(self.driven.listen, key, track.user_id, gain)
        for key in self._sound - cast.audio.keys():
            tell(self.driven.remove, key, at_us)
        self._sound = set(cast.audio)

    def update(self, form: MixFormat, messages: SeiParams, thread: MixingThread[Any], at_us: int) -> None:
        """The stream itself has the format that its publisher gives it."""

        def change(_: object) -> None:
            self.driven.reform(form, at_us)
            self._messages.resize(form.width, form.height)
            self._messages.update(messages)

        self.form = form
        thread.change(change)

    def _watch(self, track_id: str | None, regions: tuple[Region, ...]) -> None:
        self.driven.watch(track_id)
        self._messages.regions = regions
