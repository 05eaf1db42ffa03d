"""What happened to a user in a room, numbered as the documents number it (trtc-facts §10.4). Pure.

Each fact is kept once. Entries and exits, publications and subscriptions have rows of their own (``presences``,
``publications``, ``subscriptions``), written with the change itself; ``user_events`` holds what has no other row.
``timeline`` puts both together. Numbers from ``OWN`` on are ours: no document names them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

NONE = -1  # a parameter that an event does not have
OWN = 65536


class EventId(IntEnum):
    """Of the SDK (four digits; 7000 and 7001 are told by the server) and of WebRTC clients (32768 and more)."""

    RESOLUTION = 4003  # width, height: what is sent, or received of ``peer``
    FIRST_VIDEO_SENT = 5004
    FIRST_AUDIO_SENT = 5009
    ENTERED = 7000  # 0 normal, 1 again
    LEFT = 7001  # 0 normal, 1 timed out, 2 removed
    VIDEO_ON = 32768
    AUDIO_ON = 32769
    VIDEO_OFF = 32770
    AUDIO_OFF = 32771
    VIDEO_MUTED = 32772
    AUDIO_MUTED = 32773
    AUDIO_UNMUTED = 32774
    VIDEO_UNMUTED = 32775
    VIDEO_SUBSCRIBED = 32776
    AUDIO_SUBSCRIBED = 32777
    VIDEO_UNSUBSCRIBED = 32778
    AUDIO_UNSUBSCRIBED = 32779
    SIGNAL_DOWN = 32790
    SIGNAL_UP = 32791
    MEDIA_DOWN = 32792
    MEDIA_UP = 32793
    ROLE_CHANGED = OWN  # 20 anchor, 21 audience
    ADDRESS_CHANGED = OWN + 1  # ``detail``: the address from now on
    BLOCKED = OWN + 2  # IsMute of SetUserBlocked: 0 nothing, 1 all, 2 audio, 3 video
    DATA_REFUSED = OWN + 3  # how many; ``detail``: the media node's reason
    LEFT_OUT = OWN + 4  # how many events of this user were not kept, because there were too many


class StreamType(IntEnum):
    """The documents' Type of an event."""

    NONE = 0  # not about video
    MAIN = 2
    AUX = 7


@dataclass(frozen=True, slots=True)
class UserEvent:
    """``presence`` is the stay it happened in (a row of ``presences``); ``peer`` the other user, if there is one."""

    presence: str
    at_ms: int
    event_id: int
    param1: int = NONE
    param2: int = NONE
    stream: int = StreamType.NONE
    peer: str = ""
    detail: str = ""

    @property
    def is_documented(self) -> bool:
        return self.event_id < OWN


@dataclass(frozen=True, slots=True)
class RefusedEntry:
    """Somebody did not get in: ``count`` times with this outcome. ``code`` is what the client was told. Of a flood
    only the count is kept, with empty ids."""

    sdk_app_id: int
    numeric: bool
    room_id: str
    user_id: str
    at_ms: int
    code: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class Stay:
    """One presence of a user in a room. ``left_ms`` None: still there."""

    presence: str
    room: str
    user_id: str
    joined_ms: int
    left_ms: int | None
    leave_reason: int | None
    role: int
    user_type: int
    terminal_type: int
    device_type: str
    sdk_version: str
    client_address: str


@dataclass(frozen=True, slots=True)
class Stretch:
    """A publication, or (with a ``peer``: the publisher) what was received of one at this size. 0 × 0: not video, or
    not known."""

    presence: str
    kind: str  # audio, video, aux
    started_ms: int
    stopped_ms: int | None
    peer: str = ""
    width: int = 0
    height: int = 0


_LEFT = {2: 1, 3: 2, 5: 2}  # ExitReason → documented parameter
_MUTES = {EventId.VIDEO_MUTED, EventId.AUDIO_MUTED, EventId.VIDEO_UNMUTED, EventId.AUDIO_UNMUTED}


def stream_of(kind: str) -> StreamType:
    return {"video": StreamType.MAIN, "aux": StreamType.AUX}.get(kind, StreamType.NONE)


def mute_event(kind: str, muted: bool) -> EventId:
    if kind == "audio":
        return EventId.AUDIO_MUTED if muted else EventId.AUDIO_UNMUTED
    return EventId.VIDEO_MUTED if muted else EventId.VIDEO_UNMUTED


def timeline(stays: Iterable[Stay], stretches: Iterable[Stretch], noted: Iterable[UserEvent]) -> list[UserEvent]:
    """All events of these stays in the order of time. A mute ends a publication and an unmute begins one: those are
    told as mutes only."""
    noted = list(noted)
    muted = {(e.presence, e.stream, e.at_ms, _is_video(e.event_id)) for e in noted if e.event_id in _MUTES}
    events = [*_of_stays(stays), *noted]
    stretches = list(stretches)
    for event in _of_publications(one for one in stretches if not one.peer):
        if (event.presence, event.stream, event.at_ms, _is_video(event.event_id)) not in muted:
            events.append(event)
    events.extend(_of_subscriptions(one for one in stretches if one.peer))
    return sorted(events, key=_place)


def _place(event: UserEvent) -> tuple[int, int]:
    """An entry comes before and an exit after all else of the same moment."""
    rank = {EventId.ENTERED: 0, EventId.LEFT: 2}.get(EventId(event.event_id), 1) if _is_known(event.event_id) else 1
    return event.at_ms, rank


def _is_known(event_id: int) -> bool:
    return event_id in EventId._value2member_map_


def _is_video(event_id: int) -> bool:
    return event_id in (EventId.VIDEO_ON, EventId.VIDEO_OFF, EventId.VIDEO_MUTED, EventId.VIDEO_UNMUTED)


def _of_stays(stays: Iterable[Stay]) -> Iterator[UserEvent]:
    for stay in stays:
        yield UserEvent(stay.presence, stay.joined_ms, EventId.ENTERED, 0)
        if stay.left_ms is not None:
            yield UserEvent(stay.presence, stay.left_ms, EventId.LEFT, _LEFT.get(stay.leave_reason or 0, 0))


def _of_publications(stretches: Iterable[Stretch]) -> Iterator[UserEvent]:
    for one in stretches:
        on, off = (
            (EventId.AUDIO_ON, EventId.AUDIO_OFF) if one.kind == "audio" else (EventId.VIDEO_ON, EventId.VIDEO_OFF)
        )
        yield UserEvent(one.presence, one.started_ms, on, stream=stream_of(one.kind))
        if one.stopped_ms is not None:
            yield UserEvent(one.presence, one.stopped_ms, off, stream=stream_of(one.kind))


def _of_subscriptions(stretches: Iterable[Stretch]) -> Iterator[UserEvent]:
    """A stretch that goes on where the one before stopped is a change of size, not a new subscription."""
    ordered = sorted(stretches, key=lambda s: (s.presence, s.peer, s.kind, s.started_ms))
    for index, one in enumerate(ordered):
        earlier = ordered[index - 1] if index else None
        later = ordered[index + 1] if index + 1 < len(ordered) else None
        stream = stream_of(one.kind)
        began, ended = (
            (EventId.AUDIO_SUBSCRIBED, EventId.AUDIO_UNSUBSCRIBED)
            if one.kind == "audio"
            else (EventId.VIDEO_SUBSCRIBED, EventId.VIDEO_UNSUBSCRIBED)
        )
        if earlier is None or not _continues(earlier, one):
            yield UserEvent(one.presence, one.started_ms, began, stream=stream, peer=one.peer)
        if one.width and one.height:
            yield UserEvent(
                one.presence, one.started_ms, EventId.RESOLUTION, one.width, one.height, stream=stream, peer=one.peer
            )
        if one.stopped_ms is not None and (later is None or not _continues(one, later)):
            yield UserEvent(one.presence, one.stopped_ms, ended, stream=stream, peer=one.peer)


def _continues(earlier: Stretch, later: Stretch) -> bool:
    return (earlier.presence, earlier.peer, earlier.kind, earlier.stopped_ms) == (
        later.presence,
        later.peer,
        later.kind,
        later.started_ms,
    )
