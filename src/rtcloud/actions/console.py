"""What the console does: applications, their settings, their SDKSecretKeys and UserSigs.

An SDKSecretKey is told by DescribeSecret alone, to who may call it; making a new one tells nothing, so that the two can
be granted apart.
"""

import msgspec
from msgspec.structs import replace

from rtcloud.accounts.entities import Application, ApplicationSettings, AutoRecording
from rtcloud.accounts.policies import application_resource
from rtcloud.accounts.usersig import UserSigError, make_user_sig, verify_user_sig
from rtcloud.actions.answers import iso_time, page
from rtcloud.actions.context import Call, Nothing, Services
from rtcloud.actions.refusals import refusals
from rtcloud.apimodel import faults
from rtcloud.callbacks.targets import EVENTS, TargetError, check_url

# Applications ---------------------------------------------------------------------------------------------------------


class CreateTrtcAppRequest(msgspec.Struct, rename="pascal"):
    app_name: str


class CreateTrtcAppResult(msgspec.Struct, rename="pascal"):
    sdk_app_id: int


class DescribeAppStatListRequest(msgspec.Struct, rename="pascal"):
    sdk_app_ids: list[int] = []
    keyword: str = ""
    page_number: int = 1
    page_size: int = 20


class AppStat(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    app_name: str
    create_time: str
    permission_control: bool


class DescribeAppStatListResult(msgspec.Struct, rename="pascal"):
    total: int
    app_list: list[AppStat]


class ApplicationRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int


class AutoRecordingSetting(msgspec.Struct, rename="pascal"):
    enabled: bool
    mode: str = "mixed"
    format: str = "mp4"
    wait_seconds: int = 30


class CallbackTarget(msgspec.Struct, rename="pascal"):
    event_group: int
    url: str
    event_types: list[int]


class CallbackSetting(msgspec.Struct, rename="pascal"):
    event_group: int
    url: str = ""
    key: str = ""
    event_types: list[int] = []


class AppInfo(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    app_name: str
    create_time: str
    permission_control: bool
    scenes: list[str]
    auto_recording: AutoRecordingSetting
    callbacks: list[CallbackTarget]
    concurrent_recordings: int


class DescribeSdkAppInfoResult(msgspec.Struct, rename="pascal"):
    app_info: AppInfo


class ModifyAppInfoRequest(msgspec.Struct, rename="pascal"):
    sdk_app_id: int
    app_name: str = ""
    permission_control: bool | None = None
    scenes: list[str] = []
    auto_recording: AutoRecordingSetting | None = None
    callbacks: list[CallbackSetting] = []


async def create_trtc_app(services: Services, call: Call, request: CreateTrtcAppRequest) -> CreateTrtcAppResult:
    with refusals(call.action):
        application = await services.accounts.create_application(call.caller.account_uin, request.app_name)
    return CreateTrtcAppResult(application.sdk_app_id)


async def describe_app_stat_list(
    services: Services, call: Call, request: DescribeAppStatListRequest
) -> DescribeAppStatListResult:
    """The action is open to everybody: what a caller may see is decided for each application (G:4510)."""
    caller, wanted, keyword = call.caller, set(request.sdk_app_ids), request.keyword.casefold()
    seen = [
        application
        for application in services.accounts.applications(caller.account_uin)
        if (not wanted or application.sdk_app_id in wanted)
        and keyword in application.name.casefold()
        and caller.may(call.action.full_name, application_resource(caller.account_uin, application.sdk_app_id))
    ]
    return DescribeAppStatListResult(
        len(seen), [_stat(application) for application in page(seen, request.page_number, request.page_size)]
    )


async def describe_sdk_app_info(
    services: Services, call: Call, request: ApplicationRequest
) -> DescribeSdkAppInfoResult:
    application = call.application
    targets = await services.accounts.callbacks(application.sdk_app_id)
    return DescribeSdkAppInfoResult(
        AppInfo(
            sdk_app_id=application.sdk_app_id,
            app_name=application.name,
            create_time=iso_time(application.created_ms),
            permission_control=application.settings.permission_control,
            scenes=list(application.settings.scenes),
            auto_recording=_auto_recording(application.settings.auto_recording),
            callbacks=[CallbackTarget(target.group, target.url, list(target.events or ())) for target in targets],
            concurrent_recordings=application.settings.concurrent_recordings,
        )
    )


async def modify_app_info(services: Services, call: Call, request: ModifyAppInfoRequest) -> Nothing:
    """Everything is checked before anything is changed."""
    _check_callbacks(call, request.callbacks)
    application, accounts = call.application, services.accounts
    with refusals(call.action):
        await accounts.update_application(
            application.sdk_app_id,
            name=request.app_name or None,
            settings=lambda current: _changed(current, request),
        )
        for setting in request.callbacks:
            groups = [setting.event_group]
            if setting.url:
                await accounts.set_callbacks(
                    application.sdk_app_id,
                    url=setting.url,
                    key=setting.key,
                    groups=groups,
                    events=setting.event_types or None,
                    trusted=False,  # whoever may call this need not be the operator
                )
            else:
                await accounts.clear_callbacks(application.sdk_app_id, groups=groups)
    return Nothing()


def _stat(application: Application) -> AppStat:
    return AppStat(
        sdk_app_id=application.sdk_app_id,
        app_name=application.name,
        create_time=iso_time(application.created_ms),
        permission_control=application.settings.permission_control,
    )


def _auto_recording(setting: AutoRecording | None) -> AutoRecordingSetting:
    if setting is None:
        return AutoRecordingSetting(enabled=False)
    return AutoRecordingSetting(True, setting.mode, setting.format, setting.wait_s)


def _changed(settings: ApplicationSettings, request: ModifyAppInfoRequest) -> ApplicationSettings:
    if request.permission_control is not None:
        settings = replace(settings, permission_control=request.permission_control)
    if request.scenes:
        settings = replace(settings, scenes=tuple(dict.fromkeys(request.scenes)))
    wanted = request.auto_recording
    if wanted is not None:
        kept = {"mode": wanted.mode or "mixed", "format": wanted.format or "mp4", "wait_s": wanted.wait_seconds}
        settings = replace(settings, auto_recording=msgspec.convert(kept, AutoRecording) if wanted.enabled else None)
    return settings


def _check_callbacks(call: Call, settings: list[CallbackSetting]) -> None:
    groups: set[int] = set()
    for index, setting in enumerate(settings):
        path = f"Callbacks.{index}"
        if setting.event_group in groups:
            raise faults.invalid(call.action, f"{path}.EventGroup", "is named twice")
        groups.add(setting.event_group)
        if unknown := set(setting.event_types) - EVENTS[setting.event_group]:
            types = ", ".join(map(str, sorted(unknown)))
            raise faults.out_of_range(
                call.action, f"{path}.EventTypes", f"{types} is not of group {setting.event_group}"
            )
        try:
            if setting.url:
                check_url(setting.url)
        except TargetError as error:
            raise faults.invalid(call.action, f"{path}.Url", f"cannot be used: {error}") from None


# Secrets and UserSig --------------------------------------------------------------------------------------------------


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


async def describe_secret(services: Services, call: Call, request: ApplicationRequest) -> DescribeSecretResult:
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
