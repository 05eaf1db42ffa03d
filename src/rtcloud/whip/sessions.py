"""The shell of sessions: which are open, and how what they want is done in rooms and the media node.

Every wait is bounded, and so is the number of sessions, of those of one user, and of requests for one of them; what is
over a bound is refused with a ``Problem``. A session's secret is its address and needs no other credential.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol

from rtcloud.accounts.tokens import JoinGrant
from rtcloud.clock import Clock
from rtcloud.errors import ServiceError
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Device
from rtcloud.rooms.running import Deliver
from rtcloud.signal.admission import Admission
from rtcloud.signal.outputs import Drive, Post
from rtcloud.whip import admitting, sdp
from rtcloud.whip.outputs import Command, End, Reply, StartTimer, StopTimer
from rtcloud.whip.problems import Problem, unavailable
from rtcloud.whip.session import Session, Way

_log = logging.getLogger(__name__)

MAX_SESSIONS = 10_000
#: Of one user, in all rooms of an application.
MAX_PER_USER = 16
#: Requests that wait for a room or the media node at a time.
MAX_WAITING = 256
ANSWER_SECONDS = 5.0
#: Of one session's requests: so many at once, and so many a second.
BURST, RATE = 20.0, 5.0
#: What could not be said to a room that is overloaded is said again after so many seconds.
AGAIN_S = 1.0


class Rooms(Protocol):
    """What is asked of ``rooms.service``."""

    async def enter(self, ref: RoomRef, scene: str, fact: facts.Entered, deliver: Deliver) -> str: ...
    def post(self, participant_id: str, fact: facts.Fact) -> bool: ...
    def drive(self, command: media.AnyCommand) -> bool: ...


@dataclass(slots=True)
class Live:
    """A session and what the shell keeps of it. ``reply`` is for the request that waits, one at a time."""

    session: Session
    ref: RoomRef
    user_id: str
    secret: str
    etag: str
    reply: asyncio.Future[str | Problem] | None = None
    timer: asyncio.TimerHandle | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    allowance: float = BURST
    asked: float = 0.0
    began_ms: int = 0

    def may_ask(self, now: float) -> bool:
        self.allowance = min(BURST, self.allowance + (now - self.asked) * RATE)
        self.asked = now
        if self.allowance < 1.0:
            return False
        self.allowance -= 1.0
        return True


@dataclass(frozen=True, slots=True)
class Publisher:
    """A session that publishes, as the operator sees it."""

    ref: RoomRef
    user_id: str
    since_ms: int
    is_connected: bool
    kinds: frozenset[str]  # audio, video


class Sessions:
    """``new_id(prefix)`` makes ids."""

    def __init__(self, rooms: Rooms, clock: Clock, new_id: Callable[[str], str]) -> None:
        self._rooms = rooms
        self._clock = clock
        self._new_id = new_id
        self._live: dict[str, Live] = {}  # by secret
        self._waiting = 0

    def count(self, way: Way) -> int:
        return sum(live.session.way == way for live in self._live.values())

    def publishers(self) -> list[Publisher]:
        """The oldest first."""
        return [
            Publisher(
                live.ref,
                live.user_id,
                live.began_ms,
                live.session.is_connected,
                frozenset(section.kind for section in live.session.offer.sent),
            )
            for live in self._live.values()
            if live.session.way == "publish"
        ]

    def is_pushed(self, ref: RoomRef) -> bool:
        return any(live.ref == ref and live.session.way == "publish" for live in self._live.values())

    def find(self, secret: str) -> Live:
        """For a request, which counts."""
        live = self._live.get(secret)
        if live is None:
            raise Problem(HTTPStatus.NOT_FOUND, "there is no such session, or it has ended")
        if not live.may_ask(self._clock.monotonic()):
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too many requests", headers={"Retry-After": "1"})
        return live

    def check_room(self, grant: JoinGrant) -> None:
        """Before a body is read: whether there is place for one more session of that user."""
        if len(self._live) >= MAX_SESSIONS or self._waiting >= MAX_WAITING:
            raise unavailable("there are too many sessions")
        app_id = grant.room.sdk_app_id
        same = sum(live.user_id == grant.user_id and live.ref.sdk_app_id == app_id for live in self._live.values())
        if same >= MAX_PER_USER:
            retry = {"Retry-After": "5"}
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "the user has too many sessions", headers=retry)

    async def open(
        self, way: Way, grant: JoinGrant, offer: sdp.Offer, device: Device, *, codec: str = "", only: str = ""
    ) -> tuple[Live, str]:
        """The session and the answer, once the user is in the room for good."""
        self.check_room(grant)  # again: others came while the body did
        session = Session(self._new_id("PA"), way, offer, self._new_id, codec=codec, only=only)
        live = Live(session, grant.room, grant.user_id, secrets.token_urlsafe(24), _new_etag())
        live.began_ms = self._clock.now_ms()
        self._live[live.secret] = live
        try:
            return live, await self._asked(live, self._enter(live, grant, _entered(session, grant, device)))
        except BaseException:
            if not session.is_over:
                self._execute(live, session.leave())
            self._forget(live)
            raise

    async def change(self, live: Live, if_match: str, fragment: sdp.Fragment) -> str | None:
        """New candidates; and, with new credentials, the other side's after an ICE restart, as a fragment. Requests
        may overlap: they are taken in turn (RFC 9725, 4.3.1)."""
        async with live.turn:
            if not admitting.matches(if_match, live.etag):
                raise Problem(HTTPStatus.PRECONDITION_FAILED, "the ICE session is another one meanwhile")
            if fragment.credentials is None or fragment.credentials == live.session.offer.credentials:
                self._execute(live, live.session.trickle(fragment.candidates))
                return None
            answer = await self._asked(live, self._restart(live, fragment.credentials))
            live.etag = _new_etag()
            self._execute(live, live.session.trickle(fragment.candidates))
            return sdp.fragment_of(answer)

    def end(self, live: Live) -> None:
        if not self._execute(live, live.session.leave()):
            raise unavailable("the room is overloaded")
        self._forget(live)

    async def _enter(self, live: Live, grant: JoinGrant, fact: facts.Entered) -> None:
        def deliver(notice: commands.Notice | media.AnyEvent) -> None:
            self._execute(live, live.session.tell(notice))

        try:
            await self._rooms.enter(grant.room, grant.scene, fact, deliver)
        except ServiceError as error:
            raise unavailable("the room is overloaded") from error

    async def _restart(self, live: Live, credentials: sdp.Credentials) -> None:
        self._execute(live, live.session.restart(credentials))

    async def _asked(self, live: Live, asking: Awaitable[None]) -> str:
        """What ``Reply`` says to it."""
        live.reply = asyncio.get_running_loop().create_future()
        self._waiting += 1
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await asking
                outcome = await live.reply
        except TimeoutError as error:
            raise unavailable(f"there was no answer within {ANSWER_SECONDS:g} s") from error
        finally:
            self._waiting -= 1
            live.reply = None
        if isinstance(outcome, Problem):
            raise outcome
        return outcome

    def _execute(self, live: Live, said: Iterable[Command]) -> bool:
        """False when something could not be done now."""
        done = True
        for command in said:
            match command:
                case Post(fact):
                    done &= self._rooms.post(live.session.participant_id, fact)
                case Drive(order):
                    if not self._rooms.drive(order):
                        done = False
                        self._reply(live, unavailable("the media node is overloaded"))
                case Reply(outcome):
                    self._reply(live, outcome)
                case StartTimer(seconds):
                    self._start_timer(live, seconds)
                case StopTimer():
                    self._stop_timer(live)
                case End(reason):
                    _log.info("session ended", extra={"session": live.session.participant_id, "why": reason})
                    self._forget(live)
        return done

    def _reply(self, live: Live, outcome: str | Problem) -> None:
        if live.reply is not None and not live.reply.done():
            live.reply.set_result(outcome)

    def _start_timer(self, live: Live, seconds: float) -> None:
        self._stop_timer(live)
        live.timer = asyncio.get_running_loop().call_later(seconds, self._expire, live)

    def _expire(self, live: Live) -> None:
        if not self._execute(live, live.session.expire()):
            self._start_timer(live, AGAIN_S)

    def _stop_timer(self, live: Live) -> None:
        if live.timer is not None:
            live.timer.cancel()
            live.timer = None

    def _forget(self, live: Live) -> None:
        self._stop_timer(live)
        self._live.pop(live.secret, None)


def _entered(session: Session, grant: JoinGrant, device: Device) -> facts.Entered:
    admission = Admission(grant, lambda _: ())
    return facts.Entered(
        participant_id=session.participant_id,
        user_id=grant.user_id,
        role=admission.role,
        device=device,
        single=True,
        auto_subscribe=session.plays_all,
        permission=admission.permission(),
        may_create=grant.can_create,
        fixed=session.way == "play",
    )


def _new_etag() -> str:
    return f'"{secrets.token_urlsafe(9)}"'
