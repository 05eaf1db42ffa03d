"""What every role of a process stands on, and how they end together."""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from rtcloud.accounts.store import Accounts
from rtcloud.clock import Clock
from rtcloud.config import Config
from rtcloud.errors import ConfigError
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import Database
from rtcloud.store.sealing import Sealer
from rtcloud.store.space import Space

_log = logging.getLogger(__name__)


class Stop:
    """Asked for by a signal, or caused by the end of a part without which the rest is only a shell."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._parts: list[asyncio.Task[None]] = []
        self.failed = False

    @property
    def is_asked(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        """Asked again, the process ends at once: jobs see the end of their stdin, and close their files."""
        if self._asked.is_set():
            os._exit(1)
        self._asked.set()

    def depend_on(self, part: asyncio.Task[None]) -> None:
        self._parts.append(part)

    def _ended(self, part: asyncio.Task[None]) -> None:
        if not self._asked.is_set():
            _log.critical("a part of the server ended, stopping", extra={"part": part.get_name()})
            self.failed = True
            self._asked.set()

    async def wait(self) -> None:
        for part in self._parts:
            part.add_done_callback(self._ended)
        await self._asked.wait()


class Hangup:
    """SIGHUP: what can be read again without a restart is."""

    def __init__(self, load: Callable[[], Config]) -> None:
        self._load = load
        self._readers: list[Callable[[Config], None]] = []

    def add(self, reader: Callable[[Config], None]) -> None:
        """``reader`` is called with the settings as they are then."""
        self._readers.append(reader)

    def happen(self) -> None:
        try:
            config = self._load()
        except ConfigError as error:
            _log.error("the settings were not read again", extra={"reason": str(error)})
            return
        for reader in self._readers:
            reader(config)


@dataclass(frozen=True, slots=True)
class Foundation:
    """What every role stands on."""

    config: Config
    clock: Clock
    database: Database
    sealer: Sealer
    accounts: Accounts
    bus: LocalBus
    stop: Stop
    space: Space
    hangup: Hangup
