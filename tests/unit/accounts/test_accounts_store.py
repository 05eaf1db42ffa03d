"""Accounts: the first start, what is sealed, callbacks, what another process sees."""

import asyncio
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import select

from rtcloud.accounts.entities import AccountsError, Credentials
from rtcloud.accounts.store import Accounts, write_credentials
from rtcloud.callbacks.targets import TargetError
from rtcloud.clock import SystemClock
from rtcloud.store import tables
from rtcloud.store.database import Database, open_database
from rtcloud.store.sealing import Sealer

SEALER = Sealer(bytes(range(32)))


def run(scenario: Callable[[Database], Coroutine[Any, Any, None]]) -> None:
    async def opened() -> None:
        database = open_database(None)
        try:
            await scenario(database)
        finally:
            await database.close()

    asyncio.run(opened())


def test_first_start_makes_one_of_each_and_only_once() -> None:
    async def scenario(database: Database) -> None:
        accounts = await Accounts.load(database, SEALER, SystemClock())
        assert await accounts.ensure_first(1)
        assert not await accounts.ensure_first(2)
        first = accounts.credentials("http://127.0.0.1:8080")
        pair = accounts.key_pair(first.secret_id)
        assert pair is not None
        assert pair.secret_key == first.secret_key
        assert [policy.name for policy in pair.user.policies] == ["QcloudTRTCFullAccess", "AdministratorAccess"]
        assert pair.user.account_uin == first.account_uin
        application = accounts.application(first.sdk_app_id)
        assert application is not None
        assert accounts.sdk_secret_keys(first.sdk_app_id) == (first.sdk_secret_key,) == (application.secret_key,)
        assert accounts.sdk_secret_keys(1) == ()
        assert accounts.application(1) is None
        assert accounts.key_pair("AKID") is None
        assert application.settings.concurrent_recordings == 100
        other = await Accounts.load(database, SEALER, SystemClock())
        assert not await other.ensure_first(3)
        assert other.credentials(first.endpoint) == first

    run(scenario)


def test_secrets_are_sealed_and_not_shown() -> None:
    async def scenario(database: Database) -> None:
        accounts = await Accounts.load(database, SEALER, SystemClock())
        await accounts.ensure_first(1)
        first = accounts.credentials("")
        rows = await database.read(
            lambda c: [
                *c.execute(select(tables.secret_keys.c.secret_key_sealed)).scalars(),
                *c.execute(select(tables.applications.c.secret_key_sealed)).scalars(),
            ]
        )
        assert len(rows) == 2
        for sealed in rows:
            assert first.secret_key.encode() not in sealed
            assert first.sdk_secret_key.encode() not in sealed
        shown = repr(accounts.key_pair(first.secret_id)) + repr(accounts.application(first.sdk_app_id))
        assert first.secret_key not in shown
        assert first.sdk_secret_key not in shown

    run(scenario)


def test_callbacks_are_set_and_cleared_for_known_applications() -> None:
    async def scenario(database: Database) -> None:
        accounts = await Accounts.load(database, SEALER, SystemClock())
        await accounts.ensure_first(1)
        app = accounts.applications()[0].sdk_app_id
        await accounts.set_callbacks(app, url="http://example.com/a", key="K1")
        await accounts.set_callbacks(app, url="http://example.com/b", key="", groups=[3])
        wanted = [(1, "a"), (2, "a"), (3, "b"), (4, "a"), (7, "a")]
        assert [(t.group, t.url[-1]) for t in await accounts.callbacks(app)] == wanted
        await accounts.clear_callbacks(app, groups=[1])
        assert [t.group for t in await accounts.callbacks(app)] == [2, 3, 4, 7]
        with pytest.raises(AccountsError, match="no application 5"):
            await accounts.set_callbacks(5, url="http://example.com", key="K")
        with pytest.raises(TargetError):
            await accounts.set_callbacks(app, url="ftp://example.com", key="K")

    run(scenario)


def test_reload_sees_what_another_process_made() -> None:
    async def scenario(database: Database) -> None:
        here, there = (
            await Accounts.load(database, SEALER, SystemClock()),
            await Accounts.load(database, SEALER, SystemClock()),
        )
        await there.ensure_first(1)
        assert here.applications() == []
        await here.reload()
        assert here.applications() == there.applications()

    run(scenario)


def test_credentials_file_is_private_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    for endpoint in ("http://a", "http://b"):
        credentials = Credentials("1", "AKID", "key", 1400, "hex", endpoint)
        write_credentials(path, credentials)
        assert msgspec.json.decode(path.read_bytes(), type=Credentials) == credentials
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["credentials.json"]
