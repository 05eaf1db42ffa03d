"""SetUserBlocked: when the last frame of the silenced user comes to a subscriber, after the request and after its
answer; and the first one when it may be heard again. Through the cloud API, over loopback, with the native client."""

import asyncio
import random
import tempfile
import time
import warnings
from pathlib import Path

import uvloop

from benches.figures import Figure, percentile
from rtcloud.client import Connecting, Room, join
from tests.kit.cloud import Cloud
from tests.kit.robot import AudioMaker
from tests.kit.server import Server

ROUNDS = 20
ROOM = 1
VOICE_S = 0.02
#: So long without any voice is silence.
SILENCE_S = 0.5
BUDGET_MS = 200.0


def run() -> list[Figure]:
    warnings.filterwarnings("ignore", "datetime.datetime.utcfromtimestamp")
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        obeyed, stopped, resumed = uvloop.run(_measure(server))
    return [
        Figure("blocking", "SetUserBlocked: request to last frame, p95", percentile(obeyed, 0.95), "ms"),
        Figure("blocking", "SetUserBlocked: answer to last frame, p50", percentile(stopped, 0.5), "ms"),
        Figure("blocking", "SetUserBlocked: answer to last frame, p95", percentile(stopped, 0.95), "ms", BUDGET_MS),
        Figure("blocking", "IsMute 0: answer to first frame, p95", percentile(resumed, 0.95), "ms", BUDGET_MS),
    ]


async def _measure(server: Server) -> tuple[list[float], list[float], list[float]]:
    cloud = Cloud(server)
    obeyed: list[float] = []
    stopped: list[float] = []
    resumed: list[float] = []
    async with _enter(server, "alice") as alice, _enter(server, "bob") as bob:
        arrivals: list[float] = []
        tasks = [asyncio.create_task(_speak(alice)), asyncio.create_task(_hear(bob, arrivals))]
        try:
            for _ in range(ROUNDS):
                await _until_heard(arrivals, time.perf_counter())
                await asyncio.sleep(random.random() * VOICE_S)  # anywhere between two frames
                asked = time.perf_counter()
                await asyncio.to_thread(cloud.silence, ROOM, "alice", 2)
                answered = time.perf_counter()
                await asyncio.sleep(SILENCE_S)
                last = arrivals[-1]
                assert time.perf_counter() - last > SILENCE_S / 2, "it goes on"
                obeyed.append(max(0.0, last - asked) * 1000)
                stopped.append(max(0.0, last - answered) * 1000)
                await asyncio.to_thread(cloud.silence, ROOM, "alice", 0)
                answered = time.perf_counter()
                first = await _until_heard(arrivals, last)
                resumed.append(max(0.0, first - answered) * 1000)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    return obeyed, stopped, resumed


def _enter(server: Server, user_id: str) -> Connecting:
    return join(server.url, server.sdk_app_id, user_id, server.user_sig(user_id), room_id=ROOM)


async def _until_heard(arrivals: list[float], since: float) -> float:
    """When the first frame after ``since`` came."""
    async with asyncio.timeout(10):
        while not arrivals or arrivals[-1] <= since:
            await asyncio.sleep(0.002)
    return next(at for at in arrivals if at > since)


async def _speak(room: Room) -> None:
    publication, maker = await room.publish_audio(), AudioMaker(440)
    while True:
        if packet := maker.packet():
            publication.write(packet, time.time_ns() // 1000)
        await asyncio.sleep(VOICE_S)


async def _hear(room: Room, arrivals: list[float]) -> None:
    while frames := await room.frames():
        arrivals.extend(time.perf_counter() for _ in frames)
