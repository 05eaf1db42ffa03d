"""``DIR/images``: pictures as files named by their content, which jobs read and nobody changes.

A file is complete or absent: it is written beside its name and moved there. It stays while an open task names it, and
at least ``GRACE_SECONDS`` after it was last asked for, which covers the moment between ``keep`` and the durable task
(each ``keep`` renews the file's time). ``sweep`` removes the rest. All of it together is bounded: when full, what
nobody names goes earlier, and then pictures are refused.

The same address asked for at once is fetched once; for ``REMEMBERED_SECONDS`` it is not fetched again.
"""

import asyncio
import hashlib
import logging
import os
import tempfile
import threading
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

from rtcloud.aio import spawn
from rtcloud.clock import Clock
from rtcloud.images.fetching import AT_ONCE, Fetcher, ImageError
from rtcloud.store.database import DatabaseClosedError
from rtcloud.watermarks.image import FETCHED, PictureError, check_picture
from rtcloud.watermarks.store import DECODING, WatermarkError, Watermarks

WATERMARK = "watermark:"
GRACE_SECONDS = 86_400
SHORT_GRACE_SECONDS = 600  # when the directory is full
SWEEP_SECONDS = 3600.0
REMEMBERED_SECONDS = 30.0
MOST_REMEMBERED = 1024
MOST_WAITING = 256
MOST_BYTES = 4 << 30

#: The names of all files that open tasks use.
Named = Callable[[], Awaitable[Collection[str]]]

_EXTENSIONS = {"jpeg": "jpg"}
_log = logging.getLogger(__name__)


class Images:
    def __init__(
        self,
        directory: Path,
        fetcher: Fetcher,
        watermarks: Watermarks,
        clock: Clock,
        *,
        named: Named,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._directory = directory
        self._fetcher = fetcher
        self._watermarks = watermarks
        self._clock = clock
        self._named = named
        self._most_bytes = most_bytes
        self._fetching = asyncio.Semaphore(AT_ONCE)
        self._decoding = asyncio.Semaphore(DECODING)
        self._under_way: dict[str, asyncio.Task[str | ImageError]] = {}
        self._remembered: dict[str, tuple[str, float]] = {}
        self._files = threading.Lock()  # between a file's renewal and its removal

    async def keep(self, sdk_app_id: int, url: str) -> str:
        """The name of the file below the directory. Raises ImageError."""
        if url.startswith(WATERMARK):
            return await self._keep(await self._watermark(sdk_app_id, url.removeprefix(WATERMARK)))
        if (known := self._recall(url)) is not None and await asyncio.to_thread(self._renew, known):
            return known
        running = self._under_way.get(url)
        if running is None:
            if len(self._under_way) >= MOST_WAITING:
                raise ImageError("could not be fetched: too many others are being fetched now")
            running = self._under_way[url] = spawn(self._fetch(url), name="image")
        outcome = await asyncio.shield(running)  # who asks may go away; others may wait for the same
        if isinstance(outcome, ImageError):
            raise ImageError(str(outcome))
        return outcome

    async def sweep(self, grace_seconds: float = GRACE_SECONDS) -> int:
        """Remove what no open task names and nobody asked for lately; how many files that were."""
        before = self._clock.now_ms() / 1000 - grace_seconds
        named = frozenset(await self._named())
        return await asyncio.to_thread(self._remove, named, before)

    async def run(self) -> None:
        """Sweeps, until cancelled."""
        while True:
            try:
                if removed := await self.sweep():
                    _log.info("pictures that no task names were removed", extra={"files": removed})
            except DatabaseClosedError:
                return
            except Exception:
                _log.exception("looking for pictures that no task names failed")
            await asyncio.sleep(SWEEP_SECONDS)

    async def close(self) -> None:
        for running in tuple(self._under_way.values()):
            running.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        await self._fetcher.close()

    async def _watermark(self, sdk_app_id: int, watermark_id: str) -> bytes:
        try:
            return (await self._watermarks.find(sdk_app_id, watermark_id))[1]
        except WatermarkError as error:
            raise ImageError(f"cannot be had: {error}") from None

    async def _fetch(self, url: str) -> str | ImageError:
        try:
            async with self._fetching:
                content = await self._fetcher.fetch(url)
            name = await self._keep(content)
            self._remember(url, name)
            return name
        except ImageError as error:
            return error
        finally:
            del self._under_way[url]

    async def _keep(self, content: bytes) -> str:
        try:
            async with self._decoding:
                picture = await asyncio.to_thread(check_picture, content, FETCHED)
        except PictureError as error:
            raise ImageError(str(error)) from None
        name = f"{hashlib.sha256(content).hexdigest()}.{_EXTENSIONS.get(picture.format, picture.format)}"
        try:
            if not await asyncio.to_thread(self._write, name, content):
                await self.sweep(SHORT_GRACE_SECONDS)
                if not await asyncio.to_thread(self._write, name, content):
                    _log.warning("the images directory is full", extra={"bytes": self._most_bytes})
                    raise ImageError("cannot be kept: this server holds too many pictures now")
        except OSError as error:
            _log.exception("a picture cannot be written")
            raise ImageError("cannot be kept: the server's disk refuses it") from error
        return name

    def _recall(self, url: str) -> str | None:
        name, until = self._remembered.get(url, ("", 0.0))
        return name if until > self._clock.monotonic() else None

    def _remember(self, url: str, name: str) -> None:
        self._remembered.pop(url, None)
        while len(self._remembered) >= MOST_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[url] = (name, self._clock.monotonic() + REMEMBERED_SECONDS)

    # -- files, in threads ---------------------------------------------------------------------------------------------

    def _renew(self, name: str) -> bool:
        """Whether the file is there; if so, it is as good as new."""
        now = self._clock.now_ms() / 1000
        with self._files:
            try:
                os.utime(self._directory / name, (now, now))
            except FileNotFoundError:
                return False
        return True

    def _write(self, name: str, content: bytes) -> bool:
        """False when the directory is full."""
        if self._renew(name):
            return True
        with self._files:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.scandir(self._directory) as entries:
                if sum(entry.stat().st_size for entry in entries) + len(content) > self._most_bytes:
                    return False
            # mkstemp makes it readable for us alone
            descriptor, beside = tempfile.mkstemp(prefix=".", dir=self._directory)
            try:
                with open(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                now = self._clock.now_ms() / 1000
                os.utime(beside, (now, now))
                os.replace(beside, self._directory / name)
            except BaseException:
                os.unlink(beside)
                raise
        return True

    def _remove(self, named: frozenset[str], before: float) -> int:
        removed = 0
        if not self._directory.is_dir():
            return 0
        with os.scandir(self._directory) as entries:
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        for name in names:
            path = self._directory / name
            with self._files:
                if name not in named and path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed
