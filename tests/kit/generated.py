"""The whole recorder job on virtual time: a ``Generator`` stands in for the room, everything after it is the product's.

``record`` runs a job from its order to its last event. The room moves the clock on by what the native client gathers at
a time, and after each step the mixing thread's work is done by hand, on the event loop; so a recording takes as long as
its computing does, and nothing is ever late. Files are flushed, journalled and made whole as in life.
"""

import asyncio
import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest

from rtcloud.client.types import EncodedFrame, Participant, ParticipantJoined, RoomEvent
from rtcloud.egress.recording import job, pipeline, single_pipeline
from rtcloud.mixer.thread import MixingThread
from rtcloud.robots.entering import GATHER_S
from rtcloud.tasks.job import JobShell, Lines
from rtcloud.tasks.protocol import AnyJobEvent, FileClosed, Order, Stop
from tests.kit.generator import START_US, Generator, Guest

STEP_US = round(GATHER_S * 1e6)
SDK_APP_ID, ROOM = 1400000001, "3560"

_decoder = msgspec.json.Decoder(AnyJobEvent)


class VirtualClock:
    def __init__(self) -> None:
        self.us = START_US

    def now_ms(self) -> int:
        return self.us // 1000

    def monotonic(self) -> float:
        return (self.us - START_US) / 1e6


class _HandTurned(MixingThread[Any]):
    """A mixing thread that looks when it is told to."""

    started: ClassVar[list["_HandTurned"]] = []

    def start(self) -> None:
        self.started.append(self)

    @property
    def is_ending(self) -> bool:
        return self._end is not None

    def turn(self) -> None:
        if self.done.done():
            return
        try:
            if self._look(self._local.now_us()):
                self.done.set_result(None)
        except BaseException as error:
            self.done.set_exception(error)


class _Room:
    """A ``ClientRoom`` whose people were there before. When ``seconds`` are over it asks for the end, once, and waits
    for it."""

    user_id, room_name = "recorder", ROOM

    def __init__(
        self,
        generator: Generator,
        clock: VirtualClock,
        seconds: float,
        stop: Callable[[], None],
        minute: Callable[[], None],
    ) -> None:
        self.participants: dict[str, Participant] = {one.user_id: one.participant for one in generator.guests}
        self._generator = generator
        self._clock = clock
        self._ends_us = START_US + round(seconds * 1e6)
        self._stop: Callable[[], None] | None = stop
        self._minute = minute
        self._has_told = False

    async def events(self) -> Sequence[RoomEvent]:
        if self._has_told:
            await asyncio.Event().wait()
        self._has_told = True
        return [ParticipantJoined(one) for one in self.participants.values()]

    async def frames(self) -> Sequence[EncodedFrame]:
        frames: list[EncodedFrame] = []
        while not frames:
            (thread,) = _HandTurned.started
            await asyncio.sleep(0)
            thread.turn()
            if thread.done.done():
                await asyncio.Event().wait()
            if self._clock.us >= self._ends_us and self._stop is not None:
                self._stop()
                self._stop = None
                while not thread.is_ending:
                    await asyncio.sleep(0.001)
            before, self._clock.us = self._clock.us, self._clock.us + STEP_US
            if before // 60_000_000 != self._clock.us // 60_000_000:
                self._minute()
            frames += self._generator.until(self._clock.us)
        return frames

    async def subscribe(self, track_id: str, subscribed: bool = True) -> None:
        pass

    async def set_subscription(self, track_id: str, *, enabled: bool = True, width: int = 0, height: int = 0) -> None:
        pass

    def request_keyframe(self, track_id: str) -> None:
        pass

    async def leave(self) -> None:
        pass


@dataclass
class Recorded:
    """What a job reported, and where its files are."""

    directory: Path
    events: list[AnyJobEvent] = field(default_factory=list)

    def closed(self, kind: str, user_id: str | None = None) -> list[FileClosed]:
        """The last report of each file, in the order of their first ones."""
        found = {
            event.name: event
            for event in self.events
            if isinstance(event, FileClosed) and event.kind == kind and user_id in (None, event.user_id)
        }
        return list(found.values())

    def path(self, file: FileClosed) -> Path:
        return self.directory / file.name


def order(directory: Path, *, video: dict[str, int] | None = None, **record: Any) -> Order:
    """``record`` are RecordParams, ``video`` VideoParams of a mix."""
    params = {
        "SdkAppId": SDK_APP_ID,
        "RoomId": ROOM,
        "UserId": "recorder",
        "RecordParams": {"RecordMode": 2, "OutputFormat": 1, "MaxIdleTime": 86_400} | record,
        "StorageParams": {"CloudStorage": {"Vendor": 0, "Region": "r", "Bucket": "b"}},
        "MixTranscodeParams": {
            "VideoParams": {"Width": 320, "Height": 180, "Fps": 30, "BitRate": 200_000, "Gop": 10} | (video or {}),
            "AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": 64_000},
        },
    }
    return Order(
        task_id="task",
        kind="recording",
        attempt=0,
        sdk_app_id=SDK_APP_ID,
        numeric=True,
        room_id=ROOM,
        user_id="recorder",
        signal_url="ws://unused",
        token="unused",
        spool=str(directory / "task" / "0"),
        params=msgspec.Raw(json.dumps(params).encode()),
    )


def record(
    asked: Order, guests: Sequence[Guest], seconds: float, minute: Callable[[], None] = lambda: None
) -> Recorded:
    """``minute`` is called after each virtual one while people are recorded."""
    clock = VirtualClock()
    recorded = Recorded(Path(asked.spool))
    recorded.directory.mkdir(parents=True)
    instructions, instruct = os.pipe()
    events, tell = os.pipe()
    lines = Lines(events)

    def listen() -> None:
        while (line := lines.next()) is not None:
            recorded.events.append(_decoder.decode(line))

    def stop() -> None:
        os.write(instruct, msgspec.json.encode(Stop(at_ms=clock.now_ms())) + b"\n")

    listener = threading.Thread(target=listen)
    listener.start()
    room = _Room(Generator(guests), clock, seconds, stop, minute)

    async def connect(url: str, token: str) -> Any:
        return room

    async def run() -> int:
        shell = JobShell(asked, Lines(instructions), tell, clock)
        status = await shell.run(lambda shell: job.run(shell, connect))
        os.close(instruct)
        await asyncio.to_thread(shell.gone.wait, 10)  # the reading thread has seen the end
        return status

    _HandTurned.started.clear()
    with pytest.MonkeyPatch.context() as patch:
        for module in (pipeline, single_pipeline):
            patch.setattr(module, "MixingThread", _HandTurned)
        try:
            status = asyncio.run(run())
        finally:
            os.close(tell)
            listener.join(10)
            os.close(events)
            os.close(instructions)
    assert status == 0
    return recorded
