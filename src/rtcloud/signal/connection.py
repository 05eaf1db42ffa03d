"""One session with the socket it has at the moment, or none.

Outgoing messages queue up to a bound; a client that does not read is hung up on and may resume. What a session hears
without a socket is not kept: a resume tells it who is there now. What it could not see from that is kept: who is gone,
and which of its own tracks ended. A socket may be dead for long before that is noticed, and what its kernel still had
of the client's may come when the client is about to resume; so these are kept until the client was heard of twice, well
apart, after they were said. A resume may thus say them twice.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from livekit.protocol import rtc

from rtcloud.clock import Clock
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.participant import Participant
from rtcloud.signal import answers, messages
from rtcloud.signal.outputs import Command, Drive, Hangup, Post, Send
from rtcloud.signal.session import Session

_log = logging.getLogger(__name__)

OUTBOX_SIZE = 1024
#: People whose going a session without a socket missed; over it the first of them are forgotten.
MISSED_SIZE = 4096
#: Heard of twice, so far apart, and the client has what was said before the first time. It pings every 5 s.
APART_MS = 10_000


@dataclass(frozen=True, slots=True)
class _Gone:
    user_id: str
    said_ms: int
    missed: bool  # there was no socket


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
        self.heard_ms = clock.now_ms()
        self._rooms = rooms
        self._clock = clock
        self._encode = encode
        self._dismissed = dismissed
        self._proof_ms = self.heard_ms  # the last time that may be the first of two
        self._gone: dict[str, _Gone] = {}  # by session
        self._ended: dict[str, int] = {}  # by track: when that was said
        self._behind = False  # between a resume and what it tells

    def attach(self) -> asyncio.Queue[bytes | None]:
        """A new socket takes over; the earlier one is hung up."""
        if self.outbox is not None:
            self._put(self.outbox, None)
        self.outbox = asyncio.Queue(OUTBOX_SIZE)
        self.heard_ms = self._proof_ms = self._clock.now_ms()
        self._behind = self.session.joined
        return self.outbox

    def hear(self, now_ms: int) -> None:
        """Something came from the client."""
        self.heard_ms = now_ms
        if self._behind or now_ms < self._proof_ms + APART_MS:
            return
        before_ms, self._proof_ms = self._proof_ms, now_ms
        while self._gone and next(iter(self._gone.values())).said_ms < before_ms:
            del self._gone[next(iter(self._gone))]
        while self._ended and next(iter(self._ended.values())) < before_ms:
            del self._ended[next(iter(self._ended))]

    def deliver(self, notice: commands.Notice | media.AnyEvent) -> None:
        now_ms = self._clock.now_ms()
        self._keep(notice, now_ms)
        said = self.session.tell(notice, now_ms)
        if isinstance(notice, commands.Confirm):
            self.execute(said[:1])  # that it goes on
            self._catch_up(notice.others, now_ms)
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

    def _keep(self, notice: commands.Notice | media.AnyEvent, now_ms: int) -> None:
        match notice:
            case commands.ShowParticipants():
                for session, user_id in notice.gone:
                    self._gone.pop(session, None)  # in the order of time
                    self._gone[session] = _Gone(user_id, now_ms, missed=self.outbox is None)
                while len(self._gone) > MISSED_SIZE:
                    del self._gone[next(iter(self._gone))]
            case commands.DropTrack(track_id):
                self._ended[track_id] = now_ms
                while len(self._ended) > MISSED_SIZE:
                    del self._ended[next(iter(self._ended))]
            case _:
                return

    def _catch_up(self, others: tuple[Participant, ...], now_ms: int) -> None:
        if self.outbox is None:
            return
        present = {other.participant_id for other in others}
        users = {other.user_id for other in others}
        # who may be known in its new session already must not go: clients know people by user
        gone = [
            messages.gone(session, one.user_id)
            for session, one in self._gone.items()
            if session not in present and (one.missed or one.user_id not in users)
        ]
        if gone:
            self._send(rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=gone)))
        for track_id in self._ended:
            self._send(rtc.SignalResponse(track_unpublished=rtc.TrackUnpublishedResponse(track_sid=track_id)))
        self._gone = {session: replace(one, said_ms=now_ms, missed=False) for session, one in self._gone.items()}
        self._ended = dict.fromkeys(self._ended, now_ms)
        self._behind = False

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
