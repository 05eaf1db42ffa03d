import asyncio
import socket
import threading
from ipaddress import ip_address

import httpcore
import pytest

from rtcloud.outgoing.addresses import IpAddress
from rtcloud.outgoing.dialing import AddressRefusedError, Dialer, Resolver

pytestmark = pytest.mark.anyio


class Names:
    """A name server whose answers are given one after the other."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = [[ip_address(text) for text in answer] for answer in answers]
        self.asked: list[str] = []

    async def __call__(self, name: str) -> list[IpAddress]:
        self.asked.append(name)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]


class Connections(httpcore.AnyIOBackend):
    """Remembers what was dialled; ``refusing`` addresses do not answer."""

    def __init__(self, *refusing: str) -> None:
        self.refusing = refusing
        self.dialled: list[str] = []

    async def connect_tcp(self, host: str, *_: object, **__: object) -> httpcore.AsyncNetworkStream:
        self.dialled.append(host)
        if host in self.refusing:
            raise httpcore.ConnectError("refused")
        return httpcore.AsyncMockStream([])


def dialer(names: Names, connections: Connections, *, allow_private: bool = False) -> Dialer:
    made = Dialer(allow_private=allow_private, resolve=names)
    made._inner = connections
    return made


async def test_what_was_checked_is_what_is_dialled() -> None:
    """The name's answer changes at once: the first one holds."""
    names, connections = Names(["8.8.8.8"], ["127.0.0.1"]), Connections()
    await dialer(names, connections).connect_tcp("rebind.example", 80)
    assert (names.asked, connections.dialled) == (["rebind.example"], ["8.8.8.8"])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "169.254.169.254", "inside.example"])
async def test_a_private_address_is_refused_before_anything_is_dialled(host: str) -> None:
    names, connections = Names(["10.0.0.1", "fd00::1"]), Connections()
    guarded = dialer(names, connections)
    with pytest.raises(httpcore.ConnectError, match="the address is private"):
        await guarded.connect_tcp(host, 80)
    with pytest.raises(AddressRefusedError):
        await guarded.addresses(host)
    assert connections.dialled == []
    await dialer(names, connections, allow_private=True).connect_tcp(host, 80)
    assert len(connections.dialled) == 1


async def test_of_a_names_addresses_the_next_is_tried_and_private_ones_left_out() -> None:
    names, connections = Names(["10.0.0.1", "8.8.8.8", "1.1.1.1", "9.9.9.9", "4.4.4.4"]), Connections("8.8.8.8")
    await dialer(names, connections).connect_tcp("example.com", 443)
    assert connections.dialled == ["8.8.8.8", "1.1.1.1"]
    with pytest.raises(httpcore.ConnectError):
        await dialer(names, Connections("8.8.8.8", "1.1.1.1", "9.9.9.9")).connect_tcp("example.com", 443)


async def test_a_url_opens_no_socket_file() -> None:
    with pytest.raises(httpcore.ConnectError):
        await Dialer(allow_private=True).connect_unix_socket("/run/docker.sock")


async def test_a_name_without_an_address_is_an_error() -> None:
    with pytest.raises(httpcore.ConnectError, match="no address"):
        await dialer(Names([]), Connections()).connect_tcp("example.com", 80)


async def test_a_name_server_that_does_not_answer_is_given_up_in_time() -> None:
    async def never(_: str) -> list[IpAddress]:
        await asyncio.Event().wait()
        raise AssertionError

    with pytest.raises(httpcore.ConnectTimeout):
        await Dialer(allow_private=True, resolve=never).connect_tcp("example.com", 80, timeout=0.01)


async def test_one_name_is_asked_for_once_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    gate = threading.Event()

    def answer(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(name)
        gate.wait(5)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("1.1.1.1", 0))] * 2

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    resolver = Resolver()
    waiting = [asyncio.ensure_future(resolver(name)) for name in ("a", "a", "b", "a")]
    waiting[1].cancel()
    while len(asked) < 2:
        await asyncio.sleep(0.001)
    gate.set()
    assert await waiting[0] == await waiting[2] == await waiting[3] == [ip_address("1.1.1.1")]
    assert sorted(asked) == ["a", "b"]


async def test_an_unknown_name_is_an_error_for_all_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    resolver = Resolver()
    for result in await asyncio.gather(resolver("x"), resolver("x"), return_exceptions=True):
        assert isinstance(result, OSError)
    with pytest.raises(OSError, match="not known"):
        await resolver("x")


async def test_a_name_that_cannot_be_one_is_an_error() -> None:
    with pytest.raises(OSError, match="cannot be looked up"):
        await Resolver()("a" * 64 + ".example")
