"""The shell of signalling: WebSockets at /rtc/v1 and /rtc, their /validate, and who is connected.

After a socket is lost its session waits for a resume until its room gives it up.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from livekit.protocol import rtc
from starlette.requests import HTTPConnection, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

from rtcloud.accounts.entities import Application
from rtcloud.accounts.tokens import JoinGrant, TokenError, verify_join_token
from rtcloud.aio import spawn
from rtcloud.clock import Clock
from rtcloud.errors import ServiceError
from rtcloud.ice import IceServers
from rtcloud.rooms import facts
from rtcloud.rooms.commands import LeaveCause
from rtcloud.rooms.ids import AUTO_RECORDER
from rtcloud.rooms.service import RoomService
from rtcloud.signal import answers, joining, messages
from rtcloud.signal.admission import Admission
from rtcloud.signal.connection import Connection
from rtcloud.signal.join import BUSY_RETRY_S, REFUSALS
from rtcloud.signal.outputs import Hangup, Post, Send
from rtcloud.signal.session import TOKEN_LIFE_S, Session

_log = logging.getLogger(__name__)

#: Client messages per second, over which a session is ended.
MAX_RATE = 500
#: A client pings every 5 s; one that says nothing for so long is gone.
SILENCE_S = 30.0

CORS = {"Access-Control-Allow-Origin": "*"}

_NO_SERVERS = IceServers()

Parse = Callable[[Mapping[str, str]], joining.JoinAttempt]


class SignalServer:
    """``application(sdk_app_id)`` finds an application; ``new_id(prefix)`` makes ids; clients are told of
    ``ice_servers``."""

    def __init__(
        self,
        rooms: RoomService,
        application: Callable[[int], Application | None],
        clock: Clock,
        new_id: Callable[[str], str],
        *,
        ice_servers: IceServers = _NO_SERVERS,
    ) -> None:
        self._ice_servers = ice_servers
        self.rooms = rooms
        self.clock = clock
        self._application = application
        self._new_id = new_id
        self._connections: dict[str, Connection] = {}
        self._last: tuple[rtc.SignalResponse | None, bytes] = (None, b"")

    def routes(self) -> list[BaseRoute]:
        return [
            WebSocketRoute("/rtc/v1", self._v1),
            WebSocketRoute("/rtc", self._v0),
            Route("/rtc/v1/validate", self._validate_v1, methods=["GET"]),
            Route("/rtc/validate", self._validate_v0, methods=["GET"]),
        ]

    def encoded(self, response: rtc.SignalResponse) -> bytes:
        """Its bytes. A notice for a whole room is one object for all its sessions: it is encoded once."""
        if response is not self._last[0]:
            self._last = (response, response.SerializeToString())
        return self._last[1]

    def forget(self, connection: Connection) -> None:
        if self._connections.get(connection.session.participant_id) is connection:
            del self._connections[connection.session.participant_id]

    # HTTP ---------------------------------------------------------------------------------------------------------

    async def _validate_v1(self, request: Request) -> Response:
        return self._validate(request, joining.parse_v1)

    async def _validate_v0(self, request: Request) -> Response:
        return self._validate(request, joining.parse_v0)

    def _validate(self, request: Request, parse: Parse) -> Response:
        asked = self._ask(request, parse)
        return asked if isinstance(asked, Response) else PlainTextResponse("success", headers=CORS)

    def _ask(self, asking: HTTPConnection, parse: Parse) -> tuple[Admission, joining.JoinAttempt] | Response:
        """What the query asks for and may, or why not."""
        query = asking.query_params
        try:
            grant = self._grant(query.get("access_token", ""), asking.headers.get("authorization", ""))
            attempt = parse(query)
        except TokenError as error:
            return PlainTextResponse(error.reason, 401, headers=CORS)
        except joining.JoinRequestError as error:
            return PlainTextResponse(str(error), 400, headers=CORS)
        admission = Admission(grant, self._secret_keys)
        if not attempt.resumes and (cause := self._refusal(admission)):
            status, headers = (503, {"Retry-After": str(BUSY_RETRY_S)}) if cause == "busy" else (403, {})
            code, reason = REFUSALS[cause]
            return PlainTextResponse(f"{code}: {reason}", status, headers=CORS | headers)
        return admission, attempt

    def _grant(self, query_token: str, authorization: str) -> JoinGrant:
        token = query_token or authorization.removeprefix("Bearer ")
        grant = verify_join_token(token, self._secret_keys, self.clock.now_ms())
        application = self._application(grant.room.sdk_app_id)
        if application is not None and not grant.robot and grant.scene not in application.settings.scenes:
            raise TokenError(f"the application has no rooms of scene {grant.scene}")
        if grant.user_id == AUTO_RECORDER and not grant.robot:
            raise TokenError(f"{AUTO_RECORDER} is the robot of automatic recordings")
        return grant

    def _secret_keys(self, sdk_app_id: int) -> tuple[str, ...]:
        application = self._application(sdk_app_id)
        return application.secret_keys(self.clock.now_ms()) if application is not None else ()

    def _refusal(self, admission: Admission) -> LeaveCause | None:
        """Why the room does not admit the user now, or nothing."""
        grant = admission.grant
        return self.rooms.refusal(
            grant.room, grant.scene, grant.user_id, admission.role, robot=grant.robot, may_create=grant.can_create
        )

    # sockets ------------------------------------------------------------------------------------------------------

    async def _v1(self, socket: WebSocket) -> None:
        await self._serve(socket, joining.parse_v1)

    async def _v0(self, socket: WebSocket) -> None:
        await self._serve(socket, joining.parse_v0)

    async def _serve(self, socket: WebSocket, parse: Parse) -> None:
        asked = self._ask(socket, parse)
        if isinstance(asked, Response):
            await socket.send_denial_response(asked)
            return
        admission, attempt = asked
        await socket.accept()
        if attempt.resumes:
            connection = self._resumable(attempt, admission.grant)
            if connection is None:
                await _say_and_close(socket, answers.leave("unknown_session"))
                return
            outbox = connection.attach()
            if not self.rooms.resume(connection.session.participant_id, connection.deliver):
                connection.execute([Send(answers.leave("overload")), Hangup("the session cannot be resumed now")])
        else:
            session = Session(
                admission.grant.room, self._new_id("PA"), attempt, self._new_id, admission, self._ice_servers
            )
            connection = Connection(session, self.rooms, self.clock, self.encoded, self.forget)
            outbox = connection.attach()
            self._connections[session.participant_id] = connection
            address = socket.client.host if socket.client is not None else ""
            spawn(self._enter(connection, address), name=f"enter {session.participant_id}")
        await self._talk(socket, connection, outbox)

    def _resumable(self, attempt: joining.JoinAttempt, grant: JoinGrant) -> Connection | None:
        connection = self._connections.get(attempt.participant_id)
        if connection is None or connection.session.single != attempt.single:
            return None
        held = connection.session.admission.grant
        same = held.room == grant.room and held.user_id == grant.user_id
        return connection if same and connection.session.joined else None

    async def _enter(self, connection: Connection, address: str) -> None:
        session, admission = connection.session, connection.session.admission
        grant = admission.grant
        device = joining.device_of(session.attempt.client, address, robot=grant.robot)
        if grant.user_type is not None:
            device = replace(device, user_type=grant.user_type)
        if grant.terminal_type is not None:
            device = replace(device, terminal_type=grant.terminal_type)
        fact = facts.Entered(
            participant_id=session.participant_id,
            user_id=grant.user_id,
            role=admission.role,
            device=device,
            single=session.single,
            auto_subscribe=session.attempt.auto_subscribe,
            name=grant.name,
            metadata=grant.metadata,
            attributes={name: v for name, v in grant.attributes.items() if not name.startswith(messages.RESERVED)},
            permission=admission.permission(),
            robot=grant.robot,
            hidden=grant.hidden,
            may_create=grant.can_create,
        )
        try:
            await self.rooms.enter(grant.room, grant.scene, fact, connection.deliver)
            if connection.outbox is None:  # the socket was lost meanwhile
                self.rooms.post(session.participant_id, facts.SocketLost(session.participant_id))
        except ServiceError:
            _log.warning("join refused", extra={"session": session.participant_id})
            connection.execute([Send(answers.leave("overload")), Hangup("the room is overloaded")])
            self.forget(connection)

    async def _talk(self, socket: WebSocket, connection: Connection, outbox: asyncio.Queue[bytes | None]) -> None:
        participant_id = connection.session.participant_id
        writer = spawn(_write(socket, outbox), name=f"signal writer {participant_id}")
        refresher = spawn(self._refresh(connection), name=f"token {participant_id}")
        silent_ms = 0
        try:
            await self._read(socket, connection, outbox)
        except TimeoutError:  # the connection is dead since nothing was heard, not since now
            silent_ms = self.clock.now_ms() - connection.heard_ms
        except (WebSocketDisconnect, RuntimeError):
            pass  # the socket is gone; the session may come back
        finally:
            refresher.cancel()
            if connection.outbox is outbox or connection.outbox is None:  # lost, or hung up: no other socket took over
                connection.outbox = None
                self.rooms.post(participant_id, facts.SocketLost(participant_id, silent_ms))
            with contextlib.suppress(asyncio.QueueFull):
                outbox.put_nowait(None)
            await asyncio.wait([writer], timeout=5)
            writer.cancel()

    async def _read(self, socket: WebSocket, connection: Connection, outbox: asyncio.Queue[bytes | None]) -> None:
        second, count = 0, 0
        while True:
            async with asyncio.timeout(SILENCE_S):
                message = await socket.receive()
            if message["type"] != "websocket.receive":
                return
            raw = message.get("bytes") or b""  # a text frame is no message of the protocol: empty, and refused
            now_ms = self.clock.now_ms()
            if now_ms // 1000 != second:
                second, count = now_ms // 1000, 0
            count += 1
            if connection.outbox is not outbox:
                return  # another socket took over, or the session was hung up
            connection.hear(now_ms)
            if count > MAX_RATE:
                left = facts.LeftRoom(connection.session.participant_id)
                connection.execute([Send(answers.leave("protocol")), Post(left), Hangup("too many messages")])
                return
            connection.execute(connection.session.receive(raw, now_ms))

    async def _refresh(self, connection: Connection) -> None:
        while True:
            await asyncio.sleep(TOKEN_LIFE_S / 2)
            token = connection.session.admission.token(self.clock.now_ms(), TOKEN_LIFE_S * 1000)
            if token is None:
                return
            connection.execute([Send(rtc.SignalResponse(refresh_token=token))])


async def _write(socket: WebSocket, outbox: asyncio.Queue[bytes | None]) -> None:
    try:
        while (message := await outbox.get()) is not None:
            await socket.send_bytes(message)
        await socket.close()
    except (WebSocketDisconnect, RuntimeError):
        pass  # closed by the other side; the reader notices


async def _say_and_close(socket: WebSocket, response: rtc.SignalResponse) -> None:
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_bytes(response.SerializeToString())
        await socket.close()
