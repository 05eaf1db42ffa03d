"""Signatures: changes, time, replays, hostile headers; the SDKs' own are in ``test_signing_vectors``."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.errors import ServiceError
from rtcloud.gateway.signing import tc3, v1
from rtcloud.gateway.signing.faults import check_time
from rtcloud.gateway.signing.replays import Replays

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "tc3.json").read_text("utf-8"))
SDK = VECTORS[1]


def verify(vector: dict[str, Any], *, now_ms: int | None = None) -> None:
    headers, body = vector["headers"], vector["body"].encode()
    authorization = tc3.parse_authorization(headers.get("authorization"))
    moment = vector["now_s"] * 1000 if now_ms is None else now_ms
    seconds = check_time("X-TC-Timestamp", headers.get("x-tc-timestamp"), moment)
    tc3.check_date(authorization, seconds)
    if headers.get("x-tc-content-sha256") == tc3.UNSIGNED_PAYLOAD:
        body = tc3.UNSIGNED_PAYLOAD.encode()
    tc3.verify(
        authorization,
        vector["secret_key"],
        method=vector["method"],
        query="",
        headers=headers,
        payload_hash=tc3.hash_payload(body),
        seconds=seconds,
    )


def code_of(vector: dict[str, Any], **options: Any) -> str:
    with pytest.raises(ServiceError) as caught:
        verify(vector, **options)
    return caught.value.code


def changed(**headers: str | None) -> dict[str, Any]:
    merged = SDK["headers"] | {name.replace("_", "-"): value for name, value in headers.items()}
    return SDK | {"headers": {name: value for name, value in merged.items() if value is not None}}


def authorization(old: str, new: str) -> dict[str, Any]:
    assert old in SDK["headers"]["authorization"]
    return changed(authorization=SDK["headers"]["authorization"].replace(old, new))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["headers"]["x-tc-action"])
def test_known_signatures_verify(vector: dict[str, Any]) -> None:
    verify(vector)


def test_anything_changed_is_refused() -> None:
    for vector in (
        SDK | {"body": SDK["body"] + " "},
        SDK | {"secret_key": "another"},
        SDK | {"method": "GET"},
        changed(host="elsewhere"),
        changed(content_type="application/json; charset=utf-8"),
        changed(x_tc_timestamp="1700000001"),
        authorization("2023-11-14", "2023-11-15"),
        authorization("/trtc/", "/cvm/"),
        authorization("content-type;host", "host;content-type"),
        authorization("content-type;host", "content-type;host;x-tc-absent"),
        changed(host=None),
    ):
        assert code_of(vector) == "AuthFailure.SignatureFailure"


def test_time_must_be_within_five_minutes() -> None:
    now = SDK["now_s"] * 1000
    verify(SDK, now_ms=now + 300_000)
    verify(SDK, now_ms=now - 300_000)
    assert code_of(SDK, now_ms=now + 300_001) == "AuthFailure.SignatureExpire"
    assert code_of(SDK, now_ms=now - 360_000) == "AuthFailure.SignatureExpire"
    for absent in (None, ""):
        assert code_of(changed(x_tc_timestamp=absent)) == "MissingParameter"
    for text in ("soon", "-1", "1e9", " ", "1" * 40, "١٧٠٠٠٠٠٠٠٠"):
        assert code_of(changed(x_tc_timestamp=text)) == "InvalidParameterValue"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer x",
        SDK["headers"]["authorization"].replace("TC3-HMAC-SHA256", "TC3-HMAC-SM3"),
        SDK["headers"]["authorization"].replace("content-type;host", "host"),
        SDK["headers"]["authorization"].replace("content-type;host", "content-type"),
        SDK["headers"]["authorization"].replace("content-type;host", ";".join(f"h{n}" for n in range(99))),
        SDK["headers"]["authorization"][:-1],
        SDK["headers"]["authorization"] + "0",
        SDK["headers"]["authorization"].replace("Credential=", "Credential=/"),
        SDK["headers"]["authorization"].replace("content-type;host", "content-type;host;" + "h" * 4000),
    ],
)
def test_malformed_authorization_is_refused(header: str | None) -> None:
    assert code_of(changed(authorization=header)) == "AuthFailure.InvalidAuthorization"


@given(st.text(max_size=300))
def test_any_authorization_is_refused_quietly(text: str) -> None:
    assert code_of(changed(authorization=text)) == "AuthFailure.InvalidAuthorization"


@given(st.text(st.characters(max_codepoint=255), max_size=60))
def test_any_signed_header_value_is_refused_quietly(text: str) -> None:
    assert code_of(changed(host=text)) == "AuthFailure.SignatureFailure"


def test_any_form_of_header_values_and_host_that_clients_sign_is_good() -> None:
    headers = {"content-type": "application/JSON; charset=UTF-8", "host": "Localhost:8080"}
    for lower in (True, False):
        for host in ("Localhost:8080", "Localhost"):
            signed = tc3.sign(
                "AKIDx",
                "k",
                service="trtc",
                headers=headers | {"host": host},
                payload=b"{}",
                seconds=1_700_000_000,
                lower=lower,
            )
            tc3.verify(
                tc3.parse_authorization(signed),
                "k",
                method="POST",
                query="",
                headers=headers,
                payload_hash=tc3.hash_payload(b"{}"),
                seconds=1_700_000_000,
            )


def test_signed_values_are_utf_8_on_the_wire() -> None:
    """Headers are Latin-1 to us; lowering must not touch the bytes of other letters."""
    value = "ÄB".encode().decode("latin-1")
    headers = {"content-type": "application/json", "host": "h", "x-name": value}
    text = "POST\n/\n\ncontent-type:application/json\nhost:h\nx-name:Äb\n\ncontent-type;host;x-name\n"
    names = ("content-type", "host", "x-name")
    signed = tc3.sign("AKIDx", "k", service="trtc", headers=headers, payload=b"", seconds=0, signed_headers=names)
    request = (text + tc3.hash_payload(b"")).encode().decode("latin-1")
    made = tc3.signature(
        tc3.signing_key("k", "1970-01-01", "trtc"), tc3.string_to_sign(0, "1970-01-01", "trtc", request)
    )
    assert signed.endswith(made)


V1 = {"Action": "RemoveUser", "Nonce": "1", "SecretId": "AKIDx", "Timestamp": "1700000000", "UserIds.0": "王 &=+%"}


def signed_v1(**changes: str) -> dict[str, str]:
    parameters = V1 | changes
    return parameters | {"Signature": v1.sign(parameters, "k", method="POST", host="h:80")}


def refused_v1(parameters: dict[str, str], *, method: str = "POST", host: str = "h:80", key: str = "k") -> bool:
    try:
        v1.verify(parameters, key, method=method, host=host)
    except ServiceError as error:
        return error.code == "AuthFailure.SignatureFailure"
    return False


@pytest.mark.parametrize("method", [None, "HmacSHA1", "HmacSHA256", "anything"])
def test_v1_signature_binds_everything(method: str | None) -> None:
    good = signed_v1(**({} if method is None else {"SignatureMethod": method}))
    assert not refused_v1(good)
    assert len(v1.verify(good, "k", method="POST", host="h:80")) == (32 if method == "HmacSHA256" else 20)
    for name in V1:
        assert refused_v1(good | {name: good[name] + "0"})
        assert refused_v1({key: value for key, value in good.items() if key != name})
    assert refused_v1(good | {"Other": ""})
    assert refused_v1(good, method="GET")
    assert refused_v1(good, host="h")
    assert refused_v1(good, key="other")


def test_v1_signature_with_an_unencoded_plus_is_read_as_meant() -> None:
    good = next(each for n in range(99) if "+" in (each := signed_v1(Nonce=str(n)))["Signature"])
    assert not refused_v1(good | {"Signature": good["Signature"].replace("+", " ")})


@given(st.text(max_size=60))
def test_any_v1_signature_is_refused_quietly(text: str) -> None:
    assert refused_v1(V1 | {"Signature": text})


def is_replay(replays: Replays, account: str, request: bytes, seconds: int, now_s: int) -> bool:
    try:
        replays.check(account, request, seconds, now_s * 1000)
    except ServiceError as error:
        return str(error).startswith("AuthFailure.SignatureFailure: this request was used before")
    return False


def test_a_v1_request_is_good_once() -> None:
    replays = Replays()
    assert not is_replay(replays, "a", b"1", 1000, 900)
    assert not is_replay(replays, "a", b"2", 1000, 900)
    assert not is_replay(replays, "b", b"1", 1000, 900)
    for now_s in (900, 1000, 1300):  # as long as its timestamp is good
        assert is_replay(replays, "a", b"1", 1000, now_s)


def test_the_memory_of_replays_is_bounded_and_forgets_the_oldest_of_the_account() -> None:
    replays = Replays(capacity=10)
    assert not is_replay(replays, "other", b"x", 1, 100)
    for number in range(100):
        assert not is_replay(replays, "a", b"%d" % number, 100 + number // 5, 100)
        assert replays._accounts["a"].count <= 10
    assert is_replay(replays, "a", b"99", 119, 100)
    assert not is_replay(replays, "a", b"0", 100, 100)
    assert is_replay(replays, "other", b"x", 1, 100)
