"""Relays that run: what an update changes and what it may not, and how they are stopped."""

from dataclasses import replace

from rtcloud.actions import weighing
from rtcloud.egress.publishing import request as relay
from rtcloud.tasks.task import TaskOutput
from tests.kit.relay_calls import (
    AUDIO,
    ENCODE,
    EXAMPLES,
    MARK,
    PLACE,
    SINGLE,
    URL,
    World,
    layout,
    marked,
    refusal,
    run,
    stream,
    video,
)


def test_an_update_changes_what_it_names() -> None:
    async def scenario(world: World) -> None:
        task_id, before = await world.started(**marked({"WaterMarkImage": MARK}))
        changes = {
            "VideoParams": {
                "LayoutParams": {"MixLayoutMode": 4, "MixLayoutList": [PLACE | stream("a", RoomId="9")]},
                "VideoEncode": ENCODE | {"Width": 1920, "Height": 1080},
            },
            "PublishCdnParams": [{"PublishCdnUrl": URL}, {"PublishCdnUrl": "rtmps://other/live/two"}],
        }
        after = await world.update(task_id, 20, **changes)
        assert after.audio_params == before.audio_params
        assert after.video_params is not None
        assert after.video_params.video_encode.width == 1920
        assert len(after.video_params.water_mark_list) == 1
        assert after.video_params.layout_params.mix_layout_mode == 4
        assert [each.publish_cdn_url for each in after.publish_cdn_params] == [URL, "rtmps://other/live/two"]
        assert (after.sequence_number, after.publish_revision) == (20, 1)
        assert world.task(task_id).output == TaskOutput("h264", 1920, 1080)
        assert world.task(task_id).load > 900

    run(scenario)


def test_documented_updates_pass() -> None:
    async def scenario(world: World) -> None:
        for number, example in enumerate(each for each in EXAMPLES if each["action"] == "UpdatePublishCdnStream"):
            task_id = await world.start(RoomId="48111", **video({"Height": 1080}))  # the example's places need as much
            given = example["parameters"] | {"SdkAppId": world.app, "TaskId": task_id}
            await world.world.call("UpdatePublishCdnStream", **given)
            assert world.request(task_id).sequence_number == 20, number

    run(scenario)


def test_a_stale_sequence_number_is_refused() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.start()
        await world.update(task_id, 0)
        await world.update(task_id, 7)
        for stale in (7, 6, 0):
            error = await refusal(world.update(task_id, stale))
            assert (error.code, error.message) == (
                "InvalidParameter",
                "SequenceNumber must be greater than the last one, 7",
            )
        await world.update(task_id, 2**64 - 1)

    run(scenario)


def test_the_whole_is_checked_after_an_update_and_nothing_changed_if_it_is_bad() -> None:
    async def scenario(world: World) -> None:
        place = PLACE | {"LocationX": 640} | stream("a")
        task_id, before = await world.started(**layout(4, place))
        small = {"VideoEncode": ENCODE | {"Width": 640}}
        echo = {"RoomId": "3560", "RoomIdType": 0, "UserId": "robot", "UserSig": world.sig("robot")}
        for changes, text in (
            ({"VideoParams": small}, "VideoParams.LayoutParams.MixLayoutList.0.ImageWidth"),
            ({"VideoParams": {"LayoutParams": {"MixLayoutList": []}}}, "VideoParams.LayoutParams.MixLayoutList is"),
            ({"PublishCdnParams": []}, "PublishCdnParams or FeedBackRoomParams is required"),
            ({"FeedBackRoomParams": [echo]}, "FeedBackRoomParams.0.UserId is the robot's"),
            ({"SingleSubscribeParams": stream("a")}, "SingleSubscribeParams is for"),
            ({"WithTranscoding": 0}, "SingleSubscribeParams is required"),
            (
                {"AudioParams": {"AudioEncode": {"SampleRate": 44100, "Channel": 2, "BitRate": 64}}},
                "AudioParams.AudioE",
            ),
            (
                {"AudioParams": {"AudioEncode": {"SampleRate": 48000, "Channel": 1, "BitRate": 64}}},
                "AudioParams.AudioE",
            ),
            (
                {"AudioParams": {"AudioEncode": {"SampleRate": 48000, "Channel": 2, "BitRate": 65}}},
                "AudioParams.AudioE",
            ),
        ):
            error = await refusal(world.update(task_id, **changes))
            assert error.code in ("InvalidParameter", "MissingParameter")
            assert error.message.startswith(text)
        assert world.request(task_id) == before
        await world.update(task_id, VideoParams=small | {"LayoutParams": {"MixLayoutMode": 3}})

    run(scenario)


def test_media_of_a_task_stay_what_they_are() -> None:
    async def scenario(world: World) -> None:
        only_audio, only_video = await world.start(), await world.start(AudioParams=None, **video())
        error = await refusal(world.update(only_audio, **video()))
        assert (error.code, error.message.split()[0]) == ("InvalidParameter", "VideoParams")
        error = await refusal(world.update(only_video, AudioParams=AUDIO))
        assert (error.code, error.message.split()[0]) == ("InvalidParameter", "AudioParams")
        await world.update(only_video, AudioParams={"SubscribeAudioList": []})
        assert world.request(only_video).audio_params is None

    run(scenario)


def test_a_single_stream_becomes_a_mix_and_one_again() -> None:
    async def scenario(world: World) -> None:
        task_id, _ = await world.started(**SINGLE, **video())
        assert world.task(task_id).load == weighing.SINGLE
        mixed = await world.update(task_id, 1, VideoParams={"WaterMarkList": [{"WaterMarkImage": MARK}]})
        assert (mixed.is_single, mixed.single_subscribe_params) == (False, None)
        assert world.task(task_id).load == weighing.JOB + weighing.PICTURE
        assert len(mixed.images) == 1
        single = await world.update(task_id, 2, **SINGLE)
        assert single.is_single
        assert single.video_params == relay.VideoParams(
            video_encode=relay.VideoEncode(width=1280, height=720, fps=30, bit_rate=1500, gop=2)
        )
        assert single.images == {}

    run(scenario)


def test_pictures_that_a_task_has_need_not_be_there_any_more() -> None:
    async def scenario(world: World) -> None:
        task_id, before = await world.started(**marked({"WaterMarkImage": MARK}))
        world.images.dead = {str(MARK["WaterMarkUrl"]): "answers with status 404"}
        after = await world.update(task_id, 1, VideoParams={"WaterMarkList": [{"WaterMarkImage": MARK}]})
        assert after.images == before.images
        assert (await world.update(task_id, 2, VideoParams={"WaterMarkList": []})).images == {}
        error = await refusal(world.update(task_id, 3, VideoParams={"WaterMarkList": [{"WaterMarkImage": MARK}]}))
        assert error.code == "InvalidParameter"

    run(scenario)


def test_an_update_that_meets_another_is_checked_against_it() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.start(**video())
        keep = world.images.keep

        async def slowly(sdk_app_id: int, url: str) -> str:
            await world.update(task_id, 9, VideoParams={"VideoEncode": ENCODE | {"Width": 640}})
            return await keep(sdk_app_id, url)

        world.images.keep = slowly  # type: ignore[method-assign]
        error = await refusal(world.update(task_id, 8, VideoParams={"WaterMarkList": [{"WaterMarkImage": MARK}]}))
        assert error.message == "SequenceNumber must be greater than the last one, 9"
        assert world.request(task_id).sequence_number == 9

    run(scenario)


def test_stopping_again_while_a_task_ends_is_well_and_after_it_not() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.start()
        await world.stop(task_id)
        for state in ("accepted", "running", "ending", "uploading"):
            world.tasks.move(task_id, state)
            await world.stop(task_id)
            assert (await refusal(world.update(task_id))).code == "ResourceNotFound"
        world.tasks.move(task_id, "ended")
        assert (await refusal(world.stop(task_id))).code == "ResourceNotFound"

    run(scenario)


def test_tasks_of_others_and_of_other_kinds_are_not_found() -> None:
    async def scenario(world: World) -> None:
        task_id = await world.start()
        stranger = world.world.other_app.sdk_app_id
        calls = (
            world.world.call("StopPublishCdnStream", world.world.other, SdkAppId=stranger, TaskId=task_id),
            world.stop("unknown"),
            world.update("unknown"),
        )
        for call in calls:
            assert (await refusal(call)).code == "ResourceNotFound"
        world.tasks.views[task_id] = replace(world.tasks.views[task_id], kind="recording")
        assert (await refusal(world.stop(task_id))).code == "ResourceNotFound"
        assert (await refusal(world.update(task_id))).code == "ResourceNotFound"
        assert world.tasks.views[task_id].desired_state == "running"

    run(scenario)
