"""An application's SDKSecretKeys, and UserSigs made and checked with them.

An SDKSecretKey is told by DescribeSecret alone, to who may call it; making a new one tells nothing, so that the two can
be granted apart.
"""

import msgspec
from msgspec.structs import replace

from rtcloud.accounts.entities import Application
from rtcloud.accounts.usersig import UserSigError, make_user_sig, verify_user_sig
from rtcloud.actions.answers import iso_time
from rtcloud.actions.context import Call, Nothing, Services
from rtcloud.actions.refusals import refusals
from rtcloud.apimodel import faults


class SecretRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int


class ChangeSecretKeyFlagRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    permission_control: bool | None = None
    forget_previous_secret: bool = False


class CreateSecretRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    keep_seconds: int = 604_800


class CreateSecretResult(msgspec.Struct, rename="pascal"):
    previous_valid_until: str


class DescribeSecretResult(msgspec.Struct, rename="pascal"):
    secret_key: str
    previous_valid_until: str


class CreateSecretUserSigRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    user_id: str
    expire_seconds: int = 15_552_000


class CreateSecretUserSigResult(msgspec.Struct, rename="pascal"):
    user_sig: str
    expire_time: str


class VerifySecretUserSigRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    user_id: str
    user_sig: str


class VerifySecretUserSigResult(msgspec.Struct, rename="pascal"):
    code: int
    message: str
    expire_time: str


async def change_secret_key_flag(services: Services, call: Call, request: ChangeSecretKeyFlagRequest) -> Nothing:
    application = call.application
    if request.permission_control is None and not request.forget_previous_secret:
        raise faults.missing(
            call.action, "PermissionControl", "one of PermissionControl and ForgetPreviousSecret is required"
        )
    with refusals(call.action):
        if request.permission_control is not None:
            wanted = request.permission_control
            await services.accounts.update_application(
                application.sdk_app_id, settings=lambda current: replace(current, permission_control=wanted)
            )
        if request.forget_previous_secret:
            await services.accounts.forget_previous_key(application.sdk_app_id)
    return Nothing()


async def create_secret(services: Services, call: Call, request: CreateSecretRequest) -> CreateSecretResult:
    with refusals(call.action):
        changed = await services.accounts.rotate_application_key(
            request.sdk_app_id, keep_previous_s=request.keep_seconds
        )
    return CreateSecretResult(_previous_until(services, changed))


async def describe_secret(services: Services, call: Call, request: SecretRequest) -> DescribeSecretResult:
    return DescribeSecretResult(call.application.secret_key, _previous_until(services, call.application))


async def create_secret_user_sig(
    services: Services, call: Call, request: CreateSecretUserSigRequest
) -> CreateSecretUserSigResult:
    now_ms = services.clock.now_ms()
    user_sig = make_user_sig(
        request.sdk_app_id,
        call.application.secret_key,
        request.user_id,
        now_ms=now_ms,
        expire_s=request.expire_seconds,
    )
    return CreateSecretUserSigResult(user_sig, iso_time(now_ms + request.expire_seconds * 1000))


async def verify_secret_user_sig(
    services: Services, call: Call, request: VerifySecretUserSigRequest
) -> VerifySecretUserSigResult:
    now_ms = services.clock.now_ms()
    try:
        verified = verify_user_sig(
            request.user_sig,
            sdk_app_id=request.sdk_app_id,
            secret_keys=call.application.secret_keys(now_ms),
            user_id=request.user_id,
            now_ms=now_ms,
        )
    except UserSigError as error:
        return VerifySecretUserSigResult(error.code, error.reason, "")
    return VerifySecretUserSigResult(0, "", iso_time(verified.expires_ms))


def _previous_until(services: Services, application: Application) -> str:
    good = len(application.secret_keys(services.clock.now_ms())) > 1
    return iso_time(application.previous_until_ms) if good else ""
