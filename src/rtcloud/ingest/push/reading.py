"""Reads a connection in a callback of the event loop: a push is some hundred small packets a second, each alone, and to
wake a task for each would cost more than all that is done with them."""

import asyncio
import socket
from collections.abc import Callable

READ = 64 * 1024


async def read_until(connection: socket.socket, take: Callable[[bytes], bool], silence: float) -> None:
    """Gives what comes to ``take``, and b"" at the end, until it says that this is enough. Raises what ``take`` raises,
    OSError, and TimeoutError when nothing came for ``silence`` seconds."""
    loop = asyncio.get_running_loop()
    enough: asyncio.Future[None] = loop.create_future()
    heard = loop.time()

    def readable() -> None:
        nonlocal heard
        try:
            data = connection.recv(READ)
            heard = loop.time()
            is_enough = take(data) or not data
        except (BlockingIOError, InterruptedError):
            return
        except Exception as error:
            loop.remove_reader(connection)
            enough.set_exception(error)
            return
        if is_enough:
            loop.remove_reader(connection)
            enough.set_result(None)

    loop.add_reader(connection, readable)
    try:
        while not enough.done():
            left = heard + silence - loop.time()
            if left <= 0:
                raise TimeoutError
            await asyncio.wait([enough], timeout=left)
        enough.result()
    finally:
        loop.remove_reader(connection)
