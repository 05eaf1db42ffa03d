"""Recording actions: what is accepted, its defaults, what is refused, who may ask."""

import asyncio
import re
import struct
from collections.abc import Callable, Coroutine
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from rtcloud.accounts.entities import Application, ApplicationSettings, Caller
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.actions import recording, weighing
from rtcloud.actions.context import Call, Services
from rtcloud.actions.recording import CreateCloudRecordingRequest, ModifyCloudRecordingRequest, TaskRequest
from rtcloud.actions.tasks import new_task_id
from rtcloud.apimodel.model import Action, load_model
from rtcloud.apimodel.validation import validate
from rtcloud.egress.filing import LIBRARY
from rtcloud.egress.recording.request import RecordingRequest, SubscribeStreamUserIds, decode, without_keys
from rtcloud.errors import ServiceError
from rtcloud.rooms.ids import RoomRef
from rtcloud.tasks.task import AUTO_RECORDER, TaskOutput
from tests.kit.api import FakeImages, FakeRooms, FakeTasks
from tests.kit.clock import NOW_MS, StillClock

HOUR_MS = 3_600_000
MODEL = load_model()
APP = Application(1_400_000_000, "100", "app", "key", ApplicationSettings(concurrent_recordings=2))
STORAGE = {"Vendor": 0, "Region": "r", "Bucket": "b", "AccessKey": "access", "SecretKey": "hidden"}


def services(tasks: FakeTasks, clock: StillClock, images: FakeImages | None = None) -> Services:
    """Without what recordings have nothing to do with."""
    unused: Any = None
    return Services(FakeRooms(), tasks, clock, unused, unused, unused, images or FakeImages())


def call_of(action: Action, application: Application = APP) -> Call:
    return Call(action, Caller("100", "100", "owner", ()), "id", found=application)


class World:
    def __init__(self) -> None:
        self.tasks, self.clock = FakeTasks(), StillClock()
        self.images = FakeImages()
        self.robots = 0
        self.services, self.application = services(self.tasks, self.clock, self.images), APP

    async def create(self, **changes: Any) -> str:
        """Each robot that is not named has a name of its own."""
        self.robots += 1
        robot = changes.get("UserId", f"robot{self.robots}")
        parameters = {
            "SdkAppId": APP.sdk_app_id,
            "RoomId": "3560",
            "UserId": robot,
            "UserSig": make_user_sig(APP.sdk_app_id, APP.secret_key, robot, now_ms=NOW_MS),
            "RecordParams": {"RecordMode": 2},
            "StorageParams": {"CloudStorage": STORAGE},
        } | changes
        action = MODEL.actions["CreateCloudRecording"]
        request = msgspec.convert(validate(MODEL, action, parameters), CreateCloudRecordingRequest)
        call = call_of(action, self.application)
        return (await recording.create_cloud_recording(self.services, call, request)).task_id

    async def accepted(self, **changes: Any) -> RecordingRequest:
        return decode(self.tasks.accepted[await self.create(**changes)].params)

    async def refused(self, **changes: Any) -> ServiceError:
        before = len(self.tasks.accepted)
        with pytest.raises(ServiceError) as caught:
            await self.create(**changes)
        assert MODEL.may_answer(MODEL.actions["CreateCloudRecording"], caught.value.code)
        assert len(self.tasks.accepted) == before
        return caught.value

    async def modify(self, task_id: str, app: int = APP.sdk_app_id, **members: Any) -> RecordingRequest:
        action = MODEL.actions["ModifyCloudRecording"]
        parameters = validate(MODEL, action, {"SdkAppId": app, "TaskId": task_id} | members)
        request = msgspec.convert(parameters, ModifyCloudRecordingRequest)
        answer = await recording.modify_cloud_recording(self.services, call_of(action, self.application), request)
        assert answer.task_id == task_id
        return decode(self.tasks.accepted[task_id].params)

    async def describe(self, task_id: str, app: int = APP.sdk_app_id) -> recording.DescribeCloudRecordingResult:
        call = call_of(MODEL.actions["DescribeCloudRecording"])
        return await recording.describe_cloud_recording(self.services, call, TaskRequest(app, task_id))


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario(World()))


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


# Layouts -----------------------------------------------------------------------------------------------------------

CANVAS = {"VideoParams": {"Width": 640, "Height": 360, "Fps": 15, "BitRate": 500_000, "Gop": 10}}
PLACE = {"Left": 0, "Top": 0, "Width": 640, "Height": 360}
PICTURE = "http://pictures/a.png"


def custom(**changes: Any) -> dict[str, Any]:
    return {"MixLayoutMode": 4, "MixLayoutList": [PLACE | changes]}


def marked(**mark: Any) -> dict[str, Any]:
    return {"MixLayoutMode": 3, "WaterMarkList": [mark]}


def image_mark(**changes: Any) -> dict[str, Any]:
    return marked(WaterMarkImage={"WaterMarkUrl": PICTURE} | PLACE | changes)


LAYOUT_FAULTS = [
    ({"MixLayoutMode": 5}, "InvalidParameter.OutOfRange", "MixLayoutParams.MixLayoutMode"),
    ({"MixLayoutMode": 4}, "MissingParameter", "MixLayoutParams.MixLayoutList is required"),
    ({"MixLayoutMode": 4, "MixLayoutList": []}, "MissingParameter", "MixLayoutParams.MixLayoutList"),
    (
        {"MixLayoutMode": 4, "MixLayoutList": [PLACE] * 26},
        "InvalidParameter.OutOfRange",
        "MixLayoutParams.MixLayoutList",
    ),
    (custom(Left=641), "InvalidParameter.OutOfRange", "MixLayoutParams.MixLayoutList.0.Left must be at most"),
    (custom(Top=361), "InvalidParameter.OutOfRange", "MixLayoutParams.MixLayoutList.0.Top must be at most"),
    (custom(Left=2), "InvalidParameter.OutOfRange", "MixLayoutParams.MixLayoutList.0.Width with Left"),
    (custom(Height=361), "InvalidParameter.OutOfRange", "MixLayoutParams.MixLayoutList.0.Height with Top"),
    (custom(Alpha=256), "InvalidParameter.OutOfRange", "MixLayoutParams.MixLayoutList.0.Alpha"),
    (marked(WaterMarkType=3), "InvalidParameter.OutOfRange", "WaterMarkType"),
    (marked(), "MissingParameter", "MixLayoutParams.WaterMarkList.0.WaterMarkImage is required"),
    (marked(WaterMarkType=1), "MissingParameter", "MixLayoutParams.WaterMarkList.0.WaterMarkChar is required"),
    (marked(WaterMarkType=2), "MissingParameter", "MixLayoutParams.WaterMarkList.0.WaterMarkTimestamp is required"),
    (
        marked(WaterMarkType=2, WaterMarkTimestamp={"Pos": 7}),
        "InvalidParameter.OutOfRange",
        "WaterMarkTimestamp.Pos",
    ),
    (image_mark(Top=1), "InvalidParameter.OutOfRange", "MixLayoutParams.WaterMarkList.0.WaterMarkImage.Height with"),
    (image_mark(WaterMarkUrl=""), "MissingParameter", "WaterMarkImage.WaterMarkUrl is required"),
    ({"MixLayoutMode": 3, "BackGroundColor": "0xFFFFFF"}, "InvalidParameter", "MixLayoutParams.BackGroundColor"),
    ({"MixLayoutMode": 3, "BackgroundImageUrl": "ftp://x/a.png"}, "InvalidParameter", "BackgroundImageUrl"),
    (
        {"MixLayoutMode": 3, "WaterMarkList": [{"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": 0}}] * 26},
        "InvalidParameter.OutOfRange",
        "MixLayoutParams.WaterMarkList",
    ),
]


@pytest.mark.parametrize(("layout", "code", "text"), LAYOUT_FAULTS)
def test_a_layout_that_makes_no_sense_is_refused_at_first_and_later(
    layout: dict[str, Any], code: str, text: str
) -> None:
    async def scenario(world: World) -> None:
        error = await world.refused(MixTranscodeParams=CANVAS, MixLayoutParams=layout)
        assert (error.code, text in error.message) == (code, True), error.message
        task_id = await world.create(MixTranscodeParams=CANVAS)
        before = world.tasks.accepted[task_id]
        with pytest.raises(ServiceError) as caught:
            await world.modify(task_id, MixLayoutParams=layout)
        assert caught.value.code == code
        assert MODEL.may_answer(MODEL.actions["ModifyCloudRecording"], code)
        assert text in caught.value.message
        assert world.tasks.accepted[task_id] == before

    run(scenario)


def test_what_a_mode_does_not_use_is_not_looked_at() -> None:
    async def scenario(world: World) -> None:
        elsewhere = [PLACE | {"Left": 1900, "SubBackgroundImage": PICTURE}]
        for record, layout in (
            ({"RecordMode": 2}, {"MixLayoutMode": 3, "MixLayoutList": elsewhere}),
            ({"RecordMode": 2, "StreamType": 1}, {"MixLayoutMode": 4, "BackgroundImageUrl": PICTURE}),
        ):
            await world.accepted(RecordParams=record, MixTranscodeParams=_whole(CANVAS), MixLayoutParams=layout)
        assert world.images.kept == []

    run(scenario)


def _whole(canvas: dict[str, Any]) -> dict[str, Any]:
    return canvas | {"AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": 64_000}}


def test_all_members_of_a_layout_are_taken() -> None:
    async def scenario(world: World) -> None:
        layout = {
            "MixLayoutMode": 4,
            "MixLayoutList": [PLACE | {"UserId": "anna", "Alpha": 9, "MediaId": 1, "ImageLayer": 4, "RenderMode": 2}],
            "PlaceHolderMode": 1,
            "MaxResolutionUserId": "",
            "WaterMarkList": [
                {"WaterMarkType": 1, "WaterMarkChar": PLACE | {"Chars": "x", "FontColor": ""}},
                {"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": 3}},
            ],
        }
        params = (await world.accepted(MixTranscodeParams=CANVAS, MixLayoutParams=layout)).mix_layout_params
        (place,) = params.mix_layout_list
        assert (place.user_id, place.alpha, place.media_id, place.image_layer, place.render_mode) == (
            "anna",
            9,
            1,
            4,
            2,
        )
        chars, clock = params.water_mark_list
        assert chars.water_mark_char is not None
        assert (chars.water_mark_char.chars, chars.water_mark_char.font_color) == ("x", "#FFFFFF")
        assert clock.water_mark_timestamp is not None
        assert clock.water_mark_timestamp.time_zone == 8

    run(scenario)


def test_pictures_are_kept_and_dead_ones_stop_nothing() -> None:
    async def scenario(world: World) -> None:
        dead = "http://pictures/dead.png"
        world.images.dead[dead] = "could not be fetched"
        layout = {
            "MixLayoutMode": 4,
            "MixLayoutList": [PLACE | {"SubBackgroundImage": dead}],
            "BackgroundImageUrl": PICTURE,
            "DefaultSubBackgroundImage": PICTURE,
        }
        request = await world.accepted(MixTranscodeParams=CANVAS, MixLayoutParams=layout)
        assert request.pictures == (PICTURE, dead)
        assert request.images.keys() == {PICTURE}
        assert world.images.kept == [(APP.sdk_app_id, PICTURE)]

    run(scenario)


def test_a_slow_picture_does_not_outlast_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        keep = world.images.keep

        async def slow(sdk_app_id: int, url: str) -> str:
            if "slow" in url:
                await asyncio.Event().wait()
            return await keep(sdk_app_id, url)

        monkeypatch.setattr(recording, "PICTURES_WITHIN_S", 0.01)
        world.images.keep = slow  # type: ignore[method-assign]
        layout = {"BackgroundImageUrl": PICTURE, "DefaultSubBackgroundImage": "http://pictures/slow.png"}
        request = await world.accepted(MixLayoutParams={"MixLayoutMode": 3} | layout)
        assert request.images.keys() == {PICTURE}

    run(scenario)


# Modify ------------------------------------------------------------------------------------------------------------


def test_a_change_replaces_layout_and_lists_as_a_whole_and_nothing_else() -> None:
    async def scenario(world: World) -> None:
        lists = {"SubscribeAudioUserIds": ["a"], "SubscribeVideoUserIds": ["a"]}
        task_id = await world.create(
            RecordParams={"RecordMode": 2, "SubscribeStreamUserIds": lists, "OutputFormat": 1},
            MixTranscodeParams=CANVAS,
            MixLayoutParams={"MixLayoutMode": 1, "BackgroundImageUrl": PICTURE, "RenderMode": 2},
        )
        first = decode(world.tasks.accepted[task_id].params)
        both = await world.modify(
            task_id, MixLayoutParams=custom(UserId="b"), SubscribeStreamUserIds={"UnSubscribeAudioUserIds": ["c"]}
        )
        assert (both.mix_layout_params.mix_layout_mode, both.mix_layout_params.render_mode) == (4, 1)
        assert (both.mix_layout_params.background_image_url, both.images) == ("", {})
        users = both.record_params.subscribe_stream_user_ids
        assert users == SubscribeStreamUserIds(un_subscribe_audio_user_ids=("c",))
        layout_only = await world.modify(task_id, MixLayoutParams={"MixLayoutMode": 2})
        assert layout_only.record_params.subscribe_stream_user_ids == SubscribeStreamUserIds()
        lists_only = await world.modify(task_id, SubscribeStreamUserIds=lists)
        assert lists_only.mix_layout_params == type(lists_only.mix_layout_params)()
        kept = msgspec.structs.replace(
            lists_only,
            record_params=first.record_params,
            mix_layout_params=first.mix_layout_params,
            images=first.images,
        )
        assert kept == first

    run(scenario)


def test_a_change_fetches_only_pictures_that_it_does_not_have() -> None:
    async def scenario(world: World) -> None:
        other = "http://pictures/b.png"
        task_id = await world.create(MixLayoutParams={"MixLayoutMode": 3, "BackgroundImageUrl": PICTURE})
        world.images.dead[PICTURE] = "is gone by now"
        layout = {"MixLayoutMode": 3, "BackgroundImageUrl": PICTURE, "DefaultSubBackgroundImage": other}
        assert (await world.modify(task_id, MixLayoutParams=layout)).images.keys() == {PICTURE, other}
        assert [url for _, url in world.images.kept] == [PICTURE, other]

    run(scenario)


def test_a_change_of_nothing_or_against_itself_is_refused() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.create()
        with pytest.raises(ServiceError, match=r"^MissingParameter: MixLayoutParams is required"):
            await world.modify(task_id)
        both = {"SubscribeVideoUserIds": ["a"], "UnSubscribeVideoUserIds": ["b"]}
        with pytest.raises(ServiceError, match=r"SubscribeStreamUserIds\.SubscribeVideoUserIds cannot be combined"):
            await world.modify(task_id, SubscribeStreamUserIds=both)
        many = {"SubscribeVideoUserIds": ["a"] * 33}
        with pytest.raises(ServiceError, match=r"InvalidParameter\.OutOfRange"):
            await world.modify(task_id, SubscribeStreamUserIds=many)

    run(scenario)


def test_a_task_that_is_over_cannot_be_changed() -> None:
    async def scenario(world: World) -> None:
        layout = {"MixLayoutMode": 1}
        task_id = await world.create()
        for other, app in (("unknown", APP.sdk_app_id), (task_id, 7)):
            with pytest.raises(ServiceError, match="ResourceNotFound"):
                await world.modify(other, app, MixLayoutParams=layout)
        await world.tasks.stop(task_id)
        with pytest.raises(ServiceError, match="ResourceNotFound"):
            await world.modify(task_id, MixLayoutParams=layout)
        world.tasks.move(task_id, "ended")
        ended, expired = await world.create(), await world.create(ResourceExpiredHour=6)
        world.tasks.move(ended, "ended")
        world.clock.ms = NOW_MS + 6 * HOUR_MS + 1
        for gone in (ended, expired):
            with pytest.raises(ServiceError, match="ResourceNotFound"):
                await world.modify(gone, MixLayoutParams=layout)

    run(scenario)
