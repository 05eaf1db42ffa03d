"""The documented names of recorded files as a table (guides 1784–1830), and the names that a recording must so have.

It knows nothing of the product's own code for names. ``docs/guide/recording.md`` holds the same templates.
"""

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MIX = "<SdkAppId>_<RoomId>"
_STREAM = "<SdkAppId>_<RoomId>__UserId_s_<UserId>__UserId_e_<MediaId>"
#: RecordMode and what a file is → its name. Of what was not split, without an index.
RULES = {
    ("single", "index"): f"{_STREAM}_<Type>.m3u8",
    ("single", "segment"): f"{_STREAM}_<Type>_<UTC>.ts",
    ("single", "mp4"): f"{_STREAM}.mp4",
    ("single", "aac"): f"{_STREAM}.aac",
    ("mixed", "index"): f"{_MIX}.m3u8",
    ("mixed", "segment"): f"{_MIX}_<UTC>.ts",
    ("mixed", "mp4"): f"{_MIX}.mp4",
    ("mixed", "aac"): f"{_MIX}.aac",
}
#: what OutputFormat keeps
FORMATS = {0: ("hls",), 1: ("hls", "mp4"), 2: ("hls", "aac"), 3: ("mp4",), 4: ("aac",)}
UTC = r"(\d{17})"

#: who sends what: user → main and aux → kinds
Sending = Mapping[str, Mapping[str, Sequence[str]]]


@dataclass(frozen=True)
class Asked:
    """RecordParams, and a word for the reader."""

    record_mode: int
    stream_type: int = 0
    output_format: int = 0
    av_merge: int = 0
    media_id: int = 0
    users: tuple[tuple[str, tuple[str, ...]], ...] = ()  # members of SubscribeStreamUserIds

    def __str__(self) -> str:
        numbers = f"mode {self.record_mode} type {self.stream_type} format {self.output_format}"
        further = f" merge {self.av_merge} media {self.media_id}"
        return numbers + further + "".join(f" {name}={'|'.join(ids)}" for name, ids in self.users)

    @property
    def mode(self) -> str:
        return {1: "single", 2: "mixed"}[self.record_mode]

    @property
    def kinds(self) -> tuple[str, ...]:
        return {0: ("audio", "video"), 1: ("audio",), 2: ("video",)}[self.stream_type]

    @property
    def fields(self) -> dict[str, Any]:
        return {
            "RecordMode": self.record_mode,
            "StreamType": self.stream_type,
            "AvMerge": self.av_merge,
            "MediaId": self.media_id,
            "SubscribeStreamUserIds": {name: list(ids) for name, ids in self.users},
        }

    def wants(self, user_id: str, media_id: str, kind: str) -> bool:
        if kind not in self.kinds or media_id not in {0: ("main", "aux"), 1: ("main",), 2: ("aux",)}[self.media_id]:
            return False
        lists, medium = dict(self.users), kind.capitalize()
        if allowed := lists.get(f"Subscribe{medium}UserIds"):
            return _is_named(user_id, allowed)
        return not _is_named(user_id, lists.get(f"UnSubscribe{medium}UserIds", ()))


@dataclass(frozen=True)
class Expected:
    """``pattern`` is of the whole name. ``holds``: the kinds of media in it."""

    what: str  # index, segment, mp4, aac
    pattern: str
    user_id: str = ""
    media_id: str = ""
    holds: tuple[str, ...] = ()

    @property
    def track_type(self) -> str:
        return "_".join(self.holds)

    def names(self, name: str) -> bool:
        return re.fullmatch(self.pattern, name) is not None


def expected(asked: Asked, sdk_app_id: int, room: int | str, sending: Sending) -> list[Expected]:
    """Every file of a recording of people who all the time send what they do; of segments one or more."""
    given = {"SdkAppId": str(sdk_app_id), "RoomId": encoded(room) if isinstance(room, str) else str(room)}
    formats, found = FORMATS[asked.output_format], []

    def add(what: str, user_id: str, media_id: str, kind: str, holds: tuple[str, ...]) -> None:
        values = given | {"UserId": encoded(user_id), "MediaId": media_id, "Type": kind}
        found.append(Expected(what, filled(RULES[asked.mode, what], values), user_id, media_id, holds))

    def add_hls(user_id: str, media_id: str, kind: str, holds: tuple[str, ...]) -> None:
        if "hls" in formats:
            add("index", user_id, media_id, kind, holds)
            add("segment", user_id, media_id, kind, holds)

    if asked.mode == "mixed":
        add_hls("", "", "", asked.kinds)
        for whole in formats[-1:] if formats[-1] != "hls" else ():
            add(whole, "", "", "", ("audio",) if whole == "aac" else asked.kinds)
        return found
    for user_id, streams in sending.items():
        for media_id, sent in streams.items():
            holds = tuple(kind for kind in sent if asked.wants(user_id, media_id, kind))
            if holds and asked.av_merge and asked.stream_type == 0:
                add_hls(user_id, media_id, "audiovideo", ("audio", "video"))
            else:
                for kind in holds:
                    add_hls(user_id, media_id, kind, (kind,))
            if holds and "mp4" in formats:
                add("mp4", user_id, media_id, "", holds)
            if "audio" in holds and "aac" in formats:
                add("aac", user_id, media_id, "", ("audio",))
    return found


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode().translate(str.maketrans("/=", "-."))


def filled(rule: str, values: Mapping[str, str]) -> str:
    """A pattern of the names by ``rule``."""
    parts = re.split(r"<(\w+)>", rule)
    return "".join(
        UTC if part == "UTC" else re.escape(values[part] if odd % 2 else part) for odd, part in enumerate(parts)
    )


def table(wanted: Sequence[Expected], found: Sequence[str]) -> str:
    """What must be there beside what is."""
    rows = [(each.what, each.pattern, [name for name in found if each.names(name)]) for each in wanted]
    lines = [f"{what:8} {pattern}: {', '.join(names) or 'MISSING'}" for what, pattern, names in rows]
    stray = [name for name in found if not any(each.names(name) for each in wanted)]
    return "\n".join([*lines, *(f"STRAY    {name}" for name in stray)])


def _is_named(user_id: str, entries: Sequence[str]) -> bool:
    return any(user_id.startswith(each[:-3]) if each.endswith(".*$") else user_id == each for each in entries)
