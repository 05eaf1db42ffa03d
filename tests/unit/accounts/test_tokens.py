"""Join tokens: ours and LiveKit's, every reason of refusal, hostile input."""

import base64
import datetime
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit import api

from rtcloud.accounts.tokens import ANCHOR, AUDIENCE, JoinGrant, TokenError, make_join_token, verify_join_token
from rtcloud.rooms.ids import RoomRef

APP, KEY = 1_400_000_000, "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
NOW = 1_700_000_000_000


def keys(app: int) -> tuple[str, ...]:
    return (KEY,) if app == APP else ()


def refused(token: str, now_ms: int = NOW) -> TokenError:
    with pytest.raises(TokenError) as caught:
        verify_join_token(token, keys, now_ms)
    return caught.value


def forge(claims: object, *, header: object = None, key: str = KEY) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    signed = f"{part(header or {'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    digest = hmac.digest(key.encode(), signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(digest).decode().rstrip('=')}"


def claims(**changes: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"iss": str(APP), "sub": "alice", "exp": NOW // 1000 + 60}
    return base | {"video": {"roomJoin": True, "room": "lobby"}} | changes


def test_grant_survives_the_round_trip() -> None:
    grant = JoinGrant(
        room=RoomRef(APP, True, "1234"),
        user_id="alice",
        expires_ms=NOW + 60_000,
        role=AUDIENCE,
        scene="live",
        can_publish=False,
        can_publish_data=True,
        can_publish_sources=("camera",),
        can_subscribe_sources=("microphone", "camera"),
        can_create=False,
        key_expires_ms=NOW + 30_000,
        robot=True,
        user_type=3,
        terminal_type=4,
        name="Alice",
        attributes={"a": "b"},
    )
    assert verify_join_token(make_join_token(grant, secret_key=KEY, now_ms=NOW), keys, NOW) == grant


def test_livekit_access_token_names_a_string_room() -> None:
    grants = api.VideoGrants(room_join=True, room="42", can_publish=True, can_publish_data=False, hidden=True)
    token = (
        api.AccessToken(str(APP), KEY)
        .with_identity("bob")
        .with_name("Bob")
        .with_metadata("m")
        .with_attributes({"k": "v"})
        .with_ttl(datetime.timedelta(hours=1))
        .with_grants(grants)
        .to_jwt()
    )
    now_ms = int(datetime.datetime.now(datetime.UTC).timestamp() * 1000)
    grant = verify_join_token(token, keys, now_ms)
    assert grant.room == RoomRef(APP, False, "42")
    assert (grant.user_id, grant.name, grant.metadata, grant.attributes) == ("bob", "Bob", "m", {"k": "v"})
    assert (grant.can_publish, grant.can_publish_data, grant.can_subscribe, grant.hidden) == (True, False, True, True)
    assert (grant.role, grant.user_type, grant.robot) == (ANCHOR, None, False)
    assert refused(token, now_ms + 3_700_000).expired


def test_absent_permissions_are_granted() -> None:
    grant = verify_join_token(forge(claims()), keys, NOW)
    assert grant.can_publish
    assert grant.can_subscribe
    assert grant.can_publish_data
    assert grant.role == ANCHOR
    assert grant.can_create
    assert grant.can_subscribe_sources == ()
    quiet = verify_join_token(forge(claims(video={"roomJoin": True, "room": "x", "canPublish": False})), keys, NOW)
    assert quiet.role == AUDIENCE
    assert not quiet.can_publish_data


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        (forge(claims(), key="other"), "not signed with"),
        (forge(claims(), header={"alg": "none"}), "HS256"),
        (forge(claims(), header={"alg": "HS512"}), "HS256"),
        (forge(claims(iss="7")), "unknown SDKAppID"),
        (forge(claims(iss="devkey")), "not an SDKAppID"),
        (forge(claims(exp=NOW // 1000 - 1)), "expired"),
        (forge(claims(nbf=NOW // 1000 + 60)), "not valid yet"),
        (forge(claims(sub="")), "no user"),
        (forge(claims(video={"roomJoin": True})), "no room"),
        (forge(claims(video={"roomJoin": False, "room": "x"})), "not grant"),
        (forge(claims(video=None)), "not grant"),
        (forge({k: v for k, v in claims().items() if k != "exp"}), "claims"),
        (forge(claims(exp="later")), "claims"),
        (forge(claims(rtcloud={"numeric": True})), "not a number"),
        (forge(claims(video={"roomJoin": True, "room": "077"}, rtcloud={"numeric": True})), "not a number"),
        (forge(claims(video={"roomJoin": True, "room": "r" * 65})), "more than 64"),
        (forge(claims(sub="u" * 65)), "more than 64"),
        (forge(claims(rtcloud={"user_type": 2**70})), "claims"),
        (forge([]), "claims"),
        ("", "not a JWT"),
        ("a.b", "not a JWT"),
        ("a.b.c.d", "not a JWT"),
        ("§.b.c", "not a JWT"),
        ("!.b.c", "base64url"),
        ("x" * 20_000, "too long"),
    ],
)
def test_bad_tokens_are_refused(token: str, reason: str) -> None:
    assert reason in refused(token).reason


def test_any_key_that_is_good_now_may_have_signed() -> None:
    for signed_by in ("new", "old"):
        token = forge(claims(), key=signed_by)
        assert verify_join_token(token, lambda app: ("new", "old"), NOW).user_id == "alice"
    with pytest.raises(TokenError, match="not signed"):
        verify_join_token(forge(claims(), key="older"), lambda app: ("new", "old"), NOW)


def test_signature_of_another_length_is_refused() -> None:
    token = forge(claims())
    assert "not signed" in refused(token[: token.rindex(".") + 1]).reason
    assert "not signed" in refused(token + "AAAA").reason


@given(st.text(max_size=200))
def test_any_text_is_refused(text: str) -> None:
    refused(text)
