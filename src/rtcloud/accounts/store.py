"""Accounts in memory, and the one path that changes them.

Every lookup is answered from memory: a signed call or a join waits for no database. A change is written first and
shows in memory only after its commit, so that what is answered is durable. Another process on the same data directory
(a worker) sees changes at ``reload``.
"""

import asyncio
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from sqlalchemy import Connection, insert, select

from rtcloud.accounts.entities import (
    Application,
    ApplicationSettings,
    Credentials,
    KeyPair,
    UnknownApplicationError,
    User,
    new_sdk_app_id,
    new_sdk_secret_key,
    new_secret_id,
    new_secret_key,
    new_uin,
)
from rtcloud.accounts.policies import FULL_ACCESS
from rtcloud.callbacks.targets import GROUPS, Target, list_targets, remove_targets, set_targets
from rtcloud.store import tables
from rtcloud.store.database import Database
from rtcloud.store.sealing import Sealer

#: What each kind of secret is sealed for.
KEY_PAIR_PURPOSE = "secret_keys.secret_key"
APPLICATION_PURPOSE = "applications.secret_key"


@dataclass(slots=True)
class _Held:
    """Everything in memory; replaced as a whole by ``reload``."""

    accounts: list[str] = field(default_factory=list)  # oldest first
    users: dict[str, User] = field(default_factory=dict)
    key_pairs: dict[str, KeyPair] = field(default_factory=dict)
    applications: dict[int, Application] = field(default_factory=dict)


class Accounts:
    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._held = _Held()
        self._changing = asyncio.Lock()

    @classmethod
    async def load(cls, database: Database, sealer: Sealer) -> "Accounts":
        accounts = cls(database, sealer)
        await accounts.reload()
        return accounts

    async def reload(self) -> None:
        """Take over what other processes changed."""
        async with self._changing:
            self._held = await self._database.read(self._read)

    # Lookups ------------------------------------------------------------------------------------------------------

    def key_pair(self, secret_id: str) -> KeyPair | None:
        return self._held.key_pairs.get(secret_id)

    def application(self, sdk_app_id: int) -> Application | None:
        return self._held.applications.get(sdk_app_id)

    def applications(self) -> list[Application]:
        return list(self._held.applications.values())

    def sdk_secret_key(self, sdk_app_id: int) -> str | None:
        """Of an application, if there is one: what ``tokens.verify_join_token`` asks for."""
        application = self._held.applications.get(sdk_app_id)
        return application.secret_key if application else None

    def credentials(self, endpoint: str) -> Credentials:
        """Of the first account, for ``DIR/credentials.json``."""
        held = self._held
        account = held.accounts[0]
        pair = next(p for p in held.key_pairs.values() if p.user.account_uin == account)
        application = next(a for a in held.applications.values() if a.account_uin == account)
        return Credentials(
            account, pair.secret_id, pair.secret_key, application.sdk_app_id, application.secret_key, endpoint
        )

    # Changes ------------------------------------------------------------------------------------------------------

    async def ensure_first(self, now_ms: int) -> bool:
        """Make an account, a user with full access, a key pair and an application, unless there is an account."""
        if self._held.accounts:
            return False
        account, user_uin = new_uin(), new_uin()
        user = User(user_uin, account, "administrator", (FULL_ACCESS,))
        pair = KeyPair(new_secret_id(), new_secret_key(), user)
        application = Application(new_sdk_app_id(), account, "default", new_sdk_secret_key())

        def work(connection: Connection) -> bool:
            if connection.execute(select(tables.accounts.c.uin).limit(1)).first() is not None:
                return False  # another process was first
            connection.execute(insert(tables.accounts).values(uin=account, created_ms=now_ms))
            self._insert_user(connection, user)
            self._insert_key_pair(connection, pair, now_ms)
            self._insert_application(connection, application, now_ms)
            return True

        made = await self._database.write(work)
        await self.reload()
        return made

    async def set_callbacks(self, sdk_app_id: int, *, url: str, key: str = "", groups: Iterable[int] = GROUPS) -> None:
        """Send the events of ``groups`` to ``url``, signed with ``key``. Raises ``callbacks.targets.TargetError``."""
        self._require(sdk_app_id)
        wanted = list(groups)
        await self._database.write(
            lambda connection: set_targets(connection, self._sealer, sdk_app_id, url=url, key=key, groups=wanted)
        )

    async def clear_callbacks(self, sdk_app_id: int, *, groups: Iterable[int] = GROUPS) -> None:
        """Send the events of ``groups`` to nobody."""
        self._require(sdk_app_id)
        wanted = list(groups)
        await self._database.write(lambda connection: remove_targets(connection, sdk_app_id, groups=wanted))

    async def callbacks(self, sdk_app_id: int) -> list[Target]:
        self._require(sdk_app_id)
        return await self._database.read(lambda connection: list_targets(connection, sdk_app_id))

    def _require(self, sdk_app_id: int) -> Application:
        application = self._held.applications.get(sdk_app_id)
        if application is None:
            raise UnknownApplicationError(sdk_app_id)
        return application

    # Rows ---------------------------------------------------------------------------------------------------------

    def _insert_user(self, connection: Connection, user: User) -> None:
        policies = msgspec.json.encode(user.policies).decode()
        connection.execute(
            insert(tables.users).values(uin=user.uin, account_uin=user.account_uin, name=user.name, policies=policies)
        )

    def _insert_key_pair(self, connection: Connection, pair: KeyPair, now_ms: int) -> None:
        connection.execute(
            insert(tables.secret_keys).values(
                secret_id=pair.secret_id,
                user_uin=pair.user.uin,
                secret_key_sealed=self._sealer.seal(pair.secret_key.encode(), purpose=KEY_PAIR_PURPOSE),
                enabled=pair.enabled,
                created_ms=now_ms,
            )
        )

    def _insert_application(self, connection: Connection, application: Application, now_ms: int) -> None:
        connection.execute(
            insert(tables.applications).values(
                sdk_app_id=application.sdk_app_id,
                account_uin=application.account_uin,
                name=application.name,
                secret_key_sealed=self._sealer.seal(application.secret_key.encode(), purpose=APPLICATION_PURPOSE),
                settings=msgspec.json.encode(application.settings).decode(),
                created_ms=now_ms,
            )
        )

    def _read(self, connection: Connection) -> _Held:
        held = _Held()
        accounts = tables.accounts
        held.accounts = list(
            connection.execute(select(accounts.c.uin).order_by(accounts.c.created_ms, accounts.c.uin)).scalars()
        )
        for row in connection.execute(select(tables.users)):
            policies = msgspec.json.decode(row.policies, type=tuple[str, ...])
            held.users[row.uin] = User(row.uin, row.account_uin, row.name, policies)
        for row in connection.execute(select(tables.secret_keys).order_by(tables.secret_keys.c.created_ms)):
            key = self._sealer.open(row.secret_key_sealed, purpose=KEY_PAIR_PURPOSE).decode()
            held.key_pairs[row.secret_id] = KeyPair(row.secret_id, key, held.users[row.user_uin], row.enabled)
        for row in connection.execute(select(tables.applications).order_by(tables.applications.c.created_ms)):
            key = self._sealer.open(row.secret_key_sealed, purpose=APPLICATION_PURPOSE).decode()
            settings = msgspec.json.decode(row.settings, type=ApplicationSettings)
            held.applications[row.sdk_app_id] = Application(row.sdk_app_id, row.account_uin, row.name, key, settings)
        return held


def write_credentials(path: Path, credentials: Credentials) -> None:
    """Replace ``path`` with the credentials, readable by the owner alone; never seen half written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(credentials), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
