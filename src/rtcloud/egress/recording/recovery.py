"""What an attempt that died left behind: a last segment, whose file nobody closed, and an index that lacks it. A
recording of single streams has many such pairs.

``recover`` completes the files and appends the missing reports to the attempt's journal, so that whoever reads the
journal treats it as any other. It is safe to call again, and on an attempt that ended well it does nothing. The caller
holds the attempt's lock, so the job is dead. A job that could not write its files to their end, and lives on, does the
same for itself with ``complete``, and reports what it gives.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import av

from rtcloud.egress.recording.facts import AttemptFacts, load_all_facts
from rtcloud.egress.recording.hls import KEEP, Segment, keep_file, render_index, replace_file
from rtcloud.egress.recording.mp4 import UNFINISHED, Source
from rtcloud.egress.recording.mpegts import PACKET, filling
from rtcloud.egress.recording.naming import series_of
from rtcloud.tasks.journal import Journal, scan_journal
from rtcloud.tasks.protocol import AnyJobEvent, FileClosed, FileOpened


def recover(directory: Path, now_ms: int) -> list[AnyJobEvent]:
    """The reports that were added to the journal of the attempt in ``directory``."""
    added = complete(directory, now_ms)
    if added:
        with Journal(directory) as journal:
            for report in added:
                journal.append(report)
    return added


def complete(directory: Path, now_ms: int) -> list[AnyJobEvent]:
    """The reports that the journal lacks, once the files are whole."""
    for left in directory.glob(f"{UNFINISHED}*"):  # the next attempt begins it anew, and needs the room
        left.unlink(missing_ok=True)
    added: list[AnyJobEvent] = []
    segments, indexes = _reports(directory)
    for facts in load_all_facts(directory):
        index_size = indexes.get(facts.names.index)
        added += _recover_index(directory, facts, segments.get(facts.names.series, {}), index_size, now_ms)
    return added


def _reports(directory: Path) -> tuple[dict[str, dict[str, FileOpened | FileClosed]], dict[str, int]]:
    """The last that the journal says: of each segment, by the series of its name, and how long each index was."""
    segments: dict[str, dict[str, FileOpened | FileClosed]] = {}
    indexes: dict[str, int] = {}
    for event in scan_journal(directory):
        if isinstance(event, FileOpened | FileClosed) and event.kind == "segment":
            of_series = segments.setdefault(series_of(event.name), {})
            if isinstance(event, FileClosed) or event.name not in of_series:
                of_series[event.name] = event
        elif isinstance(event, FileClosed) and event.kind == "index":
            indexes[event.name] = event.size
    return segments, indexes


def _recover_index(
    directory: Path,
    facts: AttemptFacts,
    segments: Mapping[str, FileOpened | FileClosed],
    index_size: int | None,
    now_ms: int,
) -> list[AnyJobEvent]:
    closed = {name: event for name, event in segments.items() if isinstance(event, FileClosed)}
    orphans = [event for event in segments.values() if isinstance(event, FileOpened)]
    added: list[AnyJobEvent] = []
    for event in orphans:
        found = _complete(directory, event, facts, now_ms)
        if found is not None:
            closed[event.name] = found
            added.append(found)
    if not closed or (not added and _is_whole(directory / facts.names.index, index_size)):
        return []
    listed = [
        Segment(event.name, event.begin_ms, event.end_ms, facts.size_at(event.begin_ms)) for event in closed.values()
    ]
    content = render_index(facts.begin_ms, facts.tracks, listed, ended=True)
    replace_file(directory / facts.names.index, content)
    added.append(
        FileClosed(
            at_ms=now_ms,
            name=facts.names.index,
            kind="index",
            begin_ms=facts.begin_ms,
            end_ms=listed[-1].end_ms,
            size=len(content),
            user_id=facts.names.user_id,
            track_type=facts.tracks.track_type,
            media_id=facts.names.media_id,
        )
    )
    return added


def sources(directory: Path) -> list[Source]:
    """The kept segments of an attempt, for the MP4."""
    return [source for _, found in sources_by_index(directory) for source in found]


def sources_by_index(directory: Path) -> list[tuple[AttemptFacts, list[Source]]]:
    indexes = load_all_facts(directory)
    if not indexes:
        return []
    segments, _ = _reports(directory)
    return [(facts, _sources(directory, facts, segments.get(facts.names.series, {}))) for facts in indexes]


def _sources(directory: Path, facts: AttemptFacts, segments: Mapping[str, FileOpened | FileClosed]) -> list[Source]:
    return [
        Source(directory / KEEP / event.name, event.begin_ms, event.end_ms, facts.begin_ms, facts.tracks.track_type)
        for event in segments.values()
        if isinstance(event, FileClosed)
    ]


def _is_whole(index: Path, reported_size: int | None) -> bool:
    """Whether it was written to its end, and reported so: else the store has an older one, or none."""
    try:
        content = index.read_text()
    except OSError:
        return False
    return "#EXT-X-ENDLIST" in content and len(content) == reported_size


def _complete(directory: Path, opened: FileOpened, facts: AttemptFacts, now_ms: int) -> FileClosed | None:
    """Cuts a torn packet off and measures what is there; None for a segment without a single frame."""
    path = directory / opened.name
    try:
        size = path.stat().st_size // PACKET * PACKET
        os.truncate(path, size)
    except OSError:
        return None
    length_ms = measure_ms(path)
    if length_ms <= 0:
        path.unlink()
        return None
    with path.open("ab") as file:
        size += file.write(filling(size))
    if facts.keep:
        keep_file(directory, opened.name)
    return FileClosed(
        at_ms=now_ms,
        name=opened.name,
        kind="segment",
        begin_ms=opened.begin_ms,
        end_ms=opened.begin_ms + length_ms,
        size=size,
        user_id=facts.names.user_id,
        track_type=opened.track_type,
        media_id=facts.names.media_id,
    )


def measure_ms(path: Path) -> int:
    """From the first to the end of the last packet of a segment."""
    first: float | None = None
    last = 0.0
    try:
        with av.open(str(path), format="mpegts") as container:
            for packet in container.demux():
                if packet.pts is None or packet.time_base is None or packet.size == 0:
                    continue
                at = float(packet.pts * packet.time_base)
                first = at if first is None else min(first, at)
                last = max(last, at + float((packet.duration or 0) * packet.time_base))
    except (av.FFmpegError, OSError):
        pass
    return 0 if first is None else round((last - first) * 1000)
