"""Users, key pairs and applications as values, and how new ids and keys are made."""

import secrets
from dataclasses import dataclass, field

import msgspec

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


class ApplicationSettings(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an operator may set per application."""

    concurrent_recordings: int = 100


@dataclass(frozen=True, slots=True)
class User:
    """Someone of an account who may hold key pairs; not a participant of rooms."""

    uin: str
    account_uin: str
    name: str
    policies: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyPair:
    secret_id: str
    secret_key: str = field(repr=False)
    user: User
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Application:
    sdk_app_id: int
    account_uin: str
    name: str
    secret_key: str = field(repr=False)
    settings: ApplicationSettings = ApplicationSettings()


class Credentials(msgspec.Struct, frozen=True):
    """The content of ``DIR/credentials.json``."""

    account_uin: str
    secret_id: str
    secret_key: str
    sdk_app_id: int
    sdk_secret_key: str
    endpoint: str


class UnknownApplicationError(ValueError):
    """An operator named an application that does not exist."""

    def __init__(self, sdk_app_id: int) -> None:
        super().__init__(f"there is no application {sdk_app_id}")


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
