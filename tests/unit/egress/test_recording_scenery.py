"""Background and watermarks of a recording, as the mixer is told to draw them."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from rtcloud.egress.recording.request import RecordingRequest
from rtcloud.egress.recording.scenery import Scenery, rgb
from rtcloud.mixer.layout import Rect, RenderMode, from_rgb
from rtcloud.mixer.scene import Image, Overlay, Scene, Text

URL = "http://x/a.png"


def drawn(width: int = 1280, height: int = 720, **layout: Any) -> Scene:
    video = {"Width": width, "Height": height, "Fps": 15, "BitRate": 500_000, "Gop": 1}
    request = msgspec.convert(
        {
            "SdkAppId": 1,
            "RoomId": "1",
            "UserId": "robot",
            "RecordParams": {"RecordMode": 2},
            "StorageParams": {"CloudStorage": {"Vendor": 0, "Region": "r", "Bucket": "b"}},
            "MixTranscodeParams": {"VideoParams": video},
            "MixLayoutParams": {"MixLayoutMode": 3} | layout,
        },
        RecordingRequest,
    )
    return Scenery(msgspec.structs.replace(request, images={URL: "a.png"}), Path("/images")).scene(())


def overlays(*marks: dict[str, Any], **size: int) -> tuple[Overlay, ...]:
    return drawn(WaterMarkList=list(marks), **size).overlays


def test_the_background_has_its_colour_and_its_image() -> None:
    assert drawn().background == from_rgb(0, 0, 0)
    scene = drawn(BackGroundColor="#FFA500", BackgroundImageUrl=URL, BackgroundImageRenderMode=2)
    assert scene.background == from_rgb(255, 165, 0)
    assert (scene.backdrop, scene.backdrop_mode) == (Image("/images/a.png"), RenderMode.FIT)
    assert drawn(BackgroundImageUrl=URL).backdrop_mode is RenderMode.CROP


def test_an_image_that_could_not_be_had_is_left_out() -> None:
    gone = "http://x/gone.png"
    mark = {"WaterMarkImage": {"WaterMarkUrl": gone, "Left": 0, "Top": 0, "Width": 10, "Height": 10}}
    scene = drawn(BackgroundImageUrl=gone, WaterMarkList=[mark])
    assert (scene.backdrop, scene.overlays) == (None, ())


def test_image_watermarks_fill_their_rectangle() -> None:
    place = {"Left": 11, "Top": 20, "Width": 41, "Height": 30}
    (mark,) = overlays({"WaterMarkImage": {"WaterMarkUrl": URL} | place})
    assert (mark.content, mark.rect) == (Image("/images/a.png"), Rect(10, 20, 42, 30))
    assert overlays({"WaterMarkType": 0, "WaterMarkImage": {"WaterMarkUrl": URL} | place | {"Width": 0}}) == ()


def test_text_watermarks_have_size_and_colours_in_both_forms() -> None:
    place = {"Left": 100, "Top": 0, "Width": 2000, "Height": 40, "Chars": "本番"}
    (plain,) = overlays({"WaterMarkType": 1, "WaterMarkChar": place})
    assert plain.content == Text("本番", 14, 0xFFFFFF)
    assert plain.rect == Rect(100, 0, 1180, 40)
    colours = {"FontSize": 30, "FontColor": "0xcc0033", "BackGroundColor": "#0000FF"}
    (full,) = overlays({"WaterMarkType": 1, "WaterMarkChar": place | colours})
    assert full.content == Text("本番", 30, 0xCC0033, 0x0000FF)


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (360, 640), (20, 20), (1920, 1080)])
def test_timestamps_stand_where_they_should_in_their_zone(width: int, height: int) -> None:
    def at(pos: int) -> Rect:
        (mark,) = overlays({"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": pos}}, width=width, height=height)
        return mark.rect

    rects = [at(pos) for pos in range(7)]
    top_left, top_right, bottom_left, bottom_right, top, bottom, centre = rects
    for rect in rects:
        assert 0 <= rect.left <= rect.left + rect.width <= width
        assert 0 <= rect.top <= rect.top + rect.height <= height
    assert top_left.left == bottom_left.left < max(8, width // 8)
    assert top_right.left == bottom_right.left >= top.left >= top_left.left
    assert top_left.top == top.top <= centre.top <= bottom.top == bottom_right.top
    assert abs(centre.left * 2 + centre.width - width) <= 4
    assert abs(centre.top * 2 + centre.height - height) <= 4


def test_timestamps_are_of_utc_plus_eight_unless_said() -> None:
    def zone(**members: int) -> float | None:
        (mark,) = overlays({"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": 0} | members})
        assert isinstance(mark.content, Text)
        return mark.content.clock_zone

    assert (zone(), zone(TimeZone=0), zone(TimeZone=5)) == (8, 0, 5)


def test_colours_come_in_both_forms() -> None:
    assert (rgb("#FFA500"), rgb("0xFFA500"), rgb("0Xffa500"), rgb("")) == (0xFFA500, 0xFFA500, 0xFFA500, None)
