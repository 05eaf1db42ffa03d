"""POST /v1/join: a UserSig and a room in, an address and a short-lived token out. Form and codes: design.md part 5.

The numbers of errors are those that the client SDKs document (70001 expired, 70009 wrong key, -8 …).
With the application's permission control on, a PrivateMapKey decides who may enter, and what may be done there.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Callable
from http import HTTPStatus
from typing import Literal, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from rtcloud.accounts.entities import Application
from rtcloud.accounts.privatemapkey import PrivateMapKeyError, limited, verify_private_map_key
from rtcloud.accounts.tokens import JoinGrant, make_join_token
from rtcloud.accounts.usersig import UserSigError, verify_user_sig
from rtcloud.clock import Clock
from rtcloud.rooms.commands import LeaveCause
from rtcloud.rooms.ids import AUTO_RECORDER, STRING_ROOM, RoomRef
from rtcloud.rooms.participant import Role

#: The token only has to live until the socket is open; a connected client gets new ones.
TOKEN_LIFE_S = 600
MAX_BODY = 64 * 1024
BODY_SECONDS = 10.0
MAX_ROOM_NUMBER = 4294967294

UNKNOWN_APPLICATION = -8
#: No server can be found that takes one more.
BUSY = -100002
BUSY_RETRY_S = 10
BAD_ROOM = -10012
BAD_PRIVATE_MAP_KEY = -100006
NOT_ENABLED = -100024
ROOM_FULL = -102006
MAY_NOT_CREATE = -102010
BAD_PARAMETER = -102023

#: Why a room does not admit somebody, as the documented number and in words.
REFUSALS: dict[LeaveCause, tuple[int, str]] = {
    "full": (ROOM_FULL, "the room is full"),
    "busy": (BUSY, "the server has as much to do as it can: try again later"),
    "may_not_create": (
        MAY_NOT_CREATE,
        "the room is not open, and the privateMapKey does not allow to create it",
    ),
}

_USER = re.compile(r"[!-~]{1,64}")
_ROLES = {"anchor": Role.ANCHOR, "audience": Role.AUDIENCE, 20: Role.ANCHOR, 21: Role.AUDIENCE}

CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": "content-type",
}


class RoomRefusal(Protocol):
    def __call__(
        self, ref: RoomRef, scene: str, user_id: str, role: Role, *, robot: bool = False, may_create: bool = True
    ) -> LeaveCause | None: ...


class JoinError(Exception):
    """``status`` is HTTP's; ``code`` the documented number."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


class JoinBody(msgspec.Struct, rename="camel", kw_only=True):
    """``role`` is a name or the callbacks' number; ``scene`` rtc or live. One of the room ids, ``roomId`` wins."""

    sdk_app_id: int
    user_id: str
    user_sig: str
    room_id: int | None = None
    str_room_id: str | None = None
    private_map_key: str | None = None
    role: Literal["anchor", "audience", 20, 21] = "anchor"
    scene: Literal["rtc", "live"] = "rtc"


class JoinResult(msgspec.Struct, kw_only=True):
    url: str
    token: str
    room: dict[str, int | str]
    user: dict[str, object]
    expiresAt: int  # Unix ms


class JoinService:
    """``application(sdk_app_id)`` finds an application; ``refusal`` says why its room would not admit somebody now;
    ``refused`` is told of who did not get in (room, user id, code, Unix ms)."""

    def __init__(
        self,
        application: Callable[[int], Application | None],
        clock: Clock,
        refusal: RoomRefusal,
        refused: Callable[[RoomRef, str, int, int], None] = lambda *_: None,
    ) -> None:
        self._application = application
        self._clock = clock
        self._refusal = refusal
        self._refused = refused

    def routes(self) -> list[BaseRoute]:
        return [Route("/v1/join", self._post, methods=["POST", "OPTIONS"])]

    def grant(self, body: JoinBody) -> JoinGrant:
        """What whoever sent this may do in that room. Raises JoinError."""
        application = self._application(body.sdk_app_id)
        if application is None:
            raise JoinError(404, UNKNOWN_APPLICATION, "sdkAppId: there is no such application")
        if _USER.fullmatch(body.user_id) is None:
            raise JoinError(400, BAD_PARAMETER, "userId: 1 to 64 printable ASCII characters without spaces")
        if body.user_id == AUTO_RECORDER:
            raise JoinError(400, BAD_PARAMETER, f"userId: {AUTO_RECORDER} is the robot of automatic recordings")
        ref = _room(body)
        now_ms = self._clock.now_ms()
        try:
            verify_user_sig(
                body.user_sig,
                sdk_app_id=body.sdk_app_id,
                secret_keys=application.secret_keys(now_ms),
                user_id=body.user_id,
                now_ms=now_ms,
            )
        except UserSigError as error:
            raise JoinError(401, error.code, error.reason) from error
        if body.scene not in application.settings.scenes:
            raise JoinError(403, NOT_ENABLED, f"scene: the application has no rooms of scene {body.scene}")
        role = _ROLES[body.role] if body.scene == "live" else Role.ANCHOR
        grant = JoinGrant(
            room=ref,
            user_id=body.user_id,
            expires_ms=now_ms + TOKEN_LIFE_S * 1000,
            role=role,
            scene=body.scene,
            can_update_metadata=True,
        )
        if application.settings.permission_control:
            grant = self._by_key(grant, body.private_map_key, application, now_ms)
        cause = self._refusal(ref, body.scene, body.user_id, role, may_create=grant.can_create)
        if cause is not None:
            code, reason = REFUSALS[cause]
            raise JoinError(503 if cause == "busy" else 403, code, reason)
        return grant

    def token(self, grant: JoinGrant) -> str:
        """Raises JoinError when the application is gone."""
        application = self._application(grant.room.sdk_app_id)
        if application is None:
            raise JoinError(404, UNKNOWN_APPLICATION, "sdkAppId: there is no such application")
        return make_join_token(grant, secret_key=application.secret_key, now_ms=self._clock.now_ms())

    def admit(self, body: JoinBody, url: str) -> JoinResult:
        """Verify and grant. Raises JoinError. ``url`` is where the client connects (``ws://host:port``)."""
        grant = self.grant(body)
        token, ref = self.token(grant), grant.room
        room: dict[str, int | str] = {"sdkAppId": ref.sdk_app_id}
        room["roomId" if ref.numeric else "strRoomId"] = ref.api_room_id
        role = Role(grant.role)
        anchor = role == Role.ANCHOR
        granted = {
            "subscribe": grant.can_subscribe,
            "publish": anchor and grant.can_publish,
            "data": anchor and grant.can_publish_data,
        }
        return JoinResult(
            url=url,
            token=token,
            room=room,
            user={
                "userId": body.user_id,
                "role": role.name.lower(),
                "permissions": [name for name, is_granted in granted.items() if is_granted],
            },
            expiresAt=grant.expires_ms,
        )

    def _by_key(self, grant: JoinGrant, text: str | None, application: Application, now_ms: int) -> JoinGrant:
        if not text:
            raise JoinError(403, BAD_PRIVATE_MAP_KEY, "privateMapKey: the application admits nobody without one")
        try:
            key = verify_private_map_key(
                text,
                room=grant.room,
                secret_keys=application.secret_keys(now_ms),
                user_id=grant.user_id,
                now_ms=now_ms,
            )
        except PrivateMapKeyError as error:
            raise JoinError(403, BAD_PRIVATE_MAP_KEY, error.reason) from error
        return limited(grant, key)

    async def _post(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers=CORS)
        body: JoinBody | None = None
        try:
            body = _decode(await _read(request))
            scheme = "wss" if request.url.scheme == "https" else "ws"
            result = self.admit(body, f"{scheme}://{request.url.netloc}")
        except JoinError as error:
            if body is not None and error.code != UNKNOWN_APPLICATION:
                self._refused(_named(body), body.user_id, error.code, self._clock.now_ms())
            response = _json(error.status, {"error": _error(error)})
            if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
                response.headers["Retry-After"] = str(BUSY_RETRY_S)
            return response
        return _json(200, msgspec.to_builtins(result))


def _error(error: JoinError) -> dict[str, object]:
    return {"code": error.code, "message": error.message, "requestId": str(uuid.uuid4())}


def _json(status: int, body: object) -> Response:
    return Response(json.dumps(body, separators=(",", ":")), status, CORS, "application/json")


def _decode(raw: bytes) -> JoinBody:
    try:
        return msgspec.json.decode(raw, type=JoinBody)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise JoinError(400, BAD_PARAMETER, f"body: {error}") from error


async def _read(request: Request) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > MAX_BODY:
                    raise JoinError(413, BAD_PARAMETER, f"body: over {MAX_BODY} bytes")
    except TimeoutError as error:
        raise JoinError(408, BAD_PARAMETER, f"body: not whole after {BODY_SECONDS:g} s") from error
    return body


def _named(body: JoinBody) -> RoomRef:
    """The room as the request names it, good or not."""
    if body.room_id is not None:
        return RoomRef(body.sdk_app_id, True, str(body.room_id))
    return RoomRef(body.sdk_app_id, False, body.str_room_id or "")


def _room(body: JoinBody) -> RoomRef:
    if body.room_id is not None:
        if not 1 <= body.room_id <= MAX_ROOM_NUMBER:
            raise JoinError(400, BAD_ROOM, f"roomId: 1 to {MAX_ROOM_NUMBER}")
        return RoomRef(body.sdk_app_id, True, str(body.room_id))
    if body.str_room_id is None:
        raise JoinError(400, BAD_ROOM, "roomId or strRoomId is missing")
    if STRING_ROOM.fullmatch(body.str_room_id) is None:
        raise JoinError(400, BAD_ROOM, "strRoomId: 1 to 64 of the documented characters")
    return RoomRef(body.sdk_app_id, False, body.str_room_id)
