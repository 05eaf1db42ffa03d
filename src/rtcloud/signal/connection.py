"""One session with the socket it has at the moment, or none.

Outgoing messages queue up to a bound; a client that does not read is hung up on and may resume. What a session hears
without a socket is not kept: a resume tells it who is there now. What it could not see from that is kept: who is gone,
and which of its own tracks ended.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Protocol

from livekit.protocol import models, rtc

from rtcloud.clock import Clock
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.signal import answers
from rtcloud.signal.outputs import Command, Drive, Hangup, Post, Send
from rtcloud.signal.session import Session

_log = logging.getLogger(__name__)

OUTBOX_SIZE = 1024
#: People whose going a session without a socket missed; over it the first of them are forgotten.
MISSED_SIZE = 4096


class Rooms(Protocol):
    def post(self, participant_id: str, fact: facts.Fact) -> bool: ...

    def drive(self, command: media.AnyCommand) -> bool: ...


class Connection:
    """``encode`` gives a message's bytes; ``dismissed`` is told when the session is over."""

    def __init__(
        self,
        session: Session,
        rooms: Rooms,
        clock: Clock,
        encode: Callable[[rtc.SignalResponse], bytes],
        dismissed: Callable[["Connection"], None],
    ) -> None:
        self.session = session
        self.outbox: asyncio.Queue[bytes | None] | None = None
        self._rooms = rooms
        self._clock = clock
        self._encode = encode
        self._dismissed = dismissed
        self._gone: dict[str, models.ParticipantInfo] = {}
        self._ended: list[rtc.SignalResponse] = []

    def attach(self) -> asyncio.Queue[bytes | None]:
        """A new socket takes over; the earlier one is hung up."""
        if self.outbox is not None:
            self._put(self.outbox, None)
        self.outbox = asyncio.Queue(OUTBOX_SIZE)
        return self.outbox

    def deliver(self, notice: commands.Notice | media.AnyEvent) -> None:
        said = self.session.tell(notice, self._clock.now_ms())
        if isinstance(notice, commands.Confirm):
            self.execute(said[:1])  # that it goes on
            self._catch_up({other.participant_id for other in notice.others})
            said = said[1:]
        self.execute(said)
        if isinstance(notice, commands.Dismiss):
            self._dismissed(self)

    def execute(self, said: Iterable[Command]) -> None:
        for command in said:
            match command:
                case Send(response):
                    self._send(response)
                case Post(fact):
                    if not self._rooms.post(self.session.participant_id, fact):
                        self._hangup()
                case Drive(order):
                    if not self._rooms.drive(order):
                        self._send(answers.leave("overload"))
                        self._hangup()
                case Hangup(reason):
                    _log.info("session hung up", extra={"session": self.session.participant_id, "why": reason})
                    self._hangup()

    def _send(self, response: rtc.SignalResponse) -> None:
        if self.outbox is not None:
            self._put(self.outbox, self._encode(response))
        elif response.HasField("track_unpublished"):
            self._ended.append(response)
        elif response.HasField("update"):
            for info in response.update.participants:
                if info.state == models.ParticipantInfo.State.DISCONNECTED:
                    self._gone[info.sid] = info
            while len(self._gone) > MISSED_SIZE:
                del self._gone[next(iter(self._gone))]

    def _catch_up(self, present: set[str]) -> None:
        if self.outbox is None:
            return
        gone = [info for session, info in self._gone.items() if session not in present]
        missed = [rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=gone))] if gone else []
        missed += self._ended
        self._gone, self._ended = {}, []
        self.execute(Send(response) for response in missed)

    def _hangup(self) -> None:
        if self.outbox is not None:
            self._put(self.outbox, None)
            self.outbox = None

    def _put(self, outbox: asyncio.Queue[bytes | None], message: bytes | None) -> None:
        try:
            outbox.put_nowait(message)
        except asyncio.QueueFull:
            outbox.get_nowait()
            outbox.put_nowait(None)
            self.outbox = None
