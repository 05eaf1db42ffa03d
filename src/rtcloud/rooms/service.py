"""The shell of all rooms of this node: which are open, who is in them, and what may be asked of them.

How one room runs is in ``running``.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from rtcloud import errors
from rtcloud.aio import spawn
from rtcloud.clock import Clock
from rtcloud.errors import ServiceError
from rtcloud.media import node as media
from rtcloud.media.figures import NodeStatus
from rtcloud.rooms import commands, facts, store
from rtcloud.rooms.commands import LeaveCause
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.measuring import Measurements, Period
from rtcloud.rooms.participant import Kind, Role
from rtcloud.rooms.room import Room
from rtcloud.rooms.running import Deliver, Ground, LiveRoom, Observer, Pass
from rtcloud.rooms.scenes import Limits, rules_of
from rtcloud.store.bus import Bus
from rtcloud.store.database import Database

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SendingRoom:
    sid: str
    ref: RoomRef
    created_ms: int


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
        self._ground = Ground(database, node, bus, clock, limits or Limits(), observer)
        self._new_id = new_id
        self._rooms: dict[RoomRef, LiveRoom] = {}
        self._by_sid: dict[str, LiveRoom] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.measurements = Measurements()

    @property
    def healthy(self) -> bool:
        """Whether what rooms decide can be written down and carried out."""
        return self._ground.healthy

    async def start(self) -> asyncio.Task[None]:
        """Take up the rooms that were open when the server stopped, and listen to the media node: the task given."""
        for found in await self._ground.database.read(store.load_open):
            live = self._open(found.ref, found.scene, self._ground.restored(found))
            live.post(facts.TimePassed())
        listening = spawn(self._listen(), name="media events")
        self._track(listening)
        return listening

    async def close(self) -> None:
        """Tell every session that the server goes away. Rooms and presences stay open for the next start."""
        for _, deliver in tuple(self._ground.sessions.values()):
            deliver(commands.Dismiss("shutdown"))
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def is_open(self, ref: RoomRef) -> bool:
        live = self._rooms.get(ref)
        return live is not None and not live.room.destroyed

    def scene(self, ref: RoomRef) -> str | None:
        """Of an open room."""
        live = self._rooms.get(ref)
        return live.scene if live is not None and not live.room.destroyed else None

    def is_sending(self, ref: RoomRef) -> bool:
        """Whether anybody there sends anything, robots included."""
        live = self._rooms.get(ref)
        return live is not None and any(who.sending for who in live.room.participants.values())

    def has_user(self, ref: RoomRef, user_id: str) -> bool:
        """Whether that user is in the room, be it between two connections."""
        live = self._rooms.get(ref)
        return live is not None and not live.room.destroyed and user_id in live.room.participants

    def has_sid(self, sid: str) -> bool:
        return sid in self._by_sid

    def sending(self, sids: Collection[str] | None = None) -> list[SendingRoom]:
        """The open rooms in which a person sends something that can be received now; of these only, if given. Nobody
        counts who was there before a restart and did not come back."""
        lives = self._by_sid.values() if sids is None else [self._by_sid[sid] for sid in sids if sid in self._by_sid]
        return [
            SendingRoom(live.room.sid, live.ref, live.room.created_ms)
            for live in lives
            if not live.room.destroyed and _has_sender(live.room)
        ]

    # sessions -----------------------------------------------------------------------------------------------------

    async def enter(self, ref: RoomRef, scene: str, fact: facts.Entered, deliver: Deliver) -> str:
        """Returns the room's sid once the presence is durable; ``Welcome`` has been delivered by then."""
        while True:
            live = self._rooms.get(ref)
            if live is None:  # one that ends is waited for: its last callbacks come before a new room's first
                live = self._open(ref, scene, self._new_room(scene))
            self._ground.sessions[fact.participant_id] = (live, deliver)
            done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            if not live.post(fact, done):
                del self._ground.sessions[fact.participant_id]
                raise errors.internal("the room is overloaded")
            try:
                accepted = await done
            except ServiceError:
                self._ground.sessions.pop(fact.participant_id, None)
                raise
            if accepted:
                return live.room.sid

    def refusal(
        self, ref: RoomRef, scene: str, user_id: str, role: Role, *, robot: bool = False, may_create: bool = True
    ) -> LeaveCause | None:
        """Why that user would not get in now; ``enter`` asks again when it is durable."""
        live = self._rooms.get(ref)
        is_open = live is not None and not live.room.destroyed
        room = live.room if live is not None and is_open else self._new_room(scene)
        cause = room.refusal(user_id, role, robot=robot, may_create=may_create)
        # Who is in keeps its place, and a robot serves those who are.
        enters = cause is None and not robot and user_id not in room.participants
        return "busy" if enters and self._ground.node.overload(room.sid if is_open else "") else cause

    def resume(self, participant_id: str, deliver: Deliver) -> bool:
        """A new socket for a session. False: there is no such session."""
        found = self._ground.sessions.get(participant_id)
        if found is None or participant_id not in found[0].room.sessions:
            return False
        live, _ = found
        self._ground.sessions[participant_id] = (live, deliver)
        return live.post(facts.Resumed(participant_id))

    def post(self, participant_id: str, fact: facts.Fact) -> bool:
        """False: the session is gone or its room is overloaded."""
        found = self._ground.sessions.get(participant_id)
        return found is not None and found[0].post(fact)

    def drive(self, command: media.AnyCommand) -> bool:
        """A media command of one session (SDP, candidates). False when the media node is overloaded."""
        try:
            self._ground.node.send(command)
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

    def _new_room(self, scene: str) -> Room:
        return Room(self._new_id("RM"), self._ground.clock.now_ms(), rules_of(scene, self._ground.limits))

    def _open(self, ref: RoomRef, scene: str, room: Room) -> LiveRoom:
        live = LiveRoom(self._ground, ref, scene, room)
        self._rooms[ref] = live
        self._by_sid[room.sid] = live
        self._track(spawn(self._run(live), name=f"room {room.sid}"))
        return live

    def _track(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, live: LiveRoom) -> None:
        await live.run()
        self._by_sid.pop(live.room.sid, None)
        self.measurements.forget(live.room.sid)
        if self._ground.observer is not None:
            self._ground.observer.ended(live.room)
        if self._rooms.get(live.ref) is live:
            del self._rooms[live.ref]
        live.close()

    # what the media node says -------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            events = await self._ground.node.events()
            now_ms = self._ground.clock.now_ms()
            for event in events:
                if (live := self._by_sid.get(event.room)) is None:
                    continue
                if isinstance(event, media.Stats):
                    self._measure(live, event, now_ms)
                    continue
                if self._ground.observer is not None:
                    self._ground.observer.told(live.room, event, now_ms)
                fact = _fact_of(event)
                if isinstance(fact, facts.QualityMeasured) and not live.room.is_news(fact):
                    continue
                if not live.post(fact):
                    _log.error("room inbox full: media event dropped", extra={"room": event.room})

    def _measure(self, live: LiveRoom, event: media.Stats, now_ms: int) -> None:
        """Figures are for those who look: the room itself does nothing with them."""
        period = self.measurements.take(event)
        if period is not None and self._ground.observer is not None:
            self._ground.observer.measured(live.room, period, now_ms)

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

    def media_status(self) -> NodeStatus:
        return self._ground.node.status()

    def measured(self) -> list[tuple[RoomRef, Room, Period | None]]:
        """The open rooms, and the newest figures of what goes through them."""
        return [(live.ref, live.room, self.measurements.of(live.room.sid)) for live in self._rooms.values()]

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
        return len(self._rooms), len(self._ground.sessions)


def _has_sender(room: Room) -> bool:
    """Looks at those who send only: an audience may be large."""
    for track_id, owner in room.state.publishers.items():
        track = owner.tracks[track_id]
        if track.started and not owner.robot and not owner.is_silenced(track):
            return True
    return False


def _fact_of(event: media.AnyEvent) -> facts.Fact | Pass:
    match event:
        case media.Stats():  # for those who look, not for the room
            return Pass(None, event)
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
            return Pass(None, event)
        case _:
            return Pass(event.participant, event)
