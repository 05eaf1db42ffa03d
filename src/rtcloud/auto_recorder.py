"""Automatic recording: brings the recorders of rooms in line with what their applications have set.

What is wanted follows from what is: a room that was opened after the setting was turned on, in which a person sends,
has a task of the automatic robot. Nothing else is remembered, so it holds after a crash at any point: rooms and tasks
are read back, and whoever comes back and sends is looked at again. A hint from the rooms makes it look at once, since
the first seconds of a call matter; a poll catches what a hint lost. The task is accepted under the same lock as those
of the API, after looking for another one: no room gets two.

An application without the setting costs nothing, and with it no question to the database until somebody sends.
"""

import logging
from collections.abc import Collection

from rtcloud import operations
from rtcloud.accounts.entities import Application
from rtcloud.actions import recording
from rtcloud.actions.context import Services
from rtcloud.actions.tasks import check_stopping
from rtcloud.clock import Clock
from rtcloud.egress.recording.automatic import is_needed, request_of
from rtcloud.egress.recording.request import KIND
from rtcloud.errors import ServiceError
from rtcloud.rooms.ids import AUTO_RECORDER
from rtcloud.rooms.running import SENDING_TOPIC
from rtcloud.rooms.service import RoomService, SendingRoom
from rtcloud.store.bus import HINTS, Bus
from rtcloud.store.database import Database, DatabaseClosedError
from rtcloud.tasks.standing import running_rooms, standing

POLL_SECONDS = 2.0
#: A task may be asked about as long as it runs.
_NEVER_MS = 2**53

_log = logging.getLogger(__name__)


class AutoRecorder:
    def __init__(self, services: Services, rooms: RoomService, database: Database, bus: Bus, clock: Clock) -> None:
        self._services = services
        self._rooms = rooms
        self._database = database
        self._bus = bus
        self._clock = clock
        self._left_alone: set[str] = set()  # rooms whose recording was ended on purpose, by sid
        self._refused: dict[str, str] = {}  # rooms that could not be recorded → why, by sid
        self._started = 0

    async def run(self) -> None:
        with self._bus.subscribe(SENDING_TOPIC) as hints:
            await self._look_safely(None)
            while True:
                named = await hints.wait(POLL_SECONDS)
                is_whole = named and len(named) < HINTS  # a full row of hints may have lost some
                if not await self._look_safely(set(named) if is_whole else None):
                    return

    def figures(self) -> operations.Figures:
        return {
            "auto_recordings_started": ("Automatic recordings started", True, self._started),
            "auto_recordings_refused": ("Rooms that could not be recorded automatically", False, len(self._refused)),
        }

    async def _look_safely(self, named: Collection[str] | None) -> bool:
        """False when there is no database any more."""
        try:
            await self.look(named)
        except DatabaseClosedError:
            return False
        except Exception:
            _log.exception("looking for rooms to record failed")
        return True

    async def look(self, named: Collection[str] | None = None) -> None:
        """At rooms by their sids, or at all of them."""
        wanted = self._applications()
        found = [room for room in self._rooms.sending(named) if self._is_wanted(room, wanted)] if wanted else []
        if named is None:
            self._forget(found)
        if not found:
            return
        running = await self._database.read(lambda connection: running_rooms(connection, KIND, AUTO_RECORDER))
        for room in found:
            if room.ref not in running:
                await self._start(room, wanted[room.ref.sdk_app_id])

    def _applications(self) -> dict[int, Application]:
        every = self._services.accounts.applications()
        return {each.sdk_app_id: each for each in every if each.settings.auto_recording is not None}

    def _is_wanted(self, room: SendingRoom, wanted: dict[int, Application]) -> bool:
        application = wanted.get(room.ref.sdk_app_id)
        auto = application.settings.auto_recording if application is not None else None
        return auto is not None and room.created_ms >= auto.since_ms and room.sid not in self._left_alone

    async def _start(self, room: SendingRoom, application: Application) -> None:
        auto = application.settings.auto_recording
        assert auto is not None
        services, request = self._services, request_of(auto, room.ref)
        try:
            check_stopping(services)
            async with services.accepting:
                last = await self._database.read(
                    lambda connection: standing(connection, KIND, room.ref, AUTO_RECORDER, room.created_ms)
                )
                needed = is_needed(last)
                if needed is None:
                    self._left_alone.add(room.sid)
                if not needed:
                    return
                task_id = await recording.accept(services, application, request, self._clock.now_ms(), _NEVER_MS)
        except ServiceError as refusal:
            if self._refused.get(room.sid) != refusal.code:
                self._refused[room.sid] = refusal.code
                extra = {"room": room.sid, "sdk_app_id": room.ref.sdk_app_id, "reason": str(refusal)}
                _log.warning("a room cannot be recorded automatically", extra=extra)
            return
        self._refused.pop(room.sid, None)
        self._started += 1
        _log.info("automatic recording", extra={"room": room.sid, "task_id": task_id})

    def _forget(self, found: Collection[SendingRoom]) -> None:
        """Rooms that are gone, and refusals of those that need no recording any more."""
        self._left_alone = {sid for sid in self._left_alone if self._rooms.has_sid(sid)}
        needed = {room.sid for room in found}
        self._refused = {sid: code for sid, code in self._refused.items() if sid in needed}
