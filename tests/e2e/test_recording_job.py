"""The whole recorder job against a room without a network: what is in the files, to the pixel and the millisecond."""

import asyncio
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import msgspec
import numpy as np
import pytest

from rtcloud.clock import SystemClock
from rtcloud.egress.recording import job
from rtcloud.tasks.job import JobShell
from rtcloud.tasks.journal import read_journal
from rtcloud.tasks.protocol import AnyJobEvent, Ended, FileClosed, Left, Order, Started, Stop
from tests.e2e.fake_room import BEEP_HZ, BLUE, RED, FakeClientRoom, Person, connecting

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

WIDTH, HEIGHT, FPS = 640, 360, 30


def order(spool: Path, *, attempt: int = 0, finish: bool = False, **record: Any) -> Order:
    params = {
        "SdkAppId": 1400000001,
        "RoomId": "3560",
        "UserId": "recorder",
        "RecordParams": {"RecordMode": 2, "OutputFormat": 1, "MaxIdleTime": 5} | record,
        "StorageParams": {"CloudStorage": {"Vendor": 0, "Region": "r", "Bucket": "b"}},
        "MixTranscodeParams": {
            "VideoParams": {"Width": WIDTH, "Height": HEIGHT, "Fps": FPS, "BitRate": 800_000, "Gop": 2},
            "AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": 64_000},
        },
    }
    return Order(
        task_id="task",
        kind="recording",
        attempt=attempt,
        sdk_app_id=1400000001,
        numeric=True,
        room_id="3560",
        user_id="recorder",
        signal_url="ws://unused",
        token="unused",
        spool=str(spool / str(attempt)),
        params=msgspec.Raw(json.dumps(params).encode()),
        finish=finish,
    )


@dataclass
class Job:
    """A recorder in this process, with the worker's end of its pipes."""

    order: Order
    room: FakeClientRoom
    events: list[AnyJobEvent] = field(default_factory=list)

    def __post_init__(self) -> None:
        Path(self.order.spool).mkdir(parents=True)
        reader, self._instructions = os.pipe()
        self._events, self._events_end = os.pipe()
        self._stdin = os.fdopen(reader, "rb")
        self.shell = JobShell(self.order, self._stdin, self._events_end, SystemClock())

    def tell(self, instruction: Stop) -> None:
        os.write(self._instructions, msgspec.json.encode(instruction) + b"\n")

    def let_go(self) -> None:
        os.close(self._instructions)
        self._instructions = -1

    async def run(self) -> int:
        status = await self.shell.run(lambda shell: job.run(shell, connecting(lambda: self.room)))
        os.close(self._events_end)
        with os.fdopen(self._events, "rb") as events:
            decoder = msgspec.json.Decoder(AnyJobEvent)
            self.events = [event for line in events for event in [decoder.decode(line)] if event.sequence]
        if self._instructions >= 0:
            self.let_go()
        await asyncio.sleep(0.05)  # the reading thread sees the end
        self._stdin.close()
        return status

    def closed(self, kind: str) -> list[FileClosed]:
        return [event for event in self.events if isinstance(event, FileClosed) and event.kind == kind]

    def path(self, file: FileClosed) -> Path:
        return Path(self.order.spool) / file.name


@dataclass
class Media:
    """A file decoded from end to end."""

    pictures: list[tuple[float, Any]] = field(default_factory=list)
    sound: Any = None
    rate: int = 48_000
    sound_start: float = 0.0
    duration: float = 0.0

    @classmethod
    def read(cls, path: Path) -> "Media":
        media = cls()
        blocks = []
        with av.open(str(path)) as container:
            media.duration = (container.duration or 0) / av.time_base
            for frame in container.decode():
                if isinstance(frame, av.VideoFrame):
                    media.pictures.append((frame.time, frame.to_ndarray()))
                else:
                    if not blocks:
                        media.sound_start = frame.time
                        media.rate = frame.sample_rate
                    blocks.append(frame.to_ndarray().mean(axis=0))
        media.sound = np.concatenate(blocks)
        return media

    def colour(self, at: float, x: float, y: float) -> tuple[int, int, int]:
        """Y, U, V at a place of the canvas (0…1) at a moment."""
        picture = min(self.pictures, key=lambda entry: abs(entry[0] - at))[1]
        column, row = int(x * WIDTH), int(y * HEIGHT)
        chroma = picture[HEIGHT:].reshape(2, HEIGHT // 2, WIDTH // 2)
        return (
            int(picture[row, column]),
            int(chroma[0, row // 2, column // 2]),
            int(chroma[1, row // 2, column // 2]),
        )

    def loudness(self, hertz: float, start: float, end: float) -> float:
        """Amplitude of one tone between two moments."""
        first = int((start - self.sound_start) * self.rate)
        piece = self.sound[first : int((end - self.sound_start) * self.rate)]
        turns = np.exp(-2j * np.pi * hertz * np.arange(len(piece)) / self.rate)
        return float(2 * abs(np.mean(piece * turns)))

    def onsets(self) -> tuple[list[float], list[float]]:
        """When white pictures and beeps begin."""
        seen, heard, white, loud = [], [], False, False
        for at, picture in self.pictures:
            is_white = picture[HEIGHT // 2, WIDTH // 4] > 200
            if is_white and not white:
                seen.append(at)
            white = is_white
        step = 0.004
        for index in range(int(len(self.sound) / self.rate / step) - 5):
            at = self.sound_start + index * step
            is_loud = self.loudness(BEEP_HZ, at, at + 3 * step) > 0.15
            if is_loud and not loud:
                heard.append(at + 1.5 * step)
            loud = is_loud
        return seen, heard


def near(colour: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    return all(abs(one - two) <= 10 for one, two in zip(colour, other, strict=True))


async def test_people_join_mute_and_leave_as_they_did(tmp_path: Path) -> None:
    alice = Person("alice", RED, 440, joins=0.4, flashes=(2.0, 3.0), mutes=(4.0, 4.8))
    bob = Person("bob", BLUE, 880, joins=1.2, leaves=5.0, codec="libvpx", width=180, height=320)
    recorder = Job(order(tmp_path), FakeClientRoom([alice, bob]))
    running = asyncio.ensure_future(recorder.run())
    await recorder.room.until(6.0)
    stopped_ms = SystemClock().now_ms()
    recorder.tell(Stop(at_ms=stopped_ms))
    assert await running == 0

    events = recorder.events
    assert isinstance(events[0], Started)
    assert isinstance(events[-1], Ended)
    assert [event.leave_code for event in events if isinstance(event, Left)] == [0]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert read_journal(Path(recorder.order.spool)) == events

    (mp4,) = recorder.closed("mp4")
    assert mp4.name == "1400000001_3560.mp4"
    begin_ms = recorder.closed("index")[0].begin_ms
    assert abs(begin_ms - recorder.room.start_ms - 400) < 150
    media = Media.read(recorder.path(mp4))
    assert abs(media.duration - (stopped_ms - begin_ms) / 1000) < 0.3

    start = (recorder.room.start_ms - begin_ms) / 1000  # the room's 0 on the file's clock
    assert near(media.colour(start + 0.9, 0.25, 0.5), RED)
    assert near(media.colour(start + 0.9, 0.75, 0.5), RED)
    assert near(media.colour(start + 2.7, 0.25, 0.5), RED)
    assert near(media.colour(start + 2.7, 0.75, 0.5), BLUE)
    assert near(media.colour(start + 5.5, 0.75, 0.5), RED)
    assert media.loudness(440, start + 2.4, start + 2.8) > 0.1
    assert media.loudness(880, start + 2.4, start + 2.8) > 0.1
    assert media.loudness(440, start + 4.3, start + 4.6) < 0.01
    assert media.loudness(880, start + 4.3, start + 4.6) > 0.1
    assert media.loudness(440, start + 5.3, start + 5.8) > 0.1
    assert media.loudness(880, start + 5.3, start + 5.8) < 0.01

    seen, heard = media.onsets()
    assert len(seen) == len(heard) == 2
    for picture, sound, real in zip(seen, heard, (2.0, 3.0), strict=True):
        assert abs(picture - sound) < 0.04
        assert abs(sound - (start + real)) < 0.05
