"""Connections to where a URL says, and nowhere else: a name is resolved once, and what was checked is what is dialled.

A name whose answer changes between the check and the connection (DNS rebinding) therefore gains nothing. Lookups run
in threads of their own, at most ``LOOKUPS`` at a time and one for each name: a name server that does not answer
delays its own names, not the program's other work.
"""

import asyncio
import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Iterable
from ipaddress import ip_address
from typing import Any

import httpcore

from rtcloud.outgoing.addresses import IpAddress, literal, permitted

LOOKUPS = 32
TRIED_ADDRESSES = 3  # of one name

#: A name's addresses, best first. Raises OSError.
Resolve = Callable[[str], Awaitable[list[IpAddress]]]
SocketOptions = Iterable[Any]


class AddressRefusedError(OSError):
    """The URL leads into a network that requests from outside must not reach."""


class Resolver:
    """Callable as ``Resolve``; simultaneous questions for one name are one question."""

    def __init__(self) -> None:
        self._asked: dict[str, asyncio.Future[list[IpAddress]]] = {}
        self._places = asyncio.Semaphore(LOOKUPS)

    async def __call__(self, name: str) -> list[IpAddress]:
        asked = self._asked.get(name)
        if asked is None:
            asked = asyncio.get_running_loop().create_future()
            asked.add_done_callback(_heard)
            self._asked[name] = asked
            await self._ask(name, asked)
        return await asyncio.shield(asked)

    async def _ask(self, name: str, asked: asyncio.Future[list[IpAddress]]) -> None:
        try:
            await self._places.acquire()
        except asyncio.CancelledError:
            del self._asked[name]
            asked.set_exception(OSError("the lookup was given up"))
            raise
        loop = asyncio.get_running_loop()

        def settle(found: list[IpAddress] | OSError) -> None:
            self._places.release()
            del self._asked[name]
            if isinstance(found, OSError):
                asked.set_exception(found)
            else:
                asked.set_result(found)

        def look_up() -> None:
            found = _look_up(name)
            with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=look_up, name="name lookup", daemon=True).start()


class Dialer(httpcore.AsyncNetworkBackend):
    """Opens the connections of an httpcore pool, or of anything else through ``connect_tcp``."""

    def __init__(self, *, allow_private: bool, resolve: Resolve | None = None) -> None:
        self._allow_private = allow_private
        self._resolve = resolve or Resolver()
        self._inner = httpcore.AnyIOBackend()

    async def addresses(self, host: str) -> list[IpAddress]:
        """Where ``host`` may be reached, checked. Raises OSError, and ``AddressRefusedError`` when nowhere."""
        known = literal(host)
        found = [known] if known is not None else await self._resolve(host)
        if not found:
            raise OSError("the name has no address")
        allowed = permitted(found, allow_private=self._allow_private)
        if not allowed:
            raise AddressRefusedError("the address is private")
        return allowed[:TRIED_ADDRESSES]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: SocketOptions | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            async with asyncio.timeout(timeout):
                addresses = await self.addresses(host)
                for address in addresses[:-1]:
                    with contextlib.suppress(httpcore.ConnectError):
                        return Stream(
                            await self._inner.connect_tcp(str(address), port, timeout, local_address, socket_options)
                        )
                return Stream(
                    await self._inner.connect_tcp(str(addresses[-1]), port, timeout, local_address, socket_options)
                )
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("no connection in time") from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: SocketOptions | None = None
    ) -> httpcore.AsyncNetworkStream:
        raise httpcore.ConnectError("a URL names no socket file")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Stream(httpcore.AsyncNetworkStream):
    """A connection that answers cheaply whether it is readable: a pool asks that of every idle connection, at every
    request, and an idle one that is readable was closed by the other side."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._closed = False
        self._poll: select.poll | None = None
        if (found := inner.get_extra_info("socket")) is not None:
            self._poll = select.poll()
            self._poll.register(found.fileno(), select.POLLIN)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._inner.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        self._closed = True
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        return Stream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._poll is not None:
            return self._closed or bool(self._poll.poll(0))
        return self._inner.get_extra_info(info)


def _look_up(name: str) -> list[IpAddress] | OSError:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        return OSError("the name cannot be looked up")
    except OSError as error:
        return OSError(error.strerror or "the name cannot be looked up")
    return list(dict.fromkeys(ip_address(str(entry[4][0])) for entry in found))


def _heard(asked: asyncio.Future[list[IpAddress]]) -> None:
    """A lookup whose askers all went away failed for nobody: that is no mistake of the program."""
    if not asked.cancelled():
        asked.exception()
