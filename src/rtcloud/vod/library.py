"""The library's files beside its rows: a file goes before its row, so what is left after a crash is found again.

Whoever is reading a file when it goes may finish: the system keeps it until then.
"""

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtcloud.clock import Clock
from rtcloud.store.database import Database, DatabaseClosedError
from rtcloud.vod import store
from rtcloud.vod.entry import Entry, access_key, folder

SWEEP_SECONDS = 30.0
AT_ONCE = 100  # entries of one step
PAUSE_SECONDS = 0.1

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class LibraryCounters:
    """For /metrics."""

    served: int = 0
    refused: int = 0
    expired: int = 0


class Library:
    def __init__(self, database: Database, media: Path, clock: Clock) -> None:
        self.counters = LibraryCounters()
        self._database = database
        self._media = media
        self._clock = clock

    async def locate(self, file_id: str, key: str, name: str) -> Path | None:
        """Where a file lies that may be read now. An entry that is not there, or not any more, and a wrong key or name
        are all the same."""
        entry = await self._database.read(lambda connection: store.find(connection, file_id))
        wanted = access_key("", file_id) if entry is None else entry.key  # takes as long for either
        is_right = hmac.compare_digest(wanted.encode(), key.encode(errors="surrogatepass"))
        if entry is None or not is_right or not entry.has(name):
            return None
        if entry.expires_ms is not None and entry.expires_ms <= self._clock.now_ms():
            return None
        return entry.path(self._media, name)

    async def remove(self, entries: Sequence[Entry]) -> list[Entry]:
        """Those that are gone: files that cannot be removed keep their rows."""
        gone = await asyncio.to_thread(lambda: [entry for entry in entries if self._unlink(entry)])
        if gone:
            file_ids = [entry.file_id for entry in gone]
            await self._database.write(lambda connection: store.remove(connection, file_ids))
        return gone

    async def sweep(self) -> int:
        """Remove what has expired; how many entries that were."""
        now_ms, count, after = self._clock.now_ms(), 0, ""
        while True:
            found = await self._expired(now_ms, after)
            if not found:
                return count
            count += len(await self.remove(found))
            after = found[-1].file_id
            await asyncio.sleep(PAUSE_SECONDS)

    async def _expired(self, now_ms: int, after: str) -> list[Entry]:
        return await self._database.read(lambda c: store.expired(c, now_ms, limit=AT_ONCE, after=after))

    async def run(self) -> None:
        """Sweeps, until cancelled."""
        while True:
            try:
                self.counters.expired += await self.sweep()
            except DatabaseClosedError:
                return
            except Exception:
                _log.exception("removing what has expired failed")
            await asyncio.sleep(SWEEP_SECONDS)

    def _unlink(self, entry: Entry) -> bool:
        """The index goes first, so that nobody begins to play what is half gone."""
        place = folder(self._media, entry.task_id)
        try:
            entry.path(self._media, entry.name).unlink(missing_ok=True)
            if entry.is_index and place.is_dir():
                for path in place.iterdir():
                    if entry.has(path.name):
                        path.unlink(missing_ok=True)
        except OSError:
            _log.exception("a file of the media library cannot be removed", extra={"file_id": entry.file_id})
            return False
        with contextlib.suppress(OSError):  # other files are in it, or it is gone
            place.rmdir()
        return True
