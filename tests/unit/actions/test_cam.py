"""Access management: policies are made, given, listed, taken away, within one account."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rtcloud.accounts.entities import ATTACHED_POLICIES, POLICIES_PER_ACCOUNT, User
from rtcloud.accounts.policies import application_resource
from rtcloud.accounts.sessions import caller_of
from rtcloud.errors import ServiceError
from tests.kit.actions import World, open_world

GOOD = {"effect": "allow", "action": ["name/trtc:RemoveUser"], "resource": ["*"]}


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with open_world() as world:
            await scenario(world)

    asyncio.run(main())


def document(**changes: Any) -> str:
    statement = {key: value for key, value in (GOOD | changes).items() if value is not None}
    return json.dumps({"version": "2.0", "statement": [statement]})


def test_a_policy_is_made_given_and_taken_away() -> None:
    async def scenario(world: World) -> None:
        user, _ = await world.user("worker")
        text = world.policy(world.app.sdk_app_id, action="name/trtc:RemoveUser")
        made = (await world.call("CreatePolicy", PolicyName="remove", PolicyDocument=text, Description="d"))["PolicyId"]
        told = await world.call("GetPolicy", PolicyId=made)
        assert told == {
            "PolicyName": "remove",
            "Description": "d",
            "Type": 1,
            "AddTime": "2023-11-15 06:13:20",
            "UpdateTime": "2023-11-15 06:13:20",
            "PolicyDocument": text,
            "PresetAlias": "",
            "IsServiceLinkedRolePolicy": 0,
            "Tags": [],
        }
        given = {"PolicyId": made, "AttachUin": int(user.uin)}
        await world.call("AttachUserPolicy", **given)
        await world.call("AttachUserPolicy", **given)
        resource = application_resource(user.account_uin, world.app.sdk_app_id)

        async def attached() -> list[int]:
            listed = await world.call("ListAttachedUserPolicies", TargetUin=int(user.uin))
            assert listed["TotalNum"] == len(listed["List"])
            return [entry["PolicyId"] for entry in listed["List"]]

        assert await attached() == [made]
        pair = world.accounts.key_pairs(user.uin)[0]
        assert caller_of(pair).may("name/trtc:RemoveUser", resource)
        await world.call("DetachUserPolicy", PolicyId=made, DetachUin=int(user.uin))
        assert await attached() == []
        assert not caller_of(world.accounts.key_pairs(user.uin)[0]).may("name/trtc:RemoveUser", resource)
        await world.call("DetachUserPolicy", PolicyId=made, DetachUin=int(user.uin))
        await world.call("AttachUserPolicy", **given)
        await world.call("DeletePolicy", PolicyId=[made, made])
        assert await attached() == []
        assert await world.refusal("GetPolicy", PolicyId=made) == "ResourceNotFound.PolicyIdNotFound"

    run(scenario)


def test_policies_are_listed_by_scope_and_name_page_by_page() -> None:
    async def scenario(world: World) -> None:
        user, _ = await world.user("worker")
        made = [
            (await world.call("CreatePolicy", PolicyName=name, PolicyDocument=document()))["PolicyId"]
            for name in ("first", "second")
        ]
        await world.call("AttachUserPolicy", PolicyId=made[1], AttachUin=int(user.uin))
        await world.accounts.create_role(user.account_uin, "role", ["*"])
        await world.accounts.attach_policy(user.account_uin, made[1], role="role")

        async def listed(**parameters: Any) -> tuple[int, list[str]]:
            answer = await world.call("ListPolicies", **parameters)
            return answer["TotalNum"], [entry["PolicyName"] for entry in answer["List"]]

        presets = ["QcloudTRTCFullAccess", "QcloudTRTCReadonlyAccess", "AdministratorAccess"]
        assert await listed() == (5, [*presets, "first", "second"])
        assert await listed(Scope="QCS") == (3, presets)
        assert await listed(Scope="Local", Rp=1, Page=2) == (2, ["second"])
        assert await listed(Keyword="readonly") == (1, [presets[1]])
        (entry,) = (await world.call("ListPolicies", Keyword="second"))["List"]
        assert (entry["Type"], entry["Attachments"], entry["AttachEntityCount"]) == (1, 1, 2)
        (preset,) = (await world.call("ListPolicies", Keyword="Administrator"))["List"]
        assert (preset["Type"], preset["Attachments"]) == (2, 1)

    run(scenario)


def test_policies_of_a_large_account_are_listed_at_once() -> None:
    async def scenario(world: World) -> None:
        account, made = world.mine.account_uin, world.accounts.create_policy
        policies = [await made(account, f"p{number}", document()) for number in range(200)]
        held = world.accounts._held
        for number in range(1000):
            given = tuple(policies[(number + step) % 200] for step in range(ATTACHED_POLICIES))
            held.put_user(User(str(number), account, f"u{number}", given))
        before = time.process_time()
        listed = (await world.call("ListPolicies", Rp=200, Scope="Local"))["List"]
        spent = time.process_time() - before
        assert [each["Attachments"] for each in listed] == [1000 * ATTACHED_POLICIES // 200] * 200
        assert spent < 0.2, "the event loop waits for it"

    run(scenario)


def test_another_account_is_out_of_reach() -> None:
    async def scenario(world: World) -> None:
        user, _ = await world.user("worker")
        made = (await world.call("CreatePolicy", PolicyName="mine", PolicyDocument=document()))["PolicyId"]
        other, uin = world.other, int(user.uin)
        unknown_policy, unknown_user = "ResourceNotFound.PolicyIdNotFound", "ResourceNotFound.UserNotExist"
        assert await world.refusal("GetPolicy", other, PolicyId=made) == unknown_policy
        assert await world.refusal("DeletePolicy", other, PolicyId=[made]) == unknown_policy
        assert await world.refusal("AttachUserPolicy", other, PolicyId=made, AttachUin=uin) == unknown_policy
        assert await world.refusal("AttachUserPolicy", other, PolicyId=1, AttachUin=uin) == unknown_user
        assert await world.refusal("DetachUserPolicy", other, PolicyId=1, DetachUin=uin) == unknown_user
        assert await world.refusal("ListAttachedUserPolicies", other, TargetUin=uin) == unknown_user
        theirs = int(other.user_uin)
        assert await world.refusal("AttachUserPolicy", PolicyId=made, AttachUin=theirs) == unknown_user
        assert (await world.call("ListPolicies", other, Scope="Local"))["TotalNum"] == 0
        assert (await world.call("CreatePolicy", other, PolicyName="mine", PolicyDocument=document()))[
            "PolicyId"
        ] > made
        assert (await world.call("GetPolicy", other, PolicyId=1))["Type"] == 2

    run(scenario)


def test_of_several_policies_all_are_deleted_or_none() -> None:
    async def scenario(world: World) -> None:
        made = (await world.call("CreatePolicy", PolicyName="mine", PolicyDocument=document()))["PolicyId"]
        assert await world.refusal("DeletePolicy", PolicyId=[made, 999_999]) == "ResourceNotFound.PolicyIdNotFound"
        assert await world.refusal("DeletePolicy", PolicyId=[made, 1]) == "InvalidParameter.PolicyIdError"
        assert (await world.call("GetPolicy", PolicyId=made))["PolicyName"] == "mine"

    run(scenario)


def test_quotas_are_told_with_their_code() -> None:
    async def scenario(world: World) -> None:
        user, _ = await world.user("worker")
        for index in range(POLICIES_PER_ACCOUNT):
            await world.accounts.create_policy(user.account_uin, f"p{index}", document())
        assert await world.refusal("CreatePolicy", PolicyName="x", PolicyDocument=document()) == (
            "FailedOperation.PolicyFull"
        )
        own = world.accounts.policies(user.account_uin)[3:]
        for policy in own[:ATTACHED_POLICIES]:
            await world.call("AttachUserPolicy", PolicyId=policy.policy_id, AttachUin=int(user.uin))
        one_more = {"PolicyId": own[ATTACHED_POLICIES].policy_id, "AttachUin": int(user.uin)}
        assert await world.refusal("AttachUserPolicy", **one_more) == "FailedOperation.PolicyFull"

    run(scenario)


def test_the_place_of_a_fault_in_a_document_is_told() -> None:
    async def scenario(world: World) -> None:
        text = json.dumps({"version": "2.0", "statement": [GOOD, GOOD | {"action": ["name/trtc:RemoveUsr"]}]})
        with pytest.raises(ServiceError, match=r"statement\.1\.action\.0.*RemoveUsr"):
            await world.call("CreatePolicy", PolicyName="x", PolicyDocument=text)

    run(scenario)


def _create(text: str, **more: Any) -> dict[str, Any]:
    return {"PolicyName": "p", "PolicyDocument": text} | more


#: The quotas' rows are run by tests of their own.
QUOTAS: list[tuple[str, dict[str, Any], str]] = [
    ("CreatePolicy", {}, "FailedOperation.PolicyFull"),
    ("AttachUserPolicy", {}, "FailedOperation.PolicyFull"),
]
RUN: list[tuple[str, dict[str, Any], str]] = [
    ("CreatePolicy", _create("{"), "InvalidParameter.PolicyDocumentError"),
    ("CreatePolicy", _create("[]"), "InvalidParameter.PolicyDocumentError"),
    ("CreatePolicy", _create(document() + " " * 6144), "InvalidParameter.PolicyDocumentLengthOverLimit"),
    ("CreatePolicy", _create('{"version":"1.0","statement":[]}'), "InvalidParameter.VersionError"),
    ("CreatePolicy", _create('{"version":"2.0","statement":[]}'), "InvalidParameter.StatementError"),
    ("CreatePolicy", _create(document(effect="Allow")), "InvalidParameter.EffectError"),
    ("CreatePolicy", _create(document(action="RemoveUser")), "InvalidParameter.ActionError"),
    ("CreatePolicy", _create(document(notAction="trtc:RemoveUser")), "InvalidParameter.ActionError"),
    ("CreatePolicy", _create(document(resource="app/1")), "InvalidParameter.ResourceError"),
    ("CreatePolicy", _create(document(notResource="*")), "InvalidParameter.ResourceError"),
    ("CreatePolicy", _create(document(condition={})), "InvalidParameter.ConditionError"),
    ("CreatePolicy", _create(document(principal="*")), "InvalidParameter.PrincipalError"),
    ("CreatePolicy", _create(document(), PolicyName="a b"), "InvalidParameter.PolicyNameError"),
    ("CreatePolicy", _create(document(), PolicyName="a" * 129), "InvalidParameter.PolicyNameError"),
    ("CreatePolicy", _create(document(), Description="é" * 151), "InvalidParameter.DescriptionLengthOverlimit"),
    ("CreatePolicy", _create(document(), PolicyName="AdministratorAccess"), "FailedOperation.PolicyNameInUse"),
    ("CreatePolicy", {"PolicyName": "p"}, "MissingParameter"),
    ("DeletePolicy", {"PolicyId": []}, "MissingParameter"),
    ("DeletePolicy", {"PolicyId": [0]}, "InvalidParameter.PolicyIdError"),
    ("DeletePolicy", {"PolicyId": [9] * 101}, "InvalidParameter.PolicyIdError"),
    ("DeletePolicy", {"PolicyId": [2]}, "InvalidParameter.PolicyIdError"),
    ("DeletePolicy", {"PolicyId": [9999]}, "ResourceNotFound.PolicyIdNotFound"),
    ("AttachUserPolicy", {"PolicyId": 0, "AttachUin": 1}, "InvalidParameter.ParamError"),
    ("AttachUserPolicy", {"PolicyId": 9999, "AttachUin": 1}, "ResourceNotFound.PolicyIdNotFound"),
    ("AttachUserPolicy", {"PolicyId": 1, "AttachUin": 1}, "ResourceNotFound.UserNotExist"),
    ("DetachUserPolicy", {"PolicyId": 1, "DetachUin": 0}, "InvalidParameter.ParamError"),
    ("DetachUserPolicy", {"PolicyId": 9999, "DetachUin": 1}, "ResourceNotFound.PolicyIdNotFound"),
    ("DetachUserPolicy", {"PolicyId": 1, "DetachUin": 1}, "ResourceNotFound.UserNotExist"),
    ("GetPolicy", {"PolicyId": 0}, "InvalidParameter.ParamError"),
    ("GetPolicy", {"PolicyId": "1"}, "InvalidParameter"),
    ("GetPolicy", {"PolicyId": 9999}, "ResourceNotFound.PolicyIdNotFound"),
    ("ListPolicies", {"Rp": 201}, "InvalidParameter.ParamError"),
    ("ListPolicies", {"Scope": "Mine"}, "InvalidParameter.ScopeError"),
    ("ListPolicies", {"Keyword": "a" * 129}, "InvalidParameter.KeywordError"),
    ("ListAttachedUserPolicies", {"TargetUin": 1, "Page": 0}, "InvalidParameter.ParamError"),
    ("ListAttachedUserPolicies", {"TargetUin": 1}, "ResourceNotFound.UserNotExist"),
]
REFUSED = [*RUN, *QUOTAS]


@pytest.mark.parametrize(("name", "parameters", "code"), RUN)
def test_bad_requests_are_refused_with_their_code(name: str, parameters: dict[str, Any], code: str) -> None:
    async def scenario(world: World) -> None:
        assert await world.refusal(name, **parameters) == code
        assert (await world.call("ListPolicies", Scope="Local"))["TotalNum"] == 0

    run(scenario)


def test_a_name_is_taken_once() -> None:
    async def scenario(world: World) -> None:
        await world.call("CreatePolicy", **_create(document()))
        assert await world.refusal("CreatePolicy", **_create(document())) == "FailedOperation.PolicyNameInUse"

    run(scenario)
