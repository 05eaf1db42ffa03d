"""One call of two browsers, recorded through the official SDK: the files, and the story that the callbacks tell.

The call is held once for all tests here; each looks at another side of it.
"""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from tests.kit import probes
from tests.kit.browser import BLUE, RED, Caller, PageFiles, is_near
from tests.kit.cloud import BUCKET, Cloud
from tests.kit.probes import Region
from tests.kit.receiver import Received, Receiver
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 3001
ALICE_HZ, BOB_HZ = 440, 700
TALK_S = 12
WIDTH, HEIGHT = 1280, 720
# The grid of two: left and right halves. Each shows the middle of its 16:9 source.
ALICE, BOB = Region(0.1, 0.3, 0.4, 0.75), Region(0.6, 0.3, 0.9, 0.75)
ALICES_FLASH = Region(0.02, 0.02, 0.48, 0.14)


@dataclass(frozen=True)
class RecordedCall:
    task_id: str
    server: Server
    callbacks: list[Received]
    described: dict[str, Any]  # DescribeCloudRecording while it ran
    deleted_ms: int
    folder: Path

    @property
    def mp4(self) -> Path:
        (path,) = self.folder.glob("*.mp4")
        return path

    @property
    def index(self) -> Path:
        (path,) = self.folder.glob("*.m3u8")
        return path

    @property
    def began_ms(self) -> int:
        return int(self.described["StorageFileList"][0]["BeginTimeStamp"])

    def of(self, event_type: int, user_id: str = "") -> list[Received]:
        found = [each for each in self.callbacks if each.type == event_type]
        return [each for each in found if not user_id or each.user_id == user_id]


@pytest.fixture(scope="module")
async def call(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser, page_files: PageFiles
) -> AsyncIterator[RecordedCall]:
    data = tmp_path_factory.mktemp("call") / "data"
    with Server(data) as server, Receiver() as receiver:
        server.set_callbacks(receiver.url, receiver.key)
        try:
            yield await _hold(server, receiver, browser, page_files)
        except BaseException:
            print(server.tail())
            raise


async def _hold(server: Server, receiver: Receiver, browser: Browser, page_files: PageFiles) -> RecordedCall:
    cloud = Cloud(server)
    alice = await Caller.open(browser, page_files.url, "alice")
    bob = await Caller.open(browser, page_files.url, "bob")
    await alice.join(server, ROOM)
    await alice.publish(color=RED, hz=ALICE_HZ, codec="h264")
    await bob.join(server, ROOM)
    await bob.publish(color=BLUE, hz=BOB_HZ, codec="h264", flash=False)
    await alice.sees("bob")
    await bob.sees("alice")

    task_id = await asyncio.to_thread(cloud.start_recording, ROOM, width=WIDTH, height=HEIGHT)
    first = await receiver.expect(307)
    until = int(first.payload["BeginTimeStamp"]) / 1000 + TALK_S

    async def talked() -> bool:
        return time.time() >= until

    await eventually(talked, "the talk lasts", within=TALK_S + 5)
    described = await asyncio.to_thread(cloud.describe_recording, task_id)
    deleted_ms = time.time_ns() // 1_000_000
    await asyncio.to_thread(cloud.stop_recording, task_id)
    for event_type in (302, 305, 310):
        await receiver.expect(event_type, within=30)
    for caller in (alice, bob):
        await caller.call("leave")
        await caller.close()
    await receiver.expect(102)
    folder = data_folder(server, task_id)
    return RecordedCall(task_id, server, list(receiver.received), described, deleted_ms, folder)


def data_folder(server: Server, task_id: str) -> Path:
    return server.data / "files" / BUCKET / "calls" / task_id


async def test_the_files_have_the_documented_names(call: RecordedCall) -> None:
    stem = f"{call.server.sdk_app_id}_{ROOM}"
    assert call.mp4.name == f"{stem}.mp4"
    assert call.index.name == f"{stem}.m3u8"
    segments = sorted(call.folder.glob("*.ts"))
    assert segments
    for segment in segments:
        utc = segment.stem.removeprefix(f"{stem}_")
        assert utc.isdigit()
        assert len(utc) == 17


async def test_the_mp4_has_one_picture_and_one_sound_of_the_asked_form(call: RecordedCall) -> None:
    streams = {stream["codec_type"]: stream for stream in probes.ffprobe(call.mp4)["streams"]}
    assert streams["video"]["codec_name"] == "h264"
    assert (streams["video"]["width"], streams["video"]["height"]) == (WIDTH, HEIGHT)
    assert streams["audio"]["codec_name"] == "aac"
    assert (streams["audio"]["sample_rate"], streams["audio"]["channels"]) == ("48000", 2)
    assert probes.decode_all(call.mp4) == ""


async def test_the_mp4_lasts_from_its_begin_to_the_delete(call: RecordedCall) -> None:
    assert abs(probes.duration(call.mp4) - (call.deleted_ms - call.began_ms) / 1000) <= 0.3


async def test_both_pictures_are_in_their_places_all_the_time(call: RecordedCall) -> None:
    shown = probes.pictures(call.mp4, every_s=1)[1:]
    assert len(shown) >= TALK_S - 2
    for at, picture in shown:
        left, right = probes.mean_color(picture, ALICE), probes.mean_color(picture, BOB)
        assert is_near(left, RED), f"{left} at {at:.1f} s"
        assert is_near(right, BLUE), f"{right} at {at:.1f} s"


async def test_the_pictures_move(call: RecordedCall) -> None:
    bars = Region(0, 0.85, 0.5, 1)
    shown = probes.pictures(call.mp4, every_s=0.5)
    different = sum(
        bool((bars.of(first) != bars.of(second)).any())
        for (_, first), (_, second) in zip(shown, shown[1:], strict=False)
    )
    assert different >= len(shown) * 0.8


async def test_both_tones_are_heard_and_no_other(call: RecordedCall) -> None:
    samples, rate, _ = probes.sound(call.mp4)
    levels = {hz: probes.tone_level(samples[rate:], rate, hz) for hz in (ALICE_HZ, BOB_HZ, 570, 1500)}
    assert levels[ALICE_HZ] > -35, levels
    assert levels[BOB_HZ] > -35, levels
    assert max(levels[570], levels[1500]) < min(levels[ALICE_HZ], levels[BOB_HZ]) - 25, levels


async def test_picture_and_sound_are_together(call: RecordedCall) -> None:
    beeps, flashes = probes.beeps(call.mp4), probes.flashes(call.mp4, ALICES_FLASH)
    apart = probes.offsets(beeps, flashes)
    assert len(apart) >= TALK_S - 4, (beeps, flashes)
    assert abs(statistics.mean(apart)) < 0.040, apart
    assert max(map(abs, apart)) < 0.080, apart


async def test_the_hls_plays_from_first_to_last_segment(call: RecordedCall) -> None:
    text = call.index.read_text()
    assert text.startswith("#EXTM3U")
    assert "#EXT-X-ENDLIST" in text
    assert f"#EXT-X-TRTC-START-REC-TIME:{call.began_ms}" in text
    listed = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert listed == sorted(path.name for path in call.folder.glob("*.ts"))
    lengths = [float(line.split(":")[1].rstrip(",")) for line in text.splitlines() if line.startswith("#EXTINF")]
    assert probes.decode_all(call.index) == ""
    assert abs(sum(lengths) - probes.duration(call.mp4)) < 0.2
    assert abs(probes.duration(call.index) - probes.duration(call.mp4)) < 0.2


async def test_describe_told_what_was_being_made(call: RecordedCall) -> None:
    assert call.described["Status"] == "InProgress"
    assert call.described["TaskId"] == call.task_id
    (file,) = call.described["StorageFileList"]
    assert (file["TrackType"], file["FileName"]) == ("audio_video", call.index.name)


# The callbacks -----------------------------------------------------------------------------------------------------

ROOM_KEYS = ["RoomId", "EventTs", "EventMsTs"]
TASK_KEYS = [*ROOM_KEYS, "UserId", "TaskId", "Payload"]


async def test_every_callback_is_signed_and_well_formed(call: RecordedCall) -> None:
    for each in call.callbacks:
        assert each.signed, each.body
        assert list(each.body) == ["EventGroupId", "EventType", "CallbackTs", "EventInfo"]
        assert each.headers["sdkappid"] == str(call.server.sdk_app_id)
        assert each.headers["content-type"] == "application/json"
        assert each.body["EventGroupId"] == {1: 1, 2: 2, 3: 3}[each.type // 100]
        assert 0 <= each.at * 1000 - each.body["CallbackTs"] < 2000
        assert int(each.info["EventTs"]) == each.info["EventMsTs"] // 1000
        if each.type < 300:
            assert each.info["RoomId"] == ROOM


async def test_nothing_is_told_twice(call: RecordedCall) -> None:
    told = [each.raw.replace(str(each.body["CallbackTs"]).encode(), b"") for each in call.callbacks]
    assert len(told) == len(set(told))


@pytest.mark.parametrize(
    ("event_type", "keys"),
    [
        (101, [*ROOM_KEYS, "UserId"]),
        (102, ROOM_KEYS),
        (103, [*ROOM_KEYS, "UserId", "Role", "TerminalType", "UserType", "Reason"]),
        (104, [*ROOM_KEYS, "UserId", "Role", "Reason"]),
        (201, [*ROOM_KEYS, "UserId"]),
        (203, [*ROOM_KEYS, "UserId"]),
        (301, TASK_KEYS),
        (302, TASK_KEYS),
        (303, TASK_KEYS),
        (304, TASK_KEYS),
        (305, TASK_KEYS),
        (307, TASK_KEYS),
        (310, TASK_KEYS),
    ],
)
async def test_each_event_has_the_documented_fields(call: RecordedCall, event_type: int, keys: list[str]) -> None:
    found = call.of(event_type)
    assert found
    for each in found:
        assert list(each.info) == keys


async def test_the_room_and_its_people_are_told_in_order(call: RecordedCall) -> None:
    story = [(each.type, each.user_id) for each in call.callbacks if each.type < 300]
    assert story[:2] == [(101, "alice"), (103, "alice")]
    assert story[-1] == (102, "")
    for user in ("alice", "bob"):
        mine = [event_type for event_type, who in story if who == user and event_type != 101]
        assert mine[0] == 103
        assert sorted(mine[1:-1]) == [201, 203]
        assert mine[-1] == 104
    robots = {who for _, who in story} - {"alice", "bob", ""}
    assert robots == {"recorder"}
    (entered,) = call.of(103, "recorder")
    assert (entered.info["TerminalType"], entered.info["UserType"]) == (4, 3)
    for user in ("alice", "bob"):
        (entered,) = call.of(103, user)
        assert (entered.info["Role"], entered.info["UserType"], entered.info["Reason"]) == (20, 1, 1)
        (left,) = call.of(104, user)
        assert (left.info["Role"], left.info["Reason"]) == (20, 1)


async def test_the_recording_is_told_in_order(call: RecordedCall) -> None:
    story = [each for each in call.callbacks if each.type >= 300]
    types = [each.type for each in story]
    assert types[0] == 301
    assert sorted(types) == [301, 302, 303, 304, 305, 307, 310]
    place = {event_type: types.index(event_type) for event_type in types}
    assert place[307] < place[304]
    assert place[303] < place[304] < place[302] < place[305] < place[310]
    for each in story:
        assert (each.info["TaskId"], each.user_id) == (call.task_id, "recorder")
    told = {each.type: each.payload for each in story}
    assert told[301] == {"Status": 0}
    assert told[302] == {"LeaveCode": 0}
    assert told[303] == {"Status": 0}
    assert told[304] == {"FileList": call.index.name}
    assert told[305] == {"LeaveCode": 0, "Status": 0}
    assert told[307] == {
        "FileName": call.index.name,
        "UserId": "",
        "TrackType": "audio_video",
        "BeginTimeStamp": str(call.began_ms),
    }
    message = told[310]["FileMessage"][0]
    assert told[310] == {"Status": 0, "FileList": [call.mp4.name], "FileMessage": [message]}
    length_ms = message.pop("EndTimeStamp") - message.pop("StartTimeStamp")
    assert message == {"FileName": call.mp4.name, "UserId": "", "TrackType": "audio_video", "MediaId": "mix"}
    assert abs(length_ms / 1000 - probes.duration(call.mp4)) < 0.3
