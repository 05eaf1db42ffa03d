"""Raw sockets against a real server: the protocol's first messages, resuming, and clients that mean no good."""

import asyncio
import base64
import os
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import websockets
from livekit.protocol import models, rtc
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.kit.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

OFFER = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
    "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\n"
    "a=ice-ufrag:abcd\r\na=ice-pwd:abcdefghabcdefghabcdefgh\r\na=setup:actpass\r\n"
    "a=fingerprint:sha-256 " + ":".join(["AB"] * 32) + "\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\n"
)


def query(**fields: Any) -> str:
    wrapped = rtc.WrappedJoinRequest(join_request=rtc.JoinRequest(**fields).SerializeToString())
    return base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()


@asynccontextmanager
async def opened(server: Server, user_id: str, room: int | str, **fields: Any) -> AsyncIterator[ClientConnection]:
    ticket = server.ticket(user_id, room)
    url = f"{ticket['url']}/rtc/v1?access_token={ticket['token']}&join_request={query(**fields)}"
    async with websockets.connect(url, max_size=None) as socket:
        yield socket


async def read(socket: ClientConnection, kind: str, within: float = 5.0) -> Any:
    """The next message of that kind; others before it are passed over."""
    async with asyncio.timeout(within):
        while True:
            raw = await socket.recv()
            assert isinstance(raw, bytes)
            response = rtc.SignalResponse.FromString(raw)
            if response.WhichOneof("message") == kind:
                return getattr(response, kind)


def memory_kib(server: Server) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+)", status)
    assert found is not None
    return int(found[1])


async def until_closed(socket: ClientConnection, *messages: bytes | str) -> None:
    """Say these and read on; ends with the exception of the closed socket."""
    for message in messages:
        await socket.send(message)
    async with asyncio.timeout(5):
        while True:
            await socket.recv()


def is_well(server: Server) -> bool:
    return server.alive and httpx.get(f"{server.url}/readyz").status_code == 200


async def test_the_first_message_is_join_and_the_offer_is_answered(shared_server: Server) -> None:
    offer = rtc.SessionDescription(type="offer", sdp=OFFER, id=4)
    async with opened(shared_server, "alice", "first", publisher_offer=offer) as socket:
        join = await read(socket, "join")
        assert join.participant.identity == "alice"
        assert join.room.metadata == '{"strRoomId":"first"}'
        answer = await read(socket, "answer")
        assert answer.id == 4
        assert "a=ice-lite" in answer.sdp


async def test_a_lost_socket_is_resumed_as_the_same_session(shared_server: Server) -> None:
    async with opened(shared_server, "bob", "resumed") as bob:
        await read(bob, "join")
        async with opened(shared_server, "alice", "resumed") as socket:
            sid = (await read(socket, "join")).participant.sid
            socket.transport.abort()
        async with opened(
            shared_server, "alice", "resumed", reconnect=True, participant_sid=sid, client_info=models.ClientInfo()
        ) as again:
            raw = await again.recv()
            assert isinstance(raw, bytes)
            assert rtc.SignalResponse.FromString(raw).WhichOneof("message") == "reconnect"
            update = await read(again, "update")
            assert {p.identity for p in update.participants} == {"alice", "bob"}


async def test_a_session_nobody_knows_is_to_reconnect_in_full(shared_server: Server) -> None:
    async with opened(shared_server, "alice", "unknown", reconnect=True, participant_sid="PA_none") as socket:
        leave = await read(socket, "leave")
        assert leave.action == rtc.LeaveRequest.Action.RECONNECT


async def test_nobody_resumes_the_session_of_somebody_else(shared_server: Server) -> None:
    async with opened(shared_server, "alice", "stolen") as alice:
        sid = (await read(alice, "join")).participant.sid
        async with opened(shared_server, "mallory", "stolen", reconnect=True, participant_sid=sid) as socket:
            assert (await read(socket, "leave")).action == rtc.LeaveRequest.Action.RECONNECT


async def test_the_same_user_again_ends_the_earlier_session_at_once(shared_server: Server) -> None:
    async with opened(shared_server, "alice", "twice") as first:
        await read(first, "join")
        async with opened(shared_server, "alice", "twice") as second:
            await read(second, "join")
            leave = await read(first, "leave")
            assert leave.reason == models.DisconnectReason.DUPLICATE_IDENTITY


@pytest.mark.parametrize("path", ["rtc/v1", "rtc"])
async def test_a_wrong_token_is_refused_before_the_socket_opens(shared_server: Server, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await websockets.connect(f"ws://127.0.0.1:{shared_server.port}/{path}?access_token=a.b.c")
    assert caught.value.response.status_code == 401
    validated = await asyncio.to_thread(httpx.get, f"{shared_server.url}/{path}/validate?access_token=a.b.c")
    assert validated.status_code == 401
    assert validated.headers["access-control-allow-origin"] == "*"


async def test_a_broken_join_request_is_refused_before_the_socket_opens(shared_server: Server) -> None:
    ticket = shared_server.ticket("alice", "broken")
    with pytest.raises(InvalidStatus) as caught:
        await websockets.connect(f"{ticket['url']}/rtc/v1?access_token={ticket['token']}&join_request=%21")
    assert caught.value.response.status_code == 400


@pytest.mark.parametrize(
    "message",
    [b"", b"\xff" * 40, "text", b"\x0a" + b"\xff" * 9, b"\0" * 600_000],
    ids=["empty", "noise", "text", "cut", "long"],
)
async def test_what_is_no_message_ends_the_session(shared_server: Server, message: bytes | str) -> None:
    async with opened(shared_server, "noisy", "noise") as socket:
        await read(socket, "join")
        with pytest.raises(ConnectionClosed):
            await until_closed(socket, message)
    assert is_well(shared_server)


@pytest.mark.parametrize(
    "sdp",
    ["", "v=0", "v=0\r\n" * 5000, OFFER.replace("a=mid:0", "a=mid:" + "0" * 5000), OFFER.replace("opus", "öpus"),
     OFFER.replace("111", "999999999999"), OFFER * 20, OFFER.replace("AB:AB", "ZZ")],
    ids=["empty", "bare", "repeated", "long-mid", "not-ascii", "payload-type", "many", "fingerprint"],
)  # fmt: skip
async def test_unusable_sdp_gets_an_answer_or_a_leave(shared_server: Server, sdp: str) -> None:
    async with opened(shared_server, "odd", "odd-sdp") as socket:
        await read(socket, "join")
        offer = rtc.SessionDescription(type="offer", sdp=sdp, id=9)
        await socket.send(rtc.SignalRequest(offer=offer).SerializeToString())
        async with asyncio.timeout(5):
            while True:
                raw = await socket.recv()
                assert isinstance(raw, bytes)
                response = rtc.SignalResponse.FromString(raw)
                if response.WhichOneof("message") in ("answer", "leave"):
                    break
    assert is_well(shared_server)


async def test_a_flood_of_messages_ends_the_session(shared_server: Server) -> None:
    async with opened(shared_server, "flood", "flood") as socket:
        await read(socket, "join")
        ping = rtc.SignalRequest(ping=1).SerializeToString()
        with pytest.raises(ConnectionClosed):
            await until_closed(socket, *[ping] * 20_000)
    assert is_well(shared_server)


async def test_random_messages_and_datagrams_neither_stop_nor_grow_the_server(shared_server: Server) -> None:
    chance = random.Random(7)
    valid = rtc.SignalRequest(offer=rtc.SessionDescription(type="offer", sdp=OFFER, id=1)).SerializeToString()

    async def one(number: int) -> None:
        async with opened(shared_server, f"u{number % 5}", "fuzz") as socket:
            await read(socket, "join")
            broken = bytearray(valid)
            for _ in range(chance.randrange(1, 30)):
                broken[chance.randrange(len(broken))] = chance.randrange(256)
            try:
                await socket.send(bytes(broken))
                async with asyncio.timeout(0.05):
                    while True:
                        await socket.recv()
            except (ConnectionClosed, TimeoutError):
                pass

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=("127.0.0.1", shared_server.media_port)
    )
    try:
        for number in range(20):
            await one(number)
        before = memory_kib(shared_server)
        for number in range(150):
            await one(number)
            for _ in range(20):
                first = chance.choice([0, 1, 20, 22, 63, 128, 144, 200, 255])
                transport.sendto(bytes([first]) + os.urandom(chance.randrange(0, 1400)))
        assert is_well(shared_server)
        assert memory_kib(shared_server) - before < 40 * 1024
    finally:
        transport.close()


async def test_an_endless_request_head_is_cut(shared_server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", shared_server.port)
    writer.write(b"GET /?")
    sent = 0
    while not reader.at_eof() and sent < 100_000_000:
        writer.write(b"a" * 65536)
        sent += 65536
        try:
            await writer.drain()
        except ConnectionError:
            break
    assert sent < 20_000_000
    writer.close()
    assert is_well(shared_server)
