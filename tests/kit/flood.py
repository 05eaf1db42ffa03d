"""Many requests over few connections, for load: raw sockets, each request written once and made beforehand.

A connection sends its next request when the answer to the last one is whole. What the server closes is opened again;
what the order says to break off is broken off.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

_CODE = b'"Error":{"Code":"'


@dataclass(frozen=True, slots=True)
class Shot:
    """A request's bytes. ``breaks_off``: they are not all of it; the connection is closed and no answer awaited."""

    data: bytes
    breaks_off: bool = False


@dataclass(slots=True)
class Outcome:
    """``codes`` counts answered codes, ``""`` for success; ``strange`` keeps answers that are no envelope."""

    seconds: float = 0.0
    codes: Counter[str] = field(default_factory=Counter)
    broken_off: int = 0
    unanswered: int = 0
    strange: list[bytes] = field(default_factory=list)

    @property
    def answers(self) -> int:
        return self.codes.total()


async def flood(
    host: str, port: int, next_shot: Callable[[], Shot], *, seconds: float, connections: int = 16
) -> Outcome:
    outcome = Outcome()
    began = time.perf_counter()
    deadline = began + seconds
    loop = asyncio.get_running_loop()

    async def keep_one_open() -> None:
        while time.perf_counter() < deadline:
            _, connection = await loop.create_connection(lambda: _Connection(next_shot, outcome, deadline), host, port)
            await connection.ended

    async with asyncio.timeout(seconds + 30), asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(keep_one_open())
    outcome.seconds = time.perf_counter() - began
    return outcome


class _Connection(asyncio.Protocol):
    def __init__(self, next_shot: Callable[[], Shot], outcome: Outcome, deadline: float) -> None:
        self._next_shot = next_shot
        self._outcome = outcome
        self._deadline = deadline
        self._received = b""
        self._waiting = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._outcome.unanswered += self._waiting
        self.ended.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().find(b"content-length: ")
        length = int(head[at + 16 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(rest) < length:
            return
        self._received = rest[length:]
        self._waiting = False
        self._count(head, rest[:length])
        if b"\r\nconnection: close" in head.lower():
            self._transport.close()
        else:
            self._send()

    def _send(self) -> None:
        if time.perf_counter() >= self._deadline:
            self._transport.close()
            return
        shot = self._next_shot()
        self._transport.write(shot.data)
        if shot.breaks_off:
            self._outcome.broken_off += 1
            self._transport.close()
        else:
            self._waiting = True

    def _count(self, head: bytes, body: bytes) -> None:
        if (
            not head.startswith(b"HTTP/1.1 200 ")
            or not body.startswith(b'{"Response":{')
            or b'"RequestId":"' not in body
        ):
            self._outcome.strange.append(head[:200] + b"\n" + body[:200])
            return
        at = body.find(_CODE)
        code = body[at + len(_CODE) :].split(b'"', 1)[0].decode() if at >= 0 else ""
        self._outcome.codes[code] += 1
