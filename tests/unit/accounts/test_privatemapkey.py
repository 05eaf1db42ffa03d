"""PrivateMapKeys of the official library, and every reason of refusal."""

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.accounts.privatemapkey import (
    Permissions,
    PrivateMapKeyError,
    VerifiedKey,
    limited,
    parse,
    verify_private_map_key,
)
from rtcloud.accounts.tokens import JoinGrant
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.rooms.ids import RoomRef

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "privatemapkey.json").read_text())
APP, KEY, NOW = 1_400_000_000, "the key", 1_700_000_000_000
NUMERIC, STRING = RoomRef(APP, True, "77"), RoomRef(APP, False, "77")


def packed(
    *,
    version: int = 0,
    user: bytes = b"alice",
    app: int = APP,
    room: bytes | int = 77,
    life_s: int = 60,
    bits: int = 255,
) -> bytes:
    number, name = (room, b"") if isinstance(room, int) else (0, struct.pack(">H", len(room)) + room)
    numbers = struct.pack(">IIIII", app, number, NOW // 1000 + life_s, bits, 0)
    return struct.pack(">BH", version, len(user)) + user + numbers + name


def made(userbuf: bytes | None, *, key: str = KEY, user: str = "alice", expire_s: int = 3600) -> str:
    return make_user_sig(APP, key, user, now_ms=NOW, expire_s=expire_s, userbuf=userbuf)


def verify(text: str, room: RoomRef = NUMERIC, now_ms: int = NOW) -> VerifiedKey:
    return verify_private_map_key(text, room=room, secret_keys=("newer", KEY), user_id="alice", now_ms=now_ms)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["library"])
def test_the_official_librarys_keys(vector: dict[str, Any]) -> None:
    content = parse(bytes.fromhex(vector["userbuf_hex"]))
    assert (content.user_id.decode(), content.sdk_app_id) == (vector["user_id"], vector["sdk_app_id"])
    assert (content.numeric, content.room_id.decode()) == (vector["numeric"], vector["room_id"])
    assert content.expires_s == vector["issued_s"] + vector["expire_s"]
    room = RoomRef(vector["sdk_app_id"], vector["numeric"], vector["room_id"])
    given_key = {"room": room, "secret_keys": (vector["key"],), "user_id": vector["user_id"]}
    last_ms = content.expires_s * 1000
    verified = verify_private_map_key(vector["text"], **given_key, now_ms=last_ms)
    assert verified == VerifiedKey(Permissions(vector["permissions"]), last_ms)
    with pytest.raises(PrivateMapKeyError, match="privateMapKey has expired"):
        verify_private_map_key(vector["text"], **given_key, now_ms=last_ms + 1)


def by_bits(bits: int) -> JoinGrant:
    return limited(JoinGrant(NUMERIC, "alice", NOW), VerifiedKey(Permissions(bits), NOW + 1))


def test_what_the_bits_allow() -> None:
    documented = Permissions(42)  # enter, receive audio and video
    assert documented == Permissions.ENTER | Permissions.RECEIVE_AUDIO | Permissions.RECEIVE_VIDEO
    viewer = by_bits(42)
    assert (viewer.can_publish, viewer.can_publish_data, viewer.can_create) == (False, False, False)
    assert viewer.can_subscribe_sources == ("microphone", "camera", "screen_share_audio")
    assert viewer.key_expires_ms == NOW + 1
    assert by_bits(64).can_publish_sources == ("screen_share",)  # its sound is sound
    assert by_bits(128).can_subscribe_sources == ("screen_share",)
    assert by_bits(4 | 16).can_publish_sources == ("microphone", "camera", "screen_share_audio")
    assert by_bits(2).can_subscribe is False
    assert by_bits(1).can_create is True
    whole = by_bits(255)
    assert (whole.can_publish_sources, whole.can_subscribe_sources) == ((), ())  # every one
    assert whole == replace(JoinGrant(NUMERIC, "alice", NOW), key_expires_ms=NOW + 1)


def test_a_new_key_takes_the_place_of_the_earlier_one() -> None:
    narrowed = by_bits(2 | 8)
    assert limited(narrowed, VerifiedKey(Permissions.ALL, NOW + 2)) == replace(by_bits(255), key_expires_ms=NOW + 2)


def test_a_key_is_good_as_long_as_its_buffer_and_its_signature() -> None:
    assert verify(made(packed(life_s=60))).expires_ms == NOW + 60_000
    assert verify(made(packed(life_s=60), expire_s=10)).expires_ms == NOW + 10_000


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("x", "cut off"),
        (made(packed(), key="other"), "not signed with"),
        (made(packed(), user="bob"), "another user"),
        (made(None), "only a UserSig"),
        (made(packed(user=b"bob")), "another user"),
        (made(packed(app=7)), "another SDKAppID"),
        (made(packed(room=78)), "another room"),
        (made(packed(version=1, room=b"77")), "another room"),
        (made(packed(life_s=-1)), "expired"),
        (made(packed(), expire_s=-1), "expired"),
        (made(packed(bits=255 & ~2)), "not allow to enter"),
        (made(packed(bits=256)), "not allow to enter"),
        (made(packed(version=2)), "documented form"),
        (made(packed() + b"x"), "documented form"),
        (made(packed()[:-1]), "cut off"),
        (made(packed(version=1, room=b"77")[:-1]), "cut off"),
        (made(b""), "cut off"),
        (made(b"\0\xff\xff"), "cut off"),
    ],
)
def test_keys_that_admit_nobody(text: str, reason: str) -> None:
    with pytest.raises(PrivateMapKeyError) as caught:
        verify(text)
    assert reason in caught.value.reason


def test_a_number_and_its_text_are_two_rooms() -> None:
    assert verify(made(packed())).permissions == Permissions.ALL
    assert verify(made(packed(version=1, room=b"77")), STRING).permissions == Permissions.ALL
    with pytest.raises(PrivateMapKeyError, match="another room"):
        verify(made(packed()), STRING)


@given(st.binary(max_size=80) | st.integers(0, 40).map(lambda end: packed(version=1, room=b"77")[:end]))
def test_any_buffer_is_parsed_or_refused(userbuf: bytes) -> None:
    try:
        content = parse(userbuf)
    except PrivateMapKeyError:
        return
    assert content.permissions <= Permissions.ALL
