"""What a stranger may make us do before a signature has proved right. Pure.

Bodies are hashed only when they are whole, so bytes are counted as they come: against the client's address and against
the whole gateway, each a bucket that fills again with time. When the signature is right they are put back, so a caller
with keys is held up only while strangers flood from the same address. The first ``FREE_BYTES`` of a body are not
counted: its small requests always get through. Failed authentications are counted per address and second; beyond the
limit a failing request is told so instead of its fault, and large bodies are refused unread.

Only addresses that something is held against are kept, at most ``max_addresses``; then the one least lately seen is
forgotten, and the gateway's own bucket still holds. IPv6 callers count by their /64, which is one customer's.
"""

import ipaddress
from dataclasses import dataclass

from rtcloud.errors import ServiceError

FREE_BYTES = 16 * 1024
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Bytes that may be unproved at once, how many of them are forgiven each second, and failures per second."""

    address_bytes: int = 64 * MEBIBYTE
    address_bytes_per_second: int = 8 * MEBIBYTE
    gateway_bytes: int = 256 * MEBIBYTE
    gateway_bytes_per_second: int = 64 * MEBIBYTE
    failures_per_second: int = 100
    max_addresses: int = 10_000


class _Bucket:
    """``held``: unproved bytes that have not been forgiven yet."""

    __slots__ = ("_at_ms", "_held", "_limit", "_per_second")

    def __init__(self, limit: int, per_second: int, now_ms: int) -> None:
        self._limit = limit
        self._per_second = per_second
        self._held = 0.0
        self._at_ms = now_ms

    def held(self, now_ms: int) -> float:
        forgiven = max(0, now_ms - self._at_ms) * self._per_second / 1000
        self._held, self._at_ms = max(0.0, self._held - forgiven), now_ms
        return self._held

    def has_room(self, size: int, now_ms: int) -> bool:
        return self.held(now_ms) + size <= self._limit

    def take(self, size: int) -> None:
        self._held += size

    def give(self, size: int, now_ms: int) -> None:
        self._held = max(0.0, self.held(now_ms) - size)


class _Record:
    __slots__ = ("bucket", "failures", "second")

    def __init__(self, bucket: _Bucket) -> None:
        self.bucket = bucket
        self.second = -1
        self.failures = 0


class Guard:
    def __init__(self, settings: GuardSettings | None = None) -> None:
        self._settings = settings or GuardSettings()
        self._gateway = _Bucket(self._settings.gateway_bytes, self._settings.gateway_bytes_per_second, 0)
        self._records: dict[str, _Record] = {}  # the one least lately seen first

    def take(self, address: str, size: int, now_ms: int) -> None:
        """``size`` more bytes of a body that is not proved yet, or a ``ServiceError``."""
        record = self._record(group_of(address), now_ms)
        if self._fails_too_often(record, now_ms) or not record.bucket.has_room(size, now_ms):
            raise _too_much("too many unproved bytes or failed signatures from this address")
        if not self._gateway.has_room(size, now_ms):
            raise ServiceError("ServiceUnavailable", "too many large requests without a good signature; try again")
        record.bucket.take(size)
        self._gateway.take(size)

    def give(self, address: str, size: int, now_ms: int) -> None:
        """The signature over ``size`` taken bytes was right."""
        self._gateway.give(size, now_ms)
        record = self._records.get(group_of(address))
        if record is not None:
            record.bucket.give(size, now_ms)

    def failed(self, address: str, now_ms: int) -> None:
        """Count one failed authentication; raises when the address has had too many in this second."""
        record = self._record(group_of(address), now_ms)
        if record.second != now_ms // 1000:
            record.second, record.failures = now_ms // 1000, 0
        record.failures += 1
        if record.failures > self._settings.failures_per_second:
            raise _too_much(f"more than {self._settings.failures_per_second} failed signatures a second")

    def _fails_too_often(self, record: _Record, now_ms: int) -> bool:
        return record.second == now_ms // 1000 and record.failures >= self._settings.failures_per_second

    def _record(self, group: str, now_ms: int) -> _Record:
        settings = self._settings
        record = self._records.pop(group, None)
        if record is None:
            record = _Record(_Bucket(settings.address_bytes, settings.address_bytes_per_second, now_ms))
            if len(self._records) >= settings.max_addresses:
                del self._records[next(iter(self._records))]
        self._records[group] = record
        return record


def group_of(address: str) -> str:
    """What is counted as one client: an IPv4 address, or the /64 of an IPv6 one."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


def _too_much(message: str) -> ServiceError:
    return ServiceError("RequestLimitExceeded.IPLimitExceeded", message)
