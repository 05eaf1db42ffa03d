"""What asyncio leaves to its users: tasks have a name, a kept reference, and their failure is logged; a peer that
sends all the time does not keep the loop to itself."""

import asyncio
import logging
import socket
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_running: set[asyncio.Task[Any]] = set()
_log = logging.getLogger(__name__)


def spawn(coroutine: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Run ``coroutine`` as an aio task of that name. An exception nobody awaits is logged, not lost."""
    task = asyncio.get_running_loop().create_task(coroutine, name=name)
    _running.add(task)
    task.add_done_callback(_finished)
    return task


async def receive(connection: socket.socket, most: int) -> bytes:
    """``sock_recv`` that lets the others have their turn, and a timeout its moment: the loop's own returns at once
    while there is something to read, so that who sends faster than we read would hold the loop for good.
    """
    await asyncio.sleep(0)
    return await asyncio.get_running_loop().sock_recv(connection, most)


def _finished(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        _log.error("aio task failed", exc_info=error, extra={"aio_task": task.get_name()})
