"""Actions called as the gateway calls them once a request's signature and permission were checked: the model validates,
the function runs, and whatever code comes out must be one that the action may answer. Accounts are real, in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from rtcloud.accounts.entities import Application, Caller, User
from rtcloud.accounts.sessions import Sessions, caller_of
from rtcloud.accounts.store import Accounts
from rtcloud.actions.context import Call, Services
from rtcloud.actions.registry import ACTIONS
from rtcloud.apimodel.model import Action, Model, load_catalogue
from rtcloud.apimodel.validation import validate
from rtcloud.errors import ServiceError
from rtcloud.store.database import open_database
from rtcloud.store.sealing import Sealer
from rtcloud.watermarks.store import Watermarks
from tests.kit.api import FakeImages, FakeRooms, FakeTasks
from tests.kit.clock import NOW_MS as NOW_MS
from tests.kit.clock import StillClock as StillClock


class World:
    """``mine`` is the first account's administrator, ``app`` its application; ``other`` is a stranger's account."""

    accounts: Accounts
    services: Services
    mine: Caller
    app: Application
    other: Caller
    other_app: Application

    async def call(self, name: str, caller: Caller | None = None, /, **parameters: Any) -> dict[str, Any]:
        """What the action answers."""
        model, action = find(name)
        caller = caller or self.mine
        try:
            accepted = validate(model, action, parameters)
            found = self.accounts.application(accepted["SdkAppId"]) if action.scope == "application" else None
            assert found is None or found.account_uin == caller.account_uin, "the gateway lets no such call pass"
            entry = ACTIONS[name]
            call = Call(action, caller, "id", "", found)
            answer = await entry.run(self.services, call, msgspec.convert(accepted, entry.request))
        except ServiceError as error:
            if not model.may_answer(action, error.code):
                raise AssertionError(f"{name} does not list {error.code}") from error
            raise
        told: dict[str, Any] = msgspec.to_builtins(answer)
        assert set(told) <= set(action.output), name
        return told

    async def refusal(self, name: str, caller: Caller | None = None, /, **parameters: Any) -> str:
        """The code that the action refuses with."""
        try:
            await self.call(name, caller, **parameters)
        except ServiceError as error:
            return error.code
        raise AssertionError(f"{name} was not refused")

    async def user(self, name: str, *policy_ids: int) -> tuple[User, Caller]:
        """Another user of the first account."""
        account = self.mine.account_uin
        user = await self.accounts.create_user(account, name)
        for policy_id in policy_ids:
            await self.accounts.attach_policy(account, policy_id, user_uin=user.uin)
        pair = await self.accounts.create_key_pair(user.uin)
        current = self.accounts.user(user.uin)
        assert current is not None
        return current, caller_of(self.accounts.key_pair(pair.secret_id) or pair)

    def policy(self, *applications: int, action: str = "name/trtc:*", effect: str = "allow") -> str:
        """A document about these applications; of none, about everything."""
        uin = self.mine.account_uin
        resources = [f"qcs::trtc::uin/{uin}:sdkappid/{number}" for number in applications] or ["*"]
        statement = {"effect": effect, "action": [action], "resource": resources}
        return msgspec.json.encode({"version": "2.0", "statement": [statement]}).decode()


def find(name: str) -> tuple[Model, Action]:
    model = next(model for model in load_catalogue().models if name in model.actions)
    return model, model.actions[name]


@asynccontextmanager
async def open_world() -> AsyncIterator[World]:
    world, clock = World(), StillClock()
    database, sealer = open_database(None), Sealer(bytes(32))
    try:
        accounts = world.accounts = await Accounts.load(database, sealer, clock)
        await accounts.ensure_first(NOW_MS)
        world.services = Services(
            rooms=FakeRooms(),
            tasks=FakeTasks(),
            clock=clock,
            accounts=accounts,
            sessions=Sessions(sealer, accounts),
            watermarks=Watermarks(database),
            images=FakeImages(),
        )
        (pair,), (world.app,) = accounts.key_pairs(), accounts.applications()
        world.mine = caller_of(pair)
        stranger = await accounts.create_account("stranger")
        user = await accounts.create_user(stranger.uin, "root")
        world.other = caller_of(await accounts.create_key_pair(user.uin))
        world.other_app = await accounts.create_application(stranger.uin, "theirs")
        yield world
    finally:
        await database.close()
