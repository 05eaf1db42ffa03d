"""Many people in one room, in processes of their own: callers with sound, and an audience of bare sockets.

A process gets one order and gives one account. Everybody's moments are seconds after a common begin on the machine's
monotonic clock, so that the processes need not talk to each other.
"""

import asyncio
import base64
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import msgspec
import uvloop
from livekit.protocol import models, rtc
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from rtcloud.accounts.tokens import JoinGrant, make_join_token
from rtcloud.client.joining import client_info, socket_url
from rtcloud.client.native import NativePeer
from rtcloud.client.orders import Order as ClientOrder
from rtcloud.client.peer import PeerConfig
from rtcloud.client.room import LocalPublication, Room
from rtcloud.client.session import Session
from rtcloud.client.types import Disconnected, Reconnected, Reconnecting
from rtcloud.clock import SystemClock
from rtcloud.rooms.ids import RoomRef
from tests.kit.server import ROOT, Server, cpu_seconds, resident_mib

FRAME_S = 0.02
#: An Opus packet of silence: what it sounds like matters to nobody here.
SOUND = b"\xf8\xff\xfe" + bytes(77)
#: Frames that open a track, before it is muted until its turn.
FIRST_FRAMES = 5
#: A talker opens its microphone so long before its turn: what it says before the server knows is heard by nobody.
OPEN_S = 0.4
PING_S = 5.0
#: How the threads are named that forward packets.
FORWARDING = ("rtcloud-shard", "rtcloud-reader")
NEVER = -1
#: After the order ends, for everybody to leave.
WITHIN_S = 60.0


class Member(msgspec.Struct, kw_only=True):
    """``at``: seconds after the begin. ``turn``: when it talks; ``NEVER`` publishes nothing."""

    user_id: str
    token: str
    at: float
    turn: int = NEVER


class Order(msgspec.Struct, kw_only=True):
    """``turns``: when each begins. ``ends``: when everybody leaves."""

    kind: Literal["callers", "audience"]
    url: str
    members: list[Member]
    ends: float
    turns: list[float] = []
    turn_s: float = 0.0


class Account(msgspec.Struct, kw_only=True):
    """What one of them met with. ``heard``: frames by talker. ``kinds``: messages of the signalling by kind."""

    user_id: str
    joined_s: float = 0.0
    sent: int = 0
    heard: dict[str, int] = {}
    known: int = 0
    bytes: int = 0
    kinds: dict[str, int] = {}
    faults: list[str] = []

    @property
    def messages(self) -> int:
        return sum(self.kinds.values())


def ticket(server: Server, user_id: str, room: int, *, scene: str = "rtc", audience: bool = False) -> str:
    """A join token as ``/v1/join`` makes it; the crowd's joins are the signalling's load alone."""
    now_ms = SystemClock().now_ms()
    grant = JoinGrant(
        room=RoomRef(server.sdk_app_id, True, str(room)),
        user_id=user_id,
        expires_ms=now_ms + 3_600_000,
        scene=scene,
        role=21 if audience else 20,
    )
    return make_join_token(grant, secret_key=server.credentials["sdk_secret_key"], now_ms=now_ms)


class Crowd:
    """Processes that are ready when it is made; ``begin`` lets everybody come. ``command`` starts them elsewhere."""

    def __init__(self, orders: list[Order], command: tuple[str, ...] = ()) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._files = [Path(self._folder.name) / str(number) for number in range(len(orders))]
        self._processes = [
            subprocess.Popen(
                [*command, sys.executable, "-m", "tests.kit.crowd", str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                cwd=ROOT,
                text=True,
            )
            for file in self._files
        ]
        for process, order in zip(self._processes, orders, strict=True):
            self._say(process, msgspec.json.encode(order).decode())
        for process in self._processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", "a process of the crowd failed"
        self._began = 0.0

    def __enter__(self) -> "Crowd":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.wait(10)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
        self._folder.cleanup()

    def begin(self) -> None:
        self._began = time.monotonic() + 0.2
        for process in self._processes:
            self._say(process, repr(self._began))

    def sleep_until(self, at: float) -> None:
        time.sleep(max(0.0, self._began + at - time.monotonic()))

    def accounts(self) -> list[Account]:
        """When everybody has left; they are waited for from shortly before the order ends."""
        found: list[Account] = []
        for process, account in zip(self._processes, self._files, strict=True):
            assert process.wait(WITHIN_S) == 0, "a process of the crowd failed"
            found += msgspec.json.decode(account.read_bytes(), type=list[Account])
        return found

    def _say(self, process: "subprocess.Popen[str]", line: str) -> None:
        assert process.stdin is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()


@dataclass(frozen=True, slots=True)
class Used:
    """``signalling``: cores of all but the threads that forward packets. ``mib``: of the whole process."""

    signalling: float
    forwarding: float
    mib: float

    def __str__(self) -> str:
        return f"signalling {self.signalling:.0%} of a core, forwarding {self.forwarding:.0%}, {self.mib:.0f} MiB"


class Use:
    """What a server's process uses from now on."""

    def __init__(self, server: Server) -> None:
        self._pid = server.pid
        self._began = time.monotonic()
        self._before = self._measure()

    def __call__(self) -> "Used":
        took = time.monotonic() - self._began
        forwarding, whole = (after - before for after, before in zip(self._measure(), self._before, strict=True))
        return Used((whole - forwarding) / took, forwarding / took, resident_mib(self._pid))

    def _measure(self) -> tuple[float, float]:
        forwarding = 0.0
        for thread in Path(f"/proc/{self._pid}/task").iterdir():
            if (thread / "comm").read_text().startswith(FORWARDING):
                forwarding += cpu_seconds(f"{self._pid}/task/{thread.name}")
        return forwarding, cpu_seconds(self._pid)


# in a process of the crowd ----------------------------------------------------------------------------------------


class _CountingSession(Session):
    def __init__(self, account: Account, token: str, info: models.ClientInfo) -> None:
        super().__init__(token, info)
        self._account = account

    def receive(self, number: int, raw: bytes, now: float) -> Iterator[ClientOrder]:
        _count(self._account, raw)
        return super().receive(number, raw, now)


def _count(account: Account, raw: bytes) -> str:
    kind = rtc.SignalResponse.FromString(raw).WhichOneof("message") or ""
    account.bytes += len(raw)
    account.kinds[kind] = account.kinds.get(kind, 0) + 1
    return kind


async def _call(order: Order, member: Member, begin: float) -> Account:
    account = Account(user_id=member.user_id)
    await _until(begin + member.at)
    session = _CountingSession(account, member.token, client_info("crowd"))
    room = Room(order.url, session, lambda: NativePeer(PeerConfig(hold_ms=0)), SystemClock())
    began = time.monotonic()
    await room.open()
    account.joined_s = time.monotonic() - began
    heard: Counter[str] = Counter()
    owners: dict[str, str] = {}

    async def watch() -> None:
        while events := await room.events():
            for event in events:
                if isinstance(event, Disconnected | Reconnecting | Reconnected):
                    account.faults.append(repr(event))

    async def listen() -> None:
        while frames := await room.frames():
            heard.update(frame.track for frame in frames)

    reading = [asyncio.create_task(watch()), asyncio.create_task(listen())]
    if member.turn != NEVER:
        publication = await room.publish_audio()
        await _talk(publication, account, time.monotonic() + FIRST_FRAMES * FRAME_S)
        await publication.mute(True)
        account.sent = 0
        await _until(begin + order.turns[member.turn] - OPEN_S)
        await publication.mute(False)
        await _until(begin + order.turns[member.turn])
        await _talk(publication, account, begin + order.turns[member.turn] + order.turn_s)
        await publication.mute(True)
    await _until(begin + order.ends)
    for participant in room.participants.values():
        owners.update((track.track_id, participant.user_id) for track in participant.tracks)
    account.known = len(room.participants)
    account.heard = {owners[track]: count for track, count in heard.items() if track in owners}
    for one in reading:
        one.cancel()
    await room.leave()
    return account


async def _talk(publication: LocalPublication, account: Account, end: float) -> None:
    began, count = time.monotonic(), 0
    while time.monotonic() < end:
        account.sent += publication.write(SOUND, time.time_ns() // 1000)
        count += 1
        await _until(began + count * FRAME_S)


async def _attend(order: Order, member: Member, begin: float) -> Account:
    """One of the audience that takes no media: reads what it is told, and pings."""
    account = Account(user_id=member.user_id)
    await _until(begin + member.at)
    request = rtc.JoinRequest(client_info=client_info("crowd"))
    request.connection_settings.auto_subscribe = False
    wrapped = rtc.WrappedJoinRequest(join_request=request.SerializeToString()).SerializeToString()
    url = socket_url(order.url, member.token, base64.urlsafe_b64encode(wrapped).decode())
    ping = rtc.SignalRequest(ping=1).SerializeToString()
    began = time.monotonic()
    async with connect(url, max_size=None, compression=None, ping_interval=None, open_timeout=60, proxy=None) as socket:

        async def read() -> None:
            async for raw in socket:
                assert isinstance(raw, bytes)
                kind = _count(account, raw)
                if kind == "join":
                    account.joined_s = time.monotonic() - began
                elif kind == "leave":
                    account.faults.append(repr(rtc.SignalResponse.FromString(raw).leave))

        reading = asyncio.create_task(read())
        try:
            while (now := time.monotonic()) < begin + order.ends:
                await _until(min(now + PING_S, begin + order.ends))
                await socket.send(ping)
        except ConnectionClosed as error:
            account.faults.append(repr(error))
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
    return account


async def _until(moment: float) -> None:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))


async def _everybody(order: Order, begin: float) -> list[Account]:
    attend = _call if order.kind == "callers" else _attend
    return await asyncio.gather(*[_survive(attend(order, each, begin), each) for each in order.members])


async def _survive(attending: Awaitable[Account], member: Member) -> Account:
    try:
        return await attending
    except Exception as error:
        return Account(user_id=member.user_id, faults=[repr(error)])


def main() -> None:
    order = msgspec.json.decode(sys.stdin.readline(), type=Order)
    print("ready", flush=True)
    begin = float(sys.stdin.readline())
    Path(sys.argv[1]).write_bytes(msgspec.json.encode(uvloop.run(_everybody(order, begin))))


if __name__ == "__main__":
    main()
