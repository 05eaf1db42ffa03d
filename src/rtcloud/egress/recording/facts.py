"""What must be known of an index to complete it after the death of the job that wrote it: on the disk before the first
byte of media is, so whoever writes an index opens it here."""

import contextlib
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path

import msgspec

from rtcloud.egress.recording.hls import HlsWriter, Report, Resized, Size, Tracks, replace_file, stays_as_it_is
from rtcloud.egress.recording.naming import FACTS, FileNames


class AttemptFacts(msgspec.Struct, kw_only=True):
    """Of one index. ``sizes``: from which moment on the pictures of a single stream have which size, if they do."""

    names: FileNames
    tracks: Tracks
    begin_ms: int
    keep: bool
    sizes: list[tuple[int, Size | None]] = []

    def save(self, directory: Path, name: str = FACTS) -> None:
        replace_file(directory / name, msgspec.json.encode(self))

    def size_at(self, at_ms: int) -> Size | None:
        return next((size for begin_ms, size in reversed(self.sizes) if begin_ms <= at_ms), None)


def open_hls(
    directory: Path,
    facts: AttemptFacts,
    report: Report,
    *,
    now_ms: Callable[[], int],
    name: str = FACTS,
    flusher: Executor | None = None,
    resized: Resized = stays_as_it_is,
) -> HlsWriter:
    """The writer of what the facts, saved by that name, are of."""
    facts.save(directory, name)
    return HlsWriter(
        directory,
        facts.names,
        facts.tracks,
        facts.begin_ms,
        report,
        keep=facts.keep,
        now_ms=now_ms,
        flusher=flusher,
        resized=resized,
    )


def facts_name(number: int) -> str:
    """Of an attempt's index ``number``, from 1, where there are several."""
    return FACTS.replace(".", f"-{number}.")


def load_facts(directory: Path) -> AttemptFacts | None:
    """Of an attempt with one index. None when it never got any media."""
    try:
        return msgspec.json.decode((directory / FACTS).read_bytes(), type=AttemptFacts)
    except (OSError, msgspec.DecodeError):
        return None


def load_all_facts(directory: Path) -> list[AttemptFacts]:
    """Of every index of an attempt, in the order in which they began."""
    found = []
    for path in directory.glob(FACTS.replace(".", "-*.")):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            found.append(msgspec.json.decode(path.read_bytes(), type=AttemptFacts))
    whole = load_facts(directory)
    return sorted([*found, *([whole] if whole else [])], key=lambda facts: (facts.begin_ms, facts.names.index))
