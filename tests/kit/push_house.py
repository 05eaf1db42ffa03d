"""Where RTMP clients come in, without a server around it: a listening socket, the desk, and who is let in."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rtcloud.ingest.push.admitting import PushRefusedError, Wish
from rtcloud.ingest.push.handing import Desk
from rtcloud.ingest.push.listening import Accepted, PushServer
from tests.kit.waiting import eventually


@dataclass
class PushHouse:
    """``refusal`` is raised to the next who ask. The task of a push is only its ticket."""

    port: int
    desk: Desk
    server: PushServer = field(init=False)
    wishes: list[Wish] = field(default_factory=list)
    tickets: list[str] = field(default_factory=list)
    withdrawn: int = 0
    refusal: PushRefusedError | None = None

    def url(self, rest: str = "push/hall?sdkappid=1&userid=u&usersig=s") -> str:
        return f"rtmp://127.0.0.1:{self.port}/{rest}"

    async def admit(self, wish: Wish) -> Accepted:
        self.wishes.append(wish)
        if self.refusal is not None:
            raise self.refusal
        self.tickets.append(Desk.new_ticket())
        return Accepted(self.tickets[-1], self.withdraw)

    async def withdraw(self) -> None:
        self.withdrawn += 1

    async def ticket(self) -> str:
        """Of the push that comes next."""
        known = len(self.tickets)

        async def taken() -> bool:
            return len(self.tickets) > known

        await eventually(taken, "the push is admitted")
        return self.tickets[-1]

    async def is_quiet(self) -> bool:
        return self.server.figures()["rtmp_connections"][2] == 0


@asynccontextmanager
async def open_house(folder: Path, tls: ssl.SSLContext | None = None, **settings: object) -> AsyncIterator[PushHouse]:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    desk = Desk(folder)
    house = PushHouse(listener.getsockname()[1], desk)
    house.server = PushServer(house.admit, desk, **settings)  # type: ignore[arg-type]
    tasks = [
        asyncio.create_task(desk.serve(desk.listen())),
        asyncio.create_task(house.server.listen(listener, tls)),
    ]
    try:
        yield house
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
