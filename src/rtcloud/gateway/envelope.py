"""What every answer looks like: ``{"Response": {…, "RequestId": …}}``. Pure; the only place errors become answers."""

from typing import Any

import msgspec

from rtcloud.errors import ServiceError


class _Fault(msgspec.Struct, rename="pascal"):
    code: str
    message: str


class _Failure(msgspec.Struct, rename="pascal"):
    error: _Fault
    request_id: str


def success(result: msgspec.Struct, request_id: str) -> bytes:
    """``result`` has the API's member names (by ``rename``)."""
    members: dict[str, Any] = msgspec.to_builtins(result)
    members["RequestId"] = request_id
    return msgspec.json.encode({"Response": members})


def failure(error: ServiceError, request_id: str) -> bytes:
    body = _Failure(_Fault(error.code, error.message), request_id)
    return msgspec.json.encode({"Response": body})
