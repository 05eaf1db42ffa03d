"""Streams that are pulled from an address into a room: start, describe, update, stop.

Whether the source can be read is told by callbacks 701: an answer means that the task will be tried, and is durable.
An address that is plainly in a private network is refused here; a name is looked up when it is dialled.
"""

from urllib.parse import urlsplit

import msgspec

from rtcloud.actions import robots, weighing
from rtcloud.actions.context import Call, Nothing, Services
from rtcloud.actions.tasks import (
    OPEN,
    check_load,
    check_private_map_key,
    check_stopping,
    check_user_sig,
    new_task_id,
    room_id,
)
from rtcloud.apimodel import faults
from rtcloud.errors import ServiceError
from rtcloud.ingest.pull.request import KIND, IngestRequest, decode, encode
from rtcloud.outgoing.addresses import literal, permitted
from rtcloud.rooms.ids import STRING_ROOM, RoomRef
from rtcloud.tasks.task import NewTask, TaskOutput, TaskView

#: A user leaves its room some time after its task was stopped; a new task may have the same user.
LEAVES_WITHIN_S = 10.0
#: A pull is asked about as long as it runs.
_NEVER_MS = 2**53
_NUMBER = 1  # of RoomIdType
_FOREVER = -1  # of RepeatNum
#: What comes in is not known before: its sound, at most. How it looks is in the rows of what its user publishes.
_OUTPUT = TaskOutput()


class StartStreamIngestRequest(msgspec.Struct, rename="pascal"):
    """Without the disabled members: they are accepted and ignored."""

    sdk_app_id: int
    room_id: str
    room_id_type: int
    user_id: str
    user_sig: str
    stream_url: str = ""
    private_map_key: str = ""
    seek_second: int = 0
    auto_push: bool = False
    repeat_num: int = 1
    max_duration: int = 0
    volume: int = 100


class UpdateStreamIngestRequest(msgspec.Struct, rename="pascal"):
    """What is absent stays as it is."""

    sdk_app_id: int
    task_id: str
    stream_url: str = ""
    volume: int | None = None
    is_pause: bool | None = None


class TaskRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    task_id: str


class TaskResult(msgspec.Struct, rename="pascal"):
    task_id: str


class StatusResult(msgspec.Struct, rename="pascal"):
    status: str


IN_PROGRESS, NOT_EXIST = StatusResult("InProgress"), StatusResult("NotExist")


async def start_stream_ingest(services: Services, call: Call, request: StartStreamIngestRequest) -> TaskResult:
    action, now_ms = call.action, services.clock.now_ms()
    ref = _room(call, request)
    if not request.stream_url:
        raise faults.missing(action, "StreamUrl")
    _check_url(services, call, request.stream_url)
    if request.repeat_num == 0:
        raise faults.out_of_range(action, "RepeatNum", "must be -1, or from 1 to 1000")
    if request.auto_push:
        reason = "AutoPush: streams are relayed by StartPublishCdnStream; this version has no automatic relay"
        raise ServiceError("FailedOperation.NotAllowed", reason)
    check_user_sig(call, "UserSig", request.user_sig, request.user_id, now_ms)
    check_private_map_key(call, "PrivateMapKey", request.private_map_key, request.user_id, ref, now_ms)
    check_stopping(services)
    user = {(ref, request.user_id): "UserId"}
    await robots.check_free(services, call, user, LEAVES_WITHIN_S)
    check_stopping(services)
    task = NewTask(
        task_id=new_task_id(),
        kind=KIND,
        ref=ref,
        user_id=request.user_id,
        params=encode(_accepted(ref, request)),
        expires_ms=_NEVER_MS,
        now_ms=now_ms,
        output=_OUTPUT,
        load=weighing.COPIED,
        lists_files=False,
    )
    async with services.accepting:
        if await services.tasks.has_robot(ref, request.user_id):
            raise ServiceError("FailedOperation.TaskExist", f"UserId is of another task in room {ref.room_id}")
        await robots.check_nobodys(services, call, user)
        await check_load(services, task.load)
        await services.tasks.accept(task)
    return TaskResult(task.task_id)


async def describe_stream_ingest(services: Services, call: Call, request: TaskRequest) -> StatusResult:
    """A task that is not known, and one that has ended, do not exist: neither is an error."""
    return IN_PROGRESS if _is_open(await _find(services, request)) else NOT_EXIST


async def update_stream_ingest(services: Services, call: Call, request: UpdateStreamIngestRequest) -> StatusResult:
    """An address that is named is begun anew, the one that is being read, too."""
    if request.stream_url:
        _check_url(services, call, request.stream_url)
    if not _is_open(await _find(services, TaskRequest(request.sdk_app_id, request.task_id))):
        raise _no_such_task(request.task_id)

    def change(latest: bytes) -> tuple[bytes, TaskOutput | None, int | None]:
        return encode(_updated(decode(latest), request)), _OUTPUT, None

    if await services.tasks.update(request.task_id, request.sdk_app_id, change) is None:
        raise _no_such_task(request.task_id)
    return IN_PROGRESS


async def stop_stream_ingest(services: Services, call: Call, request: TaskRequest) -> Nothing:
    """A task that is ending already answers as if it were stopped now."""
    task = await _find(services, request)
    if task is None:
        raise faults.invalid(call.action, "TaskId", f"{request.task_id} is of no task of the application")
    if not _is_open(task):
        raise ServiceError("FailedOperation.TaskFinished", f"TaskId {request.task_id} has ended")
    if task.desired_state != "stopped":
        await services.tasks.stop(task.task_id)
    return Nothing()


def _room(call: Call, request: StartStreamIngestRequest) -> RoomRef:
    numeric = request.room_id_type == _NUMBER
    if not numeric and STRING_ROOM.fullmatch(request.room_id) is None:
        reason = "RoomId must be 1 to 64 of the documented characters"
        raise ServiceError("InvalidParameter.StrRoomId", reason)
    because = f"RoomIdType is {request.room_id_type}"
    named = room_id(call.action, "RoomId", request.room_id, numeric=numeric, because=because)
    return RoomRef(request.sdk_app_id, numeric, named)


def _check_url(services: Services, call: Call, url: str) -> None:
    """Its form was checked before."""
    address = literal(urlsplit(url).hostname or "")
    if address is not None and not permitted([address], allow_private=services.allow_private):
        raise faults.invalid(call.action, "StreamUrl", "must not lead into a private network")


def _accepted(ref: RoomRef, request: StartStreamIngestRequest) -> IngestRequest:
    return IngestRequest(
        sdk_app_id=ref.sdk_app_id,
        room_id=ref.room_id,
        room_id_type=1 if ref.numeric else 0,
        user_id=request.user_id,
        stream_url=request.stream_url,
        seek_second=request.seek_second,
        repeat_num=request.repeat_num,
        max_duration=request.max_duration if request.repeat_num == _FOREVER else 0,
        volume=request.volume,
    )


def _updated(before: IngestRequest, request: UpdateStreamIngestRequest) -> IngestRequest:
    after = before
    if request.stream_url:
        revision = before.url_revision + 1
        after = msgspec.structs.replace(after, stream_url=request.stream_url, seek_second=0, url_revision=revision)
    if request.volume is not None:
        after = msgspec.structs.replace(after, volume=request.volume)
    if request.is_pause is not None:
        after = msgspec.structs.replace(after, is_pause=request.is_pause)
    return after


async def _find(services: Services, request: TaskRequest) -> TaskView | None:
    task = await services.tasks.find(request.task_id, request.sdk_app_id)
    return task if task is not None and task.kind == KIND else None


def _is_open(task: TaskView | None) -> bool:
    return task is not None and task.state in OPEN


def _no_such_task(task_id: str) -> ServiceError:
    return ServiceError("FailedOperation.TaskNotExist", f"TaskId {task_id} does not exist or has ended")
