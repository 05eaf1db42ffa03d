"""The load of ``benches/forward``: a process of its own, on another core than the server.

Reads its order as one JSON line, joins everybody, and for each run publishes for some seconds while it notes what the
subscribers received, what the server's process used (``/proc``) and how late the packets came. Prints one JSON line.
One that is ``held`` prints a line before, when everybody receives, and waits for one.
"""

import asyncio
import json
import os
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import uvloop

from rtcloud.client import PeerConfig, Room, connect
from rtcloud.client.native import marked_audio, marked_video
from rtcloud.client.peer import delay_percentile_us
from rtcloud.client.types import KeyframeRequested, Publication

TICKS = os.sysconf("SC_CLK_TCK")
VIDEO_PACKETS, VIDEO_BYTES, FPS = 9, 1100, 30
AUDIO_BYTES, AUDIO_INTERVAL = 120, 0.02
AT_ONCE = 10


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def picture(uneven: bool, *, keyframe: bool, unix_us: int) -> bytes:
    """``uneven``: its packets differ by a byte, as browsers split theirs."""
    if not uneven:
        return marked_video(VIDEO_PACKETS, VIDEO_BYTES, keyframe=keyframe, unix_us=unix_us)
    sizes = [VIDEO_BYTES - index % 2 for index in range(VIDEO_PACKETS)]
    return b"".join(
        marked_video(1, size, keyframe=keyframe and index == 0, unix_us=unix_us) for index, size in enumerate(sizes)
    )


async def send(publication: Publication, kind: str, wants_keyframe: asyncio.Event, uneven: bool) -> None:
    interval = 1 / FPS if kind == "video" else AUDIO_INTERVAL
    began, count = time.monotonic(), 0
    while True:
        unix_us = time.time_ns() // 1000
        if kind == "video":
            keyframe = wants_keyframe.is_set() or count == 0
            wants_keyframe.clear()
            frame = picture(uneven, keyframe=keyframe, unix_us=unix_us)
        else:
            frame = marked_audio(AUDIO_BYTES, unix_us=unix_us)
        publication.write(frame, unix_us)
        count += 1
        await asyncio.sleep(max(0.0, began + count * interval - time.monotonic()))


async def watch(room: Room, wants_keyframe: asyncio.Event) -> None:
    while events := await room.events():
        if any(isinstance(event, KeyframeRequested) for event in events):
            wants_keyframe.set()


async def discard(room: Room) -> None:
    while await room.frames():
        pass


async def run(order: dict[str, Any]) -> dict[str, Any]:
    tokens, kinds, pid = order["tokens"], order["kinds"], order["pid"]
    publishers = order["publishers"]
    async with AsyncExitStack() as stack:
        gate = asyncio.Semaphore(AT_ONCE)

        async def enter(index: int) -> Room:
            subscribes = index >= publishers or order["meeting"]
            config = PeerConfig(count_only=index >= publishers, hold_ms=0)
            async with gate:
                return await connect(order["url"], tokens[index], auto_subscribe=subscribes, config=config)

        rooms = await asyncio.gather(*[enter(index) for index in range(len(tokens))])
        for room in rooms:
            stack.push_async_callback(room.leave)
        aio_tasks = [asyncio.create_task(discard(room)) for room in rooms[:publishers]]
        for room in rooms[:publishers]:
            wants_keyframe = asyncio.Event()
            aio_tasks.append(asyncio.create_task(watch(room, wants_keyframe)))
            for kind in kinds:
                if kind == "video":
                    publication: Publication = await room.publish_video(width=1280, height=720)
                else:
                    publication = await room.publish_audio()
                aio_tasks.append(asyncio.create_task(send(publication, kind, wants_keyframe, order["uneven"])))
        for room in rooms[publishers:]:
            aio_tasks.append(asyncio.create_task(watch(room, asyncio.Event())))
        receivers = rooms if order["meeting"] else rooms[publishers:]
        deadline = time.monotonic() + 20
        while any(room.stats().packets_received == 0 for room in receivers):
            if time.monotonic() > deadline:
                raise RuntimeError("somebody receives nothing")
            await asyncio.sleep(0.2)
        if order["held"]:
            print(json.dumps({"ready": True}), flush=True)
            await asyncio.to_thread(sys.stdin.readline)
        await asyncio.sleep(2)
        runs = [await measure(receivers, pid, order["seconds"]) for _ in range(order["runs"])]
        for task in aio_tasks:
            task.cancel()
    return {"runs": runs}


async def measure(receivers: list[Room], pid: int, seconds: float) -> dict[str, float]:
    before = [room.stats() for room in receivers]
    used, own, began = cpu_seconds(pid), cpu_seconds(os.getpid()), time.monotonic()
    await asyncio.sleep(seconds)
    after = [room.stats() for room in receivers]
    used, own, took = cpu_seconds(pid) - used, cpu_seconds(os.getpid()) - own, time.monotonic() - began
    packets = sum(b.packets_received - a.packets_received for a, b in zip(before, after, strict=True))
    delays = [0] * len(after[0].delays)
    for a, b in zip(before, after, strict=True):
        delays = [total + y - x for total, x, y in zip(delays, a.delays, b.delays, strict=True)]
    return {
        "packets": packets,
        "server_cpu": used,
        "load_cpu": own / took,
        "share": used / took,
        "rate": packets / took,
        **{f"p{share}": delay_percentile_us(delays, share / 100) for share in (50, 95, 99)},
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(run(json.loads(sys.stdin.readline())))))
