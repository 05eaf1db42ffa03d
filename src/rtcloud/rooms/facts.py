"""What can happen to a room (past tense). All plain data; what follows from it is in ``commands``."""

from dataclasses import dataclass, field

from rtcloud.rooms.participant import Device, Kind, Permission, Role, Track


@dataclass(frozen=True, slots=True)
class Entered:
    """A session asks to join; the caller has verified it. ``participant_id`` is new."""

    participant_id: str
    user_id: str
    role: Role
    device: Device
    single: bool
    auto_subscribe: bool = True
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    permission: Permission = Permission()
    robot: bool = False
    hidden: bool = False
    #: whether a room may come to be with it
    may_create: bool = True
    #: it offers once, and what it receives comes and goes without a word (``AddParticipant.fixed``)
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Resumed:
    """A new socket for a session that is still here."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class SocketLost:
    """``silent_ms``: how long ago the loss was, if that was noticed by nothing coming any more."""

    participant_id: str
    silent_ms: int = 0


@dataclass(frozen=True, slots=True)
class LeftRoom:
    """The session said that it leaves."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class UsersRemoved:
    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UserBlockedSet:
    """What may not be heard and seen of a user who is there, says the application; in place of what it said before."""

    user_id: str
    kinds: frozenset[Kind]


@dataclass(frozen=True, slots=True)
class RoomMetadataSet:
    metadata: str


@dataclass(frozen=True, slots=True)
class RoomDismissed:
    pass


@dataclass(frozen=True, slots=True)
class RoleChosen:
    """A session wants to be anchor or audience; ``request_id`` is that of its request, answered by Grant or Refuse."""

    participant_id: str
    role: Role
    request_id: int = 0


@dataclass(frozen=True, slots=True)
class KeyReplaced:
    """A new PrivateMapKey of the session was verified: it may do this from now on."""

    participant_id: str
    permission: Permission
    request_id: int = 0


@dataclass(frozen=True, slots=True)
class KeyExpired:
    """A session did something that needs a good PrivateMapKey, and its key is not good any more."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class ProfileChanged:
    """A session describes itself anew; None leaves a part as it is, an empty attribute takes it away."""

    participant_id: str
    request_id: int = 0
    name: str | None = None
    metadata: str | None = None
    attributes: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class TrackDescribed:
    """A publisher changed what is known of its track: size of the picture, features of the sound."""

    participant_id: str
    track_id: str
    width: int = 0
    height: int = 0
    features: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class AudienceChosen:
    """A publisher says who may receive its tracks; None: everybody. Else per user id its track ids, None for all."""

    participant_id: str
    audience: dict[str, frozenset[str] | None] | None


@dataclass(frozen=True, slots=True)
class TrackAdded:
    """A session announced a track; ``track.track_id`` is new and ``started`` False."""

    participant_id: str
    track: Track


@dataclass(frozen=True, slots=True)
class TrackMuted:
    participant_id: str
    track_id: str
    muted: bool


@dataclass(frozen=True, slots=True)
class TrackRemoved:
    """Its publisher stopped sending it for good."""

    participant_id: str
    track_id: str


@dataclass(frozen=True, slots=True)
class SubscriptionChosen:
    participant_id: str
    track_ids: tuple[str, ...]
    subscribe: bool


@dataclass(frozen=True, slots=True)
class SubscriptionSized:
    """What a subscriber shows of a track. 0 × 0: as large as there is, or the announced layer of ``quality`` (0 low,
    1 medium, 2 high)."""

    participant_id: str
    track_ids: tuple[str, ...]
    enabled: bool
    width: int
    height: int
    fps: int
    quality: int = 2


@dataclass(frozen=True, slots=True)
class MediaStarted:
    """The first packet of a track arrived, in ``codec``."""

    participant_id: str
    track_id: str
    codec: str


@dataclass(frozen=True, slots=True)
class QualityMeasured:
    participant_id: str
    uplink_loss: float
    downlink_loss: float
    rtt_ms: float


@dataclass(frozen=True, slots=True)
class Receiving:
    """What a subscriber gets of a track from now on; 0 × 0 is nothing."""

    participant_id: str
    track_id: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class MediaFailed:
    """The media of the whole room is gone (a caught panic)."""


@dataclass(frozen=True, slots=True)
class TimePassed:
    pass


Fact = (
    Entered
    | Resumed
    | SocketLost
    | LeftRoom
    | UsersRemoved
    | UserBlockedSet
    | RoomMetadataSet
    | RoomDismissed
    | RoleChosen
    | KeyReplaced
    | KeyExpired
    | ProfileChanged
    | TrackDescribed
    | AudienceChosen
    | TrackAdded
    | TrackMuted
    | TrackRemoved
    | SubscriptionChosen
    | SubscriptionSized
    | MediaStarted
    | QualityMeasured
    | Receiving
    | MediaFailed
    | TimePassed
)
