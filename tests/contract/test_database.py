"""What every ``Database`` does: the file and its twin in memory. What only a file can do is below."""

import asyncio
import multiprocessing
import sqlite3
import threading
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from rtcloud.errors import ConfigError
from rtcloud.store import migrating
from rtcloud.store.database import Database, DatabaseClosedError, SqliteDatabase, open_database
from rtcloud.store.tables import accounts, metadata, users

pytestmark = pytest.mark.contract

Scenario = Callable[[Database], Coroutine[Any, Any, None]]
Run = Callable[[Scenario], None]


@pytest.fixture(params=["file", "memory"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    def go(scenario: Scenario) -> None:
        async def opened() -> None:
            database = open_database(tmp_path / "rtcloud.db" if request.param == "file" else None)
            try:
                await scenario(database)
            finally:
                await database.close()

        asyncio.run(opened())

    return go


def add(uin: str) -> Callable[[Connection], str]:
    def work(connection: Connection) -> str:
        connection.execute(insert(accounts).values(uin=uin, created_ms=1))
        return uin

    return work


def count(connection: Connection) -> int:
    return connection.execute(select(func.count()).select_from(accounts)).scalar_one()


def test_a_write_returns_its_result_and_is_read(run: Run) -> None:
    async def scenario(database: Database) -> None:
        assert await database.write(add("1")) == "1"
        assert await database.read(count) == 1

    run(scenario)


def test_a_failing_work_rolls_back_alone(run: Run) -> None:
    def half(connection: Connection) -> None:
        add("half")(connection)
        raise LookupError("no")

    async def scenario(database: Database) -> None:
        results = await asyncio.gather(
            database.write(add("1")), database.write(half), database.write(add("2")), return_exceptions=True
        )
        assert results[0] == "1"
        assert isinstance(results[1], LookupError)
        assert results[2] == "2"
        assert await database.read(count) == 2

    run(scenario)


def test_foreign_keys_hold(run: Run) -> None:
    def orphan(connection: Connection) -> None:
        connection.execute(insert(users).values(uin="u", account_uin="nobody", name=""))

    async def scenario(database: Database) -> None:
        with pytest.raises(IntegrityError):
            await database.write(orphan)

    run(scenario)


def test_writes_happen_in_the_order_they_were_asked(run: Run) -> None:
    seen: list[int] = []

    async def scenario(database: Database) -> None:
        await asyncio.gather(*(database.write(lambda _, n=n: seen.append(n)) for n in range(500)))  # type: ignore[misc]
        assert seen == list(range(500))

    run(scenario)


def test_more_writes_than_the_queue_holds_wait_their_turn(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(database: Database) -> None:
        await asyncio.gather(*(database.write(add(str(n))) for n in range(3000)))
        assert await database.read(count) == 3000

    run(scenario)


def test_a_cancelled_write_that_has_not_begun_is_not_made(run: Run) -> None:
    async def scenario(database: Database) -> None:
        gate = threading.Event()
        blocked = asyncio.ensure_future(database.write(lambda _: gate.wait(10)))
        given_up = asyncio.ensure_future(database.write(add("1")))
        await asyncio.sleep(0)
        given_up.cancel()
        await asyncio.sleep(0)
        gate.set()
        assert await blocked
        assert await database.read(count) == 0

    run(scenario)


def test_a_closed_database_finishes_what_it_accepted_and_refuses_the_rest(run: Run) -> None:
    async def scenario(database: Database) -> None:
        accepted = asyncio.ensure_future(database.write(add("1")))
        await asyncio.sleep(0)
        await database.close()
        assert await accepted == "1"
        with pytest.raises(DatabaseClosedError):
            await database.write(add("2"))
        with pytest.raises(DatabaseClosedError):
            await database.read(count)

    run(scenario)


def test_waiting_writes_share_a_commit(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = open_database(tmp_path / "rtcloud.db")
        commits = 0

        def count_commits(_: object) -> None:
            nonlocal commits
            commits += 1

        from sqlalchemy import event

        event.listen(database._writer_engine, "commit", count_commits)
        await asyncio.gather(*(database.write(add(str(n))) for n in range(100)))
        assert commits <= 20
        await database.close()

    asyncio.run(scenario())


def test_what_was_written_survives_reopening(tmp_path: Path) -> None:
    async def scenario() -> None:
        for expected in (1, 2):
            database = open_database(tmp_path / "rtcloud.db")
            await database.write(add(str(expected)))
            assert await database.read(count) == expected
            await database.close()

    asyncio.run(scenario())


def test_the_file_is_write_ahead_logged_and_synced(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = open_database(tmp_path / "rtcloud.db")

        def pragmas(connection: Connection) -> list[Any]:
            names = ("journal_mode", "synchronous", "busy_timeout", "foreign_keys")
            return [connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in names]

        for access in (database.read, database.write):
            assert await access(pragmas) == ["wal", 2, 5000, 1]
        await database.close()

    asyncio.run(scenario())


def test_a_reader_does_not_wait_for_a_writer(tmp_path: Path) -> None:
    async def scenario() -> None:
        database = open_database(tmp_path / "rtcloud.db")
        gate = threading.Event()
        writing = asyncio.ensure_future(database.write(lambda _: gate.wait(10)))
        assert await asyncio.wait_for(database.read(count), 5) == 0
        gate.set()
        await writing
        await database.close()

    asyncio.run(scenario())


def test_a_full_disk_fails_the_write_and_the_next_one_works(tmp_path: Path) -> None:
    def limited(pages: int) -> Callable[[Connection], None]:
        return lambda connection: connection.exec_driver_sql(f"PRAGMA max_page_count={pages}").close()

    def big(connection: Connection) -> None:
        connection.execute(insert(accounts).values(uin="x" * 5_000_000, created_ms=1))

    async def scenario() -> None:
        database = open_database(tmp_path / "rtcloud.db")
        await database.write(limited(100))
        with pytest.raises(Exception, match="full"):
            await database.write(big)
        await database.write(limited(100_000))
        await database.write(add("1"))
        assert await database.read(count) == 1
        await database.close()

    asyncio.run(scenario())


def _write_many(path: Path, name: str) -> None:
    async def scenario() -> None:
        database = open_database(path)
        for n in range(100):
            await database.write(add(f"{name}{n}"))
        await database.close()

    asyncio.run(scenario())


def test_processes_share_a_new_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    path = tmp_path / "rtcloud.db"
    processes = [context.Process(target=_write_many, args=(path, name)) for name in ("a", "b")]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    with sqlite3.connect(path) as connection:
        assert connection.execute("select count(*) from accounts").fetchone() == (200,)
    connection.close()


def test_a_lock_held_by_another_process_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "rtcloud.db"

    async def scenario() -> None:
        database = open_database(path)
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        threading.Timer(0.3, lambda: other.execute("COMMIT")).start()
        began = time.monotonic()
        await database.write(add("1"))
        assert time.monotonic() - began >= 0.25
        other.close()
        await database.close()

    asyncio.run(scenario())


def test_the_migrations_make_exactly_the_tables(tmp_path: Path) -> None:
    migrating.migrate(tmp_path / "rtcloud.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'rtcloud.db'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_a_file_of_a_newer_version_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "rtcloud.db"
    migrating.migrate(path)
    with sqlite3.connect(path) as connection:
        connection.execute("update alembic_version set version_num = '9999'")
    connection.close()
    with pytest.raises(ConfigError, match="newer version"):
        open_database(path)


def test_the_twin_is_the_same_class() -> None:
    async def scenario() -> None:
        database = open_database(None)
        assert isinstance(database, SqliteDatabase)
        await database.write(lambda connection: connection.execute(update(accounts).values(created_ms=2)))
        await database.close()

    asyncio.run(scenario())


def test_a_database_is_its_owners_alone_whatever_the_directory_is(tmp_path: Path) -> None:
    path = tmp_path / "open" / "rtcloud.db"
    path.parent.mkdir(mode=0o755)
    migrating.migrate(path)
    assert path.stat().st_mode & 0o777 == 0o600
