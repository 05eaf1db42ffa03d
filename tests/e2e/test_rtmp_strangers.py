"""Hundreds of slow or malicious RTMP connections beside a push that runs: it must not notice them."""

import asyncio
import itertools
import os
from pathlib import Path
from typing import cast

import httpx
import pytest

from rtcloud.admin.socket import ask
from rtcloud.admin.tasks import TasksList
from rtcloud.ingest.push.listening import FAREWELL, OPENING
from tests.kit.ports import free_port
from tests.kit.pushing import FfmpegPush, push_url
from tests.kit.rtmp_pusher import Pusher
from tests.kit.rtmp_strangers import crowd, push_nonsense
from tests.kit.server import Server, resident_mib
from tests.kit.waiting import eventually
from tests.kit.watching import watcher

pytestmark = [pytest.mark.e2e, pytest.mark.anyio, pytest.mark.alone]

#: a frame each 33 ms; two that are lost to a busy machine are no fault of the strangers
LONGEST_GAP_S = 1.0
MOST_MIB = 96
#: in which the server, beside its own deadlines, gets to all that the strangers say
MARGIN_S = 5.0


@pytest.mark.parametrize(
    ("count", "seconds"), [(200, 7), pytest.param(1000, 40, marks=[pytest.mark.long, pytest.mark.timeout(300)])]
)
async def test_strangers_do_not_hurt_a_push_that_runs(tmp_path: Path, count: int, seconds: float) -> None:
    port = free_port()
    options = ("--rtmp-listen", f"127.0.0.1:{port}", "--mixing-cores", "4")
    with Server(tmp_path / "data", *options) as server, FfmpegPush(push_url(server, port, "hall", "obs")):

        def figure(name: str) -> float:
            text = httpx.get(f"{server.url}/metrics", timeout=10).text
            return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"rtcloud_{name} "))

        async with watcher(**server.ticket("eve", "hall")) as eve:
            await eve.sees("obs", 60)
            memory, files = resident_mib(server.pid), _files(server)
            first = eve.count("obs", "video")
            enough = round(count * 0.4)
            # The last of them comes after half of the time, and has the server's deadlines before it.
            within = max(seconds, seconds / 2 + OPENING + FAREWELL + MARGIN_S)
            strangers = asyncio.create_task(crowd(port, count, seconds=seconds, hung_up=enough, within=within))
            evils = [
                asyncio.create_task(
                    push_nonsense(push_url(server, port, "hall", f"evil{number}"), well_formed=bool(number % 2))
                )
                for number in range(4)
            ]
            await asyncio.sleep(seconds / 2)
            welcome = await Pusher.connect(push_url(server, port, "hall", "late"))
            assert type(await welcome.open(within=10)).__name__ == "Published"
            await welcome.close()
            hung_up = await strangers
            await asyncio.gather(*evils)
            await eve.sees("obs", 30)
            arrivals = [frame.arrival_us for frame in eve.frames["obs", "video"][first:]]
            gaps = [(after - before) / 1e6 for before, after in itertools.pairwise(arrivals)]
            assert max(gaps) <= LONGEST_GAP_S, sorted(gaps)[-5:]
            assert len(arrivals) >= 0.8 * 30 * (arrivals[-1] - arrivals[0]) / 1e6
            assert hung_up >= enough

            async def is_over() -> bool:
                listed = ask(server.data, TasksList())
                return figure("rtmp_connections") == 0 and len(cast(list[object], listed)) == 1

            await eventually(is_over, "nobody is left", 30)

            async def are_closed() -> bool:
                return _files(server) <= files + 8

            await eventually(are_closed, "their descriptors are closed", 15, lambda: (files, _files(server)))
            assert resident_mib(server.pid) <= memory + MOST_MIB
            assert figure("rtmp_refused_not_rtmp_total") >= count / 5
        assert server.alive


def _files(server: Server) -> int:
    return len(os.listdir(f"/proc/{server.pid}/fd"))
