"""TC3-HMAC-SHA256: what was signed, and whether it was signed with the key pair's secret. Pure.

The signed text binds method, query, the signed headers, the body's hash, the time and the day, so nothing that is
signed can be changed, and an old request cannot be repeated after five minutes. The derived key of a day is kept: most
requests of a caller then cost two hashes and one HMAC.
"""

import functools
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from rtcloud.errors import ServiceError

ALGORITHM = "TC3-HMAC-SHA256"
WINDOW_S = 300
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
MAX_SIGNED_HEADERS = 32
_REQUIRED_HEADERS = ("content-type", "host")
_NAME = r"[!-+\--:<-~]+"  # a header name here: printable, without comma and semicolon
_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256 +"
    r"Credential=(?P<secret_id>[^/,\s]{1,128})/(?P<date>\d{4}-\d\d-\d\d)/(?P<service>[a-z0-9_-]{1,64})/tc3_request, *"
    rf"SignedHeaders=(?P<headers>{_NAME}(?:;{_NAME})*), *"
    r"Signature=(?P<signature>[0-9a-f]{64})",
    re.ASCII,
)
_TIMESTAMP = re.compile(r"\d{1,12}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Authorization:
    """The parsed header of that name."""

    secret_id: str
    date: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


def parse_authorization(header: str | None) -> Authorization:
    if not header:
        raise _invalid("the Authorization header is missing: requests are signed with TC3-HMAC-SHA256")
    match = _AUTHORIZATION.fullmatch(header)
    if match is None:
        raise _invalid("the Authorization header is not a TC3-HMAC-SHA256 authorization")
    headers = tuple(match["headers"].split(";"))
    if len(headers) > MAX_SIGNED_HEADERS:
        raise _invalid(f"more than {MAX_SIGNED_HEADERS} SignedHeaders")
    for name in _REQUIRED_HEADERS:
        if name not in headers:
            raise _invalid(f"SignedHeaders must include {name}")
    return Authorization(match["secret_id"], match["date"], match["service"], headers, match["signature"])


def check_time(authorization: Authorization, timestamp: str | None, service: str, now_ms: int) -> None:
    """The request's time is near ours and its credential is of that day and of this service."""
    if timestamp is None:
        raise ServiceError("MissingParameter", "X-TC-Timestamp is required")
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise ServiceError("InvalidParameterValue", "X-TC-Timestamp must be a Unix time in seconds")
    seconds = int(timestamp)
    if abs(seconds * 1000 - now_ms) > WINDOW_S * 1000:
        raise ServiceError(
            "AuthFailure.SignatureExpire", f"X-TC-Timestamp {seconds} is more than five minutes from the server's time"
        )
    if authorization.date != _date(seconds // 86_400):
        raise _failure("the date in Credential is not the UTC date of X-TC-Timestamp")
    if authorization.service != service:
        raise _failure(f"Credential must name the service {service}")


def check_signature(
    authorization: Authorization,
    secret_key: str,
    *,
    method: str,
    query: str,
    headers: Mapping[str, str],
    payload_hash: str,
    timestamp: str,
) -> None:
    """``headers`` has lower-case names; ``payload_hash`` is the hex SHA-256 of the body (see ``hash_payload``)."""
    values = [headers.get(name) for name in authorization.signed_headers]
    if None in values:
        absent = authorization.signed_headers[values.index(None)]
        raise _failure(f"the signed header {absent[:64]} is not in the request")
    # The documents lower the values; some clients sign them as they are. The two differ only in letter case.
    for lower in (True, False):
        text = _text_to_sign(authorization, values, lower, method, query, payload_hash, timestamp)
        key = _signing_key(secret_key, authorization.date, authorization.service)
        made = hmac.digest(key, text.encode("latin-1", "replace"), "sha256").hex()
        if hmac.compare_digest(made, authorization.signature):
            return
    raise _failure("the signature does not match the request")


def hash_payload(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _text_to_sign(
    authorization: Authorization,
    values: list[str | None],
    lower: bool,
    method: str,
    query: str,
    payload_hash: str,
    timestamp: str,
) -> str:
    names = authorization.signed_headers
    lines = "".join(
        f"{name}:{(value.lower() if lower else value).strip()}\n"
        for name, value in zip(names, values, strict=True)
        if value is not None
    )
    canonical = f"{method}\n/\n{query}\n{lines}\n{';'.join(names)}\n{payload_hash}"
    digest = hashlib.sha256(canonical.encode("latin-1", "replace")).hexdigest()
    scope = f"{authorization.date}/{authorization.service}/tc3_request"
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{digest}"


@functools.lru_cache(maxsize=1024)
def _signing_key(secret_key: str, date: str, service: str) -> bytes:
    day = hmac.digest(f"TC3{secret_key}".encode(), date.encode(), "sha256")
    return hmac.digest(hmac.digest(day, service.encode(), "sha256"), b"tc3_request", "sha256")


@functools.lru_cache(maxsize=8)
def _date(day: int) -> str:
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")


def _invalid(message: str) -> ServiceError:
    return ServiceError("AuthFailure.InvalidAuthorization", message)


def _failure(message: str) -> ServiceError:
    return ServiceError("AuthFailure.SignatureFailure", message)
