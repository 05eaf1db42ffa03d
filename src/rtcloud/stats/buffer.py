"""What was told and is not yet written. Pure: ``now_ms`` comes from outside. Bounded in everything.

Telling is O(1). Minutes are kept by stream until they are over and written; events until they are written. When there
are ``MOST_HELD`` of both, the oldest minute goes and its samples are counted. So an event is given up (and counted)
only when nothing but events waits: the database has taken none for long, and nobody can enter a room either. One user
has ``EVENTS_OF_ONE`` events between two writes; what is more becomes one event that says how many.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rtcloud.stats.events import EventId, RefusedEntry, UserEvent
from rtcloud.stats.samples import Minute, Sample, minute_of

MOST_HELD = 50_000  # some 75 MB: three quarters of an hour of a thousand users
EVENTS_OF_ONE = 50
#: Names of those who were refused, per application and minute; the rest is counted without names.
REFUSED_NAMES = 60
MOST_REFUSED = 10_000

#: (minute, presence, peer): the order of the table, so that a batch touches few pages.
Key = tuple[int, str, str]


@dataclass(slots=True)
class Counters:
    """For /metrics; only ever grow. ``events`` are written; ``samples`` taken, some of them not yet written."""

    events: int = 0
    samples: int = 0
    samples_dropped: int = 0
    events_left_out: int = 0


@dataclass(slots=True)
class _Open:
    minute: Minute
    first_ms: int
    written: int = 0  # how many of its samples
    written_ms: int = 0


class Buffer:
    def __init__(self, *, most_held: int = MOST_HELD) -> None:
        self.counters = Counters()
        self._most_held = most_held
        self._events: list[UserEvent] = []
        self._told: dict[str, int] = {}  # events of each presence since the last write
        self._left_out: dict[str, UserEvent] = {}
        self._minutes: OrderedDict[Key, _Open] = OrderedDict()
        self._refused: dict[tuple[int, bool, str, str, int], RefusedEntry] = {}
        self._named: dict[int, int] = {}
        self._named_minute = 0

    @property
    def waiting(self) -> tuple[int, int]:
        """(events, minutes) held."""
        return len(self._events), len(self._minutes)

    # Telling ----------------------------------------------------------------------------------------------------------

    def event(self, event: UserEvent) -> None:
        told = self._told.get(event.presence, 0)
        if told >= EVENTS_OF_ONE:
            self.counters.events_left_out += 1
            before = self._left_out.get(event.presence)
            count = 1 if before is None else before.param1 + 1
            self._left_out[event.presence] = UserEvent(event.presence, event.at_ms, EventId.LEFT_OUT, count)
            return
        if not self._has_room():
            self.counters.events_left_out += 1
            return
        self._told[event.presence] = told + 1
        self._events.append(event)

    def sample(self, presence: str, sample: Sample, peer: str = "") -> None:
        key = (minute_of(sample.at_ms), presence, peer)
        found = self._minutes.get(key)
        if found is None:
            if not self._has_room():
                self.counters.samples_dropped += 1
                return
            found = self._minutes[key] = _Open(Minute(key[0]), sample.at_ms)
        if found.minute.add(sample):
            self.counters.samples += 1
        else:
            self.counters.samples_dropped += 1

    def refused(self, entry: RefusedEntry) -> None:
        """Equal ones are counted together."""
        if minute_of(entry.at_ms) != self._named_minute:
            self._named_minute = minute_of(entry.at_ms)
            self._named.clear()
        key = (entry.sdk_app_id, entry.numeric, entry.room_id, entry.user_id, entry.code)
        if key not in self._refused:
            named = self._named.get(entry.sdk_app_id, 0)
            if named >= REFUSED_NAMES:
                entry = replace(entry, numeric=False, room_id="", user_id="")
                key = (entry.sdk_app_id, False, "", "", entry.code)
            else:
                self._named[entry.sdk_app_id] = named + 1
        found = self._refused.get(key)
        if found is not None:
            self._refused[key] = replace(found, count=found.count + entry.count)
        elif len(self._refused) < MOST_REFUSED:
            self._refused[key] = entry

    # Writing: look, write, then say that it was written ---------------------------------------------------------------

    def events(self, most: int) -> Sequence[UserEvent]:
        return self._events[:most]

    def events_written(self, count: int, *, taken: bool = True) -> None:
        """Or given up, when they were not ``taken``."""
        del self._events[:count]
        self._told.clear()
        self._events += self._left_out.values()
        self._left_out.clear()
        if taken:
            self.counters.events += count
        else:
            self.counters.events_left_out += count

    def minutes(self, now_ms: int, every_ms: int) -> list[Key]:
        """Those with samples not written: when their minute is over, or every so often before. In the table's order."""
        this = minute_of(now_ms)
        due: list[Key] = []
        over: list[Key] = []
        for key, one in self._minutes.items():
            if one.written == len(one.minute):
                if key[0] < this:
                    over.append(key)
            elif key[0] < this or now_ms - (one.written_ms or one.first_ms) >= every_ms:
                due.append(key)
        for key in over:
            del self._minutes[key]
        return sorted(due)

    def packed(self, keys: Sequence[Key]) -> list[tuple[Key, bytes, int]]:
        """With how many samples each has now. One that was dropped since is left out."""
        found = ((key, self._minutes.get(key)) for key in keys)
        return [(key, one.minute.pack(), len(one.minute)) for key, one in found if one is not None]

    def minutes_written(self, rows: Sequence[tuple[Key, bytes, int]], now_ms: int) -> None:
        for key, _, count in rows:
            one = self._minutes.get(key)
            if one is not None:
                one.written, one.written_ms = count, now_ms

    def refusals(self) -> list[RefusedEntry]:
        return list(self._refused.values())

    def refusals_written(self, entries: Sequence[RefusedEntry]) -> None:
        for entry in entries:
            key = (entry.sdk_app_id, entry.numeric, entry.room_id, entry.user_id, entry.code)
            left = self._refused[key].count - entry.count
            if left:
                self._refused[key] = replace(self._refused[key], count=left)
            else:
                del self._refused[key]

    def _has_room(self) -> bool:
        """For one more; samples go before events."""
        if len(self._events) + len(self._minutes) < self._most_held:
            return True
        if not self._minutes:
            return False
        _, oldest = self._minutes.popitem(last=False)
        self.counters.samples_dropped += len(oldest.minute) - oldest.written
        return True
