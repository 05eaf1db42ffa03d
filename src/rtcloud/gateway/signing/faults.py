"""What a request is told whose signature is not one, is of another time, or does not match. Pure."""

import functools
import re
from datetime import UTC, datetime

from rtcloud.errors import ServiceError

WINDOW_S = 300
_TIMESTAMP = re.compile(r"\d{1,12}", re.ASCII)


def invalid(message: str) -> ServiceError:
    return ServiceError("AuthFailure.InvalidAuthorization", message)


def failure(message: str) -> ServiceError:
    return ServiceError("AuthFailure.SignatureFailure", message)


def check_time(name: str, timestamp: str | None, now_ms: int) -> int:
    """The request's time in seconds, which is within five minutes of ours, both ways. ``name`` is its parameter's."""
    if not timestamp:
        raise ServiceError("MissingParameter", f"{name} is required")
    if _TIMESTAMP.fullmatch(timestamp) is None:
        raise ServiceError("InvalidParameterValue", f"{name} must be a Unix time in seconds")
    seconds = int(timestamp)
    if abs(seconds * 1000 - now_ms) > WINDOW_S * 1000:
        raise ServiceError(
            "AuthFailure.SignatureExpire", f"{name} {seconds} is more than five minutes from the server's time"
        )
    return seconds


@functools.lru_cache(maxsize=8)
def utc_date(day: int) -> str:
    """``day`` counts from 1970-01-01."""
    return datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
