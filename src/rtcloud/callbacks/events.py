"""The events of the documents as values: which fields each type has, in the documented order. Pure.

``CallbackEvent.info`` is the EventInfo object; the envelope round it (``body``) is made at sending, because it tells
the time of that. A field given for a type that does not document it is a mistake of the caller and raises; so does a
missing one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import Any

import msgspec

from rtcloud.rooms.ids import RoomRef

GROUP_ROOM = 1
GROUP_MEDIA = 2
GROUP_RECORDING = 3
GROUP_RELAY = 4
GROUP_INGEST = 7

#: What the envelope calls the time of sending.
_SENT_AS = {GROUP_INGEST: "CallbackMsTs"}
_SENT_AS_OTHERWISE = "CallbackTs"


class RoomEvent(IntEnum):
    CREATE_ROOM = 101
    DISMISS_ROOM = 102
    ENTER_ROOM = 103
    EXIT_ROOM = 104
    CHANGE_ROLE = 105
    START_VIDEO = 201
    STOP_VIDEO = 202
    START_AUDIO = 203
    STOP_AUDIO = 204
    START_AUX = 205
    STOP_AUX = 206


class RecordingEvent(IntEnum):
    RECORDER_START = 301
    RECORDER_STOP = 302
    UPLOAD_START = 303
    FILE_INFO = 304
    UPLOAD_STOP = 305
    FAILOVER = 306
    FILE_SLICE = 307
    UPLOAD_ERROR = 308
    DOWNLOAD_IMAGE_ERROR = 309
    MP4_STOP = 310
    VOD_COMMIT = 311
    VOD_STOP = 312


class RelayEvent(IntEnum):
    CDN_STATUS = 401


class CdnStatus(IntEnum):
    """What 401 says of an address."""

    IDLE = 0
    CONNECTING = 1
    RUNNING = 2
    RECOVERING = 3
    FAILURE = 4
    DISCONNECTING = 5


class IngestEvent(IntEnum):
    START = 701
    STOP = 702


class IngestStart(IntEnum):
    """What 701 says of a source; 702 knows only its own 0."""

    SUCCESS = 0
    FAILURE = 1
    AGAIN = 2


class Origin(Enum):
    """How a recording was started."""

    API = "api"
    AUTO = "auto"


class Storage(Enum):
    """Where a recording goes."""

    OBJECT = "object store"
    VOD = "media library"


class EnterReason(IntEnum):
    NORMAL = 1
    NETWORK_SWITCHED = 2
    RETRY_AFTER_TIMEOUT = 3
    CROSS_ROOM = 4


class ExitReason(IntEnum):
    NORMAL = 1
    TIMEOUT = 2
    REMOVED = 3
    CROSS_ROOM_ENDED = 4
    KILLED = 5


@dataclass(frozen=True, slots=True)
class CallbackEvent:
    ref: RoomRef
    group: int
    type: int
    info: Mapping[str, Any]

    @property
    def info_json(self) -> str:
        """Compact JSON, keys in the documented order."""
        return msgspec.json.encode(dict(self.info)).decode()


# After RoomId, EventTs and EventMsTs, which every type has. Names as in the documents.
_ROOM_FIELDS: Mapping[RoomEvent, tuple[str, ...]] = MappingProxyType(
    {
        RoomEvent.CREATE_ROOM: ("UserId",),
        RoomEvent.DISMISS_ROOM: (),
        RoomEvent.ENTER_ROOM: ("UserId", "Role", "TerminalType", "UserType", "Reason"),
        RoomEvent.EXIT_ROOM: ("UserId", "Role", "Reason"),
        RoomEvent.CHANGE_ROLE: ("UserId", "Role"),
        RoomEvent.START_VIDEO: ("UserId",),
        RoomEvent.STOP_VIDEO: ("UserId", "Reason"),
        RoomEvent.START_AUDIO: ("UserId",),
        RoomEvent.STOP_AUDIO: ("UserId", "Reason"),
        RoomEvent.START_AUX: ("UserId",),
        RoomEvent.STOP_AUX: ("UserId", "Reason"),
    }
)


_ALWAYS = frozenset((origin, storage) for origin in Origin for storage in Storage)
_TO_OBJECTS = frozenset((origin, Storage.OBJECT) for origin in Origin)
_TO_VOD = frozenset((origin, Storage.VOD) for origin in Origin)
_API_TO_OBJECTS = frozenset({(Origin.API, Storage.OBJECT)})

_SENT: Mapping[RecordingEvent, frozenset[tuple[Origin, Storage]]] = MappingProxyType(
    {
        RecordingEvent.RECORDER_START: _ALWAYS,
        RecordingEvent.RECORDER_STOP: _ALWAYS,
        RecordingEvent.UPLOAD_START: _TO_OBJECTS,
        RecordingEvent.FILE_INFO: _API_TO_OBJECTS,
        RecordingEvent.UPLOAD_STOP: _TO_OBJECTS,
        RecordingEvent.FAILOVER: _ALWAYS,
        RecordingEvent.FILE_SLICE: _API_TO_OBJECTS,
        RecordingEvent.UPLOAD_ERROR: _TO_OBJECTS,
        RecordingEvent.DOWNLOAD_IMAGE_ERROR: _ALWAYS,
        RecordingEvent.MP4_STOP: _API_TO_OBJECTS,
        RecordingEvent.VOD_COMMIT: _TO_VOD | {(Origin.AUTO, Storage.OBJECT)},
        RecordingEvent.VOD_STOP: _TO_VOD,
    }
)


def room_event(
    ref: RoomRef,
    event_type: int,
    now_ms: int,
    *,
    user_id: str | None = None,
    role: int | None = None,
    terminal_type: int | None = None,
    user_type: int | None = None,
    reason: int | None = None,
) -> CallbackEvent:
    """An event of group 1 (101–105) or 2 (201–206)."""
    kind = RoomEvent(event_type)
    given = {
        name: value
        for name, value in (
            ("UserId", user_id),
            ("Role", role),
            ("TerminalType", terminal_type),
            ("UserType", user_type),
            ("Reason", reason),
        )
        if value is not None
    }
    wanted = _ROOM_FIELDS[kind]
    if given.keys() != set(wanted):
        raise ValueError(f"event {int(kind)} has the fields {wanted}, not {tuple(given)}")
    group = GROUP_ROOM if kind < RoomEvent.START_VIDEO else GROUP_MEDIA
    return CallbackEvent(ref, group, int(kind), _moment(ref, now_ms) | {name: given[name] for name in wanted})


def recording_event(
    ref: RoomRef, event_type: int, now_ms: int, *, user_id: str, task_id: str, payload: Mapping[str, Any]
) -> CallbackEvent:
    """An event of group 3; ``user_id`` is the recording robot, ``payload`` comes from ``egress.recording.events``."""
    info = _moment(ref, now_ms) | {"UserId": user_id, "TaskId": task_id, "Payload": dict(payload)}
    return CallbackEvent(ref, GROUP_RECORDING, int(RecordingEvent(event_type)), info)


def publishing_event(
    ref: RoomRef, now_ms: int, *, user_id: str, task_id: str, url: str, status: int, code: int = 0, message: str = ""
) -> CallbackEvent:
    """The event of group 4 (401); ``user_id`` is the relay's robot, ``code`` is of our own table, 0 no error."""
    info = {
        "RoomId": ref.api_room_id,
        "RoomType": 0 if ref.numeric else 1,
        "EventMsTs": now_ms,
        "UserId": user_id,
        "TaskId": task_id,
        "Payload": {"Url": url, "Status": int(CdnStatus(status)), "ErrorCode": code, "ErrorMsg": message},
    }
    return CallbackEvent(ref, GROUP_RELAY, int(RelayEvent.CDN_STATUS), info)


def ingest_event(ref: RoomRef, event_type: int, now_ms: int, *, task_id: str, status: int = 0) -> CallbackEvent:
    """An event of group 7. The room is what it is ordered by; it is not told. EventMsTs is a number, as the documented
    body has it, though the table there says text."""
    kind = IngestEvent(event_type)
    if kind is IngestEvent.STOP and status:
        raise ValueError("event 702 has only the status 0")
    info = {"EventMsTs": now_ms, "TaskId": task_id, "Status": int(IngestStart(status))}
    return CallbackEvent(ref, GROUP_INGEST, int(kind), info)


def body(group: int, event_type: int, sent_ms: int, info_json: str) -> bytes:
    """What is sent and signed: the envelope, keys in the documented order."""
    envelope = {
        "EventGroupId": group,
        "EventType": event_type,
        _SENT_AS.get(group, _SENT_AS_OTHERWISE): sent_ms,
        "EventInfo": msgspec.Raw(info_json.encode()),
    }
    return msgspec.json.encode(envelope)


def is_sent(event_type: RecordingEvent, origin: Origin, storage: Storage) -> bool:
    """Whether the documents give this event to a recording of that origin and storage."""
    return (origin, storage) in _SENT[event_type]


def _moment(ref: RoomRef, now_ms: int) -> dict[str, Any]:
    return {"RoomId": ref.api_room_id, "EventTs": now_ms // 1000, "EventMsTs": now_ms}
