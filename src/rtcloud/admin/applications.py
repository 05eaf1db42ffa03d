"""``rtcloud admin applications``: what holds rooms, its SDKSecretKey and its settings."""

from typing import Annotated, ClassVar, Literal

import msgspec

from rtcloud.accounts.entities import Application, ApplicationSettings, AutoRecording
from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Flag, Site, Word, iso
from rtcloud.callbacks import outbox

DEFAULT_KEEP_S = 86_400

Switch = Literal["on", "off"]
LONGEST_FILE = 1440  # minutes, the default
CONTENTS = {"av": "sound and pictures", "audio": "sound only", "video": "pictures only"}
#: flag → the setting's member
AUTO_MEMBERS = {
    "auto_recording_content": "content",
    "auto_recording_format": "format",
    "auto_recording_minutes": "file_minutes",
    "auto_recording_wait": "wait_s",
    "auto_recording_bucket": "bucket",
    "auto_recording_vendor": "vendor",
    "auto_recording_region": "region",
    "auto_recording_prefix": "prefix",
    "auto_recording_expire": "expire_s",
    "auto_recording_class": "class_id",
    "auto_recording_procedure": "procedure",
}


def _row(application: Application) -> dict[str, object]:
    return {
        "sdk_app_id": application.sdk_app_id,
        "name": application.name,
        "account": application.account_uin,
        "created": iso(application.created_ms),
    }


def _settings(settings: ApplicationSettings) -> dict[str, object]:
    auto = settings.auto_recording
    return {
        "permission_control": settings.permission_control,
        "scenes": settings.scenes,
        "concurrent_recordings": settings.concurrent_recordings,
        "relay_codec": settings.relay_codec,
        "b_frames": settings.b_frames,
        "auto_recording": _told(auto) if auto else "off",
    }


def _told(auto: AutoRecording) -> str:
    length = f"files of {auto.file_minutes} min, " if auto.file_minutes < LONGEST_FILE else ""
    if auto.bucket:
        where = "/".join((auto.bucket, *auto.prefix)) + f" ({' '.join(filter(None, (auto.vendor, auto.region)))})"
    else:
        where = "the media library" + (f" for {auto.expire_s} s" if auto.expire_s else "")
    return f"{auto.mode}, {CONTENTS[auto.recorded]}, {auto.format}, {length}waits {auto.wait_s} s, to {where}"


def _key(site: Site, application: Application) -> dict[str, object]:
    now_ms = site.clock.now_ms()
    shown: dict[str, object] = {
        "sdk_app_id": application.sdk_app_id,
        "name": application.name,
        "sdk_secret_key": application.secret_key,
    }
    if len(application.secret_keys(now_ms)) > 1:
        shown["previous_key"] = application.previous_secret_key
        shown["previous_key_until"] = iso(application.previous_until_ms)
    return shown


class ApplicationsCreate(Command, tag="applications.create", kw_only=True):
    """Make an application of an account, with an SDKAppID and an SDKSecretKey of its own."""

    example: ClassVar[str] = "applications create acme lessons"
    account: naming.AccountWord = None
    name: Annotated[str, Word("NAME")]

    async def run(self, site: Site) -> object:
        owner = naming.account(site, self.account)
        made = await site.accounts.create_application(owner.uin, self.name)
        return {**_row(made), "sdk_secret_key": made.secret_key}


class ApplicationsList(Command, tag="applications.list", kw_only=True):
    """The applications, of every account or of one."""

    example: ClassVar[str] = "applications list"
    account: naming.AccountWord = None

    async def run(self, site: Site) -> object:
        return [_row(each) for each in site.accounts.applications(naming.account_uin(site, self.account))]


class ApplicationsShow(Command, tag="applications.show", kw_only=True):
    """One application: its settings, where its events go, and how many events wait."""

    example: ClassVar[str] = "applications show lessons"
    application: naming.ApplicationWord

    async def run(self, site: Site) -> object:
        application = naming.application(site, self.application)
        app = application.sdk_app_id
        targets = await site.accounts.callbacks(app)
        counts = await site.database.read(lambda connection: outbox.count_by_state(connection, app))
        return {
            **_row(application),
            **_settings(application.settings),
            "callbacks": [{"group": each.group, "url": each.url} for each in targets],
            "events": counts,
        }


class ApplicationsSet(Command, tag="applications.set", kw_only=True):
    """Rename an application or change its settings; what is not named stays."""

    example: ClassVar[str] = "applications set lessons --scenes live --auto-recording mixed"
    application: naming.ApplicationWord
    name: Annotated[str | None, Flag("NAME", "its new name")] = None
    permission_control: Annotated[Switch | None, Flag("on|off", "whether entering a room needs a PrivateMapKey")] = None
    scenes: Annotated[
        tuple[Literal["rtc", "live"], ...] | None, Flag("SCENES", "the kinds of rooms: rtc, live or rtc,live")
    ] = None
    concurrent_recordings: Annotated[int | None, Flag("N", "how many recordings may run at once")] = None
    relay_codec: Annotated[
        Literal["h264", "h265"] | None, Flag("h264|h265", "of mixed pictures that are pushed to CDNs (default: h264)")
    ] = None
    b_frames: Annotated[
        Literal["transcode", "refuse"] | None,
        Flag("transcode|refuse", "what becomes of RTMP pushes with B-frames (default: transcode)"),
    ] = None
    auto_recording: Annotated[
        Literal["off", "mixed", "single"] | None,
        Flag("off|mixed|single", "recording of every room that is opened from now on"),
    ] = None
    auto_recording_content: Annotated[
        Literal["av", "audio", "video"] | None, Flag("av|audio|video", "what is recorded (default: av)")
    ] = None
    auto_recording_format: Annotated[
        Literal["hls", "mp4", "aac"] | None, Flag("hls|mp4|aac", "of the files (default: mp4); aac: sound only")
    ] = None
    auto_recording_minutes: Annotated[int | None, Flag("N", "how long one MP4 or AAC may be (default: 1440)")] = None
    auto_recording_wait: Annotated[
        int | None, Flag("SECONDS", "how long a room without anchors is waited for (default: 30)")
    ] = None
    auto_recording_bucket: Annotated[
        str | None, Flag("NAME", "where the files go (default, and '': the media library)")
    ] = None
    auto_recording_vendor: Annotated[
        Literal["cos", "aws"] | None, Flag("cos|aws", "whose bucket that is (default: cos)")
    ] = None
    auto_recording_region: Annotated[str | None, Flag("NAME", "of the bucket")] = None
    auto_recording_prefix: Annotated[
        tuple[str, ...] | None, Flag("A,B", "folders in the bucket, from the outside in, or none")
    ] = None
    auto_recording_expire: Annotated[
        int | None, Flag("SECONDS", "how long the media library keeps the files (default: 0, for ever)")
    ] = None
    auto_recording_class: Annotated[int | None, Flag("N", "their ClassId in the media library")] = None
    auto_recording_procedure: Annotated[str | None, Flag("NAME", "their Procedure in the media library")] = None

    async def run(self, site: Site) -> object:
        if self.changes_nothing("application"):
            raise AdminError("nothing to change: see --help for the settings")
        application = naming.application(site, self.application)
        await site.accounts.update_application(
            application.sdk_app_id, name=self.name, settings=self._changed(application.settings)
        )
        return await ApplicationsShow(application=str(application.sdk_app_id)).run(site)

    def _changed(self, settings: ApplicationSettings) -> ApplicationSettings:
        plain = msgspec.to_builtins(settings)
        if self.permission_control is not None:
            plain["permission_control"] = self.permission_control == "on"
        if self.scenes is not None:
            plain["scenes"] = tuple(dict.fromkeys(self.scenes))
        if self.concurrent_recordings is not None:
            plain["concurrent_recordings"] = self.concurrent_recordings
        if self.relay_codec is not None:
            plain["relay_codec"] = self.relay_codec
        if self.b_frames is not None:
            plain["b_frames"] = self.b_frames
        auto = dict(plain.get("auto_recording") or {})
        for flag, member in AUTO_MEMBERS.items():
            if (value := getattr(self, flag)) is not None:
                auto[member] = value
        if self.auto_recording == "off":
            plain["auto_recording"] = None
        elif self.auto_recording is not None or settings.auto_recording is not None:
            plain["auto_recording"] = auto | ({"mode": self.auto_recording} if self.auto_recording else {})
        elif auto:
            raise AdminError("automatic recording is off; turn it on with --auto-recording mixed or single")
        try:
            return msgspec.convert(plain, ApplicationSettings)
        except msgspec.ValidationError as error:
            raise AdminError(str(error)) from error


class ApplicationsRotateKey(Command, tag="applications.rotate-key", kw_only=True):
    """Make a new SDKSecretKey; UserSigs made with the old one stay good for a while."""

    example: ClassVar[str] = "applications rotate-key lessons --keep 604800"
    application: naming.ApplicationWord
    keep: Annotated[int, Flag("SECONDS", "how long the old key is good (default: a day; 0: it ends now)")] = (
        DEFAULT_KEEP_S
    )

    async def run(self, site: Site) -> object:
        application = naming.application(site, self.application)
        changed = await site.accounts.rotate_application_key(application.sdk_app_id, keep_previous_s=self.keep)
        shown = _key(site, changed)
        shown.pop("previous_key", None)
        if "previous_key_until" not in shown:
            return {**shown, "next": "The old key is not good any more: give the new one to whoever makes UserSigs."}
        steps = (
            "Both keys are good until then. Next:",
            "1. give the new key to every program that makes UserSigs;",
            f"2. to end the old one earlier: rtcloud admin applications forget-key {application.sdk_app_id}",
        )
        return {**shown, "next": "\n".join(steps)}


class ApplicationsForgetKey(Command, tag="applications.forget-key", kw_only=True):
    """End the previous SDKSecretKey now; UserSigs made with it are refused from then on."""

    example: ClassVar[str] = "applications forget-key lessons"
    application: naming.ApplicationWord

    async def run(self, site: Site) -> object:
        application = naming.application(site, self.application)
        if len(application.secret_keys(site.clock.now_ms())) < 2:
            raise AdminError(f"{application.sdk_app_id} has no previous key that is still good")
        await site.accounts.forget_previous_key(application.sdk_app_id)
        return {"sdk_app_id": application.sdk_app_id, "forgotten": "the previous SDKSecretKey"}


class ApplicationsShowKey(Command, tag="applications.show-key", kw_only=True):
    """The SDKSecretKey of an application, and the previous one while it is good."""

    example: ClassVar[str] = "applications show-key lessons"
    application: naming.ApplicationWord

    async def run(self, site: Site) -> object:
        return _key(site, naming.application(site, self.application))


class ApplicationsDelete(Command, tag="applications.delete", kw_only=True):
    """Delete an application: nobody can enter its rooms any more."""

    example: ClassVar[str] = "applications delete lessons"
    application: naming.ApplicationWord

    async def run(self, site: Site) -> object:
        application = naming.application(site, self.application)
        await site.accounts.delete_application(application.sdk_app_id)
        return {"deleted": application.sdk_app_id, "name": application.name}


COMMANDS = (
    ApplicationsCreate,
    ApplicationsList,
    ApplicationsShow,
    ApplicationsSet,
    ApplicationsRotateKey,
    ApplicationsForgetKey,
    ApplicationsShowKey,
    ApplicationsDelete,
)
