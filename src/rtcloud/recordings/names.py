"""What the documented name of a recorded file says. Pure.

Mixed: ``<SdkAppId>_<RoomId>`` and then ``.m3u8``, ``_<UTC>.ts``, ``[_<Index>].mp4``. Of single streams
``__UserId_s_<UserId>__UserId_e_<MediaId>`` follows the room (a relay's recordings have one underscore there), and
``_<Type>`` follows that in indexes and segments. ``ha1_``, ``ha2_`` … stand before what later attempts wrote: the
documents end with 3, but a robot that went with its server in an orderly restart is started again, too. Ids are base64
with ``-`` for ``/`` and ``.`` for ``=``, so no id holds an underscore; a numeric room stands as it is.
"""

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

Kind = Literal["index", "segment", "whole"]
#: the documents spell the last one both ways
TYPES = {"audio": "audio", "video": "video", "audiovideo": "audio_video", "audio_video": "audio_video"}

_ID = r"[A-Za-z0-9+\-]+\.{0,2}"
_NAME = re.compile(
    r"(?:[A-Za-z0-9_-]{1,64}?__UserId_u_)?"  # UserDefineRecordId of what goes to VOD
    r"(?:ha(?P<attempt>[1-9]\d{0,3})_)?"
    rf"(?P<stem>(?P<app>[1-9]\d{{0,9}})_(?P<room>{_ID})"
    rf"(?P<single>__?UserId_s_(?P<user>{_ID})__?UserId_e_(?P<media_id>main|aux))?)"
    r"(?:_(?P<type>audio|video|audiovideo|audio_video))?"
    r"(?:_(?P<number>\d+))?"
    r"\.(?P<extension>m3u8|ts|mp4|aac)"
)
_KINDS: dict[str, Kind] = {"m3u8": "index", "ts": "segment", "mp4": "whole", "aac": "whole"}
_UTC_DIGITS = 17


@dataclass(frozen=True, slots=True)
class FileName:
    """``room`` and ``user`` are as they stand in the name; ``user`` and ``media_id`` are empty for a mix."""

    text: str
    kind: Kind
    attempt: int
    sdk_app_id: int
    room: str
    user: str
    media_id: str
    media: str  # of single streams' indexes and segments: audio, video, audio_video; else ""
    begin_ms: int | None  # of segments
    part: int | None  # of what was split
    extension: str

    @property
    def family(self) -> tuple[int, int, str, str, str, str]:
        """What the segments of one index have in common."""
        return (self.attempt, self.sdk_app_id, self.room, self.user, self.media_id, self.media)

    @property
    def stream(self) -> tuple[int, str, str, str]:
        """Whose media it is, whatever the attempt and the file's form."""
        return (self.sdk_app_id, self.room, self.user, self.media_id)


def read_name(text: str) -> FileName | None:
    """None for whatever is not named by the documents' rules."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    extension, single, number, media = found["extension"], found["single"], found["number"], found["type"]
    kind = _KINDS[extension]
    begin_ms = read_utc(number) if kind == "segment" and number else None
    is_named_so = {
        "index": number is None and bool(media) == bool(single),
        "segment": begin_ms is not None and bool(media) == bool(single),
        "whole": not media and (number is None or not number.startswith("0")),
    }[kind]
    if not is_named_so:
        return None
    return FileName(
        text=text,
        kind=kind,
        attempt=int(found["attempt"] or 0),
        sdk_app_id=int(found["app"]),
        room=found["room"],
        user=found["user"] or "",
        media_id=found["media_id"] or "",
        media=TYPES.get(media or "", ""),
        begin_ms=begin_ms,
        part=int(number) if kind == "whole" and number else None,
        extension=extension,
    )


def read_utc(digits: str) -> int | None:
    """20330531094551825, year to milliseconds in UTC, as Unix milliseconds."""
    if len(digits) != _UTC_DIGITS:
        return None
    try:
        moment = datetime.strptime(digits[:14], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1) + int(digits[14:])


def decode_id(text: str) -> str:
    """The id that a name carries; the text itself when it is no base64 (a numeric room)."""
    try:
        return base64.b64decode(text.replace("-", "/").replace(".", "="), validate=True).decode()
    except (binascii.Error, ValueError):
        return text
