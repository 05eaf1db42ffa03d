"""The whole recorder job for the mixing benchmark: the same files, played by native clients into a real room."""

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import av

from rtcloud import client
from tests.kit.cloud import Cloud
from tests.kit.server import Server, cpu_seconds

ROOM = 3560
SETTLE_S = 6.0
WINDOW_S = 6.0


def job_core(directory: Path, people: int, windows: int, width: int, height: int, fps: int) -> float:
    """CPU seconds of the job process per second of recording, the median of ``windows``."""
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        return asyncio.run(_measure(server, directory, people, windows, width, height, fps))


async def _measure(
    server: Server, directory: Path, people: int, windows: int, width: int, height: int, fps: int
) -> float:
    cloud = Cloud(server)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as players:
        for person in range(people):
            players.create_task(_play(server, directory, person, stop, width, height, fps))
        try:
            await asyncio.sleep(1)
            task_id = await asyncio.to_thread(
                cloud.start_recording, ROOM, width=width, height=height, fps=fps, output_format=0
            )
            await asyncio.sleep(SETTLE_S)
            (pid,) = server.jobs().values()
            shares = []
            for _ in range(windows):
                cpu, began = cpu_seconds(pid), time.monotonic()
                await asyncio.sleep(WINDOW_S)
                shares.append((cpu_seconds(pid) - cpu) / (time.monotonic() - began))
            await asyncio.to_thread(cloud.stop_recording, task_id)
        finally:
            stop.set()
    return statistics.median(shares)


async def _play(
    server: Server, directory: Path, person: int, stop: asyncio.Event, width: int, height: int, fps: int
) -> None:
    pictures, sounds = _packets(directory / f"{person}.h264"), _packets(directory / f"{person}.ogg")
    ticket = await asyncio.to_thread(server.ticket, f"person{person}", ROOM)
    async with client.connect(ticket["url"], ticket["token"]) as room:
        camera = await room.publish_video(width=width, height=height)
        microphone = await room.publish_audio()
        started, start_us = time.monotonic(), time.time_ns() // 1000
        shown = heard = 0
        while not stop.is_set():
            now = time.monotonic() - started
            while shown / fps <= now:
                camera.write(next(pictures), start_us + shown * 1_000_000 // fps)
                shown += 1
            while heard * 0.02 <= now:
                microphone.write(next(sounds), start_us + heard * 20_000)
                heard += 1
            await asyncio.sleep(0.005)


def _packets(path: Path) -> Iterator[bytes]:
    with av.open(str(path)) as container:
        return cycle([bytes(packet) for packet in container.demux() if packet.size])
