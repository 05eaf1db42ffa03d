"""Accounts, users, key pairs, roles and applications as values, and how new ids and keys are made."""

import secrets
from dataclasses import dataclass, field
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from rtcloud.accounts.policies import Document, evaluate

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

KEY_PAIRS_PER_USER = 2
APPLICATIONS_PER_ACCOUNT = 100
USERS_PER_ACCOUNT = 1000
POLICIES_PER_ACCOUNT = 1500
ROLES_PER_ACCOUNT = 1000
ATTACHED_POLICIES = 30  # per user or role


class AccountSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What an operator may set per account. Networks are CIDR texts; with ``allowed_networks``, only those may call."""

    allowed_networks: tuple[str, ...] = ()
    denied_networks: tuple[str, ...] = ()


class AutoRecording(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Record every new room of the application by itself (G:1702).

    Files go to a bucket, with whatever keys the operator keeps for it, or (``bucket`` empty) into the media library.
    ``since_ms`` is when it was turned on, Unix ms: older rooms are left alone. ``ApplicationChanges`` keeps it.
    """

    mode: Literal["single", "mixed"] = "mixed"
    content: Literal["av", "audio", "video"] = "av"
    format: Literal["hls", "mp4", "aac"] = "mp4"
    file_minutes: Annotated[int, Meta(ge=1, le=1440)] = 1440  # after which an MP4 or AAC is split
    wait_s: Annotated[int, Meta(ge=1, le=86_400)] = 30  # how long nobody may be there until the recording ends
    bucket: Annotated[str, Meta(max_length=128, pattern=r"^([A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*)?$")] = ""
    vendor: Literal["cos", "aws"] = "cos"
    region: Annotated[str, Meta(max_length=64, pattern=r"^[A-Za-z0-9-]*$")] = ""
    prefix: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_-]+$")], ...], Meta(max_length=32)
    ] = ()
    expire_s: Annotated[int, Meta(ge=0, le=1 << 40)] = 0  # in the media library; 0: kept for ever
    class_id: Annotated[int, Meta(ge=0, le=(1 << 32) - 1)] = 0
    procedure: Annotated[str, Meta(max_length=256)] = ""
    since_ms: int = 0

    def __post_init__(self) -> None:
        if self.format == "aac" and self.content == "video":
            raise ValueError("format aac holds sound only, and content is video")

    @property
    def recorded(self) -> Literal["av", "audio", "video"]:
        """AAC holds sound, whatever else was chosen."""
        return "audio" if self.format == "aac" else self.content


class ApplicationSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """What an operator may set per application, beside its callbacks (``callbacks.targets``).

    ``permission_control``: whether entering needs a PrivateMapKey. ``scenes``: which kinds of rooms may be opened.
    ``relay_codec``: of the pictures that relays mix, from their start on. ``b_frames``: what becomes of pushed pictures
    that have some, which no browser shows.
    """

    concurrent_recordings: Annotated[int, Meta(ge=0, le=100_000)] = 100
    permission_control: bool = False
    scenes: Annotated[tuple[Literal["rtc", "live"], ...], Meta(min_length=1, max_length=2)] = ("rtc", "live")
    auto_recording: AutoRecording | None = None
    relay_codec: Literal["h264", "h265"] = "h264"
    b_frames: Literal["transcode", "refuse"] = "transcode"


@dataclass(frozen=True, slots=True)
class Account:
    uin: str
    name: str
    settings: AccountSettings = AccountSettings()
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """A preset (``account_uin`` empty, a fixed id below 1000) or one of an account's own."""

    policy_id: int
    account_uin: str
    name: str
    document: Document
    description: str = ""
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class User:
    """Someone of an account who may hold key pairs; not a participant of rooms."""

    uin: str
    account_uin: str
    name: str
    policies: tuple[Policy, ...] = ()
    created_ms: int = 0


#: Stands for every user of the account.
EVERYBODY = "*"


@dataclass(frozen=True, slots=True)
class Role:
    """What trusted users may become for a while. ``trusted``: user uins; ``*`` is every user of the account."""

    account_uin: str
    name: str
    trusted: tuple[str, ...]
    policies: tuple[Policy, ...] = ()
    description: str = ""
    created_ms: int = 0

    def trusts(self, user_uin: str) -> bool:
        return user_uin in self.trusted or EVERYBODY in self.trusted


@dataclass(frozen=True, slots=True)
class KeyPair:
    secret_id: str
    secret_key: str = field(repr=False)
    user: User
    enabled: bool = True
    created_ms: int = 0


@dataclass(frozen=True, slots=True)
class Application:
    """``previous_secret_key`` is good beside the present one until ``previous_until_ms``."""

    sdk_app_id: int
    account_uin: str
    name: str
    secret_key: str = field(repr=False)
    settings: ApplicationSettings = ApplicationSettings()
    previous_secret_key: str = field(default="", repr=False)
    previous_until_ms: int = 0
    created_ms: int = 0

    def secret_keys(self, now_ms: int) -> tuple[str, ...]:
        """Those that are good now, the present one first."""
        if self.previous_secret_key and now_ms < self.previous_until_ms:
            return self.secret_key, self.previous_secret_key
        return (self.secret_key,)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a caller's rights come from, so that a temporary credential made for it can be checked at each use.

    ``key_id`` is the permanent key pair at the root, ``role`` what was assumed on the way (empty: the user's own
    rights), ``policies`` the documents of the sessions since then. ``expires_ms`` 0 is never.
    """

    key_id: str = ""
    role: str = ""
    policies: tuple[Document, ...] = ()
    expires_ms: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request, and what that allows: every set of policies must grant it.

    A user has one set. A temporary credential adds the session's own policy as another; that of a role has the role's.
    """

    account_uin: str
    user_uin: str
    name: str
    policy_sets: tuple[tuple[Document, ...], ...]
    temporary: bool = False
    arn: str = ""
    origin: Origin = Origin()

    def may(self, action: str, resource: str, *, unless_denied: bool = False) -> bool:
        """``action`` is ``name/trtc:RemoveUser``, ``resource`` one that ``policies`` makes."""
        return all(evaluate(documents, action, resource, unless_denied=unless_denied) for documents in self.policy_sets)


class Credentials(msgspec.Struct, frozen=True):
    """The content of ``DIR/credentials.json``."""

    account_uin: str
    secret_id: str
    secret_key: str
    sdk_app_id: int
    sdk_secret_key: str
    endpoint: str


class AccountsError(ValueError):
    """A change that cannot be made; the message says why.

    ``kind`` lets a caller choose a code: ``not_found``, ``limit`` (a quota), ``in_use`` (a name that is taken, a thing
    that others need), ``invalid`` (a value). ``subject`` is account, user, key, policy, role, application or session.
    """

    def __init__(self, kind: Literal["not_found", "limit", "in_use", "invalid"], subject: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.subject = subject


def new_uin() -> str:
    return f"1000{secrets.randbelow(10**8):08}"


def new_secret_id() -> str:
    return "AKID" + _letters(32)


def new_secret_key() -> str:
    return _letters(32)


def new_sdk_app_id() -> int:
    return 1_400_000_000 + secrets.randbelow(100_000_000)


def new_sdk_secret_key() -> str:
    """64 hex digits; their text is the key."""
    return secrets.token_hex(32)


def _letters(count: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(count))
