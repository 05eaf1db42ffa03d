"""Writes what happened, in batches, off the hot path; and deletes what is older than ``keep_days``.

Telling (``event``, ``sample``, ``refused``) is O(1), awaits nothing and never fails: see ``buffer`` for what happens
when there is too much. Events are written every second; a minute of samples every ten seconds and when it is over, so
that a killed server loses so much. A batch is one transaction so small that a join hardly waits for it, and the next
one begins when it is durable: the recorder never has two writes in the database's queue.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from itertools import islice

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from rtcloud.clock import Clock
from rtcloud.stats import retention, store
from rtcloud.stats.buffer import Buffer, Counters, Key
from rtcloud.stats.events import RefusedEntry, UserEvent
from rtcloud.stats.samples import Sample
from rtcloud.store.database import Database, DatabaseClosedError

TICK_SECONDS = 1.0
SAMPLES_EVERY_MS = 10_000
REFUSALS_EVERY_MS = 10_000
EVENTS_AT_ONCE = 200
MINUTES_AT_ONCE = 64
HOUSEKEEPING_SECONDS = 600.0
DAY_MS = 24 * 3_600_000

_log = logging.getLogger(__name__)


class Recorder:
    """``run`` until cancelled; it then writes what is left. ``keep_days`` 0 keeps everything."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        *,
        keep_days: int = 14,
        buffer: Buffer | None = None,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        self._database = database
        self._clock = clock
        self._keep_days = keep_days
        self._buffer = buffer or Buffer()
        self._tick_seconds = tick_seconds
        self._refusals_ms = 0
        self.failing = False
        self.event: Callable[[UserEvent], None] = self._buffer.event
        self.refused: Callable[[RefusedEntry], None] = self._buffer.refused

    @property
    def counters(self) -> Counters:
        return self._buffer.counters

    @property
    def waiting(self) -> tuple[int, int]:
        """(events, minutes) held in memory."""
        return self._buffer.waiting

    def sample(self, presence: str, sample: Sample, peer: str = "") -> None:
        self._buffer.sample(presence, sample, peer)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as parts:
            tidying = parts.create_task(self._keep_house(), name="stats housekeeping")
            writing: asyncio.Task[bool] | None = None
            try:
                is_open = True
                while is_open:
                    await asyncio.sleep(self._tick_seconds)
                    writing = parts.create_task(self._try_to_write(), name="stats writing")
                    is_open = await asyncio.shield(writing)
            except asyncio.CancelledError:
                if writing is not None:  # broken off, it would not be known whether it was written
                    await asyncio.wait([writing])
                await self._try_to_write(everything=True)
                raise
            finally:
                tidying.cancel()

    async def write(self, *, everything: bool = False) -> None:
        """What is due, or all of it."""
        while events := tuple(self._buffer.events(EVENTS_AT_ONCE)):
            taken = await self._put(partial(store.write_events, events=events))
            self._buffer.events_written(len(events), taken=taken)
        now_ms = self._clock.now_ms()
        due = iter(self._buffer.minutes(now_ms, 0 if everything else SAMPLES_EVERY_MS))
        while keys := tuple(islice(due, MINUTES_AT_ONCE)):
            await self._write_minutes(keys, now_ms)
        if everything or now_ms - self._refusals_ms >= REFUSALS_EVERY_MS:
            self._refusals_ms = now_ms
            if refusals := self._buffer.refusals():
                await self._put(partial(store.write_refusals, entries=refusals))
                self._buffer.refusals_written(refusals)

    async def _write_minutes(self, keys: tuple[Key, ...], now_ms: int) -> None:
        rows = self._buffer.packed(keys)
        packed = [(key, blob) for key, blob, _ in rows]
        if packed:
            await self._put(partial(store.write_minutes, minutes=packed))
            self._buffer.minutes_written(rows, now_ms)

    async def _put(self, work: Callable[[Connection], None]) -> bool:
        """False: the database will never take this batch. It is given up, or nothing after it would be written."""
        try:
            await self._database.write(work)
        except (OperationalError, DatabaseClosedError):
            raise
        except Exception:
            _log.exception("a batch of what happened is given up")
            return False
        return True

    async def _try_to_write(self, *, everything: bool = False) -> bool:
        """What could not be written stays, and is tried again. False: the database is closed."""
        try:
            await self.write(everything=everything)
        except DatabaseClosedError:
            return False
        except Exception:
            if not self.failing:  # once, not each second
                _log.exception("what happened cannot be written")
            self.failing = True
        else:
            self.failing = False
        return True

    async def tidy(self) -> None:
        """Delete what is too old."""
        if not self._keep_days:
            return
        deleted = await retention.forget(self._database, self._clock.now_ms() - self._keep_days * DAY_MS)
        if any(deleted.values()):
            _log.info("what was too old is deleted", extra=deleted)

    async def _keep_house(self) -> None:
        while True:
            try:
                await self.tidy()
            except DatabaseClosedError:
                return
            except Exception:
                _log.exception("deleting what is too old failed")
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
