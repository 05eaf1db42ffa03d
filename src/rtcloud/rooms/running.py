"""One open room as it runs: an aio task feeds its state machine and carries out what it says.

A batch of facts is handled at once: commands go to the media node, records are committed in one transaction with
their callbacks, then the notices are delivered. SDP answers and other media events take the same queue, so a client
always hears of a track before the SDP that carries it.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection

from rtcloud import errors
from rtcloud.callbacks import outbox
from rtcloud.clock import Clock
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts, store
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.measuring import Period
from rtcloud.rooms.room import Room
from rtcloud.rooms.scenes import Limits, rules_of
from rtcloud.store.bus import Bus
from rtcloud.store.database import Database

_log = logging.getLogger(__name__)

#: Waiting facts of one room. A session that finds it full is dropped (it may come back).
INBOX_SIZE = 8192
#: How long commands may find the media node's queue full before the room is given up.
MEDIA_PATIENCE_S = 2.0
RECOVER_EVERY_S = 1.0
#: Of the bus: a room in which somebody may have begun to send, by its sid.
SENDING_TOPIC = "sending"

ToSession = commands.Notice | media.AnyEvent
#: Where the notices of a session go; must not block.
Deliver = Callable[[ToSession], None]


class Observer(Protocol):
    """Told of everything, as it happens; must neither block nor fail."""

    def handled(self, room: Room, fact: facts.Fact, ordered: Sequence[commands.Command], now_ms: int) -> None: ...

    def told(self, room: Room, event: media.AnyEvent, now_ms: int) -> None: ...

    def measured(self, room: Room, period: Period, now_ms: int) -> None: ...

    def ended(self, room: Room) -> None: ...


@dataclass(frozen=True, slots=True)
class Pass:
    """A media event for one session, or for all of the room."""

    participant_id: str | None
    event: media.AnyEvent


@dataclass(slots=True)
class Ground:
    """What all rooms of a node stand on."""

    database: Database
    node: media.MediaNode
    bus: Bus
    clock: Clock
    limits: Limits
    observer: Observer | None = None
    #: by participant id: the room it is in or enters, and where it hears
    sessions: dict[str, tuple["LiveRoom", Deliver]] = field(default_factory=dict)
    healthy: bool = True

    def restored(self, found: store.OpenRoom) -> Room:
        room = Room(found.sid, found.created_ms, rules_of(found.scene, self.limits))
        room.restore(found.participants, self.clock.now_ms(), blocked=found.blocked, metadata=found.metadata)
        return room


class LiveRoom:
    def __init__(self, ground: Ground, ref: RoomRef, scene: str, room: Room) -> None:
        self.ref = ref
        self.scene = scene
        self.room = room
        self._ground = ground
        self._inbox: asyncio.Queue[tuple[facts.Fact | Pass, asyncio.Future[bool] | None]] = asyncio.Queue(INBOX_SIZE)
        self._timer: asyncio.TimerHandle | None = None

    def post(self, fact: facts.Fact | Pass, done: asyncio.Future[bool] | None = None) -> bool:
        """False when too much waits already. ``done`` hears whether the room was still there for the fact."""
        try:
            self._inbox.put_nowait((fact, done))
        except asyncio.QueueFull:
            return False
        return True

    async def run(self) -> None:
        """Until the room is destroyed."""
        while True:
            batch = [await self._inbox.get()]
            while not self._inbox.empty():
                batch.append(self._inbox.get_nowait())
            await self._carry_out(batch)
            if self.room.destroyed:
                break
            self._arm()

    def close(self) -> None:
        """After the end: who still waits hears that it is gone."""
        if self._timer is not None:
            self._timer.cancel()
        while not self._inbox.empty():
            _, done = self._inbox.get_nowait()
            if done is not None and not done.done():
                done.set_result(False)
        for participant_id in [p for p, (live, _) in self._ground.sessions.items() if live is self]:
            del self._ground.sessions[participant_id]

    async def _carry_out(self, batch: list[tuple[facts.Fact | Pass, asyncio.Future[bool] | None]]) -> None:
        now_ms = self._ground.clock.now_ms()
        before = tuple(self.room.sessions)
        drives: list[media.AnyCommand] = []
        notices: list[tuple[str, ToSession]] = []
        records: list[commands.Record] = []
        answers: list[tuple[asyncio.Future[bool], bool]] = []
        try:
            for fact, done in batch:
                if done is not None:
                    answers.append((done, not self.room.destroyed))
                if isinstance(fact, Pass):  # for those who are there now: nobody hears anything before the welcome
                    targets = self.room.sessions if fact.participant_id is None else (fact.participant_id,)
                    notices.extend((target, fact.event) for target in targets)
                    continue
                ordered = self.room.handle(fact, now_ms)
                if self._ground.observer is not None:
                    self._ground.observer.handled(self.room, fact, ordered, now_ms)
                for command in ordered:
                    match command:
                        case commands.Drive(order):
                            drives.append(order)
                        case commands.Notify(participant_id, notice):
                            notices.append((participant_id, notice))
                        case _:
                            records.append(command)
            await self._send(drives)
            if records:
                await self._record(records, now_ms)
        except Exception as error:
            _log.exception("room could not carry out its commands", extra={"room": self.room.sid})
            self._ground.healthy = False
            for _, waiting in batch:
                if waiting is not None and not waiting.done():
                    waiting.set_exception(errors.internal(type(error).__name__))
            await self._recover({*before, *self.room.sessions})
            return
        self._ground.healthy = True
        if any(isinstance(fact, facts.MediaStarted | facts.TrackMuted) for fact, _ in batch):
            self._ground.bus.publish(SENDING_TOPIC, self.room.sid)
        self._deliver(notices)
        for done, accepted in answers:
            if not done.done():
                done.set_result(accepted)

    async def _recover(self, sessions: set[str]) -> None:
        """What was decided could not be written: start again from what is written, as after a restart."""
        self._deliver([(participant_id, commands.Dismiss("failed")) for participant_id in sessions])
        with contextlib.suppress(media.QueueFullError):
            self._ground.node.send(media.CloseRoom(room=self.room.sid))
        sid, created_ms = self.room.sid, self.room.created_ms
        while True:
            try:
                opened = await self._ground.database.read(store.load_open)
                break
            except Exception:
                _log.exception("room cannot be read back", extra={"room": sid})
                await asyncio.sleep(RECOVER_EVERY_S)
        found = next((one for one in opened if one.sid == sid), None)
        if found is None:
            self.room = Room(sid, created_ms)
            self.room.give_up()
            self._ground.healthy = True  # nothing of it is left to fail again
        else:
            self.room = self._ground.restored(found)
            self.post(facts.TimePassed())

    async def _send(self, drives: list[media.AnyCommand]) -> None:
        deadline = self._ground.clock.monotonic() + MEDIA_PATIENCE_S
        while drives:
            try:
                return self._ground.node.send(*drives)
            except media.QueueFullError:
                if self._ground.clock.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.01)

    async def _record(self, records: list[commands.Record], now_ms: int) -> None:
        ref, sid, scene = self.ref, self.room.sid, self.scene

        def work(connection: Connection) -> None:
            for record in records:
                store.apply(connection, ref, sid, scene, record, now_ms)

        await self._ground.database.write(work)
        self._ground.bus.publish(outbox.TOPIC)

    def _deliver(self, notices: list[tuple[str, ToSession]]) -> None:
        for participant_id, notice in notices:
            found = self._ground.sessions.get(participant_id)
            if found is None or found[0] is not self:
                continue
            if isinstance(notice, commands.Dismiss):
                del self._ground.sessions[participant_id]
            try:
                found[1](notice)
            except Exception:  # one session that cannot be told anything does not end the room
                _log.exception("a session could not be told", extra={"session": participant_id})
                self.post(facts.LeftRoom(participant_id))

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.room.deadline()
        if deadline is not None:
            delay = max(0.0, (deadline - self._ground.clock.now_ms()) / 1000)
            self._timer = asyncio.get_running_loop().call_later(delay, self.post, facts.TimePassed())
