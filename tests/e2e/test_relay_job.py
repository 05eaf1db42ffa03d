"""The whole relay job against rooms without a network, pushing to a real RTMP server."""

import asyncio
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest

from rtcloud.clock import SystemClock
from rtcloud.egress.publishing import job
from rtcloud.tasks.job import JobShell, Lines
from rtcloud.tasks.journal import read_journal
from rtcloud.tasks.protocol import (
    AnyJobEvent,
    Ended,
    Instruction,
    Left,
    Order,
    OutputChanged,
    Pass,
    Started,
    Stop,
    Update,
)
from tests.e2e.fake_room import GREEN, RED, FakeClientRoom, Person
from tests.kit.cdn import Listener

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

WIDTH, HEIGHT, FPS = 320, 180, 15
ENCODE = {"Width": WIDTH, "Height": HEIGHT, "Fps": FPS, "BitRate": 500, "Gop": 2}
MAIN = "ws://server main"


def request(*urls: str, **members: Any) -> dict[str, Any]:
    return {
        "SdkAppId": 1400000001,
        "RoomId": "3560",
        "AgentParams": {"UserId": "mixer", "MaxIdleTime": 5},
        "AudioParams": {"AudioEncode": {"SampleRate": 48000, "Channel": 2, "BitRate": 64}},
        "VideoParams": {"VideoEncode": ENCODE, "LayoutParams": {"MixLayoutMode": 3}},
        "PublishCdnParams": [{"PublishCdnUrl": url} for url in urls],
    } | members


def single(user_id: str, *urls: str) -> dict[str, Any]:
    stream = {"UserInfo": {"UserId": user_id, "RoomId": "3560"}}
    return request(
        *urls,
        WithTranscoding=0,
        VideoParams={"VideoEncode": ENCODE},
        SingleSubscribeParams={"UserMediaStream": stream},
    )


def order(spool: Path, params: dict[str, Any], *, attempt: int = 0, passes: tuple[Pass, ...] = ()) -> Order:
    return Order(
        task_id="task",
        kind="relay",
        attempt=attempt,
        sdk_app_id=1400000001,
        numeric=True,
        room_id="3560",
        user_id="mixer",
        signal_url="ws://unused",
        token="main",
        spool=str(spool / str(attempt)),
        params=msgspec.Raw(msgspec.json.encode(params)),
        passes=passes,
        allow_private=True,
    )


@dataclass
class Job:
    """A relay in this process, with the worker's end of its pipes. ``rooms`` by token."""

    order: Order
    rooms: dict[str, Any]
    events: list[AnyJobEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        Path(self.order.spool).mkdir(parents=True)
        self._reader, self._instructions = os.pipe()
        self._events, self._events_end = os.pipe()
        self.shell = JobShell(self.order, Lines(self._reader), self._events_end, SystemClock())

    @property
    def directory(self) -> Path:
        return Path(self.order.spool)

    def tell(self, instruction: Instruction) -> None:
        os.write(self._instructions, msgspec.json.encode(instruction) + b"\n")

    def update(self, params: dict[str, Any], revision: int, passes: tuple[Pass, ...] = ()) -> None:
        self.tell(Update(params=msgspec.Raw(msgspec.json.encode(params)), revision=revision, passes=passes))

    def let_go(self) -> None:
        os.close(self._instructions)
        self._instructions = -1

    async def _connect(self, url: str, token: str) -> Any:
        room = self.rooms[token]
        return room() if callable(room) else room

    async def run(self) -> int:
        status = await self.shell.run(lambda shell: job.run(shell, self._connect))
        os.close(self._events_end)
        with os.fdopen(self._events, "rb") as events:
            decoder = msgspec.json.Decoder(AnyJobEvent)
            self.events = [event for line in events for event in [decoder.decode(line)] if event.sequence]
        if self._instructions >= 0:
            self.let_go()
        await asyncio.to_thread(self.shell.gone.wait, 5)  # the reading thread has seen the end
        os.close(self._reader)
        return status

    async def until(self, wanted: Any, within: float = 20.0) -> None:
        """Until the journal says so."""
        deadline = asyncio.get_running_loop().time() + within
        while not wanted(read_journal(self.directory)):
            assert asyncio.get_running_loop().time() < deadline, read_journal(self.directory)
            await asyncio.sleep(0.02)

    def statuses(self, url: str) -> list[int]:
        return [event.status for event in self.events if isinstance(event, OutputChanged) and event.url == url]


def is_running(url: str) -> Any:
    return lambda events: any(
        isinstance(event, OutputChanged) and (event.url, event.status) == (url, 2) for event in events
    )


@dataclass
class Aired:
    """What a server received, decoded from end to end; times in seconds."""

    pictures: list[tuple[float, Any]] = field(default_factory=list)
    sound: Any = None
    sound_times: list[float] = field(default_factory=list)
    codecs: set[str] = field(default_factory=set)
    errors: int = 0

    @classmethod
    def read(cls, path: Path) -> "Aired":
        aired = cls()
        blocks = []
        with av.open(str(path)) as container:
            aired.codecs = {stream.codec_context.name for stream in container.streams}
            for packet in container.demux():
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    aired.errors += 1
                    continue
                for frame in frames:
                    if isinstance(frame, av.VideoFrame):
                        aired.pictures.append((frame.time, frame.to_ndarray(format="yuv420p")))
                    else:
                        aired.sound_times.append(frame.time)
                        blocks.append(frame.to_ndarray().mean(axis=0))
        aired.sound = np.concatenate(blocks) if blocks else np.zeros(0)
        return aired

    def luma(self, index: int, x: float, y: float) -> int:
        picture = self.pictures[index][1]
        height = picture.shape[0] * 2 // 3
        return int(picture[int(y * height), int(x * picture.shape[1])])

    def level(self, hz: float, start: float, end: float) -> float:
        """Amplitude of a tone in a stretch of the sound."""
        piece = self.sound[int(start * 48_000) : int(end * 48_000)]
        times = np.arange(len(piece)) / 48_000
        return float(abs(np.mean(piece * np.exp(-2j * np.pi * hz * times))) * 2)

    def gaps(self) -> tuple[float, float]:
        """The longest between two pictures, and between two pieces of sound."""
        shown = [time for time, _ in self.pictures]
        return (
            max(np.diff(shown), default=0.0),
            max(np.diff(self.sound_times), default=0.0),
        )


def near(luma: int, colour: tuple[int, int, int]) -> bool:
    return abs(luma - colour[0]) < 14


async def test_a_grid_of_a_room_arrives_at_the_server_with_everyones_sound(tmp_path: Path) -> None:
    room = FakeClientRoom([Person("ann", RED, 440), Person("bob", GREEN, 1000)], user_id="mixer")
    with Listener(tmp_path / "aired.mkv") as cdn:
        relay = Job(order(tmp_path, request(cdn.url)), {"main": room})
        running = asyncio.ensure_future(relay.run())
        await relay.until(is_running(cdn.url))
        await room.until(6.0)
        relay.tell(Stop(leave_code=0))
        assert await running == 0
        aired = Aired.read(await asyncio.to_thread(cdn.wait))
    assert aired.codecs == {"h264", "aac"}
    assert aired.errors == 0
    assert near(aired.luma(-1, 0.25, 0.5), RED)
    assert near(aired.luma(-1, 0.75, 0.5), GREEN)
    length = len(aired.sound) / 48_000
    assert aired.level(440, length - 2, length - 0.5) == pytest.approx(0.2, rel=0.15)
    assert aired.level(1000, length - 2, length - 0.5) == pytest.approx(0.2, rel=0.15)
    assert relay.statuses(cdn.url) == [1, 2, 5, 0]
    assert isinstance(relay.events[0], Started | OutputChanged)
    assert [type(event) for event in relay.events[-2:]] == [Left, Ended]
    assert room.left
