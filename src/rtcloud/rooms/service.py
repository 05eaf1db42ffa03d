"""The shell of all rooms of this node: one aio task per room feeds its state machine and carries out what it says.

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
from rtcloud.aio import spawn
from rtcloud.callbacks import outbox
from rtcloud.clock import Clock
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts, store
from rtcloud.rooms.commands import LeaveCause
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Kind, Role
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

ToSession = commands.Notice | media.AnyEvent
#: Where the notices of a session go; must not block.
Deliver = Callable[[ToSession], None]


class Observer(Protocol):
    """Told of everything, as it happens; must neither block nor fail."""

    def handled(self, room: Room, fact: facts.Fact, ordered: Sequence[commands.Command], now_ms: int) -> None: ...

    def told(self, room: Room, event: media.AnyEvent, now_ms: int) -> None: ...


@dataclass(frozen=True, slots=True)
class _Pass:
    """A media event for one session, or for all of the room."""

    participant_id: str | None
    event: media.AnyEvent


@dataclass(slots=True)
class _LiveRoom:
    ref: RoomRef
    scene: str
    room: Room
    inbox: asyncio.Queue[tuple[facts.Fact | _Pass, asyncio.Future[bool] | None]] = field(
        default_factory=lambda: asyncio.Queue(INBOX_SIZE)
    )
    timer: asyncio.TimerHandle | None = None

    def post(self, fact: facts.Fact | _Pass, done: asyncio.Future[bool] | None = None) -> bool:
        try:
            self.inbox.put_nowait((fact, done))
        except asyncio.QueueFull:
            return False
        return True


class RoomService:
    """``new_id(prefix)`` makes ids; ``rooms`` live as long as someone is in them."""

    def __init__(
        self,
        database: Database,
        node: media.MediaNode,
        bus: Bus,
        clock: Clock,
        new_id: Callable[[str], str],
        *,
        limits: Limits | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._database = database
        self._bus = bus
        self._node = node
        self._clock = clock
        self._new_id = new_id
        self._limits = limits or Limits()
        self._observer = observer
        self._rooms: dict[RoomRef, _LiveRoom] = {}
        self._by_sid: dict[str, _LiveRoom] = {}
        self._sessions: dict[str, tuple[_LiveRoom, Deliver]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.healthy = True

    async def start(self) -> asyncio.Task[None]:
        """Take up the rooms that were open when the server stopped, and listen to the media node: the task given."""
        for found in await self._database.read(store.load_open):
            room = self._restored(found)
            live = self._open(found.ref, found.scene, room)
            live.post(facts.TimePassed())
        listening = spawn(self._listen(), name="media events")
        self._track(listening)
        return listening

    async def close(self) -> None:
        """Tell every session that the server goes away. Rooms and presences stay open for the next start."""
        for _, deliver in tuple(self._sessions.values()):
            deliver(commands.Dismiss("shutdown"))
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def is_open(self, ref: RoomRef) -> bool:
        live = self._rooms.get(ref)
        return live is not None and not live.room.destroyed

    # sessions -----------------------------------------------------------------------------------------------------

    async def enter(self, ref: RoomRef, scene: str, fact: facts.Entered, deliver: Deliver) -> str:
        """Returns the room's sid once the presence is durable; ``Welcome`` has been delivered by then."""
        while True:
            live = self._rooms.get(ref)
            if live is None or live.room.destroyed:
                rules = rules_of(scene, self._limits)
                live = self._open(ref, scene, Room(self._new_id("RM"), self._clock.now_ms(), rules))
            self._sessions[fact.participant_id] = (live, deliver)
            done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            if not live.post(fact, done):
                del self._sessions[fact.participant_id]
                raise errors.internal("the room is overloaded")
            if await done:
                return live.room.sid

    def refusal(
        self, ref: RoomRef, scene: str, user_id: str, role: Role, *, robot: bool = False, may_create: bool = True
    ) -> LeaveCause | None:
        """Why that user would not get in now; ``enter`` asks again when it is durable."""
        live = self._rooms.get(ref)
        room = live.room if live is not None and not live.room.destroyed else Room("", 0, rules_of(scene, self._limits))
        return room.refusal(user_id, role, robot=robot, may_create=may_create)

    def resume(self, participant_id: str, deliver: Deliver) -> bool:
        """A new socket for a session. False: there is no such session."""
        found = self._sessions.get(participant_id)
        if found is None or participant_id not in found[0].room.sessions:
            return False
        live, _ = found
        self._sessions[participant_id] = (live, deliver)
        return live.post(facts.Resumed(participant_id))

    def post(self, participant_id: str, fact: facts.Fact) -> bool:
        """False: the session is gone or its room is overloaded."""
        found = self._sessions.get(participant_id)
        return found is not None and found[0].post(fact)

    def drive(self, command: media.AnyCommand) -> bool:
        """A media command of one session (SDP, candidates). False when the media node is overloaded."""
        try:
            self._node.send(command)
        except media.QueueFullError:
            return False
        return True

    # the API's wishes ---------------------------------------------------------------------------------------------

    async def remove_users(self, ref: RoomRef, user_ids: Sequence[str]) -> None:
        """Absent users are ignored. Raises ServiceError for an unknown room."""
        await self._ask(ref, facts.UsersRemoved(tuple(user_ids)))

    async def block_user(self, ref: RoomRef, user_id: str, kinds: frozenset[Kind]) -> None:
        """What of the user nobody receives from now on, in place of what it was. Raises for unknown rooms and users."""
        live = self._rooms.get(ref)
        if live is not None and not live.room.destroyed and user_id not in live.room.participants:
            raise errors.user_not_found(user_id)
        await self._ask(ref, facts.UserBlockedSet(user_id, kinds))

    async def set_metadata(self, ref: RoomRef, metadata: str) -> None:
        await self._ask(ref, facts.RoomMetadataSet(metadata))

    def send_data(self, ref: RoomRef, packet: bytes, *, reliable: bool = True, user_ids: Sequence[str] = ()) -> int:
        """A message of the server's to these users, or to all of the room. How many sessions it goes to."""
        live = self._rooms.get(ref)
        if live is None or live.room.destroyed:
            raise errors.room_not_found(ref.room_id)
        wanted = set(user_ids)
        sessions = [p for p, who in live.room.sessions.items() if not wanted or who.user_id in wanted]
        if sessions:
            order = media.SendData(
                room=live.room.sid, participants=sessions if wanted else [], reliable=reliable, packet=packet
            )
            if not self.drive(order):
                raise errors.internal("the media node is overloaded")
        return len(sessions)

    async def dismiss(self, ref: RoomRef) -> None:
        await self._ask(ref, facts.RoomDismissed())

    async def _ask(self, ref: RoomRef, fact: facts.Fact) -> None:
        live = self._rooms.get(ref)
        if live is None or live.room.destroyed:
            raise errors.room_not_found(ref.room_id)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if not live.post(fact, done):
            raise errors.internal("the room is overloaded")
        if not await done:
            raise errors.room_not_found(ref.room_id)

    # one room -----------------------------------------------------------------------------------------------------

    def _open(self, ref: RoomRef, scene: str, room: Room) -> _LiveRoom:
        live = _LiveRoom(ref, scene, room)
        self._rooms[ref] = live
        self._by_sid[room.sid] = live
        self._track(spawn(self._run(live), name=f"room {room.sid}"))
        return live

    def _restored(self, found: store.OpenRoom) -> Room:
        room = Room(found.sid, found.created_ms, rules_of(found.scene, self._limits))
        room.restore(found.participants, self._clock.now_ms(), blocked=found.blocked, metadata=found.metadata)
        return room

    def _track(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, live: _LiveRoom) -> None:
        while True:
            batch = [await live.inbox.get()]
            while not live.inbox.empty():
                batch.append(live.inbox.get_nowait())
            await self._carry_out(live, batch)
            if live.room.destroyed:
                break
            self._arm(live)
        self._forget(live)

    async def _carry_out(
        self, live: _LiveRoom, batch: list[tuple[facts.Fact | _Pass, asyncio.Future[bool] | None]]
    ) -> None:
        now_ms = self._clock.now_ms()
        drives: list[media.AnyCommand] = []
        notices: list[tuple[str, ToSession]] = []
        records: list[commands.Record] = []
        answers: list[tuple[asyncio.Future[bool], bool]] = []
        try:
            for fact, done in batch:
                if done is not None:
                    answers.append((done, not live.room.destroyed))
                if isinstance(fact, _Pass):  # for those who are there now: nobody hears anything before the welcome
                    targets = live.room.sessions if fact.participant_id is None else (fact.participant_id,)
                    notices.extend((target, fact.event) for target in targets)
                    continue
                ordered = live.room.handle(fact, now_ms)
                if self._observer is not None:
                    self._observer.handled(live.room, fact, ordered, now_ms)
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
                await self._record(live, records, now_ms)
        except Exception as error:
            _log.exception("room could not carry out its commands", extra={"room": live.room.sid})
            self.healthy = False
            for _, waiting in batch:
                if waiting is not None and not waiting.done():
                    waiting.set_exception(errors.internal(type(error).__name__))
            await self._recover(live)
            return
        self.healthy = True
        self._deliver(live, notices)
        for done, accepted in answers:
            if not done.done():
                done.set_result(accepted)

    async def _recover(self, live: _LiveRoom) -> None:
        """What was decided could not be written: start again from what is written, as after a restart."""
        for participant_id in tuple(live.room.sessions):
            self._deliver(live, [(participant_id, commands.Dismiss("failed"))])
        with contextlib.suppress(media.QueueFullError):
            self._node.send(media.CloseRoom(room=live.room.sid))
        sid, created_ms = live.room.sid, live.room.created_ms
        while True:
            try:
                opened = await self._database.read(store.load_open)
                break
            except Exception:
                _log.exception("room cannot be read back", extra={"room": sid})
                await asyncio.sleep(RECOVER_EVERY_S)
        found = next((one for one in opened if one.sid == sid), None)
        if found is None:
            live.room = Room(sid, created_ms)
            live.room.give_up()
            self.healthy = True  # nothing of it is left to fail again
        else:
            live.room = self._restored(found)
            live.post(facts.TimePassed())

    async def _send(self, drives: list[media.AnyCommand]) -> None:
        deadline = self._clock.monotonic() + MEDIA_PATIENCE_S
        while drives:
            try:
                return self._node.send(*drives)
            except media.QueueFullError:
                if self._clock.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.01)

    async def _record(self, live: _LiveRoom, records: list[commands.Record], now_ms: int) -> None:
        ref, sid, scene = live.ref, live.room.sid, live.scene

        def work(connection: Connection) -> None:
            for record in records:
                store.apply(connection, ref, sid, scene, record, now_ms)

        await self._database.write(work)
        self._bus.publish(outbox.TOPIC)

    def _deliver(self, live: _LiveRoom, notices: list[tuple[str, ToSession]]) -> None:
        for participant_id, notice in notices:
            found = self._sessions.get(participant_id)
            if found is None or found[0] is not live:
                continue
            if isinstance(notice, commands.Dismiss):
                del self._sessions[participant_id]
            try:
                found[1](notice)
            except Exception:  # one session that cannot be told anything does not end the room
                _log.exception("a session could not be told", extra={"session": participant_id})
                live.post(facts.LeftRoom(participant_id))

    def _arm(self, live: _LiveRoom) -> None:
        if live.timer is not None:
            live.timer.cancel()
            live.timer = None
        deadline = live.room.deadline()
        if deadline is not None:
            delay = max(0.0, (deadline - self._clock.now_ms()) / 1000)
            live.timer = asyncio.get_running_loop().call_later(delay, live.post, facts.TimePassed())

    def _forget(self, live: _LiveRoom) -> None:
        self._by_sid.pop(live.room.sid, None)
        if self._rooms.get(live.ref) is live:
            del self._rooms[live.ref]
        if live.timer is not None:
            live.timer.cancel()
        while not live.inbox.empty():
            _, done = live.inbox.get_nowait()
            if done is not None and not done.done():
                done.set_result(False)
        for participant_id in [p for p, (room, _) in self._sessions.items() if room is live]:
            del self._sessions[participant_id]

    # what the media node says -------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            for event in await self._node.events():
                live = self._by_sid.get(event.room)
                if live is not None and self._observer is not None:
                    self._observer.told(live.room, event, self._clock.now_ms())
                if live is not None and not live.post(_fact_of(event)):
                    _log.error("room inbox full: media event dropped", extra={"room": event.room})

    # for /metrics -------------------------------------------------------------------------------------------------

    def describe(self) -> list[dict[str, object]]:
        """The open rooms and their users, for an operator."""
        return [
            {
                "sdk_app_id": live.ref.sdk_app_id,
                "numeric": live.ref.numeric,
                "room_id": live.ref.room_id,
                "users": list(live.room.participants),
            }
            for live in self._rooms.values()
        ]

    def people(self, ref: RoomRef) -> list[dict[str, object]]:
        """Who is in a room, for an operator. Raises for an unknown one."""
        live = self._rooms.get(ref)
        if live is None or live.room.destroyed:
            raise errors.room_not_found(ref.room_id)
        return [
            {
                "user_id": one.user_id,
                "role": one.role.name.lower(),
                "connected": bool(one.participant_id) and one.lost_deadline_ms is None,
                "sends": sorted(one.sending),
                "blocked": sorted(one.blocked),
                "device": one.device.device_type,
                "address": one.device.client_address,
                "joined_ms": one.joined_ms,
            }
            for one in live.room.participants.values()
        ]

    @property
    def counts(self) -> tuple[int, int]:
        """(rooms, connected participants)"""
        return len(self._rooms), len(self._sessions)


def _fact_of(event: media.AnyEvent) -> facts.Fact | _Pass:
    match event:
        case media.TrackStarted():
            return facts.MediaStarted(event.participant, event.track, event.codec)
        case media.TrackEnded():
            return facts.TrackRemoved(event.participant, event.track)
        case media.Quality():
            return facts.QualityMeasured(event.participant, event.uplink_loss, event.downlink_loss, event.rtt_ms)
        case media.Receiving():
            return facts.Receiving(event.participant, event.track, event.width, event.height)
        case media.RoomFailed():
            return facts.MediaFailed()
        case media.Speakers():
            return _Pass(None, event)
        case _:
            return _Pass(event.participant, event)
