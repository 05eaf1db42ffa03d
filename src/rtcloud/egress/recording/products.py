"""The files that a job makes at the end from the media of all attempts of its task, and the reports of them."""

import asyncio
from collections.abc import Iterable

from rtcloud.egress.recording import mp4, recovery
from rtcloud.egress.recording.naming import FileNames
from rtcloud.tasks.job import JobShell
from rtcloud.tasks.protocol import FileClosed, Noted


async def make_products(
    shell: JobShell, names: FileNames, extensions: Iterable[str], *, track_type: str, max_minutes: int
) -> None:
    """``extensions``: mp4, aac."""
    await shell.reported()  # the last segment is found in the journal
    for extension in extensions:
        products = await asyncio.to_thread(_remux, shell, names, extension, max_minutes)
        now_ms = shell.clock.now_ms()
        if not products:
            shell.report(Noted(at_ms=now_ms, code="NothingRecorded", message="no media came"))
        for product in products:
            shell.report(
                FileClosed(
                    at_ms=now_ms,
                    name=product.name,
                    kind="mp4",
                    begin_ms=product.begin_ms,
                    end_ms=product.end_ms,
                    size=product.size,
                    user_id=names.user_id,
                    track_type="audio" if extension == "aac" else track_type,
                    media_id=names.media_id,
                )
            )


def _remux(shell: JobShell, names: FileNames, extension: str, max_minutes: int) -> list[mp4.Product]:
    task = shell.directory.parent
    directories = [*(task / str(attempt) for attempt in range(shell.order.attempt)), shell.directory]
    sources = [source for directory in directories for source in recovery.sources(directory)]
    return mp4.make_whole(sources, shell.directory, names, extension=extension, max_minutes=max_minutes)
