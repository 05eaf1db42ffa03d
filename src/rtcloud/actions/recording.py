"""Cloud recording: start, ask, change, stop.

A created task is a durable row before its TaskId is answered; a worker does the rest. The robot's UserSig is verified
here; it joins later with a token of ours.

Pictures that a layout names are fetched while the caller waits, but one that cannot be had is no reason to record
nothing: the task is accepted, and event 309 tells.
"""

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from rtcloud import errors
from rtcloud.accounts.entities import Application
from rtcloud.actions import pictures, robots, weighing
from rtcloud.actions.context import Call, Services
from rtcloud.actions.recording_rules import check_layout, check_users
from rtcloud.actions.storing import check_storage
from rtcloud.actions.tasks import (
    check_load,
    check_private_map_key,
    check_stopping,
    check_user_sig,
    find_open,
    new_task_id,
    room_id,
)
from rtcloud.apimodel import faults
from rtcloud.apimodel.model import load_model
from rtcloud.egress.recording.appearance import MixLayoutParams
from rtcloud.egress.recording.request import (
    KIND,
    RecordingRequest,
    SubscribeStreamUserIds,
    VideoParams,
    decode,
    encode,
)
from rtcloud.errors import ServiceError
from rtcloud.rooms.ids import RoomRef
from rtcloud.tasks.task import NewTask, TaskOutput, TaskView

MAX_PIXELS = 1920 * 1080
#: All of a call together: it has six seconds.
PICTURES_WITHIN_S = 4.0
#: Of those. A robot leaves its room a moment after its task was stopped; a new task may have the same robot.
ROBOT_LEAVES_WITHIN_S = 3.0
_MODEL = load_model()
_log = logging.getLogger(__name__)
_STATUS = {"accepted": "Idle", "running": "InProgress", "ending": "Exited", "uploading": "Exited"}


class CreateCloudRecordingRequest(msgspec.Struct, rename="pascal"):
    """The members that this module looks at itself; the rest goes into the ``RecordingRequest``."""

    sdk_app_id: int
    room_id: str
    user_id: str
    user_sig: str
    record_params: dict[str, Any]
    storage_params: dict[str, Any]
    room_id_type: int = _MODEL.default("CreateCloudRecording.RoomIdType", int)
    mix_transcode_params: dict[str, Any] = {}
    mix_layout_params: dict[str, Any] = {}
    resource_expired_hour: int = _MODEL.default("CreateCloudRecording.ResourceExpiredHour", int)
    private_map_key: str = ""


class ModifyCloudRecordingRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    task_id: str
    mix_layout_params: dict[str, Any] | None = None
    subscribe_stream_user_ids: dict[str, Any] | None = None


class TaskRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    task_id: str


class TaskResult(msgspec.Struct, rename="pascal"):
    task_id: str


class StorageFile(msgspec.Struct, rename="pascal"):
    user_id: str
    file_name: str
    track_type: str
    begin_time_stamp: int


class DescribeCloudRecordingResult(msgspec.Struct, rename="pascal"):
    task_id: str
    status: str
    storage_file_list: list[StorageFile]


async def create_cloud_recording(services: Services, call: Call, request: CreateCloudRecordingRequest) -> TaskResult:
    now_ms = services.clock.now_ms()
    room = _room(call, request)
    _check_rules(call, request)
    check_user_sig(call, "UserSig", request.user_sig, request.user_id, now_ms)
    accepted = msgspec.convert(_recorded(request, room), RecordingRequest)
    check_users(call.action, accepted.record_params.subscribe_stream_user_ids, "RecordParams.SubscribeStreamUserIds")
    check_layout(call.action, accepted)
    check_storage(services, call, accepted.filing, "StorageParams.CloudStorage")
    ref = RoomRef(accepted.sdk_app_id, accepted.numeric, accepted.room_id)
    check_private_map_key(call, "PrivateMapKey", request.private_map_key, accepted.user_id, ref, now_ms)
    check_stopping(services)
    robot = {(ref, accepted.user_id): "UserId"}
    waited_s = await robots.check_free(services, call, robot, ROBOT_LEAVES_WITHIN_S)
    images = await _images(services, accepted, {}, within_s=PICTURES_WITHIN_S - waited_s)
    accepted = msgspec.structs.replace(accepted, images=images)
    check_stopping(services)
    expires_ms = now_ms + accepted.resource_expired_hour * 3_600_000
    async with services.accepting:
        await robots.check_nobodys(services, call, robot)
        return TaskResult(await accept(services, call.application, accepted, now_ms, expires_ms))


async def accept(
    services: Services, application: Application, request: RecordingRequest, now_ms: int, expires_ms: int
) -> str:
    """The TaskId. Hold ``accepting``. Raises when there is no place for the task."""
    limit = application.settings.concurrent_recordings
    if await services.tasks.count_open(request.sdk_app_id, KIND) >= limit:
        raise ServiceError(
            "FailedOperation.RestrictedConcurrency", f"the application already has {limit} recording tasks"
        )
    request = msgspec.structs.replace(request, files_at=services.files_at(request.filing))
    task = NewTask(
        task_id=new_task_id(),
        kind=KIND,
        ref=RoomRef(request.sdk_app_id, request.numeric, request.room_id),
        user_id=request.user_id,
        params=encode(request),
        expires_ms=expires_ms,
        now_ms=now_ms,
        output=_output(request),
        load=weighing.of_recording(request),
        lists_files=request.filing.lists_files,
    )
    await check_load(services, task.load)
    await services.tasks.accept(task)
    return task.task_id


async def describe_cloud_recording(
    services: Services, call: Call, request: TaskRequest
) -> DescribeCloudRecordingResult:
    task = await _find(services, request.task_id, request.sdk_app_id)
    indexes = [file for file in task.files if file.kind == "index"]  # all there is while it runs, and all that is told
    files = [StorageFile(f.user_id, f.name, f.track_type, f.begin_ms) for f in indexes or task.files]
    return DescribeCloudRecordingResult(task.task_id, _STATUS[task.state], files)


async def modify_cloud_recording(services: Services, call: Call, request: ModifyCloudRecordingRequest) -> TaskResult:
    """Both parts are replaced as a whole: what the call leaves out is the default again, as the documents say."""
    await _find(services, request.task_id, request.sdk_app_id)
    if request.mix_layout_params is None and request.subscribe_stream_user_ids is None:
        reason = "MixLayoutParams is required, or SubscribeStreamUserIds"
        raise faults.missing(call.action, "MixLayoutParams", reason)
    params = await services.tasks.params(request.task_id, request.sdk_app_id)
    if params is None:
        raise errors.task_not_found(request.task_id)
    layout = msgspec.convert(_without_empty(request.mix_layout_params or {}), MixLayoutParams)
    users = msgspec.convert(request.subscribe_stream_user_ids or {}, SubscribeStreamUserIds)
    check_users(call.action, users, "SubscribeStreamUserIds")
    wanted = _modified(decode(params), layout, users)
    check_layout(call.action, wanted)
    check_stopping(services)
    images = await _images(services, wanted, wanted.images)

    def change(latest: bytes) -> tuple[bytes, TaskOutput | None, int]:
        after = msgspec.structs.replace(_modified(decode(latest), layout, users), images=images)
        return encode(after), _output(after), weighing.of_recording(after)

    if await services.tasks.update(request.task_id, request.sdk_app_id, change) is None:
        raise errors.task_not_found(request.task_id)
    return TaskResult(request.task_id)


async def delete_cloud_recording(services: Services, call: Call, request: TaskRequest) -> TaskResult:
    """A task that is ending already answers as if it were stopped now."""
    task = await _find(services, request.task_id, request.sdk_app_id)
    if task.desired_state != "stopped":
        await services.tasks.stop(task.task_id)
    return TaskResult(task.task_id)


async def _find(services: Services, task_id: str, sdk_app_id: int) -> TaskView:
    """The task, as long as it may be asked about: not ended, and within ResourceExpiredHour."""
    task = await find_open(services, task_id, sdk_app_id, KIND)
    if services.clock.now_ms() > task.expires_ms:
        raise errors.task_not_found(task_id)
    return task


def _modified(current: RecordingRequest, layout: MixLayoutParams, users: SubscribeStreamUserIds) -> RecordingRequest:
    record = msgspec.structs.replace(current.record_params, subscribe_stream_user_ids=users)
    return msgspec.structs.replace(current, record_params=record, mix_layout_params=layout)


async def _images(
    services: Services, request: RecordingRequest, known: Mapping[str, str], within_s: float = PICTURES_WITHIN_S
) -> dict[str, str]:
    """The files of the pictures that are there. Those that are known need not be where they came from any more."""
    here = {url: known[url] for url in request.pictures if url in known}
    missing = [url for url in request.pictures if url not in known]
    found, reasons = await pictures.fetch(services, request.sdk_app_id, missing, within_s)
    for reason in reasons.values():
        _log.warning("a recording goes without a picture", extra={"reason": reason})
    return here | found


def _room(call: Call, request: CreateCloudRecordingRequest) -> str:
    because = f"RoomIdType is {request.room_id_type}"
    return room_id(call.action, "RoomId", request.room_id, numeric=_is_numeric(request), because=because)


def _check_rules(call: Call, request: CreateCloudRecordingRequest) -> None:
    """What the documents say about members together."""
    storage, record = request.storage_params, request.record_params
    if "CloudStorage" in storage and "CloudVod" in storage:
        raise faults.invalid(call.action, "StorageParams", "must have either CloudStorage or CloudVod, not both")
    if "CloudStorage" not in storage and "CloudVod" not in storage:
        raise faults.missing(call.action, "StorageParams.CloudStorage")
    if "CloudVod" in storage:
        _check_media_type(call, storage["CloudVod"].get("TencentVod", {}), record)
    elif "aac" in _meaning("RecordParams", record, "OutputFormat") and _stream_type(record) == "video":
        raise faults.invalid(call.action, "RecordParams.OutputFormat", "is AAC, but the StreamType records no audio")
    video = request.mix_transcode_params.get("VideoParams", {})
    defaults = VideoParams()
    width, height = video.get("Width", defaults.width), video.get("Height", defaults.height)
    if width * height > MAX_PIXELS:
        path = "MixTranscodeParams.VideoParams.Width"
        raise faults.out_of_range(call.action, path, f"times Height must be at most {MAX_PIXELS}")


def _check_media_type(call: Call, vod: dict[str, Any], record: dict[str, Any]) -> None:
    media_type = _meaning("TencentVod", vod, "MediaType")
    if "aac" in media_type and _stream_type(record) != "audio":
        path = "StorageParams.CloudVod.TencentVod.MediaType"
        raise faults.invalid(call.action, path, f"is {media_type}, which is for StreamType 1 (audio) only")


def _stream_type(record: dict[str, Any]) -> str:
    return _meaning("RecordParams", record, "StreamType")


def _recorded(request: CreateCloudRecordingRequest, room: str) -> dict[str, Any]:
    """The members of the ``RecordingRequest``."""
    return {
        "SdkAppId": request.sdk_app_id,
        "RoomId": room,
        "RoomIdType": request.room_id_type,
        "UserId": request.user_id,
        "RecordParams": request.record_params,
        "StorageParams": request.storage_params,
        "MixTranscodeParams": request.mix_transcode_params,
        "MixLayoutParams": _without_empty(request.mix_layout_params),
        "ResourceExpiredHour": request.resource_expired_hour,
    }


def _without_empty(value: Any) -> Any:
    """Empty texts are the defaults, as they are wherever the API takes text."""
    if isinstance(value, dict):
        return {name: _without_empty(each) for name, each in value.items() if each != ""}
    if isinstance(value, list):
        return [_without_empty(each) for each in value]
    return value


def _output(recording: RecordingRequest) -> TaskOutput:
    stream_type, video = recording.record_params.stream_type, recording.mix_transcode_params.video_params
    if recording.is_single:  # makes no picture of its own: usage counts what it receives
        return TaskOutput(audio=stream_type != 2)
    if stream_type == 1:
        return TaskOutput()
    return TaskOutput(codec="h264", width=video.width, height=video.height, audio=stream_type == 0)


def _is_numeric(request: CreateCloudRecordingRequest) -> bool:
    return _MODEL.member("CreateCloudRecording.RoomIdType").meaning(request.room_id_type) == "number"


def _meaning(owner: str, members: dict[str, Any], name: str) -> str:
    """Of a member's value, or of its default where it is absent."""
    member = _MODEL.member(f"{owner}.{name}")
    return member.meaning(members.get(name, member.default))
