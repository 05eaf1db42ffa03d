"""The job of one push: takes the client's connection over, and publishes in the room what comes over it.

The connection was read up to ``publish`` by the process that listens; here the same machine is fed with the same bytes
and stands where that one stood (``handing``). It is accepted when the user is in the room: until then nothing else is
read, so nothing can pile up.

It ends when the client does, or has sent nothing for ``SILENCE`` seconds; when the user is sent away, or its room is
over; when nothing can be made of what comes; when it is told to, or its worker is gone. It always ends for good: the
connection is gone, so no other job could go on with it. The client is told why, where it is not its own doing.
"""

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from rtcloud.aio import receive, spawn
from rtcloud.ingest.clock import LiveClock
from rtcloud.ingest.flv import FlvReader
from rtcloud.ingest.handling import line
from rtcloud.ingest.media import Handling, Kind, RoomPacket, StreamForm
from rtcloud.ingest.pipeline import Pipeline, PipelineSettings
from rtcloud.ingest.push.admitting import DENIED, REJECTED
from rtcloud.ingest.push.handing import HandError, Received, claim
from rtcloud.ingest.push.reading import READ, read_until
from rtcloud.ingest.push.request import CLIENT_GONE, NOT_ADMITTED, SERVER_STOPPED, UNUSABLE, PushRequest, decode
from rtcloud.ingest.running import PipelineThread
from rtcloud.ingest.telling import Telling
from rtcloud.robots.broadcasting import Broadcast, Program
from rtcloud.robots.entering import LEAVE_CODES, Connect, native_connect
from rtcloud.rtmp.errors import RtmpError
from rtcloud.rtmp.serving import Connect as Connecting
from rtcloud.rtmp.serving import Ended as StreamEnded
from rtcloud.rtmp.serving import Event, Media, Publish, Server
from rtcloud.tasks import figures
from rtcloud.tasks.job import JobShell
from rtcloud.tasks.protocol import Ended, Figures, Left, Started, Stop

#: seconds without a byte from a client that publishes
SILENCE = 30.0
#: A stream that begins anew more often than this in ``CHANGES_WITHIN`` seconds is no stream: each time costs a decoder
#: and, in the room, a publication.
MOST_CHANGES = 16
CHANGES_WITHIN = 10.0
#: for what is said to it
SEND_WITHIN = 5.0
FAREWELL = 1.0
#: until the user is in the room
ENTER_WITHIN = 20.0

UNSUPPORTED = "NetStream.Publish.UnsupportedCodec"
_WORDS = {
    "PARTICIPANT_REMOVED": (DENIED, "the user was removed from the room"),
    "ROOM_DELETED": (DENIED, "the room was dismissed"),
    "DUPLICATE_IDENTITY": (REJECTED, "the same user has come from elsewhere"),
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _End:
    """``words`` empty: nobody is there to hear them."""

    leave_code: int
    code: str = ""
    words: str = ""


async def run(shell: JobShell, connect: Connect | None = None) -> int:
    order = shell.order
    end = _End(SERVER_STOPPED)
    if not order.finish and order.attempt == 0:
        request = decode(bytes(order.params))
        try:
            connection, received = await claim(Path(request.desk), request.ticket)
        except HandError as error:
            _log.warning("a push has no connection", extra={"reason": str(error)})
            end = _End(CLIENT_GONE)
        else:
            settings = PipelineSettings(b_frames=request.b_frames)
            with connection:
                push = Push(shell, connect or native_connect(auto_subscribe=False), request, settings, connection)
                end = await push.run(received)
    # Also when the worker is gone: who reads this in the journal need not start an attempt that can do nothing.
    shell.report(Left(at_ms=shell.clock.now_ms(), leave_code=end.leave_code))
    shell.report(Ended(at_ms=shell.clock.now_ms()))
    return 0


class Push:
    def __init__(
        self,
        shell: JobShell,
        connect: Connect,
        request: PushRequest,
        settings: PipelineSettings,
        connection: socket.socket,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._shell = shell
        self._connection = connection
        self._kinds = request.kinds
        self._ending: asyncio.Future[_End] = loop.create_future()
        self._entered = asyncio.Event()
        self._loop = loop
        self._telling = Telling(shell.report, shell.clock)
        self._pipeline = PipelineThread(Pipeline(settings, self._told), self._deliver)
        shell.is_healthy = self._pipeline.is_healthy
        self._reader = FlvReader()
        self._clock = LiveClock()
        self._began, self._began_us = shell.clock.monotonic(), shell.clock.now_ms() * 1000
        self._server: Server | None = None
        self._forms: dict[Kind, StreamForm] = {}
        self._changes: deque[float] = deque(maxlen=MOST_CHANGES)
        self._program = Program()
        self._gauge = figures.Gauge(shell.clock, figures.cpu_seconds())
        self._broadcast = Broadcast(
            request.token,
            connect,
            shell.order.signal_url,
            Program(),
            want_keyframe=self._pipeline.want_keyframe,
            over=self._room_is_over,
            entered=self._entered.set,
            refused=self._not_admitted,
        )

    async def run(self, received: Received) -> _End:
        aio_tasks = [
            spawn(self._obey(), name="push-instructions"),
            spawn(self._serve(received), name="push-connection"),
            spawn(figures.tell(self._shell.directory, self._figures), name="push-figures"),
        ]
        try:
            watched: list[asyncio.Future[Any]] = [*aio_tasks, asyncio.wrap_future(self._pipeline.done)]
            await asyncio.wait([self._ending, *watched], return_when=asyncio.FIRST_COMPLETED)
            if not self._ending.done():
                failed = next(one for one in watched if one.done())
                _log.error("push failed", exc_info=failed.exception())
                self._finish(_End(SERVER_STOPPED, REJECTED, "the server failed"))
        finally:
            for task in aio_tasks:
                task.cancel()
            await asyncio.gather(*aio_tasks, return_exceptions=True)
        end = self._ending.result()
        extra = {"leave_code": end.leave_code, "reason": end.words, "dropped": self._pipeline.dropped}
        _log.info("a push ends", extra=extra)
        await asyncio.gather(self._say_goodbye(end), self._broadcast.close())
        with contextlib.suppress(Exception):  # it was logged
            await self._pipeline.close()
        return end

    def _finish(self, end: _End) -> None:
        if not self._ending.done():
            self._ending.set_result(end)

    # The connection -------------------------------------------------------------------------------------------------

    async def _serve(self, received: Received) -> None:
        try:
            server = self._server = replay(received)
        except RtmpError as error:
            return self._finish(_End(CLIENT_GONE, words=str(error)))
        try:
            async with asyncio.timeout(ENTER_WITHIN):
                await self._entered.wait()
        except TimeoutError:
            return self._finish(_End(NOT_ADMITTED, REJECTED, "the room could not be entered in time"))
        self._shell.report(Started(at_ms=self._shell.clock.now_ms()))
        try:
            self._take(server.accept())
            await self._send(server)
            while not self._ending.done():  # what comes behind an end is not looked at
                await read_until(self._connection, partial(self._heard, server), SILENCE)
                await self._send(server)
        except RtmpError as error:
            self._finish(_End(CLIENT_GONE, "NetStream.Failed", f"not understood: {error}"))
        except TimeoutError:
            self._finish(_End(CLIENT_GONE, "NetStream.Failed", f"nothing was sent for {SILENCE:.0f} s"))
        except OSError:
            self._finish(_End(CLIENT_GONE))

    def _heard(self, server: Server, data: bytes) -> bool:
        """Whether something is to be said now, or it is over."""
        if data:
            self._take(server.receive(data))
        else:
            self._finish(_End(CLIENT_GONE))
        return server.has_output or self._ending.done()

    async def _send(self, server: Server) -> None:
        if out := server.take_output():
            async with asyncio.timeout(SEND_WITHIN):
                await self._loop.sock_sendall(self._connection, out)

    def _take(self, events: Sequence[Event]) -> None:
        for event in events:
            if self._ending.done():
                return
            match event:
                case Media():
                    self._take_media(event)
                case StreamEnded():
                    self._finish(_End(CLIENT_GONE))

    def _take_media(self, event: Media) -> None:
        for packet in self._reader.receive(event.kind, event.data, event.time_ms):
            if self._forms.get(packet.kind) is not packet.form:
                self._forms[packet.kind] = packet.form
                if self._changes_too_often():
                    return self._finish(_End(UNUSABLE, UNSUPPORTED, "the streams change all the time"))
                if packet.kind not in self._kinds:
                    why = "the privateMapKey does not allow to send it"
                    self._telling.told(Handling(packet.kind, "left_out", why, packet.form.codec))
            if packet.kind in self._kinds:
                self._pipeline.put(packet)

    def _changes_too_often(self) -> bool:
        now = self._shell.clock.monotonic()
        is_full = len(self._changes) == MOST_CHANGES
        too_often = is_full and now - self._changes[0] < CHANGES_WITHIN
        self._changes.append(now)
        return too_often

    async def _say_goodbye(self, end: _End) -> None:
        """The client reads why, if it still reads; then it has a moment to hang up."""
        with contextlib.suppress(OSError, TimeoutError, RtmpError):
            async with asyncio.timeout(FAREWELL):
                if (server := self._server) is not None and end.words:
                    if server.waits:
                        server.refuse(end.code, end.words)
                    else:
                        server.end(end.code, end.words)
                    await self._loop.sock_sendall(self._connection, server.take_output())
                    self._connection.shutdown(socket.SHUT_WR)
                # who took its stream back hangs up first: GStreamer calls it an error when we do
                while await receive(self._connection, READ):
                    pass

    # The room -------------------------------------------------------------------------------------------------------

    def _deliver(self, packets: list[RoomPacket], program: Program) -> None:
        if program != self._program:
            self._program = program
            self._broadcast.change(program)
        now_us = self._now_us()
        placed = [(packet, self._clock.place(packet.time_us, now_us)) for packet in packets]
        self._gauge.count(packets, max((now_us - at_us for _, at_us in placed), default=0))
        self._broadcast.put(placed)

    def _now_us(self) -> int:
        """The server's clock, without the steps that one may make."""
        return self._began_us + round((self._shell.clock.monotonic() - self._began) * 1e6)

    def _room_is_over(self, reason: str) -> None:
        code, words = _WORDS[reason]
        self._finish(_End(LEAVE_CODES[reason], code, words))

    def _not_admitted(self, reason: str, status: int) -> None:
        """Nobody waits for a room that said no; one that cannot be reached for a moment is tried again."""
        if 400 <= status < 500:
            self._finish(_End(NOT_ADMITTED, REJECTED, "the room does not admit the user (any more)"))

    # What the operator sees, and says ---------------------------------------------------------------------------------

    def _told(self, handling: Handling) -> None:
        self._telling.told(handling)
        if handling.how == "refused":
            self._finish(_End(UNUSABLE, UNSUPPORTED, _refusal(handling)))

    def _figures(self) -> Figures:
        has_video = self._program.pictures is not None
        now = self._gauge.look(figures.cpu_seconds(), len(self._forms), {}, has_video=has_video)
        return msgspec.structs.replace(now, streams=self._telling.streams())

    async def _obey(self) -> None:
        while True:
            instruction = await self._shell.instructions.get()
            if instruction is None:
                self._finish(_End(SERVER_STOPPED, REJECTED, "the server stops; come again"))
            elif isinstance(instruction, Stop):
                self._finish(_End(instruction.leave_code, REJECTED, "the push was stopped"))


def replay(received: Received) -> Server:
    """The machine as the process that listened left it, with everything sent that it had to say. Raises RtmpError."""
    server = Server(received.noise)
    events = server.receive(received.data)
    while events and isinstance(events[0], Connecting):
        events = server.accept()
    if not (events and isinstance(events[0], Publish)):
        raise RtmpError("nothing was published")
    server.take_output()
    return server


def _refusal(handling: Handling) -> str:
    words = f"{handling.kind}: {line(handling)}"
    if "B-frames" in handling.why:
        words += "; switch them off in the encoder (x264: profile baseline or tune zerolatency)"
    return words
