"""What mixed recordings show and say, driven by the official SDK: each layout, windows, watermarks, and live changes.

The people and the recordings are there once for all tests of this module; each test looks at one of the files. Where
people should be is written here as the documents say it, and found in the picture by their colours.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.trtc.v20190722 import models

from tests.kit import probes
from tests.kit.acts import Act, hex_of
from tests.kit.aired import Aired, Box, box_of, boxes, color_at, steps_ms
from tests.kit.browser import is_near
from tests.kit.cloud import BUCKET, REGION
from tests.kit.house import House, open_house
from tests.kit.receiver import Received
from tests.kit.relaying import CUSTOM, FLOATING, FPS, GRID, HEIGHT, SCREEN_SHARING, WIDTH, Fields, room_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM, CLASS = 6101, 6102
PEOPLE = {"anna": Act(0), "ben": Act(1), "cara": Act(2), "dora": Act(3, width=240)}
LESSON = {"teacher": Act(5, width=640, height=480, screen=True), "pupil1": Act(6), "pupil2": Act(7)}
NAMES = ("floating", "screen", "custom", "live")
GREY, ORANGE, GREEN = "#606060", "#ffa500", "#00ff00"
OWN = -17.0  # dB of everybody's tone, which is a tenth of full scale
#: When the live one changes, and when all end, in seconds after their first media.
FIRST_CHANGE_S, SECOND_CHANGE_S, END_S = 3.0, 6.0, 9.0


@dataclass(frozen=True)
class Kept:
    house: House
    tasks: dict[str, str]
    files: dict[str, Aired]
    stopped_ms: int
    modified: list[Fields]

    def __getitem__(self, name: str) -> Aired:
        return self.files[name]

    def began_ms(self, name: str) -> int:
        told = self.house.receiver.of(307, of_task(self.tasks[name]))
        return int(told[0].payload["BeginTimeStamp"])


def of_task(task_id: str) -> Callable[[Received], bool]:
    return lambda each: each.info["TaskId"] == task_id


def place(left: int, top: int, width: int, height: int, user_id: str = "", **fields: Any) -> Fields:
    return {"Left": left, "Top": top, "Width": width, "Height": height, "UserId": user_id, **fields}


def record(house: House, room: int, robot: str, layout: Fields) -> str:
    storage = {"Vendor": 0, "Region": REGION, "Bucket": BUCKET, "AccessKey": "unused", "SecretKey": "unused"}
    asked = {
        **room_of(room),
        "RoomIdType": 1,
        "UserId": robot,
        "UserSig": house.server.user_sig(robot),
        "RecordParams": {"RecordMode": 2, "StreamType": 0, "MaxIdleTime": 30, "OutputFormat": 1},
        "StorageParams": {"CloudStorage": storage},
        "MixTranscodeParams": {
            "VideoParams": {"Width": WIDTH, "Height": HEIGHT, "Fps": FPS, "BitRate": 800_000, "Gop": 2},
            "AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": 64_000},
        },
        "MixLayoutParams": layout,
    }
    return str(house.cloud.ask(models.CreateCloudRecordingRequest(), asked)["TaskId"])


def modify(house: House, task_id: str, **fields: Any) -> Fields:
    return house.cloud.ask(models.ModifyCloudRecordingRequest(), {"TaskId": task_id, **fields})


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with open_house(tmp_path_factory.mktemp("layouts")) as house:
        house.stage.enter_all(ROOM, PEOPLE)
        house.stage.enter_all(CLASS, LESSON)
        tasks = {name: record(house, *asked) for name, asked in _asked(house).items()}
        for task_id in tasks.values():
            house.receiver.wait_for(307, of_task(task_id), within=30)
        begun = time.monotonic()
        modified = []
        for moment, changes in (
            (
                FIRST_CHANGE_S,
                {
                    "MixLayoutParams": {
                        "MixLayoutMode": CUSTOM,
                        "MixLayoutList": [place(0, 0, 320, 180, "ben"), place(320, 180, 320, 180)],
                        "BackGroundColor": ORANGE.upper(),
                    },
                    "SubscribeStreamUserIds": {
                        "SubscribeVideoUserIds": ["ben", "car.*$"],
                        "UnSubscribeAudioUserIds": ["anna"],
                    },
                },
            ),
            (SECOND_CHANGE_S, {"MixLayoutParams": {"MixLayoutMode": GRID}}),
        ):
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            modified.append(modify(house, tasks["live"], **changes))
        time.sleep(max(0.0, begun + END_S - time.monotonic()))
        stopped_ms = time.time_ns() // 1_000_000
        with ThreadPoolExecutor(len(tasks)) as pool:
            list(pool.map(house.cloud.stop_recording, tasks.values()))
        for task_id in tasks.values():
            house.receiver.wait_for(310, of_task(task_id), within=30)
        assert house.is_empty()
        files = {}
        for name, task_id in tasks.items():
            (path,) = (house.server.data / "files" / BUCKET / task_id).glob("*.mp4")
            files[name] = Aired(path)
        yield Kept(house, tasks, files, stopped_ms, modified)


def _asked(house: House) -> dict[str, tuple[int, str, Fields]]:
    board = house.shelf.put("board.png", (255, 165, 0), (64, 36))
    holder = house.shelf.put("holder.png", (240, 240, 240), (64, 64))
    mark = house.shelf.put("mark.png", (0, 255, 0, 255), (20, 10))
    veil = house.shelf.put("veil.png", (255, 255, 255, 128), (40, 40))
    at = {"Left": 10, "Top": 10, "Width": 40, "Height": 20}
    custom = {
        "MixLayoutMode": CUSTOM,
        "BackGroundColor": GREY,
        "PlaceHolderMode": 1,
        "DefaultSubBackgroundImage": holder,
        "MixLayoutList": [
            place(0, 0, 320, 180, "anna", ImageLayer=1),
            place(160, 90, 320, 180, "ben", ImageLayer=2, RenderMode=0),
            place(480, 0, 160, 180, "dora", RenderMode=2, SubBackgroundImage=house.shelf.url("missing.png")),
            place(0, 240, 160, 120, "nobody"),
            place(480, 240, 160, 120, Alpha=127, SubBackgroundImage=""),
        ],
        "WaterMarkList": [
            {"WaterMarkType": 0, "WaterMarkImage": {"WaterMarkUrl": mark, **at}},
            {
                "WaterMarkType": 0,
                "WaterMarkImage": {"WaterMarkUrl": veil, "Left": 400, "Top": 300, "Width": 40, "Height": 40},
            },
            {
                "WaterMarkType": 1,
                "WaterMarkChar": {
                    **{"Left": 180, "Top": 280, "Width": 200, "Height": 40, "Chars": "录制 MIX", "FontSize": 30},
                    **{"FontColor": "#FFFFFF", "BackGroundColor": "#000000"},
                },
            },
            {"WaterMarkType": 2, "WaterMarkTimestamp": {"Pos": 5, "TimeZone": 0}},
        ],
    }
    screen = {
        "MixLayoutMode": SCREEN_SHARING,
        "MaxResolutionUserId": "teacher",
        "MediaId": 1,
        "MaxResolutionUserAlign": 1,
        "RenderMode": 2,
        "BackgroundImageUrl": board,
        "BackgroundImageRenderMode": 0,
    }
    return {
        "floating": (ROOM, "floating", {"MixLayoutMode": FLOATING}),
        "screen": (CLASS, "screen", screen),
        "custom": (ROOM, "custom", custom),
        "live": (ROOM, "live", {"MixLayoutMode": GRID}),
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_player_decodes_it_and_it_lasts_from_its_begin_to_its_stop(kept: Kept, name: str) -> None:
    path = kept[name].path
    assert probes.decode_all(path) == ""
    assert probes.codecs(path) == {"video": "h264", "audio": "aac"}
    assert abs(probes.duration(path) - (kept.stopped_ms - kept.began_ms(name)) / 1000) <= 0.5
    for kind in ("audio", "video"):
        steps = steps_ms(kept[name].times(kind))
        assert min(steps) > 0, (kind, min(steps))
        assert max(steps) < 200, (kind, max(steps))


def test_floating_shows_the_first_on_all_of_it_and_the_others_from_the_bottom_left(kept: Kept) -> None:
    seen = boxes(kept["floating"].picture(), PEOPLE)
    assert seen["anna"].is_near(Box.at(0, 0, WIDTH, HEIGHT))
    # 0.235 of the canvas each, 0.012 apart
    for index, user_id in enumerate(("ben", "cara", "dora")):
        assert seen[user_id].is_near(Box.at(6 + index * 156, 360 - 4 - 84, 150, 84)), (user_id, seen[user_id])


def test_screen_sharing_shows_the_whole_screen_on_the_right_on_the_background(kept: Kept) -> None:
    picture = kept["screen"].picture()
    seen = boxes(picture, LESSON)
    assert seen.keys() == LESSON.keys()
    # 512 × 360 from 128 on, in which 640 × 480 is 480 wide
    assert seen["teacher"].is_near(Box.at(144, 0, 480, 360)), seen["teacher"]
    assert seen["pupil1"].left < 20
    assert seen["pupil2"].top >= seen["pupil1"].bottom - 2
    assert is_near(color_at(picture, 60, 300), ORANGE)
    assert is_near(color_at(picture, 134, 100), "#000000")  # the window's own background


def test_custom_places_hold_who_is_named_in_their_order_and_the_rest_who_comes(kept: Kept) -> None:
    picture = kept["custom"].picture()
    seen = boxes(picture, PEOPLE)
    assert seen["anna"].is_near(Box.at(0, 0, 320, 180)), seen["anna"]
    assert seen["ben"].is_near(Box.at(160, 90, 320, 180)), seen["ben"]
    assert is_near(color_at(picture, 300, 100), hex_of(PEOPLE["ben"].color))
    # Fitted, on the place's image: the default one, since its own could not be had.
    assert seen["dora"].is_near(Box.at(480, 30, 160, 120)), seen["dora"]
    assert is_near(color_at(picture, 490, 20), "#f0f0f0")
    assert is_near(color_at(picture, 80, 300), "#f0f0f0")  # nobody is there
    assert is_near(color_at(picture, 400, 40), GREY)
    # Cara took the free place, through which grey is seen.
    mixed = [round(0.5 * part + 0.5 * 0x60) for part in PEOPLE["cara"].color]
    assert is_near(color_at(picture, 488, 246), hex_of((mixed[0], mixed[1], mixed[2])))


def test_watermarks_are_above_everything(kept: Kept) -> None:
    aired = kept["custom"]
    picture = aired.picture()
    box = box_of(picture, (0, 255, 0), share=0.5)
    assert box is not None
    assert box.is_near(Box.at(10, 10, 40, 20)), box
    assert is_near(color_at(picture, 420, 320), "#b0b0b0")
    text = Box.at(180, 280, 200, 40).of(picture).mean(axis=2)
    assert text.max() > 200
    assert text.min() < 40
    clock = [Box.at(230, 330, 180, 30).of(shown).astype(int) for _, shown in aired.pictures[FPS : FPS * 4]]
    assert all(each.max() > 180 for each in clock)
    ticks = [float(abs(one - other).mean()) for one, other in zip(clock, clock[1:], strict=False)]
    assert 2 <= sum(tick > 0.3 for tick in ticks) <= 6, ticks  # each second, and a keyframe's little noise


def test_an_image_that_cannot_be_had_is_told_once_and_stops_nothing(kept: Kept) -> None:
    told = [(each.info["TaskId"], each.payload) for each in kept.house.receiver.of(309)]
    assert told == [(kept.tasks["custom"], {"Url": kept.house.shelf.url("missing.png")})]


def test_a_change_is_seen_and_heard_at_once_and_leaves_no_trace_in_the_times(kept: Kept) -> None:
    aired = kept["live"]
    assert [answer["TaskId"] for answer in kept.modified] == [kept.tasks["live"]] * 2
    crowds = [(at, boxes(picture, PEOPLE)) for at, picture in aired.pictures]
    grid = [at for at, seen in crowds if len(seen) == 4]
    custom = [(at, seen) for at, seen in crowds if seen.keys() == {"ben", "cara"}]
    # The others come back with their next keyframe, which these people send once a second.
    lasted = max(custom)[0] - min(custom)[0]
    assert -0.7 < lasted - (SECOND_CHANGE_S - FIRST_CHANGE_S) < 1.7
    before = [at for at in grid if at < custom[0][0]]
    after = [at for at in grid if at > custom[-1][0]]
    assert custom[0][0] - before[-1] < 2.5 / FPS, "in between something else was shown"
    # Who comes back is seen from the next keyframe on, which these people send once a second.
    assert after[0] - custom[-1][0] < 1.5
    spans = [(before[0], before[-1]), (custom[0][0], custom[-1][0]), (after[0], after[-1])]
    steady = [at for at, _ in crowds if any(first <= at <= last for first, last in spans)]
    assert len(steady) == len(grid) + len(custom), "something else was shown for a moment"
    middle = custom[len(custom) // 2]
    assert middle[1]["ben"].is_near(Box.at(0, 0, 320, 180))
    assert middle[1]["cara"].is_near(Box.at(320, 180, 320, 180))
    shown = next(picture for at, picture in aired.pictures if at == middle[0])
    assert is_near(color_at(shown, 480, 90), ORANGE)

    # Sound is back at the change itself, at the latest when the pictures are.
    sound, first, last = aired.sound, custom[0][0], custom[-1][0]
    changed = first + SECOND_CHANGE_S - FIRST_CHANGE_S
    for begin, end, silent in (
        (0.5, first - 0.3, ""),
        (first + 0.3, changed - 0.7, "anna"),
        (last + 0.4, last + 2, ""),
    ):
        for user_id, act in PEOPLE.items():
            level = sound.level(act.hz, begin, end)
            assert level < -50 if user_id == silent else level == pytest.approx(OWN, abs=2.5), (user_id, begin)


def test_a_task_that_is_over_cannot_be_changed(kept: Kept) -> None:
    with pytest.raises(TencentCloudSDKException) as caught:
        modify(kept.house, kept.tasks["live"], MixLayoutParams={"MixLayoutMode": GRID})
    assert caught.value.code == "ResourceNotFound"
