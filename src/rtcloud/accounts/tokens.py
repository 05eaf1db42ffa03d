"""Join tokens: short-lived JWTs that admit one user to one room. Pure.

Two kinds share one form, a LiveKit access token (HS256; ``iss`` is the SDKAppID, the key is that application's
SDKSecretKey): those that ``/v1/join`` and the workers make, and those that an application makes itself with LiveKit's
libraries. Ours carry a further claim, ``rtcloud``, with what LiveKit has no word for: whether the room is numeric,
role, scene, kind of terminal, robot, what may be received, whether it may open the room. A token without it names a
string room.

The key is looked up by the unverified issuer and nothing else of the token is believed before its signature.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

import msgspec

from rtcloud.rooms.ids import RoomRef

T = TypeVar("T")

ANCHOR = 20
AUDIENCE = 21
MAX_TOKEN = 16 * 1024
MAX_NAME = 64  # characters of a room's or a user's name, as at /v1/join
CLOCK_SKEW_S = 10  # an issuer's clock may be ahead of ours by so much
_HEADER = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9"  # {"alg":"HS256","typ":"JWT"}
_LAST_S = 2**43
_NUMERIC_ROOM = re.compile(r"[1-9][0-9]{0,9}")  # one form for one number: two would be two rooms


class TokenError(Exception):
    """``reason`` may be shown to the caller; ``expired`` tells a token that was good once."""

    def __init__(self, reason: str, *, expired: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.expired = expired


@dataclass(frozen=True, slots=True)
class JoinGrant:
    """Everything the signalling must know to admit one user.

    ``user_type`` and ``terminal_type`` are the callbacks' numbers, or None: then they follow from what the client says
    of itself. ``can_publish_sources`` and ``can_subscribe_sources`` empty means every source.
    """

    room: RoomRef
    user_id: str
    expires_ms: int
    role: int = ANCHOR
    scene: str = "rtc"
    can_publish: bool = True
    can_subscribe: bool = True
    can_publish_data: bool = True
    can_publish_sources: tuple[str, ...] = ()
    can_subscribe_sources: tuple[str, ...] = ()
    can_create: bool = True
    #: until when, Unix ms, the PrivateMapKey is good that says all this; None: no key does
    key_expires_ms: int | None = None
    can_update_metadata: bool = False
    hidden: bool = False
    robot: bool = False
    user_type: int | None = None
    terminal_type: int | None = None
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)


class _Video(msgspec.Struct, kw_only=True, rename="camel", omit_defaults=True):
    room_join: bool = False
    room: str = ""
    can_publish: bool | None = None
    can_subscribe: bool | None = None
    can_publish_data: bool | None = None
    can_publish_sources: list[str] | None = None
    can_update_own_metadata: bool | None = None
    hidden: bool = False
    agent: bool = False
    recorder: bool = False


_Small = Annotated[int, msgspec.Meta(ge=0, le=255)]


class _Own(msgspec.Struct, kw_only=True, omit_defaults=True):
    numeric: bool = False
    role: int | None = None
    scene: str = "rtc"
    robot: bool = False
    user_type: _Small | None = None
    terminal_type: _Small | None = None
    subscribe_sources: tuple[str, ...] = ()
    can_create: bool = True
    key_expires_ms: int | None = None


class _Claims(msgspec.Struct, kw_only=True, omit_defaults=True):
    iss: str
    sub: str = ""
    exp: float
    nbf: float | None = None
    name: str = ""
    metadata: str = ""
    attributes: dict[str, str] | None = None
    video: _Video | None = None
    rtcloud: _Own | None = None


class _Issuer(msgspec.Struct):
    iss: str = ""


class _Header(msgspec.Struct):
    alg: str = ""


_claims = msgspec.json.Decoder(_Claims)
_issuer = msgspec.json.Decoder(_Issuer)
_header = msgspec.json.Decoder(_Header)


def make_join_token(grant: JoinGrant, *, secret_key: str, now_ms: int) -> str:
    """A token for ``grant``, good from now until ``grant.expires_ms``, signed with the application's SDKSecretKey."""
    claims = _Claims(
        iss=str(grant.room.sdk_app_id),
        sub=grant.user_id,
        nbf=now_ms // 1000,
        exp=grant.expires_ms // 1000,
        name=grant.name,
        metadata=grant.metadata,
        attributes=grant.attributes or None,
        video=_Video(
            room_join=True,
            room=grant.room.room_id,
            can_publish=grant.can_publish,
            can_subscribe=grant.can_subscribe,
            can_publish_data=grant.can_publish_data,
            can_publish_sources=list(grant.can_publish_sources) or None,
            can_update_own_metadata=grant.can_update_metadata,
            hidden=grant.hidden,
        ),
        rtcloud=_Own(
            numeric=grant.room.numeric,
            role=grant.role,
            scene=grant.scene,
            robot=grant.robot,
            user_type=grant.user_type,
            terminal_type=grant.terminal_type,
            subscribe_sources=grant.can_subscribe_sources,
            can_create=grant.can_create,
            key_expires_ms=grant.key_expires_ms,
        ),
    )
    signed = f"{_HEADER}.{_encode(msgspec.json.encode(claims))}"
    return f"{signed}.{_encode(_sign(secret_key, signed))}"


def verify_join_token(token: str, secret_keys: Callable[[int], tuple[str, ...]], now_ms: int) -> JoinGrant:
    """What ``token`` admits to, or a ``TokenError``. ``secret_keys`` finds the SDKSecretKeys of an SDKAppID."""
    header, payload, signature = _split(token)
    if _load(_header, header).alg != "HS256":
        raise TokenError("token is not signed with HS256")
    sdk_app_id = _app_id(_load(_issuer, payload).iss)
    keys = secret_keys(sdk_app_id)
    if not keys:
        raise TokenError("token names an unknown SDKAppID")
    given = _decode(signature)
    if not any(hmac.compare_digest(_sign(key, f"{header}.{payload}"), given) for key in keys):
        raise TokenError("token is not signed with this application's key")
    claims = _load(_claims, payload)
    if claims.nbf is not None and claims.nbf > now_ms / 1000 + CLOCK_SKEW_S:
        raise TokenError("token is not valid yet")
    if claims.exp < now_ms / 1000:
        raise TokenError("token has expired", expired=True)
    return _grant(claims, sdk_app_id)


def _grant(claims: _Claims, sdk_app_id: int) -> JoinGrant:
    video, own = claims.video, claims.rtcloud or _Own()
    if video is None or not video.room_join:
        raise TokenError("token does not grant joining a room")
    if not video.room:
        raise TokenError("token names no room")
    if not claims.sub:
        raise TokenError("token names no user")
    if len(video.room) > MAX_NAME or len(claims.sub) > MAX_NAME:
        raise TokenError(f"token names a room or a user of more than {MAX_NAME} characters")
    if own.numeric and _NUMERIC_ROOM.fullmatch(video.room) is None:
        raise TokenError("token names a numeric room that is not a number")
    can_publish = video.can_publish is not False
    return JoinGrant(
        room=RoomRef(sdk_app_id, own.numeric, video.room),
        user_id=claims.sub,
        expires_ms=int(min(claims.exp, _LAST_S) * 1000),
        role=own.role if own.role is not None else (ANCHOR if can_publish else AUDIENCE),
        scene=own.scene,
        can_publish=can_publish,
        can_subscribe=video.can_subscribe is not False,
        can_publish_data=can_publish if video.can_publish_data is None else video.can_publish_data,
        can_publish_sources=tuple(video.can_publish_sources or ()),
        can_subscribe_sources=own.subscribe_sources,
        can_create=own.can_create,
        key_expires_ms=own.key_expires_ms,
        can_update_metadata=video.can_update_own_metadata is True,
        hidden=video.hidden,
        robot=own.robot or video.agent or video.recorder,
        user_type=own.user_type,
        terminal_type=own.terminal_type,
        name=claims.name,
        metadata=claims.metadata,
        attributes=claims.attributes or {},
    )


def _split(token: str) -> tuple[str, str, str]:
    if len(token) > MAX_TOKEN:
        raise TokenError("token is too long")
    parts = token.split(".")
    if len(parts) != 3 or not token.isascii():
        raise TokenError("token is not a JWT")
    return parts[0], parts[1], parts[2]


def _app_id(issuer: str) -> int:
    if not (issuer.isascii() and issuer.isdigit() and len(issuer) <= 20):
        raise TokenError("the token's issuer is not an SDKAppID")
    return int(issuer)


def _load(decoder: msgspec.json.Decoder[T], part: str) -> T:
    try:
        return decoder.decode(_decode(part))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TokenError("token does not hold the documented claims") from None


def _sign(secret_key: str, signed: str) -> bytes:
    return hmac.digest(secret_key.encode(), signed.encode(), hashlib.sha256)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(part: str) -> bytes:
    try:
        return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise TokenError("token is not base64url") from None
