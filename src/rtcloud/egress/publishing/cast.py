"""What a plan for a relay consists of: values only, from which the job learns whom to receive and what to draw."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from rtcloud.client.types import Participant, RemoteTrack
from rtcloud.mixer.layout import Rect
from rtcloud.mixer.scene import Scene
from rtcloud.rooms.ids import RoomRef

MAIN, AUX = 0, 1
_AUX_SOURCES = ("screen_share", "screen_share_audio")

TrackKey = str
User = tuple[RoomRef, str]
StreamKey = tuple[RoomRef, str, int]


def track_key(ref: RoomRef, track_id: str) -> TrackKey:
    """What the mixer calls a track: ids of tracks are unique in their room only."""
    return f"{track_id}@{ref.ordering}"


@dataclass(frozen=True, slots=True)
class RoomView:
    """``participants``: the others, in the order they came."""

    ref: RoomRef
    participants: Sequence[Participant]


@dataclass(frozen=True, slots=True)
class Region:
    user_id: str
    track_key: TrackKey
    rect: Rect
    z: int


@dataclass(frozen=True, slots=True)
class Cast:
    """``audio`` and ``video`` are the tracks to receive, ``refs`` says in which room each is; ``regions`` are the
    places with a stream that should be seen. ``scene`` is None where no picture is mixed."""

    scene: Scene | None = None
    audio: dict[TrackKey, tuple[RemoteTrack, float]] = field(default_factory=dict)
    video: dict[TrackKey, RemoteTrack] = field(default_factory=dict)
    refs: dict[TrackKey, RoomRef] = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    has_anchor: bool = False


@dataclass(frozen=True, slots=True)
class Stream:
    """What one person sends of one kind: with the camera, or of the screen."""

    ref: RoomRef
    participant: Participant
    kind: int

    @property
    def key(self) -> StreamKey:
        return self.ref, self.participant.user_id, self.kind

    @property
    def user(self) -> User:
        return self.ref, self.participant.user_id

    def tracks(self, kind: str) -> list[RemoteTrack]:
        return [
            track
            for track in self.participant.tracks
            if track.kind == kind and (track.source in _AUX_SOURCES) == (self.kind == AUX)
        ]

    @property
    def picture(self) -> RemoteTrack | None:
        """The newest video that is not muted."""
        return next((track for track in reversed(self.tracks("video")) if not track.muted), None)

    @property
    def only_sounds(self) -> bool:
        """The main stream of somebody who sends sound and no picture of any kind."""
        is_seen = any(track.kind == "video" and not track.muted for track in self.participant.tracks)
        return self.kind == MAIN and not is_seen and bool(self.tracks("audio"))


class Draft:
    """A cast in the making."""

    def __init__(self) -> None:
        self.audio: dict[TrackKey, tuple[RemoteTrack, float]] = {}
        self._video: dict[TrackKey, RemoteTrack] = {}
        self._refs: dict[TrackKey, RoomRef] = {}
        self._regions: list[Region] = []

    def hear(self, ref: RoomRef, track: RemoteTrack, gain: float) -> None:
        key = track_key(ref, track.track_id)
        self.audio[key] = track, gain
        self._refs[key] = ref

    def see(self, stream: Stream, track: RemoteTrack) -> TrackKey:
        key = track_key(stream.ref, track.track_id)
        self._video[key] = track
        self._refs[key] = stream.ref
        return key

    def show(self, stream: Stream, track: RemoteTrack, rect: Rect, z: int) -> TrackKey:
        key = self.see(stream, track)
        self._regions.append(Region(stream.participant.user_id, key, rect, z))
        return key

    def done(self, scene: Scene | None, has_anchor: bool) -> Cast:
        return Cast(scene, self.audio, self._video, self._refs, tuple(self._regions), has_anchor)
