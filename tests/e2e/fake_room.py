"""A ``ClientRoom`` without a network: people with known pictures and tones, encoded as a browser would send them.

Everyone's capture times are exact; frames arrive later, unevenly, as on a real network. ``Person.script`` says when
someone does what, in seconds since the room began.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from rtcloud.client.types import (
    Disconnected,
    Participant,
    ParticipantJoined,
    ParticipantLeft,
    RemoteTrack,
    RoomEvent,
    TrackChanged,
    TrackPublished,
)
from tests.kit.frames import Frame

FPS = 30
BEEP_HZ = 2_500
BEEP_SECONDS = 0.2


@dataclass(slots=True)
class Person:
    """``colour`` is Y, U, V, or None for someone without a camera; ``tone`` in Hz, 0 for someone without a microphone;
    ``flashes`` are the moments of a white picture with a beep."""

    user_id: str
    colour: tuple[int, int, int] | None
    tone: int
    joins: float = 0.0
    leaves: float = 1e9
    mutes: tuple[float, float] = (1e9, 1e9)  # the microphone, from … to
    flashes: tuple[float, ...] = ()
    codec: str = "libx264"
    width: int = 160
    height: int = 90
    loses: float = 1e9  # a video frame is lost at this moment
    _video: av.VideoCodecContext | None = None
    _audio: av.AudioCodecContext | None = None
    _pictures: int = 0
    _blocks: int = 0
    wants_keyframe: bool = False
    muted: bool = False

    @property
    def tracks(self) -> tuple[RemoteTrack, ...]:
        tracks = []
        if self.tone:
            tracks.append(RemoteTrack(f"TR_{self.user_id}_a", self.user_id, "audio", "microphone", self.muted))
        if self.colour:
            tracks.append(
                RemoteTrack(f"TR_{self.user_id}_v", self.user_id, "video", "camera", False, self.width, self.height)
            )
        return tuple(tracks)

    def pictures(self, until: float, start_us: int) -> list[Frame]:
        """The video frames captured before ``until`` seconds."""
        frames: list[Frame] = []
        if self.colour is None:
            return frames
        if self._video is None:
            made = av.CodecContext.create(self.codec, "w")
            assert isinstance(made, av.VideoCodecContext)
            self._video = made
            self._video.width, self._video.height, self._video.pix_fmt = self.width, self.height, "yuv420p"
            self._video.time_base = Fraction(1, FPS)
            self._video.bit_rate = 400_000
            self._video.gop_size = 10_000
            self._video.thread_count = 1
            self._video.options = (
                {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "forced-idr": "1"}
                if self.codec == "libx264"
                else {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
            )
        while (at := self.joins + self._pictures / FPS) < until:
            flashing = any(flash <= at < flash + BEEP_SECONDS for flash in self.flashes)
            picture = av.VideoFrame(self.width, self.height, "yuv420p")
            for plane, value in zip(picture.planes, (235, 128, 128) if flashing else self.colour, strict=True):
                plane.update(bytes([value]) * plane.buffer_size)
            picture.pts = self._pictures
            picture.pict_type = PictureType.I if self.wants_keyframe else PictureType.NONE
            self.wants_keyframe = False
            lost = self.loses <= at < self.loses + 1 / FPS
            for packet in self._video.encode(picture):
                capture = start_us + round(at * 1e6)
                contiguous = not (self.loses + 1 / FPS <= at < self.loses + 2 / FPS)
                if not lost:
                    frames.append(
                        Frame(
                            f"TR_{self.user_id}_v",
                            bytes(packet),
                            round(at * 90_000) & 0xFFFFFFFF,
                            capture,
                            capture,
                            packet.is_keyframe,
                            contiguous,
                        )
                    )
            self._pictures += 1
        return frames

    def blocks(self, until: float, start_us: int) -> list[Frame]:
        """The Opus packets captured before ``until`` seconds."""
        frames: list[Frame] = []
        if not self.tone:
            return frames
        if self._audio is None:
            self._audio = av.AudioCodecContext.create("libopus", "w")
            self._audio.sample_rate, self._audio.layout, self._audio.format = 48_000, "mono", "s16"
            self._audio.bit_rate = 48_000
            self._audio.options = {"application": "lowdelay"}
        while (at := self.joins + self._blocks * 0.02) < until:
            times = at + np.arange(960) / 48_000
            sound = 0.2 * np.sin(2 * np.pi * self.tone * times)
            for flash in self.flashes:
                sound += np.where(
                    (times >= flash) & (times < flash + BEEP_SECONDS), 0.4 * np.sin(2 * np.pi * BEEP_HZ * times), 0
                )
            block = av.AudioFrame.from_ndarray((sound * 32767).astype(np.int16)[None, :], format="s16", layout="mono")
            block.sample_rate = 48_000
            block.pts = self._blocks * 960
            for packet in self._audio.encode(block):
                # the encoder looks ahead 2.5 ms: its packet holds sound that much older
                capture = start_us + round(at * 1e6) - 2_500
                if not self.muted:
                    frames.append(
                        Frame(
                            f"TR_{self.user_id}_a",
                            bytes(packet),
                            (self._blocks * 960) & 0xFFFFFFFF,
                            capture if self._blocks > 3 else None,
                            capture,
                            True,
                        )
                    )
            self._blocks += 1
        return frames


@dataclass(slots=True)
class FakeClientRoom:
    """Plays ``people`` in real time from the moment it is made."""

    people: list[Person]
    jitter: float = 0.06
    user_id: str = "recorder"
    room_name: str = "room"
    unsubscribed: set[str] = field(default_factory=set)
    wanted: dict[str, tuple[bool, int, int]] = field(default_factory=dict)
    keyframes_asked: list[str] = field(default_factory=list)
    left: bool = False
    disconnects: tuple[float, str] = (1e9, "")
    _present: dict[str, Participant] = field(default_factory=dict)
    _started: float = field(default_factory=time.monotonic)
    _start_us: int = field(default_factory=lambda: time.time_ns() // 1000)
    _random: random.Random = field(default_factory=lambda: random.Random(7))
    _under_way: list[tuple[float, Frame]] = field(default_factory=list)
    _gone: bool = False

    @property
    def start_ms(self) -> int:
        return self._start_us // 1000

    @property
    def participants(self) -> dict[str, Participant]:
        return dict(self._present)

    def now(self) -> float:
        return time.monotonic() - self._started

    async def until(self, moment: float) -> None:
        await asyncio.sleep(max(0.0, moment - self.now()))

    async def events(self) -> Sequence[RoomEvent]:
        while not self._gone:
            changed = self._look()
            if changed:
                return changed
            await asyncio.sleep(0.005)
        return []

    def _look(self) -> list[RoomEvent]:
        events: list[RoomEvent] = []
        now = self.now()
        for person in self.people:
            here = person.user_id in self._present
            if not here and person.joins <= now < person.leaves:
                participant = Participant(person.user_id, f"PA_{person.user_id}", person.tracks)
                self._present[person.user_id] = participant
                events += [ParticipantJoined(participant), *(TrackPublished(track) for track in person.tracks)]
            elif here and now >= person.leaves:
                del self._present[person.user_id]
                events.append(ParticipantLeft(person.user_id))
            muted = person.mutes[0] <= now < person.mutes[1]
            if here and muted != person.muted:
                person.muted = muted
                self._present[person.user_id] = replace(self._present[person.user_id], tracks=person.tracks)
                events.append(TrackChanged(person.tracks[0]))
        if now >= self.disconnects[0]:
            self._gone = True
            events.append(Disconnected(self.disconnects[1]))
        return events

    async def frames(self) -> Sequence[Frame]:
        while not self._gone and not self.left:
            now = self.now()
            for person in self.people:
                if person.user_id in self._present:
                    for frame in person.pictures(now, self._start_us):
                        # video is late by more than sound, as it is in life
                        self._send(frame, 0.03)
                    for frame in person.blocks(now, self._start_us):
                        self._send(frame, 0.0)
            arrived = [frame for due, frame in self._under_way if due <= now]
            self._under_way = [(due, frame) for due, frame in self._under_way if due > now]
            arrived = [frame for frame in arrived if frame.track not in self.unsubscribed]
            if arrived:
                return arrived
            await asyncio.sleep(0.004)
        return []

    def _send(self, frame: Frame, delay: float) -> None:
        earlier = [due for due, other in self._under_way if other.track == frame.track]
        captured = (frame.arrival_us - self._start_us) / 1e6
        due = max([captured + delay + self._random.random() * self.jitter, *earlier])
        self._under_way.append((due, replace(frame, arrival_us=self._start_us + round(due * 1e6))))

    async def subscribe(self, track_id: str, subscribed: bool = True) -> None:
        (self.unsubscribed.discard if subscribed else self.unsubscribed.add)(track_id)

    async def set_subscription(self, track_id: str, *, enabled: bool = True, width: int = 0, height: int = 0) -> None:
        self.wanted[track_id] = (enabled, width, height)

    def request_keyframe(self, track_id: str) -> None:
        self.keyframes_asked.append(track_id)
        for person in self.people:
            if track_id == f"TR_{person.user_id}_v":
                person.wants_keyframe = True

    async def leave(self) -> None:
        self.left = True


RED, BLUE, GREEN = (81, 90, 240), (41, 240, 110), (145, 54, 34)


def connecting(room: Callable[[], FakeClientRoom]) -> Callable[[str, str], Awaitable[Any]]:
    async def connect(url: str, token: str) -> FakeClientRoom:
        return room()

    return connect
