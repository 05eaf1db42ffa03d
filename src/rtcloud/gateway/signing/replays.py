"""Which v1 requests were seen: the same signed request is refused within its time window. Pure.

Only requests whose signature was right are kept, apart for each account, until their timestamp is too old anyway. Of an
account ``capacity`` are kept; then those with the oldest timestamps are forgotten, and could be repeated. So an account
can weaken only itself, by more than 330 v1 calls a second for ten minutes; TC3 has no nonce and no such memory.
"""

from rtcloud.gateway.signing.faults import WINDOW_S, failure

CAPACITY = 200_000


class Replays:
    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._accounts: dict[str, _Seen] = {}

    def check(self, account: str, request: bytes, seconds: int, now_ms: int) -> None:
        """``request`` identifies it: its signature binds the SecretId, the timestamp and the nonce."""
        seen = self._accounts.setdefault(account, _Seen())
        seen.forget_before(now_ms // 1000 - WINDOW_S)
        if not seen.add(seconds, request):
            raise failure("this request was used before: every request needs a Nonce of its own")
        if seen.count > self._capacity:
            seen.forget_oldest()


class _Seen:
    """Requests of an account by their timestamp."""

    def __init__(self) -> None:
        self.count = 0
        self._by_second: dict[int, set[bytes]] = {}
        self._checked = 0

    def add(self, seconds: int, request: bytes) -> bool:
        of_second = self._by_second.setdefault(seconds, set())
        if request in of_second:
            return False
        of_second.add(request)
        self.count += 1
        return True

    def forget_before(self, seconds: int) -> None:
        if seconds == self._checked:
            return
        self._checked = seconds
        for old in [each for each in self._by_second if each < seconds]:
            self._forget(old)

    def forget_oldest(self) -> None:
        self._forget(min(self._by_second))

    def _forget(self, seconds: int) -> None:
        self.count -= len(self._by_second.pop(seconds))
