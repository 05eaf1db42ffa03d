"""Recording actions: what is accepted, its defaults, what is refused, who may ask."""

import asyncio
import re
import struct
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from rtcloud.accounts.entities import ApplicationSettings
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.actions import weighing
from rtcloud.actions.tasks import new_task_id
from rtcloud.egress.filing import LIBRARY
from rtcloud.egress.recording.request import SubscribeStreamUserIds, without_keys
from rtcloud.errors import ServiceError
from rtcloud.rooms.ids import AUTO_RECORDER, RoomRef
from rtcloud.tasks.task import TaskOutput
from tests.kit.api import FakeRooms
from tests.kit.clock import NOW_MS
from tests.kit.recording_calls import APP, HOUR_MS, MODEL, STORAGE, World, run


def test_absent_members_get_the_documented_defaults() -> None:
    async def scenario(world: World) -> None:
        request = await world.accepted()
        record, video, audio = (
            request.record_params,
            request.mix_transcode_params.video_params,
            request.mix_transcode_params.audio_params,
        )
        assert (record.max_idle_time, record.stream_type, record.output_format) == (30, 0, 0)
        assert (record.max_media_file_duration, record.media_id, record.fill_type) == (1440, 0, 0)
        assert (video.width, video.height, video.fps, video.bit_rate, video.gop) == (360, 640, 15, 550_000, 10)
        assert (audio.sample_rate_hz, audio.channel, audio.bit_rate) == (48_000, 2, 64_000)
        assert (request.mix_layout_params.mix_layout_mode, request.mix_layout_params.render_mode) == (3, 1)
        assert (request.numeric, request.resource_expired_hour) == (True, 72)
        (task,) = world.tasks.accepted.values()
        assert task.ref == RoomRef(APP.sdk_app_id, True, "3560")
        assert task.expires_ms == NOW_MS + 72 * HOUR_MS

    run(scenario)


def test_a_robot_needs_a_name_of_its_own_in_its_room() -> None:
    async def scenario(world: World) -> None:
        rooms = world.services.rooms
        assert isinstance(rooms, FakeRooms)
        room = RoomRef(APP.sdk_app_id, True, "3560")
        rooms.open[room] = {"alice"}
        assert (await world.refused(UserId="alice")).message.startswith("UserId is in room 3560 already")
        assert (
            await world.refused(UserId=AUTO_RECORDER)
        ).message == "UserId is the name of automatic recordings' robot"
        task_id = await world.create(UserId="robot")
        assert (await world.refused(UserId="robot")).message == "UserId is the robot of another task in room 3560"
        await world.create(UserId="robot", RoomId="3561")
        rooms.open[room] |= {"robot"}
        world.tasks.move(task_id, "ending")  # the robot leaves its room a moment later

        async def leave() -> None:
            await asyncio.sleep(0.25)
            rooms.open[room] -= {"robot"}

        leaving = asyncio.create_task(leave())
        world.application = replace(APP, settings=ApplicationSettings(concurrent_recordings=3))
        await world.create(UserId="robot")
        assert leaving.done()

    run(scenario)


def test_a_task_notes_what_it_makes_for_usage_to_count() -> None:
    async def scenario(world: World) -> None:
        size = {"VideoParams": {"Width": 1280, "Height": 720, "Fps": 15, "BitRate": 550_000, "Gop": 10}}
        params = {"AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": 64_000}}
        for stream_type, expected in (
            (0, TaskOutput("h264", 1280, 720, audio=True)),
            (1, TaskOutput("", 0, 0, audio=True)),
            (2, TaskOutput("h264", 1280, 720, audio=False)),
        ):
            task_id = await world.create(
                RecordParams={"RecordMode": 2, "StreamType": stream_type}, MixTranscodeParams=size | params
            )
            assert world.tasks.accepted.pop(task_id).output == expected

    run(scenario)


def test_defaults_equal_those_of_the_extras() -> None:
    """The structs' defaults and the transcribed ones are one truth."""

    def check(owner: str, struct: type[msgspec.Struct]) -> None:
        for field in msgspec.structs.fields(struct):
            member = MODEL.objects[owner].get(field.encode_name)
            if member is not None and member.rule is not None and member.rule.default is not None:
                assert field.default == member.rule.default, f"{owner}.{field.encode_name}"

    from rtcloud.egress.recording import request

    for owner in ("RecordParams", "VideoParams", "AudioParams", "MixLayoutParams"):
        check(owner, getattr(request, owner))


def test_string_rooms_keep_their_text_and_numbers_are_made_plain() -> None:
    async def scenario(world: World) -> None:
        assert (await world.accepted(RoomIdType=0, RoomId="007")).room_id == "007"
        plain = await world.accepted(RoomId="007")
        assert (plain.room_id, plain.numeric) == ("7", True)

    run(scenario)


def test_storage_keys_stay_with_the_task() -> None:
    async def scenario(world: World) -> None:
        request = await world.accepted()
        kept = without_keys(request).storage_params.cloud_storage
        assert request.storage_params.cloud_storage is not None
        assert kept is not None
        assert request.storage_params.cloud_storage.secret_key == "hidden"
        assert "hidden" not in repr(request)
        assert "hidden" not in repr(kept.secret_key)
        assert "hidden" not in repr(list(world.tasks.accepted.values()))

    run(scenario)


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"RoomId": "lobby"}, "InvalidParameter", "RoomId must be a decimal number"),
        ({"RoomId": "٣"}, "InvalidParameter", "RoomId must be a decimal number"),
        ({"RoomId": "0"}, "InvalidParameter.OutOfRange", "RoomId must be from 1"),
        ({"RoomId": "9" * 60}, "InvalidParameter.OutOfRange", "RoomId must be from 1"),
        ({"UserSig": "x"}, "InvalidParameter", "UserSig is not valid"),
        (
            {"UserSig": make_user_sig(APP.sdk_app_id, APP.secret_key, "other", now_ms=NOW_MS)},
            "InvalidParameter",
            "70013",
        ),
        (
            {"StorageParams": {"CloudStorage": STORAGE, "CloudVod": {}}},
            "InvalidParameter",
            "StorageParams must have either",
        ),
        (
            {"StorageParams": {"CloudVod": {"TencentVod": {"MediaType": 2}}}},
            "InvalidParameter",
            "StorageParams.CloudVod.TencentVod.MediaType is aac",
        ),
        (
            {
                "StorageParams": {"CloudVod": {"TencentVod": {"MediaType": 4}}},
                "RecordParams": {"RecordMode": 1, "StreamType": 2},
            },
            "InvalidParameter",
            "StorageParams.CloudVod.TencentVod.MediaType is hls+aac",
        ),
        (
            {"StorageParams": {"CloudVod": {"TencentVod": {"UserDefineRecordId": "a.b"}}}},
            "InvalidParameter",
            "StorageParams.CloudVod.TencentVod.UserDefineRecordId",
        ),
        (
            {"StorageParams": {"CloudStorage": STORAGE | {"EndpointUrl": "http://169.254.169.254"}}},
            "InvalidParameter",
            "StorageParams.CloudStorage.EndpointUrl leads into a private network",
        ),
        (
            {"StorageParams": {"CloudStorage": STORAGE | {"EndpointUrl": "https://s3/bucket"}}},
            "InvalidParameter",
            "StorageParams.CloudStorage.EndpointUrl must be only scheme, host and port",
        ),
        (
            {"StorageParams": {"CloudStorage": STORAGE | {"EndpointUrl": "https://s3", "SecretKey": ""}}},
            "MissingParameter.SecretKey",
            "StorageParams.CloudStorage.SecretKey",
        ),
        ({"StorageParams": {}}, "MissingParameter.CloudStorage", "StorageParams.CloudStorage"),
        (
            {"RecordParams": {"RecordMode": 2, "OutputFormat": 4, "StreamType": 2}},
            "InvalidParameter",
            "RecordParams.OutputFormat",
        ),
        (
            {
                "MixTranscodeParams": {
                    "VideoParams": {"Width": 1920, "Height": 1088, "Fps": 1, "BitRate": 64000, "Gop": 1}
                }
            },
            "InvalidParameter.OutOfRange",
            "MixTranscodeParams.VideoParams.Width times Height",
        ),
        (
            {
                "RecordParams": {
                    "RecordMode": 2,
                    "SubscribeStreamUserIds": {"SubscribeAudioUserIds": ["a"], "UnSubscribeAudioUserIds": ["b"]},
                }
            },
            "InvalidParameter",
            "RecordParams.SubscribeStreamUserIds.SubscribeAudioUserIds",
        ),
    ],
)
def test_refused_requests_change_nothing(changes: dict[str, Any], code: str, text: str) -> None:
    async def scenario(world: World) -> None:
        error = await world.refused(**changes)
        assert error.code == code
        assert text in error.message

    run(scenario)


def test_a_recording_for_the_media_library_has_the_files_of_its_media_type() -> None:
    async def scenario(world: World) -> None:
        world.services = replace(
            world.services, files_at=lambda filing: "https://here/vod" if filing.bucket == LIBRARY else ""
        )
        vod = {"MediaType": 4, "ExpireTime": 60, "UserDefineRecordId": "mine"}
        request = await world.accepted(
            StorageParams={"CloudVod": {"TencentVod": vod}},
            RecordParams={"RecordMode": 2, "StreamType": 1, "OutputFormat": 3},
        )
        filing = request.filing
        assert (filing.formats, filing.bucket, filing.mark) == (("hls", "aac"), LIBRARY, "mine")
        assert filing.address == "https://here/vod"
        plain = await world.accepted(StorageParams={"CloudVod": {}})
        assert (plain.filing.formats, plain.filing.mark) == (("mp4",), "")
        assert [task.lists_files for task in world.tasks.accepted.values()] == [False, False]

    run(scenario)


def test_expired_user_sig_is_refused() -> None:
    async def scenario(world: World) -> None:
        old = make_user_sig(APP.sdk_app_id, APP.secret_key, "robot1", now_ms=NOW_MS - 10_000, expire_s=5)
        assert "70001" in (await world.refused(UserSig=old)).message

    run(scenario)


def test_a_private_map_key_may_be_left_out_but_must_be_good() -> None:
    def key(room: int, life_s: int = 60) -> str:
        numbers = struct.pack(">IIIII", APP.sdk_app_id, room, NOW_MS // 1000 + life_s, 255, 0)
        userbuf = struct.pack(">BH", 0, 6) + b"robot1" + numbers
        return make_user_sig(APP.sdk_app_id, APP.secret_key, "robot1", now_ms=NOW_MS, userbuf=userbuf)

    async def scenario(world: World) -> None:
        for wrong, why in ((key(3561), "another room"), (key(3560, -1), "expired"), ("x", "privateMapKey")):
            refusal = await world.refused(UserId="robot1", PrivateMapKey=wrong)
            assert (refusal.code, why in refusal.message) == ("InvalidParameter", True)
        await world.create(UserId="robot1", PrivateMapKey=key(3560))

    run(scenario)


def test_user_sig_of_the_previous_key_is_good_while_that_is() -> None:
    async def scenario(world: World) -> None:
        world.application = replace(APP, previous_secret_key="older", previous_until_ms=NOW_MS + 1)
        sig = make_user_sig(APP.sdk_app_id, "older", "robot1", now_ms=NOW_MS)
        await world.create(UserId="robot1", UserSig=sig)
        world.tasks.accepted.clear()
        world.clock.ms = NOW_MS + 1
        assert "70009" in (await world.refused(UserId="robot1", UserSig=sig)).message

    run(scenario)


def test_empty_optional_members_are_defaults() -> None:
    async def scenario(world: World) -> None:
        layout = {"MixLayoutMode": 3, "BackGroundColor": "", "MaxResolutionUserId": "", "WaterMarkList": []}
        request = await world.accepted(MixLayoutParams=layout, PrivateMapKey="")
        assert request.mix_layout_params.background_color == "#000000"

    run(scenario)


def test_concurrency_is_limited_also_for_calls_at_once() -> None:
    async def scenario(world: World) -> None:
        slow = world.tasks.accept

        async def accept(task: Any) -> None:
            await asyncio.sleep(0)
            await slow(task)

        world.tasks.accept = accept  # type: ignore[method-assign]
        results = await asyncio.gather(*(world.create() for _ in range(5)), return_exceptions=True)
        errors = [r for r in results if isinstance(r, ServiceError)]
        assert (len(errors), len(world.tasks.accepted)) == (3, 2)
        assert {e.code for e in errors} == {"FailedOperation.RestrictedConcurrency"}
        world.tasks.move(next(iter(world.tasks.accepted)), "ended")
        await world.create()

    run(scenario)


def test_recordings_take_their_part_of_the_cores() -> None:
    async def scenario(world: World) -> None:
        sound = {"RecordMode": 2, "StreamType": 1}
        size = {"VideoParams": {"Width": 1280, "Height": 720, "Fps": 30, "BitRate": 1_550_000, "Gop": 10}}
        params = {"AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": 64_000}}
        world.tasks.capacity = 500
        assert world.tasks.accepted[await world.create(RecordParams=sound)].load == weighing.JOB
        with pytest.raises(ServiceError, match=r"RestrictedConcurrency.*0\.48 cores, and 0\.05 of 0\.50"):
            await world.create(MixTranscodeParams=size | params)
        world.tasks.capacity = 0  # no limit
        task_id = await world.create(MixTranscodeParams=size | params)
        assert world.tasks.accepted[task_id].load == weighing.JOB + weighing.PICTURE

    run(scenario)


def test_single_streams_are_counted_as_so_many_and_make_no_picture() -> None:
    async def scenario(world: World) -> None:
        task = world.tasks.accepted[await world.create(RecordParams={"RecordMode": 1})]
        assert task.load == weighing.JOB + weighing.SINGLE * weighing.STREAMS
        assert task.output == TaskOutput()

    run(scenario)


def test_status_follows_the_task_and_an_ended_one_is_gone() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.create()
        for state, status in {
            "accepted": "Idle",
            "running": "InProgress",
            "ending": "Exited",
            "uploading": "Exited",
        }.items():
            world.tasks.move(task_id, state)
            assert (await world.describe(task_id)).status == status
        world.tasks.move(task_id, "ended")
        for find in (world.describe(task_id), world.describe("unknown"), world.describe(task_id, app=7)):
            with pytest.raises(ServiceError, match="ResourceNotFound"):
                await find

    run(scenario)


def test_task_may_be_asked_about_until_it_expires() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.create(ResourceExpiredHour=6)
        world.clock.ms = NOW_MS + 6 * HOUR_MS
        assert (await world.describe(task_id)).task_id == task_id
        world.clock.ms += 1
        with pytest.raises(ServiceError, match="ResourceNotFound"):
            await world.describe(task_id)

    run(scenario)


def test_tasks_of_another_kind_are_not_recordings() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.create()
        world.tasks.views[task_id] = replace(world.tasks.views[task_id], kind="relay")
        with pytest.raises(ServiceError, match="ResourceNotFound"):
            await world.describe(task_id)

    run(scenario)


def test_task_ids_look_as_documented() -> None:
    ids = {new_task_id() for _ in range(100)}
    assert len(ids) == 100
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{46}\.\.", task_id) for task_id in ids)


def test_lists_choose_users_by_name_and_prefix() -> None:
    everyone = SubscribeStreamUserIds()
    assert everyone.wants_audio("anyone")
    allowed = SubscribeStreamUserIds(subscribe_audio_user_ids=("alice", "1.*$"))
    assert [u for u in ("alice", "alice2", "1", "17", "21") if allowed.wants_audio(u)] == ["alice", "1", "17"]
    assert allowed.wants_video("bob")
    blocked = SubscribeStreamUserIds(un_subscribe_video_user_ids=("bot_.*$",))
    assert not blocked.wants_video("bot_7")
    assert blocked.wants_video("robot_7")
    assert blocked.wants_audio("bot_7")


def test_a_server_that_stops_takes_no_new_task() -> None:
    async def scenario(world: World) -> None:
        world.services = replace(world.services, is_stopping=lambda: True)
        assert (await world.refused()).code == "ServiceUnavailable"

    run(scenario)
