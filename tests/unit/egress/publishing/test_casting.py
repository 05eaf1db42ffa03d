"""Who is heard and who is seen where in a relay: the sentences of the documents, one by one."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.client.types import Participant, RemoteTrack
from rtcloud.egress.publishing.casting import MAX_SOUNDS, Cast, Casting, RoomView, track_key
from rtcloud.egress.publishing.request import RelayRequest, feedback_attributes, feedback_mark
from rtcloud.mixer.layout import BLACK, Rect, RenderMode, from_rgb
from rtcloud.mixer.scene import Image
from rtcloud.rooms.ids import RoomRef

MAIN = RoomRef(1, True, "100")
OTHER = RoomRef(1, False, "other")
IMAGES = Path("/images")
SOUND = ("microphone", "screen_share_audio")


def request(layout: dict[str, Any] | None = None, **members: Any) -> RelayRequest:
    """A mix of the main room on 1280×720; ``layout`` are the LayoutParams, by default the grid."""
    video = {
        "VideoEncode": {"Width": 1280, "Height": 720, "Fps": 15, "BitRate": 1500, "Gop": 2},
        "LayoutParams": {"MixLayoutMode": 3} if layout is None else layout,
    }
    return msgspec.convert(
        {
            "SdkAppId": 1,
            "RoomId": "100",
            "AgentParams": {"UserId": "robot"},
            "AudioParams": {},
            "VideoParams": video | members.pop("VideoParams", {}),
            "PublishCdnParams": [{"PublishCdnUrl": "rtmp://cdn/live/a"}],
        }
        | members,
        RelayRequest,
    )


def sound_only(**members: Any) -> RelayRequest:
    return msgspec.structs.replace(request(**members), video_params=None)


def custom(*places: dict[str, Any], **members: Any) -> RelayRequest:
    return request({"MixLayoutMode": 4, "MixLayoutList": list(places)}, **members)


def place(user: str | None = None, left: int = 0, *, stream: int | None = None, **members: Any) -> dict[str, Any]:
    """A place of 320×180, named when there is a user."""
    area = {"LocationX": left, "LocationY": 0, "ImageWidth": 320, "ImageHeight": 180}
    if user is None and stream is None:
        return area | members
    media: dict[str, Any] = {"StreamType": stream or 0}
    if user is not None:
        media["UserInfo"] = info(user)
    return area | {"UserMediaStream": media} | members


def info(user: str, room: RoomRef = MAIN) -> dict[str, Any]:
    return {"UserId": user, "RoomId": room.room_id, "RoomIdType": 0 if room.numeric else 1}


def listed(*users: str, level: int = 100, room: RoomRef = MAIN) -> list[dict[str, Any]]:
    return [{"UserInfo": info(user, room), "SoundLevel": level} for user in users]


def person(name: str, *sources: str, muted: Sequence[str] = (), **members: Any) -> Participant:
    tracks = tuple(
        RemoteTrack(
            f"{name}-{source}",
            name,
            "audio" if source in SOUND else "video",
            source,  # type: ignore[arg-type]
            source in muted,
        )
        for source in sources
    )
    return Participant(name, f"PA_{name}", tracks, **members)


def both(name: str, **members: Any) -> Participant:
    return person(name, "microphone", "camera", **members)


def people(count: int) -> list[Participant]:
    return [both(f"p{index:02}") for index in range(count)]


def casting(relay: RelayRequest, task_id: str = "task") -> Casting:
    return Casting(relay, IMAGES, task_id)


def plan(relay: RelayRequest | Casting, *main: Participant, other: Sequence[Participant] = ()) -> Cast:
    cast = relay if isinstance(relay, Casting) else casting(relay)
    return cast.plan([RoomView(OTHER, other), RoomView(MAIN, main)])


def seen(cast: Cast) -> list[str]:
    """The tracks shown, in the order they are drawn."""
    assert cast.scene is not None
    return [_name(cell.track_id) for cell in cast.scene.cells if cell.track_id is not None]


def where(cast: Cast) -> dict[str, Rect]:
    assert cast.scene is not None
    return {_name(cell.track_id): cell.rect for cell in cast.scene.cells if cell.track_id is not None}


def heard(cast: Cast) -> list[str]:
    return [track.user_id for track, _ in cast.audio.values()]


def _name(key: str | None) -> str:
    assert key is not None
    return key.partition("@")[0].replace("-camera", "")


# Preset layouts -------------------------------------------------------------------------------------------------------


def test_the_grid_is_filled_in_the_order_of_entry() -> None:
    """R:980 "evenly dividing the entire screen"."""
    cast = plan(request(), both("a"), both("b"), both("c"))
    assert where(cast) == {
        "a": Rect(0, 0, 640, 360),
        "b": Rect(640, 0, 640, 360),
        "c": Rect(0, 360, 640, 360),
    }
    assert heard(cast) == ["a", "b", "c"]
    assert [region.user_id for region in cast.regions] == ["a", "b", "c"]
    assert set(cast.refs) == set(cast.audio) | set(cast.video)
    assert set(cast.refs.values()) == {MAIN}


@pytest.mark.parametrize("mode", [1, 3])
def test_a_preset_layout_shows_sixteen_and_mixes_sixteen_sounds(mode: int) -> None:
    """R:981 "up to 16 screens", R:975 "1 large screen and 15 small screens"; G:378 sixteen sounds."""
    cast = plan(request({"MixLayoutMode": mode}), *people(20))
    assert seen(cast) == [f"p{index:02}" for index in range(16)]
    assert len(cast.video) == 16
    assert len(cast.audio) == MAX_SOUNDS


def test_screen_sharing_shows_fifteen_beside_the_big_one() -> None:
    """R:989 "1 large screen and 15 small screens"."""
    layout = {"MixLayoutMode": 2, "MaxVideoUser": {"UserMediaStream": {"UserInfo": info("p19")}}}
    assert seen(plan(request(layout), *people(20))) == ["p19", *(f"p{index:02}" for index in range(15))]


def test_who_sends_only_sound_takes_no_place_unless_the_request_says_so() -> None:
    """R:976, R:982; R:7463 PureAudioHoldPlaceMode."""
    there = person("a", "microphone"), both("b"), both("c", muted=["camera"]), person("d", "camera")
    assert where(plan(request(), *there)) == {"b": Rect(0, 0, 640, 720), "d": Rect(640, 0, 640, 720)}
    held = plan(request({"MixLayoutMode": 3, "PureAudioHoldPlaceMode": 1}), *there)
    assert where(held) == {"b": Rect(640, 0, 640, 360), "d": Rect(640, 360, 640, 360)}
    assert heard(held) == ["a", "b", "c"]


def test_a_screen_is_a_stream_of_its_own_after_the_camera() -> None:
    cast = plan(request(), person("a", "camera", "screen_share", "screen_share_audio"), both("b"))
    assert seen(cast) == ["a", "a-screen_share", "b"]
    assert heard(cast) == ["a", "b"]


def test_floating_gives_the_first_the_whole_screen() -> None:
    """R:973 "The video screen of the first user entering the room will fill the entire screen"."""
    cast = plan(request({}), both("a"), both("b"))
    assert cast.scene is not None
    assert where(cast)["a"] == Rect(0, 0, 1280, 720)
    assert where(cast)["b"].width < 320
    assert where(cast)["b"].top > 360
    assert [cell.z for cell in cast.scene.cells] == [0, 0]  # a watermark of the default order lies above both
    assert [region.z for region in cast.regions] == [0, 1]


@pytest.mark.parametrize("mode", [1, 2])
def test_the_named_stream_has_the_big_place_and_nobody_else(mode: int) -> None:
    """R:7322; R:986 "You need to explicitly set the … user information that occupies the large screen"."""
    layout = {"MixLayoutMode": mode, "MaxVideoUser": {"UserMediaStream": {"UserInfo": info("b"), "StreamType": 1}}}
    relay = casting(request(layout))
    cast = plan(relay, both("a"), person("b", "camera", "screen_share"))
    assert seen(cast) == ["b-screen_share", "a", "b"]
    gone = plan(relay, both("a"), both("b"))
    assert seen(gone) == ["a", "b"]
    assert all(rect.width < 320 for rect in where(gone).values())


def test_screen_sharing_with_nobody_named_leaves_the_big_place_empty() -> None:
    cast = plan(request({"MixLayoutMode": 2}), both("a"), both("b"))
    assert where(cast) == {"a": Rect(1024, 0, 256, 180), "b": Rect(1024, 180, 256, 180)}


def test_screen_sharing_fits_the_big_one_and_crops_the_small_ones() -> None:
    """R:988; "The rendering method of the sub-screen can also be set uniformly" (R:990)."""
    layout = {"MixLayoutMode": 2, "MaxVideoUser": {"UserMediaStream": {"UserInfo": info("a")}}}
    cast = plan(request(layout), both("a"), both("b"))
    assert cast.scene is not None
    assert [cell.mode for cell in cast.scene.cells] == [RenderMode.FIT, RenderMode.CROP]
    for number, mode, bars in ((0, RenderMode.CROP, None), (1, RenderMode.FIT, None), (2, RenderMode.FIT, BLACK)):
        cast = plan(request(layout | {"RenderMode": number}), both("a"), both("b"))
        assert cast.scene is not None
        assert [(cell.mode, cell.bars) for cell in cast.scene.cells] == [(mode, bars)] * 2


def test_preset_layouts_show_the_main_room_only() -> None:
    """R:966 "Dynamic layout templates … only support a single TRTC room"."""
    cast = plan(request(), both("a"), other=[both("b")])
    assert seen(cast) == heard(cast) == ["a"]


# Custom layouts -------------------------------------------------------------------------------------------------------


def test_a_named_place_waits_for_its_user() -> None:
    """R:992 "the position is reserved for the user … Other users will not occupy this position"."""
    relay = casting(custom(place("b", 0), place(None, 320)))
    assert where(plan(relay, both("a"), both("c"))) == {"a": Rect(320, 0, 320, 180)}
    cast = plan(relay, both("a"), both("c"), both("b"))
    assert where(cast) == {"b": Rect(0, 0, 320, 180), "a": Rect(320, 0, 320, 180)}


def test_who_stands_in_an_unnamed_place_stays_there() -> None:
    """R:994 "fill in the order of entering the room"; others' comings and goings move nobody."""
    relay = casting(custom(place(None, 0), place(None, 320), place(None, 640)))
    plan(relay, both("a"), both("b"), both("c"))
    assert {name: rect.left for name, rect in where(plan(relay, both("b"), both("c"))).items()} == {"b": 320, "c": 640}
    cast = plan(relay, both("b"), both("c"), both("d"))
    assert {name: rect.left for name, rect in where(cast).items()} == {"d": 0, "b": 320, "c": 640}


def test_an_unnamed_place_is_kept_while_its_camera_is_off() -> None:
    relay = casting(custom(place(None, 0), place(None, 320)))
    plan(relay, both("a"), both("b"))
    assert seen(plan(relay, both("a", muted=["camera"]), both("b"), both("c"))) == ["b"]
    assert where(plan(relay, both("a"), both("b"), both("c")))["a"].left == 0


def test_when_the_places_are_full_nobody_else_is_seen_or_heard() -> None:
    """R:995 "When the preset positions are full, no other users' screens and sounds will be mixed"."""
    cast = plan(custom(place(None, 0), place("z", 320)), both("a"), both("b"))
    assert seen(cast) == heard(cast) == ["a"]


def test_who_only_sounds_takes_what_is_left_and_gives_it_up_to_a_picture() -> None:
    relay = casting(custom(place(None, 0), place(None, 320)))
    talkers = [person("a", "microphone"), person("b", "microphone"), person("c", "microphone")]
    assert heard(plan(relay, *talkers)) == ["a", "b"]
    cast = plan(relay, *talkers, both("d"))
    assert heard(cast) == ["a", "d"]
    assert where(cast) == {"d": Rect(320, 0, 320, 180)}


def test_an_audio_list_wins_over_the_places() -> None:
    audio = {"SubscribeAudioList": listed("b", "c", level=40), "UnSubscribeAudioList": listed("c")}
    cast = plan(custom(place("a"), AudioParams=audio), both("a"), both("b"), both("c"))
    assert seen(cast) == ["a"]
    assert [(track.user_id, gain) for track, gain in cast.audio.values()] == [("b", 0.4)]


def test_an_unnamed_place_may_be_for_screens_only_and_no_stream_is_shown_twice() -> None:
    relay = custom(place("a", 0), place(None, 320, stream=1), place(None, 640), place(None, 960))
    cast = plan(relay, person("a", "camera", "screen_share"), both("b"))
    assert {name: rect.left for name, rect in where(cast).items()} == {"a": 0, "a-screen_share": 320, "b": 640}
    twice = plan(custom(place("a", 0), place("a", 320)), both("a"))
    assert {name: rect.left for name, rect in where(twice).items()} == {"a": 0}


def test_people_of_other_rooms_take_part_when_they_are_named() -> None:
    """S example 7; the same user id in two rooms is two people."""
    there = place("a", 320)
    there["UserMediaStream"]["UserInfo"] = info("a", OTHER)
    audio = {"SubscribeAudioList": [*listed("a", level=50), *listed("b", room=OTHER)]}
    relay = custom(place("a", 0), there, AudioParams=audio)
    assert relay.refs == (MAIN, OTHER)
    cast = plan(relay, both("a"), both("b"), other=[both("a"), both("b"), both("c")])
    assert list(cast.video) == [track_key(MAIN, "a-camera"), track_key(OTHER, "a-camera")]
    assert {key: gain for key, (_, gain) in cast.audio.items()} == {
        track_key(MAIN, "a-microphone"): 0.5,
        track_key(OTHER, "b-microphone"): 1.0,
    }
    assert cast.refs[track_key(OTHER, "b-microphone")] == OTHER


def test_an_update_leaves_people_where_they_stand() -> None:
    relay = casting(custom(place(None, 0), place(None, 320)))
    plan(relay, both("a"), both("b"))
    plan(relay, both("b"))
    relay.update(custom(place(None, 0), place(None, 320), place(None, 640)))
    assert {name: rect.left for name, rect in where(plan(relay, both("b"), both("c"))).items()} == {"b": 320, "c": 0}


@given(st.data())
def test_no_stream_has_two_places_and_no_place_two_streams(data: st.DataObject) -> None:
    names = ["a", "b", "c", "d", "e"]
    slots = data.draw(st.lists(st.sampled_from([None, 0, 1, *names]), min_size=1, max_size=6))
    places = [
        place(slot if isinstance(slot, str) else None, 64 * index, stream=slot if isinstance(slot, int) else None)
        for index, slot in enumerate(slots)
    ]
    relay = casting(custom(*places))
    before: dict[str, Rect] = {}
    for _ in range(4):
        there = [
            person(name, *data.draw(st.sets(st.sampled_from(["microphone", "camera", "screen_share"]))))
            for name in data.draw(st.permutations(names))[: data.draw(st.integers(0, 5))]
        ]
        cast = plan(relay, *there)
        now = where(cast)
        assert len(seen(cast)) == len(set(seen(cast)))
        assert len({rect.left for rect in now.values()}) == len(now)
        assert all(now[name] == before[name] for name in now.keys() & before.keys())
        assert set(heard(cast)) <= {one.user_id for one in there}
        before = now


# How it is drawn ------------------------------------------------------------------------------------------------------


def test_the_canvas_has_its_colour_and_its_image() -> None:
    """R:7539 ff.; the enumeration of R:7557."""
    video: dict[str, Any] = {"BackGroundColor": "0xFF0000"}
    cast = plan(request(VideoParams=video))
    assert cast.scene is not None
    assert (cast.scene.background, cast.scene.backdrop) == (from_rgb(255, 0, 0), None)
    video |= {"BackgroundImageUrl": "http://x/back.png"}
    for number, mode, colour in (
        (0, RenderMode.CROP, from_rgb(255, 0, 0)),
        (1, RenderMode.FIT, BLACK),
        (2, RenderMode.STRETCH, from_rgb(255, 0, 0)),
    ):
        relay = request(VideoParams=video | {"BackgroundRenderMode": number}, images={"http://x/back.png": "back.png"})
        cast = plan(msgspec.structs.replace(relay, images={"http://x/back.png": "back.png"}))
        assert cast.scene is not None
        assert cast.scene.backdrop == Image("/images/back.png")
        assert (cast.scene.backdrop_mode, cast.scene.background) == (mode, colour)


def drawn(layout: dict[str, Any]) -> Any:
    relay = msgspec.structs.replace(
        custom(place("a") | layout), images={"http://x/holder": "h.png", "http://x/mask": "m.png"}
    )
    absent, present = plan(relay), plan(relay, both("a"))
    assert absent.scene is not None
    assert present.scene is not None
    assert absent.regions == ()
    return present.scene.cells[0], absent.scene.cells[0] if absent.scene.cells else None


@pytest.mark.parametrize(
    ("number", "colours", "mode", "bars"),
    [
        (0, 0, RenderMode.CROP, None),
        (1, 0, RenderMode.FIT, None),
        (1, 1, RenderMode.FIT, None),
        (1, 2, RenderMode.FIT, from_rgb(0, 0, 255)),
        (2, 2, RenderMode.FIT, BLACK),
    ],
)
def test_a_stream_is_drawn_as_its_place_says(number: int, colours: int, mode: RenderMode, bars: Any) -> None:
    """R:7419; S BackGroundColorMode bit 1."""
    cell, nothing = drawn({"RenderMode": number, "BackGroundColor": "0x0000FF", "BackGroundColorMode": colours})
    assert (cell.mode, cell.bars) == (mode, bars)
    assert nothing is None


@pytest.mark.parametrize(
    ("number", "colours", "mode", "bars"),
    [
        (None, 3, RenderMode.STRETCH, from_rgb(0, 0, 255)),
        (0, 0, RenderMode.CROP, None),
        (1, 2, RenderMode.FIT, None),
        (1, 1, RenderMode.FIT, from_rgb(0, 0, 255)),
        (2, 1, RenderMode.FIT, BLACK),
    ],
)
def test_a_placeholder_stands_where_there_is_no_picture(
    number: int | None, colours: int, mode: RenderMode, bars: Any
) -> None:
    """R:7436 and R:7447, S BackGroundColorMode bit 0."""
    layout = {"BackgroundImageUrl": "http://x/holder", "BackGroundColor": "0x0000FF", "BackGroundColorMode": colours}
    cell, waiting = drawn(layout | ({} if number is None else {"BackgroundRenderMode": number}))
    assert waiting.track_id is None
    assert waiting.holder == cell.holder
    assert (waiting.holder.mode, waiting.holder.bars) == (mode, bars)
    assert waiting.holder.image == Image("/images/h.png")


def test_a_placeholder_may_be_smaller_and_round() -> None:
    custom_render = {"Width": 100, "Height": 100, "Radius": 50}
    layout = {
        "BackgroundImageUrl": "http://x/holder",
        "BackgroundRenderMode": 4,
        "BackgroundCustomRender": custom_render,
    }
    _, waiting = drawn(layout)
    assert (waiting.holder.size, waiting.holder.radius) == ((100, 100), 50)


def test_an_image_that_was_not_fetched_is_left_out() -> None:
    cell, nothing = drawn({"BackgroundImageUrl": "http://x/gone", "TransparentUrl": "http://x/gone"})
    assert (cell.holder, cell.mask, nothing) == (None, None, None)


def test_a_mask_works_only_with_cropping() -> None:
    """S TransparentUrl: 透明模版只有RenderMode为0（裁剪）时才生效."""
    assert drawn({"TransparentUrl": "http://x/mask"})[0].mask == Image("/images/m.png")
    assert drawn({"TransparentUrl": "http://x/mask", "RenderMode": 1})[0].mask is None


def test_crop_and_order_go_to_the_mixer() -> None:
    crop = {"LocationX": 10, "LocationY": 20, "Width": 101, "Height": 55}
    cell, _ = drawn({"CustomCrop": crop, "ZOrder": 7})
    assert (cell.crop, cell.z) == (Rect(10, 20, 101, 55), 7)


def test_odd_and_overhanging_places_become_even_and_stay_inside() -> None:
    cell, _ = drawn({"LocationX": 11, "LocationY": 700, "ImageWidth": 101, "ImageHeight": 99})
    assert cell.rect == Rect(10, 700, 102, 20)
    assert plan(custom(place("a") | {"ImageWidth": 0}), both("a")).scene == plan(custom(place("a"))).scene


def test_watermarks_lie_where_the_request_says() -> None:
    area = {"LocationX": 64, "LocationY": 32, "WaterMarkWidth": 100, "WaterMarkHeight": 50}
    marks = [
        {"WaterMarkType": 0, "WaterMarkImage": area | {"WaterMarkUrl": "http://x/m", "ZOrder": 3, "DynamicPosType": 1}},
        {"WaterMarkType": 0, "WaterMarkImage": area | {"WaterMarkUrl": "http://x/gone"}},
        {
            "WaterMarkType": 1,
            "WaterMarkText": area
            | {"Text": "hi", "FontSize": 20, "FontColor": "0x00FF00", "DynamicPosType": 2, "Font": "SourceHanSans"},
        },
        {"WaterMarkType": 1, "WaterMarkText": area | {"Text": "lo", "FontSize": 9, "BackGroundColor": "0x123456"}},
    ]
    relay = msgspec.structs.replace(request(VideoParams={"WaterMarkList": marks}), images={"http://x/m": "m.png"})
    scene = plan(relay).scene
    assert scene is not None
    image, green, filled = scene.overlays
    assert {overlay.rect for overlay in scene.overlays} == {Rect(64, 32, 100, 50)}
    assert (image.content, image.z, image.motion) == (Image("/images/m.png"), 3, "random")
    assert (green.content.colour, green.content.fill, green.content.font) == (0x00FF00, None, "SourceHanSans")  # type: ignore[union-attr]
    assert (green.motion, filled.motion) == ("bouncing", "fixed")
    assert (filled.content.colour, filled.content.fill, filled.content.size) == (0xFFFFFF, 0x123456, 9)  # type: ignore[union-attr]


# Sound ----------------------------------------------------------------------------------------------------------------


def test_everyone_is_heard_but_those_on_the_blocklist() -> None:
    """R:1012 ff."""
    relay = sound_only(AudioParams={"UnSubscribeAudioList": listed("b")})
    cast = plan(relay, both("a"), both("b"), both("c"))
    assert cast.scene is None
    assert cast.video == {}
    assert heard(cast) == ["a", "c"]


def test_without_sound_nobody_is_heard() -> None:
    cast = plan(msgspec.structs.replace(request(), audio_params=None), both("a"))
    assert cast.audio == {}
    assert seen(cast) == ["a"]


def test_who_is_mixed_stays_and_the_muted_come_last() -> None:
    relay = casting(sound_only())
    quiet = [person(f"q{index:02}", "microphone", muted=["microphone"]) for index in range(10)]
    loud = [person(f"s{index:02}", "microphone") for index in range(15)]
    assert heard(plan(relay, *quiet, *loud)) == [one.user_id for one in loud] + ["q00"]
    spoken = [person(one.user_id, "microphone") for one in quiet]
    assert {one.user_id for one in loud} < set(heard(plan(relay, *spoken, *loud)))


# One stream -----------------------------------------------------------------------------------------------------------


def single(stream: int = 0) -> RelayRequest:
    return request(
        WithTranscoding=0,
        SingleSubscribeParams={"UserMediaStream": {"UserInfo": info("a"), "StreamType": stream}},
    )


def test_a_single_relay_takes_one_stream() -> None:
    cast = plan(single(), both("b"), person("a", "microphone", "camera", "screen_share", "screen_share_audio"))
    assert cast.scene is None
    assert list(cast.video) == [track_key(MAIN, "a-camera")]
    assert list(cast.audio) == [track_key(MAIN, "a-microphone")]
    assert plan(single(), both("a", muted=["camera"])).video == {}


def test_a_screen_comes_with_its_sound_or_its_owners_voice() -> None:
    cast = plan(single(1), person("a", "microphone", "camera", "screen_share", "screen_share_audio"))
    assert list(cast.video) == [track_key(MAIN, "a-screen_share")]
    assert list(cast.audio) == [track_key(MAIN, "a-screen_share_audio")]
    assert list(plan(single(1), person("a", "microphone", "screen_share")).audio) == [track_key(MAIN, "a-microphone")]


# Robots and anchors ---------------------------------------------------------------------------------------------------


def feeding(task: str, *rooms: RoomRef, name: str = "feeder") -> Participant:
    behind = json.dumps([ref.ordering for ref in rooms])
    return both(
        name, robot=True, attributes={"rtcloud.feedback": feedback_mark(task), "rtcloud.feedback.rooms": behind}
    )


def test_a_robot_that_feeds_back_is_not_mixed() -> None:
    """R:1091 ff.: not by tasks that feed back; by others only under one of three conditions."""
    same, foreign = feeding("t2", MAIN), feeding("t2", OTHER)
    assert seen(plan(request(), same, both("a"))) == ["a"]
    # (1) named in the video, (2) on the audio list, (3) of other rooms
    assert seen(plan(custom(place("feeder")), same)) == ["feeder"]
    assert "feeder" in heard(plan(request(AudioParams={"SubscribeAudioList": listed("feeder")}), same))
    assert seen(plan(request(), foreign, both("a"))) == ["feeder", "a"]
    assert seen(plan(request(), both("feeder", robot=True, attributes={"rtcloud.feedback": "t2"}))) == []
    feeds: dict[str, Any] = {"FeedBackRoomParams": [{"RoomId": "200", "UserId": "r"}]}
    for relay in (custom(place("feeder"), **feeds), request(**feeds)):
        assert seen(plan(relay, foreign)) == []
    assert seen(plan(casting(custom(place("feeder")), "t2"), foreign)) == []


def test_what_marks_a_feeding_robot_holds_only_for_robots() -> None:
    marked = both("a", attributes={"rtcloud.feedback": "t2"})
    assert seen(plan(request(), marked)) == ["a"]
    assert seen(plan(request(), both("ingest", robot=True))) == ["ingest"]


def test_a_feeding_robot_says_which_rooms_are_behind_it() -> None:
    there = place("a", 320)
    there["UserMediaStream"]["UserInfo"] = info("a", OTHER)
    attributes = feedback_attributes(custom(there), "t2")
    assert attributes == {"rtcloud.feedback": feedback_mark("t2"), "rtcloud.feedback.rooms": '["1/n/100","1/s/other"]'}


def test_an_anchor_is_who_has_published_and_is_still_there() -> None:
    """R:1009 "will not automatically stop when the participating … anchor only stops sending"."""
    relay = casting(request())
    assert not plan(relay, person("a")).has_anchor
    assert plan(relay, both("a")).has_anchor
    assert plan(relay, person("a")).has_anchor
    assert not plan(relay).has_anchor


def test_only_those_who_take_part_are_anchors() -> None:
    named = casting(custom(place("a")))
    assert not plan(named, both("b")).has_anchor
    assert plan(named, both("a")).has_anchor
    assert not plan(single(), both("b")).has_anchor
    assert not plan(sound_only(AudioParams={"SubscribeAudioList": listed("a")}), both("b")).has_anchor
    assert not plan(request(), feeding("t2", MAIN)).has_anchor
    assert plan(custom(place("a"), place(None, 320)), both("b")).has_anchor
