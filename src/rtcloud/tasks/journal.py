"""The journal of one attempt: every event a job reported, on disk before it was sent.

One JSON line per event, with a running ``sequence`` from 1. A torn last line (the process died writing it) is dropped.
"""

import os
from pathlib import Path
from types import TracebackType

import msgspec

from rtcloud.tasks.protocol import JOURNAL, AnyJobEvent

_decoder = msgspec.json.Decoder(AnyJobEvent)


def read_journal(directory: Path) -> list[AnyJobEvent]:
    """The events in order; empty when there is no journal. Lines that do not parse are left out."""
    try:
        data = (directory / JOURNAL).read_bytes()
    except OSError:
        return []
    events = []
    for line in data.split(b"\n")[:-1]:
        try:
            events.append(_decoder.decode(line))
        except msgspec.DecodeError:
            continue
    return events


class Journal:
    """The writing side; opening it goes on after what is there."""

    def __init__(self, directory: Path) -> None:
        self._sequence = max((event.sequence for event in read_journal(directory)), default=0)
        self._file = (directory / JOURNAL).open("ab")
        if self._file.tell() and not (directory / JOURNAL).read_bytes().endswith(b"\n"):
            self._file.write(b"\n")

    def append(self, event: AnyJobEvent) -> bytes:
        """Gives the event its sequence and puts it on disk; the line, as it is also sent."""
        self._sequence += 1
        event.sequence = self._sequence
        line = msgspec.json.encode(event) + b"\n"
        self._file.write(line)
        self._file.flush()
        os.fsync(self._file.fileno())
        return line

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
