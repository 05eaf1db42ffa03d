"""Callbacks: events delivered per CPU-second of the sender to a fast receiver, and what a long backlog costs.

The sender runs in a process of its own with a database file; the receiver, here, answers at once. A backlog is
100,000 events of 10,000 rooms that a dead receiver leaves: how long one look at the outbox takes with it and with a
hundredth of it, and what the sender's memory grows by.
"""

import asyncio
import json
import multiprocessing
import os
import resource
import tempfile
import time
from multiprocessing.connection import Connection as Pipe
from pathlib import Path

import uvloop
from sqlalchemy import Connection, insert

from benches.figures import Figure
from rtcloud.callbacks import outbox
from rtcloud.callbacks.sender import Sender
from rtcloud.callbacks.targets import set_targets
from rtcloud.clock import SystemClock
from rtcloud.store import tables
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import SqliteDatabase, open_database
from rtcloud.store.sealing import Sealer

EVENTS = int(os.environ.get("BENCH_CALLBACKS", "20000"))
BACKLOG, BACKLOG_ROOMS = 100_000, 10_000
ROOMS = 500
LOOKS = 50
SECONDS = 15
APP = 1400
SEALER = Sealer(bytes(32))
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"code":0}'


def run() -> list[Figure]:
    per_second, per_cpu_second = _in_process(_deliver)
    short_ms, _ = _in_process(_look, BACKLOG // 100, BACKLOG_ROOMS // 100)
    long_ms, grown_mib = _in_process(_look, BACKLOG, BACKLOG_ROOMS)
    return [
        Figure("callbacks", "events delivered per CPU-second of the sender", per_cpu_second, "events"),
        Figure("callbacks", "events delivered per second to one receiver", per_second, "events"),
        Figure("callbacks", "one look at the outbox, 1,000 events waiting", short_ms, "ms"),
        Figure("callbacks", "one look at the outbox, 100,000 events waiting", long_ms, "ms"),
        Figure("callbacks", "memory of the sender with them, and a dead receiver", grown_mib, "MiB"),
    ]


def _in_process(measure: object, *arguments: int) -> tuple[float, float]:
    """A fresh process for each, so that one's memory is not the other's."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_run, args=(theirs, measure, *arguments))
    process.start()
    theirs.close()
    try:
        first, second = ours.recv()
    finally:
        process.join()
    return float(first), float(second)


def _run(pipe: Pipe, measure: object, *arguments: int) -> None:
    assert callable(measure)
    pipe.send(uvloop.run(measure(*arguments)))


class _Receiver(asyncio.Protocol):
    """As little as a receiver can do, so that its CPU time, which is counted with the sender's, is small."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"}}"):
            self.transport.write(ANSWER)  # type: ignore[attr-defined]


async def _deliver() -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        server = await asyncio.get_running_loop().create_server(_Receiver, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        database = open_database(Path(folder) / "rtcloud.db")
        await _fill(database, f"http://127.0.0.1:{port}/", EVENTS, ROOMS)
        began, cpu_began = time.perf_counter(), time.process_time()
        async with Sender(database, SEALER, LocalBus(), SystemClock()) as sender:
            running = asyncio.create_task(sender.run())
            async with asyncio.timeout(300):
                while sender.counters.delivered < EVENTS:
                    await asyncio.sleep(0.05)
            took, cpu = time.perf_counter() - began, time.process_time() - cpu_began
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        assert sender.counters.failed_attempts == 0
        await database.close()
        server.close()
    return EVENTS / took, EVENTS / cpu


async def _look(events: int, rooms: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(Path(folder) / "rtcloud.db")
        await _fill(database, "http://127.0.0.1:9/", events, rooms)
        now_ms = SystemClock().now_ms()
        began = time.perf_counter()
        for _ in range(LOOKS):
            assert len(await database.read(lambda connection: outbox.due(connection, now_ms, 256, otherwise=2))) == 2
        took_ms = (time.perf_counter() - began) * 1000 / LOOKS
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        async with Sender(database, SEALER, LocalBus(), SystemClock()) as sender:
            running = asyncio.create_task(sender.run())
            await asyncio.sleep(SECONDS)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        await database.close()
    return took_ms, grown_mib


async def _fill(database: SqliteDatabase, url: str, events: int, rooms: int) -> None:
    now_ms = SystemClock().now_ms()

    def prepare(connection: Connection) -> None:
        connection.execute(insert(tables.accounts).values(uin="1", created_ms=1))
        values = {"account_uin": "1", "name": "", "secret_key_sealed": b"", "settings": "{}", "created_ms": 1}
        connection.execute(insert(tables.applications).values(sdk_app_id=APP, **values))
        set_targets(connection, SEALER, APP, url=url, key="0123456789abcdef0123456789abcdef")

    def some(connection: Connection, first: int, last: int) -> None:
        connection.execute(
            insert(tables.callbacks),
            [_row(number, number % rooms, number < rooms, now_ms) for number in range(first, last)],
        )

    await database.write(prepare)
    for first in range(0, events, 5_000):
        last = min(first + 5_000, events)
        await database.write(lambda connection: some(connection, first, last))  # noqa: B023 called at once


def _row(number: int, room: int, head: bool, now_ms: int) -> dict[str, object]:
    info = {"RoomId": room, "EventTs": now_ms // 1000, "EventMsTs": now_ms, "UserId": f"user{number}"}
    return {
        "sdk_app_id": APP,
        "ordering": f"{APP}/n/{room}",
        "event_group": 2,
        "event_type": 201,
        "event_info": json.dumps(info, separators=(",", ":")),
        "created_ms": now_ms,
        "retries_from_ms": now_ms,
        "state": "pending",
        "head": head,
        "attempts": 0,
        "next_attempt_ms": now_ms,
        "last_error": "",
    }
