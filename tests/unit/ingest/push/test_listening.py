"""From the listening socket to the hand-over, with real sockets of this machine and a fake admission."""

import asyncio
import ssl
import time
from pathlib import Path

import pytest

from rtcloud.ingest.push.admitting import DENIED, PushRefusedError, Wish
from rtcloud.ingest.push.crowd import Bounds
from rtcloud.ingest.push.handing import claim
from rtcloud.ingest.push.job import replay
from rtcloud.rtmp.connecting import Refused
from rtcloud.rtmp.publishing import Published
from rtcloud.rtmp.serving import Media
from tests.kit.certificates import write_certificate
from tests.kit.push_house import open_house
from tests.kit.rtmp_pusher import Pusher
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio


async def test_a_push_goes_to_the_job_with_everything_that_came(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        pusher = await Pusher.connect(house.url())
        opening = asyncio.create_task(pusher.open())

        async def taken() -> bool:
            return bool(house.tickets)

        await eventually(taken, "the push is admitted")
        assert house.wishes == [Wish(1, "u", "s", "hall", False, "")]
        connection, received = await claim(house.desk.path, house.tickets[0])
        await eventually(house.is_quiet, "the listening process lets go")
        server = replay(received)
        assert server.waits
        assert server.take_output() == b""
        loop = asyncio.get_running_loop()
        with connection:
            server.accept()
            await loop.sock_sendall(connection, server.take_output())
            assert await opening == Published()
            await pusher.send([(8, 40, b"\xaf\1sound")])
            events = server.receive(await loop.sock_recv(connection, 65_536))
            assert events == [Media(8, 40, b"\xaf\1sound")]
        assert await pusher.end() is None
        await pusher.close()
        assert house.withdrawn == 0
        assert house.server.accepted == 1


async def test_an_encrypted_push_passes_through_both_ways(tmp_path: Path) -> None:
    chain, key = write_certificate(tmp_path, 1)
    served = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    served.load_cert_chain(chain, key)
    trusted = ssl.create_default_context(cafile=str(chain))
    async with open_house(tmp_path, served, opening=1.0) as house:
        idle = await asyncio.open_connection("127.0.0.1", house.port)  # never says that it wants TLS
        pusher = await Pusher.connect(house.url(), trusted)
        opening = asyncio.create_task(pusher.open())
        connection, received = await claim(house.desk.path, await house.ticket())
        server, loop = replay(received), asyncio.get_running_loop()
        with connection:
            server.accept()
            await loop.sock_sendall(connection, server.take_output())
            assert await opening == Published()
            sound = bytes(100_000)
            await pusher.send([(8, number, sound) for number in range(20)])
            heard = 0
            while heard < 20:
                heard += len(server.receive(await loop.sock_recv(connection, 65_536)))
            server.end("NetStream.Failed", "that was all")
            await loop.sock_sendall(connection, server.take_output())
        assert await pusher.end() == Refused("NetStream.Failed")
        assert await pusher.end() is None
        await pusher.close()
        assert await idle[0].read() == b""
        idle[1].close()
        await eventually(house.is_quiet, "every connection is closed")


async def test_a_refusal_reaches_the_client_as_a_status(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        house.refusal = PushRefusedError("bad_signature", DENIED, "UserSig has expired (70001)")
        for address, code in (
            (house.url(), DENIED),
            (house.url("push/hall?userid=u"), "NetStream.Publish.BadName"),
            (house.url("live/hall?sdkappid=1&userid=u&usersig=s"), "NetConnection.Connect.InvalidApp"),
        ):
            pusher = await Pusher.connect(address)
            assert await pusher.open() == Refused(code)
            assert await pusher.end() is None
            await pusher.close()
        assert dict(house.server.refused) == {"bad_signature": 1, "bad_address": 1, "bad_application": 1}
        await eventually(house.is_quiet, "every connection is closed")


async def test_without_a_job_in_time_the_client_is_told_and_the_task_withdrawn(tmp_path: Path) -> None:
    async with open_house(tmp_path, patience=0.1) as house:
        pusher = await Pusher.connect(house.url())
        assert await pusher.open() == Refused("NetStream.Publish.Rejected")
        await pusher.close()
        assert house.withdrawn == 1
        assert house.server.refused["busy"] == 1


async def test_who_is_slow_says_nonsense_or_too_much_is_hung_up_on(tmp_path: Path) -> None:
    async with open_house(tmp_path, opening=0.5) as house:
        began = time.monotonic()
        said = {
            "nothing": b"",
            "half a handshake": b"\3" + bytes(1000),
            "no RTMP": b"GET / HTTP/1.1\r\n\r\n",
            "garbage after the handshake": b"\3" + bytes(3072) + b"\xc0\xff" * 4000,
            "a chunk size of nothing": b"\3" + bytes(3072) + b"\2" + bytes(5) + b"\4\1" + bytes(8),
            "without end": b"\3" + bytes(3072) + b"\3" + bytes(3) + b"\0\xff\xff\x14" + bytes(100_000),
        }
        connections = {}
        for name, data in said.items():
            reader, writer = await asyncio.open_connection("127.0.0.1", house.port)
            writer.write(data)
            connections[name] = reader, writer
        for name, (reader, writer) in connections.items():
            async with asyncio.timeout(5):
                try:
                    while await reader.read(65_536):
                        pass
                except ConnectionError:
                    pass
            writer.close()
            assert time.monotonic() - began < 3, name
        await eventually(house.is_quiet, "every connection is closed")
        assert house.server.refused["too_slow"] >= 2
        assert house.server.refused["not_rtmp"] >= 3
        assert house.wishes == []


async def test_a_crowd_that_says_nothing_keeps_nobody_out(tmp_path: Path) -> None:
    async with open_house(tmp_path, bounds=Bounds(waiting=5, per_address=10)) as house:
        idle = [await asyncio.open_connection("127.0.0.1", house.port) for _ in range(8)]

        async def sent_away() -> bool:
            return house.server.refused["too_many"] == 3

        await eventually(sent_away, "the longest waiting are sent away")
        for reader, _ in idle[:3]:
            assert await reader.read() == b""
        house.refusal = PushRefusedError("room_full", "NetStream.Publish.Rejected", "the room is full")
        pusher = await Pusher.connect(house.url())
        assert await pusher.open() == Refused("NetStream.Publish.Rejected")
        await pusher.close()
        for _, writer in idle:
            writer.close()
        await eventually(house.is_quiet, "every connection is closed")
