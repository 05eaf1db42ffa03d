"""The documented names of a recording's files.

Mixed: ``<SdkAppId>_<RoomId>_<UTC>.ts``, ``<SdkAppId>_<RoomId>.m3u8``, ``<SdkAppId>_<RoomId>[_<Index>].mp4``. One
user's stream: ``…__UserId_s_<UserId>__UserId_e_<MediaId>`` after the room (a relay's files have one underscore where a
recording's have two), with ``_<Type>`` behind it in segments and index, and ``[_<Index>]`` in the rest. Attempt n > 0
puts ``ha<n>_`` before segments and index, so nothing of an earlier attempt is overwritten. MP4 files are made once, at
the end, from the media of all attempts; the documents give them no such prefix. What goes to VOD may have
``<UserDefineRecordId>__UserId_u_`` before everything else, or as much of that id as the longest of a stream's names has
room for.
"""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime

#: What recovery must know of what an attempt records, written beside the journal when the first segment opens. Of
#: several indexes each has its own: recording-1.json and so on.
FACTS = "recording.json"
RECORDING, RELAY = "__", "_"
OWN = "__UserId_u_"
LONGEST = 250  # bytes that a file system takes, and a draft's number beside


@dataclass(frozen=True, slots=True)
class FileNames:
    sdk_app_id: int
    numeric: bool
    room_id: str
    attempt: int = 0
    user_id: str = ""  # of a single stream; "" for a mix
    media_id: str = "mix"  # main or aux of a single stream
    media: str = ""  # a single stream's Type: audio, video, audiovideo
    mark: str = RECORDING  # stands before UserId_s and UserId_e
    record_id: str = ""  # UserDefineRecordId

    @property
    def index(self) -> str:
        return f"{self.series}.m3u8"

    @property
    def series(self) -> str:
        """What the names of an index and of its segments begin with."""
        return f"{self._own}{self._ha}{self._stem}{self._type}"

    def segment(self, begin_ms: int) -> str:
        return f"{self.series}_{utc(begin_ms)}.ts"

    def whole(self, part: int | None, extension: str = "mp4") -> str:
        """``part`` counts from 1 and is None when the recording was not split."""
        return f"{self._own}{self._stem}{'' if part is None else f'_{part}'}.{extension}"

    @property
    def _stem(self) -> str:
        room = f"{self.sdk_app_id}_{self.room_id if self.numeric else encode_id(self.room_id)}"
        mark = self.mark
        whose = f"{mark}UserId_s_{encode_id(self.user_id)}{mark}UserId_e_{self.media_id}" if self.user_id else ""
        return room + whose

    @property
    def _type(self) -> str:
        return f"_{self.media}" if self.user_id else ""

    @property
    def _own(self) -> str:
        others = len(f"ha99_{self._stem}_audiovideo_{utc(0)}.ts{OWN}")
        kept = self.record_id[: max(0, LONGEST - others)]
        return f"{kept}{OWN}" if kept else ""

    @property
    def _ha(self) -> str:
        return f"ha{self.attempt}_" if self.attempt else ""


def series_of(segment: str) -> str:
    """The ``series`` that a segment of this name belongs to."""
    return segment.rpartition("_")[0]


def encode_id(text: str) -> str:
    """Base64 with what a path could not carry replaced, as documented."""
    return base64.b64encode(text.encode()).decode().replace("/", "-").replace("=", ".")


def utc(at_ms: int) -> str:
    """Year to milliseconds, time zone UTC: 20330531094551825."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y%m%d%H%M%S}{at_ms % 1000:03d}"
