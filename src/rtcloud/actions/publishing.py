"""Mixing and relay: start, update, stop.

A started task is a durable row before its TaskId is answered, and an update is in that row before it is: a worker does
the rest. Whatever a call asks for is checked before anything is changed, the pictures that it names included: they are
fetched first, so that a dead address is told to the caller and not only seen by viewers.
"""

from typing import Any

import msgspec

from rtcloud import errors
from rtcloud.actions import pictures, relay_rules, relayed, robots, weighing
from rtcloud.actions.context import Call, Services
from rtcloud.actions.storing import check_storage
from rtcloud.actions.tasks import check_load, check_stopping, check_user_sig, find_open, new_task_id
from rtcloud.apimodel import faults
from rtcloud.egress.publishing.request import KIND, RelayRequest, decode, encode
from rtcloud.egress.publishing.updating import merge
from rtcloud.tasks.task import NewTask, TaskOutput

#: All pictures of a call together.
PICTURES_WITHIN_S = 10.0
#: A robot leaves its room some time after its task was stopped; a new task may have the same robot.
ROBOT_LEAVES_WITHIN_S = 10.0
#: A relay is asked about as long as it runs.
_NEVER_MS = 2**53


class StartPublishCdnStreamRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    room_id: str
    room_id_type: int
    agent_params: dict[str, Any]
    with_transcoding: int
    audio_params: dict[str, Any] | None = None
    video_params: dict[str, Any] | None = None
    single_subscribe_params: dict[str, Any] | None = None
    publish_cdn_params: list[dict[str, Any]] | None = None
    sei_params: dict[str, Any] | None = None
    feed_back_room_params: list[dict[str, Any]] | None = None
    record_params: dict[str, Any] | None = None


class UpdatePublishCdnStreamRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    task_id: str
    sequence_number: int
    with_transcoding: int
    audio_params: dict[str, Any] | None = None
    video_params: dict[str, Any] | None = None
    single_subscribe_params: dict[str, Any] | None = None
    publish_cdn_params: list[dict[str, Any]] | None = None
    sei_params: dict[str, Any] | None = None
    feed_back_room_params: list[dict[str, Any]] | None = None


class TaskRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    task_id: str


class TaskResult(msgspec.Struct, rename="pascal"):
    task_id: str


async def start_publish_cdn_stream(services: Services, call: Call, request: StartPublishCdnStreamRequest) -> TaskResult:
    action, now_ms = call.action, services.clock.now_ms()
    main = relayed.main_room(action, request.sdk_app_id, request.room_id, request.room_id_type)
    members = relayed.with_rooms(action, main, _members(request))
    settings = call.application.settings
    wanted = relayed.whole(
        action, members, template=settings.auto_recording, RoomId=main.room_id, VideoCodec=settings.relay_codec
    )
    relay_rules.check(action, wanted)
    if sig := request.agent_params.get("UserSig"):  # optional: the call itself was signed by the application's owner
        check_user_sig(call, "AgentParams.UserSig", sig, wanted.agent_params.user_id, now_ms)
    _check_feedback_sigs(call, members, now_ms)
    if (filing := wanted.filing) is not None:
        check_storage(services, call, filing, "RecordParams.McuStorageParams.CloudStorage")
        wanted = msgspec.structs.replace(wanted, files_at=services.files_at(filing))
    check_stopping(services)
    named = robots.of_relay(wanted)
    await robots.check_free(services, call, named, ROBOT_LEAVES_WITHIN_S)
    accepted = await _with_pictures(services, call, wanted, {})
    task = NewTask(
        task_id=new_task_id(),
        kind=KIND,
        ref=accepted.ref,
        user_id=accepted.agent_params.user_id,
        params=encode(accepted),
        expires_ms=_NEVER_MS,
        now_ms=now_ms,
        output=_output(accepted),
        load=weighing.of_relay(accepted),
    )
    check_stopping(services)
    async with services.accepting:
        await robots.check_nobodys(services, call, named)
        await check_load(services, task.load)
        await services.tasks.accept(task)
    return TaskResult(task.task_id)


async def update_publish_cdn_stream(
    services: Services, call: Call, request: UpdatePublishCdnStreamRequest
) -> TaskResult:
    """Checked against what the task does now, then once more with what it does when the update is written."""
    action = call.action
    await find_open(services, request.task_id, request.sdk_app_id, KIND)
    params = await services.tasks.params(request.task_id, request.sdk_app_id)
    if params is None:
        raise errors.task_not_found(request.task_id)
    current = decode(params)
    changes = relayed.with_rooms(action, current.ref, _members(request))
    wanted = _merged(call, current, changes)
    _check_feedback_sigs(call, changes, services.clock.now_ms())
    check_stopping(services)
    further = robots.of_relay(wanted, besides=robots.of_relay(current))
    await robots.check_free(services, call, further, ROBOT_LEAVES_WITHIN_S)
    images = (await _with_pictures(services, call, wanted, current.images)).images

    def change(latest: bytes) -> tuple[bytes, TaskOutput | None, int]:
        before = decode(latest)
        after = _merged(call, before, changes)
        known = before.images | images
        after = msgspec.structs.replace(after, images={url: known[url] for url in relay_rules.pictures(after)})
        return encode(after), _output(after), weighing.of_relay(after)

    async with services.accepting:
        await robots.check_nobodys(services, call, further)
        await check_load(services, weighing.of_relay(wanted), before=weighing.of_relay(current))
        if await services.tasks.update(request.task_id, request.sdk_app_id, change) is None:
            raise errors.task_not_found(request.task_id)
    return TaskResult(request.task_id)


async def stop_publish_cdn_stream(services: Services, call: Call, request: TaskRequest) -> TaskResult:
    """A task that is ending already answers as if it were stopped now."""
    task = await find_open(services, request.task_id, request.sdk_app_id, KIND)
    if task.desired_state != "stopped":
        await services.tasks.stop(task.task_id)
    return TaskResult(task.task_id)


def _members(request: msgspec.Struct) -> dict[str, Any]:
    """Those that the call names."""
    named: dict[str, Any] = msgspec.to_builtins(request)
    return {name: value for name, value in named.items() if value is not None}


def _merged(call: Call, current: RelayRequest, changes: dict[str, Any]) -> RelayRequest:
    merged = merge(current, changes)
    relay_rules.check(call.action, merged)
    return merged


def _check_feedback_sigs(call: Call, members: dict[str, Any], now_ms: int) -> None:
    for index, each in enumerate(members.get("FeedBackRoomParams", ())):
        check_user_sig(call, f"FeedBackRoomParams.{index}.UserSig", each["UserSig"], each["UserId"], now_ms)


async def _with_pictures(services: Services, call: Call, request: RelayRequest, known: dict[str, str]) -> RelayRequest:
    """With the file of each picture; those that are known need not be there any more where they came from."""
    named = relay_rules.pictures(request)
    here = {url: known[url] for url in named if url in known}
    missing = [url for url in named if url not in known]
    found, reasons = await pictures.fetch(services, call.application.sdk_app_id, missing, PICTURES_WITHIN_S)
    for url in missing:
        if url in reasons:
            raise faults.invalid(call.action, named[url], reasons[url])
    return msgspec.structs.replace(request, images=here | found)


def _output(request: RelayRequest) -> TaskOutput:
    audio = request.audio_params is not None
    if request.video_params is None:
        return TaskOutput(audio=audio)
    form = request.video_params.video_encode
    codec = "h264" if request.is_single else request.video_codec
    return TaskOutput(codec=codec, width=form.width, height=form.height, audio=audio)
