"""The files that a job makes at the end from the media of all attempts of its task, and the reports of them."""

import asyncio
from dataclasses import dataclass

from rtcloud.egress.recording import mp4, recovery
from rtcloud.egress.recording.facts import AttemptFacts
from rtcloud.egress.recording.naming import FileNames
from rtcloud.tasks.job import JobShell
from rtcloud.tasks.protocol import FileClosed, Noted


@dataclass(frozen=True, slots=True)
class _Group:
    """What one product is made of."""

    names: FileNames
    sources: list[mp4.Source]


async def make_products(
    shell: JobShell, names: FileNames, extension: str, *, track_type: str, max_minutes: int
) -> None:
    """One (mp4 or aac, "" for none) from everything."""
    if not extension:
        return
    await shell.reported()  # the last segment is found in the journal
    sources = [source for _, found in await _found(shell) for source in found]
    if not await _make(shell, _Group(names, sources), extension, max_minutes, track_type):
        _note_nothing(shell)


async def make_stream_products(shell: JobShell, extension: str, *, max_minutes: int) -> None:
    """One from each stream (main or sub, of each user), which is what their names tell apart: an MP4
    has the stream's sound and pictures, whether or not they were recorded into one file."""
    if not extension:
        return
    await shell.reported()
    groups: dict[tuple[str, str], _Group] = {}
    for facts, found in await _found(shell):
        key = (facts.names.user_id, facts.names.media_id)
        group = groups.setdefault(key, _Group(facts.names, []))
        group.sources.extend(found)
    counts = [await _make(shell, group, extension, max_minutes, None) for group in groups.values()]
    if not any(counts):
        _note_nothing(shell)


async def _make(shell: JobShell, group: _Group, extension: str, max_minutes: int, track_type: str | None) -> int:
    """``track_type`` None: that of what is in it."""
    products = await asyncio.to_thread(
        mp4.make_whole,
        group.sources,
        shell.directory,
        group.names,
        extension=extension,
        max_minutes=max_minutes,
    )
    for product in products:
        shell.report(
            FileClosed(
                at_ms=shell.clock.now_ms(),
                name=product.name,
                kind="mp4",
                begin_ms=product.begin_ms,
                end_ms=product.end_ms,
                size=product.size,
                user_id=group.names.user_id,
                track_type="audio" if extension == "aac" else track_type or product.track_type,
                media_id=group.names.media_id,
            )
        )
    return len(products)


def _note_nothing(shell: JobShell) -> None:
    shell.report(Noted(at_ms=shell.clock.now_ms(), code="NothingRecorded", message="no media came"))


async def _found(shell: JobShell) -> list[tuple[AttemptFacts, list[mp4.Source]]]:
    """What all attempts recorded. Journals may be long."""
    task = shell.directory.parent
    attempts = [*(task / str(attempt) for attempt in range(shell.order.attempt)), shell.directory]
    return [found for directory in attempts for found in await asyncio.to_thread(recovery.sources_by_index, directory)]
