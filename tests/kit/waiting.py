"""Waiting for a condition, always with a deadline and a say about what was missing."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
POLL_S = 0.05


def wait_until(
    condition: Callable[[], T], what: str, within: float = 10.0, seen: Callable[[], object] | None = None
) -> T:
    """The first true value of ``condition``; AssertionError naming ``what`` after ``within`` seconds, and what was
    ``seen`` instead."""
    deadline = time.monotonic() + within
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within:g} s ({seen() if seen else value!r})")
        time.sleep(POLL_S)


async def eventually(
    condition: Callable[[], Awaitable[T]], what: str, within: float = 10.0, seen: Callable[[], object] | None = None
) -> T:
    """``wait_until`` for an async condition; the loop runs meanwhile."""
    deadline = time.monotonic() + within
    while True:
        if value := await condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within:g} s ({seen() if seen else value!r})")
        await asyncio.sleep(POLL_S)
