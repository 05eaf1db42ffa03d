"""Accounts in memory, and the one path that changes them.

Every lookup is answered from memory: a signed call or a join waits for no database. A change is written first and
shows in memory only after its commit, so that what is answered is durable. Another process on the same data directory
(a worker) sees changes at ``reload``. The changes themselves are beside: of accounts, users and key pairs in
``identities``, of policies and roles in ``permissions``, of applications in ``applications``.
"""

import os
from pathlib import Path

import msgspec

from rtcloud.accounts.applications import ApplicationChanges
from rtcloud.accounts.entities import (
    Account,
    Application,
    Credentials,
    KeyPair,
    Policy,
    Role,
    User,
    new_sdk_app_id,
    new_sdk_secret_key,
    new_secret_id,
    new_secret_key,
    new_uin,
)
from rtcloud.accounts.identities import IdentityChanges
from rtcloud.accounts.memory import PRESET_POLICIES
from rtcloud.accounts.permissions import PermissionChanges
from rtcloud.accounts.policies import ADMINISTRATOR_ACCESS, FULL_ACCESS, PRESETS
from rtcloud.accounts.rows import Rows
from rtcloud.clock import Clock
from rtcloud.store.database import Database
from rtcloud.store.sealing import Sealer


class Accounts(IdentityChanges, PermissionChanges, ApplicationChanges):
    @classmethod
    async def load(cls, database: Database, sealer: Sealer, clock: Clock) -> "Accounts":
        accounts = cls(database, sealer, clock)
        await accounts.reload()
        return accounts

    async def reload(self) -> None:
        """Take over what other processes changed."""
        async with self._changing:
            self._held = await self._database.read(lambda connection: Rows(connection, self._sealer).read())

    async def ensure_first(self, now_ms: int) -> bool:
        """Make an account, a user who may do everything, a key pair and an application, unless there is an account."""
        if self._held.accounts:
            return False
        account = Account(new_uin(), "default", created_ms=now_ms)
        policies = tuple(PRESET_POLICIES[PRESETS[name].policy_id] for name in (FULL_ACCESS, ADMINISTRATOR_ACCESS))
        user = User(new_uin(), account.uin, "administrator", policies, now_ms)
        pair = KeyPair(new_secret_id(), new_secret_key(), user, created_ms=now_ms)
        application = Application(new_sdk_app_id(), account.uin, "default", new_sdk_secret_key(), created_ms=now_ms)

        def work(rows: Rows) -> bool:
            if rows.has_accounts():
                return False  # another process was first
            rows.insert_account(account)
            rows.insert_user(user)
            rows.insert_key_pair(pair)
            rows.insert_application(application)
            return True

        made = await self._write(work)
        await self.reload()
        return made

    # Lookups ------------------------------------------------------------------------------------------------------

    def accounts(self) -> list[Account]:
        return list(self._held.accounts.values())

    def account(self, uin: str) -> Account | None:
        return self._held.accounts.get(uin)

    def user(self, uin: str) -> User | None:
        return self._held.users.get(uin)

    def users(self, account_uin: str | None = None) -> list[User]:
        held = self._held
        return list(held.users.values() if account_uin is None else held.owned(account_uin).users.values())

    def key_pair(self, secret_id: str) -> KeyPair | None:
        return self._held.key_pairs.get(secret_id)

    def key_pairs(self, user_uin: str | None = None) -> list[KeyPair]:
        return list(self._held.key_pairs.values()) if user_uin is None else self._held.pairs_of(user_uin)

    def policy(self, policy_id: int) -> Policy | None:
        return self._held.policies.get(policy_id)

    def policies(self, account_uin: str) -> list[Policy]:
        """The presets first, then the account's own."""
        return [*PRESET_POLICIES.values(), *self._held.owned(account_uin).policies.values()]

    def role(self, account_uin: str, name: str) -> Role | None:
        return self._held.owned(account_uin).roles.get(name)

    def roles(self, account_uin: str) -> list[Role]:
        return list(self._held.owned(account_uin).roles.values())

    def application(self, sdk_app_id: int) -> Application | None:
        return self._held.applications.get(sdk_app_id)

    def applications(self, account_uin: str | None = None) -> list[Application]:
        held = self._held
        return list(
            held.applications.values() if account_uin is None else held.owned(account_uin).applications.values()
        )

    def sdk_secret_keys(self, sdk_app_id: int) -> tuple[str, ...]:
        """The keys that are good now, the present one first; none if there is no such application."""
        application = self._held.applications.get(sdk_app_id)
        return application.secret_keys(self._clock.now_ms()) if application else ()

    def credentials(self, endpoint: str) -> Credentials:
        """Of the first account and its first user, for ``DIR/credentials.json``. Without a key pair that is empty."""
        account = next(iter(self._held.accounts))
        user = next(iter(self._held.owned(account).users), "")
        pair = next((pair for pair in self._held.pairs_of(user) if pair.enabled), None)
        application = next(iter(self._held.owned(account).applications.values()))
        return Credentials(
            account_uin=account,
            secret_id=pair.secret_id if pair else "",
            secret_key=pair.secret_key if pair else "",
            sdk_app_id=application.sdk_app_id,
            sdk_secret_key=application.secret_key,
            endpoint=endpoint,
        )


def write_credentials(path: Path, credentials: Credentials) -> None:
    """Replace ``path`` with the credentials, readable by the owner alone; never seen half written."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(credentials), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
