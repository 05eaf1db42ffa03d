"""PrivateMapKey: a UserSig that also says which room its user may enter, until when, and what may be done there. Pure.

What it says is in ``TLS.userbuf``, big-endian: version (0 a numeric room, 1 a string room), the user's name with its
length, SDKAppID, the number of the room, the second of expiry, the permission bits, an account type, and for a string
room its name with its length. The signature covers the buffer; what it holds is compared all the same, because a key is
good for one user in one room only.
"""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntFlag

from rtcloud.accounts.tokens import JoinGrant
from rtcloud.accounts.usersig import UserSigError, verify_user_sig
from rtcloud.rooms.ids import RoomRef

NUMERIC, STRING = 0, 1
_NUMBERS = struct.Struct(">IIIII")  # SDKAppID, room, expiry, permissions, account type
_LENGTH = struct.Struct(">H")


class Permissions(IntFlag):
    """The documented bits (G:414)."""

    CREATE = 1
    ENTER = 2
    SEND_AUDIO = 4
    RECEIVE_AUDIO = 8
    SEND_VIDEO = 16
    RECEIVE_VIDEO = 32
    SEND_SCREEN = 64
    RECEIVE_SCREEN = 128
    ALL = 255


class PrivateMapKeyError(Exception):
    """``reason`` may be shown to the caller."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class PrivateMap:
    """The content of the buffer."""

    user_id: bytes
    sdk_app_id: int
    numeric: bool
    room_id: bytes  # of a numeric room the decimal number
    expires_s: int
    permissions: Permissions


_SOURCES = {
    "microphone": (Permissions.SEND_AUDIO, Permissions.RECEIVE_AUDIO),
    "camera": (Permissions.SEND_VIDEO, Permissions.RECEIVE_VIDEO),
    "screen_share": (Permissions.SEND_SCREEN, Permissions.RECEIVE_SCREEN),
    "screen_share_audio": (Permissions.SEND_AUDIO, Permissions.RECEIVE_AUDIO),  # the screen's bits are for its picture
}


@dataclass(frozen=True, slots=True)
class VerifiedKey:
    """A good key: what it allows, and until when."""

    permissions: Permissions
    expires_ms: int


def limited(grant: JoinGrant, key: VerifiedKey) -> JoinGrant:
    """``grant`` with what the key allows, in place of what an earlier key did."""
    sent = tuple(source for source, (send, _) in _SOURCES.items() if send in key.permissions)
    received = tuple(source for source, (_, receive) in _SOURCES.items() if receive in key.permissions)
    return replace(
        grant,
        can_publish=bool(sent),
        can_publish_data=bool(sent),
        can_publish_sources=sent if len(sent) < len(_SOURCES) else (),
        can_subscribe=bool(received),
        can_subscribe_sources=received if len(received) < len(_SOURCES) else (),
        can_create=Permissions.CREATE in key.permissions,
        key_expires_ms=key.expires_ms,
    )


def verify_private_map_key(
    text: str, *, room: RoomRef, secret_keys: Iterable[str], user_id: str, now_ms: int
) -> VerifiedKey:
    """What the key allows ``user_id`` in ``room``, entering at least. Raises PrivateMapKeyError."""
    try:
        verified = verify_user_sig(
            text, sdk_app_id=room.sdk_app_id, secret_keys=secret_keys, user_id=user_id, now_ms=now_ms
        )
    except UserSigError as error:
        raise PrivateMapKeyError(error.reason.replace("UserSig", "privateMapKey")) from error
    if verified.userbuf is None:
        raise PrivateMapKeyError("privateMapKey names no room: it is only a UserSig")
    content = parse(verified.userbuf)
    if content.user_id != user_id.encode() or content.sdk_app_id != room.sdk_app_id:
        raise PrivateMapKeyError("privateMapKey was made for another user or another SDKAppID")
    if content.numeric != room.numeric or content.room_id != room.room_id.encode():
        raise PrivateMapKeyError("privateMapKey was made for another room")
    if now_ms > content.expires_s * 1000:
        raise PrivateMapKeyError("privateMapKey has expired")
    if Permissions.ENTER not in content.permissions:
        raise PrivateMapKeyError("privateMapKey does not allow to enter the room")
    return VerifiedKey(content.permissions, min(verified.expires_ms, content.expires_s * 1000))


def parse(userbuf: bytes) -> PrivateMap:
    """Every byte is accounted for. Raises PrivateMapKeyError."""
    try:
        version = userbuf[0]
        user_id, place = _text(userbuf, 1)
        sdk_app_id, number, expires_s, bits, _account_type = _NUMBERS.unpack_from(userbuf, place)
        place += _NUMBERS.size
        room_id = str(number).encode()
        if version == STRING:
            room_id, place = _text(userbuf, place)
    except (IndexError, struct.error):
        raise PrivateMapKeyError("privateMapKey is cut off") from None
    if version not in (NUMERIC, STRING) or place != len(userbuf):
        raise PrivateMapKeyError("privateMapKey is not of the documented form")
    return PrivateMap(user_id, sdk_app_id, version == NUMERIC, room_id, expires_s, Permissions(bits & Permissions.ALL))


def _text(userbuf: bytes, place: int) -> tuple[bytes, int]:
    """A length of two bytes and so many bytes, and where they end."""
    (length,) = _LENGTH.unpack_from(userbuf, place)
    begin, end = place + _LENGTH.size, place + _LENGTH.size + length
    if end > len(userbuf):
        raise IndexError
    return userbuf[begin:end], end
