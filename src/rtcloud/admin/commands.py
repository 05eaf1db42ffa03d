"""The operator's commands: each a struct of its arguments and what it does. The same code serves both ways in.

A running server keeps keys, policies and settings in memory, so it alone changes them; without one, ``admin/local.py``
opens the data directory under the server's lock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from rtcloud.accounts.entities import UnknownApplicationError
from rtcloud.accounts.store import Accounts
from rtcloud.accounts.usersig import DEFAULT_EXPIRE_S, make_user_sig
from rtcloud.callbacks import outbox
from rtcloud.callbacks.targets import GROUPS, TargetError
from rtcloud.clock import Clock
from rtcloud.store.bus import Bus
from rtcloud.store.database import Database


class AdminError(Exception):
    """What was asked cannot be done; the message says why."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the commands work on."""

    accounts: Accounts
    database: Database
    bus: Bus
    clock: Clock
    #: (sdk_app_id, numeric, room_id, users) of the open rooms; empty when no server runs
    rooms: Callable[[], Sequence[dict[str, Any]]] = tuple


class Applications(msgspec.Struct, tag="applications", kw_only=True):
    """The applications and their names."""

    async def run(self, site: Site) -> object:
        return [{"sdk_app_id": a.sdk_app_id, "name": a.name} for a in site.accounts.applications()]


class UserSig(msgspec.Struct, tag="usersig", kw_only=True):
    """A UserSig for one user."""

    sdk_app_id: int
    user_id: str
    expire: int = DEFAULT_EXPIRE_S

    async def run(self, site: Site) -> object:
        secret = site.accounts.sdk_secret_key(self.sdk_app_id)
        if secret is None:
            raise AdminError(f"there is no application {self.sdk_app_id}")
        if not 1 <= self.expire <= 10 * DEFAULT_EXPIRE_S:
            raise AdminError("expire: 1 second to 1800 days")
        made = make_user_sig(self.sdk_app_id, secret, self.user_id, now_ms=site.clock.now_ms(), expire_s=self.expire)
        return {"sdk_app_id": self.sdk_app_id, "user_id": self.user_id, "user_sig": made, "expire": self.expire}


class CallbacksSet(msgspec.Struct, tag="callbacks.set", kw_only=True):
    """Send an application's events to an address."""

    sdk_app_id: int
    url: str
    key: str = ""
    groups: tuple[int, ...] = GROUPS

    async def run(self, site: Site) -> object:
        await site.accounts.set_callbacks(self.sdk_app_id, url=self.url, key=self.key, groups=self.groups)
        return {"sdk_app_id": self.sdk_app_id, "url": self.url, "groups": sorted(set(self.groups))}


class CallbacksClear(msgspec.Struct, tag="callbacks.clear", kw_only=True):
    """Send an application's events to nobody."""

    sdk_app_id: int
    groups: tuple[int, ...] = GROUPS

    async def run(self, site: Site) -> object:
        await site.accounts.clear_callbacks(self.sdk_app_id, groups=self.groups)
        return {"sdk_app_id": self.sdk_app_id, "groups": sorted(set(self.groups))}


class CallbacksList(msgspec.Struct, tag="callbacks.list", kw_only=True):
    """Where an application's events go, and how many wait or are parked."""

    sdk_app_id: int

    async def run(self, site: Site) -> object:
        app = self.sdk_app_id
        targets = await site.accounts.callbacks(app)
        counts = await site.database.read(lambda connection: outbox.count_by_state(connection, app))
        return {"targets": [{"group": t.group, "url": t.url} for t in targets], "events": counts}


class CallbacksParked(msgspec.Struct, tag="callbacks.parked", kw_only=True):
    """Events whose minute of retries passed."""

    sdk_app_id: int | None = None

    async def run(self, site: Site) -> object:
        app = self.sdk_app_id
        return await site.database.read(lambda connection: outbox.list_parked(connection, app))


class CallbacksReplay(msgspec.Struct, tag="callbacks.replay", kw_only=True):
    """Deliver parked events after all."""

    sdk_app_id: int | None = None
    ids: list[int] | None = None

    async def run(self, site: Site) -> object:
        app, ids, now_ms = self.sdk_app_id, self.ids, site.clock.now_ms()
        count = await site.database.write(lambda connection: outbox.replay(connection, now_ms, sdk_app_id=app, ids=ids))
        site.bus.publish(outbox.TOPIC)
        return {"replayed": count}


class Rooms(msgspec.Struct, tag="rooms", kw_only=True):
    """The rooms that are open now, and who is in them."""

    async def run(self, site: Site) -> object:
        return list(site.rooms())


AnyCommand = (
    Applications | UserSig | CallbacksSet | CallbacksClear | CallbacksList | CallbacksParked | CallbacksReplay | Rooms
)
_decoder = msgspec.json.Decoder(AnyCommand)


def decode(raw: bytes) -> AnyCommand:
    try:
        command: AnyCommand = _decoder.decode(raw)
        return command
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise AdminError(str(error)) from error


async def perform(command: AnyCommand, site: Site) -> object:
    """The command's result as plain data. Raises AdminError."""
    try:
        return msgspec.to_builtins(await command.run(site))
    except (UnknownApplicationError, TargetError) as error:
        raise AdminError(str(error)) from error
