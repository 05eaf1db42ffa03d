"""One attempt over HTTP: a POST to an address, on connections that are kept open for the next.

Each address has connections of its own, so that one receiver's cost nothing to another's requests. Redirects are not
followed and proxies of the environment not used; an answer is read up to ``ANSWER_BYTES`` and ignored.
"""

import asyncio
import ssl
from dataclasses import dataclass
from typing import Protocol

import httpcore
import httpx

from rtcloud.callbacks.outbox import Address
from rtcloud.callbacks.receiver import MOST_PLACES
from rtcloud.outgoing.dialing import Dialer, Resolver

ANSWER_BYTES = 64 * 1024
KEEP_SECONDS = 4.5  # servers commonly close what is idle after five: be earlier than they

_FAILURES = (
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.TimeoutException,
    httpcore.UnsupportedProtocol,
    httpx.InvalidURL,
    OSError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Answer:
    """``status`` is None when none came; ``error`` is empty for 200."""

    status: int | None
    error: str


class Poster(Protocol):
    async def post(self, address: Address, body: bytes, headers: dict[str, str]) -> Answer: ...

    async def forget(self, address: Address) -> None:
        """Nothing is under way to that address, and for a while nothing will be."""

    async def close(self) -> None: ...


class HttpPoster:
    def __init__(self, *, timeout_s: float, allow_private: bool, ssl_context: ssl.SSLContext | None = None) -> None:
        self._timeout_s = timeout_s
        self._ssl_context = ssl_context or httpx.create_ssl_context(trust_env=False)
        resolve = Resolver()
        self._anywhere = Dialer(allow_private=True, resolve=resolve)
        self._guarded = Dialer(allow_private=allow_private, resolve=resolve)
        self._pools: dict[Address, httpcore.AsyncConnectionPool] = {}

    async def post(self, address: Address, body: bytes, headers: dict[str, str]) -> Answer:
        try:
            async with asyncio.timeout(self._timeout_s):
                status = await self._post(address, body, headers)
        except TimeoutError:
            return Answer(None, "no answer in time")
        except _FAILURES as error:
            return Answer(None, f"{type(error).__name__}: {error}")
        return Answer(status, "" if status == httpx.codes.OK else f"HTTP status {status}")

    async def forget(self, address: Address) -> None:
        if (pool := self._pools.pop(address, None)) is not None:
            await pool.aclose()

    async def close(self) -> None:
        for address in tuple(self._pools):
            await self.forget(address)

    async def _post(self, address: Address, body: bytes, headers: dict[str, str]) -> int:
        url = httpx.URL(address.url)
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        head = [("Host", url.netloc.decode()), ("User-Agent", "rtcloud"), ("Content-Length", str(len(body)))]
        async with self._pool(address).stream(
            "POST", target, headers=[*head, *headers.items()], content=body
        ) as answer:
            received = 0
            async for chunk in answer.aiter_stream():
                received += len(chunk)
                if received > ANSWER_BYTES:
                    break
            return answer.status

    def _pool(self, address: Address) -> httpcore.AsyncConnectionPool:
        pool = self._pools.get(address)
        if pool is None:
            pool = self._pools[address] = httpcore.AsyncConnectionPool(
                ssl_context=self._ssl_context,
                max_connections=MOST_PLACES,
                keepalive_expiry=KEEP_SECONDS,
                network_backend=self._anywhere if address.trusted else self._guarded,
            )
        return pool
