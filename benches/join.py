"""From asking to join to the first decoded frame of somebody who already publishes: ``/v1/join``, signalling, ICE,
DTLS, the keyframe, the decoder. One joiner after the other on loopback, so far apart that each causes a keyframe.
"""

import asyncio
import os
import tempfile
import time
from pathlib import Path

import av
import uvloop

from benches.figures import Figure, percentile
from rtcloud.client import Connecting, Room, join
from rtcloud.client.types import KeyframeRequested
from tests.kit.robot import VideoMaker
from tests.kit.server import Server

JOINS = int(os.environ.get("BENCH_JOINS", "40"))
BUDGET_MS = 300.0
APART_S = 0.5


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        entered, decoded = uvloop.run(_measure(server))
    return [
        Figure("join", "join to media connected, p50", percentile(entered, 0.5), "ms"),
        Figure("join", "join to media connected, p95", percentile(entered, 0.95), "ms"),
        Figure("join", "join to first decoded frame, p50", percentile(decoded, 0.5), "ms"),
        Figure("join", "join to first decoded frame, p95", percentile(decoded, 0.95), "ms", BUDGET_MS),
    ]


async def _measure(server: Server) -> tuple[list[float], list[float]]:
    entered: list[float] = []
    decoded: list[float] = []
    async with _enter(server, "publisher") as publisher:
        publishing = asyncio.create_task(_publish(publisher))
        try:
            await asyncio.sleep(1)
            for index in range(JOINS):
                signature = server.user_sig(f"joiner{index}")
                began = time.perf_counter()
                async with _enter(server, f"joiner{index}", signature) as room:
                    entered.append((time.perf_counter() - began) * 1000)
                    await _first_picture(room)
                    decoded.append((time.perf_counter() - began) * 1000)
                await asyncio.sleep(APART_S)
        finally:
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
    return entered, decoded


def _enter(server: Server, user_id: str, signature: str | None = None) -> Connecting:
    return join(server.url, server.sdk_app_id, user_id, signature or server.user_sig(user_id), room_id=1)


async def _first_picture(room: Room) -> None:
    decoder = av.CodecContext.create("h264", "r")
    while True:
        for frame in await room.frames():
            if decoder.decode(av.Packet(frame.data)):  # type: ignore[attr-defined]
                return


async def _publish(room: Room) -> None:
    publication = await room.publish_video(width=1280, height=720)
    maker = VideoMaker("#207040", width=1280, height=720)
    wants_keyframe = asyncio.Event()

    async def watch() -> None:
        while events := await room.events():
            if any(isinstance(event, KeyframeRequested) for event in events):
                wants_keyframe.set()

    watching = asyncio.create_task(watch())
    try:
        while True:
            keyframe = wants_keyframe.is_set()
            wants_keyframe.clear()
            data = await asyncio.to_thread(maker.frame, keyframe)
            publication.write(data, time.time_ns() // 1000)
            await asyncio.sleep(1 / 30)
    finally:
        watching.cancel()
