"""The console's applications: made, listed, told, changed. Their keys are in ``secret``, pictures in ``watermark``."""

import msgspec
from msgspec.structs import replace

from rtcloud.accounts.entities import Application, ApplicationSettings, AutoRecording
from rtcloud.accounts.policies import application_resource
from rtcloud.actions.answers import iso_time, page
from rtcloud.actions.context import Call, Nothing, Services
from rtcloud.actions.refusals import refusals
from rtcloud.apimodel import faults
from rtcloud.callbacks.targets import EVENTS, TargetError, check_url
from rtcloud.errors import ServiceError


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
    """Empty texts are the defaults, as they are wherever the API takes text."""

    enabled: bool
    mode: str = "mixed"
    content: str = "av"
    format: str = "mp4"
    max_media_file_duration: int = 1440
    wait_seconds: int = 30
    bucket: str = ""
    vendor: str = "cos"
    region: str = ""
    file_name_prefix: list[str] = []
    expire_time: int = 0
    class_id: int = 0
    procedure: str = ""


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
    _check_permission_control(call, request)
    _check_callbacks(call, request.callbacks)
    _check_auto_recording(call, request.auto_recording)
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
    return AutoRecordingSetting(
        enabled=True,
        mode=setting.mode,
        content=setting.recorded,
        format=setting.format,
        max_media_file_duration=setting.file_minutes,
        wait_seconds=setting.wait_s,
        bucket=setting.bucket,
        vendor=setting.vendor,
        region=setting.region,
        file_name_prefix=list(setting.prefix),
        expire_time=setting.expire_s,
        class_id=setting.class_id,
        procedure=setting.procedure,
    )


def _wanted(setting: AutoRecordingSetting) -> AutoRecording:
    given = {
        "mode": setting.mode,
        "content": setting.content,
        "format": setting.format,
        "file_minutes": setting.max_media_file_duration,
        "wait_s": setting.wait_seconds,
        "bucket": setting.bucket,
        "vendor": setting.vendor,
        "region": setting.region,
        "prefix": setting.file_name_prefix,
        "expire_s": setting.expire_time,
        "class_id": setting.class_id,
        "procedure": setting.procedure,
    }
    return msgspec.convert({name: value for name, value in given.items() if value != ""}, AutoRecording)


def _changed(settings: ApplicationSettings, request: ModifyAppInfoRequest) -> ApplicationSettings:
    if request.permission_control is not None:
        settings = replace(settings, permission_control=request.permission_control)
    if request.scenes:
        settings = replace(settings, scenes=tuple(dict.fromkeys(request.scenes)))
    wanted = request.auto_recording
    if wanted is not None:
        settings = replace(settings, auto_recording=_wanted(wanted) if wanted.enabled else None)
    return settings


def _check_permission_control(call: Call, request: ModifyAppInfoRequest) -> None:
    """That switch has an action of its own: who may not call that one does not come by it here."""
    caller, action = call.caller, "name/trtc:ChangeSecretKeyFlag"
    resource = application_resource(caller.account_uin, request.sdk_app_id)
    if request.permission_control is not None and not caller.may(action, resource):
        raise ServiceError(
            "AuthFailure.UnauthorizedOperation",
            f"PermissionControl: no policy of the caller grants {action} on {resource}",
        )


def _check_auto_recording(call: Call, setting: AutoRecordingSetting | None) -> None:
    if setting is not None and (setting.format, setting.content) == ("aac", "video"):
        raise faults.invalid(call.action, "AutoRecording.Format", "is aac, but Content is video: it holds sound only")


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
