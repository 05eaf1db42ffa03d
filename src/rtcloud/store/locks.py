"""Locks between processes on one data directory: held by an open file, freed by the kernel when the process ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from rtcloud.errors import ConfigError


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Hold ``path`` alone. ConfigError when another process does; its pid is in the file."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(descriptor, 20).decode(errors="replace").strip() or "unknown"
            raise ConfigError(f"{path.parent}: in use by another rtcloud (process {holder})") from None
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        yield
    finally:
        os.close(descriptor)
