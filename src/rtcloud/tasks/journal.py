"""The journal of one attempt: every event a job reported, on disk before it was sent.

One JSON line per event, with a running ``sequence`` from 1. A torn last line (the process died writing it) is dropped.
An event that cannot be written (the disk is full) leaves nothing behind, and may be tried again.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import msgspec

from rtcloud.tasks.protocol import JOURNAL, AnyJobEvent

_decoder = msgspec.json.Decoder(AnyJobEvent)


def read_journal(directory: Path) -> list[AnyJobEvent]:
    """The events in order; empty when there is no journal. Lines that do not parse are left out."""
    return list(scan_journal(directory))


def scan_journal(directory: Path) -> Iterator[AnyJobEvent]:
    """As ``read_journal``, one after the other: days of many files make a long journal."""
    try:
        file = (directory / JOURNAL).open("rb")
    except OSError:
        return
    with file:
        for line in file:
            if line.endswith(b"\n"):
                with contextlib.suppress(msgspec.DecodeError):
                    yield _decoder.decode(line)


class Journal:
    """The writing side; opening it goes on after what is there."""

    def __init__(self, directory: Path) -> None:
        self._sequence = max((event.sequence for event in scan_journal(directory)), default=0)
        self._file = (directory / JOURNAL).open("ab", buffering=0)
        if self._file.tell() and not _ends_well(directory / JOURNAL):
            self._file.write(b"\n")

    def append(self, event: AnyJobEvent) -> bytes:
        """Gives the event its sequence and puts it on disk; the line, as it is also sent."""
        event.sequence = self._sequence + 1
        line = msgspec.json.encode(event) + b"\n"
        end = self._file.seek(0, os.SEEK_END)
        try:
            view = memoryview(line)
            while view:
                view = view[self._file.write(view) :]
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(end)
            raise
        self._sequence += 1
        return line

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ends_well(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
