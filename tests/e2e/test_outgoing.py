"""httpx over guarded connections, against real sockets: answers, faults by their httpx names, bounds."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest

from rtcloud.outgoing.addresses import IpAddress
from rtcloud.outgoing.dialing import Dialer
from rtcloud.outgoing.transport import AnswerTooLargeError, GuardedTransport, read_bounded
from tests.kit.certificates import write_certificate

pytestmark = [pytest.mark.anyio, pytest.mark.e2e]

HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@contextlib.asynccontextmanager
async def answering(answer: bytes | None, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                if answer is None:
                    await reader.read()
                    break
                writer.write(answer)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextlib.asynccontextmanager
async def client(
    *, allow_private: bool = True, context: ssl.SSLContext | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    transport = GuardedTransport(Dialer(allow_private=allow_private), ssl_context=context)
    async with httpx.AsyncClient(transport=transport, timeout=1) as opened:
        yield opened


async def test_an_answer_is_read_as_ever() -> None:
    async with answering(HELLO) as port, client() as opened:
        for _ in range(2):
            response = await opened.get(f"http://localhost:{port}/a?b=c")
            assert (response.status_code, response.text) == (200, "hello")


async def test_a_private_address_cannot_be_reached_and_nothing_is_sent() -> None:
    async with answering(HELLO) as port, client(allow_private=False) as opened:
        for host in ("127.0.0.1", "localhost", "[::ffff:127.0.0.1]"):
            with pytest.raises(httpx.ConnectError, match="private"):
                await opened.get(f"http://{host}:{port}/")


class ToHere(httpcore.AnyIOBackend):
    """The Internet, all of it on this machine."""

    async def connect_tcp(self, host: str, *others: Any, **named: Any) -> httpcore.AsyncNetworkStream:
        return await super().connect_tcp("127.0.0.1", *others, **named)


async def test_a_redirect_into_a_private_network_meets_the_same_guard() -> None:
    async def resolve(_: str) -> list[IpAddress]:
        return [ip_address("8.8.8.8")]

    dialer = Dialer(allow_private=False, resolve=resolve)
    dialer._inner = ToHere()
    to = b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/latest/\r\nContent-Length: 0\r\n\r\n"
    async with answering(to) as port, httpx.AsyncClient(transport=GuardedTransport(dialer)) as opened:
        url = f"http://example.com:{port}/"
        assert (await opened.get(url)).status_code == 302
        with pytest.raises(httpx.ConnectError, match="private"):
            await opened.get(url, follow_redirects=True)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (None, httpx.ReadTimeout),
        (b"nonsense\r\n\r\n", httpx.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000, httpx.RemoteProtocolError),
    ],
    ids=["silence", "nonsense", "endless headers"],
)
async def test_faults_have_their_httpx_names(answer: bytes | None, fault: type[Exception]) -> None:
    async with answering(answer) as port, client() as opened:
        with pytest.raises(fault):
            await opened.get(f"http://127.0.0.1:{port}/")


async def test_nobody_listening_is_a_connect_error() -> None:
    async with answering(HELLO) as port:
        pass
    async with client() as opened:
        with pytest.raises(httpx.ConnectError):
            await opened.get(f"http://127.0.0.1:{port}/")


async def test_a_long_or_compressed_answer_is_not_read() -> None:
    async with answering(HELLO) as port, client() as opened:
        async with opened.stream("GET", f"http://127.0.0.1:{port}/") as response:
            assert await read_bounded(response, 5) == b"hello"
        async with opened.stream("GET", f"http://127.0.0.1:{port}/") as response:
            with pytest.raises(AnswerTooLargeError):
                await read_bounded(response, 4)
    packed = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"
    async with (
        answering(packed) as port,
        client() as opened,
        opened.stream("GET", f"http://127.0.0.1:{port}/") as response,
    ):
        with pytest.raises(httpx.DecodingError):
            await read_bounded(response, 100)


async def test_the_certificate_must_be_of_the_name_and_not_only_of_the_address(tmp_path: Path) -> None:
    chain, private = write_certificate(tmp_path, 1)
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(chain, private)
    ours = ssl.create_default_context(cafile=str(chain))
    async with answering(HELLO, theirs) as port, client(context=ours) as opened:
        assert (await opened.get(f"https://127.0.0.1:{port}/")).text == "hello"
        with pytest.raises(httpx.ConnectError):
            await opened.get(f"https://localhost:{port}/")
