"""A bad network between a browser and the server: a UDP proxy that loses, delays and squeezes what passes.

``Link`` decides, by its seed, what happens to each datagram of one direction; ``ImpairedPath`` carries them. What a
page sends to the server's media port goes to the proxy instead once ``redirect`` was called, before it joins: the
candidates that the server describes have another port then, and those over TCP are left out. Each address of the page's
gets a socket toward the server of its own, so that the server sees as many clients as there are.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from playwright.async_api import Page

#: What the headers of IP and UDP add at the bottleneck.
_HEADERS = 28
#: Addresses of pages that are remembered; a page has a handful.
_MAX_CLIENTS = 64

_REWRITE = """
([port, proxy]) => {
  const original = RTCPeerConnection.prototype.setRemoteDescription;
  const rewritten = (line) => {
    const words = line.split(" ");
    if (words[2].toLowerCase() !== "udp") return [];
    if (words[5] === port) words[5] = proxy;
    return [words.join(" ")];
  };
  RTCPeerConnection.prototype.setRemoteDescription = function (description, ...rest) {
    const lines = (description?.sdp ?? "").split("\\r\\n");
    const sdp = lines.flatMap((line) => (line.startsWith("a=candidate:") ? rewritten(line) : [line])).join("\\r\\n");
    return original.call(this, { type: description.type, sdp }, ...rest);
  };
}
"""


@dataclass(frozen=True)
class Conditions:
    """``rate`` is in bits per second, headers included; before it waits what need not wait longer than ``queue_s``."""

    loss: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    rate: float | None = None
    queue_s: float = 0.3


class Link:
    """One direction. ``out`` swallows everything. Nothing is overtaken."""

    def __init__(self, seed: int, conditions: Conditions | None = None) -> None:
        self.conditions = conditions or Conditions()
        self.out = False
        self.passed = self.dropped = 0
        self._random = random.Random(seed)
        self._free_at = self._last = 0.0

    def send(self, size: int, now: float) -> float | None:
        """When a datagram that is sent now arrives; None when it never does."""
        arrives = None if self.out else self._pass(size + _HEADERS, now)
        self.passed += arrives is not None
        self.dropped += arrives is None
        return arrives

    def _pass(self, size: int, now: float) -> float | None:
        conditions = self.conditions
        at = now
        if conditions.rate is not None:
            begins = max(now, self._free_at)
            if begins - now > conditions.queue_s:
                return None
            at = self._free_at = begins + size * 8 / conditions.rate
        if self._random.random() < conditions.loss:
            return None
        self._last = max(self._last, at + conditions.delay_s + conditions.jitter_s * self._random.random())
        return self._last


class _Sink(Protocol):
    def __call__(self, data: bytes, source: tuple[str, int]) -> None: ...


class _Socket(asyncio.DatagramProtocol):
    def __init__(self, sink: _Sink) -> None:
        self._sink = sink

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._sink(data, addr)

    def error_received(self, exc: Exception) -> None:
        pass  # whoever was to get it has gone


class ImpairedPath:
    """Between the pages that were redirected and the server. ``up`` is toward the server, ``down`` toward the pages;
    their conditions may be changed at any time."""

    def __init__(self, server_port: int, seed: int = 1) -> None:
        self.up, self.down = Link(2 * seed), Link(2 * seed + 1)
        self._server = ("127.0.0.1", server_port)
        self._clients: dict[tuple[str, int], asyncio.DatagramTransport] = {}
        self._opening: dict[tuple[str, int], list[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._pages: asyncio.DatagramTransport | None = None

    @property
    def port(self) -> int:
        assert self._pages is not None, "not open"
        return int(self._pages.get_extra_info("sockname")[1])

    async def redirect(self, page: Page) -> None:
        """Before the page joins."""
        await page.evaluate(_REWRITE, [str(self._server[1]), str(self.port)])

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._pages, _ = await loop.create_datagram_endpoint(
            lambda: _Socket(self._from_page), local_addr=("127.0.0.1", 0)
        )

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for transport in [self._pages, *self._clients.values()]:
            if transport is not None:
                transport.close()

    def _from_page(self, data: bytes, source: tuple[str, int]) -> None:
        if (transport := self._clients.get(source)) is not None:
            self._carry(self.up, transport, data, self._server)
        elif source in self._opening:
            self._opening[source].append(data)
        elif len(self._clients) + len(self._opening) < _MAX_CLIENTS:
            self._opening[source] = [data]
            task = asyncio.create_task(self._open_for(source))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open_for(self, client: tuple[str, int]) -> None:
        def from_server(data: bytes, source: tuple[str, int]) -> None:
            if self._pages is not None and source == self._server:
                self._carry(self.down, self._pages, data, client)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(lambda: _Socket(from_server), local_addr=("127.0.0.1", 0))
        self._clients[client] = transport
        for data in self._opening.pop(client):
            self._carry(self.up, transport, data, self._server)

    def _carry(self, link: Link, via: asyncio.DatagramTransport, data: bytes, to: tuple[str, int]) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        arrives = link.send(len(data), now)
        if arrives is None:
            return
        if arrives <= now:
            via.sendto(data, to)
        else:
            loop.call_at(arrives, _send, via, data, to)


def _send(via: asyncio.DatagramTransport, data: bytes, to: tuple[str, int]) -> None:
    if not via.is_closing():
        via.sendto(data, to)


@contextlib.asynccontextmanager
async def impaired_path(server_port: int, seed: int = 1) -> AsyncIterator[ImpairedPath]:
    path = ImpairedPath(server_port, seed)
    await path.open()
    try:
        yield path
    finally:
        await path.close()
