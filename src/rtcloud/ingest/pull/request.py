"""The accepted pull request: what StartStreamIngest and its updates took, with the documented defaults filled in.

It crosses two seams as JSON with the API's own member names: the API writes it into the task's row (sealed, as an
address may hold keys), the worker puts it into the job's order and its updates. Values were validated before, so
readers check nothing again. UserSig and PrivateMapKey are not in it: the signed call admitted the user.
"""

from typing import Literal
from urllib.parse import urlsplit

import msgspec

from rtcloud.rooms.ids import RoomRef

KIND = "ingest"

#: Leave codes of a pull that ended by itself, beside the documented ones of robots (``robots.entering``).
PLAYED_OUT = 110  # the source ended as often as it was asked for, or MaxDuration is over
SOURCE_GONE = 111  # no attempt to read it succeeded any more
UNUSABLE = 112  # nothing in it can be made fit for a room


class IngestRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    sdk_app_id: int
    room_id: str
    room_id_type: Literal[0, 1] = 1  # 0 string room, 1 numeric room (decimal text in room_id)
    user_id: str
    stream_url: str
    seek_second: int = 0  # of the first run only
    repeat_num: int = 1  # how often it is played; -1: until it is stopped, or max_duration
    max_duration: int = 0  # minutes, with repeat_num -1; 0: no limit
    volume: int = 100  # per cent
    is_pause: bool = False
    #: ours: counts the calls that named an address, so that the same one named again begins anew
    url_revision: int = 0

    @property
    def ref(self) -> RoomRef:
        return RoomRef(self.sdk_app_id, self.room_id_type == 1, self.room_id)

    def __repr__(self) -> str:
        return f"IngestRequest({place(self.stream_url)})"  # paths and queries may hold secrets


def encode(request: IngestRequest) -> bytes:
    return msgspec.json.encode(request)


def decode(params: bytes) -> IngestRequest:
    return msgspec.json.decode(params, type=IngestRequest)


def place(url: str) -> str:
    """What of an address may be shown: its scheme, host and port."""
    try:
        parts = urlsplit(url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
        return f"{parts.scheme}://{host}{'' if parts.port is None else f':{parts.port}'}"
    except ValueError:
        return url.partition("://")[0] + "://…"
