"""Where finished files go: objects under a key, kept by obstore; here in ``DIR/files``, by the calls any store answers.

A key is a row of segments (bucket, prefixes, task id, file name). Segments come from API requests: each is made safe
on its own (``safe_segment``), so none can climb out of the root or into another's folder. ``put`` returns only when
the object is whole and durable; a reader never sees a part of one. ``s3`` has the stores that are elsewhere.
"""

import asyncio
import contextlib
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore, MemoryStore

#: codes of ours
DISK_FULL, UNREACHABLE, TIMED_OUT = "DiskFull", "Unreachable", "RequestTimeout"
#: that say nothing of the object
OUT_OF_REACH = frozenset({DISK_FULL, UNREACHABLE, TIMED_OUT})
#: of the data directory; what goes to no other store lies there
FILES = "files"
SEGMENT_BYTES = 250  # the longest names of the documents
#: by the end of a name: so that a browser plays what it gets
CONTENT_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".ts": "video/mp2t",
    ".mp4": "video/mp4",
    ".aac": "audio/aac",
}
# "#" begins the number of a draft beside the file that is being written
_UNSAFE = re.compile(r"[/#\\\x00-\x1f\x7f\ud800-\udfff]")


class StorageError(Exception):
    """The store did not take the object. ``code`` and ``message`` are the store's own (callback 308 shows them)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A bucket as a request names it, with the keys that open it: they are secrets."""

    name: str
    vendor: str = ""  # cos, aws
    region: str = ""
    endpoint_url: str = ""
    access_key: str = field(default="", repr=False)
    secret_key: str = field(default="", repr=False)


class Objects(Protocol):
    @property
    def place(self) -> str:
        """Which store this is: what goes to one place shares what that can take."""
        ...

    @property
    def is_remote(self) -> bool:
        """Whether the store is somebody else's, who may refuse: it is asked (``probe``) before it is relied on."""
        ...

    async def put(self, key: Sequence[str], source: Path) -> None:
        """Store the file ``source`` under ``key``, in place of what was there. ``StorageError`` if that fails."""
        ...

    async def probe(self, folder: Sequence[str]) -> None:
        """Whether objects can be put there: a small one is, and removed if the store lets us. ``StorageError``."""
        ...


class Stores(Protocol):
    def of(self, bucket: Bucket) -> Objects:
        """The store that keeps the bucket. Keys given to it begin with the bucket's name."""
        ...


def safe_segment(text: str) -> str:
    """``text`` as one path segment. Usual names stay as they are; anything that could be misread is escaped."""
    escaped = _UNSAFE.sub(lambda match: f"%{ord(match.group()):02X}", text)
    if set(escaped) <= {"."}:
        escaped = escaped.replace(".", "%2E") or "%"
    if len(escaped.encode()) > SEGMENT_BYTES:
        digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:32]
        escaped = escaped.encode()[: SEGMENT_BYTES - 33].decode(errors="ignore") + "-" + digest
    return escaped


def safe_key(segments: Sequence[str]) -> str:
    return "/".join(safe_segment(segment) for segment in segments)


class LocalObjects:
    """Files below ``root``. Written beside their place, renamed, then synced."""

    is_remote = False

    def __init__(self, root: Path, place: str = FILES) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self.place = place
        self.root = root
        self._store = LocalStore(prefix=root)

    def path(self, key: Sequence[str]) -> Path:
        return self.root / safe_key(key)

    async def put(self, key: Sequence[str], source: Path) -> None:
        with _translated():
            await obstore.put_async(self._store, safe_key(key), source)
            await asyncio.get_running_loop().run_in_executor(None, self._settle, self.path(key))

    async def probe(self, folder: Sequence[str]) -> None:
        """The root was made at the start; a full disk shows with a file."""

    def _settle(self, path: Path) -> None:
        """Make the file and its way from the root durable; drop drafts (``name#1``…) of a killed process."""
        for draft in path.parent.glob(f"{_literal(path.name)}#*"):
            draft.unlink(missing_ok=True)
        _sync(path)
        for folder in path.parents:
            _sync(folder)
            if folder == self.root:
                break


class MemoryObjects:
    """The twin for tests."""

    place = "memory"
    is_remote = False

    def __init__(self) -> None:
        self._store = MemoryStore()

    async def put(self, key: Sequence[str], source: Path) -> None:
        with _translated():
            await obstore.put_async(self._store, safe_key(key), source)

    async def probe(self, folder: Sequence[str]) -> None: ...

    async def read(self, key: Sequence[str]) -> bytes:
        with _translated():
            found = await obstore.get_async(self._store, safe_key(key))
            return bytes(await found.bytes_async())


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (BaseError, OSError, ValueError) as error:
        message = str(error).split("\n", 1)[0]
        if "No space left" in message:
            raise StorageError(DISK_FULL, "the disk that keeps the files is full") from error
        raise StorageError(type(error).__name__.removesuffix("Error"), message[:500]) from error


def _literal(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
