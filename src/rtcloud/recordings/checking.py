"""What must hold of recorded files that were played: names, indexes, gaps, lengths, picture and sound. Pure.

A *fault* is something that no recording of ours may have. A *note* is what may be right and is worth knowing: people
mute themselves, so a single stream has gaps; a mixed recording has none.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rtcloud.recordings.index import Entry, Index
from rtcloud.recordings.names import FileName, read_name
from rtcloud.recordings.playing import Played

#: seconds by which lengths and places on the clock may differ
TOLERANCE_S = 0.3
SOUND_GAP_S = 0.1
PICTURE_GAP_S = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    file: str
    check: str  # name, plays, index, gap, sync, length, size, checksum, missing
    message: str
    is_fault: bool = True


@dataclass(frozen=True, slots=True)
class Checked:
    """A file with its name as the documents read it, and what it plays."""

    name: FileName
    played: Played

    @property
    def is_mixed(self) -> bool:
        return not self.name.user


def check_played(file: Checked) -> Iterator[Finding]:
    """One media file by itself."""
    text, played = file.name.text, file.played
    for error in played.errors:
        yield Finding(text, "plays", error)
    sound, pictures = played.of("audio"), played.of("video")
    wants = {"audio": ("audio",), "video": ("video",), "audio_video": ()}.get(file.name.media, ())
    for kind in ("audio", "video"):
        if wants and (played.of(kind) is not None) != (kind in wants) and played.streams:
            yield Finding(text, "name", f"its name says {file.name.media}, but there is {_streams(played)} in it")
            break
    is_segment = file.name.kind == "segment"
    for stream, most in ((sound, SOUND_GAP_S), (pictures, PICTURE_GAP_S)):
        if stream is not None and stream.gap[1] > most:
            where, length = stream.gap
            message = f"{stream.kind} is missing for {length:.2f} s at {where - played.begin:.2f} s"
            yield Finding(text, "gap", message, is_fault=is_segment and file.is_mixed)
    if sound is not None and pictures is not None:
        for word, apart in (("begin", sound.begin - pictures.begin), ("end", sound.end - pictures.end)):
            if abs(apart) > TOLERANCE_S:
                first, second = ("sound", "pictures") if apart < 0 else ("pictures", "sound")
                message = f"{first} {word} {abs(apart):.2f} s before {second}"
                yield Finding(text, "sync", message, is_fault=is_segment and file.is_mixed)


def check_index(
    name: FileName, index: Index, segments: Mapping[str, Checked], *, is_running: bool
) -> Iterator[Finding]:
    """An index against the segments that lie beside it (those of all indexes)."""

    def found(message: str, check: str = "index", *, is_fault: bool = True) -> Finding:
        return Finding(name.text, check, message, is_fault)

    for fault in index.faults:
        yield found(fault)
    if not index.ended:
        words = "it has no end (#EXT-X-ENDLIST): the recording goes on, or was not closed"
        yield found(words, is_fault=not is_running)
    if not index.entries:
        yield found("it names no segment")
        return
    for text, times in Counter(entry.name for entry in index.entries).items():
        if times > 1:
            yield found(f"{text} is named {times} times")
    own = [(entry, known) for entry in index.entries if (known := _own(name, entry)) is not None]
    for entry in index.entries:
        if _own(name, entry) is None:
            yield found(f"{entry.name} is no segment of it")
        elif entry.name not in segments:
            yield found(f"{entry.name} is not there", "missing")
    if own and index.begin_ms != own[0][1].begin_ms:
        yield found(f"it begins at {index.begin_ms}, its first segment at {own[0][1].begin_ms} (Unix ms)")
    longest = max(entry.seconds for entry in index.entries)
    if index.target_seconds is None or round(longest) > index.target_seconds:
        yield found(f"a segment lasts {longest:.3f} s, #EXT-X-TARGETDURATION says {index.target_seconds}")
    yield from _check_order(name, own)
    for entry in index.entries:
        if entry.name in segments:
            yield from _check_entry(entry, segments[entry.name])


def check_listed(files: Iterable[Checked], indexes: Mapping[FileName, Index], *, is_running: bool) -> Iterator[Finding]:
    """That every segment is in an index."""
    listed = {entry.name for index in indexes.values() for entry in index.entries}
    for file in files:
        if file.name.kind == "segment" and file.name.text not in listed:
            yield Finding(file.name.text, "index", "no index names it", is_fault=not is_running)


def check_wholes(
    wholes: Sequence[Checked], indexes: Mapping[FileName, Index], *, is_running: bool
) -> Iterator[Finding]:
    """MP4 and AAC files against each other and against the segments that they were made from."""
    made: dict[tuple[object, ...], list[Checked]] = defaultdict(list)
    for file in wholes:
        made[*file.name.stream, file.name.extension].append(file)
    for files in made.values():
        first = files[0].name
        parts = sorted(file.name.part or 0 for file in files)
        if parts != [0] and parts != list(range(1, len(parts) + 1)):
            yield Finding(first.text, "name", f"the parts of it are {', '.join(map(str, parts))}", not is_running)
        lengths = _lengths(first, indexes)
        if lengths is None or is_running or any(file.played.errors for file in files):
            continue
        seconds, tolerance = sum(file.played.seconds for file in files), TOLERANCE_S * len(files)
        least, most = lengths if first.extension == "aac" else (lengths[1], lengths[1])  # AAC alone cannot hold a gap
        if not least - tolerance <= seconds <= most + tolerance:
            yield Finding(first.text, "length", f"it lasts {seconds:.2f} s, its segments {most:.2f} s")


def _check_order(name: FileName, own: Sequence[tuple[Entry, FileName]]) -> Iterator[Finding]:
    for (entry, known), (later, next_known) in pairwise(own):
        apart = ((next_known.begin_ms or 0) - (known.begin_ms or 0)) / 1000 - entry.seconds
        if apart < -TOLERANCE_S:
            yield Finding(name.text, "index", f"{later.name} begins {-apart:.2f} s before {entry.name} ends")
        elif apart > TOLERANCE_S:
            message = f"{apart:.2f} s are missing before {later.name}"
            if not later.discontinuity:
                message += ", and no #EXT-X-DISCONTINUITY says so"
            yield Finding(name.text, "gap", message, is_fault=not later.discontinuity)


def _check_entry(entry: Entry, file: Checked) -> Iterator[Finding]:
    played, pictures = file.played, file.played.of("video")
    if played.streams and abs(played.seconds - entry.seconds) > TOLERANCE_S:
        # a single stream may be silent at the end of a segment
        is_fault = file.is_mixed or played.seconds > entry.seconds
        message = f"it lasts {played.seconds:.2f} s, its index says {entry.seconds:.2f} s"
        yield Finding(entry.name, "length", message, is_fault)
    if pictures is None:
        return
    if len(pictures.sizes) > 1:
        sizes = ", then ".join(f"{width}x{height}" for width, height in pictures.sizes)
        yield Finding(entry.name, "index", f"its pictures change their size: {sizes}")
    if entry.size is not None and entry.size not in pictures.sizes:
        width, height = pictures.sizes[0]
        message = f"its pictures are {width}x{height}, its index says {entry.size[0]}x{entry.size[1]}"
        yield Finding(entry.name, "index", message)


def _own(name: FileName, entry: Entry) -> FileName | None:
    known = read_name(entry.name)
    return known if known is not None and known.kind == "segment" and known.family == name.family else None


def _lengths(name: FileName, indexes: Mapping[FileName, Index]) -> tuple[float, float] | None:
    """Seconds of the segments, without the gaps between them and with them, all attempts together."""
    spans = []
    for each, index in indexes.items():
        if each.stream != name.stream or (name.extension == "aac" and each.media == "video"):
            continue
        for entry, known in ((entry, _own(each, entry)) for entry in index.entries):
            if known is not None and known.begin_ms is not None:
                spans.append((known.begin_ms / 1000, known.begin_ms / 1000 + entry.seconds))
    if not spans:
        return None
    without_gaps = sum(end - begin for begin, end in spans)
    return without_gaps, max(end for _, end in spans) - min(begin for begin, _ in spans)


def _streams(played: Played) -> str:
    return " and ".join(stream.kind for stream in played.streams) or "nothing"
