"""The job of a pull without a server: its shell, and a room that keeps what is published."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import av
import msgspec
import numpy as np
import numpy.typing as npt

from rtcloud.clock import SystemClock
from rtcloud.ingest.pull import job
from rtcloud.ingest.pull.request import IngestRequest, encode
from rtcloud.mixer.audio import OpusDecoder
from rtcloud.tasks.job import JobShell
from rtcloud.tasks.protocol import AnyInstruction, AnyJobEvent, Left, Order, SourceChanged, Stop, Update
from tests.kit.acts import read_clock
from tests.kit.footage import FPS, RATE
from tests.kit.waiting import eventually

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Shown:
    count: int | None  # of the picture, modulo the loop of ``acts``
    at_s: float  # the moment it stands for
    written_s: float
    color: tuple[int, int, int]


@dataclass
class Stage:
    """One room, as a ``ClientRoom``."""

    is_open: bool = True
    published: list[str] = field(default_factory=list)
    written: dict[str, list[tuple[bytes, int, float]]] = field(default_factory=lambda: {"video": [], "audio": []})
    #: first pictures, which stood before they were played
    stills: list[tuple[bytes, int, float]] = field(default_factory=list)
    codec: str = ""
    over: "asyncio.Future[str]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    async def publish_video(self, *, width: int, height: int, codec: str) -> "_Track":
        self.published.append(f"{codec} {width}x{height}")
        self.codec = codec
        return _Track(self, "video")

    async def publish_audio(self, **_about: Any) -> "_Track":
        self.published.append("opus")
        return _Track(self, "audio")

    async def events(self) -> Sequence[object]:
        await self.over
        return []

    async def frames(self) -> Sequence[object]:
        await asyncio.Event().wait()
        return []

    async def leave(self) -> None:
        self.is_open = False

    def pictures(self) -> list[Shown]:
        decoder = av.CodecContext.create(self.codec, "r")
        decoder.thread_count = 1
        decoder.options = {"flags": "+low_delay"}
        shown = []
        for data, at_us, written in self.written["video"]:
            for frame in cast(Any, decoder).decode(av.Packet(data)):
                pixels = frame.to_ndarray(format="rgb24")
                middle = tuple(int(value) for value in pixels[4, 4])
                shown.append(Shown(read_clock(pixels, FPS), at_us / 1e6, written, cast(Any, middle)))
        return shown

    def sound(self) -> tuple[Samples, float]:
        """With silence where nothing was sent, and the moment of its beginning."""
        track = self.written["audio"]
        begin = track[0][1]
        decoder = OpusDecoder(1)
        length = round((track[-1][1] - begin) * RATE / 1e6) + 5760
        out = np.zeros(length, np.float32)
        for data, at_us, _ in track:
            samples = decoder.decode(data)
            assert samples is not None
            at = round((at_us - begin) * RATE / 1e6)
            out[at : at + samples.shape[1]] = samples[0]
        return out, begin / 1e6

    def gaps(self, kind: str) -> list[float]:
        moments = [at for _, at, _ in self.written[kind]]
        return [(later - earlier) / 1e6 for earlier, later in zip(moments, moments[1:], strict=False)]


@dataclass(frozen=True)
class _Track:
    stage: Stage
    kind: str

    def write(self, data: bytes, at_us: int) -> bool:
        written = self.stage.written[self.kind]
        if written and written[-1][0] == data and self.kind == "video":
            self.stage.stills.append(written.pop())
        written.append((data, at_us, SystemClock().now_ms() / 1000))
        return True

    async def unpublish(self) -> None:
        self.stage.published.append(f"no {self.kind}")


class Shell:
    """``events`` has what the job reported."""

    def __init__(self, directory: Path, request: IngestRequest, attempt: int = 0) -> None:
        self.order = Order(
            task_id="task",
            kind="ingest",
            attempt=attempt,
            sdk_app_id=request.sdk_app_id,
            numeric=False,
            room_id="room",
            user_id="puller",
            signal_url="ws://unused",
            token="token",
            spool=str(directory),
            params=msgspec.Raw(encode(request)),
            allow_private=True,
        )
        self.clock = SystemClock()
        self.directory = directory
        self.instructions: asyncio.Queue[AnyInstruction | None] = asyncio.Queue()
        self.events: list[AnyJobEvent] = []
        self.is_healthy = lambda: True

    def report(self, event: AnyJobEvent) -> None:
        self.events.append(event)


class Pulling:
    """A job under way."""

    def __init__(self, shell: Shell, request: IngestRequest) -> None:
        self.shell = shell
        self.request = request
        self.stage = Stage()
        self.job: asyncio.Task[int] = asyncio.create_task(job.run(cast(JobShell, shell), self._connect))

    async def _connect(self, _url: str, _token: str) -> Any:
        return self.stage

    @property
    def told(self) -> list[str]:
        return [event.state for event in self.shell.events if isinstance(event, SourceChanged)]

    @property
    def leave_code(self) -> int | None:
        return next((event.leave_code for event in self.shell.events if isinstance(event, Left)), None)

    def update(self, **changes: Any) -> None:
        self.request = msgspec.structs.replace(self.request, **changes)
        self.shell.instructions.put_nowait(Update(params=msgspec.Raw(encode(self.request)), revision=1))

    async def wait_for(self, state: str, within: float = 15) -> None:
        async def told() -> bool:
            return state in self.told

        await eventually(told, f"the source is {state}", within, seen=lambda: self.shell.events)

    async def wait_for_pictures(self, count: int, within: float = 15) -> None:
        async def came() -> bool:
            return len(self.stage.written["video"]) >= count

        await eventually(came, f"{count} pictures", within, seen=lambda: self.shell.events)

    async def ended(self, within: float = 30) -> int | None:
        async with asyncio.timeout(within):
            assert await self.job == 0
        return self.leave_code


@contextlib.asynccontextmanager
async def pulling(directory: Path, url: str, *, attempt: int = 0, **settings: Any) -> AsyncIterator[Pulling]:
    """Stopped with the block, if it has not ended."""
    request = IngestRequest(sdk_app_id=1, room_id="room", user_id="puller", stream_url=url, **settings)
    directory = directory / str(attempt)
    directory.mkdir(parents=True, exist_ok=True)
    made = Pulling(Shell(directory, request, attempt), request)
    try:
        yield made
    finally:
        made.shell.instructions.put_nowait(Stop())
        await asyncio.wait({made.job}, timeout=10)
        if not made.job.done():
            made.job.cancel()
