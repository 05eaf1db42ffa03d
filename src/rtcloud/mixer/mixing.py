"""The mixer: tracks in, one picture and one sound out, encoded, driven by the caller's time.

It reads no clock, and every call is done when it returns. ``push`` takes frames as they come; ``advance(until)``
composes and encodes everything up to that moment of local time, which the caller keeps behind the real one by as long
as it waits for late frames. Changes of the scene take effect at the moment they are given for, like media, so a picture
disappears in the output when its sender left the room.

Invariants: output times are continuous from the origin, the moment of ``begin`` or else the placed time of the first
frame ever pushed; one frame per tick unless the caller is in a hurry; an audio block never waits for a track. One call
of ``advance`` makes no more than ``MOST_BEHIND_US``: from a caller that was away for longer (its machine slept) what
lies between is left out, where nothing is kept anyway, and the output's times go on behind it.
"""

from collections import deque
from collections.abc import Callable

from rtcloud.mixer.clocking import ServerClock, UserClock
from rtcloud.mixer.encoding import TICKS, EncodedPacket
from rtcloud.mixer.form import InputFrame, KeyframeWanted, MixCounts, MixFormat, SubscriptionWanted, Wish
from rtcloud.mixer.pictures import MessageSource, Pictures
from rtcloud.mixer.scene import Scene
from rtcloud.mixer.sounds import BLOCK_US, Sounds

__all__ = ["KeyframeWanted", "MixCounts", "MixFormat", "Mixer", "SubscriptionWanted", "Wish"]

#: changes whose moment has not come; over it the next one is made at once
MAX_CHANGES = 1_000
#: what one call makes at most; of more only the end is made, about as long as tracks hold their sound
MOST_BEHIND_US = 60_000_000
KEPT_US = 5_000_000


class Mixer:
    def __init__(
        self,
        form: MixFormat,
        write: Callable[[EncodedPacket], None],
        wish: Callable[[Wish], None],
        *,
        messages: MessageSource | None = None,
    ) -> None:
        self._form = form
        self._write = write
        self.server_clock = ServerClock()
        self._users: dict[str, UserClock] = {}
        self._owners: dict[str, str] = {}
        self._changes: deque[tuple[int, Callable[[], None]]] = deque()
        self._origin_us: int | None = None
        self._counts = MixCounts()
        self._made_pictures = 0
        self._made_bytes = 0
        self._sounds = Sounds(form, self._put, self._counts) if form.audio else None
        self._pictures = Pictures(form, self._put, wish, self._counts, messages) if form.video else None
        self._sound_tracks: set[str] = set()
        self._leaving: set[str] = set()  # to be removed at a moment that has not come

    # Input --------------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> MixCounts:
        """Tracks are counted when they end; complete after ``finish``."""
        return self._counts

    @property
    def origin_us(self) -> int | None:
        """Local time of the output's time 0; None before the first media."""
        return self._origin_us

    def begin(self, origin_us: int) -> None:
        """The output begins at this moment, with nothing in it yet. Too late once it has begun."""
        if self._origin_us is None:
            self._origin_us = origin_us

    def add_audio(self, track_id: str, user_id: str, gain: float = 1.0) -> None:
        self._leaving.discard(track_id)
        if self._sounds is not None and track_id not in self._owners:
            self._own(track_id, user_id)
            self._sound_tracks.add(track_id)
            self._sounds.add(track_id, user_id, gain)

    def set_gain(self, track_id: str, gain: float) -> None:
        """Within the next 20 ms, without a click."""
        if self._sounds is not None:
            self._sounds.set_gain(track_id, gain)

    def add_video(self, track_id: str, user_id: str, width: int, height: int) -> None:
        """``width`` and ``height`` are as announced, 0 when unknown; for a known track they are changed."""
        self._leaving.discard(track_id)
        if self._pictures is not None and track_id not in self._sound_tracks:
            if track_id not in self._owners:
                self._own(track_id, user_id)
            self._pictures.add(track_id, width, height)

    def remove(self, track_id: str, at_us: int) -> None:
        """The track ended at ``at_us``; what it sent before is still mixed. When it is added again before that moment,
        it goes on."""
        self._leaving.add(track_id)
        self._at(at_us, lambda: self._drop_leaving(track_id))

    def show(self, scene: Scene, at_us: int) -> None:
        """From ``at_us`` on this is the picture. Tracks that cannot be seen in it are neither wanted nor decoded."""
        pictures = self._pictures
        if pictures is not None:
            pictures.plan(scene)
            self._at(at_us, lambda: pictures.show(scene))

    def reform(self, form: MixFormat, at_us: int) -> None:
        """From ``at_us`` on the output has this format; its times go on and its next picture is a keyframe. ValueError
        when it cannot be changed so: with or without video or audio, sample rate, channels, patience."""
        if not form.continues(self._form):
            raise ValueError("an output cannot go on in this format")
        if form != self._form:
            self._form = form
            self._at(at_us, lambda: self._reform(form))

    def want_keyframe(self) -> None:
        """The next picture is one, or one soon, when there was one just now."""
        if self._pictures is not None:
            self._pictures.want_keyframe()

    def push(self, track_id: str, frame: InputFrame, now_us: int) -> None:
        """A frame that was received at local time ``now_us``. Frames of unknown tracks are ignored."""
        user_id = self._owners.get(track_id)
        if user_id is None:
            return
        self.server_clock.observe(frame.arrival_us, now_us)
        arrival = min(now_us, self.server_clock.to_local(frame.arrival_us))
        capture = None if frame.capture_us is None else self.server_clock.to_local(frame.capture_us)
        placed = self._users[user_id].place(capture, arrival)
        if self._origin_us is None:
            self._origin_us = placed
        if self._sounds is not None and track_id in self._sound_tracks:
            self._sounds.push(track_id, frame, placed - self._origin_us, is_exact=capture is not None)
        elif self._pictures is not None:
            self._pictures.push(track_id, frame, placed)

    def lost(self, track_id: str) -> None:
        """Frames of the track were dropped before they came here."""
        if self._pictures is not None:
            self._pictures.lost(track_id)

    # What is made of it -------------------------------------------------------------------------------------------

    def levels(self) -> dict[str, int]:
        """How loud each user is heard, 0 to 100, over the last 200 ms."""
        return self._sounds.levels() if self._sounds is not None else {}

    def in_view(self) -> frozenset[str]:
        """The tracks whose picture is drawn."""
        return self._pictures.in_view() if self._pictures is not None else frozenset()

    def picture_png(self) -> bytes:
        """The composed picture as it is; empty without video."""
        return self._pictures.png() if self._pictures is not None else b""

    def made(self) -> tuple[int, int]:
        """Pictures, and bytes of everything, since the beginning."""
        return self._made_pictures, self._made_bytes

    # Output -------------------------------------------------------------------------------------------------------

    def advance(self, until_us: int, *, hurry: bool = False) -> None:
        """Compose and encode everything before ``until_us``. In a ``hurry`` pictures that are far behind are left
        out; the time runs on without them."""
        if self._origin_us is None:
            return
        self._leave_out(until_us - self._origin_us)
        while True:
            picture_us = self._origin_us + self._pictures.position_us if self._pictures is not None else None
            block_us = self._origin_us + self._sounds.position_us if self._sounds is not None else None
            if self._sounds is not None and block_us is not None and (picture_us is None or block_us <= picture_us):
                if block_us + BLOCK_US > until_us:
                    return
                self._apply_changes(block_us)
                self._sounds.mix()
            elif self._pictures is not None and picture_us is not None and picture_us < until_us:
                self._apply_changes(picture_us)
                behind_us = until_us - picture_us if hurry else 0
                self._made_pictures += self._pictures.compose(picture_us, self.server_clock, behind_us=behind_us)
            else:
                return

    def _leave_out(self, until_us: int) -> None:
        """``until_us`` counts from the output's beginning."""
        for half in (self._sounds, self._pictures):
            if half is not None and until_us - half.position_us > MOST_BEHIND_US:
                half.skip_to(until_us - KEPT_US)

    def finish(self, end_us: int) -> int:
        """Advance to ``end_us``, flush the encoders, give up all tracks; the length of the output in ticks of 1/90000
        s."""
        self.advance(end_us)
        for track_id in list(self._owners):
            self._drop(track_id)
        length = 0
        if self._pictures is not None:
            if self._origin_us is not None:
                self._pictures.flush()
                length = self._pictures.position
            self._pictures.close()
        if self._sounds is not None and self._origin_us is not None:
            self._sounds.flush()
            length = max(length, self._sounds.position_us * TICKS // 1_000_000)
        return length

    def _put(self, packet: EncodedPacket) -> None:
        self._made_bytes += len(packet.data)
        self._write(packet)

    # Changes ------------------------------------------------------------------------------------------------------

    def _at(self, at_us: int, change: Callable[[], None]) -> None:
        if self._origin_us is None:  # what is true at the beginning need not wait for its moment
            change()
            return
        if self._changes:
            at_us = max(at_us, self._changes[-1][0])
        self._changes.append((at_us, change))
        if len(self._changes) > MAX_CHANGES:
            self._changes.popleft()[1]()

    def _apply_changes(self, now_us: int) -> None:
        while self._changes and self._changes[0][0] <= now_us:
            self._changes.popleft()[1]()

    def _reform(self, form: MixFormat) -> None:
        if self._pictures is not None:
            self._pictures.reform(form)
        if self._sounds is not None:
            self._sounds.reform(form)

    def _own(self, track_id: str, user_id: str) -> None:
        self._owners[track_id] = user_id
        self._users.setdefault(user_id, UserClock(self._form.patience_us))

    def _drop_leaving(self, track_id: str) -> None:
        if track_id in self._leaving:
            self._drop(track_id)

    def _drop(self, track_id: str) -> None:
        self._leaving.discard(track_id)
        if self._sounds is not None and track_id in self._sound_tracks:
            self._sounds.drop(track_id)
        elif self._pictures is not None:
            self._pictures.drop(track_id)
        self._sound_tracks.discard(track_id)
        user_id = self._owners.pop(track_id, None)
        if user_id is not None and user_id not in self._owners.values():
            self._users.pop(user_id, None)
