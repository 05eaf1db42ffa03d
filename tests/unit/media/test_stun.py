"""Answers of STUN servers, as they are and as strangers would make them."""

import asyncio
import ipaddress
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from rtcloud.media import stun

TRANSACTION = bytes(range(12))
COOKIE = bytes.fromhex("2112a442")


def answer(*attributes: tuple[int, bytes], transaction: bytes = TRANSACTION, kind: int = 0x0101) -> bytes:
    body = b"".join(
        number.to_bytes(2) + len(value).to_bytes(2) + value + bytes(-len(value) % 4) for number, value in attributes
    )
    return kind.to_bytes(2) + len(body).to_bytes(2) + COOKIE + transaction + body


def mapped(address: str, *, masked: bool = True) -> bytes:
    raw = ipaddress.ip_address(address).packed
    if masked:
        raw = bytes(a ^ b for a, b in zip(raw, COOKIE + TRANSACTION, strict=False))
    return bytes([0, 1 if len(raw) == 4 else 2]) + b"\x12\x34" + raw


@pytest.mark.parametrize("address", ["203.0.113.7", "2001:db8::7"])
def test_the_address_is_taken_out_of_an_answer(address: str) -> None:
    software = (0x8022, b"test!")
    assert stun.seen_address(answer(software, (0x20, mapped(address))), TRANSACTION) == address
    plain = (1, mapped(address, masked=False))
    assert stun.seen_address(answer(plain, software), TRANSACTION) == address
    other = (1, mapped("192.0.2.1", masked=False))
    assert stun.seen_address(answer(other, (0x20, mapped(address))), TRANSACTION) == address, "the masked one counts"


def test_what_answers_another_question_is_nothing() -> None:
    good = (0x20, mapped("203.0.113.7"))
    for strange in (
        answer(good, transaction=bytes(12)),
        answer(good, kind=0x0111),
        answer(good)[:-1],
        answer(good) + b"x",
        answer((0x20, b"\0\1\0\0\1\2")),
        answer((0x20, b"")),
        answer(),
        b"",
    ):
        assert stun.seen_address(strange, TRANSACTION) is None


def test_garbage_is_survived() -> None:
    chance = random.Random(7)
    whole = answer((0x8022, b"test!"), (0x20, mapped("203.0.113.7")))
    for _ in range(5000):
        spoiled = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            spoiled[chance.randrange(len(spoiled))] = chance.randrange(256)
        stun.seen_address(bytes(spoiled[: chance.randrange(len(spoiled) + 1)]), TRANSACTION)


@asynccontextmanager
async def server(address: str, lost: int = 0) -> AsyncIterator[tuple[str, int]]:
    """Answers all but the first so many requests."""

    class Answering(asyncio.DatagramProtocol):
        seen = 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = cast("asyncio.DatagramTransport", transport)

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.seen += 1
            assert data == stun.request(data[8:])
            self.transport.sendto(answer((0x20, mapped("192.0.2.1"))), addr)  # of nobody's question
            if self.seen > lost:
                raw = bytes(a ^ b for a, b in zip(ipaddress.ip_address(address).packed, data[4:], strict=False))
                self.transport.sendto(answer((0x20, b"\0\1\0\0" + raw), transaction=data[8:]), addr)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Answering, local_addr=("127.0.0.1", 0))
    try:
        yield transport.get_extra_info("sockname")
    finally:
        transport.close()


@pytest.mark.anyio
async def test_the_first_server_that_answers_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stun, "PATIENCE_S", 1.0)
    async with server("203.0.113.7", lost=1) as good, server("203.0.113.8") as other, server("", lost=99) as silent:
        assert await stun.external_addresses([silent, good, other], [socket.AF_INET]) == ["203.0.113.7"]
        assert await stun.external_addresses([silent], [socket.AF_INET]) == []
        assert await stun.external_addresses([("name.invalid", 3478)], [socket.AF_INET]) == []
