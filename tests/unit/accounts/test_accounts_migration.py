"""A data directory of the first tables, brought up to date: who could do what can do it still."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine

from rtcloud.accounts.entities import AccountSettings, ApplicationSettings
from rtcloud.accounts.rows import APPLICATION_PURPOSE, KEY_PAIR_PURPOSE
from rtcloud.accounts.store import Accounts
from rtcloud.clock import SystemClock
from rtcloud.store import migrating
from rtcloud.store.database import open_database
from rtcloud.store.sealing import Sealer

SEALER = Sealer(bytes(range(32)))


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """As version 0001 left it, with a second and a third user."""
    path = tmp_path / "rtcloud.db"
    engine = create_engine(f"sqlite:///{path}")
    with engine.connect() as connection:
        config = Config()
        config.set_main_option("script_location", str(migrating.SCRIPTS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()
    database = sqlite3.connect(path)
    with database:
        database.execute("INSERT INTO accounts VALUES ('100000000001', 5)")
        users = [
            ("100000000009", "administrator", '["QcloudTRTCFullAccess"]'),
            ("100000000002", "reader", '["QcloudTRTCReadonlyAccess", "QcloudCVMFullAccess"]'),
            ("100000000003", "nobody", "[]"),
        ]
        for uin, name, policies in users:
            database.execute("INSERT INTO users VALUES (?, '100000000001', ?, ?)", (uin, name, policies))
        key = SEALER.seal(b"the key", purpose=KEY_PAIR_PURPOSE)
        database.execute("INSERT INTO secret_keys VALUES ('AKIDx', '100000000009', ?, 1, 6)", (key,))
        sdk_key = SEALER.seal(b"the sdk key", purpose=APPLICATION_PURPOSE)
        database.execute(
            "INSERT INTO applications VALUES (1400000000, '100000000001', 'default', ?, ?, 7)",
            (sdk_key, '{"concurrent_recordings":7}'),
        )
        database.execute("INSERT INTO callback_targets VALUES (1400000000, 1, 'http://example.com', x'00')")
    database.close()
    return path


def test_users_keep_their_policies_and_the_oldest_becomes_administrator(old: Path) -> None:
    async def scenario() -> None:
        database = open_database(old)
        accounts = await Accounts.load(database, SEALER, SystemClock())
        assert not await accounts.ensure_first(9)
        (account,) = accounts.accounts()
        assert (account.uin, account.name, account.settings, account.created_ms) == (
            "100000000001",
            "default",
            AccountSettings(),
            5,
        )
        held = {user.name: [policy.name for policy in user.policies] for user in accounts.users()}
        assert held == {
            "administrator": ["QcloudTRTCFullAccess", "AdministratorAccess"],
            "reader": ["QcloudTRTCReadonlyAccess"],
            "nobody": [],
        }
        assert {user.created_ms for user in accounts.users()} == {5}
        first = accounts.credentials("")
        assert (first.secret_id, first.secret_key, first.sdk_secret_key) == ("AKIDx", "the key", "the sdk key")
        (application,) = accounts.applications()
        assert application.settings == ApplicationSettings(concurrent_recordings=7)
        assert application.secret_keys(0) == ("the sdk key",)
        assert [target.url for target in await accounts.callbacks(1400000000)] == ["http://example.com"]
        await accounts.create_key_pair(accounts.users()[0].uin)
        await accounts.create_policy(
            account.uin, "p", '{"version":"2.0","statement":{"effect":"allow","action":"*","resource":"*"}}'
        )
        await accounts.attach_policy(account.uin, 1001, user_uin="100000000003")
        await database.close()

    asyncio.run(scenario())
    asyncio.run(_again(old))


async def _again(path: Path) -> None:
    """Up to date already, it opens as it is."""
    database = open_database(path)
    accounts = await Accounts.load(database, SEALER, SystemClock())
    user = accounts.user("100000000003")
    assert user is not None
    assert [policy.policy_id for policy in user.policies] == [1001]
    await database.close()


def test_a_step_that_fails_leaves_the_tables_as_they_were(old: Path) -> None:
    database = sqlite3.connect(old)
    with database:
        database.execute("UPDATE users SET policies = 'not JSON' WHERE name = 'nobody'")
    before = list(database.iterdump())
    with pytest.raises(ValueError, match="Expecting value"):
        migrating.migrate(old)
    assert list(database.iterdump()) == before
    database.close()
