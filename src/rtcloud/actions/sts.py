"""Temporary credentials, and who a caller is. Shapes and codes are the cloud's.

What comes out never exceeds what went in. Federation narrows the caller, so everybody may ask for it. A role gives
rights of its own to whom it trusts; a temporary credential cannot take one on, or a session narrowed for a third party
could widen itself again.
"""

import re
import urllib.parse

import msgspec

from rtcloud.accounts.entities import Role
from rtcloud.accounts.names import known_actions
from rtcloud.accounts.policies import MAX_DOCUMENT, Document, PolicyError, parse_document
from rtcloud.accounts.sessions import TemporaryCredentials
from rtcloud.actions.answers import iso_time
from rtcloud.actions.context import Call, Nothing, Services
from rtcloud.actions.refusals import refusals
from rtcloud.errors import ServiceError

_ROLE_ARN = re.compile(r"qcs::cam::uin/([0-9]{1,20}):(?:roleName|role)/(.+)", re.DOTALL)

#: By ``PolicyError.part``; StrategyInvalid for the rest.
_FAULTS = {"document": "InvalidParameter.StrategyFormatError", "resource": "InvalidParameter.ResouceError"}


class GetFederationTokenRequest(msgspec.Struct, rename="pascal"):
    name: str
    policy: str
    duration_seconds: int = 1800


class AssumeRoleRequest(msgspec.Struct, rename="pascal"):
    role_arn: str
    role_session_name: str
    duration_seconds: int = 7200
    policy: str = ""


class Credentials(msgspec.Struct, rename="pascal"):
    token: str
    tmp_secret_id: str
    tmp_secret_key: str


class CredentialsResult(msgspec.Struct, rename="pascal"):
    credentials: Credentials
    expired_time: int
    expiration: str


class GetCallerIdentityResult(msgspec.Struct, rename="pascal"):
    arn: str
    account_id: str
    user_id: str
    principal_id: str
    type: str


async def get_federation_token(services: Services, call: Call, request: GetFederationTokenRequest) -> CredentialsResult:
    policy = _policy(call, request.policy)
    with refusals(call.action):
        made = services.sessions.federate(
            call.caller,
            name=request.name,
            policy=policy,
            duration_s=request.duration_seconds,
            now_ms=services.clock.now_ms(),
        )
    return _result(made)


async def assume_role(services: Services, call: Call, request: AssumeRoleRequest) -> CredentialsResult:
    if call.caller.temporary:
        raise ServiceError("FailedOperation.TempKeyNotAllowed", "a role cannot be assumed with temporary credentials")
    role = _role(services, call, request.role_arn)
    if not role.trusts(call.caller.user_uin):
        raise ServiceError("UnauthorizedOperation", f"role {role.name} does not trust user {call.caller.user_uin}")
    policy = _policy(call, request.policy) if request.policy else None
    with refusals(call.action):
        made = services.sessions.assume(
            call.caller,
            role,
            session_name=request.role_session_name,
            policy=policy,
            duration_s=request.duration_seconds,
            now_ms=services.clock.now_ms(),
        )
    return _result(made)


async def get_caller_identity(services: Services, call: Call, request: Nothing) -> GetCallerIdentityResult:
    caller = call.caller
    if caller.origin.role:
        kind, user_id = "CAMRole", f"{caller.origin.role}:{caller.name}"
    elif caller.temporary:
        kind, user_id = "FederatedUser", f"{caller.user_uin}:{caller.name}"
    else:
        kind, user_id = "CAMUser", caller.user_uin
    return GetCallerIdentityResult(caller.arn, caller.account_uin, user_id, caller.user_uin, kind)


def _role(services: Services, call: Call, arn: str) -> Role:
    named = _ROLE_ARN.fullmatch(arn)
    if named is None:
        raise ServiceError(
            "InvalidParameter.ParamError", "RoleArn must be qcs::cam::uin/ACCOUNT:roleName/NAME of the account"
        )
    account_uin, name = named.groups()
    role = services.accounts.role(account_uin, name) if account_uin == call.caller.account_uin else None
    if role is None:
        raise ServiceError("ResourceNotFound.RoleNotFound", "the account has no role of that name")
    return role


def _policy(call: Call, text: str) -> Document:
    """Plain, or URL-encoded as the documents have it; a plain one begins with a brace."""
    if not text.lstrip().startswith("{"):
        text = urllib.parse.unquote_plus(text)
    if len(text.encode("utf-8", "surrogatepass")) > MAX_DOCUMENT:
        raise ServiceError("InvalidParameter.PolicyTooLong", f"Policy must have at most {MAX_DOCUMENT} bytes")
    try:
        return parse_document(text, account_uin=call.caller.account_uin, known_actions=known_actions())
    except PolicyError as error:
        raise ServiceError(_FAULTS.get(error.part, "InvalidParameter.StrategyInvalid"), f"Policy: {error}") from None


def _result(made: TemporaryCredentials) -> CredentialsResult:
    expired = made.expires_ms // 1000
    return CredentialsResult(
        Credentials(made.token, made.secret_id, made.secret_key), expired, iso_time(expired * 1000)
    )
