"""Feeding back: a robot of the relay in a room, which publishes what the relay makes.

It joins with a token of its own and publishes H.264 and Opus, each packet with the moment it stands for, so pictures
and sound stay in step. A room that cannot be entered, or a connection that is lost, is tried again with growing pauses;
a robot that was sent away, or whose room is gone, is over for good, and with it (as documented) the relay.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rtcloud.aio import spawn
from rtcloud.client.joining import ConnectError
from rtcloud.client.room import PublishError
from rtcloud.client.types import ClientRoom, Disconnected, KeyframeRequested, Publication
from rtcloud.egress.publishing.attending import PAUSES, STEADY
from rtcloud.egress.robot import CONNECT_WITHIN, LEAVE_CODES, Connect, leave
from rtcloud.mixer.encoding import EncodedPacket
from rtcloud.tasks.protocol import Pass

_log = logging.getLogger(__name__)

#: publishing fails a moment before a room that is over says why it is
SETTLE = 0.5


@dataclass(frozen=True, slots=True)
class FeedbackForm:
    width: int
    height: int
    video: bool
    audio: bool


class Feedback:
    """One robot in one room. ``over`` is called with the reason when it may not come back."""

    def __init__(
        self,
        entry: Pass,
        connect: Connect,
        signal_url: str,
        form: FeedbackForm,
        *,
        want_keyframe: Callable[[], None],
        over: Callable[[str], None],
    ) -> None:
        self.entry = entry  # replaced by one with a newer token
        self._connect = connect
        self._url = signal_url
        self._form = form
        self._want_keyframe = want_keyframe
        self._over = over
        self._room: ClientRoom | None = None
        self._video: Publication | None = None
        self._audio: Publication | None = None
        self._is_waiting = True  # for a keyframe
        self._task = spawn(self._run(), name="relay-feedback")

    @property
    def is_connected(self) -> bool:
        return self._room is not None

    def put(self, packets: Sequence[tuple[EncodedPacket, int]]) -> None:
        """Each with its moment on the server's clock, in microseconds. Never waits; what does not go out is dropped."""
        for packet, at_us in packets:
            if packet.codec == "opus" and self._audio is not None:
                self._audio.write(packet.data, at_us)
            elif packet.codec == "h264" and self._video is not None:
                if self._is_waiting and not packet.keyframe:
                    continue
                self._is_waiting = not self._video.write(packet.data, at_us)
                if self._is_waiting:
                    self._want_keyframe()

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
            began = loop.time()
            try:
                reason = await self._feed()
            except (ConnectError, PublishError, OSError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
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
                "a relay cannot feed back",
                extra={"reason": reason, "failures": failures},
            )
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1

    async def _feed(self) -> str:
        """Until the room is over; why it is."""
        self._room = room = await asyncio.wait_for(self._connect(self._url, self.entry.token), CONNECT_WITHIN)
        listening = spawn(self._listen(room), name="relay-feedback-events")
        publishing = spawn(self._publish(room), name="relay-feedback-publish")
        receiving = spawn(_ignore(room), name="relay-feedback-frames")
        try:
            await asyncio.wait({listening, publishing}, return_when=asyncio.FIRST_COMPLETED)
            if publishing.done() and publishing.exception() is not None:
                await asyncio.wait({listening}, timeout=SETTLE)  # a room that is over says why
            if publishing.done() and not listening.done():
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

    async def _publish(self, room: ClientRoom) -> None:
        if self._form.audio:
            self._audio = await room.publish_audio()
        if self._form.video:
            self._is_waiting = True
            self._video = await room.publish_video(width=self._form.width, height=self._form.height)
            self._want_keyframe()


async def _ignore(room: ClientRoom) -> None:
    while await room.frames():
        pass
