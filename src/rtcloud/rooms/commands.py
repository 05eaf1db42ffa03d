"""What a room asks for (imperative): orders to the media node, notices to sessions, records to write. Plain data."""

from dataclasses import dataclass
from typing import Literal

from rtcloud.callbacks.events import EnterReason, ExitReason
from rtcloud.media.node import AnyCommand
from rtcloud.rooms.participant import Device, Kind, Participant, Role, Stream, Track

#: Why a session is told to leave; ``signal`` knows what the protocol calls it.
LeaveCause = Literal[
    "left",
    "duplicate",
    "removed",
    "dismissed",
    "timed_out",
    "key_expired",
    "full",
    "busy",
    "may_not_create",
    "failed",
    "shutdown",
    "unknown_session",
    "overload",
    "protocol",
]
#: Why a session does not get what it asked for.
Refusal = Literal[
    "not_allowed",
    "screen_taken",
    "too_many_speakers",
    "too_many_anchors",
    "too_many_tracks",
    "too_large",
    "too_often",
    "invalid",
    "bad_key",
]


@dataclass(frozen=True, slots=True)
class Drive:
    """A command for the media node."""

    command: AnyCommand


# Notices ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    """Tell the session that it is in. ``others`` are as of now; ``sid`` is the media node's name of the room."""

    sid: str
    participant: Participant
    others: tuple[Participant, ...]
    created_ms: int
    metadata: str = ""
    present: int = 0


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
class ShowSelf:
    """Tell a session what is known of it; its tracks are shown as it muted them itself."""

    participant: Participant


@dataclass(frozen=True, slots=True)
class ShowRoom:
    metadata: str
    present: int


@dataclass(frozen=True, slots=True)
class AcceptTrack:
    cid: str
    track: Track


@dataclass(frozen=True, slots=True)
class RefuseTrack:
    """The announced track is not published; nothing of it will be forwarded."""

    cid: str
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class DropTrack:
    """Tell the publisher that its track is unpublished."""

    track_id: str


@dataclass(frozen=True, slots=True)
class SilenceTrack:
    """Tell the publisher to mute its track: it may not be heard now."""

    track_id: str


@dataclass(frozen=True, slots=True)
class Grant:
    """A request was carried out."""

    request_id: int


@dataclass(frozen=True, slots=True)
class Refuse:
    """A request was not carried out; nothing changed."""

    request_id: int
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class ShowAdmission:
    """Whether a publisher lets the session receive a track."""

    publisher: str  # participant_id
    track_id: str
    admitted: bool


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


Notice = (
    Welcome
    | Confirm
    | ShowParticipants
    | ShowSelf
    | ShowRoom
    | AcceptTrack
    | RefuseTrack
    | DropTrack
    | SilenceTrack
    | Grant
    | Refuse
    | ShowAdmission
    | ShowQuality
    | Dismiss
    | TellPublisher
)


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
class RoomMetadataChanged:
    metadata: str


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
class RoleChanged:
    presence: str
    user_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """The user came back from somewhere else."""

    presence: str
    device: Device


@dataclass(frozen=True, slots=True)
class UserBlocked:
    """From now on; empty ``kinds`` is nothing."""

    user_id: str
    kinds: frozenset[Kind]


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
    | RoomMetadataChanged
    | PresenceBegan
    | PresenceEnded
    | RoleChanged
    | DeviceChanged
    | UserBlocked
    | PublicationStarted
    | PublicationStopped
    | SubscriptionChanged
)

Command = Drive | Notify | Record
