"""A long recorded call: picture and sound stay together, and nothing is lost on the way."""

import asyncio
import statistics
import time
from pathlib import Path

import pytest

from tests.conftest import Open
from tests.kit import probes
from tests.kit.browser import BLUE, RED
from tests.kit.cloud import Cloud
from tests.kit.receiver import Receiver
from tests.kit.server import Server, resident_mib
from tests.kit.waiting import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 6001
TALK_S = 1800.0
WINDOW_S = 60.0
ALICES_FLASH = probes.Region(0.02, 0.02, 0.48, 0.14)


async def test_half_an_hour_stays_together(
    server: Server, cloud: Cloud, receiver: Receiver, open_caller: Open, tmp_path: Path
) -> None:
    server.set_callbacks(receiver.url, receiver.key)
    alice, bob = await open_caller("alice"), await open_caller("bob")
    for caller in (alice, bob):
        await caller.join(server, ROOM)
    await alice.publish(color=RED, hz=440, codec="h264")
    await bob.publish(color=BLUE, hz=700, codec="h264", flash=False)
    await alice.sees("bob")
    task_id = await asyncio.to_thread(cloud.start_recording, ROOM, width=640, height=360)
    began_ms = int((await receiver.expect(307)).payload["BeginTimeStamp"])
    settled_mib: list[float] = []

    async def talked() -> bool:
        elapsed = time.time() - began_ms / 1000
        if not settled_mib and elapsed > TALK_S / 3:
            settled_mib.append(resident_mib(server.pid))
        return elapsed >= TALK_S

    await eventually(talked, "the talk lasts", within=TALK_S + 60)
    assert resident_mib(server.pid) - settled_mib[0] < 16
    deleted_ms = time.time_ns() // 1_000_000
    await asyncio.to_thread(cloud.stop_recording, task_id)
    await receiver.expect(310, within=120)

    (mp4,) = (server.data / "files/recordings/calls" / task_id).glob("*.mp4")
    length = probes.duration(mp4)
    assert abs(length - (deleted_ms - began_ms) / 1000) <= 0.3
    for name, begin in (("first", 1.0), ("last", length - WINDOW_S - 1)):
        part = probes.cut(mp4, begin, WINDOW_S, tmp_path / f"{name}.mp4")
        apart = probes.offsets(probes.beeps(part), probes.flashes(part, ALICES_FLASH))
        assert len(apart) >= WINDOW_S * 0.9, name
        assert abs(statistics.mean(apart)) < 0.040, (name, statistics.mean(apart))
