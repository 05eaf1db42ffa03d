"""UserSig: the official libraries' encodings, every reason of refusal, hostile input."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.accounts import usersig
from rtcloud.accounts.usersig import UserSigError, make_user_sig, verify_user_sig

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "usersig.json").read_text())
ISSUED_MS = 1_700_000_000_000
KEY = "5bd2850fff3ecb11d7c805251c51ee463a25727bddc2385f3fa8bfee1bb93b5e"
APP = 1_400_000_000


def verify(
    text: str, *, app: int = APP, key: str = KEY, user: str = "alice", now_ms: int = ISSUED_MS
) -> usersig.UserSig:
    return verify_user_sig(text, sdk_app_id=app, secret_keys=(key,), user_id=user, now_ms=now_ms)


def code_of(text: str, **options: Any) -> int:
    with pytest.raises(UserSigError) as caught:
        verify(text, **options)
    return caught.value.code


def unpack(text: str) -> dict[str, Any]:
    packed = base64.b64decode(text.translate(str.maketrans("*-_", "+/=")))
    body: dict[str, Any] = json.loads(zlib.decompress(packed))
    return body


def pack(body: object) -> str:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return base64.b64encode(zlib.compress(data)).decode().translate(str.maketrans("+/=", "*-_"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["library"])
def test_every_official_encoding_is_accepted(vector: dict[str, Any]) -> None:
    verified = verify(vector["text"], app=vector["sdk_app_id"], key=vector["key"], user=vector["user_id"])
    userbuf = vector["userbuf_hex"]
    assert verified.userbuf == (bytes.fromhex(userbuf) if userbuf else None)
    assert verified.expires_ms == (vector["issued_s"] + vector["expire_s"]) * 1000


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["library"])
def test_made_signature_equals_the_official_one(vector: dict[str, Any]) -> None:
    userbuf = vector["userbuf_hex"]
    made = make_user_sig(
        vector["sdk_app_id"],
        vector["key"],
        vector["user_id"],
        now_ms=ISSUED_MS,
        expire_s=vector["expire_s"],
        userbuf=bytes.fromhex(userbuf) if userbuf else None,
    )
    assert unpack(made)["TLS.sig"] == vector["sig"]


def test_each_reason_of_refusal_has_its_documented_number() -> None:
    good = make_user_sig(APP, KEY, "alice", now_ms=ISSUED_MS, expire_s=60)
    assert verify(good, now_ms=ISSUED_MS + 60_000).user_id == "alice"
    assert code_of(good, now_ms=ISSUED_MS + 60_001) == usersig.EXPIRED
    assert code_of(good, user="bob") == usersig.USER_MISMATCH
    assert code_of(good, app=APP + 1) == usersig.APP_MISMATCH
    assert code_of(good, key=KEY[::-1]) == usersig.KEY_MISMATCH
    assert code_of("") == usersig.EMPTY
    assert code_of(good[:-8]) == usersig.TRUNCATED
    assert code_of("not a UserSig!") == usersig.TRUNCATED


def test_changed_values_are_refused() -> None:
    body = unpack(make_user_sig(APP, KEY, "alice", now_ms=ISSUED_MS, expire_s=60, userbuf=b"abc"))
    assert verify(pack(body)).userbuf == b"abc"
    assert code_of(pack(body | {"TLS.expire": 61})) == usersig.KEY_MISMATCH
    assert code_of(pack(body | {"TLS.time": 1})) == usersig.KEY_MISMATCH
    assert code_of(pack(body | {"TLS.userbuf": "YWJk"})) == usersig.KEY_MISMATCH
    assert code_of(pack({k: v for k, v in body.items() if k != "TLS.userbuf"})) == usersig.KEY_MISMATCH
    assert code_of(pack(body | {"TLS.ver": "1.0"})) == usersig.MALFORMED
    assert code_of(pack(body | {"TLS.expire": "soon"})) == usersig.MALFORMED
    assert code_of(pack({k: v for k, v in body.items() if k != "TLS.sig"})) == usersig.MALFORMED
    assert code_of(pack([])) == usersig.MALFORMED
    assert code_of(pack(b"[" * 10_000)) == usersig.MALFORMED
    assert code_of(pack(body | {"TLS.sig": "\ud800"})) in (usersig.MALFORMED, usersig.KEY_MISMATCH)


def test_any_key_that_is_good_now_may_have_signed() -> None:
    def verified(user_sig: str, now_ms: int = ISSUED_MS) -> str:
        keys = ("new", "old")
        return verify_user_sig(user_sig, sdk_app_id=APP, secret_keys=keys, user_id="alice", now_ms=now_ms).user_id

    for key in ("new", "old"):
        text = make_user_sig(APP, key, "alice", now_ms=ISSUED_MS, expire_s=60)
        assert verified(text) == "alice"
        with pytest.raises(UserSigError, match="70001"):
            verified(text, ISSUED_MS + 61_000)
    with pytest.raises(UserSigError, match="70009"):
        verified(make_user_sig(APP, "older", "alice", now_ms=ISSUED_MS, expire_s=60), ISSUED_MS + 61_000)
    with pytest.raises(UserSigError, match="70009"):
        verify_user_sig(text, sdk_app_id=APP, secret_keys=(), user_id="alice", now_ms=ISSUED_MS)


def test_what_inflates_without_bound_is_refused() -> None:
    assert code_of(pack(b" " * 4_000_000)) == usersig.MALFORMED
    assert code_of("A" * (usersig.MAX_TEXT + 4)) == usersig.MALFORMED


def test_expiry_far_away_does_not_overflow() -> None:
    text = make_user_sig(APP, KEY, "alice", now_ms=ISSUED_MS, expire_s=10**30)
    assert verify(text).expires_ms == 2**53


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda data: base64.b64encode(data).decode()))
def test_any_text_is_refused_with_a_number(text: str) -> None:
    assert code_of(text) >= usersig.EXPIRED


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=64), st.integers(1, 2**40))
def test_what_is_made_verifies(user: str, expire_s: int) -> None:
    text = make_user_sig(APP, KEY, user, now_ms=ISSUED_MS, expire_s=expire_s)
    assert verify(text, user=user).user_id == user
