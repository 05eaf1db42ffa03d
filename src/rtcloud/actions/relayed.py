"""From the validated members of StartPublishCdnStream to the ``RelayRequest`` that the task keeps.

Rooms are named once and for all here: a user without a room is of the main room, and numbers lose their leading zeros.
UserSigs, which were verified before, are left behind.
"""

from typing import Any

import msgspec

from rtcloud.accounts.entities import AutoRecording
from rtcloud.actions import tasks
from rtcloud.apimodel import faults
from rtcloud.apimodel.model import Action
from rtcloud.egress.publishing.request import McuCloudVod, RecordParams, RelayRequest, StorageParams
from rtcloud.egress.publishing.updating import convert
from rtcloud.egress.recording.automatic import STREAM_TYPES, bucket_of, library_of
from rtcloud.errors import ServiceError
from rtcloud.rooms.ids import RoomRef

#: 2: as the application's automatic recording, 3: by these parameters. 0 is not defined by the documents: off, as 1 is.
_UNI_RECORD_TEMPLATE = 2


def main_room(action: Action, sdk_app_id: int, room_id: str, room_id_type: int) -> RoomRef:
    numeric = room_id_type == 0
    because = f"RoomIdType is {room_id_type}"
    return RoomRef(sdk_app_id, numeric, tasks.room_id(action, "RoomId", room_id, numeric=numeric, because=because))


def with_rooms(action: Action, main: RoomRef, value: Any, path: str = "") -> Any:
    """The same members, each user (UserInfo) and each room of FeedBackRoomParams with a whole, plain room."""
    if isinstance(value, list):
        return [with_rooms(action, main, each, f"{path}.{index}") for index, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    prefix = f"{path}." if path else ""
    name = path.rpartition(".")[2]
    if name == "UserInfo":
        return _user(action, main, value, prefix)
    if path.startswith("FeedBackRoomParams."):
        return _room(action, value, prefix)
    return {key: with_rooms(action, main, each, prefix + key) for key, each in value.items()}


def whole(
    action: Action, members: dict[str, Any], *, template: AutoRecording | None = None, **ours: Any
) -> RelayRequest:
    """``members`` with their rooms; ``ours`` are members that the caller does not name. ``template``: how the
    application wants its recordings."""
    kept = dict(members) | ours
    if not any(kept.get("AudioParams", {}).values()):
        kept.pop("AudioParams", None)  # given but empty: only video
    if not any(kept.get("VideoParams", {}).values()):
        kept.pop("VideoParams", None)
    _check_encoding(action, kept)
    record = kept.pop("RecordParams", {})
    if (mode := record.get("UniRecord", 0)) < _UNI_RECORD_TEMPLATE:
        return convert(kept)
    if record.get("RecordKey"):
        raise _unable("RecordParams.RecordKey (several tasks recorded as one); each task has a recording of its own")
    if mode == _UNI_RECORD_TEMPLATE:
        return msgspec.structs.replace(convert(kept), record_params=_by_template(template))
    return convert(kept | {"RecordParams": _recording(action, record)})


def _user(action: Action, main: RoomRef, user: dict[str, Any], prefix: str) -> dict[str, Any]:
    named = user.get("RoomId")
    kind = user.get("RoomIdType")
    if not named or (kind is None and named == main.room_id):
        return user | {"RoomId": main.room_id, "RoomIdType": 0 if main.numeric else 1}
    return _room(action, user | {"RoomIdType": kind or 0}, prefix)


def _room(action: Action, value: dict[str, Any], prefix: str) -> dict[str, Any]:
    kind = value["RoomIdType"]
    because = f"its RoomIdType is {kind}"
    room = tasks.room_id(action, f"{prefix}RoomId", value["RoomId"], numeric=kind == 0, because=because)
    return value | {"RoomId": room}


def _check_encoding(action: Action, members: dict[str, Any]) -> None:
    """That there is something to relay, and how it is to be encoded."""
    if "AudioParams" not in members and "VideoParams" not in members:
        raise faults.missing(action, "AudioParams", "AudioParams is required, or VideoParams to relay only video")
    if "AudioParams" in members and "AudioEncode" not in members["AudioParams"]:
        raise faults.missing(action, "AudioParams.AudioEncode")
    if "VideoParams" in members and "VideoEncode" not in members["VideoParams"]:
        raise faults.missing(action, "VideoParams.VideoEncode")


def _recording(action: Action, record: dict[str, Any]) -> dict[str, Any]:
    storage = record.get("McuStorageParams", {})
    if "CloudStorage" in storage and "McuCloudVod" in storage:
        reason = "must have either CloudStorage or McuCloudVod, not both"
        raise faults.invalid(action, "RecordParams.McuStorageParams", reason)
    if "CloudStorage" not in storage and "McuCloudVod" not in storage:
        raise faults.missing(action, "RecordParams.McuStorageParams.CloudStorage")
    formats = list(dict.fromkeys(record.get("RecordFormat") or ["mp4"]))
    if "mp4" in formats and "aac" in formats:
        raise faults.invalid(action, "RecordParams.RecordFormat", "cannot have both mp4 and aac")
    return record | {"RecordFormat": formats}


def _by_template(template: AutoRecording | None) -> RecordParams:
    if template is None:
        reason = "RecordParams.UniRecord is 2, but the application has no template: its automatic recording is off"
        raise ServiceError("FailedOperation.NotAbility", reason)
    if template.bucket:
        storage = StorageParams(cloud_storage=bucket_of(template))
    else:
        storage = StorageParams(mcu_cloud_vod=McuCloudVod(mcu_tencent_vod=library_of(template)))
    return RecordParams(
        record_format=(template.format,),
        max_media_file_duration=template.file_minutes,
        stream_type=STREAM_TYPES[template.recorded],
        mcu_storage_params=storage,
    )


def _unable(what: str) -> ServiceError:
    return ServiceError("FailedOperation.NotAbility", f"this version does not support {what}")
