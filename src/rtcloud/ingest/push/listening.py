"""Where RTMP clients come in: everything up to the moment when a push has a job of its own.

A connection is read here until it asks to publish. Then it is admitted, and handed to the job as it is; from there on
no byte of it passes this process, unless it is encrypted: TLS stays here, and the job gets the other end of a pair.
Strangers are bounded in every way: connections (``crowd``), bytes (``rtmp.serving``), and ``OPENING`` seconds.
"""

import asyncio
import contextlib
import logging
import secrets
import socket
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rtcloud.aio import receive, spawn
from rtcloud.ingest.push.admitting import APP, BAD_APP, REJECTED, WHYS, PushRefusedError, Why, Wish, read_wish
from rtcloud.ingest.push.crowd import Bounds, Crowd
from rtcloud.ingest.push.handing import PATIENCE, Desk, Received
from rtcloud.rtmp.errors import RtmpError
from rtcloud.rtmp.handshake import SIZE
from rtcloud.rtmp.serving import Connect, Ended, Publish, Server

#: seconds from the connection to ``publish``, with TLS
OPENING = 10.0
#: for the words of a refusal, and for the client to hang up on them
FAREWELL = 3.0
READ = 16 * 1024
#: of an encrypted push, each way
PUMPED = 64 * 1024
_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A push whose task waits for the connection. ``withdraw`` ends the task when nobody came for it."""

    ticket: str
    withdraw: Callable[[], Awaitable[None]]


class Admit(Protocol):
    async def __call__(self, wish: Wish) -> Accepted:
        """Raises PushRefusedError."""
        ...


class PushServer:
    """``listen`` for each address, until it is cancelled."""

    def __init__(
        self,
        admit: Admit,
        desk: Desk,
        *,
        bounds: Bounds | None = None,
        opening: float = OPENING,
        patience: float = PATIENCE,
    ) -> None:
        self._admit = admit
        self._desk = desk
        self._crowd = Crowd(bounds)
        self._opening = opening
        self._patience = patience
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._count = 0
        self.accepted = 0
        self.refused: Counter[Why] = Counter()

    def figures(self) -> Mapping[str, tuple[str, bool, float]]:
        """For /metrics."""
        refused = {
            f"rtmp_refused_{why}": (f"RTMP connections refused: {why.replace('_', ' ')}", True, self.refused[why])
            for why in WHYS
        }
        return refused | {
            "rtmp_connections": (
                "RTMP connections that this process holds, encrypted pushes too",
                False,
                self._crowd.held,
            ),
            "rtmp_waiting": ("Of those, such as did not publish yet", False, self._crowd.waiting),
            "rtmp_accepted": ("Pushes that were handed to a job", True, self.accepted),
        }

    async def listen(self, listener: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    connection, peer = await loop.sock_accept(listener)
                except OSError as error:  # no descriptor is left, or the client has gone already
                    _log.warning("an RTMP connection cannot be taken", extra={"reason": str(error)})
                    await asyncio.sleep(0.1)
                    continue
                self._begin(connection, str(peer[0]), tls)
                await asyncio.sleep(0)  # a flood of them must not keep out everything else
        finally:
            listener.close()
            tasks = tuple(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self, connection: socket.socket, address: str, tls: ssl.SSLContext | None) -> None:
        self._count += 1
        number = self._count
        if not self._crowd.enter(number, address):
            self.refused["too_many"] += 1
            connection.close()
            return
        while (longest := self._crowd.superfluous()) is not None:
            self.refused["too_many"] += 1
            assert isinstance(longest, int)
            self._tasks[longest].cancel()
        task = self._tasks[number] = spawn(self._attend(number, connection, tls), name="rtmp-connection")
        task.add_done_callback(lambda _: self._forget(number, connection))  # also of one that never began

    def _forget(self, number: int, connection: socket.socket) -> None:
        self._crowd.leave(number)
        self._tasks.pop(number, None)
        connection.close()

    async def _attend(self, number: int, connection: socket.socket, tls: ssl.SSLContext | None) -> None:
        wire: _Wire | None = None
        try:
            async with asyncio.timeout(self._opening):
                wire = await _open(connection, tls)
                opening = await _Opening(wire).run()
            if opening is not None:
                await self._serve(number, opening)
        except TimeoutError:
            self.refused["too_slow"] += 1
        except RtmpError as error:
            self.refused["not_rtmp"] += 1
            _log.debug("an RTMP connection is ended", extra={"reason": str(error)})
        except OSError:
            pass  # it is gone
        except Exception:
            _log.exception("an RTMP connection failed")
        finally:
            if wire is not None:
                await wire.close()

    async def _serve(self, number: int, opening: "_Opening") -> None:
        """From ``publish`` on."""
        try:
            accepted = await self._admit(opening.wish())
        except PushRefusedError as refusal:
            self.refused[refusal.why] += 1
            await opening.refuse(refusal)
            return
        self._crowd.settle(number)  # not before: who is refused counts until it has gone
        passed, kept = opening.wire.pass_on()
        taken = False
        try:
            taken = await self._desk.hand_over(accepted.ticket, passed, opening.received, within=self._patience)
        finally:
            passed.close()
            if not taken:
                await accepted.withdraw()
        if not taken:
            self.refused["busy"] += 1
            await opening.refuse(PushRefusedError("busy", REJECTED, "no process could be started in time"))
            return
        self.accepted += 1
        if kept is not None:
            await _pump(opening.wire, kept)


class _Opening:
    """A connection up to ``publish``."""

    def __init__(self, wire: "_Wire") -> None:
        self.wire = wire
        self._noise = secrets.token_bytes(SIZE - 8)
        self._server = Server(self._noise)
        self._data = bytearray()
        self._publish: Publish | None = None
        self._refusal: PushRefusedError | None = None

    @property
    def received(self) -> Received:
        return Received(self._noise, bytes(self._data))

    async def run(self) -> "_Opening | None":
        """None when the client has gone before it asked. Raises RtmpError."""
        server = self._server
        while self._publish is None and self._refusal is None:
            if not (data := await self.wire.receive()):
                return None
            self._data += data
            events = server.receive(data)
            while events:
                match events.pop(0):
                    case Connect(app=app) if app.strip("/") == APP:
                        events += server.accept()
                    case Connect():
                        words = f"the application is {APP}: rtmp://HOST/{APP}/ROOM?…"
                        self._refusal = PushRefusedError("bad_application", BAD_APP, words)
                    case Publish() as publish:
                        self._publish = publish
                    case Ended():
                        return None
            if out := server.take_output():
                await self.wire.send(out)
        return self

    def wish(self) -> Wish:
        """Raises PushRefusedError."""
        if self._refusal is not None:
            raise self._refusal
        assert self._publish is not None
        return read_wish(self._publish.name, self._publish.query)

    async def refuse(self, refusal: PushRefusedError) -> None:
        """Says why, and gives the client a moment to read it: closing over what it still sends would take it back."""
        _log.info("an RTMP push is refused", extra={"why": refusal.why, "reason": refusal.words})
        self._server.refuse(refusal.code, refusal.words)
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(FAREWELL):
                await self.wire.send(self._server.take_output())
                self.wire.send_end()
                while await self.wire.receive():
                    pass


class _Wire(Protocol):
    async def receive(self) -> bytes: ...
    async def send(self, data: bytes) -> None: ...
    def send_end(self) -> None: ...
    def pass_on(self) -> tuple[socket.socket, socket.socket | None]:
        """What a job gets; and, if bytes still go through here, the end that stays."""

    async def close(self) -> None: ...


async def _open(connection: socket.socket, tls: ssl.SSLContext | None) -> _Wire:
    connection.setblocking(False)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEPALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)
    if tls is None:
        return _Plain(connection)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=PUMPED)
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=tls)
    return _Encrypted(reader, asyncio.StreamWriter(transport, protocol, reader, loop))


class _Plain:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    async def receive(self) -> bytes:
        return await receive(self._connection, READ)

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self._connection, data)

    def send_end(self) -> None:
        self._connection.shutdown(socket.SHUT_WR)

    def pass_on(self) -> tuple[socket.socket, socket.socket | None]:
        return self._connection.dup(), None

    async def close(self) -> None:
        self._connection.close()


class _Encrypted:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def receive(self) -> bytes:
        return await self._reader.read(READ)

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def send_end(self) -> None:
        pass  # TLS says so when it is closed

    def pass_on(self) -> tuple[socket.socket, socket.socket | None]:
        passed, kept = socket.socketpair()
        kept.setblocking(False)
        return passed, kept

    async def close(self) -> None:
        """What was sent last still gets out, to a client that reads."""
        self._writer.close()
        try:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(FAREWELL):
                    await self._writer.wait_closed()
        finally:
            self._writer.transport.abort()


async def _pump(wire: _Wire, kept: socket.socket) -> None:
    """Until one side has ended; what was on its way then still gets out."""
    loop = asyncio.get_running_loop()

    async def inwards() -> None:
        with contextlib.suppress(OSError):
            while data := await wire.receive():
                await loop.sock_sendall(kept, data)
            kept.shutdown(socket.SHUT_WR)

    async def outwards() -> None:
        with contextlib.suppress(OSError):
            while data := await receive(kept, PUMPED):
                await wire.send(data)

    with kept:
        inward, outward = spawn(inwards(), name="rtmps-in"), spawn(outwards(), name="rtmps-out")
        try:
            await asyncio.wait({inward, outward}, return_when=asyncio.FIRST_COMPLETED)
            if not outward.done():
                await asyncio.wait({outward}, timeout=FAREWELL)
        finally:
            for task in (inward, outward):
                task.cancel()
            await asyncio.gather(inward, outward, return_exceptions=True)
