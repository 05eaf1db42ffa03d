"""What a command of the operator is: a struct of its arguments, declared once for the wire and for the command line.

The tag of a command is its words (``keys.create`` is ``rtcloud admin keys create``); its docstring is its help (the
first sentence also stands in lists); each field says by a ``Word`` or a ``Flag`` how it is typed. ``run`` gives plain
data, printed as JSON or as a table. A secret is in the answer of the command that makes it and of ``show-key``, nowhere
else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from rtcloud.accounts.sessions import Sessions
from rtcloud.accounts.store import Accounts
from rtcloud.clock import Clock
from rtcloud.rooms.service import RoomService
from rtcloud.store.bus import Bus
from rtcloud.store.database import Database
from rtcloud.store.sealing import Sealer
from rtcloud.whip.sessions import Publisher


class AdminError(Exception):
    """What was asked cannot be done; the message says why."""


class FailedError(AdminError):
    """It is not the operator's fault; the server's log says more."""


@dataclass(frozen=True, slots=True)
class Site:
    """What the commands work on."""

    accounts: Accounts
    database: Database
    bus: Bus
    clock: Clock
    sessions: Sessions
    #: of the running server; None when none runs
    rooms: RoomService | None = None
    #: of the data
    directory: Path | None = None
    #: opens what tasks were asked to do, which says where their files are
    sealer: Sealer | None = None
    #: where the addresses of files in the media library begin, when a server runs
    library_url: str = ""
    #: who publishes by WHIP, when a server runs
    publishers: Callable[[], Sequence[Publisher]] = tuple


@dataclass(frozen=True, slots=True)
class Word:
    """An argument without a name. One that may be left out (its field has a default) may stand before others."""

    metavar: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class Flag:
    """``--field-name METAVAR``; of a bool, ``--field-name`` alone. ``parse`` makes the value where the text is typed;
    else the field's type does."""

    metavar: str
    help: str
    parse: Callable[[str], object] | None = None


class Command(msgspec.Struct, kw_only=True):
    """``example`` is what follows ``rtcloud admin``. ``bare`` names the only field to print without ``--json``."""

    example: ClassVar[str]
    bare: ClassVar[str] = ""

    async def run(self, site: Site) -> object:
        raise NotImplementedError

    @staticmethod
    def exit_status(_result: Any) -> int:
        return 0

    def changes_nothing(self, *subjects: str) -> bool:
        """Whether all that it says is which things it is about."""
        return all(getattr(self, name) is None for name in self.__struct_fields__ if name not in subjects)

    @classmethod
    def words(cls) -> tuple[str, ...]:
        return tuple(str(cls.__struct_config__.tag).split("."))


def iso(moment_ms: int) -> str:
    """Empty for what was made before its time was kept."""
    if not moment_ms:
        return ""
    return datetime.fromtimestamp(moment_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
