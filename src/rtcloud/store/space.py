"""How much room the disk of the data directory has, and whether it is so little that recordings must wait.

With less than ``reserve`` bytes free the disk counts as full, until a quarter more than that is free: what is kept back
is for the database, for journals and indexes, and for closing what is being written, so that nothing breaks.
"""

import asyncio
import logging
import os
from pathlib import Path

LOOK_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Space:
    """``free`` and ``is_full`` are as of the last look."""

    def __init__(self, directory: Path, reserve: int) -> None:
        self._directory = directory
        self._reserve = reserve
        self.free = 0
        self.is_full = False
        self.look()

    def look(self) -> None:
        try:
            found = os.statvfs(self._directory)
        except OSError:
            _log.exception("the disk's free space cannot be read")
            return
        self.free = found.f_bavail * found.f_frsize
        is_full = self.free < (self._reserve * 5 // 4 if self.is_full else self._reserve)
        if is_full != self.is_full:
            self.is_full = is_full
            said = "the disk is nearly full: recordings wait" if is_full else "the disk has room again"
            _log.log(logging.WARNING if is_full else logging.INFO, said, extra={"free": self.free})

    def has(self, needed: int) -> bool:
        """Whether so many bytes can be written and the reserve is still there."""
        return not self.is_full and self.free >= self._reserve + needed

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.get_running_loop().run_in_executor(None, self.look)
