"""A small RTMP server over ``rtmp.serving``, without a room behind it: takes what is pushed, and keeps it."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType

from rtcloud.ingest.flv import FlvReader
from rtcloud.ingest.media import SourcePacket
from rtcloud.rtmp.errors import RtmpError
from rtcloud.rtmp.handshake import SIZE
from rtcloud.rtmp.serving import Connect, Ended, Event, Media, Publish, Server
from tests.kit.waiting import eventually

READ_BYTES = 64 * 1024
PARTING = 2.0

#: code and description for who is refused; None for who is taken
Judge = Callable[[Connect | Publish], tuple[str, str] | None]


@dataclass
class Taken:
    """One connection."""

    connect: Connect | None = None
    publish: Publish | None = None
    reader: FlvReader = field(default_factory=FlvReader)
    packets: list[SourcePacket] = field(default_factory=list)
    ended: bool = False  # the client took its stream back
    closed: bool = False
    error: str = ""

    def kinds(self, kind: str) -> list[SourcePacket]:
        return [packet for packet in self.packets if packet.kind == kind]


class Taker:
    """``async with Taker() as taker``: push to ``taker.url(name)``."""

    def __init__(self, judge: Judge = lambda _: None) -> None:
        self._judge = judge
        self.connections: list[Taken] = []
        self._stack = contextlib.AsyncExitStack()
        self.port = 0

    async def __aenter__(self) -> "Taker":
        server = await self._stack.enter_async_context(await asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def url(self, name: str) -> str:
        return f"rtmp://127.0.0.1:{self.port}/push/{name}"

    async def closed(self, within: float = 20) -> Taken:
        """The last connection, when it is over."""

        async def over() -> bool:
            return bool(self.connections) and self.connections[-1].closed

        await eventually(over, "the connection is closed", within)
        return self.connections[-1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken, server = Taken(), Server(bytes(SIZE - 8))
        self.connections.append(taken)
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                goes_on = True
                while goes_on and (data := await reader.read(READ_BYTES)):
                    goes_on = self._take(taken, server, server.receive(data))
                    writer.write(server.take_output())
                    await writer.drain()
                async with asyncio.timeout(PARTING):  # who took its stream back goes first, or calls it an error
                    while await reader.read(READ_BYTES):
                        pass
        except RtmpError as error:
            taken.error = str(error)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            taken.closed = True

    def _take(self, taken: Taken, server: Server, events: list[Event]) -> bool:
        """Whether the connection is of further use."""
        waiting = list(events)
        while waiting:
            match event := waiting.pop(0):
                case Connect() | Publish():
                    if isinstance(event, Connect):
                        taken.connect = event
                    else:
                        taken.publish = event
                    if (refusal := self._judge(event)) is not None:
                        server.refuse(*refusal)
                        return False
                    waiting += server.accept()
                case Media():
                    taken.packets += taken.reader.receive(event.kind, event.data, event.time_ms)
                case Ended():
                    taken.ended = True
                    return False
        return True
