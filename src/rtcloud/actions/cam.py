"""Access management: the policies of an account, and which of them its users have. Shapes and codes are the cloud's.

A caller reaches its own account only: what belongs to another does not exist.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from rtcloud.accounts.entities import AccountsError, Policy, User
from rtcloud.actions.answers import cloud_time, page
from rtcloud.actions.context import Call, Nothing, Services
from rtcloud.actions.refusals import refusal, refusals

_OWN, _PRESET = 1, 2
_BY_LANGUAGE = 2  # CreateMode


class CreatePolicyRequest(msgspec.Struct, rename="pascal"):
    policy_name: str
    policy_document: str
    description: str = ""


class CreatePolicyResult(msgspec.Struct, rename="pascal"):
    policy_id: int


class DeletePolicyRequest(msgspec.Struct, rename="pascal"):
    policy_id: list[int]


class AttachUserPolicyRequest(msgspec.Struct, rename="pascal"):
    policy_id: int
    attach_uin: int


class DetachUserPolicyRequest(msgspec.Struct, rename="pascal"):
    policy_id: int
    detach_uin: int


class GetPolicyRequest(msgspec.Struct, rename="pascal"):
    policy_id: int


class GetPolicyResult(msgspec.Struct, rename="pascal"):
    policy_name: str
    description: str
    type: int
    add_time: str
    update_time: str
    policy_document: str
    preset_alias: str = ""
    is_service_linked_role_policy: int = 0
    tags: list[str] = []


class ListPoliciesRequest(msgspec.Struct, rename="pascal"):
    rp: int = 20
    page: int = 1
    scope: str = "All"
    keyword: str = ""


class StrategyInfo(msgspec.Struct, rename="pascal"):
    policy_id: int
    policy_name: str
    add_time: str
    type: int
    description: str
    attachments: int
    attach_entity_count: int
    update_time: str
    create_mode: int = _BY_LANGUAGE
    service_type: str = ""
    is_attached: int | None = None
    deactived: int = 0
    deactived_detail: list[str] = []
    is_service_linked_policy: int = 0
    attach_entity_boundary_count: int = 0
    tags: list[str] = []


class ListPoliciesResult(msgspec.Struct, rename="pascal"):
    total_num: int
    list: list[StrategyInfo]
    service_type_list: tuple[str, ...] = ()


class ListAttachedUserPoliciesRequest(msgspec.Struct, rename="pascal"):
    target_uin: int
    page: int = 1
    rp: int = 20


class AttachPolicyInfo(msgspec.Struct, rename="pascal"):
    policy_id: int
    policy_name: str
    add_time: str
    policy_type: str
    remark: str
    operate_owner_uin: str
    create_mode: int = _BY_LANGUAGE
    operate_uin: str | None = None
    operate_uin_type: int = 0
    deactived: int = 0
    deactived_detail: list[str] = []


class ListAttachedUserPoliciesResult(msgspec.Struct, rename="pascal"):
    total_num: int
    list: list[AttachPolicyInfo]


async def create_policy(services: Services, call: Call, request: CreatePolicyRequest) -> CreatePolicyResult:
    with refusals(call.action):
        policy = await services.accounts.create_policy(
            call.caller.account_uin, request.policy_name, request.policy_document, request.description
        )
    return CreatePolicyResult(policy.policy_id)


async def delete_policy(services: Services, call: Call, request: DeletePolicyRequest) -> Nothing:
    """All of them or none: each is looked up before the first goes."""
    policies = [_policy(services, call, policy_id) for policy_id in dict.fromkeys(request.policy_id)]
    for policy in policies:
        if not policy.account_uin:
            raise refusal(call.action, AccountsError("invalid", "policy", f"{policy.name} is a preset"))
    with refusals(call.action):
        for policy in policies:
            await services.accounts.delete_policy(policy.policy_id, account_uin=policy.account_uin)
    return Nothing()


async def attach_user_policy(services: Services, call: Call, request: AttachUserPolicyRequest) -> Nothing:
    policy, user = _policy(services, call, request.policy_id), _user(services, call, request.attach_uin)
    with refusals(call.action):
        await services.accounts.attach_policy(user.account_uin, policy.policy_id, user_uin=user.uin)
    return Nothing()


async def detach_user_policy(services: Services, call: Call, request: DetachUserPolicyRequest) -> Nothing:
    policy, user = _policy(services, call, request.policy_id), _user(services, call, request.detach_uin)
    with refusals(call.action):
        await services.accounts.detach_policy(user.account_uin, policy.policy_id, user_uin=user.uin)
    return Nothing()


async def get_policy(services: Services, call: Call, request: GetPolicyRequest) -> GetPolicyResult:
    policy = _policy(services, call, request.policy_id)
    return GetPolicyResult(
        policy_name=policy.name,
        description=policy.description,
        type=_type(policy),
        add_time=cloud_time(policy.created_ms),
        update_time=cloud_time(policy.created_ms),
        policy_document=policy.document.text,
    )


async def list_policies(services: Services, call: Call, request: ListPoliciesRequest) -> ListPoliciesResult:
    account_uin, keyword = call.caller.account_uin, request.keyword.casefold()
    types = {"QCS": {_PRESET}, "Local": {_OWN}}.get(request.scope, {_PRESET, _OWN})
    found = [
        policy
        for policy in services.accounts.policies(account_uin)
        if _type(policy) in types and keyword in policy.name.casefold()
    ]
    users = _attachments(user.policies for user in services.accounts.users(account_uin))
    roles = _attachments(role.policies for role in services.accounts.roles(account_uin))
    listed = [
        _strategy(policy, users[policy.policy_id], roles[policy.policy_id])
        for policy in page(found, request.page, request.rp)
    ]
    return ListPoliciesResult(len(found), listed)


async def list_attached_user_policies(
    services: Services, call: Call, request: ListAttachedUserPoliciesRequest
) -> ListAttachedUserPoliciesResult:
    user = _user(services, call, request.target_uin)
    listed = [_attached(policy, user.account_uin) for policy in page(user.policies, request.page, request.rp)]
    return ListAttachedUserPoliciesResult(len(user.policies), listed)


def _policy(services: Services, call: Call, policy_id: int) -> Policy:
    policy = services.accounts.policy(policy_id)
    if policy is None or policy.account_uin not in ("", call.caller.account_uin):
        raise refusal(call.action, AccountsError("not_found", "policy", f"there is no policy {policy_id}"))
    return policy


def _user(services: Services, call: Call, uin: int) -> User:
    user = services.accounts.user(str(uin))
    if user is None or user.account_uin != call.caller.account_uin:
        raise refusal(call.action, AccountsError("not_found", "user", f"the account has no user {uin}"))
    return user


def _type(policy: Policy) -> int:
    return _OWN if policy.account_uin else _PRESET


def _attachments(sets: Iterable[Iterable[Policy]]) -> Counter[int]:
    """How many have each policy, by its id: counted in one go, for there may be a thousand with thirty each."""
    return Counter(policy.policy_id for each in sets for policy in each)


def _strategy(policy: Policy, users: int, roles: int) -> StrategyInfo:
    return StrategyInfo(
        policy_id=policy.policy_id,
        policy_name=policy.name,
        add_time=cloud_time(policy.created_ms),
        type=_type(policy),
        description=policy.description,
        attachments=users,
        attach_entity_count=users + roles,
        update_time=cloud_time(policy.created_ms),
    )


def _attached(policy: Policy, account_uin: str) -> AttachPolicyInfo:
    return AttachPolicyInfo(
        policy_id=policy.policy_id,
        policy_name=policy.name,
        add_time=cloud_time(policy.created_ms),
        policy_type="User" if policy.account_uin else "QCS",
        remark=policy.description,
        operate_owner_uin=account_uin,
    )
