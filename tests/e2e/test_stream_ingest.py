"""Streams that are pulled by the API, from the call to the last callback: with a real server, its jobs, and a web
server as the source."""

import json
import re
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.kit import footage
from tests.kit.acts import PALETTE, Act
from tests.kit.cloud import Cloud
from tests.kit.media_server import Site
from tests.kit.probes import codecs, decode_all, picture_at
from tests.kit.receiver import Received, Receiver
from tests.kit.server import Server, children, end_by_signal, resident_mib
from tests.kit.stage import Stage
from tests.kit.waiting import wait_until
from tests.kit.workers import Worker, holder

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]


@dataclass(frozen=True)
class World:
    server: Server
    receiver: Receiver
    cloud: Cloud
    site: Site
    stage: Stage

    def of_task(self, task_id: str) -> list[Received]:
        return [one for one in self.receiver.received if one.info.get("TaskId") == task_id]

    def story(self, task_id: str) -> str:
        """As ``701/0 702/0``."""
        return " ".join(f"{one.type}/{one.info['Status']}" for one in self.of_task(task_id))

    def wait_for(self, task_id: str, story: str, within: float = 30.0) -> None:
        wait_until(lambda: self.story(task_id) == story, story, within, lambda: self.story(task_id))

    def listed(self, task_id: str) -> dict[str, Any]:
        """As ``rtcloud ingest ls`` shows it; empty when it does not."""
        found = json.loads(self.server.admin("ingest", "list", "--json"))
        return next((dict(line) for line in found if line["task_id"] == task_id), {})

    def refused(self, call: Any, *given: Any) -> str:
        with pytest.raises(TencentCloudSDKException) as caught:
            call(*given)
        return str(caught.value.get_code())


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    footage.write(folder / "film.mp4", 4)
    footage.write(folder / "b-frames.mp4", 4, b_frames=2)
    return folder


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, media: Path) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("ingest")
    with (
        Receiver() as receiver,
        Site(media) as site,
        Server(folder / "data", "--mixing-cores", "0", "--call-users", "3") as server,
        Stage(server) as stage,
    ):
        server.set_callbacks(receiver.url, receiver.key)
        try:
            yield World(server, receiver, Cloud(server), site, stage)
        except BaseException:
            print(server.tail())
            raise
        wait_until(lambda: not server.jobs(), "no job is left", 15, server.jobs)


def test_a_pull_is_seen_until_it_is_stopped_whatever_dies_in_between(world: World) -> None:
    cloud, room = world.cloud, 4711
    url = world.site.url("b-frames.mp4?key=hidden")
    task_id = cloud.start_ingest(room, url, user="film", RepeatNum=-1)
    world.wait_for(task_id, "701/0")
    assert cloud.describe_ingest(task_id) == "InProgress"
    entered = world.receiver.wait_for(103, lambda one: one.user_id == "film")
    assert (entered.info["RoomId"], entered.info["Role"]) == (room, 20)
    assert (entered.info["TerminalType"], entered.info["UserType"]) == (4, 3)
    for kind in (201, 203):
        world.receiver.wait_for(kind, lambda one: one.user_id == "film")

    def handled() -> bool:
        line = world.listed(task_id)
        return bool(line.get("video") and line["audio"] and line["fps"])

    wait_until(handled, "what becomes of its streams is listed", seen=lambda: world.listed(task_id))
    line = world.listed(task_id)
    assert (line["user"], line["room"], line["from"]) == ("film", str(room), world.site.url("").rstrip("/"))
    assert re.match(r"h264 320x180.*, transcoded: B-frames", line["video"]), line
    assert re.match(r"aac .*, transcoded", line["audio"]), line
    assert "hidden" not in json.dumps(line)
    metrics = httpx.get(f"{world.server.url}/metrics").text
    for name in ("ingest_video_transcoded", "ingest_audio_transcoded"):
        assert re.search(rf"^rtcloud_{name}_total [1-9]", metrics, re.MULTILINE), name

    for pid in world.server.jobs().values():
        end_by_signal(pid)
    world.wait_for(task_id, "701/0 701/2 701/0")
    world.server.restart_killed()
    world.wait_for(task_id, "701/0 701/2 701/0 701/2 701/0")
    assert not world.receiver.of(104, lambda one: one.user_id == "film")  # who comes back at once was never gone

    cloud.stop_ingest(task_id)
    world.wait_for(task_id, "701/0 701/2 701/0 701/2 701/0 702/0")
    world.receiver.wait_for(104, lambda one: one.user_id == "film")
    assert len(world.receiver.of(103, lambda one: one.user_id == "film")) == 1
    wait_until(lambda: cloud.describe_ingest(task_id) == "NotExist", "the task is over")
    assert world.refused(cloud.stop_ingest, task_id) == "FailedOperation.TaskFinished"
    assert world.refused(lambda: cloud.update_ingest(task_id, Volume=1)) == "FailedOperation.TaskNotExist"
    for one in world.of_task(task_id):
        assert one.signed
        assert list(one.body) == ["EventGroupId", "EventType", "CallbackMsTs", "EventInfo"]
        assert list(one.info) == ["EventMsTs", "TaskId", "Status"]
        assert one.body["EventGroupId"] == 7
        assert one.body["CallbackMsTs"] >= one.info["EventMsTs"]
    assert "hidden" not in world.server.log.read_text(errors="replace")


def test_what_cannot_be_read_is_tried_four_times_and_given_up(world: World) -> None:
    task_id = world.cloud.start_ingest(4712, world.site.url("nothing.mp4"), user="nothing")
    world.wait_for(task_id, "701/1 701/2 701/1 701/2 701/1 701/2 701/1 702/0")
    first, *_, last = (one.info["EventMsTs"] for one in world.of_task(task_id)[:-1])
    assert 4_000 <= last - first < 15_000
    wait_until(lambda: world.cloud.describe_ingest(task_id) == "NotExist", "the task is over")


def test_an_update_reaches_the_job_that_plays(world: World) -> None:
    cloud, room = world.cloud, 4714
    task_id = cloud.start_ingest(room, world.site.url("film.mp4"), user="changed", RepeatNum=-1)
    world.wait_for(task_id, "701/0")

    def plays() -> bool:
        return (world.listed(task_id).get("fps") or 0) > 5

    wait_until(plays, "it plays", 20, lambda: world.listed(task_id))
    assert cloud.update_ingest(task_id, IsPause=True) == "InProgress"
    wait_until(lambda: not plays(), "it is paused", 20, lambda: world.listed(task_id))
    assert cloud.update_ingest(task_id, IsPause=False, Volume=20) == "InProgress"
    wait_until(plays, "it plays again", 20, lambda: world.listed(task_id))
    assert world.story(task_id) == "701/0"

    def shown() -> str:
        return str(world.listed(task_id).get("video", ""))

    assert shown() == "h264 320x180, copied"
    cloud.update_ingest(task_id, StreamUrl=world.site.url("b-frames.mp4"))
    wait_until(lambda: "transcoded: B-frames" in shown(), "the other film plays", 20, shown)
    cloud.update_ingest(task_id, StreamUrl=world.site.url("nothing.mp4"))
    world.receiver.wait_for(701, lambda one: one.info["TaskId"] == task_id and one.info["Status"] == 1)
    assert world.refused(lambda: cloud.update_ingest(task_id, StreamUrl="ftp://a.example/b")) == (
        "InvalidParameter.StreamUrl"
    )
    world.receiver.wait_for(702, lambda one: one.info["TaskId"] == task_id, 30)
    assert world.story(task_id).startswith("701/0 701/1 701/2")
    assert world.story(task_id).endswith("701/1 702/0")


def test_its_user_is_one_of_the_rooms_people(world: World) -> None:
    """It takes a place, may be sent away, and a room that is full has none for it."""
    cloud, room = world.cloud, "people"
    world.stage.enter_all(room, {"anna": Act(0), "ben": Act(1)})
    task_id = cloud.start_ingest(room, world.site.url("film.mp4"), user="third", RepeatNum=-1)
    world.wait_for(task_id, "701/0")
    world.receiver.wait_for(201, lambda one: one.user_id == "third")
    assert world.refused(lambda: cloud.start_ingest(room, world.site.url("film.mp4"), user="third")) in (
        "InvalidParameter",
        "FailedOperation.TaskExist",
    )
    one_more = cloud.start_ingest(room, world.site.url("film.mp4"), user="fourth", RepeatNum=-1)

    def is_over() -> bool:
        return world.story(one_more).endswith("701/1 702/0")

    wait_until(is_over, "the room is full", 30, lambda: world.story(one_more))
    assert not world.receiver.of(103, lambda one: one.user_id == "fourth")
    cloud.remove_users(room, "third")
    world.wait_for(task_id, "701/0 702/0")
    gone = world.receiver.wait_for(104, lambda one: one.user_id == "third")
    assert gone.info["Reason"] == 3


def test_a_room_with_a_pull_alone_is_recorded_automatically(world: World) -> None:
    application, room = str(world.server.sdk_app_id), 4713
    setting = ("--auto-recording", "single", "--auto-recording-wait", "1", "--auto-recording-bucket", "kept")
    world.server.admin("applications", "set", application, *setting)
    try:
        task_id = world.cloud.start_ingest(room, world.site.url("film.mp4"), user="alone", RepeatNum=-1)
        began = world.receiver.wait_for(301, lambda one: one.info["RoomId"] == room, 30)
        spool = world.server.data / "spool" / began.info["TaskId"]
        wait_until(lambda: sum(path.stat().st_size for path in spool.rglob("*.ts")) > 60_000, "it is written", 30)
        world.cloud.stop_ingest(task_id)
        world.receiver.wait_for(311, lambda one: one.info["RoomId"] == room, 60)
    finally:
        world.server.admin("applications", "set", application, "--auto-recording", "off")
    (path,) = (world.server.data / "files" / "kept" / began.info["TaskId"]).glob("*.mp4")
    assert codecs(path) == {"video": "h264", "audio": "aac"}
    seen = picture_at(path, 1.0)[4, 4]
    assert all(abs(int(have) - want) < 40 for have, want in zip(seen, PALETTE[0], strict=True)), seen
    assert not decode_all(path)


def test_another_worker_takes_a_pull_over(tmp_path: Path, media: Path) -> None:
    """A job whose worker is gone leaves at once; the next one's enters."""
    with (
        Receiver() as receiver,
        Site(media) as site,
        Server(tmp_path / "data", "--roles", "api,signal,media,sender") as server,
        Worker(server.data, "first") as first,
    ):
        server.set_callbacks(receiver.url, receiver.key)
        cloud = Cloud(server)
        world = World(server, receiver, cloud, site, Stage(server))
        task_id = cloud.start_ingest("taken", site.url("film.mp4"), user="film", RepeatNum=-1)
        world.wait_for(task_id, "701/0")
        with Worker(server.data, "second") as second:
            first.kill()
            world.wait_for(task_id, "701/0 701/2 701/0", 40)
            assert holder(server.data, task_id) == second.pid
            cloud.stop_ingest(task_id)
            world.wait_for(task_id, "701/0 701/2 701/0 702/0")
            wait_until(lambda: len(receiver.of(104)) == 2, "the user has left twice", seen=receiver.types)
            assert len(receiver.of(103)) == 2


def pull_at_once(world: World, count: int, at_once: int) -> None:
    """Started and stopped; nothing of them is left."""
    server = world.server

    def one(number: int) -> None:
        user = f"user{number}"
        task_id = world.cloud.start_ingest(f"many{number}", world.site.url("film.mp4"), user=user, RepeatNum=-1)
        wait_until(lambda: world.story(task_id) == "701/0", "it plays", 60, lambda: world.story(task_id))
        world.cloud.stop_ingest(task_id)
        wait_until(lambda: world.story(task_id) == "701/0 702/0", "it has ended", 60, lambda: world.story(task_id))
        wait_until(lambda: world.cloud.describe_ingest(task_id) == "NotExist", "the task is over", 60)

    def descriptors() -> int:
        return len(list(Path(f"/proc/{server.pid}/fd").iterdir()))

    def at_the_same_time(numbers: Iterable[int]) -> None:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(one, numbers))
        wait_until(lambda: not server.jobs(), "no job is left", 15, server.jobs)

    at_the_same_time(range(-at_once, 0))  # what is loaded, or opened for so many at once, is kept for good
    before, memory = descriptors(), resident_mib(server.pid)
    at_the_same_time(range(count))
    wait_until(lambda: len(children(server.pid)) <= 1, "no process is left", 15, lambda: children(server.pid))
    spool = server.data / "spool"
    wait_until(lambda: not list(spool.iterdir()), "the spool is empty", 15, lambda: list(spool.iterdir()))
    wait_until(lambda: descriptors() <= before + 10, f"{before} descriptors", 30, descriptors)
    assert resident_mib(server.pid) < memory + 24 + count / 2


def test_many_pulls_leave_nothing_behind(world: World) -> None:
    pull_at_once(world, 16, 8)


@pytest.mark.long
def test_a_hundred_pulls_leave_nothing_behind(world: World) -> None:
    pull_at_once(world, 100, 8)
