"""A robot that publishes in a room what a job makes: pictures and sound, already encoded.

Each packet comes with the moment it stands for, so pictures and sound stay in step. A room that cannot be entered, or
a connection that is lost, is tried again with growing pauses; a robot that was sent away, or whose room is gone, is
over for good. What is published may change (another codec, another size, sound that comes later): ``change``.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from rtcloud.aio import spawn
from rtcloud.client.joining import ConnectError
from rtcloud.client.room import PublishError
from rtcloud.client.types import ClientRoom, Disconnected, KeyframeRequested, Publication
from rtcloud.robots.entering import CONNECT_WITHIN, LEAVE_CODES, PAUSES, STEADY, Connect, leave

_log = logging.getLogger(__name__)

#: publishing fails a moment before a room that is over says why it is
SETTLE = 0.5


class Packet(Protocol):
    """An H.264 access unit in Annex B, a VP8 frame, an Opus packet."""

    @property
    def codec(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def keyframe(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Pictures:
    codec: Literal["h264", "vp8"]
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Program:
    """What the robot publishes."""

    pictures: Pictures | None = None
    sound: bool = False


class Broadcast:
    """One robot in one room. ``over`` is called with the reason when it may not come back; ``want_keyframe`` whenever
    somebody needs one; ``entered`` each time it is in the room; ``refused`` with why it could not come in, or was cut
    off, before each new try."""

    def __init__(
        self,
        token: str,
        connect: Connect,
        signal_url: str,
        program: Program,
        *,
        want_keyframe: Callable[[], None],
        over: Callable[[str], None],
        entered: Callable[[], None] = lambda: None,
        refused: Callable[[str, int], None] = lambda _reason, _status: None,
    ) -> None:
        self.token = token  # replaced by a newer one
        self._connect = connect
        self._url = signal_url
        self._program = program
        self._want_keyframe = want_keyframe
        self._over = over
        self._entered = entered
        self._refused = refused
        self._room: ClientRoom | None = None
        self._video: Publication | None = None
        self._codec: str = ""  # of what is published as video now
        self._audio: Publication | None = None
        self._is_waiting = True  # for a keyframe
        self._missed: tuple[Packet, int] | None = None  # the last keyframe that came while nothing was published
        self._published = Program()
        self._changed = asyncio.Event()
        self._task = spawn(self._run(), name="broadcast")

    @property
    def is_connected(self) -> bool:
        return self._room is not None

    @property
    def is_publishing(self) -> bool:
        """The room takes what is put now."""
        return self._room is not None and self._published == self._program

    def change(self, program: Program) -> None:
        """What is not in it any more is taken back, what is new is published; the rest goes on."""
        if program != self._program:
            if program.pictures != self._program.pictures:
                self._missed = None
            self._program = program
            self._changed.set()

    def put(self, packets: Sequence[tuple[Packet, int]]) -> None:
        """Each with its moment on the server's clock, in microseconds. Never waits; what does not go out is dropped."""
        for packet, at_us in packets:
            if packet.codec == "opus":
                if self._audio is not None:
                    self._audio.write(packet.data, at_us)
            elif self._video is not None and packet.codec == self._codec:
                if self._is_waiting and not packet.keyframe:
                    continue
                self._is_waiting = not self._video.write(packet.data, at_us)
                if self._is_waiting:
                    self._want_keyframe()
            elif self._video is None and packet.keyframe:
                self._missed = packet, at_us

    async def close(self) -> None:
        """Leaves the room."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        room, self._room = self._room, None
        if room is not None:
            await leave(room)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            began, status = loop.time(), 0
            try:
                reason = await self._attend()
            except (ConnectError, PublishError, OSError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
                status = error.status if isinstance(error, ConnectError) else 0
            room, self._room = self._room, None
            self._video = self._audio = None
            if reason in LEAVE_CODES:
                self._over(reason)
                return
            if room is not None:
                await leave(room)
            if loop.time() - began >= STEADY:
                failures = 0
            _log.log(
                logging.INFO if failures else logging.WARNING,
                "a robot cannot publish",
                extra={"reason": reason, "failures": failures},
            )
            self._refused(reason, status)
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1

    async def _attend(self) -> str:
        """Until the room is over; why it is."""
        async with asyncio.timeout(CONNECT_WITHIN):
            self._room = room = await self._connect(self._url, self.token)
        self._entered()
        listening = spawn(self._listen(room), name="broadcast-events")
        publishing = spawn(self._keep_published(room), name="broadcast-publish")
        receiving = spawn(_ignore(room), name="broadcast-frames")
        try:
            await asyncio.wait({listening, publishing}, return_when=asyncio.FIRST_COMPLETED)
            if publishing.done():
                await asyncio.wait({listening}, timeout=SETTLE)  # a room that is over says why
                if not listening.done():
                    publishing.result()
            return await listening
        finally:
            for task in (listening, publishing, receiving):
                task.cancel()
            await asyncio.gather(listening, publishing, receiving, return_exceptions=True)

    async def _listen(self, room: ClientRoom) -> str:
        """Until the room is over; why it is."""
        while events := await room.events():
            for event in events:
                if isinstance(event, KeyframeRequested):
                    self._want_keyframe()
                elif isinstance(event, Disconnected):
                    return event.reason
        return "UNKNOWN_REASON"

    async def _keep_published(self, room: ClientRoom) -> None:
        """Does not return, but raises when something cannot be published."""
        published = self._published = Program()
        while True:
            self._changed.clear()
            wanted = self._program
            if wanted.sound != published.sound:
                await self._publish_sound(room, wanted.sound)
            if wanted.pictures != published.pictures:
                await self._publish_pictures(room, wanted.pictures)
            published = self._published = wanted
            await self._changed.wait()

    async def _publish_sound(self, room: ClientRoom, sound: bool) -> None:
        before, self._audio = self._audio, None
        if before is not None:
            await before.unpublish()
        if sound:
            self._audio = await room.publish_audio()

    async def _publish_pictures(self, room: ClientRoom, pictures: Pictures | None) -> None:
        before, self._video, self._is_waiting = self._video, None, True
        if before is not None:
            await before.unpublish()
        if pictures is None:
            return
        video = await room.publish_video(width=pictures.width, height=pictures.height, codec=pictures.codec)
        self._codec, self._video = pictures.codec, video
        missed, self._missed = self._missed, None
        if missed is not None and missed[0].codec == pictures.codec:
            # A still, and for the room the sign that there is media: it is at the receivers before the next keyframe,
            # which may be seconds away and cannot be asked for where pictures are copied.
            video.write(missed[0].data, missed[1])
        self._want_keyframe()


async def _ignore(room: ClientRoom) -> None:
    while await room.frames():
        pass
