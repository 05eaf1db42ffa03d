"""The database's one writer and its readers.

``write(work)`` runs ``work(connection)`` inside a transaction that began with ``BEGIN IMMEDIATE`` and returns its
result only after the commit is durable. Pending writes are committed in groups (≤ 20 ms), each work in a savepoint
of its own: one that raises rolls back alone. ``work`` is a plain function: it can await nothing, so a transaction
never waits for anything but the database.

A group is closed when nothing more is waiting or after 20 ms, so a lone write waits for no timer and a crowd shares
one sync to disk. The writer queue is bounded: when it is full ``write`` waits its turn. Several processes may open the
same file; each waits up to 5 s for the others' transactions.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import QueuePool, StaticPool

from rtcloud.clock import Clock, SystemClock
from rtcloud.errors import ConfigError
from rtcloud.store.tables import metadata

T = TypeVar("T")

GROUP_SECONDS = 0.020
GROUP_WORKS = 256
QUEUE_WORKS = 2048
BUSY_MS = 5_000
READERS = 4


class Database(Protocol):
    async def write(self, work: Callable[[Connection], T]) -> T: ...

    async def read(self, work: Callable[[Connection], T]) -> T: ...

    async def close(self) -> None: ...


class DatabaseClosedError(Exception):
    """The program is shutting down; nothing was written."""


def open_database(path: Path | None, *, clock: Clock | None = None) -> "SqliteDatabase":
    """Open (and bring up to date) the database file at ``path``; ``None`` is a private one in memory."""
    from rtcloud.store import migrating  # imports us

    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            migrating.migrate(path)
        except (DatabaseError, OSError) as error:
            reason = error.orig if isinstance(error, DatabaseError) else error.strerror
            raise ConfigError(f"{path}: {reason}") from error
    return SqliteDatabase(path, clock or SystemClock())


@dataclass(slots=True)
class _Pending:
    work: Callable[[Connection], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    result: Any = None
    error: BaseException | None = None


class SqliteDatabase:
    """SQLite in WAL mode: one writer thread, a few reader threads. In memory, the writer's thread also reads."""

    def __init__(self, path: Path | None, clock: Clock) -> None:
        self._clock = clock
        self._in_memory = path is None
        self._queue: queue.Queue[_Pending | None] = queue.Queue()
        self._slots = asyncio.Semaphore(QUEUE_WORKS)
        self._closed = False
        self._writer_engine = _engine(path, begin="BEGIN IMMEDIATE", size=1)
        self._reader_engine = self._writer_engine if path is None else _engine(path, begin="BEGIN", size=READERS)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="database-reader")
        if path is None:
            metadata.create_all(self._writer_engine)
        self._thread = threading.Thread(target=self._write_forever, name="database-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Callable[[Connection], T]) -> T:
        await self._slots.acquire()
        if self._closed:
            self._slots.release()
            raise DatabaseClosedError
        loop = asyncio.get_running_loop()
        pending = _Pending(work, loop.create_future(), loop)
        self._queue.put(pending)
        result: T = await pending.future
        return result

    async def read(self, work: Callable[[Connection], T]) -> T:
        if self._in_memory:
            return await self.write(work)
        if self._closed:
            raise DatabaseClosedError
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._read, work)

    async def close(self) -> None:
        """Finish what was accepted, then close every connection. Later calls raise."""
        if self._closed:
            return
        self._closed = True
        self._queue.put(None)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._thread.join)
        await loop.run_in_executor(None, self._readers.shutdown)
        self._writer_engine.dispose()
        self._reader_engine.dispose()

    def _read(self, work: Callable[[Connection], T]) -> T:
        with self._reader_engine.connect() as connection:
            return work(connection)

    def _write_forever(self) -> None:
        closing = False
        while not closing:
            group: list[_Pending] = []
            try:
                closing = self._write_group(group)
            except BaseException as error:
                for pending in group:
                    pending.error = pending.error or error
            self._deliver(group)

    def _write_group(self, group: list[_Pending]) -> bool:
        """Wait for a work, run it and what follows it in one transaction. True when closing was asked."""
        pending = self._queue.get()
        if pending is None:
            return True
        group.append(pending)
        with self._writer_engine.begin() as connection:
            until = self._clock.monotonic() + GROUP_SECONDS
            while True:
                self._run(pending, connection)
                if len(group) >= GROUP_WORKS or self._clock.monotonic() >= until:
                    return False
                try:
                    pending = self._queue.get_nowait()
                except queue.Empty:
                    return False
                if pending is None:
                    return True
                group.append(pending)

    @staticmethod
    def _run(pending: _Pending, connection: Connection) -> None:
        if pending.future.cancelled():
            return
        savepoint = connection.begin_nested()
        try:
            pending.result = pending.work(connection)
        except BaseException as error:
            pending.error = error
            savepoint.rollback()
        else:
            savepoint.commit()

    def _deliver(self, group: list[_Pending]) -> None:
        loops = {id(pending.loop): pending.loop for pending in group}
        for key, loop in loops.items():
            mine = [pending for pending in group if id(pending.loop) == key]
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(self._settle, mine)

    def _settle(self, group: list[_Pending]) -> None:
        for pending in group:
            self._slots.release()
            if pending.future.done():
                continue
            if pending.error is not None:
                pending.future.set_exception(pending.error)
            else:
                pending.future.set_result(pending.result)


def _engine(path: Path | None, *, begin: str, size: int) -> Engine:
    engine = create_engine(
        "sqlite://" if path is None else f"sqlite:///{path}",
        hide_parameters=True,  # errors are logged, and rows hold names and addresses of people
        poolclass=StaticPool if path is None else QueuePool,
        connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000},
        **({} if path is None else {"pool_size": size, "max_overflow": 0}),
    )

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun by us, below, never by the driver
        for pragma in (f"busy_timeout={BUSY_MS}", "journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine
