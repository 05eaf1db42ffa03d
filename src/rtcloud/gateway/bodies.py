"""Reading a request's body: streamed, bounded per request and for all requests together.

A request refused before its body was read, or for its size, is not kept: what still comes is thrown away for a moment,
so that a well-meaning client gets to read its answer; if there is even more, the connection is closed.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from rtcloud.errors import ServiceError
from rtcloud.gateway.guard import FREE_BYTES
from rtcloud.gateway.heads import too_large

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MAX_BODIES = 128 * 1024 * 1024  # all that are being read or worked on
READ_SECONDS = 30.0
DISCARD_SECONDS = 5.0
DISCARD_BYTES = 256 * 1024 * 1024


class ClientGoneError(Exception):
    """The connection ended before the request was complete; nobody is left to answer."""


class BodyBudget:
    """How many bytes of bodies are held now."""

    def __init__(self, limit: int = MAX_BODIES) -> None:
        self._free = limit

    def take(self, size: int) -> bool:
        if size > self._free:
            return False
        self._free -= size
        return True

    def give(self, size: int) -> None:
        self._free += size


class Body:
    """The body of one request. ``complete`` once nothing more of it can come."""

    def __init__(self, receive: Receive, content_length: str | None, budget: BodyBudget) -> None:
        self._receive = receive
        self._announced = _number(content_length)
        self._budget = budget
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
                    if not self._budget.take(size):
                        raise ServiceError("ServiceUnavailable", "too many large requests at once; try again")
                    self._held += size
                    parts.append(part)
        except TimeoutError:
            raise ServiceError("InvalidParameter", f"the body did not arrive within {READ_SECONDS:.0f} s") from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def release(self) -> None:
        """Its content is not needed any more."""
        self._budget.give(self._held)
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
