"""Layouts of recordings, as they begin and as they are changed: what is accepted, which pictures are fetched."""

import asyncio
from typing import Any

import msgspec
import pytest

from rtcloud.actions import recording
from rtcloud.egress.recording.request import SubscribeStreamUserIds, decode
from rtcloud.errors import ServiceError
from tests.kit.clock import NOW_MS
from tests.kit.recording_calls import APP, HOUR_MS, MODEL, World, run

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
