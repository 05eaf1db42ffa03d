"""How answers spell times and cut lists into pages."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import TypeVar

T = TypeVar("T")

_CLOUD_ZONE = timezone(timedelta(hours=8))


def iso_time(ms: int) -> str:
    """``2026-07-22T08:00:00Z``; empty for 0, which means never."""
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if ms else ""


def cloud_time(ms: int) -> str:
    """``2026-07-22 16:00:00``: what access management answers, in the cloud's zone; empty for 0, as presets have it."""
    return datetime.fromtimestamp(ms // 1000, _CLOUD_ZONE).strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def page(items: Sequence[T], number: int, size: int) -> list[T]:
    """``number`` counts from 1; one beyond the last is empty."""
    return list(items[(number - 1) * size : number * size])
