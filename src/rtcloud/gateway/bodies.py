"""Reading a request's body: streamed, bounded per request, per client address and for all requests together.

Bodies that come slowly are held long, so the large ones of an address may have half of the whole (with its small ones
five eighths), and the last quarter is kept for small ones: no flood of large bodies keeps small requests out, and none
from one address anybody else's.

A request refused before its body was read, or for its size, is not kept: what still comes is thrown away for a moment,
so that a well-meaning client gets to read its answer; if there is even more, the connection is closed.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from rtcloud.errors import ServiceError
from rtcloud.gateway.guard import FREE_BYTES, group_of
from rtcloud.gateway.heads import too_large

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MAX_BODIES = 128 * 1024 * 1024  # all that are being read or worked on
READ_SECONDS = 30.0
DISCARD_SECONDS = 5.0
DISCARD_BYTES = 256 * 1024 * 1024


class ClientGoneError(Exception):
    """The connection ended before the request was complete; nobody is left to answer."""


class BodyBudget:
    """How many bytes of bodies are held now, and by whom."""

    def __init__(self, limit: int = MAX_BODIES) -> None:
        self._free = limit
        self._limit = limit
        self._held: dict[str, int] = {}  # of the addresses that hold any

    def take(self, address: str, size: int, *, large: bool) -> None:
        """``size`` more bytes, or a ``ServiceError``. ``large``: they are of a body of more than ``FREE_BYTES``."""
        group = group_of(address)
        held = self._held.get(group, 0) + size
        if held > self._limit // 2 + (0 if large else self._limit // 8):
            raise ServiceError(
                "RequestLimitExceeded.IPLimitExceeded", "too many bytes of requests at once from this address"
            )
        if size > self._free - (self._limit // 4 if large else 0):
            raise ServiceError("ServiceUnavailable", "too many large requests at once; try again")
        self._held[group] = held
        self._free -= size

    def give(self, address: str, size: int) -> None:
        self._free += size
        group = group_of(address)
        left = self._held.get(group, 0) - size
        if left > 0:
            self._held[group] = left
        else:
            self._held.pop(group, None)


class Body:
    """The body of one request. ``complete`` once nothing more of it can come."""

    def __init__(self, receive: Receive, content_length: str | None, budget: BodyBudget, address: str = "") -> None:
        self._receive = receive
        self._announced = _number(content_length)
        self._budget = budget
        self._address = address
        self._held = 0
        self.complete = False
        self.unproved = 0  # bytes that were counted against the client

    async def read(self, limit: int, count: Callable[[int], None]) -> bytes:
        """All of it, or a ``ServiceError``. Held of the budget until ``release``.

        ``count`` is told of each piece of a large body as it comes, and may refuse it.
        """
        if self._announced > limit:
            raise too_large(limit)
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(READ_SECONDS):
                while not self.complete:
                    part = await self._part()
                    size = len(part)
                    if self._held + size > limit:
                        raise too_large(limit)
                    unproved = self._held + size - max(FREE_BYTES, self._held)
                    if unproved > 0:
                        count(unproved)
                        self.unproved += unproved
                    self._budget.take(self._address, size, large=self._held + size > FREE_BYTES)
                    self._held += size
                    parts.append(part)
        except TimeoutError:
            raise ServiceError("InvalidParameter", f"the body did not arrive within {READ_SECONDS:.0f} s") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def release(self) -> None:
        """Its content is not needed any more."""
        self._budget.give(self._address, self._held)
        self._held = 0

    async def discard(self) -> None:
        """Read on for a moment and keep nothing; afterwards ``complete`` tells whether that was all."""
        size = 0
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while not self.complete and size < DISCARD_BYTES:
                    size += len(await self._part())
        except TimeoutError:
            pass

    async def _part(self) -> bytes:
        message = await self._receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        self.complete = not message.get("more_body", False)
        part: bytes = message.get("body", b"")
        return part


def _number(content_length: str | None) -> int:
    text = content_length or ""
    return int(text[:20]) if text.isascii() and text.isdigit() else 0
