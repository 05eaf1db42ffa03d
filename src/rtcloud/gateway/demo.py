"""The demo page at ``/demo`` and what it asks of the server.

Mounted only when the demo option is on, for it hands out credentials: whoever reaches it may join any room of the
first application and record it. Requests that change something must be JSON, which other sites' pages cannot send
without being asked about it first; nothing answers such a question.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Route

from rtcloud.accounts.entities import Credentials
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.clock import Clock
from rtcloud.errors import ServiceError
from rtcloud.gateway.demo_recordings import DemoRecordings
from rtcloud.rooms.ids import RoomRef

PAGE = Path(__file__).parent / "static" / "demo"
MAX_BODY = 4096
USER_SIG_S = 86_400
LARGEST_ROOM_ID = 4_294_967_294
_USER_ID = re.compile(r"[A-Za-z0-9_-]{1,32}")
_MEDIA_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".ts": "video/mp2t",
    ".mp4": "video/mp4",
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
}

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]


class UserSigRequest(msgspec.Struct, rename="camel"):
    user_id: str


class RecordingRequest(msgspec.Struct, rename="camel"):
    room_id: int | None = None
    str_room_id: str | None = None

    def room(self, sdk_app_id: int) -> RoomRef:
        if self.room_id is not None and 1 <= self.room_id <= LARGEST_ROOM_ID:
            return RoomRef(sdk_app_id, True, str(self.room_id))
        if self.str_room_id and len(self.str_room_id) <= 64:
            return RoomRef(sdk_app_id, False, self.str_room_id)
        raise ServiceError("InvalidParameterValue", "roomId is 1 to 4294967294, strRoomId has 1 to 64 characters")


def demo_routes(credentials: Callable[[], Credentials], files: Path, clock: Clock) -> list[BaseRoute]:
    """``files`` is where recordings go (``DIR/files``); ``credentials`` gives the first user's of now."""
    recordings = DemoRecordings(credentials, files, clock)

    async def page(request: Request) -> Response:
        return _file(PAGE, "index.html", "no-cache")

    async def whep(request: Request) -> Response:
        return _file(PAGE, "whep.html", "no-cache")

    async def static(request: Request) -> Response:
        return _file(PAGE, request.path_params["path"], "no-cache")

    async def stored(request: Request) -> Response:
        return await asyncio.to_thread(_file, recordings.place, request.path_params["path"], "no-cache")

    async def user_sig(request: Request) -> Response:
        wanted = await _body(request, UserSigRequest)
        if not _USER_ID.fullmatch(wanted.user_id):
            raise ServiceError("InvalidParameterValue", "userId has 1 to 32 letters, digits, _ and -")
        known = credentials()
        made = make_user_sig(
            known.sdk_app_id, known.sdk_secret_key, wanted.user_id, now_ms=clock.now_ms(), expire_s=USER_SIG_S
        )
        return _json({"sdkAppId": known.sdk_app_id, "userSig": made})

    async def start(request: Request) -> Response:
        wanted = await _body(request, RecordingRequest)
        return _json({"taskId": await recordings.start(wanted.room(credentials().sdk_app_id))})

    async def stop(request: Request) -> Response:
        await recordings.stop(request.path_params["task_id"])
        return _json({})

    async def listed(request: Request) -> Response:
        return _json({"recordings": await asyncio.to_thread(recordings.list)})

    return [
        Route("/demo", page),
        Route("/demo/", page),
        Route("/demo/whep", whep),
        Route("/demo/static/{path:path}", static),
        Route("/demo/files/{path:path}", _answering(stored)),
        Route("/demo/api/user-sig", _answering(user_sig), methods=["POST"]),
        Route("/demo/api/recordings", _answering(start), methods=["POST"]),
        Route("/demo/api/recordings", _answering(listed), methods=["GET"]),
        Route("/demo/api/recordings/{task_id}", _answering(stop), methods=["DELETE"]),
    ]


def _answering(endpoint: Endpoint) -> Endpoint:
    """Refusals become a JSON reason, as at ``/v1/join``."""

    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except ServiceError as error:
            status = 500 if error.code.startswith("InternalError") else 400
            return _json({"error": {"code": error.code, "message": error.message}}, status)

    return answer


async def _body(request: Request, kind: type[T]) -> T:
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise ServiceError("InvalidParameter", "the body must be application/json")
    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > MAX_BODY:
            raise ServiceError("InvalidParameter", f"the body is longer than {MAX_BODY} bytes")
    try:
        return msgspec.json.decode(received, type=kind)
    except msgspec.MsgspecError as error:
        raise ServiceError("InvalidParameter", str(error)) from error


def _file(root: Path, name: str, caching: str) -> Response:
    """The file of that name below ``root`` (its ranges too), or 404 for whatever else the name leads to."""
    try:
        base = root.resolve()
        path = (base / name).resolve()
        exists = path.is_relative_to(base) and path.is_file()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        exists = False
    if not exists:
        return _json({"error": {"code": "ResourceNotFound", "message": "there is no such file"}}, 404)
    media_type = _MEDIA_TYPES.get(path.suffix, "application/octet-stream")
    return FileResponse(
        path, media_type=media_type, headers={"Cache-Control": caching, "X-Content-Type-Options": "nosniff"}
    )


def _json(content: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
