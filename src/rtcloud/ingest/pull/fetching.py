"""Files over HTTP for a demuxer in a thread: read, and go elsewhere in them by ranges, as ``io_open`` of PyAV wants.

FFmpeg's own HTTP is not used: it checks no certificate of what a playlist names, and dials for itself. Here every
connection, of every redirect, passes the ``Dialer``; heads, redirects, bytes and waits are bounded, and what fails is
told in words that name no address.

A ``Fetch`` reads ahead on the event loop, up to ``AHEAD`` bytes. The thread waits no longer than the deadline that the
demuxer's owner sets for each of its steps: a server that gives a byte at a time gains nothing.
"""

import asyncio
import contextlib
import re
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any

import httpcore
import httpx

from rtcloud.aio import spawn
from rtcloud.ingest.pull.source import SourceError
from rtcloud.outgoing.dialing import AddressRefusedError, Dialer
from rtcloud.outgoing.transport import GuardedTransport

REDIRECTS = 8
HEAD_WITHIN = 10.0  # for the answer's head, with all redirects
STALL = 10.0  # without a byte
AHEAD = 1 << 20
#: going forward in a file by so little more than is there is cheaper by reading on
NEAR = 16 << 10
LONGEST_URL = 4096
AGENT = "rtcloud"

_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)")


class Budget:
    """What all fetches of one source may take: bytes while it is opened, and time until the present step is done."""

    def __init__(self) -> None:
        self._deadline = float("inf")
        self._bytes: int | None = None
        self.failure: SourceError | None = None  # the first since it was looked at
        self.closed = False
        self.has_end = False  # a playlist that was read says that nothing follows

    def allow(self, seconds: float, size: int | None = None) -> None:
        self._deadline, self._bytes = time.monotonic() + seconds, size

    @property
    def seconds(self) -> float:
        return self._deadline - time.monotonic()

    def spend(self, size: int) -> None:
        if self._bytes is not None:
            self._bytes -= size
            if self._bytes < 0:
                raise self.fail("its beginning is too large")

    def note(self, error: SourceError) -> SourceError:
        self.failure = self.failure or error
        return error

    def fail(self, message: str) -> SourceError:
        return self.note(SourceError(message))

    def take_failure(self) -> SourceError | None:
        failure, self.failure = self.failure, None
        return failure


class Web:
    """The HTTP client of one source. ``open`` is for the demuxing thread, ``close`` for the loop."""

    def __init__(self, dialer: Dialer, budget: Budget, *, ssl_context: ssl.SSLContext | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._budget = budget
        self._client = httpx.AsyncClient(
            transport=GuardedTransport(dialer, ssl_context=ssl_context, max_connections=8),
            headers={"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "identity"},
            timeout=httpx.Timeout(STALL, connect=5.0),
            follow_redirects=False,
            trust_env=False,
        )
        self._fetches: set[Fetch] = set()

    def open(self, url: str, begin: int = 0, end: int | None = None) -> "Fetch":
        """All of it, or a part. Returns when the answer's head is there. Raises ``SourceError``."""
        fetch = Fetch(url, end, self._client, self._loop, self._budget, self._fetches.discard)
        self._fetches.add(fetch)
        try:
            fetch.begin(begin)
        except SourceError:
            fetch.close()
            raise
        return fetch

    async def close(self) -> None:
        self._budget.closed = True
        for fetch in tuple(self._fetches):
            fetch.stop()
        with contextlib.suppress(Exception):
            await self._client.aclose()


class Fetch:
    """One file. Everything public but ``stop`` is called by the demuxing thread, ``closed`` too: a live playlist reads
    files for days."""

    def __init__(
        self,
        url: str,
        end: int | None,
        client: httpx.AsyncClient,
        loop: asyncio.AbstractEventLoop,
        budget: Budget,
        closed: Callable[["Fetch"], None],
    ) -> None:
        self._end = end  # of the part that is wanted
        self.url = url  # after redirects
        self._url, self._client, self._loop, self._budget = url, client, loop, budget
        self._closed = closed
        self._condition = threading.Condition()
        self._buffer = bytearray()
        self._position = 0
        self._wanted: int | None = None  # where the next read begins, if elsewhere
        self._size: int | None = None
        self._has_ranges = False
        self._answered = self._ended = self._stopped = False
        self._error: SourceError | None = None
        self._room = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._turn = 0  # of the pump whose bytes count

    # As a file --------------------------------------------------------------------------------------------------------

    def read(self, size: int) -> bytes:
        """What fails is the file's end to FFmpeg, which would only print an error of Python; the failure is noted."""
        try:
            return self._read(size)
        except SourceError as error:
            self._budget.note(error)
            return b""

    def peek(self, size: int) -> bytes:
        """What comes next, without taking it."""
        with self._condition:
            self._wait(lambda: len(self._buffer) >= size or self._ended)
            return bytes(self._buffer[:size])

    def read_all(self, most: int) -> bytes:
        """Raises ``SourceError`` when there is more."""
        data = bytearray()
        while chunk := self._read(64 << 10):
            data += chunk
            if len(data) > most:
                raise self._budget.fail("a file is too large")
        return bytes(data)

    def seekable(self) -> bool:
        return self._has_ranges and self._size is not None

    def tell(self) -> int:
        return self._position if self._wanted is None else self._wanted

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 1:
            offset += self.tell()
        elif whence == 2:
            if self._size is None:
                return -1
            offset += self._size
        if offset < 0:
            return -1
        self._wanted = offset  # FFmpeg often looks around without reading
        return offset

    def close(self) -> None:
        self.stop()
        self._closed(self)

    # ------------------------------------------------------------------------------------------------------------------

    def begin(self, offset: int) -> None:
        """Ask for the file from there, and wait for the head of the answer."""
        with self._condition:
            self._turn += 1
            self._buffer.clear()
            self._position = offset
            self._answered = self._ended = False
            self._error = None
        self._call(self._start, self._turn, offset)
        with self._condition:
            self._wait(lambda: self._answered)

    def stop(self) -> None:
        with self._condition:
            self._stopped = True
            self._condition.notify()
        self._call(self._cancel)

    def _read(self, size: int) -> bytes:
        wanted, self._wanted = self._wanted, None
        if wanted is not None and wanted != self._position:
            self._go_to(wanted)
        data = self._take(size)
        self._budget.spend(len(data))
        return data

    def _take(self, size: int) -> bytes:
        with self._condition:
            self._wait(lambda: bool(self._buffer) or self._ended)
            data = bytes(self._buffer[:size])
            del self._buffer[:size]
            self._position += len(data)
        self._call(self._room.set)
        return data

    def _go_to(self, offset: int) -> None:
        if self._size is not None and offset >= self._size:
            with self._condition:
                self._turn += 1
                self._buffer.clear()
                self._position, self._ended, self._answered = offset, True, True
            self._call(self._cancel)
            return
        if 0 < offset - self._position <= len(self._buffer) + NEAR:
            while self._position < offset and self._take(offset - self._position):
                pass
            return
        if not self.seekable():
            raise SourceError("the server gives no ranges")
        self.begin(offset)

    def _wait(self, done: Callable[[], bool]) -> None:
        """With the condition held. Raises ``SourceError``."""
        while not done():
            if self._error is not None:
                raise self._budget.note(self._error)
            if self._stopped or self._budget.closed:
                raise SourceError("closed")
            left = self._budget.seconds
            if left <= 0:
                raise self._budget.fail("it gives too little in its time")
            self._condition.wait(min(left, 1.0))

    def _call(self, function: Callable[..., Any], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(function, *arguments)

    # On the loop ------------------------------------------------------------------------------------------------------

    def _start(self, turn: int, offset: int) -> None:
        self._cancel()
        if not self._stopped and not self._budget.closed:
            self._pump = spawn(self._run(turn, offset), name="pull-fetch")

    def _cancel(self) -> None:
        if self._pump is not None:
            self._pump.cancel()
            self._pump = None

    async def _run(self, turn: int, offset: int) -> None:
        error: SourceError | None = None
        try:
            async with asyncio.timeout(HEAD_WITHIN):
                answer = await self._ask(offset)
            try:
                await self._pass_on(turn, answer, offset)
            finally:
                await answer.aclose()
        except SourceError as refused:
            error = refused
        except TimeoutError:
            error = SourceError("the server does not answer in time")
        except (httpx.HTTPError, httpx.InvalidURL, httpcore.ProtocolError, OSError, ValueError, RuntimeError) as broken:
            error = SourceError(failure_of(broken))
        with self._condition:
            if turn == self._turn and not self._stopped:
                self._error, self._ended = error, error is None
                self._condition.notify()

    async def _ask(self, offset: int) -> httpx.Response:
        url = self._url
        for _ in range(REDIRECTS + 1):
            if len(url) > LONGEST_URL:
                raise SourceError("an address is too long")
            asked = httpx.URL(url)
            if asked.scheme not in ("http", "https") or not asked.host:
                raise SourceError("it leads to an address that is not HTTP")
            headers = {"Range": f"bytes={offset}-{'' if self._end is None else self._end - 1}"}
            answer = await self._client.send(self._client.build_request("GET", asked, headers=headers), stream=True)
            location = answer.headers.get("Location")
            if answer.status_code in (301, 302, 303, 307, 308) and location:
                await answer.aclose()
                url = str(asked.join(location))
                continue
            if answer.status_code not in (200, 206):
                await answer.aclose()
                is_missing = answer.status_code in (404, 410)
                raise SourceError(f"the server answers {answer.status_code}", is_missing=is_missing)
            if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                await answer.aclose()
                raise SourceError("the answer is compressed")
            self.url = url
            return answer
        raise SourceError("too many redirects")

    async def _pass_on(self, turn: int, answer: httpx.Response, offset: int) -> None:
        begin, size = _extent(answer)
        if begin != offset or (self._size is not None and size != self._size):
            raise SourceError("the server gives another part, or another file, than was asked for")
        with self._condition:
            if turn != self._turn:
                return
            self._size = size
            self._has_ranges = answer.status_code == 206
            self._answered = True
            self._condition.notify()
        came = 0
        async for chunk in answer.aiter_raw(64 << 10):
            came += len(chunk)
            with self._condition:
                if turn != self._turn or self._stopped:
                    return
                self._buffer += chunk
                self._condition.notify()
            while len(self._buffer) > AHEAD:
                self._room.clear()
                if len(self._buffer) > AHEAD:
                    await self._room.wait()
        until = size if size is None or self._end is None else min(size, self._end)
        if until is not None and offset + came < until:
            raise SourceError("the connection ended too soon")


def failure_of(error: Exception) -> str:
    """In words that name no address."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, AddressRefusedError):
            return "the address is private"
        if isinstance(found, ssl.SSLError):
            return "the server's certificate is not valid, or TLS fails"
        found = found.__cause__ or found.__context__
    if isinstance(error, httpx.ConnectTimeout | httpx.ReadTimeout):
        return "the server does not answer in time"
    if isinstance(error, httpx.ConnectError):
        return "the server cannot be reached"
    if isinstance(error, httpx.RemoteProtocolError):
        return "the server's answer is no HTTP, has too large a head, or ended too soon"
    if isinstance(error, httpx.InvalidURL | ValueError):
        return "an address is not valid"
    return "the connection broke"  # a client that was closed meanwhile says so by a RuntimeError


def _extent(answer: httpx.Response) -> tuple[int, int | None]:
    """Where the body begins in the file, and the file's size."""
    if answer.status_code == 206:
        found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
        if found is None:
            raise SourceError("the server gives a part without saying which")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = answer.headers.get("Content-Length", "")
    return 0, int(length) if re.fullmatch(r"\d{1,18}", length) else None
