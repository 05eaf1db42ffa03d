"""Who may hold a connection without having published: bounds on what strangers can take up. Pure.

A new one is always let in, or turned away because of its own address; room is made by sending away whoever has waited
longest. So many idle connections from many addresses keep nobody out who publishes at once, as real clients do.
"""

import ipaddress
from collections.abc import Hashable
from dataclasses import dataclass

MOST = 2_000
MOST_WAITING = 512
MOST_PER_ADDRESS = 64


@dataclass(frozen=True, slots=True)
class Bounds:
    connections: int = MOST
    waiting: int = MOST_WAITING
    per_address: int = MOST_PER_ADDRESS


class Crowd:
    """Connections by a key of the caller's. One waits until it is ``settled``, and is held until it has left."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self._bounds = bounds or Bounds()
        self._held: dict[Hashable, str] = {}  # key → origin
        self._waiting: dict[Hashable, str] = {}  # of those, in the order they came

    @property
    def held(self) -> int:
        return len(self._held)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def enter(self, key: Hashable, address: str) -> bool:
        """False: not this one. Look at ``superfluous`` afterwards."""
        origin = origin_of(address)
        if sum(other == origin for other in self._waiting.values()) >= self._bounds.per_address:
            return False
        if len(self._held) >= self._bounds.connections and not self._waiting:
            return False
        self._held[key] = self._waiting[key] = origin
        return True

    def superfluous(self) -> Hashable | None:
        """Who has to go next because there are too many: it is as good as gone."""
        if len(self._waiting) <= self._bounds.waiting and len(self._held) <= self._bounds.connections:
            return None
        longest = next(iter(self._waiting), None)
        if longest is not None:
            self.leave(longest)
        return longest

    def settle(self, key: Hashable) -> None:
        self._waiting.pop(key, None)

    def leave(self, key: Hashable) -> None:
        self._waiting.pop(key, None)
        self._held.pop(key, None)


def origin_of(address: str) -> str:
    """What one stranger commands: an IPv4 address, or a network of IPv6."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
