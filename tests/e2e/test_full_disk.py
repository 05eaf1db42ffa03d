"""Recordings on a disk that fills up and is emptied again: what was recorded stays, and the rest goes on."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from rtcloud.recordings.folder import read_folder
from rtcloud.recordings.verifying import verify
from tests.kit import probes
from tests.kit.browser import RED
from tests.kit.cdn import Cdn
from tests.kit.cloud import Cloud
from tests.kit.disk import SmallDisk
from tests.kit.receiver import Receiver, Wanted
from tests.kit.robot import robot
from tests.kit.s3 import ACCESS_KEY, S3, SECRET_KEY
from tests.kit.server import Server
from tests.kit.spool import being_written
from tests.kit.waiting import wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

BUCKET = "films-1250000000"
RESERVE_MIB = 24


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "disk", 96) as disk:
        yield disk


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3]:
    with S3(tmp_path / "s3") as started:
        started.make_bucket(BUCKET)
        yield started


@pytest.fixture
def server(tmp_path: Path, disk: SmallDisk, s3: S3) -> Iterator[Server]:
    file = tmp_path / "rtcloud.toml"
    file.write_text(f'disk_reserve = {RESERVE_MIB}\n[[storage]]\nvendor = "aws"\nendpoint = "{s3.url}"\n')
    with Server(disk.path / "data", "--config", str(file)) as started:
        started.log = tmp_path / "serve.log"  # not on the small disk
        yield started
        assert started.alive, "the server died"


async def test_a_full_disk_makes_recordings_wait_and_loses_nothing(
    server: Server, receiver: Receiver, disk: SmallDisk, s3: S3, tmp_path: Path
) -> None:
    server.set_callbacks(receiver.url, receiver.key)
    cloud, room = Cloud(server), 4401
    storage: dict[str, Any] = {"Region": "us-east-1", "Bucket": BUCKET, "AccessKey": ACCESS_KEY,
                               "SecretKey": SECRET_KEY, "FileNamePrefix": []}  # fmt: skip

    async def start(name: str, vendor: int) -> str:
        return await asyncio.to_thread(
            cloud.start_recording, room, robot=name, width=320, height=180, storage=storage | {"Vendor": vendor}
        )

    async with robot(**server.ticket("alice", room)) as alice:
        await alice.publish(RED, 440)
        tasks = {"elsewhere": await start("elsewhere", 1), "here": await start("here", 0)}
        stopped = await start("stopped", 1)
        await being_written(server, [*tasks.values(), stopped])

        await asyncio.to_thread(disk.fill, leave=(RESERVE_MIB - 8) << 20)
        for task_id in (*tasks.values(), stopped):
            assert (await receiver.expect(308, of(task_id), within=20)).payload["Code"] == "DiskFull"
        assert not server.jobs()
        ready = await asyncio.to_thread(httpx.get, f"{server.url}/readyz")
        assert (ready.status_code, ready.json()["disk"]) == (503, False)
        assert "rtcloud_disk_full 1.0" in (await asyncio.to_thread(httpx.get, f"{server.url}/metrics")).text
        with pytest.raises(TencentCloudSDKException, match="disk is nearly full") as refused:
            await start("another", 0)
        assert refused.value.code == "FailedOperation.RestrictedConcurrency"
        shown = json.loads(await asyncio.to_thread(server.admin, "recordings", "--json"))
        assert {each["why"] for each in shown} == {"DiskFull"}

        await asyncio.to_thread(cloud.stop_recording, stopped)
        assert (await receiver.expect(302, of(stopped))).payload == {"LeaveCode": 0}

        await asyncio.to_thread(disk.fill, leave=0)  # by somebody else, to the last byte
        with pytest.raises(TencentCloudSDKException):
            await start("another", 0)
        assert (await asyncio.to_thread(cloud.describe_recording, tasks["here"]))["TaskId"] == tasks["here"]
        await asyncio.to_thread(server.join, "bob", room)  # let in or refused, but answered

        assert not receiver.of(310)
        await asyncio.to_thread(disk.clear)
        assert (await receiver.expect(310, of(stopped), within=30)).payload["Status"] == 0
        for task_id in tasks.values():
            await receiver.expect(306, of(task_id), within=20)
        assert len(receiver.of(308)) == 3
        await being_written(server, tasks.values(), attempt=1)
        for task_id in tasks.values():
            await asyncio.to_thread(cloud.stop_recording, task_id)
        for task_id in tasks.values():
            assert (await receiver.expect(305, of(task_id), within=30)).payload == {"LeaveCode": 0, "Status": 0}
            assert (await receiver.expect(310, of(task_id), within=30)).payload["Status"] == 0

    folders = {"here": server.data / "files" / BUCKET / tasks["here"], "elsewhere": tmp_path / "fetched"}
    await asyncio.to_thread(fetch, s3, tasks["elsewhere"], folders["elsewhere"])
    for folder in folders.values():
        names = {path.name for path in folder.iterdir()}
        assert {f"{ha}{server.sdk_app_id}_{room}.m3u8" for ha in ("", "ha1_")} <= names
        report = await asyncio.to_thread(verify, read_folder(folder), None, is_running=False, told=lambda _: None)
        assert report.is_good, report
        assert probes.duration(next(folder.glob("*.mp4"))) > 4
    assert not list((server.data / "spool").glob("*/*"))


def of(task_id: str) -> Wanted:
    return lambda received: bool(received.info["TaskId"] == task_id)


def fetch(s3: S3, task_id: str, folder: Path) -> None:
    folder.mkdir()
    for key in s3.keys(BUCKET, f"{task_id}/"):
        (folder / key.rpartition("/")[2]).write_bytes(s3.read(BUCKET, key))


@pytest.mark.long
async def test_a_disk_that_is_full_at_once_costs_what_could_not_be_written(
    server: Server, receiver: Receiver, disk: SmallDisk
) -> None:
    """Faster than anybody looks: recorders fail in the middle of a write, and so does the database."""
    server.set_callbacks(receiver.url, receiver.key)
    cloud, room = Cloud(server), 4402
    async with robot(**server.ticket("alice", room)) as alice:
        await alice.publish(RED, 440)
        asked: dict[str, dict[str, Any]] = {
            "mixed": {"storage": {"Bucket": BUCKET, "FileNamePrefix": []}},
            "singles": {"storage": {"Bucket": BUCKET, "FileNamePrefix": []}, "RecordMode": 1, "AvMerge": 1},
        }
        tasks = [
            await asyncio.to_thread(cloud.start_recording, room, robot=name, width=320, height=180, **members)
            for name, members in asked.items()
        ]
        await being_written(server, tasks)
        await asyncio.to_thread(disk.fill, leave=0)
        await asyncio.to_thread(wait_until, lambda: not server.jobs(), "recorders have ended", 20)
        await asyncio.to_thread(disk.clear)
        await being_written(server, tasks, attempt=1)
        for task_id in tasks:
            await asyncio.to_thread(cloud.stop_recording, task_id)
        for task_id in tasks:
            assert (await receiver.expect(305, of(task_id), within=30)).payload == {"LeaveCode": 0, "Status": 0}
            assert (await receiver.expect(310, of(task_id), within=30)).payload["Status"] == 0
    for task_id in tasks:
        folder = read_folder(server.data / "files" / BUCKET / task_id)
        report = await asyncio.to_thread(verify, folder, None, is_running=False, told=lambda _: None)
        assert report.is_good, report
        assert {path.name.startswith("ha1_") for path in folder.path.glob("*.ts")} == {True, False}


@pytest.mark.long
async def test_a_relay_goes_on_when_the_disk_is_full_and_keeps_what_it_recorded(
    server: Server, receiver: Receiver, disk: SmallDisk, tmp_path: Path
) -> None:
    server.set_callbacks(receiver.url, receiver.key)
    cloud, room = Cloud(server), 4403
    storage = {"CloudStorage": {"Vendor": 0, "Region": "r", "Bucket": BUCKET, "AccessKey": "k", "SecretKey": "s"}}
    recorded = {"UniRecord": 3, "RecordFormat": ["hls", "mp4"], "McuStorageParams": storage}
    with Cdn(tmp_path) as cdn:
        async with robot(**server.ticket("alice", room)) as alice:
            await alice.publish(RED, 440)
            task = await asyncio.to_thread(cloud.start_relay, room, cdn.url("full"), RecordParams=recorded)
            await being_written(server, [task])
            began = time.monotonic()
            await asyncio.to_thread(cdn.wait_for, "full")
            await asyncio.to_thread(disk.fill, leave=0)
            written = time.monotonic() - began
            jobs = server.jobs()
            until = time.monotonic() + 25  # longer than a worker waits for a silent job, or its lease
            while time.monotonic() < until:
                assert server.jobs() == jobs
                assert "full" in await asyncio.to_thread(cdn.streams)
                await asyncio.sleep(1)
            await asyncio.to_thread(disk.clear)
            failed = await receiver.expect(308, of(task), within=10)
            assert failed.payload["Code"] == "RecordingFailed"
            await asyncio.to_thread(cloud.stop_relay, task)
            assert (await receiver.expect(310, of(task), within=30)).payload["Status"] == 0
    folder = server.data / "files" / BUCKET / task
    report = await asyncio.to_thread(verify, read_folder(folder), None, is_running=False, told=lambda _: None)
    assert report.is_good, report
    assert probes.duration(next(folder.glob("*.mp4"))) > written - 1
