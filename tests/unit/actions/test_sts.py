"""Temporary credentials: who gets them, what they may, when they end."""

import asyncio
import json
import random
import string
import urllib.parse
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rtcloud.accounts.authentication import Keyring
from rtcloud.accounts.entities import Caller
from rtcloud.accounts.policies import application_resource
from rtcloud.errors import ServiceError
from tests.kit.actions import NOW_MS, World, open_world

REMOVE = "name/trtc:RemoveUser"


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with open_world() as world:
            await scenario(world)

    asyncio.run(main())


def signer(world: World, answer: dict[str, Any], *, after_s: int = 0) -> Caller:
    """Who signs with the credentials that ``answer`` holds."""
    keys = answer["Credentials"]
    keyring = Keyring(world.accounts, world.services.sessions)
    found = keyring.find(keys["TmpSecretId"], keys["Token"], NOW_MS + after_s * 1000)
    assert found.secret_key == keys["TmpSecretKey"]
    return found.caller


def may(world: World, caller: Caller, sdk_app_id: int, action: str = REMOVE) -> bool:
    return caller.may(action, application_resource(caller.account_uin, sdk_app_id))


async def role(world: World, trusted: list[str], name: str = "worker") -> str:
    """A role that may remove users of the first application."""
    account = world.mine.account_uin
    await world.accounts.create_role(account, name, trusted)
    text = world.policy(world.app.sdk_app_id, action=REMOVE)
    policy = await world.accounts.create_policy(account, f"of-{name}", text)
    await world.accounts.attach_policy(account, policy.policy_id, role=name)
    return f"qcs::cam::uin/{account}:roleName/{name}"


@pytest.mark.parametrize("spell", [str, urllib.parse.quote, urllib.parse.quote_plus])
def test_a_federation_token_allows_what_its_policy_and_the_caller_allow(spell: Callable[[str], str]) -> None:
    async def scenario(world: World) -> None:
        first = world.app.sdk_app_id
        second = (await world.accounts.create_application(world.mine.account_uin, "second")).sdk_app_id
        text = world.policy(first, action=REMOVE)
        made = await world.call("GetFederationToken", Name="bob", Policy=spell(text), DurationSeconds=60)
        assert made["ExpiredTime"] == NOW_MS // 1000 + 60
        assert made["Expiration"] == "2023-11-14T22:14:20Z"
        caller = signer(world, made)
        assert may(world, caller, first)
        assert not may(world, caller, second)
        assert not may(world, caller, first, "name/trtc:DismissRoom")
        reader = (await world.user("reader", 2))[1]
        made = await world.call("GetFederationToken", reader, Name="bob", Policy=spell(world.policy()))
        assert not may(world, signer(world, made), first)

    run(scenario)


def test_credentials_end_when_they_were_told_to() -> None:
    async def scenario(world: World) -> None:
        made = await world.call("GetFederationToken", Name="bob", Policy=world.policy())
        assert signer(world, made, after_s=1799).temporary
        with pytest.raises(ServiceError, match=r"AuthFailure\.TokenFailure.*expired"):
            signer(world, made, after_s=1800)

    run(scenario)


def test_federated_credentials_are_good_for_36_hours_at_most() -> None:
    async def scenario(world: World) -> None:
        asked = {"Name": "bob", "Policy": world.policy()}
        made = await world.call("GetFederationToken", **asked, DurationSeconds=129_600)
        assert signer(world, made, after_s=129_599).temporary
        code = await world.refusal("GetFederationToken", **asked, DurationSeconds=129_601)
        assert code == "InvalidParameter.OverTimeError"

    run(scenario)


def test_federation_by_temporary_credentials_narrows_further_and_ends_with_them() -> None:
    async def scenario(world: World) -> None:
        app = world.app.sdk_app_id
        first = await world.call("GetFederationToken", Name="a", Policy=world.policy(app, action=REMOVE))
        again = await world.call(
            "GetFederationToken", signer(world, first), Name="b", Policy=world.policy(), DurationSeconds=7200
        )
        assert again["ExpiredTime"] == first["ExpiredTime"]
        caller = signer(world, again)
        assert may(world, caller, app)
        assert not may(world, caller, app, "name/trtc:DismissRoom")

    run(scenario)


@pytest.mark.parametrize("spelling", ["roleName", "role"])
def test_a_trusted_user_assumes_a_role(spelling: str) -> None:
    async def scenario(world: World) -> None:
        user, worker = await world.user("worker")
        arn = (await role(world, [user.uin])).replace("roleName", spelling)
        made = await world.call("AssumeRole", worker, RoleArn=arn, RoleSessionName="night")
        assert made["ExpiredTime"] == NOW_MS // 1000 + 7200
        caller = signer(world, made)
        assert may(world, caller, world.app.sdk_app_id)
        assert not may(world, worker, world.app.sdk_app_id)
        assert not may(world, caller, world.app.sdk_app_id, "name/trtc:DismissRoom")
        narrowed = await world.call(
            "AssumeRole", worker, RoleArn=arn, RoleSessionName="night", Policy=world.policy(5), ExternalId="ignored"
        )
        assert not may(world, signer(world, narrowed), world.app.sdk_app_id)

    run(scenario)


def test_a_role_is_for_whom_it_trusts() -> None:
    async def scenario(world: World) -> None:
        user, worker = await world.user("worker")
        session = {"RoleSessionName": "night"}
        mine = await role(world, [world.mine.user_uin], "mine")
        assert await world.refusal("AssumeRole", worker, RoleArn=mine, **session) == "UnauthorizedOperation"
        everyone = await role(world, ["*"], "everyone")
        assert await world.call("AssumeRole", worker, RoleArn=everyone, **session)
        not_found = "ResourceNotFound.RoleNotFound"
        assert await world.refusal("AssumeRole", world.other, RoleArn=everyone, **session) == not_found
        theirs = everyone.replace(world.mine.account_uin, world.other.account_uin)
        assert await world.refusal("AssumeRole", world.other, RoleArn=theirs, **session) == not_found

    run(scenario)


def test_temporary_credentials_assume_no_role() -> None:
    """One that was narrowed for somebody else would widen itself again."""

    async def scenario(world: World) -> None:
        arn = await role(world, ["*"])
        made = await world.call("GetFederationToken", Name="bob", Policy=world.policy(5))
        code = await world.refusal("AssumeRole", signer(world, made), RoleArn=arn, RoleSessionName="night")
        assert code == "FailedOperation.TempKeyNotAllowed"

    run(scenario)


def test_everybody_learns_who_they_are() -> None:
    async def scenario(world: World) -> None:
        account, user = world.mine.account_uin, world.mine.user_uin
        assert await world.call("GetCallerIdentity") == {
            "Arn": f"qcs::cam::uin/{account}:uin/{user}",
            "AccountId": account,
            "UserId": user,
            "PrincipalId": user,
            "Type": "CAMUser",
        }
        made = await world.call("GetFederationToken", Name="bob", Policy=world.policy())
        told = await world.call("GetCallerIdentity", signer(world, made))
        assert (told["UserId"], told["PrincipalId"], told["Type"]) == (f"{user}:bob", user, "FederatedUser")
        assumed = await world.call("AssumeRole", RoleArn=await role(world, ["*"]), RoleSessionName="night")
        told = await world.call("GetCallerIdentity", signer(world, assumed))
        assert (told["UserId"], told["PrincipalId"], told["Type"]) == ("worker:night", user, "CAMRole")
        assert told["Arn"] == f"qcs::sts::uin/{account}:assumed-role/worker/night"

    run(scenario)


def test_a_role_loses_at_once_what_it_loses() -> None:
    async def scenario(world: World) -> None:
        made = await world.call("AssumeRole", RoleArn=await role(world, ["*"]), RoleSessionName="night")
        policy = world.accounts.policies(world.mine.account_uin)[-1]
        await world.accounts.detach_policy(world.mine.account_uin, policy.policy_id, role="worker")
        assert not may(world, signer(world, made), world.app.sdk_app_id)
        await world.accounts.delete_role(world.mine.account_uin, "worker")
        with pytest.raises(ServiceError, match=r"AuthFailure\.TokenFailure"):
            signer(world, made)

    run(scenario)


_letters = random.Random(1)
#: What cannot be made shorter.
LONG = json.dumps(
    {
        "version": "2.0",
        "statement": {
            "effect": "allow",
            "action": ["cos:" + "".join(_letters.choices(string.ascii_letters, k=128)) for _ in range(40)],
            "resource": "*",
        },
    }
)


def policies(name: str, **others: Any) -> list[tuple[str, dict[str, Any], str]]:
    """What an action that takes a policy refuses."""

    def row(policy: str, code: str) -> tuple[str, dict[str, Any], str]:
        return name, others | {"Policy": policy}, f"InvalidParameter.{code}"

    statement = '{"version":"2.0","statement":[{"effect":"%s","action":"%s","resource":"%s"}]}'
    return [
        row("{", "StrategyFormatError"),
        row("policy", "StrategyFormatError"),
        row("%FF", "StrategyFormatError"),
        row(statement % ("maybe", "*", "*"), "StrategyInvalid"),
        row(statement % ("allow", "name/trtc:RemoveUsr", "*"), "StrategyInvalid"),
        row(statement % ("allow", "*", "app/1"), "ResouceError"),
        row(urllib.parse.quote(statement % ("allow", "*", "app/1")), "ResouceError"),
        row(statement % ("allow", "*", "*") + " " * 6144, "PolicyTooLong"),
        row("%20" * 6144 + "%7B", "PolicyTooLong"),
        row("a" * 18_433, "PolicyTooLong"),
        row(LONG, "ExtendStrategyOverSize"),
    ]


ROLE: Any = "qcs::cam::uin/ACCOUNT:roleName/worker"  # ACCOUNT is replaced
POLICY = '{"version":"2.0","statement":{"effect":"allow","action":"*","resource":"*"}}'
RUN: list[tuple[str, dict[str, Any], str]] = [
    *policies("GetFederationToken", Name="bob"),
    *policies("AssumeRole", RoleArn=ROLE, RoleSessionName="night"),
    ("GetFederationToken", {"Name": "bob"}, "MissingParameter"),
    ("GetFederationToken", {"Name": "b b", "Policy": POLICY}, "InvalidParameter.ParamError"),
    (
        "GetFederationToken",
        {"Name": "bob", "Policy": POLICY, "DurationSeconds": 129_601},
        "InvalidParameter.OverTimeError",
    ),
    ("AssumeRole", {"RoleArn": "worker", "RoleSessionName": "night"}, "InvalidParameter.ParamError"),
    ("AssumeRole", {"RoleArn": ROLE, "RoleSessionName": "n"}, "InvalidParameter.ParamError"),
    (
        "AssumeRole",
        {"RoleArn": ROLE, "RoleSessionName": "night", "DurationSeconds": 43_201},
        "InvalidParameter.OverTimeError",
    ),
    ("AssumeRole", {"RoleArn": ROLE + "2", "RoleSessionName": "night"}, "ResourceNotFound.RoleNotFound"),
]
#: The last has a test of its own.
REFUSED = [*RUN, ("AssumeRole", {}, "FailedOperation.TempKeyNotAllowed")]


@pytest.mark.parametrize(("name", "parameters", "code"), RUN)
def test_bad_requests_are_refused_with_their_code(name: str, parameters: dict[str, Any], code: str) -> None:
    async def scenario(world: World) -> None:
        await role(world, ["*"])
        given = dict(parameters)
        if "RoleArn" in given:
            given["RoleArn"] = given["RoleArn"].replace("ACCOUNT", world.mine.account_uin)
        assert await world.refusal(name, **given) == code

    run(scenario)
