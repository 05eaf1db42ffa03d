"""The shell of signalling with a socket in memory: whatever hangs up a socket, the room hears that it is lost."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest
from livekit.protocol import rtc
from starlette.requests import Request
from starlette.websockets import WebSocket

from rtcloud.accounts.entities import Application, ApplicationSettings
from rtcloud.accounts.tokens import JoinGrant, TokenError, make_join_token
from rtcloud.clock import SystemClock
from rtcloud.rooms import facts
from rtcloud.rooms.commands import LeaveCause
from rtcloud.rooms.ids import AUTO_RECORDER, RoomRef
from rtcloud.rooms.service import RoomService
from rtcloud.signal.admission import Admission
from rtcloud.signal.connection import OUTBOX_SIZE, Connection
from rtcloud.signal.joining import JoinAttempt, parse_v0
from rtcloud.signal.outputs import Hangup, Send
from rtcloud.signal.server import SignalServer
from rtcloud.signal.session import Session

pytestmark = pytest.mark.anyio

REF = RoomRef(1400000000, False, "r")


@dataclass
class Rooms:
    posted: list[facts.Fact] = field(default_factory=list)
    refuses: LeaveCause | None = None

    def post(self, participant_id: str, fact: facts.Fact) -> bool:
        self.posted.append(fact)
        return True

    def refusal(self, *_: object, **__: object) -> LeaveCause | None:
        return self.refuses


class Socket:
    """A client that reads nothing and says nothing until it is gone."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "websocket.disconnect"}

    async def send_bytes(self, data: bytes) -> None:
        await self.gone.wait()

    async def close(self) -> None:
        pass


def connected() -> tuple[SignalServer, Rooms, Connection]:
    rooms = Rooms()
    server = SignalServer(cast(RoomService, rooms), lambda app: None, SystemClock(), lambda prefix: prefix)
    attempt: JoinAttempt = parse_v0({})
    admission = Admission(JoinGrant(REF, "alice", 0), lambda app: ("key",))
    session = Session(REF, "PA_a", attempt, lambda prefix: prefix, admission)
    return server, rooms, Connection(session, cast(RoomService, rooms), server.clock, server.encoded, server.forget)


async def test_a_client_that_does_not_read_is_lost_and_not_kept_for_ever() -> None:
    server, rooms, connection = connected()
    outbox, socket = connection.attach(), Socket()
    talking = asyncio.ensure_future(server._talk(cast(WebSocket, socket), connection, outbox))
    await asyncio.sleep(0)
    connection.execute([Send(rtc.SignalResponse(pong=1))] * (OUTBOX_SIZE + 2))
    assert connection.outbox is None
    socket.gone.set()
    await talking
    assert rooms.posted == [facts.SocketLost("PA_a")]


async def test_a_silent_client_is_lost_since_it_was_heard_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rtcloud.signal.server.SILENCE_S", 0.0)
    server, rooms, connection = connected()
    outbox = connection.attach()
    connection.heard_ms -= 30_000
    await server._talk(cast(WebSocket, Socket()), connection, outbox)
    [lost] = rooms.posted
    assert isinstance(lost, facts.SocketLost)
    assert lost.silent_ms >= 30_000


async def test_a_client_that_was_hung_up_is_lost_unless_it_is_back() -> None:
    server, rooms, connection = connected()
    outbox, socket = connection.attach(), Socket()
    talking = asyncio.ensure_future(server._talk(cast(WebSocket, socket), connection, outbox))
    await asyncio.sleep(0)
    connection.execute([Hangup("overload")])
    connection.attach()  # it resumes on another socket
    socket.gone.set()
    await talking
    assert rooms.posted == []


async def test_a_token_is_for_scenes_of_the_application_and_any_key_that_is_good_now() -> None:
    live = Application(
        1400000000, "1", "a", "new", ApplicationSettings(scenes=("live",)), "old", previous_until_ms=4_000_000_000_000
    )
    rooms = cast(RoomService, Rooms())
    server = SignalServer(rooms, lambda app: live if app == live.sdk_app_id else None, SystemClock(), str)
    grant = JoinGrant(REF, "alice", 4_000_000_000_000, scene="live")
    for key in ("new", "old"):
        assert server._grant(make_join_token(grant, secret_key=key, now_ms=1), "") == grant
    reserved = replace(grant, user_id=AUTO_RECORDER)
    assert server._grant("", f"Bearer {make_join_token(replace(reserved, robot=True), secret_key='new', now_ms=1)}")
    for refused, key in ((grant, "older"), (replace(grant, scene="rtc"), "new"), (reserved, "new")):
        with pytest.raises(TokenError):
            server._grant("", f"Bearer {make_join_token(refused, secret_key=key, now_ms=1)}")
    robot = replace(grant, scene="rtc", robot=True)
    assert server._grant(make_join_token(robot, secret_key="new", now_ms=1), "").robot


async def test_validate_says_what_the_socket_would() -> None:
    application = Application(REF.sdk_app_id, "1", "a", "key")
    rooms = Rooms()
    server = SignalServer(cast(RoomService, rooms), lambda app: application, SystemClock(), str)
    token = make_join_token(JoinGrant(REF, "alice", 4_000_000_000_000), secret_key="key", now_ms=1)

    async def asked(query: str) -> tuple[int, str]:
        scope = {"type": "http", "query_string": query.encode(), "headers": []}
        response = await server._validate_v0(Request(scope))
        return response.status_code, bytes(response.body).decode()

    assert await asked(f"access_token={token}") == (200, "success")
    assert (await asked("access_token=x"))[0] == 401
    rooms.refuses = "full"
    assert await asked(f"access_token={token}") == (403, "-102006: the room is full")
    rooms.refuses = "may_not_create"
    status, reason = await asked(f"access_token={token}")
    assert (status, reason.partition(":")[0]) == (403, "-102010")
    assert await asked(f"access_token={token}&reconnect=1&sid=PA_a") == (200, "success")  # it is in already
