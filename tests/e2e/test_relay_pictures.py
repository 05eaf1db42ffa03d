"""What relays show and say, as a viewer of the CDN gets it: each layout, each kind of relay, sound, SEI, watermarks.

The people and the relays are there once for all tests of this module; each test looks at one of the streams. Where
people should be is written here as the documents say it, and found in the picture by their colours.
"""

import re
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.kit import probes
from tests.kit.acts import FLASH, LOOP_S, Act, hex_of, read_clock
from tests.kit.aired import Aired, Box, box_of, boxes, color_at, steps_ms
from tests.kit.browser import is_near
from tests.kit.house import House, Relay, open_house
from tests.kit.probes import Region
from tests.kit.relaying import (
    CUSTOM,
    DISCONNECTING,
    FLOATING,
    FPS,
    GRID,
    HEIGHT,
    IDLE,
    RUNNING,
    SCREEN_SHARING,
    WIDTH,
    audio,
    heard,
    image_mark,
    place,
    places,
    stream,
    text_mark,
    video,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM, ANNEX, CLASS = 5001, "annex", 5002
PULL_S = 6.0
SETTLE_S = 2.0
PEOPLE = {"anna": Act(0, flash=True, fps=30), "ben": Act(1), "cara": Act(2), "dora": Act(3, width=240)}
EVE = {"eve": Act(4)}
LESSON = {"teacher": Act(5, width=640, height=480, screen=True), "pupil1": Act(6), "pupil2": Act(7)}
FULL = Box.at(0, 0, WIDTH, HEIGHT)
GREY = "#606060"
GREEN = "#00ff00"
UUID = "0123456789abcdef0123456789abcdef"
NAMES = ("grid", "floating", "screen", "custom", "voices", "single")


@dataclass(frozen=True)
class Air:
    house: House
    streams: dict[str, Aired]
    stories: dict[str, list[int]]  # of callback 401, by name

    def __getitem__(self, name: str) -> Aired:
        return self.streams[name]


@pytest.fixture(scope="module")
def air(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Air]:
    with open_house(tmp_path_factory.mktemp("pictures")) as house:
        house.stage.enter_all(ROOM, PEOPLE)
        house.stage.enter_all(ANNEX, EVE)
        house.stage.enter_all(CLASS, LESSON)
        relays = _start(house)
        for name in NAMES:
            house.cdn.wait_for(name)
        time.sleep(SETTLE_S)  # an output begins at once, with the background; people are in it when their pictures are
        streams = house.pull_all(PULL_S, *NAMES)
        for relay in relays.values():
            relay.stop()
        for relay in relays.values():
            relay.wait_for(1, RUNNING, DISCONNECTING, IDLE)
        assert house.is_empty()
        yield Air(house, streams, {name: relay.story() for name, relay in relays.items()})


def _start(house: House) -> dict[str, Relay]:
    sei = {
        "LayoutVolume": {"AppData": 'said by "us" 你好', "PayloadType": 100, "Interval": 500, "FollowIdr": 1},
        "PassThrough": {"PayloadContent": "from the request", "PayloadType": 5, "PayloadUuid": UUID, "Interval": 1000},
    }
    mark = house.shelf.put("mark.png", (0, 255, 0, 255), (20, 10))
    veil = house.shelf.put("veil.png", (255, 255, 255, 128), (40, 40))
    holder = house.shelf.put("holder.png", (240, 240, 240), (64, 64))
    custom = video(
        CUSTOM,
        layout=places(
            place(0, 0, 320, 180, stream(ROOM, "anna"), ZOrder=1),
            place(160, 90, 320, 180, stream(ANNEX, "eve"), ZOrder=2),
            place(480, 0, 160, 180, stream(ROOM, "dora"), RenderMode=1),
            place(0, 240, 160, 120, stream(ROOM, "nobody"), BackgroundImageUrl=holder),
            place(480, 240, 160, 120, RenderMode=2),
        ),
        BackGroundColor="0x606060",
        WaterMarkList=[
            image_mark(mark, 10, 10, 40, 20, ZOrder=9),
            image_mark(veil, 500, 184, 40, 40, ZOrder=9),
            text_mark("RELAY 中文", 180, 290, 280, 50, 36, FontColor="0xFFFFFF", BackGroundColor="0x000000", ZOrder=9),
        ],
    )
    sounds = audio(
        SubscribeAudioList=[heard(ROOM, "anna"), heard(ROOM, "ben", 50), heard(ANNEX, "eve"), heard(ROOM, "dora")],
        UnSubscribeAudioList=[heard(ROOM, "dora")],
    )
    return {
        "grid": house.relay(ROOM, "grid", VideoParams=video(GRID, fps=30), SeiParams=sei),
        "floating": house.relay(ROOM, "floating", VideoParams=video(FLOATING), AudioParams=None),
        "screen": house.relay(
            CLASS,
            "screen",
            VideoParams=video(
                SCREEN_SHARING, layout={"MaxVideoUser": {"UserMediaStream": stream(CLASS, "teacher", screen=True)}}
            ),
        ),
        "custom": house.relay(ROOM, "custom", VideoParams=custom, AudioParams=sounds),
        "voices": house.relay(
            ROOM, "voices", VideoParams=None, AudioParams=audio(UnSubscribeAudioList=[heard(ROOM, "dora")])
        ),
        "single": house.relay(
            ROOM,
            "single",
            WithTranscoding=0,
            VideoParams={"VideoEncode": {"Width": 320, "Height": 180, "Fps": FPS, "BitRate": 250, "Gop": 1}},
            SingleSubscribeParams={"UserMediaStream": stream(ROOM, "ben")},
        ),
    }


# Every stream ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_player_decodes_it_without_a_complaint(air: Air, name: str) -> None:
    assert probes.decode_all(air[name].path) == ""


@pytest.mark.parametrize("name", NAMES)
def test_times_grow_strictly_and_without_a_gap(air: Air, name: str) -> None:
    for kind in air[name].codecs:
        steps = steps_ms(air[name].times(kind))
        assert min(steps) > 0, (kind, min(steps))
        assert max(steps) < 200, (kind, max(steps))


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("grid", {"video": "h264", "audio": "aac"}),
        ("floating", {"video": "h264"}),
        ("screen", {"video": "h264", "audio": "aac"}),
        ("custom", {"video": "h264", "audio": "aac"}),
        ("voices", {"audio": "aac"}),
        ("single", {"video": "h264", "audio": "aac"}),
    ],
)
def test_there_is_what_was_asked_for_and_no_more(air: Air, name: str, codecs: dict[str, str]) -> None:
    assert air[name].codecs == codecs


@pytest.mark.parametrize("name", NAMES)
def test_each_output_is_told_from_connecting_to_its_end(air: Air, name: str) -> None:
    assert air.stories[name] == [1, RUNNING, DISCONNECTING, IDLE]


@pytest.mark.parametrize(("name", "fps"), [("grid", 30), ("floating", FPS), ("screen", FPS), ("custom", FPS)])
def test_the_pictures_have_the_asked_form(air: Air, name: str, fps: int) -> None:
    (stream,) = [each for each in probes.ffprobe(air[name].path)["streams"] if each["codec_type"] == "video"]
    assert (stream["width"], stream["height"]) == (WIDTH, HEIGHT)
    times = air[name].times("video")
    assert (len(times) - 1) / (times[-1] - times[0]) == pytest.approx(fps, rel=0.02)
    keyframes = [unit.at for unit in air[name].units if unit.keyframe]
    assert max(steps_ms(keyframes)) <= 1000 + 1500 / fps


# Where people are --------------------------------------------------------------------------------------------------


def test_the_grid_gives_four_people_a_quarter_each_in_order_of_entry(air: Air) -> None:
    seen = boxes(air["grid"].picture(), PEOPLE)
    wanted = {
        "anna": Box.at(0, 0, 320, 180),
        "ben": Box.at(320, 0, 320, 180),
        "cara": Box.at(0, 180, 320, 180),
        "dora": Box.at(320, 180, 320, 180),
    }
    assert seen.keys() == wanted.keys()
    for user_id, box in seen.items():
        assert box.is_near(wanted[user_id]), (user_id, box)


def test_every_picture_of_the_grid_shows_everybody_and_moves(air: Air) -> None:
    counts: dict[str, set[int]] = {user_id: set() for user_id in PEOPLE if user_id != "dora"}
    for _, picture in air["grid"].pictures[5::2]:
        seen = boxes(picture, PEOPLE)
        assert seen.keys() == PEOPLE.keys()
        for user_id, shown in counts.items():
            count = read_clock(seen[user_id].of(picture), PEOPLE[user_id].fps)
            if count is not None:
                shown.add(count)
    for user_id, shown in counts.items():
        assert len(shown) >= PEOPLE[user_id].fps * LOOP_S * 0.45, user_id


def test_floating_shows_the_first_on_all_of_it_and_the_others_in_a_row_from_the_bottom_left(air: Air) -> None:
    seen = boxes(air["floating"].picture(), PEOPLE)
    assert seen.keys() == PEOPLE.keys()
    assert seen["anna"].is_near(FULL)
    row = [seen["ben"], seen["cara"], seen["dora"]]
    for small in row:
        assert (abs(small.width - row[0].width), abs(small.height - row[0].height)) <= (4, 4)
        assert small.width <= WIDTH / 4
        assert small.top == pytest.approx(row[0].top, abs=4)
        assert small.bottom > HEIGHT * 0.9
    assert row[0].left < row[0].width / 2
    for left, right in zip(row, row[1:], strict=False):
        assert left.right - 2 <= right.left <= left.right + left.width / 2


def test_screen_sharing_shows_the_whole_screen_on_the_left_and_the_others_below_each_other_on_the_right(
    air: Air,
) -> None:
    seen = boxes(air["screen"].picture(), LESSON)
    assert seen.keys() == LESSON.keys()
    big, first, second = seen["teacher"], seen["pupil1"], seen["pupil2"]
    assert big.width / big.height == pytest.approx(640 / 480, rel=0.04)
    assert big.height > HEIGHT * 0.8
    assert big.right <= first.left + 2
    assert first.left == pytest.approx(second.left, abs=4)
    assert (first.width, first.height) == pytest.approx((second.width, second.height), abs=4)
    assert second.top >= first.bottom - 2


def test_custom_places_hold_who_is_named_in_their_order_of_depth(air: Air) -> None:
    picture = air["custom"].picture()
    seen = boxes(picture, PEOPLE | EVE)
    assert seen.keys() == {"anna", "ben", "dora", "eve"}
    assert seen["eve"].is_near(Box.at(160, 90, 320, 180)), seen["eve"]
    # Eve covers a corner of Anna.
    assert seen["anna"].is_near(Box.at(0, 0, 320, 180)), seen["anna"]
    assert is_near(color_at(picture, 300, 100), hex_of(EVE["eve"].color))
    # Scaled, with the background beside; scaled, with black beside.
    assert seen["dora"].is_near(Box.at(480, 30, 160, 120)), seen["dora"]
    assert is_near(color_at(picture, 560, 12), GREY)
    assert seen["ben"].is_near(Box.at(480, 255, 160, 90)), seen["ben"]
    assert is_near(color_at(picture, 560, 246), "#000000")
    assert is_near(color_at(picture, 560, 354), "#000000")


def test_a_named_place_is_kept_with_its_picture_and_the_background_is_behind_everything(air: Air) -> None:
    picture = air["custom"].picture()
    for x, y in ((4, 244), (156, 356), (80, 300)):
        assert is_near(color_at(picture, x, y), "#f0f0f0"), (x, y)
    for x, y in ((100, 210), (400, 40), (470, 350)):
        assert is_near(color_at(picture, x, y), GREY), (x, y)


def test_watermarks_are_above_with_their_transparency(air: Air) -> None:
    picture = air["custom"].picture()
    assert is_near(color_at(picture, 30, 20), GREEN, 60)
    box = box_of(picture, (0, 255, 0), share=0.5)
    assert box is not None
    assert box.is_near(Box.at(10, 10, 40, 20)), box
    # White, half transparent, on grey.
    assert is_near(color_at(picture, 520, 204), "#b0b0b0")
    text = Box.at(180, 290, 280, 50).of(picture).mean(axis=2)
    assert text.max() > 200
    assert text.min() < 40
    assert 0.02 < float((text > 128).mean()) < 0.5


def test_a_single_stream_is_relayed_as_it_was_sent(air: Air) -> None:
    sent = {piece for unit in PEOPLE["ben"].pictures() for piece in _slices(unit)}
    relayed = [piece for unit in air["single"].units for piece in _slices(unit.data)]
    assert len(relayed) >= (PULL_S - 1.1) * FPS  # from the first keyframe on
    assert set(relayed) <= sent
    seen = boxes(air["single"].picture(), PEOPLE)
    assert seen.keys() == {"ben"}
    assert seen["ben"].is_near(Box.at(0, 0, 320, 180))


# What is heard -----------------------------------------------------------------------------------------------------

EVERYBODY = PEOPLE | EVE | LESSON
OWN = -17.0  # dB of everybody's tone, which is a tenth of full scale, where two channels become one


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("grid", {"anna": OWN, "ben": OWN, "cara": OWN, "dora": OWN}),
        ("screen", {"teacher": OWN, "pupil1": OWN, "pupil2": OWN}),
        ("custom", {"anna": OWN, "ben": OWN - 6.0, "eve": OWN}),
        ("voices", {"anna": OWN, "ben": OWN, "cara": OWN}),
        ("single", {"ben": OWN}),
    ],
)
def test_each_tone_is_heard_at_its_volume_and_no_other(air: Air, name: str, levels: dict[str, float]) -> None:
    sound = air[name].sound
    # Between beeps, and long enough to tell the tones apart.
    begin = sound.begin + 1.5
    for user_id, act in EVERYBODY.items():
        level = statistics.median(sound.level(act.hz, begin + at, begin + at + 1) for at in range(3))
        if user_id in levels:
            # While Anna beeps, a tenth of each second, her tone is not there.
            assert level == pytest.approx(levels[user_id], abs=2.5), user_id
        else:
            assert level < -50, user_id


def test_pictures_and_sound_are_together(air: Air) -> None:
    apart = air["grid"].offset_ms(_within(Box.at(0, 0, 320, 180), FLASH))
    assert len(apart) >= PULL_S - 2, apart
    assert abs(statistics.mean(apart)) <= 40, apart
    assert max(map(abs, apart)) <= 60, apart


# SEI ---------------------------------------------------------------------------------------------------------------


def test_the_layout_sei_tells_who_is_where_and_how_loud(air: Air) -> None:
    layouts = air["grid"].layouts()
    assert layouts
    last = layouts[-1]
    assert list(last) == ["app_data", "canvas", "regions", "ver", "ts"]
    assert last["app_data"] == 'said by "us" 你好'
    assert last["canvas"] == {"w": WIDTH, "h": HEIGHT}
    assert last["ver"] == "1.0"
    assert abs(last["ts"] - time.time()) < 120
    regions = {each["uid"]: each for each in last["regions"]}
    assert regions.keys() == PEOPLE.keys()
    for user_id, box in boxes(air["grid"].picture(), PEOPLE).items():
        region = regions[user_id]
        assert list(region) == ["uid", "zorder", "volume", "x", "y", "w", "h"]
        assert box.is_near(Box.at(region["x"], region["y"], region["w"], region["h"])), user_id
        assert 0 < region["volume"] <= 100, user_id


def test_the_layout_sei_keeps_its_interval_and_comes_with_each_keyframe(air: Air) -> None:
    at = [when for when, _ in air["grid"].messages(100)]
    # Twice a second, and where those do not fall on keyframes one more with each.
    assert PULL_S * 2 - 2 <= len(at) <= PULL_S * 3 + 2
    keyframes = {unit.at for unit in air["grid"].units if unit.keyframe}
    assert keyframes <= set(at)


def test_the_requests_own_sei_passes_through(air: Air) -> None:
    found = [message for _, message in air["grid"].messages(5) if message.uuid.hex() == UUID]
    assert PULL_S - 2 <= len(found) <= PULL_S + 1
    assert {message.data for message in found} == {b"from the request"}


def test_without_sei_there_is_none(air: Air) -> None:
    assert air["custom"].messages(100) == []


def _within(box: Box, part: Region) -> Region:
    """A part of somebody's picture as a part of the whole."""
    return Region(
        (box.left + part.left * box.width) / WIDTH,
        (box.top + part.top * box.height) / HEIGHT,
        (box.left + part.right * box.width) / WIDTH,
        (box.top + part.bottom * box.height) / HEIGHT,
    )


def _slices(unit: bytes) -> list[bytes]:
    """The coded pictures of an access unit in Annex B, without parameter sets and the rest."""
    pieces = [piece.rstrip(b"\0") for piece in re.split(b"\0\0\1", unit) if piece.rstrip(b"\0")]
    return [piece for piece in pieces if piece[0] & 31 in (1, 5)]
