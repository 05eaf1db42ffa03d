"""Who signs: permanent and temporary keys, what a session may do, and what ends it."""

import asyncio
import base64
import json
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.accounts import sessions as sessions_module
from rtcloud.accounts.authentication import Keyring, SigningKey
from rtcloud.accounts.entities import AccountsError, Role
from rtcloud.accounts.policies import Document, application_resource, parse_document
from rtcloud.accounts.sessions import MAX_TOKEN, PURPOSE, Sessions, TemporaryCredentials
from rtcloud.accounts.store import Accounts
from rtcloud.clock import SystemClock
from rtcloud.errors import ServiceError
from rtcloud.store.database import open_database
from rtcloud.store.sealing import Sealer

SEALER = Sealer(bytes(range(32)))
NOW = 1_700_000_000_000
DISMISS, REMOVE = "name/trtc:DismissRoom", "name/trtc:RemoveUser"


class World:
    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        self.sessions = Sessions(SEALER, accounts)
        self.keyring = Keyring(accounts, self.sessions)
        self.account = accounts.accounts()[0].uin
        self.user = accounts.users()[0]
        self.pair = accounts.key_pairs()[0]
        self.one, self.two = accounts.applications()[0].sdk_app_id, 7

    def caller(self) -> SigningKey:
        return self.keyring.find(self.pair.secret_id, None, NOW)

    def policy(self, action: object, resource: object = "*", effect: str = "allow") -> Document:
        statement = {"effect": effect, "action": action, "resource": resource}
        text = json.dumps({"version": "2.0", "statement": [statement]}, indent=2)
        return parse_document(text, account_uin=self.account)

    def only_one(self) -> Document:
        return self.policy("trtc:*", f"qcs::trtc:::sdkappid/{self.one}")

    def federate(
        self, policy: Document | None = None, duration_s: int = 60, by: SigningKey | None = None, now_ms: int = NOW
    ) -> TemporaryCredentials:
        caller = (by or self.caller()).caller
        return self.sessions.federate(caller, name="fed", policy=policy, duration_s=duration_s, now_ms=now_ms)

    def assume(self, role: Role, policy: Document | None = None, by: SigningKey | None = None) -> TemporaryCredentials:
        caller = (by or self.caller()).caller
        return self.sessions.assume(caller, role, session_name="s", policy=policy, duration_s=60, now_ms=NOW)

    def open(self, made: TemporaryCredentials, now_ms: int = NOW) -> SigningKey:
        return self.keyring.find(made.secret_id, made.token, now_ms)

    def may(self, key: SigningKey, action: str, app: int) -> bool:
        return key.caller.may(action, application_resource(self.account, app))

    def refused(self, secret_id: str, token: str | None, code: str, now_ms: int = NOW) -> str:
        with pytest.raises(ServiceError) as caught:
            self.keyring.find(secret_id, token, now_ms)
        assert caught.value.code == f"AuthFailure.{code}"
        return caught.value.message


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def opened() -> None:
        database = open_database(None)
        try:
            accounts = await Accounts.load(database, SEALER, SystemClock())
            await accounts.ensure_first(NOW)
            await scenario(World(accounts))
        finally:
            await database.close()

    asyncio.run(opened())


def test_a_permanent_key_is_its_users() -> None:
    async def scenario(world: World) -> None:
        key = world.caller()
        assert key.secret_key == world.pair.secret_key
        assert key.secret_key not in repr(key)
        caller = key.caller
        assert (caller.account_uin, caller.user_uin, caller.name) == (world.account, world.user.uin, "administrator")
        assert caller.arn == f"qcs::cam::uin/{world.account}:uin/{world.user.uin}"
        assert not caller.temporary
        assert caller.may("name/cam:CreatePolicy", "*")
        other = await world.accounts.create_user(world.account, "other")
        pair = await world.accounts.create_key_pair(other.uin)
        assert not world.may(world.keyring.find(pair.secret_id, "", NOW), DISMISS, world.one)
        await world.accounts.attach_policy(world.account, 1, user_uin=other.uin)
        assert world.may(world.keyring.find(pair.secret_id, None, NOW), DISMISS, world.one)

    run(scenario)


def test_secret_ids_that_sign_nothing() -> None:
    async def scenario(world: World) -> None:
        for strange in ("", "AKID", "x" * 36, "AKID" + "x" * 500, "AKIDäöü" + "x" * 30, "AKID" + "x" * 20 + "\n"):
            world.refused(strange, None, "InvalidSecretId")
            world.refused(strange, "token", "InvalidSecretId")
        world.refused("AKID" + "x" * 32, None, "SecretIdNotFound")
        world.refused("AKID" + "x" * 60, None, "TokenFailure")
        world.refused(world.pair.secret_id, "token", "TokenFailure")
        await world.accounts.enable_key_pair(world.pair.secret_id, False)
        assert "disabled" in world.refused(world.pair.secret_id, None, "SecretIdNotFound")

    run(scenario)


def test_a_federated_key_may_what_its_maker_may_and_its_policy_allows() -> None:
    async def scenario(world: World) -> None:
        made = world.federate(world.only_one())
        assert len(made.secret_id) == 64
        assert len(made.token) <= MAX_TOKEN
        assert made.expires_ms == NOW + 60_000
        assert made.secret_key not in repr(made)
        key = world.open(made)
        assert key.secret_key == made.secret_key
        assert key.caller.temporary
        assert key.caller.name == "fed"
        assert key.caller.arn == f"qcs::sts::uin/{world.account}:federated-user/{world.user.uin}"
        assert world.may(key, DISMISS, world.one)
        assert not world.may(key, DISMISS, world.two)
        assert not key.caller.may("name/cam:CreatePolicy", "*")
        assert world.may(world.open(world.federate()), DISMISS, world.two)
        # the maker loses a right, and so does what it made
        deny = '{"version":"2.0","statement":{"effect":"deny","action":"trtc:DismissRoom","resource":"*"}}'
        policy = await world.accounts.create_policy(world.account, "deny", deny)
        await world.accounts.attach_policy(world.account, policy.policy_id, user_uin=world.user.uin)
        assert not world.may(world.open(made), DISMISS, world.one)
        assert world.may(world.open(made), REMOVE, world.one)

    run(scenario)


def test_a_session_of_a_session_is_narrower_and_ends_no_later() -> None:
    async def scenario(world: World) -> None:
        first = world.open(world.federate(world.only_one(), duration_s=60))
        second = world.federate(world.policy("trtc:DismissRoom"), duration_s=3600, by=first, now_ms=NOW + 1000)
        assert second.expires_ms == NOW + 60_000
        key = world.open(second)
        assert world.may(key, DISMISS, world.one)
        assert not world.may(key, DISMISS, world.two)
        assert not world.may(key, REMOVE, world.one)
        third = world.open(world.federate(world.policy("*"), by=key))
        assert not world.may(third, REMOVE, world.one)

    run(scenario)


def test_an_assumed_role_has_the_roles_rights_instead() -> None:
    async def scenario(world: World) -> None:
        role = await world.accounts.create_role(world.account, "reader", ["*"])
        key = world.open(world.assume(role))
        assert key.caller.name == "s"
        assert key.caller.arn == f"qcs::sts::uin/{world.account}:assumed-role/reader/s"
        assert not world.may(key, REMOVE, world.one)
        await world.accounts.attach_policy(world.account, 1, role="reader")
        key = world.open(world.assume(role))
        assert world.may(key, REMOVE, world.two)
        assert not key.caller.may("name/cam:CreatePolicy", "*")
        assert not world.may(world.open(world.assume(role, world.only_one())), REMOVE, world.two)
        # what narrows who assumes it narrows the role too: otherwise a role would be a way out
        narrowed = world.open(world.federate(world.only_one()))
        assert not world.may(world.open(world.assume(role, by=narrowed)), REMOVE, world.two)
        # a role's session hands on the role's rights, not its user's
        inner = world.open(world.federate(world.policy("*"), by=key))
        assert world.may(inner, REMOVE, world.two)
        assert not inner.caller.may("name/cam:CreatePolicy", "*")

    run(scenario)


def test_a_session_ends_with_what_it_stands_on() -> None:
    async def scenario(world: World) -> None:
        accounts = world.accounts
        user = await accounts.create_user(world.account, "other")
        role = await accounts.create_role(world.account, "r", ["*"])
        pair = await accounts.create_key_pair(user.uin)
        signer = world.keyring.find(pair.secret_id, None, NOW)
        federated, assumed = world.federate(by=signer), world.assume(role, by=signer)
        world.open(federated, NOW + 59_999)
        for late in (NOW + 60_000, NOW + 10**12):
            assert "expired" in world.refused(federated.secret_id, federated.token, "TokenFailure", late)
        await accounts.enable_key_pair(pair.secret_id, False)
        assert "disabled" in world.refused(federated.secret_id, federated.token, "TokenFailure")
        await accounts.enable_key_pair(pair.secret_id, True)
        world.open(federated)
        stale = world.open(assumed)
        inner = world.federate(by=stale)
        await accounts.delete_role(world.account, "r")
        for made in (assumed, inner):
            assert "role" in world.refused(made.secret_id, made.token, "TokenFailure")
        with pytest.raises(AccountsError, match="no role r"):
            world.federate(by=stale)
        await accounts.delete_user(user.uin)
        assert "deleted" in world.refused(federated.secret_id, federated.token, "TokenFailure")

    run(scenario)


def test_another_role_of_the_same_name_is_another_role() -> None:
    class Clock(SystemClock):
        ms = NOW

        def now_ms(self) -> int:
            self.ms += 1
            return self.ms

    async def scenario() -> None:
        database = open_database(None)
        accounts = await Accounts.load(database, SEALER, Clock())
        await accounts.ensure_first(NOW)
        world = World(accounts)
        made = world.assume(await accounts.create_role(world.account, "r", ["*"]))
        await accounts.delete_role(world.account, "r")
        await accounts.create_role(world.account, "r", ["*"])
        world.refused(made.secret_id, made.token, "TokenFailure")
        await database.close()

    asyncio.run(scenario())


def test_tokens_that_open_nothing() -> None:
    async def scenario(world: World) -> None:
        made, other = world.federate(), world.federate()
        world.refused(other.secret_id, made.token, "TokenFailure")
        for token in (made.token[:-1], made.token + "A", "A" * len(made.token), "§", "\ud800", "x" * (MAX_TOKEN + 1)):
            world.refused(made.secret_id, token, "TokenFailure")
        elsewhere = SEALER.seal(b"{}", purpose="another")
        world.refused(made.secret_id, base64.urlsafe_b64encode(elsewhere).decode(), "TokenFailure")
        foreign = Sealer(bytes(32)).seal(b"{}", purpose=PURPOSE)
        world.refused(made.secret_id, base64.urlsafe_b64encode(foreign).decode(), "TokenFailure")
        world.open(made)

    run(scenario)


def test_policies_too_long_for_a_token_are_refused() -> None:
    async def scenario(world: World) -> None:
        chance = random.Random(7)

        def narrowed(key: SigningKey, times: int) -> SigningKey:
            for _ in range(times):
                numbers = [f"qcs::trtc:::sdkappid/{chance.randrange(10**9, 2 * 10**9)}" for _ in range(120)]
                key = world.open(world.federate(world.policy("trtc:*", numbers), by=key))
            return key

        deep = narrowed(world.caller(), 3)
        with pytest.raises(AccountsError, match="over 4096 bytes") as caught:
            narrowed(deep, 6)
        assert (caught.value.kind, caught.value.subject) == ("limit", "session")

    run(scenario)


def test_policies_that_pack_well_are_bounded_too() -> None:
    """Three hundred of them fit into a token, and everybody who shows it would have them parsed."""

    async def scenario(world: World) -> None:
        same = world.policy("trtc:*", [f"qcs::trtc:::sdkappid/{world.one}"] * 100)
        key = world.caller()
        for _ in range(30_720 // len(json.dumps(json.loads(same.text), separators=(",", ":")))):
            key = world.open(world.federate(same, by=key))
        assert world.may(key, DISMISS, world.one)
        with pytest.raises(AccountsError, match="over 30720 characters") as caught:
            world.federate(same, by=key)
        assert (caught.value.kind, caught.value.subject) == ("limit", "session")

    run(scenario)


def test_opened_tokens_are_kept_by_the_size_of_their_policies(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        long = world.policy("trtc:*", [f"qcs::trtc:::sdkappid/{n}" for n in (world.one, *range(100, 200))])
        made = [world.federate(long) for _ in range(6)]
        world.open(made[0])
        monkeypatch.setattr(sessions_module, "MAX_OPENED_CHARACTERS", 3 * world.sessions._characters)
        for each in (*made, *made):
            assert world.may(world.open(each), DISMISS, world.one)
            assert len(world.sessions._opened) <= 3
            assert world.sessions._characters == sum(each.size for each in world.sessions._opened.values())

    run(scenario)


def test_only_so_many_opened_tokens_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_OPENED", 3)

    async def scenario(world: World) -> None:
        made = [world.federate(world.only_one()) for _ in range(5)]
        for each in (*made, *made):
            assert world.may(world.open(each), DISMISS, world.one)
            assert len(world.sessions._opened) <= 3

    run(scenario)


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda data: base64.urlsafe_b64encode(data).decode()))
def test_any_token_is_refused(token: str) -> None:
    sessions = Sessions(SEALER, Accounts(open_nothing(), SEALER, SystemClock()))
    with pytest.raises(ServiceError, match="TokenFailure"):
        sessions.open("AKID" + "x" * 60, token, NOW)


def open_nothing() -> Any:
    return None
