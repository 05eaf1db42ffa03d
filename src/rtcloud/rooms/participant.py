"""What a room knows of its people: participants (one presence each), their rights, tracks and subscriptions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from rtcloud.media.node import Rights

Kind = Literal["audio", "video"]
Source = Literal["unknown", "camera", "microphone", "screen_share", "screen_share_audio"]
#: What a publication is called in callbacks and usage: the camera, the microphone, the screen.
Stream = Literal["audio", "video", "aux"]
_SOUNDS: tuple[Source, ...] = ("microphone", "screen_share_audio")


class Role(IntEnum):
    """Values of the callbacks' ``Role``."""

    ANCHOR = 20
    AUDIENCE = 21


class UserType(IntEnum):
    WEBRTC = 1
    APPLET = 2
    NATIVE_SDK = 3


class TerminalType(IntEnum):
    WINDOWS = 1
    ANDROID = 2
    IOS = 3
    LINUX = 4
    OTHER = 100


@dataclass(frozen=True, slots=True)
class Layer:
    """A simulcast layer as announced. ``quality``: 0 low, 1 medium, 2 high. ``bitrate``: bit/s."""

    quality: int
    rid: str
    width: int
    height: int
    bitrate: int
    ssrc: int = 0


@dataclass(slots=True)
class Track:
    track_id: str
    cid: str
    kind: Kind
    source: Source
    name: str = ""
    stream: str = ""
    muted: bool = False
    width: int = 0
    height: int = 0
    codec: str = ""  # lower case; announced first, then what really came
    layers: tuple[Layer, ...] = ()
    stereo: bool = False
    disable_dtx: bool = False
    disable_red: bool = False
    encryption: int = 0
    #: livekit's numbers of features its publisher switched on (noise suppression and the like)
    features: tuple[int, ...] = ()
    #: its first media packet came; from then on it can be subscribed
    started: bool = False

    @property
    def publication(self) -> Stream | None:
        """Which publication of callbacks and usage it is; None for a shared screen's sound."""
        match self.source:
            case "screen_share":
                return "aux"
            case "screen_share_audio":
                return None
            case _:
                return self.kind

    @property
    def right(self) -> Stream:
        """Which right it needs: a shared screen's sound is sound."""
        return self.publication or "audio"


@dataclass(frozen=True, slots=True)
class Device:
    """Where a participant joined from, as its client said and its socket showed."""

    user_type: int = UserType.NATIVE_SDK
    terminal_type: int = TerminalType.OTHER
    device_type: str = ""
    sdk_version: str = ""
    client_address: str = ""


@dataclass(frozen=True, slots=True)
class Permission:
    """What a participant may do, at most; its role may take from it."""

    publish: bool = True
    subscribe: bool = True
    data: bool = True
    #: the only sources it may publish; empty: every one
    sources: tuple[str, ...] = ()
    #: the only sources it may receive; empty: every one
    received: tuple[str, ...] = ()
    update_metadata: bool = True

    def publishes(self, source: Source) -> bool:
        return self.publish and (not self.sources or source in self.sources)

    def receives(self, source: Source) -> bool:
        return self.subscribe and (not self.received or source in self.received)


NOTHING_BLOCKED: frozenset[Kind] = frozenset()


@dataclass(slots=True)
class Participant:
    """``presence`` names the stay in the room (a row; callbacks speak of it), ``participant_id`` one session of it:
    a user who comes back within the 90 s keeps the presence and gets a new session."""

    presence: str
    participant_id: str
    user_id: str
    role: Role
    device: Device
    joined_ms: int
    permission: Permission = Permission()
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    robot: bool = False
    #: never shown to others
    hidden: bool = False
    auto_subscribe: bool = True
    #: what SetUserBlocked took from it
    blocked: frozenset[Kind] = NOTHING_BLOCKED
    tracks: dict[str, Track] = field(default_factory=dict)
    #: tracks of others it receives
    subscribed: set[str] = field(default_factory=set)
    #: tracks it was explicitly told not to, or to, subscribe
    choices: dict[str, bool] = field(default_factory=dict)
    #: who may receive its tracks: None everybody; else per user id the track ids, None for all of them
    audience: Mapping[str, frozenset[str] | None] | None = None
    #: publications reported as started (201, 203, 205) and not yet as stopped
    sending: set[Stream] = field(default_factory=set)
    #: when, Unix ms, an absent user is given up; None while connected
    lost_deadline_ms: int | None = None
    #: when, Unix ms, publications of the earlier session that did not come back are reported as stopped
    return_deadline_ms: int | None = None
    #: what others know of it; grows with each change
    version: int = 0
    #: whether the others know it at all
    shown: bool = False
    #: (livekit ConnectionQuality 0 poor … 2 excellent, score 5 … 1); None until measured
    quality: tuple[int, float] | None = None

    @property
    def can_publish(self) -> bool:
        return self.permission.publish and self.role == Role.ANCHOR

    @property
    def can_send_data(self) -> bool:
        """One of the audience may not, except whom its token lets send messages and nothing else."""
        return self.permission.data and (self.role == Role.ANCHOR or not self.permission.publish)

    def publishes(self, track: Track) -> bool:
        return self.role == Role.ANCHOR and self.permission.publishes(track.source)

    def is_silenced(self, track: Track) -> bool:
        """Whether nobody receives it now: muted by its publisher, or blocked by the application."""
        return track.muted or track.kind in self.blocked

    def wants(self, track: Track) -> bool:
        chosen = self.choices.get(track.track_id, self.auto_subscribe)
        return chosen and self.permission.receives(track.source)

    def admits(self, subscriber: "Participant", track: Track) -> bool:
        """Whether it lets that user receive its track."""
        if self.audience is None or subscriber.robot:
            return True
        allowed = self.audience.get(subscriber.user_id, frozenset())
        return allowed is None or track.track_id in allowed

    def tracks_of(self, stream: Stream) -> list[Track]:
        return [track for track in self.tracks.values() if track.publication == stream]

    def is_sending(self, stream: Stream) -> bool:
        """Whether somebody could receive it: media of one of its tracks came, and nobody silenced that track."""
        return any(track.started and not self.is_silenced(track) for track in self.tracks_of(stream))

    def rights(self) -> Rights:
        """What the media node lets through, whatever the client does."""
        anchor, permission = self.role == Role.ANCHOR, self.permission
        sound, picture = anchor and "audio" not in self.blocked, anchor and "video" not in self.blocked
        return Rights(
            send_audio=sound and any(permission.publishes(source) for source in _SOUNDS),
            send_video=picture and permission.publishes("camera"),
            send_screen=picture and permission.publishes("screen_share"),
            receive_audio=any(permission.receives(source) for source in _SOUNDS),
            receive_video=permission.receives("camera"),
            receive_screen=permission.receives("screen_share"),
            data=self.can_send_data,
        )
