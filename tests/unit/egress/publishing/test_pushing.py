"""A pusher on connections in memory; real servers are in ``tests/e2e/test_rtmp_push.py``."""

import asyncio
import itertools
import random
from collections.abc import Callable
from typing import Any

import httpcore
import pytest

from rtcloud.clock import SystemClock
from rtcloud.egress.publishing.flv import FlvTag
from rtcloud.egress.publishing.pushing import Pusher, Source, Timing
from rtcloud.egress.publishing.statuses import Fault
from rtcloud.outgoing.addresses import IpAddress, literal
from rtcloud.outgoing.dialing import Dialer
from rtcloud.rtmp import chunks
from rtcloud.tasks.protocol import OutputChanged
from tests.kit.rtmp_peer import Answers, Peer
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio

URL = "rtmp://cdn.example/live/x?key=secret"
HEADERS = [FlvTag("script", 0, b"meta", is_header=True), FlvTag("video", 0, b"avcC", is_header=True)]
QUICK = Timing(connect=1, stall=1, backoff=(0.01,), close=1)


class Connection(httpcore.AsyncNetworkStream):
    def __init__(self, answers: Answers | None) -> None:
        self.peer = Peer(answers)
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._answers.get()

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if answer := self.peer.receive(buffer):
            self._answers.put_nowait(answer)

    async def aclose(self) -> None:
        self.closed = True

    def hang_up(self) -> None:
        self._answers.put_nowait(b"")

    @property
    def media(self) -> list[tuple[int, int]]:
        kinds = (chunks.AUDIO, chunks.VIDEO, chunks.DATA)
        return [(message.kind, message.time_ms) for message in self.peer.messages if message.kind in kinds]

    @property
    def commands(self) -> list[object]:
        return [command[0] for command in self.peer.commands]


class Exchange(Dialer):
    """Refuses as often as told, then connects."""

    def __init__(self, refusals: int = 0, answers: Answers | None = None) -> None:
        super().__init__(allow_private=True)
        self._refusals, self._peer_answers = refusals, answers
        self.connections: list[Connection] = []

    async def addresses(self, host: str) -> list[IpAddress]:
        found = literal("192.0.2.1")
        assert found is not None
        return [found]

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        if self._refusals > 0:
            self._refusals -= 1
            raise httpcore.ConnectError("refused") from ConnectionRefusedError()
        self.connections.append(Connection(self._peer_answers))
        return self.connections[-1]


class Bench:
    def __init__(self, dialer: Exchange, timing: Timing = QUICK) -> None:
        self.dialer = dialer
        self.reports: list[OutputChanged] = []
        self.asked = 0
        source = Source(lambda: HEADERS, True, (), self._ask)
        self.pusher = Pusher(
            URL, source, dialer, self.reports.append, SystemClock(), chance=random.Random(1), timing=timing
        )

    def _ask(self) -> None:
        self.asked += 1

    @property
    def said(self) -> list[int]:
        return [status for status, _ in itertools.groupby(report.status for report in self.reports)]

    async def until(self, condition: Callable[[], bool]) -> None:
        async def holds() -> bool:
            return condition()

        await eventually(holds, "the pusher did it", 5, seen=lambda: self.reports)


def picture(time_ms: int, *, key: bool = False) -> FlvTag:
    return FlvTag("video", time_ms, b"v", keyframe=key)


async def test_a_stream_begins_with_its_headers_and_ends_with_a_word() -> None:
    bench = Bench(Exchange(refusals=3))
    bench.pusher.put(picture(0, key=True))  # nobody is there
    bench.pusher.start()
    await bench.until(lambda: bench.said == [1, 2])
    assert bench.asked == 1
    for tag in (picture(960), picture(1000, key=True), picture(1040)):
        bench.pusher.put(tag)
    await bench.pusher.close()
    (connection,) = bench.dialer.connections
    assert connection.media == [(chunks.DATA, 0), (chunks.VIDEO, 0), (chunks.VIDEO, 0), (chunks.VIDEO, 40)]
    assert connection.commands[-2:] == ["FCUnpublish", "deleteStream"]
    assert connection.closed
    assert bench.said == [1, 2, 5, 0]
    assert bench.pusher.has_ended
    bench.pusher.put(picture(1080))


async def test_each_connection_begins_anew_at_time_0() -> None:
    bench = Bench(Exchange())
    bench.pusher.start()
    await bench.until(lambda: bench.said == [1, 2])
    bench.pusher.put(picture(1000, key=True))
    bench.dialer.connections[0].hang_up()
    await bench.until(lambda: bench.said == [1, 2, 3, 2])
    bench.pusher.put(picture(9000))
    bench.pusher.put(picture(9040, key=True))
    await bench.pusher.close()
    assert bench.dialer.connections[1].media == [(chunks.DATA, 0), (chunks.VIDEO, 0), (chunks.VIDEO, 0)]
    assert (bench.asked, bench.pusher.figures.connections) == (2, 2)
    assert next(report for report in bench.reports if report.status == 3).code == Fault.CLOSED


async def test_a_refusal_is_told_with_the_servers_code_and_no_key() -> None:
    denied: Answers = {"publish": ["onStatus", None, {"level": "error", "code": "NetStream.Publish.Denied"}]}
    bench = Bench(Exchange(answers=denied), Timing(connect=1, backoff=(0.01,), repeat=0.05, limit=0.2))
    bench.pusher.start()
    await bench.until(lambda: bench.pusher.has_ended)
    assert bench.said == [1, 4, 0]
    failed = bench.reports[-2]
    assert (failed.url, failed.code) == (URL, Fault.REJECTED)
    assert failed.message == "The server rejects the stream. (NetStream.Publish.Denied)"
    await bench.pusher.close()
    assert bench.said == [1, 4, 0]
    assert all(connection.closed for connection in bench.dialer.connections)


async def test_what_is_refused_here_fails_at_once_and_what_is_cut_says_nothing() -> None:
    refused, cut = Bench(Exchange()), Bench(Exchange())
    for bench in (refused, cut):
        bench.pusher.start()
        await bench.until(lambda bench=bench: bench.said == [1, 2])  # type: ignore[misc]
    refused.pusher.refuse(Fault.CODEC_NOT_CARRIED, "vp8")
    await refused.until(lambda: refused.said == [1, 2, 4, 0])
    cut.pusher.cut()
    await cut.until(lambda: cut.dialer.connections[0].closed)
    assert cut.said == [1, 2]
    await refused.pusher.close()
    assert refused.reports[-2].message == "The server does not take the stream's codec. (vp8)"
