"""One address: connect, publish, send, and connect again. Everything on the event loop; nobody else waits for it.

``put`` never waits: without a connection a tag is forgotten, with one it goes into a bounded backlog. Each connection
begins with the next key frame, which is asked for. A connection that takes nothing for ``Timing.stall`` is broken.
Addresses carry keys: logs name the host only.
"""

import asyncio
import contextlib
import functools
import logging
import random
import socket
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import httpcore

from rtcloud.aio import spawn
from rtcloud.clock import Clock
from rtcloud.egress.publishing.backlog import Backlog
from rtcloud.egress.publishing.flv import FlvTag
from rtcloud.egress.publishing.statuses import LIMIT, REPEAT, Change, Fault, Status, Statuses
from rtcloud.outgoing.dialing import AddressRefusedError, Dialer
from rtcloud.rtmp import chunks
from rtcloud.rtmp.address import Address, AddressError, parse_address
from rtcloud.rtmp.connecting import UNSUPPORTED_CODEC, Refused
from rtcloud.rtmp.errors import RtmpError
from rtcloud.rtmp.handshake import SIZE
from rtcloud.rtmp.publishing import Published, Publisher
from rtcloud.tasks.protocol import OutputChanged

WRITE_BYTES = 64 * 1024
READ_BYTES = 64 * 1024
#: how long the server may take to notice the end before the connection is closed
PARTING = 0.3

_MESSAGES = {"audio": chunks.AUDIO, "video": chunks.VIDEO, "script": chunks.DATA}
_REFUSALS = {"NetStream.Publish.BadName": Fault.NAME_IN_USE, UNSUPPORTED_CODEC: Fault.CODEC_NOT_CARRIED}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds."""

    connect: float = 10.0  # until the server takes the stream
    stall: float = 10.0
    repeat: float = REPEAT
    limit: float = LIMIT
    backoff: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 5.0)  # up to a quarter less by chance
    steady: float = 10.0  # a connection that held so long starts the back-off anew
    close: float = 2.0  # to send the rest at the end


@dataclass(frozen=True, slots=True)
class PushFigures:
    status: int
    bytes: int  # sent since the beginning
    queued_ms: int
    dropped: int  # tags, since the beginning
    connections: int


@dataclass(frozen=True, slots=True)
class Source:
    """What all outputs of one stream share."""

    headers: Callable[[], Sequence[FlvTag]]
    has_video: bool
    codecs: tuple[str, ...]  # FourCCs of Enhanced RTMP
    want_keyframe: Callable[[], None]


class _BrokenError(Exception):
    def __init__(self, fault: Fault, detail: str = "") -> None:
        super().__init__(fault.name)
        self.fault, self.detail = fault, detail


class Pusher:
    def __init__(
        self,
        url: str,
        source: Source,
        dialer: Dialer,
        report: Callable[[OutputChanged], None],
        clock: Clock,
        *,
        resumes: bool = False,
        chance: random.Random | None = None,
        timing: Timing | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self.url = url
        self._source, self._dialer, self._report, self._clock = source, dialer, report, clock
        self._chance = chance or random.Random()
        self._timing = timing or Timing()
        self._ssl_context = ssl_context
        self._statuses = Statuses(resumes=resumes, repeat=self._timing.repeat, limit=self._timing.limit)
        self._address: Address | None = None
        with contextlib.suppress(AddressError):
            self._address = parse_address(url)
        self._backlog: Backlog | None = None
        self._wake, self._changed, self._closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._refusal: tuple[Fault, str] | None = None
        self._bytes = self._dropped = self._connections = 0
        self._over = False

    @property
    def figures(self) -> PushFigures:
        backlog = self._backlog
        dropped = self._dropped + (backlog.dropped if backlog else 0)
        waiting = backlog.waiting_ms if backlog else 0
        return PushFigures(int(self._statuses.status), self._bytes, waiting, dropped, self._connections)

    @property
    def has_ended(self) -> bool:
        """It was given up, or closed: 0 was said."""
        return self._over

    def start(self, after: "asyncio.Task[None] | None" = None) -> None:
        """Begin, or as soon as ``after`` is done: an earlier use of the same address."""
        self._task = spawn(self._run(after), name="push")

    def put(self, tag: FlvTag) -> None:
        if self._backlog is None:
            return
        if not self._backlog.put(tag):
            _log.warning("a push does not keep up", extra={"host": self._place})
            self._source.want_keyframe()
        self._wake.set()

    async def close(self) -> None:
        """Send what waits, take the stream back, and say 5 and 0. Bounded by ``Timing.close``."""
        self._closing.set()
        for event in (self._wake, self._changed):
            event.set()
        if self._task is not None:
            await asyncio.wait({self._task})

    def refuse(self, fault: Fault, detail: str = "") -> None:
        """There is nothing to push there: say 4 and 0, and end."""
        self._refusal = fault, detail
        self._changed.set()

    def cut(self) -> None:
        """End at once, and say nothing: another attempt of the task goes on with the address."""
        if self._task is not None:
            self._task.cancel()

    @property
    def _place(self) -> str:
        return self._address.place if self._address else "an unusable address"

    async def _run(self, after: "asyncio.Task[None] | None") -> None:
        if after is not None:
            await asyncio.wait({after})
        if self._closing.is_set():
            return
        self._tell(self._statuses.begin(self._now()))
        attempts = spawn(self._attempts(), name="push connection")
        try:
            while not self._statuses.has_ended and not self._closing.is_set():
                deadline = self._statuses.deadline
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(None if deadline is None else deadline - self._now()):
                        await self._changed.wait()
                self._changed.clear()
                if self._refusal is not None:
                    self._tell(self._statuses.refuse(self._now(), *self._refusal))
                self._tell(self._statuses.tick(self._now()))
            self._tell(self._statuses.closing(self._now()))
            if self._backlog is not None:
                await asyncio.wait({attempts}, timeout=self._timing.close)
        finally:
            attempts.cancel()
            await asyncio.wait({attempts})
            self._tell(self._statuses.closed(self._now()))

    async def _attempts(self) -> None:
        tries = 0
        while True:
            before, began = self._connections, self._now()
            try:
                await self._attempt()
                return
            except _BrokenError as broken:
                fault, detail = broken.fault, broken.detail
            except Exception:
                _log.exception("a push failed", extra={"host": self._place})
                fault, detail = Fault.CLOSED, ""
            _log.info("not pushed", extra={"host": self._place, "fault": fault.name, "detail": detail})
            self._tell(self._statuses.broken(self._now(), fault, detail))
            if self._connections > before and self._now() - began >= self._timing.steady:
                tries = 0
            backoff = self._timing.backoff[min(tries, len(self._timing.backoff) - 1)]
            tries += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(backoff * self._chance.uniform(0.75, 1)):
                    await self._closing.wait()
            if self._closing.is_set():
                return

    async def _attempt(self) -> None:
        """Returns when all was sent after ``close``. Raises ``_BrokenError``."""
        if self._address is None:
            raise _BrokenError(Fault.INVALID_ADDRESS)
        publisher = Publisher(self._address, noise=self._chance.randbytes(SIZE - 8), codecs=self._source.codecs)
        async with contextlib.AsyncExitStack() as held:
            try:
                async with asyncio.timeout(self._timing.connect):
                    stream = await self._connect(self._address)
                    held.push_async_callback(stream.aclose)
                    if self._address.secure:
                        stream = await self._secure(stream, self._address.host)
                        held.push_async_callback(stream.aclose)
                    publisher.begin()
                    while not publisher.published:
                        await self._write(stream, publisher.take_output())
                        await self._read(stream, publisher)
            except TimeoutError:
                raise _BrokenError(Fault.TIMED_OUT) from None
            self._connections += 1
            self._backlog = Backlog(self._source.headers, has_video=self._source.has_video)
            held.callback(self._forget_backlog)
            _log.info("pushing", extra={"host": self._place})
            self._tell(self._statuses.running(self._now()))
            self._source.want_keyframe()
            reading = spawn(self._read_on(stream, publisher), name="push answers")
            held.callback(reading.cancel)
            await self._send(stream, publisher, self._backlog, reading)

    async def _connect(self, address: Address) -> httpcore.AsyncNetworkStream:
        try:
            found = await self._dialer.addresses(address.host)
        except AddressRefusedError:
            raise _BrokenError(Fault.PRIVATE_ADDRESS) from None
        except OSError:
            raise _BrokenError(Fault.NAME_NOT_FOUND) from None
        fault = Fault.UNREACHABLE
        for each in found:  # checked already, and as literals not looked up again
            try:
                return await self._dialer.connect_tcp(
                    str(each), address.port, self._timing.connect, socket_options=self._socket_options()
                )
            except httpcore.ConnectTimeout:
                fault = Fault.TIMED_OUT
            except httpcore.ConnectError as error:
                fault = Fault.REFUSED if _was_refused(error) else Fault.UNREACHABLE
        raise _BrokenError(fault)

    def _socket_options(self) -> list[tuple[int, int, int]]:
        """A dead network is noticed after ``Timing.stall`` although the system would buffer for minutes."""
        return [
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(self._timing.stall * 1000)),
            (socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, 2 * WRITE_BYTES),
        ]

    async def _secure(self, stream: httpcore.AsyncNetworkStream, host: str) -> httpcore.AsyncNetworkStream:
        try:
            return await stream.start_tls(self._ssl_context or _system_trust(), host, self._timing.connect)
        except httpcore.ConnectTimeout:
            raise _BrokenError(Fault.TIMED_OUT) from None
        except (httpcore.ConnectError, ssl.SSLError, ssl.CertificateError):
            raise _BrokenError(Fault.TLS) from None

    async def _send(
        self,
        stream: httpcore.AsyncNetworkStream,
        publisher: Publisher,
        backlog: Backlog,
        reading: "asyncio.Task[_BrokenError]",
    ) -> None:
        reading.add_done_callback(lambda _: self._wake.set())
        while True:
            if reading.done():
                raise reading.result()
            for tag in backlog.take(WRITE_BYTES):
                publisher.send(_MESSAGES[tag.kind], tag.time_ms, tag.data)
            if out := publisher.take_output():
                await self._write(stream, out)
            elif self._closing.is_set():
                publisher.finish()
                await self._write(stream, publisher.take_output())
                await asyncio.wait({reading}, timeout=PARTING)
                return
            else:
                self._wake.clear()
                await self._wake.wait()

    async def _write(self, stream: httpcore.AsyncNetworkStream, data: bytes) -> None:
        for at in range(0, len(data), WRITE_BYTES):
            piece = data[at : at + WRITE_BYTES]
            try:
                await stream.write(piece, self._timing.stall)
            except httpcore.WriteTimeout:
                raise _BrokenError(Fault.STALLED) from None
            except httpcore.NetworkError:
                raise _BrokenError(Fault.CLOSED) from None
            self._bytes += len(piece)

    async def _read(self, stream: httpcore.AsyncNetworkStream, publisher: Publisher) -> None:
        try:
            data = await stream.read(READ_BYTES)
            events = publisher.receive(data)
        except httpcore.NetworkError:
            raise _BrokenError(Fault.CLOSED) from None
        except RtmpError:
            raise _BrokenError(Fault.NOT_RTMP) from None
        for event in events:
            if isinstance(event, Refused):
                raise _BrokenError(_REFUSALS.get(event.code, Fault.REJECTED), event.code)
            assert isinstance(event, Published)
        if not data:
            raise _BrokenError(Fault.CLOSED)

    async def _read_on(self, stream: httpcore.AsyncNetworkStream, publisher: Publisher) -> _BrokenError:
        """Until the connection is of no use any more: why."""
        while True:
            try:
                await self._read(stream, publisher)
            except _BrokenError as broken:
                return broken
            self._wake.set()

    def _forget_backlog(self) -> None:
        if self._backlog is not None:
            self._dropped += self._backlog.dropped
        self._backlog = None

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self._over = change.status == Status.IDLE
            self._report(
                OutputChanged(
                    at_ms=self._clock.now_ms(),
                    url=self.url,
                    status=int(change.status),
                    code=int(change.fault),
                    message=change.message,
                )
            )
            self._changed.set()

    def _now(self) -> float:
        return self._clock.monotonic()


@functools.cache
def _system_trust() -> ssl.SSLContext:
    return ssl.create_default_context()


def _was_refused(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False
