"""Recordings and a relay that go to VOD: told once through the death of the server, and played from their address."""

import asyncio
import json
import random
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page
from tencentcloud.trtc.v20190722 import models

from rtcloud.egress.recording.naming import encode_id
from tests.kit.acts import Act
from tests.kit.cloud import Cloud
from tests.kit.receiver import Received, Receiver
from tests.kit.server import COMMAND, Server
from tests.kit.stage import Stage
from tests.kit.waiting import eventually, wait_until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 3560
#: The documents' first example of CreateCloudRecording, but for whose it is and what MediaType adds.
EXAMPLE: dict[str, Any] = {
    "RecordParams": {"MaxIdleTime": 60, "StreamType": 0, "RecordMode": 2},
    "MixTranscodeParams": {"VideoParams": {"Width": 360, "BitRate": 500000, "Fps": 15, "Height": 640, "Gop": 10}},
    "MixLayoutParams": {"MixLayoutMode": 3},
}


@dataclass(frozen=True)
class Library:
    server: Server
    receiver: Receiver
    mixed: str
    single: str
    relay: str

    def told(self, task_id: str, event_type: int) -> list[Received]:
        return once(self.receiver.of(event_type, lambda each: whose(each) == task_id))

    def files(self, task_id: str) -> dict[str, dict[str, Any]]:
        return {each.payload["TencentVod"]["CacheFile"]: each.payload["TencentVod"] for each in self.told(task_id, 311)}

    def typed(self, *arguments: str, status: int = 0) -> Any:
        command = [str(COMMAND), *arguments, "--json", "--data", str(self.server.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    """Three tasks of one room, whose server is killed while their files arrive."""
    server = Server(tmp_path_factory.mktemp("library") / "data")
    with server, Receiver() as receiver, Stage(server) as stage:
        server.set_callbacks(receiver.url, receiver.key)
        cloud = Cloud(server)
        stage.enter_all(ROOM, {"alice": Act(0), "bob": Act(1, picture=False)})
        vod = {"ExpireTime": 0, "MediaType": 3, "SessionContext": "mine"}
        mixed = record(cloud, "10001", vod, **EXAMPLE)
        vod = {"ExpireTime": 3600, "UserDefineRecordId": "show-1"}
        single = record(cloud, "10002", vod, RecordParams={"RecordMode": 1})
        storage = {"McuCloudVod": {"McuTencentVod": {"ExpireTime": 3600}}}
        beside = {"UniRecord": 3, "RecordFormat": ["hls"], "UserDefineRecordPrefix": "air", "McuStorageParams": storage}
        relay = cloud.start_relay(ROOM, RecordParams=beside, FeedBackRoomParams=[feedback(server)])
        made = Library(server, receiver, mixed, single, relay)
        media = server.data / "media"
        try:
            wait_until(lambda: any(media.glob(f"{relay}/*.ts")) and any(media.glob(f"{mixed}/*.ts")), "segments", 40)
            assert cloud.describe_recording(mixed)["StorageFileList"] == []
            assert not receiver.of(311)
            cloud.stop_recording(mixed)
            cloud.stop_recording(single)
            cloud.stop_relay(relay)
            wait_until(lambda: any(media.glob("*/*.mp4")), "an MP4 arrives", 30)
            server.restart_killed()
            for task_id in (mixed, single, relay):
                receiver.wait_for(312, lambda each, task_id=task_id: each.info["TaskId"] == task_id, 60)  # type: ignore[misc]
        except BaseException:
            print(receiver.types(), server.tail())
            raise
        yield made


@pytest.mark.long
@pytest.mark.timeout(580)
@pytest.mark.parametrize("seed", range(3))
def test_every_file_is_told_once_whenever_the_server_dies(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    with Server(tmp_path / "data") as server, Receiver() as receiver:
        server.set_callbacks(receiver.url, receiver.key)
        for number in range(4):
            cloud = Cloud(server)
            with Stage(server) as stage:
                stage.enter(ROOM, "alice", Act(0))
                task_id = record(cloud, f"robot{number}", {"MediaType": 3}, **EXAMPLE)
                begun = wait_until(lambda: receiver.of(301, lambda each: whose(each) == task_id), "it begins", 30)  # noqa: B023
                assert begun[0].payload == {"Status": 0}
                time.sleep(3)
                cloud.stop_recording(task_id)
                time.sleep(chance.uniform(0, 2.5))
                server.kill()
                server.start(within=60)
            stop = receiver.wait_for(312, lambda each: whose(each) == task_id, 60)  # noqa: B023
            told = once(receiver.of(311, lambda each: whose(each) == task_id))  # noqa: B023
            names = [each.payload["TencentVod"]["CacheFile"].rpartition(".")[2] for each in told]
            assert (sorted(names), stop.payload) == (["m3u8", "mp4"], {"Status": 0}), f"round {number} of seed {seed}"
            for each in told:
                assert played(each.payload["TencentVod"]["VideoUrl"]) > 1


def once(told: list[Received]) -> list[Received]:
    """Without what came again: an event whose delivery a dying server could not note is the same one to the letter."""
    first: dict[str, Received] = {}
    for each in told:
        first.setdefault(json.dumps(each.info), each)
    return list(first.values())


def whose(each: Received) -> str:
    return str(each.info.get("TaskId"))


def record(cloud: Cloud, robot: str, vod: dict[str, Any], **members: Any) -> str:
    signed = {"UserId": robot, "UserSig": cloud.server.user_sig(robot)}
    storage = {"StorageParams": {"CloudVod": {"TencentVod": vod}}}
    asked = {"RoomId": str(ROOM), "RoomIdType": 1, **signed, **storage, **members}
    return str(cloud.ask(models.CreateCloudRecordingRequest(), asked)["TaskId"])


def feedback(server: Server) -> dict[str, Any]:
    """A relay needs somewhere to go."""
    robot = "fed"
    return {"RoomId": "3561", "RoomIdType": 0, "UserId": robot, "UserSig": server.user_sig(robot)}


async def test_each_file_is_told_once_and_the_end_at_the_end(library: Library) -> None:
    app = library.server.sdk_app_id
    stem = f"{app}_{ROOM}"
    alice, bob = (f"show-1__UserId_u_{stem}__UserId_s_{encode_id(user)}__UserId_e_main" for user in ("alice", "bob"))
    expected = {
        library.mixed: {f"{stem}.mp4": ("", "audio_video", "mix"), f"{stem}.m3u8": ("", "audio_video", "mix")},
        library.single: {f"{alice}.mp4": ("alice", "audio_video", "main"), f"{bob}.mp4": ("bob", "audio", "main")},
        library.relay: {f"air__UserId_u_{stem}.m3u8": ("", "audio_video", "mix")},
    }
    for task_id, files in expected.items():
        told = library.told(task_id, 311)
        assert sorted(each.payload["TencentVod"]["CacheFile"] for each in told) == sorted(files)
        for each in told:
            about = each.payload["TencentVod"]
            assert each.payload["Status"] == 0
            assert (about["UserId"], about["TrackType"], about["MediaId"]) == files[about["CacheFile"]]
            assert about["VideoUrl"].startswith(f"{library.server.url}/vod/{about['FileId']}/")
            assert about["EndTimeStamp"] - about["StartTimeStamp"] > 1000
        (stop,) = library.told(task_id, 312)
        assert stop.payload == {"Status": 0}
        story = once([each for each in library.receiver.received if whose(each) == task_id])
        assert story[-1] is stop
        assert {each.type for each in story} & {303, 304, 305, 307, 308, 310} == set()


async def test_every_address_plays(library: Library) -> None:
    for task_id in (library.mixed, library.single, library.relay):
        for about in library.files(task_id).values():
            length = (about["EndTimeStamp"] - about["StartTimeStamp"]) / 1000
            assert abs(await asyncio.to_thread(played, about["VideoUrl"]) - length) < 0.3, about


async def test_the_addresses_play_in_a_browser_from_elsewhere(library: Library, browser: Browser) -> None:
    page = await browser.new_page()
    try:
        for about in library.files(library.mixed).values():
            await page.set_content(f'<video crossorigin="anonymous" muted autoplay src="{about["VideoUrl"]}"></video>')
            await eventually(lambda: plays(page), about["CacheFile"], within=15)
    finally:
        await page.close()


async def test_what_is_not_asked_rightly_is_not_there(library: Library) -> None:
    (about, *_) = library.files(library.mixed).values()
    head, name = about["VideoUrl"].rpartition("/")[::2]
    base, key = head.rpartition("/")[::2]
    wrong = [
        f"{base}/{'A' * len(key)}/{name}", f"{base}/{key[:-1]}/{name}", f"{head}/{name}.bak", f"{head}/",
        f"{head}/..%2f{name}", f"{head}/%2e%2e%2f%2e%2e%2fcredentials.json", f"{head}/%00{name}", f"{base}/%ff/{name}",
        f"{base.rpartition('/')[0]}/1000000000000000000/{key}/{name}", f"{library.server.url}/vod/",
        f"{head}/{'x' * 5000}",
    ]  # fmt: skip
    answers = [await asyncio.to_thread(status_of, each) for each in wrong]
    assert answers == [404] * len(wrong)
    assert await asyncio.to_thread(status_of, about["VideoUrl"]) == 200


async def test_the_operator_lists_verifies_and_removes(library: Library) -> None:
    listed = library.typed("vod", "ls")
    assert len(listed) == 5
    assert {each["task_id"] for each in listed} == {library.mixed, library.single, library.relay}
    assert library.typed("recording", "verify", library.single)["ok"]
    (about,) = library.files(library.relay).values()
    shown = library.typed("vod", "show", about["FileId"])
    assert shown["url"] == about["VideoUrl"]
    folder = Path(shown["path"]).parent
    assert shown["size"] == sum(path.stat().st_size for path in folder.iterdir())
    library.typed("vod", "rm", about["FileId"])
    assert not folder.exists()
    assert status_of(about["VideoUrl"]) == 404
    assert len(library.typed("vod")) == 4


def played(url: str) -> float:
    """Seconds of it; every frame went through a decoder that did not complain."""
    command = ["ffmpeg", "-v", "warning", "-xerror", "-i", url, "-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    command = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", url]
    return float(subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout)


async def plays(page: Page) -> bool:
    at, error = await page.evaluate(
        "() => (({currentTime, error}) => [currentTime, error && error.message])(document.querySelector('video'))"
    )
    assert error is None
    return bool(at > 0.3)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return int(error.code)
