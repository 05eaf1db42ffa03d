"""TC3 signatures: the documents' vector, vectors of the official SDK, everything that is changed, hostile headers."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.errors import ServiceError
from rtcloud.gateway import signing

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "tc3.json").read_text("utf-8"))
SDK = VECTORS[1]


def verify(vector: dict[str, Any], *, now_ms: int | None = None, service: str | None = None) -> None:
    headers, body = vector["headers"], vector["body"].encode()
    authorization = signing.parse_authorization(headers.get("authorization"))
    moment = vector["now_s"] * 1000 if now_ms is None else now_ms
    signing.check_time(authorization, headers.get("x-tc-timestamp"), service or vector["service"], moment)
    if headers.get("x-tc-content-sha256") == signing.UNSIGNED_PAYLOAD:
        body = signing.UNSIGNED_PAYLOAD.encode()
    signing.check_signature(
        authorization,
        vector["secret_key"],
        method=vector["method"],
        query="",
        headers=headers,
        payload_hash=signing.hash_payload(body),
        timestamp=headers["x-tc-timestamp"],
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
    assert code_of(changed(x_tc_timestamp=None)) == "MissingParameter"
    for text in ("soon", "-1", "1e9", "", "1" * 40, "١٧٠٠٠٠٠٠٠٠"):
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
