"""Hints between the parts of a process: "look now instead of at the next poll".

A hint carries no fact: the rows do. So it may be lost: a subscription keeps the newest ``HINTS`` and drops older
ones, and whoever listens also polls. Publish and subscribe on the event loop's thread.
"""

import asyncio
import contextlib
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Protocol

HINTS = 64


class Subscription:
    """Filled while the ``subscribe`` block lasts."""

    def __init__(self) -> None:
        self._hints: deque[str] = deque(maxlen=HINTS)
        self._arrived = asyncio.Event()

    def add(self, hint: str) -> None:
        self._hints.append(hint)
        self._arrived.set()

    async def wait(self, timeout: float) -> list[str]:
        """The hints since the last call, waiting up to ``timeout`` seconds for one; empty when none came."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._arrived.wait()
        self._arrived.clear()
        hints = list(self._hints)
        self._hints.clear()
        return hints


class Bus(Protocol):
    def publish(self, topic: str, hint: str = "") -> None: ...

    def subscribe(self, topic: str) -> contextlib.AbstractContextManager[Subscription]: ...


class LocalBus:
    """The bus of one process; another process of the same data directory polls."""

    def __init__(self) -> None:
        self._topics: defaultdict[str, set[Subscription]] = defaultdict(set)

    def publish(self, topic: str, hint: str = "") -> None:
        for subscription in self._topics.get(topic, ()):
            subscription.add(hint)

    @contextlib.contextmanager
    def subscribe(self, topic: str) -> Iterator[Subscription]:
        subscription = Subscription()
        self._topics[topic].add(subscription)
        try:
            yield subscription
        finally:
            self._topics[topic].discard(subscription)
            if not self._topics[topic]:
                del self._topics[topic]
