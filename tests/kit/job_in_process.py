"""A job in the process of a test, with the worker's end of its pipes."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from rtcloud.clock import SystemClock
from rtcloud.tasks.job import JobShell, Lines
from rtcloud.tasks.protocol import AnyJobEvent, Instruction, Order


@dataclass
class JobInProcess:
    """``events``, once it has run: what it told, without figures."""

    order: Order
    events: list[AnyJobEvent] = field(default_factory=list, kw_only=True)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True)
        self._reader, self._instructions = os.pipe()
        self._events, self._events_end = os.pipe()
        self.shell = JobShell(self.order, Lines(self._reader), self._events_end, SystemClock())

    @property
    def directory(self) -> Path:
        return Path(self.order.spool)

    def tell(self, instruction: Instruction) -> None:
        os.write(self._instructions, msgspec.json.encode(instruction) + b"\n")

    def let_go(self) -> None:
        """As a worker that is no more."""
        os.close(self._instructions)
        self._instructions = -1

    async def run_as(self, work: Callable[[JobShell], Awaitable[int]]) -> int:
        """The status it exits with."""
        status = await self.shell.run(work)
        os.close(self._events_end)
        with os.fdopen(self._events, "rb") as events:
            decoder = msgspec.json.Decoder(AnyJobEvent)
            self.events = [event for line in events for event in [decoder.decode(line)] if event.sequence]
        if self._instructions >= 0:
            self.let_go()
        await asyncio.to_thread(self.shell.gone.wait, 5)  # the reading thread has seen the end
        os.close(self._reader)
        return status
