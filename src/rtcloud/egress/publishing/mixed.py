"""A relay that mixes: what the request and the people make of the mixer, before and after every change.

``Mixed`` lives on the event loop and tells the mixing thread what to change; all it remembers is the cast that the
mixer has been told of. One mixer goes on through every update that leaves the kinds of the output alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

from rtcloud.client.types import RemoteTrack
from rtcloud.clock import Clock
from rtcloud.egress.publishing.cast import Cast, Region
from rtcloud.egress.publishing.request import AudioEncode, RelayRequest, SeiParams, VideoEncode
from rtcloud.egress.publishing.sei import RelayMessages
from rtcloud.mixer import layout
from rtcloud.mixer.encoding import EncodedPacket
from rtcloud.mixer.form import MixFormat, Wish
from rtcloud.mixer.mixing import Mixer
from rtcloud.mixer.thread import MixingThread, Pace

#: how long late frames are waited for
PATIENCE_US = 300_000
SINGLE_PATIENCE_US = 150_000
#: of a relay without pictures; the mixer is never asked to draw it
NO_PICTURE = VideoEncode(width=16, height=16, fps=15, bit_rate=100, gop=2)


def mix_format(request: RelayRequest) -> MixFormat:
    """What the request's outputs need together. A room takes the most careful H.264 and Opus, a CDN what was asked
    for; from an output that serves both everyone gets the H.264 that all can play."""
    picture = NO_PICTURE if request.video_params is None else request.video_params.video_encode
    sound = AudioEncode() if request.audio_params is None else request.audio_params.audio_encode
    feeds_back = bool(request.feed_back_room_params)
    to_flv = bool(request.publish_cdn_params) or request.record_params is not None or not feeds_back
    codecs = ["h264" if request.is_single else request.video_codec] if to_flv else []
    return MixFormat(
        width=layout.even(picture.width),
        height=layout.even(picture.height),
        fps=picture.fps,
        video_bitrate=picture.bit_rate * 1000,
        gop_seconds=picture.gop,
        sample_rate=sound.sample_rate,
        channels=sound.channel,
        audio_bitrate=sound.bit_rate * 1000,
        video=request.video_params is not None,
        audio=request.audio_params is not None,
        patience_us=SINGLE_PATIENCE_US if request.is_single else PATIENCE_US,
        segment_seconds=None,
        video_codecs=tuple(dict.fromkeys([*codecs, "h264"])) if feeds_back else tuple(codecs),
        profile="baseline" if feeds_back else "main",
        audio_codecs=("aac", "opus") if feeds_back and to_flv else ("opus",) if feeds_back else ("aac",),
    )


class Mixed:
    """``write`` and ``wish`` are called on the mixing thread."""

    def __init__(
        self,
        form: MixFormat,
        messages: SeiParams,
        write: Callable[[EncodedPacket], None],
        wish: Callable[[Wish], None],
        clock: Clock,
    ) -> None:
        self.form = form
        self.pace = pace(form)
        self._messages = RelayMessages(
            messages,
            form.width,
            form.height,
            levels=self._levels,
            in_view=lambda: self.driven.in_view(),
            now=lambda: clock.now_ms() / 1000,
        )
        self.driven = Mixer(form, write, wish, messages=self._messages)
        self._told = Cast()
        self._names: dict[str, str] = {}

    def follow(self, cast: Cast, thread: MixingThread[Any], at_us: int) -> None:
        """The people, or what is made of them, are so from ``at_us`` on."""
        before, self._told = self._told, cast
        mixer = self.driven

        def tell(method: Callable[..., None], *args: object) -> None:
            thread.change(lambda _: method(*args))

        for key, (track, gain) in cast.audio.items():
            if key not in before.audio:
                tell(mixer.add_audio, key, _person(cast, key, track), gain)
            elif before.audio[key][1] != gain:
                tell(mixer.set_gain, key, gain)
        for key, track in cast.video.items():
            if before.video.get(key) != track:
                tell(mixer.add_video, key, _person(cast, key, track), track.width, track.height)
        for key in (before.audio.keys() | before.video.keys()) - cast.audio.keys() - cast.video.keys():
            tell(mixer.remove, key, at_us)
        if cast.scene is not None and cast.scene != before.scene:
            tell(mixer.show, cast.scene, at_us)
        self._names = {_person(cast, key, track): track.user_id for key, (track, _) in cast.audio.items()}
        tell(self._place, cast.regions)

    def update(self, form: MixFormat, messages: SeiParams, thread: MixingThread[Any], at_us: int) -> None:
        def change(_: object) -> None:
            self.driven.reform(form, at_us)
            thread.pace = self.pace
            self._messages.resize(form.width, form.height)
            self._messages.update(messages)

        self.form = form
        self.pace = pace(form)
        thread.change(change)

    # On the mixing thread -------------------------------------------------------------------------------------------

    def _place(self, regions: tuple[Region, ...]) -> None:
        self._messages.regions = regions

    def _levels(self) -> Mapping[str, int]:
        """By user id; the same id in two rooms is as loud as the louder."""
        levels: dict[str, int] = {}
        names = self._names
        for person, level in self.driven.levels().items():
            user_id = names.get(person, "")
            levels[user_id] = max(levels.get(user_id, 0), level)
        return levels


def pace(form: MixFormat) -> Pace:
    return Pace(form.fps if form.video else 25, form.patience_us)


def _person(cast: Cast, key: str, track: RemoteTrack) -> str:
    """Whose clock the track runs on. The same id in two rooms is two people."""
    return f"{cast.refs[key].ordering}/{track.user_id}"
