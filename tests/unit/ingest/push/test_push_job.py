"""The job of a push, with a client on a real socket and a room without a network."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import av
import msgspec
import numpy as np
import pytest

from rtcloud.client.joining import ConnectError
from rtcloud.client.types import ClientRoom, Disconnected
from rtcloud.clock import SystemClock
from rtcloud.ingest.handling import KINDS
from rtcloud.ingest.media import Kind
from rtcloud.ingest.push import job
from rtcloud.ingest.push.request import CLIENT_GONE, KIND, NOT_ADMITTED, SERVER_STOPPED, UNUSABLE, PushRequest, encode
from rtcloud.rtmp.connecting import Refused
from rtcloud.rtmp.publishing import Published
from rtcloud.tasks.job import JobShell
from rtcloud.tasks.protocol import AnyInstruction, AnyJobEvent, Ended, Left, Noted, Order, Started, Stop
from tests.kit.push_house import PushHouse, open_house
from tests.kit.rtmp_pusher import Pusher
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio


class Room:
    def __init__(self) -> None:
        self.written: list[tuple[bytes, int]] = []
        self.ends: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.left = False

    async def publish_audio(self, **_: Any) -> "Room":
        return self

    def write(self, data: bytes, at_us: int) -> bool:
        self.written.append((data, at_us))
        return True

    async def events(self) -> Sequence[Disconnected]:
        return [Disconnected(await self.ends)]

    async def frames(self) -> Sequence[object]:
        await asyncio.Event().wait()
        return []

    async def leave(self) -> None:
        self.left = True


@dataclass
class Shell:
    order: Order
    directory: Path
    clock: SystemClock = field(default_factory=SystemClock)
    instructions: "asyncio.Queue[AnyInstruction | None]" = field(default_factory=asyncio.Queue)
    is_healthy: Callable[[], bool] = lambda: True
    reported: list[AnyJobEvent] = field(default_factory=list)

    def report(self, event: AnyJobEvent) -> None:
        self.reported.append(event)

    @property
    def leave_code(self) -> int:
        left, ended = self.reported[-2:]
        assert isinstance(left, Left)
        assert isinstance(ended, Ended)
        return left.leave_code


@dataclass
class Running:
    shell: Shell
    room: Room
    pusher: Pusher
    opened: Published | Refused | None
    job: "asyncio.Task[int]"

    async def ends(self) -> int:
        """With this leave code."""
        async with asyncio.timeout(10):
            assert await self.job == 0
        return self.shell.leave_code


def shell_of(folder: Path, house: PushHouse, ticket: str, attempt: int = 0, kinds: tuple[Kind, ...] = KINDS) -> Shell:
    order = Order(
        task_id="task",
        kind=KIND,
        attempt=attempt,
        sdk_app_id=1,
        numeric=False,
        room_id="hall",
        user_id="u",
        signal_url="ws://unused",
        token="",
        spool=str(folder),
        params=msgspec.Raw(encode(PushRequest(token="t", desk=str(house.desk.path), ticket=ticket, kinds=kinds))),
    )
    return Shell(order, folder)


@asynccontextmanager
async def a_push(
    folder: Path, refusal: ConnectError | None = None, kinds: tuple[Kind, ...] = KINDS
) -> AsyncIterator[Running]:
    async with open_house(folder) as house:
        room = Room()

        async def connect(url: str, token: str) -> ClientRoom:
            assert token == "t"
            if refusal is not None:
                raise refusal
            return cast(ClientRoom, room)

        pusher = await Pusher.connect(house.url())
        opening = asyncio.create_task(pusher.open())
        shell = shell_of(folder, house, await house.ticket(), kinds=kinds)
        working = asyncio.create_task(job.run(cast(JobShell, shell), connect))
        try:
            yield Running(shell, room, pusher, await opening, working)
        finally:
            await pusher.close()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)


def sound(seconds: float) -> list[tuple[int, int, bytes]]:
    """Messages of AAC."""
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = 44_100, "mono", av.AudioFormat("fltp")
    encoder.open()
    messages = [(8, 0, b"\xaf\0" + bytes(encoder.extradata or b""))]
    for number in range(int(seconds * 44_100 / 1024)):
        frame = av.AudioFrame.from_ndarray(np.full((1, 1024), 0.1, np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44_100, number * 1024
        messages += [(8, number * 1024 * 1000 // 44_100, b"\xaf\1" + bytes(each)) for each in encoder.encode(frame)]
    return messages


async def test_what_is_pushed_is_published_until_the_client_goes(tmp_path: Path) -> None:
    async with a_push(tmp_path) as push:
        assert push.opened == Published()
        await push.pusher.send(sound(1.0))

        async def heard() -> bool:
            return len(push.room.written) >= 30

        await eventually(heard, "sound comes into the room")
        push.pusher.publisher.finish()
        await push.pusher.send([])
        assert await push.ends() == CLIENT_GONE
        assert push.room.left
        assert isinstance(push.shell.reported[0], Started)
        (noted,) = [event for event in push.shell.reported if isinstance(event, Noted)]
        assert noted.code == "AudioTranscoded"
        times = [at_us for _, at_us in push.room.written]
        assert times == sorted(times)


async def test_what_the_user_may_not_send_is_left_out(tmp_path: Path) -> None:
    async with a_push(tmp_path, kinds=("video",)) as push:
        await push.pusher.send(sound(0.5))
        await push.pusher.close()
        assert await push.ends() == CLIENT_GONE
        assert [event.code for event in push.shell.reported if isinstance(event, Noted)] == ["AudioLeftOut"]
        assert push.room.written == []


async def test_a_client_that_hangs_up_ends_the_task_as_well(tmp_path: Path) -> None:
    async with a_push(tmp_path) as push:
        await push.pusher.close()
        assert await push.ends() == CLIENT_GONE


async def test_a_room_that_says_no_refuses_the_push(tmp_path: Path) -> None:
    async with a_push(tmp_path, ConnectError("JOIN_FAILURE", "the room is full", status=403)) as push:
        assert push.opened == Refused("NetStream.Publish.Rejected")
        assert await push.ends() == NOT_ADMITTED
        assert not any(isinstance(event, Started) for event in push.shell.reported)


async def test_the_client_hears_why_its_user_is_sent_away(tmp_path: Path) -> None:
    for reason, code, leave_code in (
        ("PARTICIPANT_REMOVED", "NetStream.Publish.Denied", 1),
        ("ROOM_DELETED", "NetStream.Publish.Denied", 2),
        ("DUPLICATE_IDENTITY", "NetStream.Publish.Rejected", 101),
    ):
        async with a_push(tmp_path) as push:
            push.room.ends.set_result(reason)
            assert await push.pusher.end() == Refused(code)
            await push.pusher.close()
            assert await push.ends() == leave_code


async def test_a_push_that_is_stopped_or_has_lost_its_worker_is_over_for_good(tmp_path: Path) -> None:
    for instruction, leave_code in ((Stop(leave_code=7), 7), (None, SERVER_STOPPED)):
        async with a_push(tmp_path) as push:
            push.shell.instructions.put_nowait(instruction)
            assert await push.pusher.end() == Refused("NetStream.Publish.Rejected")
            await push.pusher.close()
            assert await push.ends() == leave_code


async def test_a_client_that_says_nothing_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "SILENCE", 0.2)
    async with a_push(tmp_path) as push:
        assert await push.pusher.end() == Refused("NetStream.Failed")
        await push.pusher.close()
        assert await push.ends() == CLIENT_GONE


async def test_streams_that_begin_anew_all_the_time_end_the_push(tmp_path: Path) -> None:
    (_, _, config), *frames = sound(0.2)
    other = config[:2] + bytes([config[2] ^ 0x08]) + config[3:]
    assert other != config
    changing = [message for _ in range(20) for message in ((8, 0, config), frames[0], (8, 0, other), frames[0])]
    async with a_push(tmp_path) as push:
        await push.pusher.send(changing)
        assert await push.pusher.end() == Refused("NetStream.Publish.UnsupportedCodec")
        await push.pusher.close()
        assert await push.ends() == UNUSABLE
        assert sum(isinstance(event, Noted) for event in push.shell.reported) <= 20


async def test_a_job_without_its_connection_ends_at_once(tmp_path: Path) -> None:
    async def connect(url: str, token: str) -> ClientRoom:
        raise AssertionError("nobody is to enter")

    async with open_house(tmp_path) as house:
        for attempt, leave_code in ((0, CLIENT_GONE), (1, SERVER_STOPPED)):
            shell = shell_of(tmp_path, house, "x" * 32, attempt)
            assert await job.run(cast(JobShell, shell), connect) == 0
            assert shell.leave_code == leave_code
