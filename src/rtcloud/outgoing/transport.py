"""An httpx transport over a ``Dialer``: ``httpx.AsyncClient(transport=GuardedTransport(…))``.

Redirects are the client's: leave ``follow_redirects`` off, or each hop passes the same guard. Proxies of the
environment are not used. ``read_bounded`` reads an answer that may be endless.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator, Iterator

import httpcore
import httpx

from rtcloud.outgoing.dialing import Dialer

_SAME_NAME = (
    "ConnectTimeout",
    "ReadTimeout",
    "WriteTimeout",
    "PoolTimeout",
    "ConnectError",
    "ReadError",
    "WriteError",
    "UnsupportedProtocol",
    "RemoteProtocolError",
    "LocalProtocolError",
)
_MEANING: dict[type[Exception], type[httpx.TransportError]] = {
    getattr(httpcore, name): getattr(httpx, name) for name in _SAME_NAME
}


class AnswerTooLargeError(httpx.HTTPError):
    """The answer has more bytes than were asked for."""


class GuardedTransport(httpx.AsyncBaseTransport):
    def __init__(self, dialer: Dialer, *, ssl_context: ssl.SSLContext | None = None, max_connections: int = 16) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl_context or httpx.create_ssl_context(trust_env=False),
            max_connections=max_connections,
            network_backend=dialer,
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert isinstance(request.stream, httpx.AsyncByteStream)
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        asked = httpcore.Request(
            request.method, url, headers=request.headers.raw, content=request.stream, extensions=request.extensions
        )
        with _translated():
            answer = await self._pool.handle_async_request(asked)
        assert hasattr(answer.stream, "aclose")
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer), extensions=answer.extensions)

    async def aclose(self) -> None:
        await self._pool.aclose()


async def read_bounded(response: httpx.Response, most: int) -> bytes:
    """The body of a streamed response. Raises ``AnswerTooLargeError`` past ``most`` bytes; a compressed body, which may
    grow to anything, is refused: ask for ``Accept-Encoding: identity``."""
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise httpx.DecodingError("the answer is compressed, which was not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > most:
            raise AnswerTooLargeError(f"the answer has more than {most} bytes")
    return bytes(body)


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated():
            async for part in self._answer.aiter_stream():
                yield part

    async def aclose(self) -> None:
        with _translated():
            await self._answer.aclose()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        meaning = next((_MEANING[kind] for kind in type(error).__mro__ if kind in _MEANING), None)
        if meaning is None:
            raise
        raise meaning(str(error)) from error
