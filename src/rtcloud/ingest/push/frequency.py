"""How often one user may begin a push: each time a process is started, which costs more than all the rest. Pure.

Whoever comes too often is let in again when the oldest of those beginnings has passed; trying meanwhile costs nothing.
"""

from collections import OrderedDict, deque
from collections.abc import Hashable

#: Enough for an encoder that comes back every few seconds while its network is bad.
MOST = 10
WITHIN_S = 60.0
#: of whom this is remembered; beyond it, whoever began longest ago is forgotten
USERS = 10_000


class Frequency:
    def __init__(self, most: int = MOST, within_s: float = WITHIN_S, users: int = USERS) -> None:
        self._most = most
        self._within_s = within_s
        self._users = users
        self._begun: OrderedDict[Hashable, deque[float]] = OrderedDict()  # whoever began last is last

    def allows(self, user: Hashable, now: float) -> bool:
        """Whether ``user`` may begin now."""
        begun = self._begun.get(user)
        return begun is None or len(begun) < self._most or now - begun[0] >= self._within_s

    def note(self, user: Hashable, now: float) -> None:
        """``user`` begins."""
        self._begun.setdefault(user, deque(maxlen=self._most)).append(now)
        self._begun.move_to_end(user)
        if len(self._begun) > self._users:
            self._begun.popitem(last=False)
