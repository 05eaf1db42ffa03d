"""Changes of accounts, users and their key pairs."""

import ipaddress
from dataclasses import replace

from rtcloud.accounts.changing import Changing, change, check_identifier, check_name, check_quota, checked_settings
from rtcloud.accounts.entities import (
    KEY_PAIRS_PER_USER,
    USERS_PER_ACCOUNT,
    Account,
    AccountsError,
    AccountSettings,
    KeyPair,
    User,
    new_secret_id,
    new_secret_key,
    new_uin,
)
from rtcloud.accounts.rows import Rows

MAX_NETWORKS = 100


class IdentityChanges(Changing):
    @change
    async def create_account(self, name: str) -> Account:
        check_name("account", name)
        account = Account(self._unused_uin(), name, created_ms=self._clock.now_ms())
        await self._write(lambda rows: rows.insert_account(account))
        self._held.put_account(account)
        return account

    @change
    async def update_account(
        self, uin: str, *, name: str | None = None, settings: AccountSettings | None = None
    ) -> Account:
        account = self._require_account(uin)
        if name is not None:
            check_name("account", name)
            account = replace(account, name=name)
        if settings is not None:
            _check_networks(settings)
            account = replace(account, settings=checked_settings("account", settings))
        await self._write(lambda rows: rows.update_account(account))
        self._held.put_account(account)
        return account

    @change
    async def delete_account(self, uin: str) -> None:
        """With its policies and roles. Its users and applications have to go one by one before; and the first account,
        whose keys ``credentials.json`` shows, stays."""
        account = self._require_account(uin)
        if self._is_first(uin):
            raise AccountsError("in_use", "account", "the first account, which the server was started with, stays")
        owned = self._held.owned(uin)
        if owned.users or owned.applications:
            raise AccountsError("in_use", "account", "the account still has users or applications; delete them first")
        await self._write(lambda rows: rows.delete_account(uin))
        self._held.drop_account(account)

    @change
    async def create_user(self, account_uin: str, name: str) -> User:
        """A user without policies, who may do nothing yet."""
        self._require_account(account_uin)
        check_identifier("user", name, 64)
        others = self._held.owned(account_uin).users.values()
        if any(other.name == name for other in others):
            raise AccountsError("in_use", "user", f"the account already has a user {name}")
        check_quota("user", len(others), USERS_PER_ACCOUNT, "the account")
        user = User(self._unused_uin(), account_uin, name, created_ms=self._clock.now_ms())
        await self._write(lambda rows: rows.insert_user(user))
        self._held.put_user(user)
        return user

    @change
    async def delete_user(self, uin: str) -> None:
        """With its key pairs, which sign nothing from then on. Roles no longer trust it."""
        user = self._require_user(uin)
        trusting = [
            replace(role, trusted=tuple(each for each in role.trusted if each != uin))
            for role in self._held.owned(user.account_uin).roles.values()
            if uin in role.trusted
        ]

        def work(rows: Rows) -> None:
            for role in trusting:
                rows.update_role(role)
            rows.delete_user(user)

        await self._write(work)
        for role in trusting:
            self._held.put_role(role)
        self._held.drop_user(user)

    @change
    async def create_key_pair(self, user_uin: str) -> KeyPair:
        user = self._require_user(user_uin)
        check_quota("key", len(self._held.pairs_of(user_uin)), KEY_PAIRS_PER_USER, "the user")
        pair = KeyPair(new_secret_id(), new_secret_key(), user, created_ms=self._clock.now_ms())
        await self._write(lambda rows: rows.insert_key_pair(pair))
        self._held.put_key_pair(pair)
        return pair

    @change
    async def enable_key_pair(self, secret_id: str, enabled: bool) -> KeyPair:
        pair = replace(self._require_key_pair(secret_id), enabled=enabled)
        await self._write(lambda rows: rows.enable_key_pair(secret_id, enabled))
        self._held.put_key_pair(pair)
        return pair

    @change
    async def delete_key_pair(self, secret_id: str) -> None:
        pair = self._require_key_pair(secret_id)
        await self._write(lambda rows: rows.delete_key_pair(secret_id))
        self._held.drop_key_pair(pair)

    def _require_key_pair(self, secret_id: str) -> KeyPair:
        pair = self._held.key_pairs.get(secret_id)
        if pair is None:
            raise AccountsError("not_found", "key", f"there is no key {secret_id}")
        return pair

    def _unused_uin(self) -> str:
        while (uin := new_uin()) in self._held.accounts or uin in self._held.users:
            pass
        return uin


def _check_networks(settings: AccountSettings) -> None:
    for setting in ("allowed_networks", "denied_networks"):
        networks = getattr(settings, setting)
        if len(networks) > MAX_NETWORKS:
            raise AccountsError("limit", "account", f"{setting}: at most {MAX_NETWORKS}")
        for network in networks:
            try:
                ipaddress.ip_network(network)
            except ValueError as error:
                raise AccountsError("invalid", "account", f"{setting}: {error}") from error
