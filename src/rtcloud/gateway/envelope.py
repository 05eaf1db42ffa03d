"""What every answer looks like: ``{"Response": {…, "RequestId": …}}``. Pure; the only place errors become answers."""

import msgspec

from rtcloud.errors import ServiceError

MAX_ANSWER = 10 * 1024 * 1024


class _Fault(msgspec.Struct, rename="pascal"):
    code: str
    message: str


class _Failure(msgspec.Struct, rename="pascal"):
    error: _Fault
    request_id: str


def success(result: msgspec.Struct, request_id: str) -> bytes:
    """``result`` has the API's member names (by ``rename``). RequestId comes last, as documented."""
    members = msgspec.json.encode(result)
    if len(members) > MAX_ANSWER:
        raise ServiceError("ResponseSizeLimitExceeded", f"the answer is larger than {MAX_ANSWER // 1024 // 1024} MB")
    comma = b"," if len(members) > 2 else b""
    return b'{"Response":%b%b"RequestId":"%b"}}' % (members[:-1], comma, request_id.encode())


def failure(error: ServiceError, request_id: str) -> bytes:
    body = _Failure(_Fault(error.code, error.message), request_id)
    return msgspec.json.encode({"Response": body})
