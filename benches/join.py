"""Join to first decoded frame: from the request to ``/v1/join`` until a picture of somebody in the room is decoded.

A native client on loopback, one after the other, into a room with one publisher (360p H.264, a keyframe on request).
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

import av
import httpx

from benches.figures import Figure, percentile
from rtcloud.client import connect
from tests.kit.browser import RED
from tests.kit.robot import robot
from tests.kit.server import Server

JOINS = 40
BUDGET_MS = 300.0


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server:
        took = sorted(asyncio.run(_measure(server)))
    what = "join to first decoded frame"
    return [
        Figure("join", f"{what}, p50", percentile(took, 0.5), "ms"),
        Figure("join", f"{what}, p95", percentile(took, 0.95), "ms", BUDGET_MS),
    ]


async def _measure(server: Server) -> list[float]:
    async with robot(**server.ticket("publisher", "join")) as publisher:
        await publisher.publish(RED, 440)
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
            return [await _join_once(client, server.join_body(f"viewer_{number}", "join")) for number in range(JOINS)]


async def _join_once(client: httpx.AsyncClient, body: dict[str, Any]) -> float:
    began = time.perf_counter()
    ticket = (await client.post("/v1/join", json=body)).json()
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    async with connect(ticket["url"], ticket["token"]) as room:
        while True:
            for frame in await room.frames():
                if frame.data[:3] in (b"\x00\x00\x00", b"\x00\x00\x01") and decoder.decode(av.Packet(frame.data)):
                    return (time.perf_counter() - began) * 1000
