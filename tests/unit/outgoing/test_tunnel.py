"""The door for libraries that dial for themselves."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest

from rtcloud.outgoing.addresses import IpAddress
from rtcloud.outgoing.dialing import Dialer
from rtcloud.outgoing.tunnel import Tunnel

pytestmark = pytest.mark.anyio


class Origin:
    """Keeps what it was sent, up to the first empty line or ``hello``, and answers ``world``."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received = b""
        while not received.endswith((b"\r\n\r\n", b"hello")) and (data := await reader.read(4096)):
            received += data
        self.heard.append(received)
        writer.write(b"world")
        await writer.drain()
        writer.close()


@pytest.fixture
async def origin() -> AsyncIterator[Origin]:
    made = Origin()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    await server.wait_closed()


async def resolve(name: str) -> list[IpAddress]:
    if name != "store.example":
        raise OSError("no such name")
    return [ip_address("127.0.0.1")]


async def ask(tunnel: Tunnel, request: str, *, word: bool = True, then: bytes = b"") -> bytes:
    parts = urlsplit(tunnel.url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    known = base64.b64encode(f"{parts.username}:{parts.password}".encode()).decode()
    fields = f"Proxy-Authorization: Basic {known}\r\n" if word else ""
    writer.write(f"{request} HTTP/1.1\r\nHost: x\r\n{fields}Proxy-Connection: Keep-Alive\r\n\r\n".encode())
    answer = b""
    if then:
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.write(then)
    answer += await asyncio.wait_for(reader.read(), 5)
    writer.close()
    return answer


async def test_a_tunnel_leads_to_the_address_that_was_checked(origin: Origin) -> None:
    async with Tunnel(Dialer(allow_private=True, resolve=resolve)) as tunnel:
        answer = await ask(tunnel, f"CONNECT store.example:{origin.port}", then=b"hello")
    assert answer == b"HTTP/1.1 200 OK\r\n\r\nworld"
    assert origin.heard == [b"hello"]


async def test_a_plain_request_reaches_the_origin_as_it_would_directly(origin: Origin) -> None:
    async with Tunnel(Dialer(allow_private=True, resolve=resolve)) as tunnel:
        answer = await ask(tunnel, f"PUT http://store.example:{origin.port}/bucket/key?x=1")
    assert answer == b"world"
    assert origin.heard == [b"PUT /bucket/key?x=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"]


@pytest.mark.parametrize("target", ["CONNECT store.example:{}", "PUT http://127.0.0.1:{}/x", "CONNECT [::1]:{}"])
async def test_a_private_address_is_refused(origin: Origin, target: str) -> None:
    async with Tunnel(Dialer(allow_private=False, resolve=resolve)) as tunnel:
        answer = await ask(tunnel, target.format(origin.port))
    assert answer.startswith(b"HTTP/1.1 502 ")
    assert origin.heard == []


async def test_who_does_not_know_the_word_goes_nowhere(origin: Origin) -> None:
    async with Tunnel(Dialer(allow_private=True, resolve=resolve)) as tunnel:
        answer = await ask(tunnel, f"CONNECT store.example:{origin.port}", word=False)
    assert answer.startswith(b"HTTP/1.1 407 ")
    assert origin.heard == []


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /path", b"400"),
        ("GET https://store.example/", b"400"),
        ("CONNECT store.example:99999", b"400"),
        ("CONNECT a b", b"400"),
        ("CONNECT user@store.example:80", b"400"),
        ("CONNECT nowhere.example:80", b"502"),
    ],
)
async def test_what_names_no_way_is_refused(request_line: str, status: bytes) -> None:
    async with Tunnel(Dialer(allow_private=True, resolve=resolve)) as tunnel:
        assert (await ask(tunnel, request_line)).startswith(b"HTTP/1.1 " + status)


async def test_a_head_without_an_end_is_cut_off() -> None:
    async with Tunnel(Dialer(allow_private=True, resolve=resolve)) as tunnel:
        parts = urlsplit(tunnel.url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(b"x" * 100_000)
        with contextlib.suppress(ConnectionResetError):
            assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
