"""Requests that the official SDKs sent, and the documented ones: every stage of their signatures, what they decode to,
and that nothing in them can be changed. ``tests/vectors/make_signatures.py`` says how they were made.
"""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtcloud.apimodel.model import load_model
from rtcloud.errors import ServiceError
from rtcloud.gateway.decoding.fields import Field, parse_form, parse_multipart
from rtcloud.gateway.decoding.unflattening import decode_json, unflatten
from rtcloud.gateway.signing import tc3, v1
from rtcloud.gateway.signing.faults import check_time

Vector = dict[str, Any]

FOLDER = Path(__file__).parents[2] / "vectors" / "signatures"
COMMON = {"Action", "Version", "Region", "Timestamp", "Nonce", "SecretId", "Signature", "SignatureMethod", "Token"}
COMMON |= {"RequestClient", "Language"}
FLIPS = 150  # positions tried in one part of a request


def _load() -> Iterator[Any]:
    for path in sorted(FOLDER.glob("*.json")):
        for number, vector in enumerate(json.loads(path.read_text("utf-8"))):
            yield pytest.param(vector, id=f"{path.stem}-{number}-{vector['name'].replace(' ', '_')}")


VECTORS = [each.values[0] for each in _load()]
every_vector = pytest.mark.parametrize("vector", list(_load()))


def body_of(vector: Vector) -> bytes:
    return base64.b64decode(vector["body"])


def is_tc3(vector: Vector) -> bool:
    return bool(vector["algorithm"] == "TC3-HMAC-SHA256")


def payload_of(vector: Vector) -> bytes:
    unsigned = vector["headers"].get("x-tc-content-sha256")
    return body_of(vector) if unsigned is None else str(unsigned).encode()


def form_of(vector: Vector) -> dict[str, Field]:
    data = vector["query"].encode("latin-1") if vector["method"] == "GET" else body_of(vector)
    return parse_form(data)


def texts_of(fields: dict[str, Field]) -> dict[str, str]:
    return {name: field.text for name, field in fields.items()}


def verify(vector: Vector) -> None:
    headers = vector["headers"]
    if is_tc3(vector):
        tc3.verify(
            tc3.parse_authorization(headers["authorization"]),
            vector["secret_key"],
            method=vector["method"],
            query=vector["query"],
            headers=headers,
            payload_hash=tc3.hash_payload(payload_of(vector)),
            seconds=check_time("X-TC-Timestamp", headers["x-tc-timestamp"], vector["now_s"] * 1000),
        )
        return
    fields = texts_of(form_of(vector))
    if "Signature" not in fields:
        raise ServiceError("MissingParameter", "Signature is required")
    check_time("Timestamp", fields.get("Timestamp"), vector["now_s"] * 1000)
    v1.verify(fields, vector["secret_key"], method=vector["method"], host=headers["host"])


def is_refused(vector: Vector) -> bool:
    try:
        verify(vector)
    except ServiceError:
        return True
    return False


def test_there_are_enough_of_every_kind() -> None:
    assert len(VECTORS) >= 40
    kinds = {(each["algorithm"], each["method"], each["source"].split()[-1].split(",")[0]) for each in VECTORS}
    assert len(kinds) >= 12
    assert sum(each["name"] == "documented" for each in VECTORS) == 2


@every_vector
def test_signature_verifies_stage_by_stage(vector: Vector) -> None:
    if not is_tc3(vector):
        fields = texts_of(form_of(vector))
        assert v1.source_string(vector["method"], vector["headers"]["host"], fields) == vector["string_to_sign"]
        assert (
            v1.sign(fields, vector["secret_key"], method=vector["method"], host=vector["headers"]["host"])
            == (vector["signature"])
        )
        verify(vector)
        return
    authorization = tc3.parse_authorization(vector["headers"]["authorization"])
    assert authorization.service == vector["service"]
    assert authorization.signed_headers == tuple(vector["signed_headers"])
    payload_hash = tc3.hash_payload(payload_of(vector))
    values = list(vector["signed_headers"].values())
    request = tc3.canonical_request(
        vector["method"], vector["query"], authorization.signed_headers, values, payload_hash
    )
    assert request == vector["canonical_request"]
    text = tc3.string_to_sign(vector["now_s"], authorization.date, authorization.service, request)
    assert text == vector["string_to_sign"]
    key = tc3.signing_key(vector["secret_key"], authorization.date, authorization.service)
    assert tc3.signature(key, text) == vector["signature"] == authorization.signature
    verify(vector)


@pytest.mark.parametrize("vector", [each for each in _load() if each.values[0]["parameters"] is not None])
def test_parameters_are_those_that_the_program_gave(vector: Vector) -> None:
    content_type = vector["headers"].get("content-type", "")
    if content_type.startswith("application/json"):
        assert decode_json(body_of(vector)) == vector["parameters"]
        return
    if content_type.startswith("multipart/"):
        fields = parse_multipart(body_of(vector), content_type)
    else:
        fields = form_of(vector)
    own = [field for name, field in fields.items() if is_tc3(vector) or name not in COMMON]
    model = load_model()
    assert unflatten(model, model.actions[vector["action"]], own) == vector["parameters"]


@every_vector
def test_a_flipped_bit_anywhere_is_refused(vector: Vector) -> None:
    tried = 0
    for changed in _flipped(vector):
        assert is_refused(changed), changed
        tried += 1
    assert tried > 30
    assert is_refused(vector | {"method": "GET" if vector["method"] == "POST" else "POST"})
    assert is_refused(vector | {"secret_key": vector["secret_key"][:-1]})


def _flipped(vector: Vector) -> Iterator[Vector]:
    """One bit changed in whatever is signed; not what says the same as before, like a letter's case in a header."""
    headers = vector["headers"]
    if not is_tc3(vector):
        for host in _flips(headers["host"].encode()):
            yield vector | {"headers": headers | {"host": host.decode("latin-1")}}
        before = _meaning(vector)
        for data in _flips(vector["query"].encode() if vector["method"] == "GET" else body_of(vector)):
            part = {"query": data.decode("latin-1")} if vector["method"] == "GET" else {"body": base64.b64encode(data)}
            if _meaning(vector | part) != before:
                yield vector | part
        return
    for name, value in vector["signed_headers"].items():
        for raw in _flips(value.encode()):
            new = raw.decode("latin-1")
            if new.lower() != value.lower():
                yield vector | {"headers": headers | {name: new + headers[name][len(value) :]}}
    for query in _flips(vector["query"].encode()):
        yield vector | {"query": query.decode("latin-1")}
    if "x-tc-content-sha256" not in headers:
        for data in _flips(body_of(vector)):
            yield vector | {"body": base64.b64encode(data)}
    for name in ("x-tc-timestamp", "authorization"):
        for raw in _flips(headers[name].encode()):
            new = raw.decode("latin-1")
            if name != "authorization" or _signed_by(new) != _signed_by(headers[name]):
                yield vector | {"headers": headers | {name: new}}


def _flips(data: bytes) -> Iterator[bytes]:
    for position in range(0, len(data), 1 + len(data) // FLIPS):
        yield data[:position] + bytes([data[position] ^ 1 << position % 8]) + data[position + 1 :]


def _signed_by(authorization: str) -> Any:
    """All of it but the SecretId, which finds the key and is not part of what is signed."""
    try:
        parsed = tc3.parse_authorization(authorization)
    except ServiceError:
        return authorization
    return parsed.date, parsed.service, parsed.signed_headers, parsed.signature


def _meaning(vector: Vector) -> Any:
    """A form's texts; the signature as bytes, since Base64 has bits that mean nothing."""
    try:
        texts = texts_of(form_of(vector))
    except ServiceError as refusal:
        return refusal.code
    if "Signature" in texts:
        try:
            texts["Signature"] = base64.b64decode(texts["Signature"].replace(" ", "+"), validate=True).hex()
        except ValueError:
            texts["Signature"] = "none"
    return texts
