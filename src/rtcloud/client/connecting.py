"""How a program gets into a room: with an address and a token, or with a user signature through ``/v1/join``."""

import contextlib
from collections.abc import Awaitable, Callable, Generator
from types import TracebackType
from typing import Any, Literal

import msgspec

from rtcloud.client.joining import ConnectError, client_info
from rtcloud.client.peer import Peer, PeerConfig
from rtcloud.client.room import Room
from rtcloud.client.session import Session
from rtcloud.clock import Clock, SystemClock

#: What the server stores as the device of this client.
DEVICE = "rtcloud-native"
JOIN_S = 10.0


class Connecting(Awaitable[Room]):
    """``async with connect(…) as room`` leaves at the end of the block; ``room = await connect(…)`` is left by the
    caller."""

    def __init__(self, opening: Callable[[], Awaitable[Room]]) -> None:
        self._opening = opening
        self._room: Room | None = None

    def __await__(self) -> Generator[Any, None, Room]:
        return self._opening().__await__()

    async def __aenter__(self) -> Room:
        self._room = await self._opening()
        return self._room

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._room is not None:
            await self._room.leave()


def connect(
    url: str,
    token: str,
    *,
    auto_subscribe: bool = True,
    device: str = DEVICE,
    gather_s: float = 0.0,
    config: PeerConfig | None = None,
    clock: Clock | None = None,
    make_peer: Callable[[], Peer] | None = None,
) -> Connecting:
    """Join the room that ``token`` names, at the server ``url`` (ws, wss, http or https).

    With ``auto_subscribe`` everything that others publish is received, otherwise what ``subscribe`` asks for. A program
    that need not have each frame at once spends less with ``gather_s``: for so long frames are gathered. Returns
    when media can flow. Raises ConnectError. A connection that is lost later is restored without the program's doing
    (events ``Reconnecting``, ``Reconnected``); when that fails, or the server sends the user away, ``Disconnected`` is
    the last event.
    """

    async def open_room() -> Room:
        session = Session(token, client_info(device), auto_subscribe=auto_subscribe)
        room = Room(url, session, make_peer or _native_peers(config or PeerConfig(), gather_s), clock or SystemClock())
        await room.open()
        return room

    return Connecting(open_room)


def join(
    base_url: str,
    sdk_app_id: int,
    user_id: str,
    user_sig: str,
    *,
    room_id: int | None = None,
    str_room_id: str | None = None,
    role: Literal["anchor", "audience"] = "anchor",
    scene: Literal["rtc", "live"] = "rtc",
    private_map_key: str | None = None,
    auto_subscribe: bool = True,
    config: PeerConfig | None = None,
) -> Connecting:
    """Join with a user signature: asks ``/v1/join`` of the server at ``base_url`` for a token and connects with it.

    One of ``room_id`` (a numeric room) and ``str_room_id``. Raises ConnectError with the server's code."""
    if (room_id is None) == (str_room_id is None):
        raise ValueError("one of room_id and str_room_id")
    body: dict[str, object] = {"sdkAppId": sdk_app_id, "userId": user_id, "userSig": user_sig}
    body |= {"roomId": room_id} if room_id is not None else {"strRoomId": str_room_id}
    body |= {"role": role, "scene": scene}
    if private_map_key is not None:
        body["privateMapKey"] = private_map_key

    async def open_room() -> Room:
        grant = await _grant(base_url, body)
        return await connect(grant.url, grant.token, auto_subscribe=auto_subscribe, config=config)

    return Connecting(open_room)


class _Grant(msgspec.Struct):
    url: str
    token: str


class _Error(msgspec.Struct):
    code: int | str = 0
    message: str = ""


class _Refusal(msgspec.Struct):
    error: _Error


async def _grant(base_url: str, body: dict[str, object]) -> _Grant:
    import httpx  # who has a token does without

    url = base_url.rstrip("/") + "/v1/join"
    # Without TLS there is nothing to verify, and making the context takes longer than the whole join.
    verify = url.startswith("https:")
    try:
        async with httpx.AsyncClient(timeout=JOIN_S, trust_env=False, verify=verify) as client:
            response = await client.post(
                url, content=msgspec.json.encode(body), headers={"content-type": "application/json"}
            )
    except httpx.HTTPError as error:
        raise ConnectError("JOIN_FAILURE", f"{url}: {error}") from error
    if response.status_code != 200:
        refusal = _Error(message=response.text[:500])
        with contextlib.suppress(msgspec.DecodeError, msgspec.ValidationError):
            refusal = msgspec.json.decode(response.content, type=_Refusal).error
        code = refusal.code if isinstance(refusal.code, int) else 0
        raise ConnectError("JOIN_FAILURE", refusal.message, status=response.status_code, code=code)
    try:
        return msgspec.json.decode(response.content, type=_Grant)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise ConnectError("JOIN_FAILURE", "the server's answer is not understood", status=200) from error


def _native_peers(config: PeerConfig, gather_s: float) -> Callable[[], Peer]:
    from rtcloud.client.native import NativePeer

    return lambda: NativePeer(config, gather_s)
