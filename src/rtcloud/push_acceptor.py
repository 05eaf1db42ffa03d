"""Who may push into a room: the rules of joining and of tasks, put together for the process that listens for RTMP.

A push is admitted as a join is, and costs what a task does: its credentials, its room and the machine's load are looked
at before anything is started. What comes of it is a task of kind push with a token of its own.
"""

import logging
from collections.abc import Callable
from dataclasses import replace

from rtcloud.accounts.tokens import JoinGrant
from rtcloud.actions.context import Services
from rtcloud.actions.tasks import check_load, check_stopping, new_task_id
from rtcloud.actions.weighing import of_push
from rtcloud.errors import ServiceError
from rtcloud.ingest.media import Kind
from rtcloud.ingest.push import request as push
from rtcloud.ingest.push.admitting import BAD_NAME, DENIED, REJECTED, PushRefusedError, Why, Wish
from rtcloud.ingest.push.frequency import Frequency
from rtcloud.ingest.push.handing import Desk
from rtcloud.ingest.push.listening import Accepted
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import TerminalType, UserType
from rtcloud.signal import join
from rtcloud.signal.join import JoinBody, JoinError, JoinService
from rtcloud.tasks.task import NewTask

#: Pushes run for hours, and come back into their room by this token when they lost it.
TOKEN_LIFE_MS = 86_400_000
#: code of a join → why, and how RTMP says it; every other one is about the UserSig
_REASONS: dict[int, tuple[Why, str]] = {
    join.UNKNOWN_APPLICATION: ("unknown_application", DENIED),
    join.BAD_ROOM: ("bad_address", BAD_NAME),
    join.BAD_PARAMETER: ("bad_address", BAD_NAME),
    join.BAD_PRIVATE_MAP_KEY: ("not_allowed", DENIED),
    join.NOT_ENABLED: ("not_allowed", DENIED),
    join.MAY_NOT_CREATE: ("not_allowed", DENIED),
    join.ROOM_FULL: ("room_full", REJECTED),
}

_log = logging.getLogger(__name__)


class PushAcceptor:
    """``refused`` is told of who did not get in (room, user id, code, Unix ms)."""

    def __init__(
        self,
        services: Services,
        joins: JoinService,
        desk: Desk,
        refused: Callable[[RoomRef, str, int, int], None] = lambda *_: None,
    ) -> None:
        self._services = services
        self._joins = joins
        self.desk = desk
        self._refused = refused
        self._frequency = Frequency()

    async def admit(self, wish: Wish) -> Accepted:
        """Raises PushRefusedError."""
        services, now_ms = self._services, self._services.clock.now_ms()
        try:
            check_stopping(services)
            application = services.accounts.application(wish.sdk_app_id)
            settings = application.settings if application is not None else None
            grant = self._joins.grant(_join_of(wish, settings.scenes[0] if settings else "rtc"))
            kinds = _kinds(grant)
            if not kinds:
                raise PushRefusedError("not_allowed", DENIED, "privateMapKey: it does not allow to send")
            token = self._joins.token(
                replace(
                    grant,
                    expires_ms=now_ms + TOKEN_LIFE_MS,
                    user_type=UserType.NATIVE_SDK,
                    terminal_type=TerminalType.LINUX,
                )
            )
            ticket = Desk.new_ticket()
            request = push.PushRequest(
                token=token,
                desk=str(self.desk.path),
                ticket=ticket,
                kinds=kinds,
                b_frames=settings.b_frames if settings else "transcode",
            )
            task = NewTask(
                task_id=new_task_id(),
                kind=push.KIND,
                ref=grant.room,
                user_id=wish.user_id,
                params=push.encode(request),
                expires_ms=now_ms,
                now_ms=now_ms,
                load=of_push(),
                lists_files=False,
            )
            async with services.accepting:  # one after the other: those that come at once count, too
                user = wish.sdk_app_id, wish.user_id
                if not self._frequency.allows(user, services.clock.monotonic()):
                    raise PushRefusedError("too_often", REJECTED, "the user comes too often; wait a minute")
                await check_load(services, task.load)
                await services.tasks.accept(task)
                self._frequency.note(user, services.clock.monotonic())
        except JoinError as error:
            if error.code != join.UNKNOWN_APPLICATION:
                self._refused(RoomRef(wish.sdk_app_id, wish.numeric, wish.room), wish.user_id, error.code, now_ms)
            why, code = _REASONS.get(error.code, ("bad_signature", DENIED))
            raise PushRefusedError(why, code, f"{error.message} ({error.code})") from error
        except ServiceError as error:
            raise PushRefusedError("busy", REJECTED, error.message) from error
        _log.info("a push begins", extra={"task_id": task.task_id, "sdk_app_id": wish.sdk_app_id})

        async def withdraw() -> None:
            await services.tasks.stop(task.task_id, push.CLIENT_GONE)

        return Accepted(ticket, withdraw)


def _kinds(grant: JoinGrant) -> tuple[Kind, ...]:
    """What may be sent: a push is a camera and a microphone."""
    sources: dict[str, Kind] = {"microphone": "audio", "camera": "video"}
    if not grant.can_publish:
        return ()
    return tuple(kind for source, kind in sources.items() if source in (grant.can_publish_sources or sources))


def _join_of(wish: Wish, scene: str) -> JoinBody:
    """A UserSig may be a PrivateMapKey too; whether it has to be is the application's setting."""
    return JoinBody(
        sdk_app_id=wish.sdk_app_id,
        user_id=wish.user_id,
        user_sig=wish.user_sig,
        room_id=int(wish.room) if wish.numeric else None,
        str_room_id=None if wish.numeric else wish.room,
        private_map_key=wish.user_sig,
        scene="live" if (wish.scene or scene) == "live" else "rtc",
    )
