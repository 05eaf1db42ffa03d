"""Relay actions: what is accepted, and what is refused with which code and field."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from rtcloud.accounts.entities import ApplicationSettings, AutoRecording
from rtcloud.actions import publishing, weighing
from rtcloud.apimodel.model import load_model
from rtcloud.egress.filing import LIBRARY, CloudStorage, TencentVod
from rtcloud.egress.publishing import request as relay
from rtcloud.egress.publishing.request import KIND, decode, without_keys
from rtcloud.errors import ServiceError
from rtcloud.rooms.ids import RoomRef
from rtcloud.tasks.task import NewTask, TaskOutput
from tests.kit.relay_calls import (
    AUDIO,
    ENCODE,
    EXAMPLES,
    MARK,
    PLACE,
    SINGLE,
    STORAGE,
    TEXT,
    URL,
    World,
    layout,
    marked,
    recorded,
    refusal,
    run,
    stream,
    user,
    video,
)

MODEL = load_model()
STARTS = [example for example in EXAMPLES if example["action"] == "StartPublishCdnStream"]

# what is accepted -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("example", STARTS, ids=lambda example: str(example["source"]))
def test_documented_example_starts_a_task_with_ids_and_signatures_of_ours(example: dict[str, Any]) -> None:
    async def scenario(world: World) -> None:
        given = json.loads(json.dumps(example["parameters"]))
        given["SdkAppId"] = world.app
        for robot in (given["AgentParams"], *given.get("FeedBackRoomParams", ())):
            robot["UserSig"] = world.sig(robot["UserId"])
        (task_id,) = (await world.world.call("StartPublishCdnStream", **given)).values()
        accepted, task = world.request(task_id), world.task(task_id)
        assert task.kind == KIND
        assert task.ref == RoomRef(world.app, True, "295066")
        assert (accepted.is_single, accepted.video_params is None) == (
            given["WithTranscoding"] == 0,
            "VideoParams" not in given,
        )
        assert len(accepted.images) == ("WaterMarkList" in json.dumps(given))
        assert task.output == (TaskOutput("h264", 1280, 720) if "VideoParams" in given else TaskOutput())

    run(scenario)


def test_a_started_relay_is_what_was_asked_for() -> None:
    async def scenario(world: World) -> None:
        task_id, accepted = await world.started(**video(BackGroundColor="0xFF0000"))
        assert accepted.ref == RoomRef(world.app, True, "3560")
        assert accepted.agent_params == relay.AgentParams(user_id="robot")
        assert accepted.publish_cdn_params == (relay.PublishCdnParam(publish_cdn_url=URL),)
        assert accepted.audio_params == relay.AudioParams()
        assert accepted.video_params is not None
        assert accepted.video_params.background_color == "0xFF0000"
        assert accepted.video_params.layout_params == relay.LayoutParams()
        assert (accepted.sequence_number, accepted.publish_revision) == (-1, 0)
        assert world.task(task_id).load == weighing.JOB + weighing.PICTURE
        assert world.task(task_id).user_id == "robot"

    run(scenario)


def test_defaults_equal_those_of_the_extras() -> None:
    owners: dict[type[msgspec.Struct], str] = {
        relay.AgentParams: "AgentParams",
        relay.MixUserInfo: "MixUserInfo",
        relay.UserMediaStream: "UserMediaStream",
        relay.AudioEncode: "AudioEncode",
        relay.UserInfoParams: "McuUserInfoParams",
        relay.Layout: "McuLayout",
        relay.LayoutParams: "McuLayoutParams",
        relay.BackgroundCustomRender: "McuBackgroundCustomRender",
        relay.WaterMarkImage: "McuWaterMarkImage",
        relay.WaterMarkText: "McuWaterMarkText",
        relay.WaterMark: "McuWaterMarkParams",
        relay.VideoParams: "McuVideoParams",
        relay.PublishCdnParam: "McuPublishCdnParam",
        relay.LayoutVolume: "McuLayoutVolume",
        relay.PassThrough: "McuPassThrough",
        relay.RecordParams: "McuRecordParams",
    }
    for struct, owner in owners.items():
        for field in msgspec.structs.fields(struct):
            name = field.encode_name
            member = MODEL.objects[owner][name]  # every member of ours is one of the documents
            if member.default is not None and not member.required:
                assert field.default == member.default, f"{owner}.{name}"


def test_a_user_without_a_room_is_of_the_main_room() -> None:
    async def scenario(world: World) -> None:
        places = (
            PLACE | stream("a"),
            PLACE | stream("b", RoomId="0077"),
            PLACE | stream("c", RoomId="lobby", RoomIdType=1),
        )
        _, accepted = await world.started(RoomId="007", **layout(4, *places))
        assert accepted.video_params is not None
        named = [each.user_media_stream for each in accepted.video_params.layout_params.mix_layout_list]
        rooms = [(each.user_info.room_id, each.user_info.room_id_type) for each in named if each and each.user_info]
        assert rooms == [("7", 0), ("77", 0), ("lobby", 1)]
        _, accepted = await world.started(
            RoomId="lobby", RoomIdType=1, **layout(4, PLACE | stream("a", RoomId="lobby"))
        )
        assert accepted.video_params is not None
        (place,) = accepted.video_params.layout_params.mix_layout_list
        assert place.user_media_stream is not None
        assert place.user_media_stream.user_info == relay.MixUserInfo(user_id="a", room_id="lobby", room_id_type=1)

    run(scenario)


def test_the_call_itself_is_enough_for_the_robot_and_empty_texts_are_defaults() -> None:
    async def scenario(world: World) -> None:
        mark = {"WaterMarkType": 1, "WaterMarkText": TEXT | {"FontColor": "", "Font": ""}}
        _, accepted = await world.started(AgentParams={"UserId": "robot", "UserSig": ""}, **marked(mark))
        assert accepted.video_params is not None
        (taken,) = accepted.video_params.water_mark_list
        assert taken.water_mark_text is not None
        assert taken.water_mark_text.font_color == "0xFFFFFF"

    run(scenario)


def test_only_video_is_relayed_without_sound() -> None:
    async def scenario(world: World) -> None:
        nothing: tuple[dict[str, Any] | None, ...] = (None, {}, {"SubscribeAudioList": []})
        for audio in nothing:
            task_id, accepted = await world.started(AudioParams=audio, **video())
            assert accepted.audio_params is None
            assert world.task(task_id).output == TaskOutput("h264", 1280, 720, audio=False)

    run(scenario)


def test_a_recording_beside_keeps_its_storage_keys_with_the_task() -> None:
    async def scenario(world: World) -> None:
        task_id, accepted = await world.started(**recorded(RecordFormat=["hls", "mp4", "hls"], StreamType=1))
        assert accepted.record_params is not None
        assert accepted.record_params.record_format == ("hls", "mp4")
        storage = accepted.record_params.mcu_storage_params.cloud_storage
        assert storage is not None
        assert storage.secret_key == "hidden"
        assert b"hidden" not in relay.encode(without_keys(accepted))
        assert "hidden" not in repr(world.task(task_id))
        for off in ({}, {"UniRecord": 0}, {"UniRecord": 1, "RecordFormat": ["aac", "mp4"]}):
            _, accepted = await world.started(RecordParams=off, **video())
            assert accepted.record_params is None

    run(scenario)


def test_feedback_rooms_are_joined_by_robots_whose_user_sigs_are_good() -> None:
    async def scenario(world: World) -> None:
        room = {"RoomId": "0042", "RoomIdType": 0, "UserId": "echo", "UserSig": world.sig("echo")}
        task_id, accepted = await world.started(PublishCdnParams=None, FeedBackRoomParams=[room], **video())
        assert accepted.feed_back_room_params == (relay.FeedBackRoomParams(room_id="42", user_id="echo"),)
        assert world.task(task_id).load == weighing.JOB + weighing.PICTURE + weighing.FEEDBACK
        for bad in ("x", world.sig("robot")):
            error = await refusal(world.start(FeedBackRoomParams=[room | {"UserSig": bad}]))
            assert error.code == "InvalidParameter"
            assert error.message.startswith("FeedBackRoomParams.0.UserSig is not valid")

    run(scenario)


def test_the_codec_of_the_application_is_that_of_its_mixes() -> None:
    async def scenario(world: World) -> None:
        accounts = world.world.accounts
        settings = msgspec.structs.replace(world.world.app.settings, relay_codec="h265")
        await accounts.update_application(world.app, settings=settings)
        task_id, accepted = await world.started(**video())
        assert accepted.video_codec == "h265"
        assert world.task(task_id).output == TaskOutput("h265", 1280, 720)
        assert world.task(task_id).load == weighing.JOB + 2 * weighing.PICTURE

    run(scenario)


# what is refused --------------------------------------------------------------------------------------------------


INVALID, MISSING, VALUE = "InvalidParameter", "MissingParameter", "InvalidParameterValue"
UNABLE = "FailedOperation.NotAbility"
REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"RoomId": "lobby"}, INVALID, "RoomId must be a decimal number"),
    ({"RoomId": "4294967295"}, VALUE, "RoomId must be from 1 to 4294967294"),
    ({"RoomIdType": 2}, VALUE, "RoomIdType"),
    ({"AgentParams": {"UserId": "robot", "UserSig": "x"}}, INVALID, "AgentParams.UserSig is not valid"),
    # single and mixed
    ({"WithTranscoding": 0}, MISSING, "SingleSubscribeParams is required"),
    (SINGLE | {"SingleSubscribeParams": {"UserMediaStream": {}}}, MISSING, "SingleSubscribeParams.UserMediaStream."),
    ({"SingleSubscribeParams": stream("alice")}, INVALID, "SingleSubscribeParams is for WithTranscoding 0"),
    (
        SINGLE | layout(4, PLACE | stream("a"), PLACE | stream("b")),
        INVALID,
        "VideoParams.LayoutParams.MixLayoutList cannot have several streams",
    ),
    (SINGLE | marked({"WaterMarkImage": MARK}), INVALID, "VideoParams.WaterMarkList needs WithTranscoding 1"),
    (
        SINGLE | {"AudioParams": AUDIO | {"SubscribeAudioList": [user("bob")]}},
        INVALID,
        "AudioParams.SubscribeAudioList.0.UserInfo is not the user",
    ),
    # encoding
    ({"AudioParams": None}, MISSING, "AudioParams is required"),
    ({"AudioParams": {}, "VideoParams": {}}, MISSING, "AudioParams is required"),
    ({"AudioParams": {"SubscribeAudioList": [user("a")]}}, MISSING, "AudioParams.AudioEncode is required"),
    ({"VideoParams": {"BackGroundColor": "0x1"}}, MISSING, "VideoParams.VideoEncode is required"),
    (
        {"AudioParams": {"AudioEncode": AUDIO["AudioEncode"] | {"Codec": 2, "Channel": 1}}},
        INVALID,
        "AudioParams.AudioEncode.Channel must be 2",
    ),
    (
        {"AudioParams": {"AudioEncode": AUDIO["AudioEncode"] | {"Codec": 1, "SampleRate": 8000}}},
        INVALID,
        "AudioParams.AudioEncode.SampleRate must not be 8000",
    ),
    (video({"Width": 0}), INVALID, "VideoParams.VideoEncode.Width must be even"),
    (video({"Height": 721}), INVALID, "VideoParams.VideoEncode.Height must be even"),
    (SINGLE | video({"Height": 721}), INVALID, "VideoParams.VideoEncode.Height must be even"),
    (video({"Width": 1922}), VALUE, "VideoParams.VideoEncode.Width"),
    (video({"Fps": 0}), VALUE, "VideoParams.VideoEncode.Fps"),
    (video({"BitRate": 0}), VALUE, "VideoParams.VideoEncode.BitRate"),
    (video({"Gop": 0}), VALUE, "VideoParams.VideoEncode.Gop"),
    # outputs
    ({"PublishCdnParams": None}, MISSING, "PublishCdnParams or FeedBackRoomParams is required"),
    ({"PublishCdnParams": [], "FeedBackRoomParams": []}, MISSING, "PublishCdnParams or FeedBackRoomParams"),
    ({"PublishCdnParams": [{"PublishCdnUrl": f"{URL}{n}"} for n in range(11)]}, VALUE, "PublishCdnParams must have at"),
    ({"PublishCdnParams": [{"PublishCdnUrl": URL}] * 2}, INVALID, "PublishCdnParams.1.PublishCdnUrl is in the list"),
    ({"PublishCdnParams": [{"PublishCdnUrl": "http://host/live/a"}]}, INVALID, "PublishCdnParams.0.PublishCdnUrl must"),
    ({"PublishCdnParams": [{"PublishCdnUrl": "rtmp://host/live"}]}, INVALID, "PublishCdnParams.0.PublishCdnUrl cannot"),
    ({"PublishCdnParams": [{"PublishCdnUrl": "rtmp://host"}]}, INVALID, "PublishCdnParams.0.PublishCdnUrl cannot"),
    # layouts
    (layout(4), MISSING, "VideoParams.LayoutParams.MixLayoutList is required"),
    (layout(2), MISSING, "VideoParams.LayoutParams.MaxVideoUser is required"),
    (layout(2, MaxVideoUser={"UserMediaStream": {}}), MISSING, "VideoParams.LayoutParams.MaxVideoUser is required"),
    (layout(4, *[PLACE] * 17), VALUE, "VideoParams.LayoutParams.MixLayoutList must have at most 16"),
    (
        layout(4, PLACE | stream("a"), PLACE, PLACE | stream("a", RoomId="3560", RoomIdType=0)),
        INVALID,
        "VideoParams.LayoutParams.MixLayoutList.2.UserMediaStream is in VideoParams.LayoutParams.MixLayoutList.0",
    ),
    (
        layout(4, PLACE, PLACE | {"LocationX": 641}),
        INVALID,
        "VideoParams.LayoutParams.MixLayoutList.1.ImageWidth with LocationX must be at most",
    ),
    (
        layout(4, PLACE | {"ImageHeight": 2**63}),
        INVALID,
        "VideoParams.LayoutParams.MixLayoutList.0.ImageHeight with LocationY must be at most",
    ),
    (
        layout(4, PLACE | {"CustomCrop": {"LocationX": 9000, "LocationY": 0, "Width": 1001, "Height": 1}}),
        INVALID,
        "VideoParams.LayoutParams.MixLayoutList.0.CustomCrop.Width with its Location",
    ),
    (
        layout(4, PLACE | {"BackgroundRenderMode": 4}),
        MISSING,
        "VideoParams.LayoutParams.MixLayoutList.0.BackgroundCustomRender is required",
    ),
    (
        layout(4, PLACE | {"BackgroundRenderMode": 4, "BackgroundCustomRender": {"Width": 641, "Height": 1}}),
        INVALID,
        "VideoParams.LayoutParams.MixLayoutList.0.BackgroundCustomRender.Width must be at most the ImageWidth",
    ),
    (
        layout(
            4, PLACE | {"BackgroundRenderMode": 4, "BackgroundCustomRender": {"Width": 9, "Height": 8, "Radius": 5}}
        ),
        INVALID,
        "VideoParams.LayoutParams.MixLayoutList.0.BackgroundCustomRender.Radius",
    ),
    # watermarks
    (marked(*[{"WaterMarkImage": MARK}] * 26), VALUE, "VideoParams.WaterMarkList must have at most 25"),
    (marked({"WaterMarkType": 1}), MISSING, "VideoParams.WaterMarkList.0.WaterMarkText is required"),
    (marked({"WaterMarkType": 0, "WaterMarkText": TEXT}), MISSING, "VideoParams.WaterMarkList.0.WaterMarkImage is"),
    (
        marked({"WaterMarkImage": MARK | {"LocationX": 1217}}),
        INVALID,
        "VideoParams.WaterMarkList.0.WaterMarkImage.WaterMarkWidth with LocationX",
    ),
    (
        marked({"WaterMarkType": 1, "WaterMarkText": TEXT | {"LocationY": 671}}),
        INVALID,
        "VideoParams.WaterMarkList.0.WaterMarkText.WaterMarkHeight with LocationY",
    ),
    (marked({"WaterMarkImage": MARK | {"WaterMarkUrl": "watermark:x"}}), INVALID, "VideoParams.WaterMarkList.0."),
    # rooms and robots
    (
        layout(4, PLACE | stream("a", RoomId="lobby")),
        INVALID,
        "VideoParams.LayoutParams.MixLayoutList.0.UserMediaStream.UserInfo.RoomId must be a decimal number",
    ),
    (
        layout(1, MaxVideoUser=stream("a", RoomId="9")),
        INVALID,
        "VideoParams.LayoutParams.MaxVideoUser.UserMediaStream.UserInfo.RoomId must be the main room",
    ),
    (
        layout(3) | {"AudioParams": AUDIO | {"SubscribeAudioList": [user("a"), user("b", RoomId="9")]}},
        INVALID,
        "AudioParams.SubscribeAudioList.1.UserInfo.RoomId must be the main room",
    ),
    (
        {"AudioParams": AUDIO | {"SubscribeAudioList": [user("a", RoomId=str(n)) for n in range(1, 17)]}},
        INVALID,
        "AudioParams.SubscribeAudioList.15.UserInfo.RoomId is of a further room",
    ),
    (layout(4, PLACE | stream("robot")), INVALID, "AgentParams.UserId is the robot's, and cannot be that of Video"),
    (
        {"AudioParams": AUDIO | {"SubscribeAudioList": [user("robot", RoomId="9")]}},
        INVALID,
        "AgentParams.UserId is the robot's, and cannot be that of AudioParams.SubscribeAudioList.0",
    ),
    # messages
    ({"SeiParams": {"LayoutVolume": {"AppData": "x" * 4096}}}, INVALID, "SeiParams.LayoutVolume.AppData must be short"),
    ({"SeiParams": {"LayoutVolume": {"PayloadType": 244}}}, INVALID, "SeiParams.LayoutVolume.PayloadType must not be"),
    (
        {"SeiParams": {"PassThrough": {"PayloadContent": "x", "PayloadType": 6}}},
        INVALID,
        "SeiParams.PassThrough.PayloadType must be 5, or",
    ),
    (
        {"SeiParams": {"PassThrough": {"PayloadContent": "x", "PayloadType": 244}}},
        INVALID,
        "SeiParams.PassThrough.PayloadType must be 5, or",
    ),
    (
        {"SeiParams": {"PassThrough": {"PayloadContent": "x", "PayloadType": 5}}},
        MISSING,
        "SeiParams.PassThrough.PayloadUuid is required",
    ),
    (
        {"SeiParams": {"PassThrough": {"PayloadContent": "x", "PayloadType": 5, "PayloadUuid": "g" * 32}}},
        INVALID,
        "SeiParams.PassThrough.PayloadUuid must be 32",
    ),
    # recording beside
    (recorded(UniRecord=2), UNABLE, "RecordParams.UniRecord is 2, but the application has no template"),
    (recorded(RecordKey="k"), UNABLE, "RecordParams.RecordKey"),
    (recorded(RecordKey="k", UniRecord=2), UNABLE, "RecordParams.RecordKey"),
    (
        recorded(McuStorageParams={"CloudStorage": STORAGE | {"EndpointUrl": "http://10.0.0.1:9000"}}),
        INVALID,
        "RecordParams.McuStorageParams.CloudStorage.EndpointUrl leads into a private network",
    ),
    (
        recorded(McuStorageParams={"CloudStorage": STORAGE, "McuCloudVod": {}}),
        INVALID,
        "RecordParams.McuStorageParams must have either",
    ),
    (recorded(McuStorageParams=None), MISSING, "RecordParams.McuStorageParams.CloudStorage is required"),
    (recorded(RecordFormat=["mp4", "aac"]), INVALID, "RecordParams.RecordFormat cannot have both"),
    (recorded(RecordFormat=["avi"]), VALUE, "RecordParams.RecordFormat.0"),
    (recorded(RecordFormat=["aac"], StreamType=2), INVALID, "RecordParams.RecordFormat is aac"),
    (recorded(StreamType=2) | {"VideoParams": None}, INVALID, "RecordParams.StreamType records only video"),
    (recorded(StreamType=1) | {"AudioParams": None}, INVALID, "RecordParams.StreamType records only audio"),
    (recorded(RecordFormat=["aac"]) | {"AudioParams": None}, INVALID, "RecordParams.RecordFormat is aac"),
]


@pytest.mark.parametrize(("changes", "code", "text"), REFUSED, ids=[text for _, _, text in REFUSED])
def test_refused_requests_change_nothing(changes: dict[str, Any], code: str, text: str) -> None:
    async def scenario(world: World) -> None:
        error = await refusal(world.start(**changes))
        assert (error.code, error.message[: len(text)] if code != UNABLE else text) == (code, text)
        assert text in error.message
        assert not world.tasks.accepted
        assert not world.images.kept

    run(scenario)


def test_what_this_version_does_not_do_is_said() -> None:
    async def scenario(world: World) -> None:
        error = await refusal(world.start(**recorded(RecordKey="k")))
        assert error.code == "FailedOperation.NotAbility"

    run(scenario)


def test_what_is_recorded_by_the_template_is_as_the_applications_automatic_recording() -> None:
    async def scenario(world: World) -> None:
        app = world.world.app.sdk_app_id

        async def started(**members: Any) -> relay.RecordParams:
            settings = ApplicationSettings(auto_recording=AutoRecording(**members))
            await world.world.accounts.update_application(app, settings=settings)
            ignored = {"RecordFormat": ["hls"], "McuStorageParams": {"CloudStorage": STORAGE}}
            _, accepted = await world.started(RecordParams={"UniRecord": 2} | ignored, **video())
            assert accepted.record_params is not None
            return accepted.record_params

        record = await started(bucket="b", vendor="aws", region="r", prefix=("p",), file_minutes=9, content="video")
        assert (record.record_format, record.max_media_file_duration, record.stream_type) == (("mp4",), 9, 2)
        storage = CloudStorage(vendor=1, region="r", bucket="b", file_name_prefix=("p",))
        assert record.mcu_storage_params == relay.StorageParams(cloud_storage=storage)
        record = await started(bucket="b")
        assert record.filing.folder("T") == ["b", "T"]
        record = await started(format="aac", expire_s=60)
        assert (record.record_format, record.stream_type) == (("aac",), 1)
        assert isinstance(record.filing.storage, TencentVod)
        assert record.filing.storage.expire_time == 60

    run(scenario)


def test_what_is_recorded_may_go_to_the_media_library() -> None:
    async def scenario(world: World) -> None:
        vod = {"McuCloudVod": {"McuTencentVod": {"ExpireTime": 60, "ClassId": 7}}}
        await world.start(
            **recorded(McuStorageParams=vod, RecordFormat=["hls", "mp4"], UserDefineRecordPrefix="show_1")
        )
        (task,) = world.tasks.accepted.values()
        recording = decode(task.params).record_params
        assert recording is not None
        filing = recording.filing
        assert (filing.formats, filing.bucket, filing.mark) == (("hls", "mp4"), LIBRARY, "show_1")
        assert isinstance(filing.storage, TencentVod)
        assert (filing.storage.expire_time, filing.storage.class_id) == (60, 7)

    run(scenario)


def test_a_dead_picture_is_told_with_its_field() -> None:
    async def scenario(world: World) -> None:
        world.images.dead = {"https://host/dead.png": "answers with status 404"}
        place = PLACE | {"BackgroundImageUrl": "https://host/b.png", "TransparentUrl": "https://host/t.png"}
        whole: dict[str, Any] = {
            "BackgroundImageUrl": "https://host/back.png",
            "WaterMarkList": [{"WaterMarkImage": MARK}],
        }
        _, accepted = await world.started(**video(LayoutParams={"MixLayoutMode": 4, "MixLayoutList": [place]}, **whole))
        assert len(accepted.images) == 4
        assert {app for app, _ in world.images.kept} == {world.app}
        for path, changes in (
            ("VideoParams.BackgroundImageUrl", video(BackgroundImageUrl="https://host/dead.png")),
            (
                "VideoParams.LayoutParams.MixLayoutList.0.TransparentUrl",
                layout(4, place | {"TransparentUrl": "https://host/dead.png"}),
            ),
            (
                "VideoParams.WaterMarkList.1.WaterMarkImage.WaterMarkUrl",
                marked({"WaterMarkImage": MARK}, {"WaterMarkImage": MARK | {"WaterMarkUrl": "https://host/dead.png"}}),
            ),
        ):
            error = await refusal(world.start(**changes))
            assert (error.code, error.message) == ("InvalidParameter", f"{path} answers with status 404")
        assert len(world.tasks.accepted) == 1

    run(scenario)


def test_pictures_that_do_not_come_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "PICTURES_WITHIN_S", 0.01)

    async def scenario(world: World) -> None:
        async def never(sdk_app_id: int, url: str) -> str:
            await asyncio.Event().wait()
            return url

        monkeypatch.setattr(world.images, "keep", never)
        error = await refusal(world.start(**marked({"WaterMarkImage": MARK})))
        assert error.code == "InvalidParameter"
        assert error.message.startswith("VideoParams.WaterMarkList.0.WaterMarkImage.WaterMarkUrl did not come within")

    run(scenario)


def test_what_the_machine_has_no_room_for_is_refused() -> None:
    async def scenario(world: World) -> None:
        world.tasks.capacity = 1000
        first, _ = await world.started(**video())
        second, _ = await world.started(**video())
        error = await refusal(world.start(**video()))
        assert error.code == "FailedOperation.RestrictedConcurrency"
        assert "0.96 of 1.00" in error.message
        await world.start(**SINGLE, **video())
        assert (await refusal(world.start())).code == "FailedOperation.RestrictedConcurrency"
        error = await refusal(world.update(first, VideoParams={"VideoEncode": ENCODE | {"Fps": 60}}))
        assert error.code == "FailedOperation.RestrictedConcurrency"
        await world.update(first, VideoParams={"VideoEncode": ENCODE | {"Width": 640, "Height": 360}})
        assert world.task(first).load < world.task(second).load
        await world.start()

    run(scenario)


def test_calls_at_once_do_not_take_the_same_place() -> None:
    async def scenario(world: World) -> None:
        world.tasks.capacity = 1000
        slow = world.tasks.accept

        async def accept(task: NewTask) -> None:
            await asyncio.sleep(0)
            await slow(task)

        world.tasks.accept = accept  # type: ignore[method-assign]
        starts = [world.start(AgentParams={"UserId": f"robot{number}"}, **video()) for number in range(5)]
        results = await asyncio.gather(*starts, return_exceptions=True)
        refused = [each.code for each in results if isinstance(each, ServiceError)]
        assert refused == ["FailedOperation.RestrictedConcurrency"] * 3

    run(scenario)


def test_a_server_that_stops_takes_no_task_and_no_update() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.start()
        world.world.services = replace(world.world.services, is_stopping=lambda: True)
        assert (await refusal(world.start())).code == "ServiceUnavailable"
        assert (await refusal(world.update(task_id))).code == "ServiceUnavailable"
        await world.stop(task_id)

    run(scenario)
