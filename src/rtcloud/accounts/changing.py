"""How anything of the accounts is changed: checked against memory, written, then shown in memory.

Changes go one at a time. One that has begun is finished even if nobody waits for it any more, so that memory and
database stay the same.
"""

import asyncio
import functools
import re
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec

from rtcloud.accounts.entities import Account, AccountsError, Application, User
from rtcloud.accounts.memory import Memory
from rtcloud.accounts.rows import Rows
from rtcloud.aio import spawn
from rtcloud.clock import Clock
from rtcloud.store.database import Database
from rtcloud.store.sealing import Sealer

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound="Changing")
B = TypeVar("B", bound=msgspec.Struct)

_IDENTIFIER = re.compile(r"[A-Za-z0-9+=,.@_-]+")


class Changing:
    def __init__(self, database: Database, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._sealer = sealer
        self._clock = clock
        self._held = Memory()
        self._changing = asyncio.Lock()

    async def _write(self, work: Callable[[Rows], T]) -> T:
        return await self._database.write(lambda connection: work(Rows(connection, self._sealer)))

    def _require_account(self, account_uin: str) -> Account:
        account = self._held.accounts.get(account_uin)
        if account is None:
            raise AccountsError("not_found", "account", f"there is no account {account_uin}")
        return account

    def _is_first(self, account_uin: str) -> bool:
        return account_uin == next(iter(self._held.accounts))

    def _require_user(self, user_uin: str, account_uin: str | None = None) -> User:
        user = self._held.users.get(user_uin)
        if user is None or account_uin not in (None, user.account_uin):
            raise AccountsError("not_found", "user", f"there is no user {user_uin}")
        return user

    def _require_application(self, sdk_app_id: int) -> Application:
        application = self._held.applications.get(sdk_app_id)
        if application is None:
            raise AccountsError("not_found", "application", f"there is no application {sdk_app_id}")
        return application


def change(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """For a method that changes something. It runs alone, and to its end."""

    @functools.wraps(method)
    async def changed(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def alone() -> tuple[T, None] | tuple[None, AccountsError]:
            async with self._changing:
                try:
                    return await method(self, *args, **kwargs), None
                except AccountsError as refusal:
                    return None, refusal

        result, refusal = await asyncio.shield(spawn(alone(), name=method.__name__))
        if refusal is not None:
            raise refusal
        return result  # type: ignore[return-value]  # of the pair, one is None

    return changed


def checked_settings(subject: str, settings: B) -> B:
    """Built in code, a struct does not check its own bounds; one out of bounds could never be read again."""
    try:
        return msgspec.convert(msgspec.to_builtins(settings), type(settings))
    except msgspec.ValidationError as error:
        raise AccountsError("invalid", subject, f"settings: {error}") from error


def check_name(subject: str, name: str, longest: int = 64) -> None:
    """A name for people: of an account or an application."""
    if not 1 <= len(name) <= longest or not name.isprintable() or name != name.strip():
        raise AccountsError("invalid", subject, f"name: 1 to {longest} printable characters, no space at either end")


def check_identifier(subject: str, name: str, longest: int) -> None:
    """A name that policies and requests spell: of a user, a policy or a role."""
    if len(name) > longest or _IDENTIFIER.fullmatch(name) is None:
        raise AccountsError("invalid", subject, f"name: 1 to {longest} letters, digits and +=,.@_-")


def check_description(subject: str, description: str) -> None:
    if len(description) > 300 or not all(letter.isprintable() or letter == "\n" for letter in description):
        raise AccountsError("invalid", subject, "description: at most 300 printable characters")


def check_quota(subject: str, count: int, most: int, where: str) -> None:
    if count >= most:
        raise AccountsError("limit", subject, f"{where} already has {most}, which is the most")
