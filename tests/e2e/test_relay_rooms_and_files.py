"""A relay into other rooms, where a browser watches it, and into files, at once with a CDN."""

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.conftest import Open
from tests.kit import probes
from tests.kit.acts import PALETTE, Act, hex_of, tone_of
from tests.kit.aired import Aired, Box, boxes, steps_ms
from tests.kit.browser import Caller, is_near
from tests.kit.cloud import BUCKET, REGION
from tests.kit.house import House, open_house
from tests.kit.relaying import CONNECTING, DISCONNECTING, GRID, IDLE, RUNNING, room_of, stream, video
from tests.kit.waiting import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

STAGE_ROOM, FOYER, OTHER_FOYER = 5301, "foyer", 5302
PEOPLE = {"ann": Act(0, flash=True, fps=30), "bea": Act(1)}
STORAGE = {
    "CloudStorage": {
        "Vendor": 0,
        "Region": REGION,
        "Bucket": BUCKET,
        "AccessKey": "unused",
        "SecretKey": "unused",
        "FileNamePrefix": ["relays"],
    }
}
RECORD = {"UniRecord": 3, "RecordFormat": ["mp4", "hls"], "StreamType": 0, "McuStorageParams": STORAGE}


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("rooms")) as opened:
        opened.stage.enter_all(STAGE_ROOM, PEOPLE)
        yield opened
        assert opened.is_empty()


def fed_back(house: House, *rooms: int | str) -> list[dict[str, object]]:
    return [
        {**room_of(room), "UserId": f"echo-{room}", "UserSig": house.server.user_sig(f"echo-{room}")} for room in rooms
    ]


async def shows(viewer: Caller, user_id: str, wanted: dict[tuple[float, float], str]) -> None:
    seen: list[object] = []

    async def right() -> bool:
        picture = await viewer.call("look", user_id, [list(each) for each in wanted])
        seen[:] = [picture]
        found = [tuple(color) for color in picture["colors"]]
        return len(found) == len(wanted) and all(map(is_near, found, wanted.values()))

    await eventually(right, f"{viewer.user_id} sees {user_id}", 20, lambda: seen)


async def hears(viewer: Caller, user_id: str, *frequencies: float, silent: float) -> None:
    async def all_heard() -> bool:
        *heard, nothing = await viewer.loudness(user_id, *frequencies, silent)
        return min(heard) > -60 and min(heard) > nothing + 20

    await eventually(all_heard, f"{viewer.user_id} hears {frequencies} of {user_id}", 20)


async def test_two_rooms_watch_a_mix_that_is_also_recorded(house: House, open_caller: Open) -> None:
    relay = await asyncio.to_thread(
        house.relay,
        STAGE_ROOM,
        "both",
        FeedBackRoomParams=fed_back(house, FOYER, OTHER_FOYER),
        RecordParams=RECORD,
        VideoParams=video(GRID, fps=30),
    )
    halves = {(0.25, 0.05): hex_of(PALETTE[0]), (0.75, 0.05): hex_of(PALETTE[1])}
    for room in (FOYER, OTHER_FOYER):
        viewer = await open_caller(f"viewer-{room}")
        await viewer.join(house.server, room)
        await viewer.sees(f"echo-{room}")
        await shows(viewer, f"echo-{room}", halves)
        await hears(viewer, f"echo-{room}", tone_of(0), tone_of(1), silent=2345)
        stats = await viewer.received(f"echo-{room}", "video")
        assert (stats["frameWidth"], stats["frameHeight"]) == (640, 360)
        assert stats["mimeType"] == "video/H264"
    aired = await asyncio.to_thread(house.pull, "both", 2)
    assert boxes(aired.picture(), PEOPLE).keys() == PEOPLE.keys()

    stopped_ms = time.time() * 1000
    await asyncio.to_thread(relay.stop)
    await asyncio.to_thread(relay.wait_for, CONNECTING, RUNNING, DISCONNECTING, IDLE)
    await house.receiver.expect(310, lambda each: each.info["TaskId"] == relay.task_id, within=30)
    begun = await house.receiver.expect(307, lambda each: each.info["TaskId"] == relay.task_id)
    lasted = (stopped_ms - int(begun.payload["BeginTimeStamp"])) / 1000
    assert lasted > 3
    folder = house.server.data / "files" / BUCKET / "relays" / relay.task_id
    stem = f"{house.server.sdk_app_id}_{STAGE_ROOM}"
    assert sorted(path.name for path in folder.iterdir() if path.suffix != ".ts") == [f"{stem}.m3u8", f"{stem}.mp4"]
    for name in (f"{stem}.mp4", f"{stem}.m3u8"):
        recorded = Aired(folder / name)
        assert probes.decode_all(recorded.path) == ""
        assert recorded.codecs == {"video": "h264", "audio": "aac"}
        assert probes.duration(recorded.path) == pytest.approx(lasted, abs=0.5), name
        assert boxes(recorded.picture(0.5), PEOPLE)["bea"].is_near(Box.at(320, 0, 320, 360))


async def test_one_camera_is_fed_into_another_room(house: House, open_caller: Open) -> None:
    relay = await asyncio.to_thread(
        house.relay,
        STAGE_ROOM,
        robot="one-camera",
        WithTranscoding=0,
        VideoParams={"VideoEncode": {"Width": 320, "Height": 180, "Fps": 15, "BitRate": 250, "Gop": 1}},
        SingleSubscribeParams={"UserMediaStream": stream(STAGE_ROOM, "bea")},
        FeedBackRoomParams=fed_back(house, "camera-room"),
    )
    viewer = await open_caller("viewer")
    await viewer.join(house.server, "camera-room")
    await viewer.sees("echo-camera-room")
    await shows(viewer, "echo-camera-room", {(0.05, 0.5): hex_of(PALETTE[1]), (0.95, 0.05): hex_of(PALETTE[1])})
    await hears(viewer, "echo-camera-room", tone_of(1), silent=tone_of(0))
    await asyncio.to_thread(relay.stop)


async def test_what_is_fed_back_is_in_no_mix_of_its_room(house: House) -> None:
    """Two relays that feed each other's room: without the rule they would show each other for ever."""
    house.stage.enter(5303, "carl", Act(2))
    house.stage.enter(5304, "dana", Act(3))
    there = await asyncio.to_thread(
        house.relay, 5303, "there", FeedBackRoomParams=fed_back(house, 5304), VideoParams=video(GRID)
    )
    back = await asyncio.to_thread(
        house.relay, 5304, "back", FeedBackRoomParams=fed_back(house, 5303), VideoParams=video(GRID)
    )
    await asyncio.sleep(2)
    full = Box.at(0, 0, 640, 360)
    aired = await asyncio.to_thread(house.pull_all, 2, "there", "back")
    assert boxes(aired["there"].picture(), PEOPLE | {"carl": Act(2), "dana": Act(3)}) == {"carl": full}
    assert boxes(aired["back"].picture(), PEOPLE | {"carl": Act(2), "dana": Act(3)}) == {"dana": full}
    assert min(steps_ms(aired["there"].times("video"))) > 0
    for relay in (there, back):
        await asyncio.to_thread(relay.stop)
        await asyncio.to_thread(relay.wait_for, CONNECTING, RUNNING, DISCONNECTING, IDLE)


async def test_a_feedback_robot_that_is_sent_out_ends_the_relay(house: House) -> None:
    relay = await asyncio.to_thread(
        house.relay, STAGE_ROOM, "lost-echo", FeedBackRoomParams=fed_back(house, "lost-room")
    )
    await asyncio.to_thread(relay.wait_for, CONNECTING, RUNNING)

    def sent_out() -> bool:
        house.cloud.remove_users("lost-room", "echo-lost-room")
        return True

    await asyncio.to_thread(sent_out)
    await asyncio.to_thread(relay.wait_for, CONNECTING, RUNNING, DISCONNECTING, IDLE)
