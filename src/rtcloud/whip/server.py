"""WHIP and WHEP as HTTP: the routes of both forms, what may be asked of them, and how it is answered.

Everything may be used by pages of other origins: nothing here goes by cookies. Refusals are problem statements.
"""

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Protocol
from urllib.parse import quote, urlencode

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rtcloud.accounts.entities import Application
from rtcloud.accounts.tokens import JoinGrant
from rtcloud.clock import Clock
from rtcloud.ice import IceServers
from rtcloud.operations import Figures
from rtcloud.rooms.ids import RoomRef
from rtcloud.signal.join import BUSY_RETRY_S, JoinBody, JoinError
from rtcloud.whip import admitting, sdp
from rtcloud.whip.problems import Problem, malformed, unavailable
from rtcloud.whip.session import Way
from rtcloud.whip.sessions import Publisher, Rooms, Sessions

BODY_SECONDS = 10.0
SDP = "application/sdp"
FRAGMENT = "application/trickle-ice-sdpfrag"
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "authorization, content-type, if-match, link",
    "Access-Control-Expose-Headers": "location, etag, link, accept-post, accept-patch, retry-after, www-authenticate",
    "Access-Control-Max-Age": "86400",
}
#: Of the older form, which knows fewer statuses.
_OLDER = {HTTPStatus.UNAUTHORIZED: HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND: HTTPStatus.FORBIDDEN}

_NO_SERVERS = IceServers()

Handle = Callable[[Request], Awaitable[Response]]


class OpenRooms(Rooms, Protocol):
    def scene(self, ref: RoomRef) -> str | None: ...
    def is_sending(self, ref: RoomRef) -> bool: ...


class WhipServer:
    """``grant`` says what somebody may do in a room, or raises JoinError; ``application(sdk_app_id)`` finds one;
    ``refused`` is told of who did not get in (room, user id, code, Unix ms); ``ice_servers`` are told to clients."""

    def __init__(
        self,
        rooms: OpenRooms,
        grant: Callable[[JoinBody], JoinGrant],
        application: Callable[[int], Application | None],
        clock: Clock,
        new_id: Callable[[str], str],
        refused: Callable[[RoomRef, str, int, int], None] = lambda *_: None,
        is_stopping: Callable[[], bool] = lambda: False,
        *,
        ice_servers: IceServers = _NO_SERVERS,
    ) -> None:
        self._rooms = rooms
        self._grant = grant
        self._application = application
        self._clock = clock
        self._refused = refused
        self._is_stopping = is_stopping
        self._ice_servers = ice_servers
        self._sessions = Sessions(rooms, clock, new_id)
        self._statuses: Counter[int] = Counter()  # of refusals

    def routes(self) -> list[BaseRoute]:
        ways: tuple[tuple[Way, str, str], ...] = (("publish", "pub", "push"), ("play", "sub", "play"))
        found: list[BaseRoute] = []
        for way, present, older in ways:
            found += [
                Route(f"/v2/{present}/{{app}}/{{stream}}", self._endpoint(way), methods=METHODS),
                Route(f"/v2/{present}/{{app}}/{{stream}}/{{secret}}", self._at_session, methods=METHODS),
                Route(f"/v1/{older}/{{stream}}", self._older(way), methods=METHODS),
            ]
        return found

    def publishers(self) -> list[Publisher]:
        return self._sessions.publishers()

    def figures(self) -> Figures:
        refused: dict[str, tuple[str, bool, float]] = {
            f"whip_refused_{int(status)}": (f"Requests of WHIP and WHEP answered with {int(status)}", True, count)
            for status, count in self._statuses.items()
        }
        return refused | {
            "whip_sessions": ("Publishers that came by WHIP", False, self._sessions.count("publish")),
            "whep_sessions": ("Viewers that came by WHEP", False, self._sessions.count("play")),
        }

    # the endpoints ------------------------------------------------------------------------------------------------

    def _endpoint(self, way: Way) -> Handle:
        async def post(request: Request) -> Response:
            app, stream = admitting.application(request.path_params["app"]), request.path_params["stream"]
            token = admitting.bearer(request.headers.get("authorization", ""))
            user_id = admitting.needed(request.query_params, "SessionID")
            only = request.query_params.get("UserId", "") if way == "play" else ""
            secret, response = await self._open(request, way, self._body(app, stream, user_id, token, way), only=only)
            path = f"/v2/{'pub' if way == 'publish' else 'sub'}/{app}/{quote(stream, safe='')}"
            response.headers["Location"] = f"{path}/{secret}"
            return response

        async def handle(request: Request) -> Response:
            return await self._answer(request, {"POST": post}, {"Accept-Post": SDP})

        return handle

    def _older(self, way: Way) -> Handle:
        """The session's address is the endpoint's with one parameter more (F §2.2)."""

        async def post(request: Request) -> Response:
            query, stream = request.query_params, request.path_params["stream"]
            app = admitting.application(admitting.needed(query, "sdkappid"))
            user_id, token = admitting.needed(query, "userid"), admitting.needed(query, "usersig")
            body, codec = self._body(app, stream, user_id, token, way), admitting.codec(query)
            try:
                secret, response = await self._open(request, way, body, codec=codec, is_older=True)
            except Problem as problem:
                status = _OLDER.get(problem.status)
                if status is None or problem.code == 0:
                    raise
                raise Problem(status, problem.detail, code=problem.code) from problem
            path = f"/v1/{'push' if way == 'publish' else 'play'}/{quote(stream, safe='')}"
            kept = [(name, value) for name, value in query.multi_items() if name != "relay"]
            response.headers["Location"] = f"{path}?{urlencode([*kept, ('relay', secret)])}"
            return response

        async def handle(request: Request) -> Response:
            if "relay" in request.query_params and request.method != "POST":
                return await self._at_session(request)
            return await self._answer(request, {"POST": post}, {"Accept-Post": SDP})

        return handle

    async def _at_session(self, request: Request) -> Response:
        secret = request.path_params.get("secret", "") or request.query_params.get("relay", "")

        async def patch(request: Request) -> Response:
            live = self._sessions.find(secret)
            _check_type(request, FRAGMENT)
            if_match = request.headers.get("if-match")
            if if_match is None:
                raise Problem(HTTPStatus.PRECONDITION_REQUIRED, "If-Match is missing: it names the ICE session")
            fragment = await self._sessions.change(live, if_match, sdp.read_fragment(await _read(request)))
            if fragment is None:
                return Response(status_code=HTTPStatus.NO_CONTENT)
            return Response(fragment, HTTPStatus.OK, {"ETag": live.etag}, FRAGMENT)

        async def delete(request: Request) -> Response:
            self._sessions.end(self._sessions.find(secret))
            return Response(status_code=HTTPStatus.OK)

        async def get(request: Request) -> Response:
            self._sessions.find(secret)
            return Response(status_code=HTTPStatus.NO_CONTENT)

        allowed = {"PATCH": patch, "DELETE": delete, "GET": get, "HEAD": get}
        return await self._answer(request, allowed, {"Accept-Patch": FRAGMENT})

    async def _answer(self, request: Request, allowed: Mapping[str, Handle], accepts: Mapping[str, str]) -> Response:
        """By the request's method; what has no representation of its own is read as nothing (RFC 9725, 4.1)."""
        methods = ", ".join(sorted({*allowed, "GET", "HEAD", "OPTIONS"}))
        try:
            if request.method == "OPTIONS":
                response = Response(headers={"Allow": methods, **accepts})
                if "POST" in allowed and "access-control-request-method" not in request.headers:
                    self._add_links(response, "")  # not in a preflight (RFC 9725, 4.6)
            elif request.method in allowed:
                response = await allowed[request.method](request)
            elif request.method in ("GET", "HEAD"):
                response = Response(status_code=HTTPStatus.NO_CONTENT)
            else:
                raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "this is not done here", headers={"Allow": methods})
        except Problem as problem:
            self._statuses[problem.status] += 1
            body = json.dumps(problem.body(), separators=(",", ":"))
            response = Response(body, problem.status, problem.headers, "application/problem+json")
        except ClientDisconnect:
            response = Response(status_code=HTTPStatus.BAD_REQUEST)
        response.headers.update(CORS)
        return response

    # a new session ------------------------------------------------------------------------------------------------

    def _body(self, app: int, stream: str, user_id: str, token: str, way: Way) -> JoinBody:
        """In the scene that the room has, or would have."""
        application = self._application(app)
        first = application.settings.scenes[0] if application is not None else "rtc"
        return JoinBody(
            sdk_app_id=app,
            user_id=user_id,
            user_sig=token,
            str_room_id=stream,
            private_map_key=token,
            role="anchor" if way == "publish" else "audience",
            scene="live" if (self._rooms.scene(RoomRef(app, False, stream)) or first) == "live" else "rtc",
        )

    async def _open(
        self, request: Request, way: Way, body: JoinBody, *, codec: str = "", only: str = "", is_older: bool = False
    ) -> tuple[str, Response]:
        """Its secret, and the response without Location."""
        _check_type(request, SDP)
        if self._is_stopping():
            raise unavailable("the server is stopping")
        grant = self._admitted(body, way)
        if is_older:
            self._check_stream(grant.room, way)
        self._sessions.check_room(grant)
        text = await _read(request)
        offer = sdp.read_published(text) if way == "publish" else sdp.read_played(text)
        address = request.client.host if request.client is not None else ""
        device = admitting.device_of(request.headers.get("user-agent", ""), address)
        live, answer = await self._sessions.open(way, grant, offer, device, codec=codec, only=only)
        response = Response(answer, HTTPStatus.CREATED, {"ETag": live.etag}, SDP)
        self._add_links(response, grant.user_id)
        return live.secret, response

    def _admitted(self, body: JoinBody, way: Way) -> JoinGrant:
        try:
            grant = self._grant(body)
        except JoinError as error:
            ref = RoomRef(body.sdk_app_id, False, body.str_room_id or "")
            if self._application(body.sdk_app_id) is not None:
                self._refused(ref, body.user_id, error.code, self._clock.now_ms())
            challenge = {}
            if error.status == HTTPStatus.UNAUTHORIZED:
                challenge["WWW-Authenticate"] = 'Bearer realm="rtcloud", error="invalid_token"'
            if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
                challenge["Retry-After"] = str(BUSY_RETRY_S)
            raise Problem(HTTPStatus(error.status), error.message, code=error.code, headers=challenge) from error
        return grant if way == "publish" else replace(grant, can_publish=False, can_publish_data=False)

    def _check_stream(self, ref: RoomRef, way: Way) -> None:
        """The older form's: one pushes, others play what is pushed."""
        if way == "play" and not self._rooms.is_sending(ref):
            raise Problem(HTTPStatus.NOT_FOUND, "nobody publishes in this stream")
        if way == "publish" and self._sessions.is_pushed(ref):
            raise Problem(HTTPStatus.CONFLICT, "the stream is being pushed already")

    def _add_links(self, response: Response, user_id: str) -> None:
        """Credentials are for who was admitted; whoever merely asks is told of the others."""
        given = self._ice_servers.given(user_id, self._clock.now_ms()) if user_id else self._ice_servers.fixed
        for server in given:
            response.headers.append("Link", admitting.link(server))


def _check_type(request: Request, wanted: str) -> None:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given != wanted:
        name = "Accept-Post" if wanted == SDP else "Accept-Patch"
        raise Problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the body must be {wanted}", headers={name: wanted})


async def _read(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS), contextlib.aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                body += chunk
                if len(body) > sdp.MAX_BODY:
                    raise Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is over {sdp.MAX_BODY} bytes")
    except TimeoutError as error:
        raise Problem(HTTPStatus.REQUEST_TIMEOUT, f"the body was not whole after {BODY_SECONDS:g} s") from error
    if not body:
        raise malformed("there is no body")
    return bytes(body)
