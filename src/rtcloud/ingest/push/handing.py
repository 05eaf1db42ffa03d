"""A connection on its way from the process that listens to the job that serves it: both ends of ``DIR/push.sock``.

Who has the ticket gets the descriptor itself (SCM_RIGHTS) and what was received so far: the RTMP machine is
deterministic, so fed with the same it is where the first one was. A ticket is good once; the socket is the owner's
alone (0600), as everything else in the directory.
"""

import array
import asyncio
import contextlib
import logging
import os
import secrets
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

import msgspec

from rtcloud.aio import spawn
from rtcloud.errors import ConfigError

NAME = "push.sock"
#: seconds from the ticket to its use: a job has to start in between
PATIENCE = 30.0
#: for one exchange over the socket
EXCHANGE_WITHIN = 5.0
MOST_CLAIMS = 256
MAX_HANDED = 1 << 20
_TICKET = 32  # characters
_LENGTH = struct.Struct(">I")
#: Linux limits the path of a Unix socket to 108 bytes.
_MAX_PATH = 107

_log = logging.getLogger(__name__)


class HandError(Exception):
    """The connection is not to be had (any more)."""


class Received(msgspec.Struct, frozen=True, array_like=True):
    """``noise`` is what the greeting was made with, ``data`` all that the client sent up to now."""

    noise: bytes
    data: bytes


@dataclass(frozen=True, slots=True)
class _Waiting:
    connection: socket.socket
    received: Received
    claimed: asyncio.Future[None]


class Desk:
    """``serve`` gives connections out to those who come with a ticket."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / NAME
        self._waiting: dict[str, _Waiting] = {}
        self._claims = 0

    @staticmethod
    def new_ticket() -> str:
        return secrets.token_hex(_TICKET // 2)

    async def hand_over(
        self, ticket: str, connection: socket.socket, received: Received, *, within: float = PATIENCE
    ) -> bool:
        """Whether somebody took it. It is closed here by the caller, in any case."""
        claimed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[ticket] = _Waiting(connection, received, claimed)
        try:
            async with asyncio.timeout(within):
                await claimed
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(ticket, None)
        return True

    def listen(self) -> socket.socket:
        """The caller holds the directory's lock, so a socket file that is there is a leftover."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            self.path.unlink(missing_ok=True)
            listener.bind(_reachable(self.path))
        except OSError as error:
            listener.close()
            raise ConfigError(f"{self.path}: {error.strerror or error}") from error
        finally:
            os.umask(before)
        listener.listen(64)
        listener.setblocking(False)
        return listener

    async def serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        answering: set[asyncio.Task[None]] = set()
        try:
            while True:
                try:
                    claimant, _ = await loop.sock_accept(listener)
                except OSError as error:
                    _log.warning("a claim cannot be taken", extra={"reason": str(error)})
                    await asyncio.sleep(0.1)
                    continue
                if len(answering) >= MOST_CLAIMS:
                    claimant.close()
                    continue
                task = spawn(self._answer(claimant), name="push-claim")
                answering.add(task)
                task.add_done_callback(answering.discard)
        finally:
            for task in answering:
                task.cancel()
            listener.close()
            self.path.unlink(missing_ok=True)

    async def _answer(self, claimant: socket.socket) -> None:
        with claimant:
            claimant.setblocking(False)
            try:
                async with asyncio.timeout(EXCHANGE_WITHIN):
                    ticket = await _receive_exactly(claimant, _TICKET)
                    waiting = self._waiting.pop(ticket.decode("ascii", "replace"), None)
                    if waiting is None or waiting.claimed.done():
                        return
                    await _send(claimant, waiting)
            except (OSError, HandError, TimeoutError) as error:
                _log.warning("a connection could not be handed over", extra={"reason": str(error)})
                return
            if not waiting.claimed.done():
                waiting.claimed.set_result(None)


async def claim(path: Path, ticket: str, *, within: float = EXCHANGE_WITHIN) -> tuple[socket.socket, Received]:
    """The connection, not blocking, and what came over it. Raises HandError."""
    descriptors: list[int] = []
    try:
        async with asyncio.timeout(within):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as desk:
                desk.setblocking(False)
                loop = asyncio.get_running_loop()
                await loop.sock_connect(desk, _reachable(path))
                await loop.sock_sendall(desk, ticket.encode())
                head = await _receive_descriptor(desk, descriptors)
                length = _LENGTH.unpack(head)[0]
                if length > MAX_HANDED:
                    raise HandError("too much was received")
                received = msgspec.msgpack.decode(await _receive_exactly(desk, length), type=Received)
        if len(descriptors) != 1:
            raise HandError("no connection came")
        connection = socket.socket(fileno=descriptors.pop())
    except (OSError, TimeoutError, msgspec.DecodeError, ConfigError) as error:
        raise HandError(str(error) or "too slow") from error
    finally:
        for descriptor in descriptors:
            with contextlib.suppress(OSError):
                os.close(descriptor)
    connection.setblocking(False)
    return connection, received


async def _send(claimant: socket.socket, waiting: _Waiting) -> None:
    body = msgspec.msgpack.encode(waiting.received)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [waiting.connection.fileno()]))]
    head = _LENGTH.pack(len(body))
    # A fresh socket has room for four bytes.
    if claimant.sendmsg([head], rights) != len(head):
        raise HandError("the claimant takes nothing")
    await asyncio.get_running_loop().sock_sendall(claimant, body)


async def _receive_descriptor(desk: socket.socket, descriptors: list[int]) -> bytes:
    """The length, and with it the descriptors, which then are the caller's to close."""
    while True:
        await _readable(desk)
        try:
            head, rights, _, _ = desk.recvmsg(_LENGTH.size, socket.CMSG_LEN(4 * array.array("i").itemsize))
        except BlockingIOError:
            continue
        break
    for level, kind, data in rights:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            received = array.array("i")
            received.frombytes(data[: len(data) - len(data) % received.itemsize])
            descriptors += received
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    if len(head) != _LENGTH.size:
        raise HandError("the ticket is not good (any more)")
    return head


async def _readable(one: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(one.fileno(), _set, ready)
    try:
        await ready
    finally:
        loop.remove_reader(one.fileno())


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


async def _receive_exactly(one: socket.socket, count: int) -> bytes:
    loop, received = asyncio.get_running_loop(), b""
    while len(received) < count:
        piece = await loop.sock_recv(one, count - len(received))
        if not piece:
            raise HandError("cut off")
        received += piece
    return received


def _reachable(path: Path) -> str:
    """A long path is shortened by way of the working directory."""
    text = str(path)
    if len(os.fsencode(text)) > _MAX_PATH:
        text = os.path.relpath(text)
    if len(os.fsencode(text)) > _MAX_PATH:
        raise ConfigError(f"{path}: the path is too long for a Unix socket; choose a shorter data directory")
    return text
