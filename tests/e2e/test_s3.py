"""Recordings that go to a real S3 server, which is well, goes away for a while, or does not know the keys."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit import probes
from tests.kit.browser import RED
from tests.kit.cloud import Cloud
from tests.kit.receiver import Received, Receiver
from tests.kit.robot import robot
from tests.kit.s3 import ACCESS_KEY, S3, SECRET_KEY
from tests.kit.server import Server
from tests.kit.spool import being_written
from tests.kit.waiting import eventually, wait_until

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

BUCKET = "films-1250000000"
VAULT = "vault-1250000000"  # whose keys are the operator's
PREFIX = ["year", "month"]
RECORDED_S = 8.0


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with S3(tmp_path_factory.mktemp("s3")) as started:
        started.make_bucket(BUCKET)
        started.make_bucket(VAULT)
        yield started


@pytest.fixture
def server(tmp_path: Path, s3: S3) -> Iterator[Server]:
    """Its operator said where the buckets of one vendor are."""
    file = tmp_path / "rtcloud.toml"
    file.write_text(f'[[storage]]\nvendor = "aws"\nendpoint = "{s3.url}"\n')
    with Server(tmp_path / "data", "--config", str(file)) as started:
        yield started
        assert started.alive, "the server died"


@pytest.fixture
async def alice(server: Server, receiver: Receiver) -> AsyncIterator[int]:
    """Somebody to record; the room."""
    room = 4301
    server.set_callbacks(receiver.url, receiver.key)
    async with robot(**server.ticket("alice", room)) as alice:
        await alice.publish(RED, 440)
        yield room


def storage(**changes: Any) -> dict[str, Any]:
    return {
        "Vendor": 1,
        "Region": "us-east-1",
        "Bucket": BUCKET,
        "AccessKey": ACCESS_KEY,
        "SecretKey": SECRET_KEY,
        "FileNamePrefix": PREFIX,
    } | changes


async def start(cloud: Cloud, room: int, members: dict[str, Any], output_format: int) -> str:
    return await asyncio.to_thread(
        cloud.start_recording, room, width=320, height=180, output_format=output_format, storage=members
    )


async def pause(seconds: float) -> None:
    until = time.monotonic() + seconds

    async def over() -> bool:
        return time.monotonic() >= until

    await eventually(over, "it records", within=seconds + 5)


def fetch(s3: S3, task_id: str, folder: Path, bucket: str = BUCKET) -> dict[str, Path]:
    """What the bucket has of the task, by name, copied into ``folder``."""
    found = {}
    for key in s3.keys(bucket, f"{'/'.join(PREFIX)}/{task_id}/"):
        path = folder / key.rpartition("/")[2]
        path.write_bytes(s3.read(bucket, key))
        found[path.name] = path
    return found


def spooled(server: Server, task_id: str) -> list[Path]:
    return sorted((server.data / "spool").glob(f"{task_id}*"))


async def test_a_whole_recording_is_in_the_bucket_under_its_documented_names(
    server: Server, receiver: Receiver, s3: S3, alice: int, tmp_path: Path
) -> None:
    cloud = Cloud(server)
    task_id = await start(cloud, alice, storage(), output_format=1)
    assert (await receiver.expect(303)).payload == {"Status": 0}
    await receiver.expect(301)
    await pause(RECORDED_S)
    await asyncio.to_thread(cloud.stop_recording, task_id)
    assert (await receiver.expect(305, within=30)).payload == {"LeaveCode": 0, "Status": 0}
    told = (await receiver.expect(310, within=30)).payload
    assert told["Status"] == 0

    stem = f"{server.sdk_app_id}_{alice}"
    files = await asyncio.to_thread(fetch, s3, task_id, tmp_path)
    assert {name for name in files if not name.endswith(".ts")} == {f"{stem}.m3u8", f"{stem}.mp4"}
    assert told["FileList"] == [f"{stem}.mp4"]
    assert probes.duration(files[f"{stem}.mp4"]) == pytest.approx(RECORDED_S, abs=2.5)
    assert probes.duration(files[f"{stem}.m3u8"]) == pytest.approx(probes.duration(files[f"{stem}.mp4"]), abs=0.3)
    assert not (server.data / "files" / BUCKET).exists()
    assert not spooled(server, task_id)
    for key in SECRET_KEY, ACCESS_KEY:
        assert key not in server.log.read_text()


@pytest.mark.parametrize("seconds", [5, pytest.param(120, marks=[pytest.mark.long, pytest.mark.timeout(540)])])
async def test_a_store_that_is_down_over_the_end_and_a_killed_server_gets_everything_once(
    seconds: int, server: Server, receiver: Receiver, s3: S3, alice: int, tmp_path: Path
) -> None:
    cloud = Cloud(server)
    task_id = await start(cloud, alice, storage(), output_format=1)
    await receiver.expect(304, within=30)  # the first segment and its index are there
    confirmed = s3.puts()
    s3.gate.shut()
    try:
        await pause(seconds)
        await asyncio.to_thread(cloud.stop_recording, task_id)
        await receiver.expect(302, within=20)
        assert (await receiver.expect(308, within=20)).payload["Code"] == "Unreachable"
        await asyncio.to_thread(wait_until, lambda: state(server, task_id) == "uploading", "only uploads are left", 30)
        assert not receiver.of(305)
        # what a server is about to write down as delivered when it dies comes once more
        await asyncio.to_thread(wait_until, lambda: not has_to_tell(server), "what was told is written down", 20)
        await asyncio.to_thread(server.kill)
        end_long_ago(server, task_id)
        await asyncio.to_thread(server.start)
        assert (await receiver.expect(305, within=20)).payload == {"LeaveCode": 1, "Status": 1}
        left = (await receiver.expect(310, within=20)).payload
    finally:
        s3.gate.open()
    stem = f"{server.sdk_app_id}_{alice}"
    assert (left["Status"], left["FileList"]) == (1, [f"{stem}.mp4"])
    come = await receiver.expect(305, lambda each: each.payload["LeaveCode"] != 1, within=60)
    assert come.payload == {"LeaveCode": 2, "Status": 2}
    made = await receiver.expect(310, lambda each: each.payload["Status"] != 1, within=60)
    assert (made.payload["Status"], made.payload["FileList"]) == (0, [f"{stem}.mp4"])
    assert len(receiver.of(308)) == 1
    files = await asyncio.to_thread(fetch, s3, task_id, tmp_path)
    listed = [line for line in files[f"{stem}.m3u8"].read_text().splitlines() if not line.startswith("#")]
    assert sorted(listed) == sorted(name for name in files if name.endswith(".ts"))
    assert probes.duration(files[f"{stem}.mp4"]) == pytest.approx(probes.duration(files[f"{stem}.m3u8"]), abs=0.3)
    assert probes.duration(files[f"{stem}.mp4"]) > seconds
    assert confirmed
    times = Counter(path for path in s3.puts() if task_id in path and not path.endswith((".m3u8", "probe")))
    assert set(times.values()) == {1}
    assert not spooled(server, task_id)


def state(server: Server, task_id: str) -> str:
    with contextlib.closing(sqlite3.connect(server.data / "rtcloud.db")) as database:
        return str(database.execute("SELECT state FROM tasks WHERE task_id = ?", (task_id,)).fetchone()[0])


def has_to_tell(server: Server) -> bool:
    with contextlib.closing(sqlite3.connect(server.data / "rtcloud.db")) as database:
        return bool(database.execute("SELECT count(*) FROM callbacks WHERE state = 'pending'").fetchone()[0])


def end_long_ago(server: Server, task_id: str) -> None:
    """Ten minutes pass for the task, by what its row notes of the end. No server runs."""
    with contextlib.closing(sqlite3.connect(server.data / "rtcloud.db")) as database, database:
        moved = "json_set(progress, '$.closed_ms', json_extract(progress, '$.closed_ms') - 600000)"
        changed = database.execute(f"UPDATE tasks SET progress = {moved} WHERE task_id = ?", (task_id,))
        assert changed.rowcount == 1


async def test_a_store_that_hangs_holds_up_no_other_recording(
    server: Server, receiver: Receiver, s3: S3, alice: int, tmp_path: Path
) -> None:
    cloud = Cloud(server)
    hung, other = [
        await asyncio.to_thread(
            cloud.start_recording, alice, robot=robot_id, width=320, height=180, output_format=0, storage=members
        )
        for robot_id, members in (("hung", storage()), ("other", storage(Vendor=0)))
    ]

    def of(task_id: str) -> Callable[[Received], bool]:
        return lambda received: bool(received.info["TaskId"] == task_id)

    assert (await receiver.expect(303, of(hung))).payload == {"Status": 0}
    s3.gate.bytes_per_second = 0
    try:
        await receiver.expect(301, of(other))
        await pause(4)
        for task_id in (hung, other):
            await asyncio.to_thread(cloud.stop_recording, task_id)
        assert (await receiver.expect(305, of(other), within=30)).payload["LeaveCode"] == 0
        await receiver.expect(302, of(hung))
        assert spooled(server, hung)
        assert not receiver.of(305, of(hung))
        s3.gate.bytes_per_second = 20_000
        assert (await receiver.expect(305, of(hung), within=60)).payload["LeaveCode"] == 0
    finally:
        s3.gate.bytes_per_second = float("inf")
    assert (server.data / "files" / BUCKET).exists()
    assert any(name.endswith(".ts") for name in await asyncio.to_thread(fetch, s3, hung, tmp_path))


async def test_keys_that_are_replaced_in_the_middle_are_given_to_what_waits(
    server: Server, receiver: Receiver, s3: S3, alice: int, tmp_path: Path
) -> None:
    """Those of requests by a command, those of the operator by the settings; neither needs a restart."""
    cloud, config = Cloud(server), tmp_path / "rtcloud.toml"

    def of(task_id: str) -> Callable[[Received], bool]:
        return lambda received: bool(received.info["TaskId"] == task_id)

    def configure(keys: tuple[str, str]) -> None:
        config.write_text(
            f'[[storage]]\nbucket = "{VAULT}"\nendpoint = "{s3.url}"\n'
            f'access_key = "{keys[0]}"\nsecret_key = "{keys[1]}"\n'
        )
        server.signal(signal.SIGHUP)

    old = await asyncio.to_thread(s3.take_only, "old")
    try:
        configure(old)
        own = storage(EndpointUrl=f"http://localhost:{s3.gate.port}", AccessKey=old[0], SecretKey=old[1])
        asked = {"given": own, "again": own, "kept": storage(Bucket=VAULT, AccessKey="none", SecretKey="none")}
        tasks = {
            name: await asyncio.to_thread(
                cloud.start_recording, alice, robot=name, width=320, height=180, output_format=0, storage=members
            )
            for name, members in asked.items()
        }
        for task_id in tasks.values():
            assert (await receiver.expect(303, of(task_id))).payload == {"Status": 0}
        await being_written(server, tasks.values())
        new = await asyncio.to_thread(s3.take_only, "new")
        await asyncio.to_thread(s3.revoke, "old")
        for task_id in tasks.values():
            await asyncio.to_thread(cloud.stop_recording, task_id)
        for task_id in tasks.values():
            assert (await receiver.expect(308, of(task_id), within=20)).payload["Code"] == "InvalidAccessKeyId"
        listed = json.loads(await asyncio.to_thread(server.admin, "recordings", "--json"))
        assert {each["why"] for each in listed} == {"InvalidAccessKeyId"}

        configure(new)
        rekey = ("recordings", "rekey", tasks["given"], "--same", "--keys", "-", "--json")
        changed = json.loads(await asyncio.to_thread(server.admin, *rekey, typed="\n".join(new)))["changed"]
        assert {*changed} == {tasks["given"], tasks["again"]}
        for task_id in tasks.values():
            assert (await receiver.expect(305, of(task_id), within=20)).payload == {"LeaveCode": 0, "Status": 0}
            assert len(receiver.of(308, of(task_id))) == 1
    finally:
        await asyncio.to_thread(s3.take_anyone)
    for name, bucket in (("given", BUCKET), ("again", BUCKET), ("kept", VAULT)):
        folder = tmp_path / name
        folder.mkdir()
        assert any(file.endswith(".ts") for file in await asyncio.to_thread(fetch, s3, tasks[name], folder, bucket))
        assert not spooled(server, tasks[name])
    for key in (*old, *new):
        assert key not in server.log.read_text()


async def test_keys_that_the_store_does_not_know_are_told_at_once_and_nothing_is_lost(
    server: Server, receiver: Receiver, s3: S3, alice: int, tmp_path: Path
) -> None:
    cloud = Cloud(server)
    s3.take_only("owner")
    try:
        own = storage(EndpointUrl=f"http://localhost:{s3.gate.port}", AccessKey="AKIDREVOKED")
        task_id = await start(cloud, alice, own, output_format=0)
        assert (await receiver.expect(303)).payload == {"Status": 1}
        refused = (await receiver.expect(308)).payload
        assert refused["Code"] == "InvalidAccessKeyId"
        assert refused["Message"]
        await receiver.expect(307, within=20)
        await pause(2)
        await asyncio.to_thread(cloud.stop_recording, task_id)
        await receiver.expect(302)
    finally:
        s3.take_anyone()  # the operator of the store mends it
    assert (await receiver.expect(305, within=90)).payload == {"LeaveCode": 0, "Status": 0}
    assert any(name.endswith(".ts") for name in await asyncio.to_thread(fetch, s3, task_id, tmp_path))
