"""An audience of which some stay and many come and go, in two processes of their own.

Those who stay count what reaches them and how late, in the native client: a program that is busy does not seem to be a
gap. One of them, in the same process, sends packets that say when they were written.
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Literal, Self

import msgspec
import uvloop

from rtcloud.client import PeerConfig, Room, connect
from rtcloud.client.native import marked_audio, marked_video
from rtcloud.client.peer import delay_percentile_us
from rtcloud.client.types import KeyframeRequested, Publication
from tests.kit.crowd import ticket
from tests.kit.server import ROOT, Server
from tests.kit.waiting import eventually

AT_ONCE = 10
FPS, PACKETS, PACKET_BYTES = 30, 3, 1100
SOUNDS_A_SECOND, SOUND_BYTES = 50, 120
HEARD_WITHIN_S = 10.0
WITHIN_S = 120.0


class Order(msgspec.Struct, kw_only=True):
    """``tokens``: the sender's is the first of those who stay. The others come at ``rate`` and stay ``stay_s``."""

    role: Literal["staying", "passing"]
    url: str
    tokens: list[str]
    rate: float = 0.0
    stay_s: float = 0.0


class Stayed(msgspec.Struct, kw_only=True):
    """Since it was told the last time. ``worst_ms``: the latest packet of all, from its writing to its arrival."""

    sent: int
    received: list[int]
    worst_ms: float
    p99_ms: float


class Passed(msgspec.Struct, kw_only=True):
    """``faults``: of those who did not get in, or heard nothing."""

    came: int
    faults: list[str]


class Audience:
    """``with Audience(server, room, 100) as audience:`` once all of them receive."""

    def __init__(self, server: Server, room: int, staying: int) -> None:
        self._server, self._room = server, room
        tokens = [self._token("sender", anchor=True), *(self._token(f"stays{index}") for index in range(staying))]
        self._staying = _start(Order(role="staying", url=server.url, tokens=tokens))
        self._came = 0

    def __enter__(self) -> Self:
        try:
            assert _line(self._staying) == "ready", "those who stay did not come"
            self.account()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        _end(self._staying)

    def account(self) -> Stayed:
        assert self._staying.stdin is not None
        self._staying.stdin.write("tell\n")
        self._staying.stdin.flush()
        return msgspec.json.decode(_line(self._staying), type=Stayed)

    def let_pass(self, count: int, rate: float, stay_s: float) -> Passed:
        """Returns when the last of them has left."""
        tokens = [self._token(f"passes{self._came + index}") for index in range(count)]
        self._came += count
        process = _start(Order(role="passing", url=self._server.url, tokens=tokens, rate=rate, stay_s=stay_s))
        try:
            return msgspec.json.decode(_line(process), type=Passed)
        finally:
            _end(process)

    def _token(self, user_id: str, *, anchor: bool = False) -> str:
        return ticket(self._server, user_id, self._room, scene="live", audience=not anchor)


def _start(order: Order) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "tests.kit.passing"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(order).decode() + "\n")
    process.stdin.flush()
    return process


def _line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    line = process.stdout.readline().strip()
    assert line, "a process of the audience failed"
    return line


def _end(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait(10)
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


# in a process of its own ------------------------------------------------------------------------------------------


class _Sender:
    def __init__(self, room: Room) -> None:
        self.packets = 0
        self._room = room
        self._wants_keyframe = True

    async def watch(self) -> None:
        while events := await self._room.events():
            self._wants_keyframe |= any(isinstance(event, KeyframeRequested) for event in events)

    async def send_sound(self, publication: Publication) -> None:
        async for now_us in _paced(SOUNDS_A_SECOND):
            self.packets += publication.write(marked_audio(SOUND_BYTES, unix_us=now_us), now_us)

    async def send_pictures(self, publication: Publication) -> None:
        async for now_us in _paced(FPS):
            keyframe, self._wants_keyframe = self._wants_keyframe, False
            frame = marked_video(PACKETS, PACKET_BYTES, keyframe=keyframe, unix_us=now_us)
            self.packets += PACKETS * publication.write(frame, now_us)


async def _paced(rate: int) -> AsyncIterator[int]:
    """The time on the wall in µs, so often; what a busy machine missed is left out."""
    due = time.monotonic()
    while True:
        yield time.time_ns() // 1000
        due = max(due + 1 / rate, time.monotonic() - 1 / rate)
        await asyncio.sleep(max(0.0, due - time.monotonic()))


async def _drain(room: Room) -> None:
    while await room.events():
        pass


async def _hears(room: Room) -> None:
    async def heard() -> bool:
        return room.stats().packets_received > 0

    await eventually(heard, "media comes", HEARD_WITHIN_S)


async def _stay(order: Order) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def enter(token: str) -> Room:
        async with gate:
            return await connect(order.url, token, config=PeerConfig(count_only=True, hold_ms=0))

    sending = await connect(order.url, order.tokens[0], auto_subscribe=False)
    sender = _Sender(sending)
    aio_tasks = [
        asyncio.create_task(sender.watch()),
        asyncio.create_task(sender.send_sound(await sending.publish_audio())),
        asyncio.create_task(sender.send_pictures(await sending.publish_video(width=1280, height=720))),
    ]
    rooms = await asyncio.gather(*map(enter, order.tokens[1:]))
    aio_tasks += [asyncio.create_task(_drain(room)) for room in rooms]
    await asyncio.gather(*map(_hears, rooms))
    print("ready", flush=True)
    before, sent = [room.stats() for room in rooms], sender.packets
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while await lines.readline():
        now, sent_now = [room.stats() for room in rooms], sender.packets
        delays = [
            sum(counts)
            for counts in zip(
                *([y - x for x, y in zip(a.delays, b.delays, strict=True)] for a, b in zip(before, now, strict=True)),
                strict=True,
            )
        ]
        account = Stayed(
            sent=sent_now - sent,
            received=[b.packets_received - a.packets_received for a, b in zip(before, now, strict=True)],
            worst_ms=delay_percentile_us(delays, 1.0) / 1000,
            p99_ms=delay_percentile_us(delays, 0.99) / 1000,
        )
        print(msgspec.json.encode(account).decode(), flush=True)
        before, sent = now, sent_now


async def _pass(order: Order) -> None:
    faults: list[str] = []
    began = time.monotonic()

    async def come(index: int, token: str) -> None:
        await asyncio.sleep(max(0.0, began + index / order.rate - time.monotonic()))
        try:
            async with connect(order.url, token, config=PeerConfig(count_only=True, hold_ms=0)) as room:
                draining = asyncio.create_task(_drain(room))
                stayed = asyncio.create_task(asyncio.sleep(order.stay_s))
                await _hears(room)
                await stayed
                draining.cancel()
        except Exception as error:
            faults.append(repr(error))

    await asyncio.gather(*(come(index, token) for index, token in enumerate(order.tokens)))
    print(msgspec.json.encode(Passed(came=len(order.tokens), faults=faults)).decode(), flush=True)


def main() -> None:
    order = msgspec.json.decode(sys.stdin.readline(), type=Order)
    uvloop.run(_stay(order) if order.role == "staying" else _pass(order))


if __name__ == "__main__":
    main()
