"""FFmpeg pushes by RTMP into a room of a real server; people in the room, callbacks and the operator see it."""

import signal
import ssl
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from cryptography import x509

from rtcloud.admin.socket import ask
from rtcloud.admin.tasks import TasksList, TasksShow
from tests.kit.certificates import write_certificate
from tests.kit.ports import free_port
from tests.kit.pushing import B_FRAMES, FfmpegPush, push_url
from tests.kit.receiver import Receiver
from tests.kit.server import Server, end_by_signal
from tests.kit.waiting import wait_until
from tests.kit.watching import watcher
from tests.kit.workers import Worker

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

AV_MS = 80


@dataclass(frozen=True)
class House:
    server: Server
    receiver: Receiver
    port: int

    def url(self, room: str | int, user_id: str, **fields: str) -> str:
        return push_url(self.server, self.port, room, user_id, **fields)

    def tasks(self, *, ended: bool = False) -> list[dict[str, Any]]:
        """Pushes, as the operator sees them."""
        listed = ask(self.server.data, TasksList(all=ended))
        return [row for row in cast(list[dict[str, Any]], listed) if row["kind"] == "push"]

    def show(self, task_id: str) -> dict[str, Any]:
        shown = cast(dict[str, Any], ask(self.server.data, TasksShow(task=task_id)))
        return shown | {"streams": {each["kind"]: each["handling"] for each in shown["streams"]}}

    def running(self, user_id: str) -> dict[str, Any]:
        """The task of a push that has come so far that its job says how it does."""

        def found() -> dict[str, Any] | None:
            rows = [row for row in self.tasks() if row["robot"] == user_id and row["state"] == "running"]
            shown = self.show(rows[-1]["task_id"]) if rows else {}
            return shown if len(shown.get("streams", ())) == 2 else None

        shown = wait_until(found, f"the push of {user_id} runs", seen=self.tasks)
        assert shown is not None
        return shown

    def is_quiet(self) -> bool:
        wait_until(lambda: not self.tasks() and not self.server.jobs(), "no push is left", 20, self.tasks)
        return True

    def metrics(self) -> dict[str, float]:
        text = httpx.get(f"{self.server.url}/metrics", timeout=10).text
        lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
        return {line[0]: float(line[1]) for line in lines if len(line) == 2}

    def callbacks(self, user_id: str) -> list[int]:
        return [each.type for each in self.receiver.received if each.user_id == user_id]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    port = free_port()
    options = ("--rtmp-listen", f"127.0.0.1:{port}", "--call-users", "3", "--mixing-cores", "4")
    with Receiver() as receiver, Server(tmp_path_factory.mktemp("push") / "data", *options) as server:
        server.set_callbacks(receiver.url, receiver.key)
        yield House(server, receiver, port)
        assert server.alive


async def test_a_push_is_a_user_of_the_room_whom_others_see_and_hear_in_step(house: House) -> None:
    with FfmpegPush(house.url("hall", "obs")) as push:
        async with watcher(**house.server.ticket("eve", "hall")) as eve:
            await eve.sees("obs", 180)
            person = eve.room.participants["obs"]
            assert not person.robot
            shown = house.running("obs")
            offsets = eve.offsets_ms("obs")
            with FfmpegPush(house.url("hall", "obs")) as second:
                said = push.wait()
                assert "the same user has come from elsewhere" in said
                await eve.sees("obs", 30)
                assert second.stop()
            house.is_quiet()
    assert len(offsets) >= 4
    assert abs(statistics.median(offsets)) <= AV_MS, offsets
    assert max(map(abs, offsets)) <= AV_MS + 33, offsets
    assert shown["streams"]["video"] == "h264 320x180, copied"
    assert "aac 44100 Hz stereo, transcoded" in shown["streams"]["audio"]
    assert 15 <= shown["fps"] <= 45  # of one second, on whatever machine
    seen = house.callbacks("obs")
    assert seen.count(103) == seen.count(104) == 1
    assert seen.count(203) == seen.count(201) == 1  # who comes from elsewhere goes on sending
    (entered,) = house.receiver.of(103, lambda each: each.user_id == "obs")
    assert (entered.info["UserType"], entered.info["TerminalType"], entered.info["Role"]) == (3, 4, 20)
    ended = [row for row in house.tasks(ended=True) if row["robot"] == "obs"]
    assert sorted(house.show(row["task_id"])["leave_code"] for row in ended) == [101, 120]


async def test_b_frames_are_transcoded_and_the_operator_sees_it(house: House) -> None:
    with FfmpegPush(house.url(77, "cam"), video=B_FRAMES) as push:
        async with watcher(**house.server.ticket("eve", 77)) as eve:
            await eve.sees("cam", 150)
            shown = house.running("cam")
            offsets = eve.offsets_ms("cam")
        push.stop()
    house.is_quiet()
    assert "transcoded: B-frames" in shown["streams"]["video"]
    assert len(offsets) >= 3
    assert abs(statistics.median(offsets)) <= AV_MS, offsets
    metrics = house.metrics()
    assert metrics["rtcloud_ingest_video_transcoded_total"] >= 1
    assert metrics["rtcloud_rtmp_accepted_total"] >= 1
    assert metrics["rtcloud_rtmp_connections"] == 0
    assert "VideoTranscoded" in house.server.log.read_text()


def test_each_refusal_reaches_the_screen_of_who_pushes(house: House) -> None:
    other = house.server.user_sig("somebody")
    old = house.server.user_sig("obs", -100)
    cases = {
        house.url("hall", "obs", usersig=other): "70013",
        house.url("hall", "obs", usersig=old): "70001",
        house.url("hall", "obs", usersig="nonsense"): "700",
        house.url("hall", "obs", sdkappid="1"): "there is no such application",
        house.url("hall", "obs").replace("/push/", "/live/"): "the application is push",
        house.url("hall", "obs").replace("sdkappid", "app"): "sdkappid is missing",
        house.url("x" * 65, "obs"): "1 to 64 of the documented characters",
        house.url("hall", "a%20b"): "1 to 64 printable",
        house.url("hall", "obs", use_number_room_id="1"): "the room is not a number",
    }
    for url, words in cases.items():
        with FfmpegPush(url) as push:
            said = push.wait()
        assert push.status != 0
        assert f"{words}" in said, said
        assert "Server error" in said
    assert house.is_quiet()


def test_an_application_decides_what_becomes_of_b_frames_and_of_those_without_a_key(house: House) -> None:
    app = str(house.server.sdk_app_id)
    house.server.admin("applications", "set", app, "--b-frames", "refuse", "--permission-control", "on")
    try:
        key = house.server.private_map_key
        with FfmpegPush(house.url("lobby", "obs")) as push:
            assert "privateMapKey" in push.wait()
        with FfmpegPush(house.url("lobby", "obs", usersig=key("obs", "lobby", 0b10))) as push:
            assert "-102010" in push.wait()
        with FfmpegPush(house.url("lobby", "obs", usersig=key("obs", "lobby", 255)), video=B_FRAMES) as push:
            said = push.wait()
        assert "B-frames" in said
        assert "Server error" in said
    finally:
        house.server.admin("applications", "set", app, "--b-frames", "transcode", "--permission-control", "off")
    assert house.is_quiet()
    assert house.metrics()["rtcloud_rtmp_refused_not_allowed_total"] >= 2


async def test_nobody_pushes_into_a_full_room(house: House) -> None:
    async with (
        watcher(**house.server.ticket("ann", "small")),
        watcher(**house.server.ticket("bea", "small")),
        watcher(**house.server.ticket("cleo", "small")),
    ):
        with FfmpegPush(house.url("small", "obs")) as push:
            assert "the room is full" in push.wait()
    assert house.is_quiet()


async def test_who_is_removed_is_told_and_whose_job_dies_is_hung_up_on(house: House) -> None:
    with FfmpegPush(house.url("hall", "obs")) as push:
        task = house.running("obs")
        house.server.admin("rooms", "remove", str(house.server.sdk_app_id), "hall", "--users", "obs")
        assert "removed from the room" in push.wait()
    assert house.is_quiet()
    assert house.show(task["task_id"])["leave_code"] == 1
    with FfmpegPush(house.url("hall", "cam")) as push:
        task = house.running("cam")
        (pid,) = house.server.jobs().values()
        end_by_signal(pid)
        push.wait()
        assert push.status != 0
    assert house.is_quiet()
    shown = house.show(task["task_id"])
    assert (shown["leave_code"], shown["attempts"]) == (3, 1)


async def test_a_task_may_be_stopped_and_a_server_ends_with_its_pushes_however_it_ends(house: House) -> None:
    with FfmpegPush(house.url("hall", "obs")) as push:
        task = house.running("obs")
        house.server.admin("tasks", "stop", task["task_id"])
        assert "the push was stopped" in push.wait()
    assert house.is_quiet()
    with FfmpegPush(house.url("hall", "cam")) as push:
        house.running("cam")
        began = time.monotonic()
        assert house.server.stop() == 0
        assert time.monotonic() - began < 10
        assert "the server stops" in push.wait()
    house.server.start()
    with FfmpegPush(house.url("hall", "eye")) as push:
        task = house.running("eye")
        house.server.kill()
        assert "Server error" in push.wait()
    house.server.start()
    assert house.is_quiet()
    shown = house.show(task["task_id"])
    assert (shown["leave_code"], shown["attempts"]) == (3, 1)


@pytest.mark.long
def test_a_push_waits_for_a_worker_and_ends_with_it(tmp_path: Path) -> None:
    port, roles = free_port(), "api,signal,media,sender"
    with (
        Receiver() as receiver,
        Server(tmp_path / "data", "--rtmp-listen", f"127.0.0.1:{port}", "--roles", roles) as server,
        FfmpegPush(push_url(server, port, "hall", "obs")) as push,
    ):
        house = House(server, receiver, port)
        wait_until(house.tasks, "the push is accepted")
        with Worker(server.data, "worker") as worker:
            task = house.running("obs")
            worker.kill()
            assert "Server error" in push.wait()
        with Worker(server.data, "other"):
            assert house.is_quiet()
        shown = house.show(task["task_id"])
        assert (shown["leave_code"], shown["attempts"]) == (3, 1)


def test_rtmps_uses_the_certificate_of_https(tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path, 7)
    port = free_port()
    tls = ("--tls-cert", str(chain), "--tls-key", str(key))
    with (
        Receiver() as receiver,
        Server(tmp_path / "data", "--rtmps-listen", f"127.0.0.1:{port}", *tls, scheme="https") as server,
    ):
        server.set_callbacks(receiver.url, receiver.key)
        house = House(server, receiver, port)
        with FfmpegPush(house.url("hall", "obs").replace("rtmp://", "rtmps://")) as push:
            shown = house.running("obs")
            wait_until(lambda: house.running("obs")["fps"] > 20, "pictures come", 10)
            assert shown["streams"]["video"] == "h264 320x180, copied"
            receiver.wait_for(201)
            push.stop()
        assert house.is_quiet()
        with FfmpegPush(house.url("hall", "obs", usersig="x").replace("rtmp://", "rtmps://")) as push:
            assert "Server error" in push.wait()
        write_certificate(tmp_path, 8)
        server.signal(signal.SIGHUP)
        wait_until(lambda: _serial(port) == 8, "the new certificate is served", 5)


def _serial(port: int) -> int:
    pem = ssl.get_server_certificate(("127.0.0.1", port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number
