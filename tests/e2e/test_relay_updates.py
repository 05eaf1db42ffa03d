"""A relay that is changed while it runs: viewers see the change and no trace of it else; nonsense changes nothing. And
one whose job dies, which is soon back: both are seen in times, so that nothing else runs meanwhile."""

import random
import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.kit import probes
from tests.kit.acts import Act
from tests.kit.aired import Aired, Box, boxes, steps_ms
from tests.kit.house import House, Relay, open_house
from tests.kit.relaying import (
    CUSTOM,
    DISCONNECTING,
    FLOATING,
    FPS,
    GRID,
    HEIGHT,
    IDLE,
    RECOVERING,
    RUNNING,
    SCREEN_SHARING,
    WIDTH,
    Fields,
    audio,
    heard,
    image_mark,
    outputs,
    place,
    places,
    stream,
    text_mark,
    told,
    video,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 5101
PEOPLE = {f"person{number}": Act(number) for number in range(9)}
UPDATES = 30
SEED = 20190722


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("updates")) as opened:
        opened.stage.enter_all(ROOM, PEOPLE)
        yield opened
        assert opened.is_empty()


@pytest.fixture
def cdn_name(request: pytest.FixtureRequest) -> str:
    return str(request.node.name).removeprefix("test_")[:30]


def check_smooth(aired: Aired) -> None:
    """Times strictly monotonic, no gap of more than 200 ms, and FFmpeg has nothing to say."""
    for kind in ("audio", "video"):
        steps = steps_ms(aired.times(kind))
        assert min(steps) > 0, (kind, min(steps))
        assert max(steps) <= 200, (kind, max(steps))
    assert aired.complaints() == ""


def refused(relay: Relay, sequence: int, **fields: Any) -> str:
    with pytest.raises(TencentCloudSDKException) as caught:
        relay.house.cloud.update_relay(relay.task_id, sequence, **fields)
    return str(caught.value.code)


def cells(count: int, across: int) -> Fields:
    width, height = WIDTH // across // 2 * 2, HEIGHT // across // 2 * 2
    return places(
        *(
            place(number % across * width, number // across * height, width, height, stream(ROOM, f"person{number}"))
            for number in range(count)
        )
    )


def test_two_become_nine_without_a_break(house: House, cdn_name: str) -> None:
    two = video(CUSTOM, layout=cells(2, 2))
    sounds = audio(SubscribeAudioList=[heard(ROOM, "person0"), heard(ROOM, "person1")])
    relay = house.relay(ROOM, cdn_name, VideoParams=two, AudioParams=sounds)
    house.cdn.wait_for(cdn_name)
    with house.cdn.pulling(cdn_name) as (path, _):
        time.sleep(2.5)
        relay.update(VideoParams=video(CUSTOM, layout=cells(9, 3)), AudioParams={"SubscribeAudioList": []})
        time.sleep(4)
    relay.stop()
    aired = Aired(path)
    check_smooth(aired)

    before, after = boxes(aired.pictures[FPS][1], PEOPLE), boxes(aired.picture(0.95), PEOPLE)
    assert before.keys() == {"person0", "person1"}
    assert before["person1"].is_near(Box.at(320, 0, 320, 180))
    assert after.keys() == PEOPLE.keys()
    for number, user_id in enumerate(PEOPLE):
        wanted = Box.at(number % 3 * 212, number // 3 * 120, 212, 120)
        assert after[user_id].is_near(wanted), (user_id, after[user_id])

    sound = aired.sound
    end = sound.begin + len(sound.samples) / sound.rate
    for number, act in enumerate(PEOPLE.values()):
        first = sound.level(act.hz, sound.begin + 0.3, sound.begin + 1.5)
        last = sound.level(act.hz, end - 1.2, end)
        assert first == pytest.approx(-17, abs=2.5) if number < 2 else first < -50, number
        # Nine voices at a tenth of full scale each are below the limiter.
        assert last == pytest.approx(-17, abs=3), number
    relay.wait_for(1, RUNNING, DISCONNECTING, IDLE)


def test_thirty_updates_in_a_row_leave_no_trace_in_the_times(house: House, cdn_name: str) -> None:
    chosen = random.Random(SEED)
    mark = house.shelf.put("mark.png", (255, 255, 255, 200), (64, 32))
    relay = house.relay(ROOM, cdn_name)
    house.cdn.wait_for(cdn_name)
    with house.cdn.pulling(cdn_name) as (path, process):
        time.sleep(1)
        for _ in range(UPDATES):
            relay.update(**_any_update(chosen, mark))
            time.sleep(chosen.uniform(0.02, 0.35))
        relay.update(VideoParams=video(GRID), AudioParams={"SubscribeAudioList": [], "UnSubscribeAudioList": []})
        time.sleep(3)
        assert process.poll() is None, "the stream ended"
    assert house.cdn.streams()[cdn_name].since_ms > 5000, "it was not one push from first to last"
    relay.stop()
    aired = Aired(path)
    check_smooth(aired)
    seen = boxes(aired.picture(0.98), PEOPLE)
    assert seen.keys() == PEOPLE.keys()
    relay.wait_for(1, RUNNING, DISCONNECTING, IDLE)


def _any_update(chosen: random.Random, mark: str) -> Fields:
    """Of what may change, something, at random: always valid."""
    width, height = chosen.choice([(640, 360), (480, 270), (320, 240), (360, 640)])
    user_id = chosen.choice(list(PEOPLE))
    mode = chosen.choice([FLOATING, SCREEN_SHARING, GRID, CUSTOM])
    layout: Fields = {}
    if mode == CUSTOM:
        layout = places(*(_any_place(chosen, width, height) for _ in range(chosen.randint(1, 16))))
    elif mode != GRID and (mode == SCREEN_SHARING or chosen.random() < 0.5):
        layout = {"MaxVideoUser": {"UserMediaStream": stream(ROOM, user_id)}}
    if mode != CUSTOM and chosen.random() < 0.5:
        layout |= {"RenderMode": chosen.randrange(3), "PureAudioHoldPlaceMode": chosen.randrange(2)}
    marks = [image_mark(mark, 20, 20, 64, 32, DynamicPosType=chosen.randrange(3))] if chosen.random() < 0.4 else []
    if chosen.random() < 0.3:
        marks.append(text_mark("now", 40, 100, 120, 40, 24, ZOrder=5))
    fps = chosen.choice([10, 15, 20, 25])
    fields: Fields = {
        "VideoParams": video(
            mode,
            width=width,
            height=height,
            fps=fps,
            layout=layout,
            BackGroundColor=chosen.choice(["0x606060", "0x000000", "0xcc9900"]),
            WaterMarkList=marks,
        )
    }
    if chosen.random() < 0.4:
        del fields["VideoParams"]
    if chosen.random() < 0.5 or not fields:
        lists = {
            "SubscribeAudioList": [heard(ROOM, user_id, chosen.randrange(101))] if chosen.random() < 0.5 else [],
            "UnSubscribeAudioList": [heard(ROOM, chosen.choice(list(PEOPLE)))] if chosen.random() < 0.5 else [],
        }
        fields["AudioParams"] = lists
    if chosen.random() < 0.3:
        fields["SeiParams"] = {"LayoutVolume": {"AppData": user_id, "Interval": 200, "FollowIdr": 1}}
    return fields


def _any_place(chosen: random.Random, width: int, height: int) -> Fields:
    across, down = chosen.randrange(40, width, 2), chosen.randrange(40, height, 2)
    left, top = chosen.randrange(0, width - across + 1), chosen.randrange(0, height - down + 1)
    return place(left, top, across, down, ZOrder=chosen.randrange(5), RenderMode=chosen.randrange(3))


def test_one_stream_becomes_a_mix_and_one_stream_again(house: House, cdn_name: str) -> None:
    encode = {"VideoEncode": {"Width": 320, "Height": 180, "Fps": FPS, "BitRate": 250, "Gop": 1}}
    single: dict[str, Any] = {
        "WithTranscoding": 0,
        "SingleSubscribeParams": {"UserMediaStream": stream(ROOM, "person3")},
    }
    relay = house.relay(ROOM, cdn_name, VideoParams=encode, **single)
    house.cdn.wait_for(cdn_name)
    with house.cdn.pulling(cdn_name) as (path, process):
        time.sleep(2)
        relay.update(WithTranscoding=1, VideoParams=video(GRID))
        time.sleep(3)
        relay.update(**single)
        time.sleep(3)
        assert process.poll() is None, "the stream ended"
    relay.stop()
    aired = Aired(path)
    assert aired.complaints() == ""
    for kind in ("audio", "video"):
        steps = steps_ms(aired.times(kind))
        assert min(steps) > 0, (kind, min(steps))
    # Between two encoders there is a wait for the other's next keyframe, a second apart here.
    assert max(steps_ms(aired.times("video"))) < 2500
    assert max(steps_ms(aired.times("audio"))) < 1000
    crowds = [len(boxes(picture, PEOPLE)) for _, picture in aired.pictures]
    assert crowds[3] == 1
    assert max(crowds) == 9
    assert statistics.mode(crowds[-FPS:]) == 1
    relay.wait_for(1, RUNNING, DISCONNECTING, IDLE)


def test_outputs_come_and_go_while_others_stay(house: House, cdn_name: str) -> None:
    relay = house.relay(ROOM, f"{cdn_name}-a", f"{cdn_name}-b")
    first, second = relay.urls
    third = house.cdn.url(f"{cdn_name}-c")
    for name in "ab":
        house.cdn.wait_for(f"{cdn_name}-{name}")
    with house.cdn.pulling(f"{cdn_name}-a") as (path, _):
        relay.update(PublishCdnParams=outputs(first, third))
        house.cdn.wait_for(f"{cdn_name}-c")
        relay.wait_for(1, RUNNING, DISCONNECTING, IDLE, url=second)
        assert f"{cdn_name}-b" not in house.cdn.streams()
        time.sleep(1)
    check_smooth(Aired(path))
    assert relay.story(first) == [1, RUNNING]
    assert relay.story(third) == [1, RUNNING]
    relay.stop()
    for url in (first, third):
        relay.wait_for(1, RUNNING, DISCONNECTING, IDLE, url=url)


def test_what_makes_no_sense_is_refused_and_changes_nothing(house: House, cdn_name: str) -> None:
    relay = house.relay(ROOM, cdn_name)
    house.cdn.wait_for(cdn_name)
    house.cloud.update_relay(relay.task_id, 5, VideoParams=video(GRID, BackGroundColor="0x606060"))
    assert refused(relay, 5, VideoParams=video(FLOATING)) == "InvalidParameter"
    assert refused(relay, 4, VideoParams=video(FLOATING)) == "InvalidParameter"
    assert refused(relay, 6, PublishCdnParams=[], FeedBackRoomParams=[]).startswith(
        ("InvalidParameter", "MissingParameter")
    )
    other_sound = {"AudioEncode": {"SampleRate": 16_000, "Channel": 1, "BitRate": 64, "Codec": 0}}
    assert refused(relay, 6, AudioParams=other_sound).startswith(("InvalidParameter", "UnsupportedOperation"))
    outside = video(CUSTOM, layout=places(place(600, 0, 100, 100)))
    assert refused(relay, 6, VideoParams=outside).startswith("InvalidParameter")
    seen = boxes(house.pull(cdn_name, 1.5).picture(), PEOPLE)
    assert seen.keys() == PEOPLE.keys()
    assert not seen["person0"].is_near(Box.at(0, 0, WIDTH, HEIGHT))
    relay.stop()
    relay.wait_for(1, RUNNING, DISCONNECTING, IDLE)
    assert refused(relay, 7, VideoParams=video(GRID)) == "ResourceNotFound"


def test_a_killed_job_is_back_within_five_seconds(house: House, cdn_name: str) -> None:
    relay = house.relay(ROOM, cdn_name, VideoParams=video(width=320, height=180), AudioParams=audio())
    house.cdn.wait_for(cdn_name)
    relay.wait_for(1, RUNNING)
    killed_ms = time.time() * 1000
    house.kill_job(relay)
    relay.wait_for(1, RUNNING, RECOVERING, RUNNING)
    back_ms = int(told(house.receiver, relay.task_id, relay.urls[0])[-1].info["EventMsTs"])
    assert back_ms - killed_ms < 5000
    assert probes.decode_all(house.pull(cdn_name, 1).path) == ""
    relay.stop()
    relay.wait_for(1, RUNNING, RECOVERING, RUNNING, DISCONNECTING, IDLE)
