"""Reads an HLS index. Pure, and content with whatever it is given: what is wrong with it, others say."""

from dataclasses import dataclass, field

START = "#EXT-X-TRTC-START-REC-TIME:"
METADATA = "#EXT-X-TRTC-VIDEO-METADATA:"
MAX_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    name: str
    seconds: float
    discontinuity: bool  # before it
    size: tuple[int, int] | None  # of its pictures, as the last tag before it said


@dataclass(slots=True)
class Index:
    begin_ms: int | None = None
    target_seconds: int | None = None
    ended: bool = False
    entries: list[Entry] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def read_index(text: str) -> Index:
    index = Index()
    lines = [line.strip() for line in text.splitlines()]
    if not lines or lines[0] != "#EXTM3U":
        index.faults.append("it does not begin with #EXTM3U")
    seconds: float | None = None
    size: tuple[int, int] | None = None
    discontinuity = False
    for line in lines:
        if line.startswith("#EXTINF:"):
            seconds = _number(line.removeprefix("#EXTINF:").partition(",")[0], index, line)
        elif line == "#EXT-X-DISCONTINUITY":
            discontinuity = True
        elif line == "#EXT-X-ENDLIST":
            index.ended = True
        elif line.startswith("#EXT-X-TARGETDURATION:"):
            index.target_seconds = int(_number(line.partition(":")[2], index, line))
        elif line.startswith(START):
            index.begin_ms = int(_number(line.removeprefix(START), index, line)) or None
        elif line.startswith(METADATA):
            size = _size(line.removeprefix(METADATA), index, line)
        elif line and not line.startswith("#"):
            if seconds is None:
                index.faults.append(f"{line} has no length (#EXTINF)")
            index.entries.append(Entry(line, seconds or 0.0, discontinuity, size))
            seconds, discontinuity = None, False
    return index


def _number(text: str, index: Index, line: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e15:
        index.faults.append(f"{line[:80]!r} is no number")
        return 0.0
    return value


def _size(text: str, index: Index, line: str) -> tuple[int, int] | None:
    said = dict(part.partition(":")[::2] for part in text.split())
    try:
        return int(said["WIDTH"]), int(said["HEIGHT"])
    except (KeyError, ValueError):
        index.faults.append(f"{line[:80]!r} is no size")
        return None
