"""The directory of one attempt: who works in it, and what of its reports can be believed.

A job holds the lock of its directory as long as it lives. ``sole`` waits for that lock; a job whose worker died saw the
end of its stdin and goes by itself, one that does not is killed.
"""

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from rtcloud.clock import Clock
from rtcloud.store.objects import safe_segment
from rtcloud.tasks.protocol import LOCK, AnyJobEvent, FileClosed, FileOpened, OutputChanged, SourceChanged

PID = "job.pid"
_POLL_SECONDS = 0.05
_URL_CHARACTERS, _MESSAGE_CHARACTERS = 2048, 512

_log = logging.getLogger(__name__)


class GivenUpError(Exception):
    """Nobody wants to wait for the attempt any more."""


@contextlib.asynccontextmanager
async def sole(
    directory: Path, clock: Clock, patience: float, *, is_given_up: Callable[[], bool]
) -> AsyncIterator[None]:
    """Hold the attempt's lock, so that its process is dead; made so after ``patience`` seconds."""
    with (directory / LOCK).open("ab") as lock:
        began, killed = clock.monotonic(), False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waited = clock.monotonic() - began
            if is_given_up():
                raise GivenUpError
            if waited > patience and not killed:
                killed = True
                _kill(directory)
            if waited > 2 * patience:
                raise TimeoutError(f"the process of {directory} does not end")
            await asyncio.sleep(_POLL_SECONDS)
        yield


def write_pid(directory: Path, pid: int) -> None:
    (directory / PID).write_text(f"{pid} {boot_id()}\n")


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def is_sound(event: AnyJobEvent) -> bool:
    """Whether the event can be believed: it is numbered, a file is a plain name in the job's own directory, an address
    has a status that there is."""
    if event.sequence <= 0 or abs(event.at_ms) > 1 << 52:
        return False
    if isinstance(event, FileOpened | FileClosed):
        name = event.name
        numbers = (event.begin_ms, event.end_ms, event.size) if isinstance(event, FileClosed) else (event.begin_ms,)
        texts = (event.kind, event.track_type, event.user_id)
        return (
            0 < len(name.encode(errors="replace")) <= 250
            and safe_segment(name) == name
            and not name.startswith(".")
            and name not in (LOCK, PID)
            and all(0 <= number < 1 << 52 for number in numbers)
            and all(len(text) <= 64 and text.isprintable() for text in texts)
            and (not isinstance(event, FileClosed) or len(event.media_id) <= 8)
        )
    if isinstance(event, OutputChanged):
        return (
            0 < len(event.url) <= _URL_CHARACTERS
            and event.url.isprintable()
            and 0 <= event.status <= 5
            and 0 <= event.code < 1 << 31
            and len(event.message) <= _MESSAGE_CHARACTERS
        )
    if isinstance(event, SourceChanged):
        return len(event.message) <= _MESSAGE_CHARACTERS and event.message.isprintable()
    return True


def _kill(directory: Path) -> None:
    """The job whose lock is still held. Its number is believed only within the boot that gave it."""
    try:
        pid, boot = (directory / PID).read_text().split()
        if boot == boot_id():
            os.killpg(int(pid), signal.SIGKILL)
    except (OSError, ValueError):
        _log.warning("the process of an attempt cannot be found", extra={"spool": str(directory)})
