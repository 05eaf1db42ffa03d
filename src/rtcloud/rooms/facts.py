"""What can happen to a room (past tense) and what the room asks for (imperative). All plain data."""

from dataclasses import dataclass, field
from typing import Literal

from rtcloud.callbacks.events import EnterReason, ExitReason
from rtcloud.media.node import AnyCommand
from rtcloud.rooms.participant import Device, Participant, Permission, Role, Stream, Track

#: Why a session is told to leave; ``signal`` knows what the protocol calls it.
LeaveCause = Literal[
    "left",
    "duplicate",
    "removed",
    "dismissed",
    "timed_out",
    "failed",
    "shutdown",
    "unknown_session",
    "overload",
    "protocol",
]

# Facts ------------------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class Resumed:
    """A new socket for a session that is still here."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class SocketLost:
    participant_id: str


@dataclass(frozen=True, slots=True)
class LeftRoom:
    """The session said that it leaves."""

    participant_id: str


@dataclass(frozen=True, slots=True)
class UsersRemoved:
    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RoomDismissed:
    pass


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
    | RoomDismissed
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

# Commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Drive:
    """A command for the media node."""

    command: AnyCommand


@dataclass(frozen=True, slots=True)
class Welcome:
    """Tell the session that it is in. ``others`` are as of now; ``sid`` is the media node's name of the room."""

    sid: str
    participant: Participant
    others: tuple[Participant, ...]
    created_ms: int


@dataclass(frozen=True, slots=True)
class Confirm:
    """Tell the session that it goes on (a resume)."""

    participant: Participant
    others: tuple[Participant, ...]


@dataclass(frozen=True, slots=True)
class ShowParticipants:
    """Participants that are new or changed; those in ``gone`` left (by session)."""

    changed: tuple[Participant, ...] = ()
    gone: tuple[tuple[str, str], ...] = ()  # (participant_id, user_id)


@dataclass(frozen=True, slots=True)
class AcceptTrack:
    cid: str
    track: Track


@dataclass(frozen=True, slots=True)
class DropTrack:
    """Tell the publisher that its track is unpublished."""

    track_id: str


@dataclass(frozen=True, slots=True)
class ShowQuality:
    """(participant_id, livekit quality 0–3, score 0–5) of those that changed."""

    qualities: tuple[tuple[str, int, float], ...]


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Tell the session to leave and close it."""

    cause: LeaveCause


@dataclass(frozen=True, slots=True)
class TellPublisher:
    """Somebody receives the publisher's track for the first time."""

    track_id: str


Notice = Welcome | Confirm | ShowParticipants | AcceptTrack | DropTrack | ShowQuality | Dismiss | TellPublisher


@dataclass(frozen=True, slots=True)
class Notify:
    participant_id: str
    notice: Notice


# Records: what is written, and which callbacks it causes (rooms/store.py) -------------------------------------------


@dataclass(frozen=True, slots=True)
class RoomCreated:
    user_id: str


@dataclass(frozen=True, slots=True)
class RoomDestroyed:
    pass


@dataclass(frozen=True, slots=True)
class PresenceBegan:
    presence: str
    user_id: str
    role: Role
    device: Device
    reason: EnterReason = EnterReason.NORMAL


@dataclass(frozen=True, slots=True)
class PresenceEnded:
    presence: str
    user_id: str
    role: Role
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class PublicationStarted:
    presence: str
    user_id: str
    stream: Stream


@dataclass(frozen=True, slots=True)
class PublicationStopped:
    presence: str
    user_id: str
    stream: Stream


@dataclass(frozen=True, slots=True)
class SubscriptionChanged:
    """From now on ``presence`` receives ``publisher``'s ``stream`` at this size; 0 × 0 video is nothing."""

    presence: str
    publisher: str
    stream: Stream
    width: int
    height: int
    receiving: bool


Record = (
    RoomCreated
    | RoomDestroyed
    | PresenceBegan
    | PresenceEnded
    | PublicationStarted
    | PublicationStopped
    | SubscriptionChanged
)

Command = Drive | Notify | Record
