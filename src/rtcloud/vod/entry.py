"""An entry of the media library: a file that plays on its own (an MP4, an AAC, an HLS index together with its
segments), what it is known by, and what belongs to it. Pure.

FileId and key are made of the task's id, which holds 272 bits of chance, and the file's name: a step that is repeated
after a crash gives the same ones. Who knows the address may watch; the FileId alone opens nothing.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from rtcloud.rooms.ids import RoomRef
from rtcloud.store.objects import safe_key

#: of the data directory; the files of a task lie in a directory with its id
DIRECTORY = "media"
#: where the addresses of files begin, below that of the server
ADDRESS = "/vod"
INDEX = ".m3u8"
_FEWEST_DIGITS, _MORE = 10**18, 8 * 10**18  # 19 digits, and what 64 bits with a sign hold
_LATEST_MS = 1 << 53
_SEGMENT = re.compile(r"_\d{17}\.ts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    task_id: str
    name: str  # the documents' CacheFile
    ref: RoomRef
    user_id: str = ""  # whose stream it is; "" of a mix
    media_id: str = "mix"  # main, aux, mix
    track_type: str = "audio_video"
    begin_ms: int
    end_ms: int
    size: int  # of an index as it is kept: with its segments
    arrived_ms: int
    expires_ms: int | None = None  # None: kept for ever
    #: what the request says of the file beside, by the API's names: kept and shown
    details: Mapping[str, str | int] = field(default_factory=dict)

    @property
    def file_id(self) -> str:
        return file_id(self.task_id, self.name)

    @property
    def key(self) -> str:
        return access_key(self.task_id, self.name)

    @property
    def is_index(self) -> bool:
        return self.name.endswith(INDEX)

    def has(self, name: str) -> bool:
        """Whether a file of the task's directory belongs to this entry."""
        return name == self.name or (self.is_index and is_segment_of(self.name, name))

    def path(self, media: Path, name: str) -> Path:
        """``media`` is the library's directory; ``name`` is one that the entry ``has``."""
        return folder(media, self.task_id) / safe_key([name])


def folder(media: Path, task_id: str) -> Path:
    return media / safe_key([task_id])


def file_id(task_id: str, name: str) -> str:
    """Digits only, as many as the documents' FileIds have."""
    return str(_FEWEST_DIGITS + int.from_bytes(_digest("id", task_id, name)[:16]) % _MORE)


def access_key(task_id: str, name: str) -> str:
    return base64.urlsafe_b64encode(_digest("key", task_id, name)[:24]).decode()


def location(task_id: str, name: str) -> str:
    """What follows the library's address in the file's."""
    return f"/{file_id(task_id, name)}/{access_key(task_id, name)}/{quote(name, safe='')}"


def is_segment_of(index: str, name: str) -> bool:
    stem = index.removesuffix(INDEX)
    return name.startswith(stem) and _SEGMENT.fullmatch(name, len(stem)) is not None


def expiry_ms(arrived_ms: int, seconds: int) -> int | None:
    """0 seconds: never."""
    return min(arrived_ms + seconds * 1000, _LATEST_MS) if seconds else None


def _digest(*parts: str) -> bytes:
    return hashlib.sha256("\n".join(("rtcloud media library", *parts)).encode()).digest()
