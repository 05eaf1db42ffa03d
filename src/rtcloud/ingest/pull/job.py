"""The job of one pull: reads a URL and plays it in a room, as a user of its own.

``_read`` follows the source (rounds, breaks, another address) and fills the playout; ``_play`` gives the pipeline what
is due soon and the room what is due now. The room is entered while the source is opened, and playing begins when both
are ready, so nothing of the beginning is lost.

It ends when all was played, or the source is given up; when the user is sent away, or its room is over; when nothing
can be made of what comes; when it is told to. When its worker is gone, it leaves at once and says nothing: the next
attempt goes on about where this one was (``position``).
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass
from typing import Any

import msgspec

from rtcloud.aio import spawn
from rtcloud.ingest.media import Handling, Kind, RoomPacket, SourcePacket
from rtcloud.ingest.pipeline import Pipeline, PipelineSettings
from rtcloud.ingest.pull import position
from rtcloud.ingest.pull.opening import Guard, open_source
from rtcloud.ingest.pull.pacing import Cut, Playout
from rtcloud.ingest.pull.playing import Course, Over
from rtcloud.ingest.pull.position import Position
from rtcloud.ingest.pull.request import PLAYED_OUT, UNUSABLE, IngestRequest, decode
from rtcloud.ingest.pull.source import Source, SourceError
from rtcloud.ingest.pull.timeline import Timeline
from rtcloud.ingest.running import PipelineThread
from rtcloud.ingest.telling import Telling
from rtcloud.outgoing.dialing import Dialer
from rtcloud.robots.broadcasting import Broadcast, Program
from rtcloud.robots.entering import LEAVE_CODES, Connect, native_connect
from rtcloud.tasks import figures
from rtcloud.tasks.job import JobShell
from rtcloud.tasks.lifecycle import GIVE_UP_CODE
from rtcloud.tasks.protocol import Ended, Figures, Left, SourceChanged, Started, Stop, Token, Update

#: a source that goes on is read from so much before where it broke: not every container seeks exactly
BEFORE_US = 2_000_000
#: what is not read for so long, because it stands, is closed and opened again
IDLE_S = 20.0
#: at most between two looks at what is due: the pipeline is given what comes due within so long at once
TICK_S = 0.05
#: what is due within this goes out together
TOGETHER_S = 0.004
#: pictures wait for the sound, and sound for the pictures, before the first is played
WHOLE_WITHIN_S = 0.5
#: MaxDuration is looked at so often
EXPIRY_S = 0.5
#: a file's first picture stands for so long before it plays: those in the room subscribe when media comes
STILL_S = 0.3
NOTE_EVERY_S = 1.0
#: a round that is read sooner is not followed by the next at once: its server has others to serve
SHORTEST_S = 0.2

_log = logging.getLogger(__name__)


async def run(shell: JobShell, connect: Connect | None = None) -> int:
    if shell.order.finish:
        shell.report(Ended(at_ms=shell.clock.now_ms()))
        return 0
    leave_code = await Pull(shell, connect or native_connect(auto_subscribe=False)).run()
    if leave_code is not None:
        shell.report(Left(at_ms=shell.clock.now_ms(), leave_code=leave_code))
        shell.report(Ended(at_ms=shell.clock.now_ms()))
    return 0


@dataclass(frozen=True, slots=True)
class _RestError(Exception):
    """The source is not needed for a while."""


@dataclass(slots=True)
class _Address:
    """One address that is, or is to be, read."""

    url: str
    revision: int
    course: Course
    from_us: int
    reading: "asyncio.Task[None] | None" = None
    was_live: bool = False


class Pull:
    def __init__(self, shell: JobShell, connect: Connect) -> None:
        self._shell = shell
        order = shell.order
        self._request = decode(bytes(order.params))
        self._guard = Guard(Dialer(allow_private=order.allow_private))
        self._ending: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._telling = Telling(shell.report, shell.clock)
        settings = PipelineSettings(volume=self._request.volume)
        self._pipeline = PipelineThread(Pipeline(settings, self._told), self._deliver)
        shell.is_healthy = self._pipeline.is_healthy
        self._program = Program()
        self._carried: Collection[Kind] = ()
        self._playout, self._timeline = Playout(), Timeline()
        self._changed, self._has_room, self._resumed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._fed: asyncio.Queue[SourcePacket | Cut] = asyncio.Queue()
        self._is_flushed = False
        self._ready_s: float | None = None  # since when it could be played
        self._standing_s: float | None = None  # since when its first picture is shown
        self._is_running = False  # as was told
        self._addresses: list[_Address] = []  # the one that plays, and those that are to
        self._wall_us = shell.clock.now_ms() * 1000 - round(shell.clock.monotonic() * 1e6)
        self._earlier = position.find(shell.directory) if order.attempt > 0 else None
        self._began_ms = self._earlier.began_ms if self._earlier else shell.clock.now_ms()
        self._gauge = figures.Gauge(shell.clock, figures.cpu_seconds())
        self._has_entered = False
        self._broadcast = Broadcast(
            order.token,
            connect,
            order.signal_url,
            Program(),
            want_keyframe=self._pipeline.want_keyframe,
            over=self._room_is_over,
            entered=self._entered,
            refused=self._not_admitted,
        )

    async def run(self) -> int | None:
        """The code to leave with; None when the task goes on elsewhere."""
        self._pause(self._request.is_pause)
        self._begin(self._request, self._earlier)
        aio_tasks = [
            spawn(self._obey(), name="pull-instructions"),
            spawn(self._play(), name="pull-play"),
            spawn(self._feed(), name="pull-feed"),
            spawn(self._note(), name="pull-position"),
            spawn(figures.tell(self._shell.directory, self._figures), name="pull-figures"),
        ]
        try:
            watched: list[asyncio.Future[Any]] = [*aio_tasks, asyncio.wrap_future(self._pipeline.done)]
            await asyncio.wait([self._ending, *watched], return_when=asyncio.FIRST_COMPLETED)
            if not self._ending.done():
                failed = next(one for one in watched if one.done())
                if (error := failed.exception()) is not None:
                    raise error
                raise RuntimeError("a part of the pull has ended")
            return self._ending.result()
        finally:
            readings = [address.reading for address in self._addresses if address.reading is not None]
            for task in (*aio_tasks, *readings):
                task.cancel()
            await asyncio.gather(*aio_tasks, *readings, return_exceptions=True)
            await self._save()
            await self._broadcast.close()
            with contextlib.suppress(Exception):  # it was raised above
                await self._pipeline.close()

    def _finish(self, leave_code: int | None) -> None:
        if not self._ending.done():
            self._ending.set_result(leave_code)

    # The source -----------------------------------------------------------------------------------------------------

    def _begin(self, request: IngestRequest, earlier: Position | None) -> None:
        """Read that address; what is played goes on until it gives something."""
        goes_on = earlier is not None and earlier.url_revision == request.url_revision
        deadline_s = None
        if request.repeat_num == -1 and request.max_duration:
            left_s = request.max_duration * 60 - (self._shell.clock.now_ms() - self._began_ms) / 1000
            deadline_s = self._shell.clock.monotonic() + left_s
        course = Course(
            request,
            rounds=earlier.rounds if earlier is not None and goes_on else 0,
            has_run=earlier is not None and goes_on and earlier.has_run,
            deadline_s=deadline_s,
        )
        from_us = request.seek_second * 1_000_000 if not self._addresses and request.url_revision == 0 else 0
        if earlier is not None and goes_on and earlier.has_run:
            from_us = earlier.position_ms * 1000
        address = _Address(request.stream_url, request.url_revision, course, from_us)
        for waiting in self._addresses[1:]:  # was never heard of
            _cancel(waiting)
        self._addresses[1:] = [address]
        address.reading = spawn(self._read(address), name="pull-read")
        address.reading.add_done_callback(self._reading_is_over)

    def _reading_is_over(self, reading: "asyncio.Task[None]") -> None:
        """What fails unexpectedly ends the job, and another attempt begins."""
        if not reading.cancelled() and (error := reading.exception()) is not None and not self._ending.done():
            self._ending.set_exception(error)

    async def _read(self, address: _Address) -> None:
        """Until there is nothing more to read of it."""
        course, goes_on = address.course, False
        while True:
            try:
                is_over = await self._read_round(address, goes_on)
            except _RestError:
                await self._resumed.wait()
            except SourceError as error:
                if not await self._recover(address, str(error)):
                    return
            else:
                end = course.ended(self._shell.clock.monotonic())
                if is_over or isinstance(end, Over):
                    self._playout.complete()
                    self._changed.set()
                    return
                address.from_us, goes_on = 0, False
                continue
            goes_on = not address.was_live and address is self._playing and address.course.has_run_here
            if goes_on:
                address.from_us = max(0, self._timeline.position_us - BEFORE_US)

    async def _read_round(self, address: _Address, goes_on: bool) -> bool:
        """To its end; True when there is no further round. Raises ``SourceError``."""
        async with _opened(address.url, self._guard, address.from_us) as source:
            packets = await source.take()
            if not packets:
                raise SourceError("there is nothing in it")
            if address.was_live and not source.is_live:
                return True  # what is there now is the recording of what was
            self._take_over(address, source, goes_on)
            began_s, put = self._shell.clock.monotonic(), 0
            while packets:
                for packet in packets:
                    put += await self._put(packet, source)
                packets = await source.take()
            if not source.is_ended:
                raise SourceError("it ended")
            if not put and not goes_on:
                raise SourceError("there is nothing in it that can be played")
            await asyncio.sleep(max(0.0, began_s + SHORTEST_S - self._shell.clock.monotonic()))
            return False

    async def _recover(self, address: _Address, message: str) -> bool:
        """After a failure; False when it was the last."""
        outcome = address.course.failed(self._shell.clock.monotonic())
        _log.warning("a source fails", extra={"reason": message})
        if isinstance(outcome, Over):
            if self._is_newest(address):
                self._finish(outcome.leave_code)
            return False
        if outcome.tells_failure and self._is_newest(address):
            self._tell("failed", message)
        await asyncio.sleep(outcome.after_s)
        if outcome.tells_attempt and self._is_newest(address):
            self._tell("again")
        return True

    def _is_newest(self, address: _Address) -> bool:
        """No other was asked for since."""
        return address is self._addresses[-1]

    @property
    def _playing(self) -> _Address | None:
        return self._addresses[0] if self._addresses else None

    def _take_over(self, address: _Address, source: Source, goes_on: bool) -> None:
        """It gives media: it is what plays now."""
        if (before := self._playing) is not address and before is not None:
            _cancel(before)
            self._addresses = [address]
            self._playout.restart()
            self._is_flushed = False
        address.was_live = source.is_live
        self._playout.is_live, self._playout.kinds = source.is_live, source.kinds
        self._carried = source.carries
        if goes_on:
            self._timeline.go_on(source.begin_us)
        else:
            self._timeline.begin(source.begin_us, 0 if source.is_live else address.from_us)
        address.course.succeeded(self._shell.clock.monotonic())
        if not self._is_running:
            self._tell("running")

    async def _put(self, packet: SourcePacket, source: Source) -> bool:
        """Whether it will be played. Waits while enough is there."""
        if self._playout.is_paused and source.is_live:
            return True
        if (piece := self._timeline.place(packet)) is None:
            return False
        if self._playout.put(piece, self._now_us()):
            self._changed.set()
        while self._playout.is_full:
            self._has_room.clear()
            try:
                async with asyncio.timeout(IDLE_S):
                    await self._has_room.wait()
            except TimeoutError:
                if self._playout.is_paused:
                    raise _RestError from None
        return True

    def _tell(self, state: Any, message: str = "") -> None:
        self._is_running = state == "running"
        self._shell.report(SourceChanged(at_ms=self._shell.clock.now_ms(), state=state, message=message))

    # From the source to the room ------------------------------------------------------------------------------------

    async def _play(self) -> None:
        clock = self._shell.clock
        while True:
            self._changed.clear()
            now_us = self._now_us()
            if self._fed.empty():
                for item in self._playout.take(now_us):
                    self._fed.put_nowait(item)
                if self._playout.has_room:
                    self._has_room.set()
            if not self._playout.is_started and self._may_start:
                self._playout.start(now_us)
            if due := self._playout.release(now_us):
                self._gauge.count([packet for packet, _ in due], 0)
                self._broadcast.put(due)
            self._look_for_the_end(now_us)
            if (playing := self._playing) is not None and playing.course.is_expired(clock.monotonic()):
                self._finish(PLAYED_OUT)
            next_us = self._playout.next_us(self._now_us())
            wait_s = TICK_S if next_us is None else min(TICK_S, max(0.0, (next_us - self._now_us()) / 1e6))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(wait_s, TOGETHER_S)):
                    await self._changed.wait()

    @property
    def _may_start(self) -> bool:
        playout = self._playout
        if not (playout.is_ready and playout.has_made) or playout.is_paused:
            self._ready_s = self._standing_s = None
            return False
        now_s = self._shell.clock.monotonic()
        self._ready_s = now_s if self._ready_s is None else self._ready_s
        parts = (self._program.pictures is not None) + self._program.sound
        is_complete = parts >= playout.kinds or now_s - self._ready_s >= WHOLE_WITHIN_S
        if not (is_complete and self._broadcast.is_publishing):
            self._standing_s = None
            return False
        self._standing_s = now_s if self._standing_s is None else self._standing_s
        return playout.is_live or self._program.pictures is None or now_s - self._standing_s >= STILL_S

    def _look_for_the_end(self, now_us: int) -> None:
        if not self._playout.is_over or not self._fed.empty():
            return
        if not self._is_flushed:
            self._is_flushed = True
            self._pipeline.flush()
        elif self._playout.has_played(now_us) and len(self._addresses) == 1:
            self._finish(PLAYED_OUT)

    async def _feed(self) -> None:
        while True:
            item = await self._fed.get()
            if isinstance(item, Cut):
                self._pipeline.flush()
                self._pipeline.cut()
            else:
                await self._pipeline.put_wait(item)
            if self._fed.empty() and (self._playout.is_over or not self._playout.is_started):
                self._changed.set()

    def _deliver(self, packets: list[RoomPacket], program: Program) -> None:
        pictures = program.pictures if "video" in self._carried else None  # those of the address before are over
        program = Program(pictures, program.sound and "audio" in self._carried)
        if program != self._program:
            self._program = program
            self._broadcast.change(program)
            if not self._playout.is_started:
                stills = [packet for packet in packets if packet.kind == "video" and packet.keyframe]
                self._broadcast.put([(packet, self._now_us()) for packet in stills[:1]])
        if self._playout.made(packets):
            self._changed.set()

    def _now_us(self) -> int:
        """The server's clock, which does not step here."""
        return self._wall_us + round(self._shell.clock.monotonic() * 1e6)

    # The room -------------------------------------------------------------------------------------------------------

    def _entered(self) -> None:
        if not self._has_entered:
            self._has_entered = True
            self._shell.report(Started(at_ms=self._shell.clock.now_ms()))

    def _room_is_over(self, reason: str) -> None:
        self._finish(LEAVE_CODES[reason])

    def _not_admitted(self, _reason: str, status: int) -> None:
        """Nobody waits for a room that said no; one that cannot be reached for a moment is tried again."""
        if 400 <= status < 500:
            self._finish(GIVE_UP_CODE)

    # What the operator sees, and what is asked ------------------------------------------------------------------------

    def _told(self, handling: Handling) -> None:
        self._telling.told(handling)
        if handling.how == "refused":
            self._finish(UNUSABLE)

    def _figures(self) -> Figures:
        has_video = self._program.pictures is not None
        now = self._gauge.look(figures.cpu_seconds(), self._playout.kinds, {}, has_video=has_video)
        streams = {kind: line for kind, line in self._telling.streams().items() if kind in self._carried}
        return msgspec.structs.replace(now, streams=streams)

    async def _note(self) -> None:
        while True:
            await asyncio.sleep(NOTE_EVERY_S)
            await self._save()

    async def _save(self) -> None:
        if (playing := self._playing) is None:
            return
        noted = Position(
            url_revision=playing.revision,
            rounds=playing.course.rounds,
            position_ms=max(0, self._timeline.position_us - self._playout.waiting_us) // 1000,
            began_ms=self._began_ms,
            has_run=playing.course.has_run_here,
        )
        await asyncio.to_thread(position.save, self._shell.directory, noted)

    async def _obey(self) -> None:
        while True:
            instruction = await self._shell.instructions.get()
            match instruction:
                case None:
                    self._finish(None)
                case Stop(leave_code=leave_code):
                    self._finish(leave_code)
                case Token(token=token):
                    self._broadcast.token = token
                case Update(params=params):
                    self._update(decode(bytes(params)))

    def _update(self, request: IngestRequest) -> None:
        before, self._request = self._request, request
        if request.volume != before.volume:
            self._pipeline.set_volume(request.volume)
        if request.url_revision != before.url_revision:
            self._begin(request, None)
        if request.is_pause != before.is_pause:
            self._pause(request.is_pause)

    def _pause(self, pauses: bool) -> None:
        """What is live goes on with what is live then; anything else where it was."""
        if pauses:
            self._playout.pause(self._now_us())
            self._resumed.clear()
            return
        if self._playout.is_paused and (playing := self._playing) is not None and playing.was_live:
            self._playout.restart()
            self._timeline.restart()
        self._playout.resume(self._now_us())
        self._resumed.set()
        self._changed.set()


@contextlib.asynccontextmanager
async def _opened(url: str, guard: Guard, from_us: int) -> AsyncIterator[Source]:
    source = await open_source(url, guard, from_us)
    try:
        yield source
    finally:
        await source.close()


def _cancel(address: _Address) -> None:
    if address.reading is not None and address.reading is not asyncio.current_task():
        address.reading.cancel()
