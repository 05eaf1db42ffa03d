"""TC3-HMAC-SHA256: what was signed, and whether it was signed with the key pair's secret. Pure.

The signed text binds method, query, the signed headers, the body's hash, the time and the day, so nothing that is
signed can be changed, and an old request cannot be repeated after five minutes. The derived key of a day is kept: most
requests of a caller then cost two hashes and one HMAC. The stages are functions of their own, to be checked one by one.

Clients differ in two things: whether header values are lowered, and (the Node SDK) whether the host is signed without
its port. Each form signs the same request, so any of them is good.
"""

import functools
import hashlib
import hmac
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rtcloud.gateway.signing.faults import failure, invalid, utc_date

ALGORITHM = "TC3-HMAC-SHA256"
UNSIGNED_PAYLOAD = "UNSIGNED-PAYLOAD"
MAX_SIGNED_HEADERS = 32
MAX_AUTHORIZATION = 4096
_REQUIRED_HEADERS = ("content-type", "host")
_NAME = r"[!-+\--:<-~]+"  # a header name here: printable, without comma and semicolon
_AUTHORIZATION = re.compile(
    r"TC3-HMAC-SHA256 +"
    r"Credential=(?P<secret_id>[^/,\s]{1,128})/(?P<date>\d{4}-\d\d-\d\d)/(?P<service>[!-+\--.0-~]{1,64})/tc3_request, *"
    rf"SignedHeaders=(?P<headers>{_NAME}(?:;{_NAME})*), *"
    r"Signature=(?P<signature>[0-9a-f]{64})",
    re.ASCII,
)


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
        raise invalid("the Authorization header is missing: requests are signed with TC3-HMAC-SHA256")
    match = _AUTHORIZATION.fullmatch(header) if len(header) <= MAX_AUTHORIZATION else None
    if match is None:
        raise invalid("the Authorization header is not a TC3-HMAC-SHA256 authorization")
    secret_id, date, service, names, signature = match.groups()
    headers = tuple(names.split(";"))
    if len(headers) > MAX_SIGNED_HEADERS:
        raise invalid(f"more than {MAX_SIGNED_HEADERS} SignedHeaders")
    for name in _REQUIRED_HEADERS:
        if name not in headers:
            raise invalid(f"SignedHeaders must include {name}")
    return Authorization(secret_id, date, service, headers, signature)


def check_date(authorization: Authorization, seconds: int) -> None:
    if authorization.date != utc_date(seconds // 86_400):
        raise failure("the date in Credential is not the UTC date of X-TC-Timestamp")


def verify(
    authorization: Authorization,
    secret_key: str,
    *,
    method: str,
    query: str,
    headers: Mapping[str, str],
    payload_hash: str,
    seconds: int,
) -> None:
    """``headers`` has lower-case names; ``query`` is what a GET request has after the question mark, as it was sent;
    ``payload_hash`` is of the body (``hash_payload``), of nothing for GET, or of ``UNSIGNED_PAYLOAD``."""
    date, names = authorization.date, authorization.signed_headers
    values = []
    for name in names:
        value = headers.get(name)
        if value is None:
            raise failure(f"the signed header {name[:64]} is not in the request")
        values.append(value)
    key = signing_key(secret_key, date, authorization.service)
    for form in _forms(names, values):
        request = canonical_request(method, query, names, form, payload_hash)
        made = signature(key, string_to_sign(seconds, date, authorization.service, request))
        if hmac.compare_digest(made, authorization.signature):
            return
    raise failure("the signature does not match the request")


def sign(
    secret_id: str,
    secret_key: str,
    *,
    service: str,
    headers: Mapping[str, str],
    payload: bytes,
    seconds: int,
    method: str = "POST",
    query: str = "",
    signed_headers: Sequence[str] = _REQUIRED_HEADERS,
    lower: bool = True,
) -> str:
    """The Authorization header for a request with these headers (lower-case names). ``lower``: as documented."""
    date = utc_date(seconds // 86_400)
    values = [_lower(headers[name]) if lower else headers[name] for name in signed_headers]
    request = canonical_request(method, query, signed_headers, values, hash_payload(payload))
    made = signature(signing_key(secret_key, date, service), string_to_sign(seconds, date, service, request))
    return (
        f"{ALGORITHM} Credential={secret_id}/{date}/{service}/tc3_request, "
        f"SignedHeaders={';'.join(signed_headers)}, Signature={made}"
    )


def hash_payload(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def canonical_request(method: str, query: str, names: Sequence[str], values: Sequence[str], payload_hash: str) -> str:
    lines = "".join([f"{name}:{value.strip()}\n" for name, value in zip(names, values, strict=True)])
    return f"{method}\n/\n{query}\n{lines}\n{';'.join(names)}\n{payload_hash}"


def string_to_sign(seconds: int, date: str, service: str, request: str) -> str:
    digest = hashlib.sha256(request.encode("latin-1", "replace")).hexdigest()
    return f"{ALGORITHM}\n{seconds}\n{date}/{service}/tc3_request\n{digest}"


@functools.lru_cache(maxsize=1024)
def signing_key(secret_key: str, date: str, service: str) -> bytes:
    day = hmac.digest(f"TC3{secret_key}".encode(), date.encode(), "sha256")
    return hmac.digest(hmac.digest(day, service.encode(), "sha256"), b"tc3_request", "sha256")


def signature(key: bytes, text: str) -> str:
    return hmac.digest(key, text.encode("latin-1"), "sha256").hex()


def _forms(names: Sequence[str], values: list[str]) -> Iterator[list[str]]:
    """The values as they may have been signed, the documented form first."""
    lowered = [_lower(value) for value in values]
    yield lowered
    if lowered != values:
        yield values
    at = names.index("host")
    bare = values[at].rpartition(":")[0]
    if bare and values[at][len(bare) + 1 :].isdigit():
        yield [*lowered[:at], _lower(bare), *lowered[at + 1 :]]
        if lowered != values:
            yield [*values[:at], bare, *values[at + 1 :]]


def _lower(value: str) -> str:
    """Only ASCII: the others are bytes of UTF-8 here."""
    return value.lower() if value.isascii() else value.encode("latin-1", "replace").lower().decode("latin-1")
