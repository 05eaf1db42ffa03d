"""A door on this machine through which a library that dials for itself reaches only what a ``Dialer`` lets it.

It is an HTTP proxy on a loopback port, for who knows the word in its URL. A name is resolved and checked here, and what
was checked is what is dialled; the library's own lookup is never used. HTTPS stays encrypted from end to end
(``CONNECT``); of plain HTTP each connection carries one request. Open connections are bounded by ``CONNECTIONS``; one
more is refused.
"""

import asyncio
import base64
import contextlib
import hmac
import logging
import re
import secrets
from typing import Self

import httpcore

from rtcloud.aio import spawn
from rtcloud.outgoing.dialing import Dialer

CONNECTIONS = 512
HEAD_BYTES = 16_384
HEAD_SECONDS = 10.0
CONNECT_SECONDS = 5.0
CLOSE_SECONDS = 1.0
CHUNK_BYTES = 65_536

_FIRST = re.compile(rb"([A-Z]{1,16}) (\S{1,8192}) (HTTP/1\.[01])\r\n")
_AUTHORITY = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[^\s/:@\[\]]+)(?::([0-9]{1,5}))?")
_ABSOLUTE = re.compile(rb"http://([^/?#]+)([/?]\S*)?")
_BROKEN = (OSError, httpcore.NetworkError, httpcore.TimeoutException)

_log = logging.getLogger(__name__)


class Tunnel:
    """``async with Tunnel(dialer) as tunnel``: ``tunnel.url`` is the proxy to give to the library."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer
        self._word = secrets.token_urlsafe(24)
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.StreamWriter, asyncio.Task[object]] = {}
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=HEAD_BYTES)
        port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://door:{self._word}@127.0.0.1:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for writer in self._open:
            writer.close()
        if serving := list(self._open.values()):
            await asyncio.wait(serving, timeout=CLOSE_SECONDS)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._open) >= CONNECTIONS:
            writer.close()
            return
        if (task := asyncio.current_task()) is not None:
            self._open[writer] = task
        try:
            await self._pass(reader, writer)
        except (*_BROKEN, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._open.pop(writer, None)
            writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        found = _FIRST.match(head)
        if found is None:
            return await _refuse(writer, "400 Bad Request")
        method, target, version = found.groups()
        fields = [line for line in head[found.end() :].split(b"\r\n") if line]
        if not self._knows_the_word(fields):
            return await _refuse(writer, "407 Proxy Authentication Required")
        absolute = _ABSOLUTE.fullmatch(target)
        is_tunnel = method == b"CONNECT"
        authority = target if is_tunnel else absolute[1] if absolute else b""
        named = _AUTHORITY.fullmatch(authority)
        if named is None or not 0 < (port := int(named[2] or 80)) < 65_536:
            return await _refuse(writer, "400 Bad Request")
        host = named[1].decode("ascii", "replace").removeprefix("[").removesuffix("]")
        try:
            server = await self._dialer.connect_tcp(host, port, CONNECT_SECONDS)
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
            _log.warning("no way to a store", extra={"reason": str(error)})
            return await _refuse(writer, "502 Bad Gateway")
        try:
            if is_tunnel:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                path = absolute[2] or b"/" if absolute else b"/"
                kept = [field for field in fields if not field.lower().startswith((b"proxy-", b"connection:"))]
                first = b"%s %s %s" % (method, path if path.startswith(b"/") else b"/" + path, version)
                await server.write(b"\r\n".join([first, *kept, b"Connection: close", b"", b""]))
            await _pump(reader, writer, server)
        finally:
            await server.aclose()

    def _knows_the_word(self, fields: list[bytes]) -> bool:
        expected = b"Basic " + base64.b64encode(f"door:{self._word}".encode())
        for field in fields:
            name, _, value = field.partition(b":")
            if name.lower() == b"proxy-authorization":
                return hmac.compare_digest(value.strip(), expected)
        return False


async def _refuse(writer: asyncio.StreamWriter, status: str) -> None:
    writer.write(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: httpcore.AsyncNetworkStream
) -> None:
    """Both ways until either side ends."""

    async def there() -> None:
        with contextlib.suppress(*_BROKEN):
            while data := await reader.read(CHUNK_BYTES):
                await server.write(data)

    async def back() -> None:
        with contextlib.suppress(*_BROKEN):
            while data := await server.read(CHUNK_BYTES):
                writer.write(data)
                await writer.drain()

    ways = [spawn(there(), name="tunnel there"), spawn(back(), name="tunnel back")]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
