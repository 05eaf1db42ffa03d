"""A media node without media: records commands, answers SDP with a mark, and says what a test tells it to say."""

import asyncio
from collections.abc import Sequence

from rtcloud.media.figures import NodeStatus
from rtcloud.media.node import Answered, AnyCommand, AnyEvent, Offer, Overload, QueueFullError


class FakeNode:
    """``commands`` holds all that was sent. ``say`` queues events; ``full`` makes ``send`` refuse;
    ``overloaded`` is what ``overload`` says of every room."""

    def __init__(self) -> None:
        self.commands: list[AnyCommand] = []
        self.full = False
        self.closed = False
        self.overloaded: Overload = ""
        self._events: asyncio.Queue[AnyEvent] = asyncio.Queue()

    def send(self, *commands: AnyCommand) -> None:
        if self.full:
            raise QueueFullError
        self.commands.extend(commands)
        for command in commands:
            if isinstance(command, Offer):
                self.say(
                    Answered(
                        room=command.room,
                        participant=command.participant,
                        request=command.request,
                        target=command.target,
                        sdp=f"answer to {command.sdp}",
                        mid_to_track={},
                    )
                )

    @property
    def unread(self) -> int:
        return self._events.qsize()

    def say(self, *events: AnyEvent) -> None:
        for event in events:
            self._events.put_nowait(event)

    async def events(self) -> Sequence[AnyEvent]:
        batch = [await self._events.get()]
        while not self._events.empty():
            batch.append(self._events.get_nowait())
        return batch

    def status(self) -> NodeStatus:
        return NodeStatus(
            rooms=0,
            participants=0,
            packets_received=0,
            packets_sent=0,
            bytes_received=0,
            bytes_sent=0,
            packets_dropped=0,
            commands_refused=0,
            rooms_failed=0,
            threads_cpu_ms=0,
        )

    def overload(self, room: str) -> Overload:
        return self.overloaded

    async def close(self) -> None:
        self.closed = True
