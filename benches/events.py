"""What remembering costs: a thousand participants, a quality sample of each every two seconds and an event now and
then, through the recorder into a real database file; and what others' writes wait meanwhile.

Time is turned by hand, so the minutes run as fast as the machine takes them; the CPU is that of the whole process, so
making the samples is in it. For the waiting the recorder runs in real time, and small writes like those of a join come
beside it, first without and then with it.
"""

import asyncio
import os
import random
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import uvloop
from sqlalchemy import Connection, func, insert, select

from benches.figures import Figure, percentile
from rtcloud.clock import SystemClock
from rtcloud.rooms.ids import RoomRef
from rtcloud.stats.events import EventId, UserEvent
from rtcloud.stats.recorder import Recorder
from rtcloud.stats.samples import MINUTE_MS, Sample
from rtcloud.store import tables
from rtcloud.store.database import SqliteDatabase, open_database

PARTICIPANTS = int(os.environ.get("BENCH_PARTICIPANTS", "1000"))
MINUTES = int(os.environ.get("BENCH_MINUTES", "10"))
WRITES = int(os.environ.get("BENCH_WRITES", "600"))
EVENTS_PER_HOUR = 60  # of one participant: many
REF = RoomRef(1400000001, True, "1")


@dataclass
class HandClock:
    ms: int = 28_333_333 * MINUTE_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        kept = uvloop.run(_keep(Path(folder) / "kept.db"))
        alone, beside = uvloop.run(_wait(Path(folder) / "waiting.db"))
    return [
        *kept,
        Figure("events", "write like a join's, alone, p50", percentile(alone, 0.5), "ms"),
        Figure("events", "write like a join's, alone, p95", percentile(alone, 0.95), "ms"),
        Figure("events", "write like a join's, beside the recorder, p50", percentile(beside, 0.5), "ms"),
        Figure("events", "write like a join's, beside the recorder, p95", percentile(beside, 0.95), "ms"),
    ]


async def _keep(path: Path) -> list[Figure]:
    chance, clock = random.Random(7), HandClock()
    database = open_database(path)
    recorder = Recorder(database, clock)
    empty = await _size(database)
    began, cpu = time.monotonic(), time.process_time()
    for _ in range(MINUTES * 30):
        clock.ms += 2000
        for n in range(PARTICIPANTS):
            recorder.sample(f"PA_{n:018x}", _sample(chance, clock.ms))
        for _event in range(PARTICIPANTS * 2 * EVENTS_PER_HOUR // 3600):
            who = f"PA_{chance.randrange(PARTICIPANTS):018x}"
            recorder.event(UserEvent(who, clock.ms, EventId.AUDIO_MUTED))
        await recorder.write()
    await recorder.write(everything=True)
    cpu, took = time.process_time() - cpu, time.monotonic() - began
    grown = await _size(database) - empty
    samples, rows = await database.read(_sample_bytes), await database.read(_rows)
    await database.close()
    hours = MINUTES / 60
    return [
        Figure("events", "core for 1,000 participants", cpu / (MINUTES * 60) * 1000 / PARTICIPANTS * 100, "%"),
        Figure("events", "samples written", PARTICIPANTS * MINUTES * 30 / took, "/s"),
        Figure("events", "rows for 1,000 participants", rows / (MINUTES * 60) * 1000 / PARTICIPANTS, "/s"),
        Figure("events", "packed samples per participant-hour", samples / 1024 / PARTICIPANTS / hours, "KiB"),
        Figure("events", "database growth per participant-hour", grown / 1024 / PARTICIPANTS / hours, "KiB"),
    ]


async def _wait(path: Path) -> tuple[list[float], list[float]]:
    chance = random.Random(7)
    database = open_database(path)
    await database.write(_room)
    alone = await _writes(database, "alone")
    recorder = Recorder(database, SystemClock())
    recording = asyncio.create_task(recorder.run())
    feeding = asyncio.create_task(_feed(recorder, chance))
    await asyncio.sleep(2)
    beside = await _writes(database, "beside")
    for task in (feeding, recording):
        task.cancel()
    await asyncio.gather(feeding, recording, return_exceptions=True)
    await database.close()
    return alone, beside


async def _feed(recorder: Recorder, chance: random.Random) -> None:
    """As the media node tells it: in small batches all over the two seconds."""
    clock, batch = SystemClock(), 20
    while True:
        for start in range(0, PARTICIPANTS, batch):
            now_ms = clock.now_ms()
            for n in range(start, min(start + batch, PARTICIPANTS)):
                recorder.sample(f"PA_{n:018x}", _sample(chance, now_ms))
            recorder.event(UserEvent(f"PA_{start:018x}", now_ms, EventId.AUDIO_MUTED))
            await asyncio.sleep(2 * batch / PARTICIPANTS)


async def _writes(database: SqliteDatabase, name: str) -> list[float]:
    """Fifty a second, the stated rate of a crowd that comes in."""
    waited = []
    for n in range(WRITES):
        began = time.perf_counter()
        await database.write(lambda connection: _join(connection, f"PA_{name}{n}"))  # noqa: B023
        waited.append((time.perf_counter() - began) * 1000)
        await asyncio.sleep(max(0.0, 0.02 - (time.perf_counter() - began)))
    return waited


def _room(connection: Connection) -> None:
    ref = {"sdk_app_id": REF.sdk_app_id, "numeric": REF.numeric, "room_id": REF.room_id}
    connection.execute(insert(tables.rooms).values(id="RM_1", created_ms=1, **ref))


def _join(connection: Connection, presence: str) -> None:
    connection.execute(
        insert(tables.presences).values(
            id=presence, room="RM_1", user_id=presence, role=20, user_type=1, terminal_type=1, joined_ms=1
        )
    )


def _rows(connection: Connection) -> int:
    counted = (select(func.count()).select_from(table) for table in (tables.user_events, tables.quality_minutes))
    return sum(connection.execute(statement).scalar_one() for statement in counted)


def _sample_bytes(connection: Connection) -> int:
    return int(connection.execute(select(func.sum(func.length(tables.quality_minutes.c.samples)))).scalar_one())


async def _size(database: SqliteDatabase) -> int:
    def pages(connection: Connection) -> int:
        return int(connection.exec_driver_sql("PRAGMA page_count").scalar_one())

    return await database.read(pages) * 4096


def _sample(chance: random.Random, at_ms: int) -> Sample:
    """A call of today: all that the media node tells, and it is never the same twice."""
    return Sample(
        at_ms,
        uplink_loss=chance.choice((0.0, 0.0, 0.0, 0.004, 0.012)),
        downlink_loss=chance.choice((0.0, 0.0, 0.002, 0.02)),
        rtt_ms=chance.gauss(45, 8),
        uplink_bitrate=max(0, int(chance.gauss(1_500_000, 150_000))),
        downlink_bitrate=max(0, int(chance.gauss(4_000_000, 400_000))),
        video_width=1280,
        video_height=720,
    )
