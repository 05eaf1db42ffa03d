"""Random lives of an outbox: events of several rooms and groups, attempts that fail, are parked, replayed, or forgotten
by a crash, addresses that go and come back. Against what it must come to, whatever the order of things.
"""

import random
from collections import defaultdict
from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, func, insert, select

from rtcloud.callbacks import outbox, parking
from rtcloud.callbacks.events import room_event
from rtcloud.callbacks.outbox import Due, Outcome
from rtcloud.callbacks.parking import Which
from rtcloud.callbacks.schedule import Schedule
from rtcloud.callbacks.targets import remove_targets, set_targets
from rtcloud.rooms.ids import RoomRef
from rtcloud.store.sealing import Sealer
from rtcloud.store.tables import accounts, applications, callbacks, metadata

APPS = (1400, 1401)
ROOMS = [RoomRef(app, numeric, room) for app in APPS for numeric in (True, False) for room in "123"]
TYPES = (101, 102, 201, 203)
SEALER = Sealer(bytes(32))
STEPS = 250


class World:
    """The outbox, a sender's memory, and what receivers have seen."""

    def __init__(self, connection: Connection, chance: random.Random) -> None:
        self.connection = connection
        self.chance = chance
        self.now_ms = 1_000_000
        self.running_since_ms = self.now_ms
        self.schedule = Schedule()
        self.written: dict[str, list[int]] = defaultdict(list)  # room → ids, as they happened
        self.seen: dict[str, list[int]] = defaultdict(list)  # room → ids, as they were delivered
        self.under_way: list[Due] = []
        self.set_aside: set[int] = set()  # were parked at some time: newer ones may have come before them
        self.failing: set[str] = set()

    def happen(self) -> None:
        ref, event_type = self.chance.choice(ROOMS), self.chance.choice(TYPES)
        given = {} if event_type == 102 else {"user_id": "u"}
        before = self.newest()
        outbox.enqueue(self.connection, room_event(ref, event_type, self.now_ms, **given), self.now_ms)  # type: ignore[arg-type]
        if (after := self.newest()) != before:
            self.written[ref.ordering].append(after)

    def start(self) -> None:
        busy = {due.id for due in self.under_way}
        found = outbox.due(self.connection, self.now_ms, self.chance.randint(1, 8), busy=busy)
        for due in found:
            assert due.id not in busy
            assert due.id in self.written[due.ordering], "invented"
        self.under_way += found

    def end(self) -> None:
        ended = self.chance.sample(self.under_way, self.chance.randint(0, len(self.under_way)))
        self.under_way = [due for due in self.under_way if due not in ended]
        outbox.record(self.connection, [self.outcome(due) for due in ended])

    def outcome(self, due: Due) -> Outcome:
        if due.ordering not in self.failing:
            self.seen[due.ordering].append(due.id)
            return Outcome(due.id, due.ordering, "delivered", self.now_ms)
        next_ms = self.schedule.next_attempt_ms(
            attempts=due.attempts + 1,
            created_ms=due.retries_from_ms,
            running_since_ms=self.running_since_ms,
            now_ms=self.now_ms,
        )
        if next_ms is None:
            return Outcome(due.id, due.ordering, "parked", self.now_ms, error="no")
        return Outcome(due.id, due.ordering, "retry", self.now_ms, next_ms, "no")

    def crash(self) -> None:
        """Receivers may have got what is under way; nobody noted it."""
        for due in self.under_way:
            if self.chance.random() < 0.5 and due.ordering not in self.failing:
                self.seen[due.ordering].append(due.id)
        self.under_way = []
        self.now_ms += self.chance.choice((0, 100_000))
        self.running_since_ms = self.now_ms

    def replay(self) -> None:
        which = self.chance.choice(
            (Which(), Which(self.chance.choice(APPS)), Which(ordering=self.chance.choice(ROOMS).ordering))
        )
        self.set_aside |= {parked.id for parked in parking.list_parked(self.connection)}
        parking.replay(self.connection, self.now_ms, which)

    def move(self) -> None:
        app, groups = self.chance.choice(APPS), self.chance.choice(([1], [2], [1, 2]))
        if self.chance.random() < 0.2:
            remove_targets(self.connection, app, groups=groups)
        else:
            set_targets(self.connection, SEALER, app, url=f"http://{self.chance.random()}/", groups=groups)

    def fail(self) -> None:
        self.failing = {ref.ordering for ref in ROOMS if self.chance.random() < 0.4}

    def wait(self) -> None:
        self.now_ms += self.chance.choice((1, 100, 5_000, 10_000, 30_000))

    def newest(self) -> int:
        return self.connection.scalars(select(func.max(callbacks.c.id))).one() or 0

    def check_heads(self) -> None:
        pending = callbacks.c.state == "pending"
        heads = set(self.connection.scalars(select(callbacks.c.id).where(callbacks.c.head)))
        assert heads == set(
            self.connection.scalars(select(func.min(callbacks.c.id)).where(pending).group_by(callbacks.c.ordering))
        )

    def drain(self) -> None:
        """Everything is well again: all that is left is delivered, what is parked after a replay."""
        self.failing = set()
        for app in APPS:
            set_targets(self.connection, SEALER, app, url="http://end/")
        while any(state in outbox.count_by_state(self.connection) for state in ("pending", "parked")):
            self.replay()
            self.now_ms += 10_000
            for _ in range(20):
                self.start()
                self.end()


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        connection.execute(insert(accounts).values(uin="1", created_ms=1))
        values = {"account_uin": "1", "name": "", "secret_key_sealed": b"", "settings": "{}", "created_ms": 1}
        for app in APPS:
            connection.execute(insert(applications).values(sdk_app_id=app, **values))
            set_targets(connection, SEALER, app, url="http://begin/")
        yield connection
    engine.dispose()


@pytest.mark.parametrize("seed", range(12))
def test_every_event_is_delivered_in_order_and_none_invented(connection: Connection, seed: int) -> None:
    world = World(connection, random.Random(seed))
    steps = [world.happen] * 8 + [world.start, world.end] * 4 + [world.wait] * 2
    steps += [world.fail, world.crash, world.replay]
    if seed % 2:
        steps.append(world.move)
    for _ in range(STEPS):
        world.chance.choice(steps)()
        world.check_heads()
    world.drain()
    for ref in ROOMS:
        written, seen = world.written[ref.ordering], world.seen[ref.ordering]
        assert set(seen) == set(written)
        straight = [each for each in seen if each not in world.set_aside]
        assert straight == sorted(straight)  # again after a crash, never before what was before it
    assert sum(map(len, world.written.values())) > 20


@pytest.mark.parametrize("seed", range(5))
def test_what_is_replayed_keeps_its_order(connection: Connection, seed: int) -> None:
    """All of a room is parked, then replayed while newer events wait: the receiver hears everything in order."""
    world = World(connection, random.Random(seed))
    world.failing = {ref.ordering for ref in ROOMS}
    for _ in range(60):
        world.happen()
    while outbox.count_by_state(connection).get("pending"):
        world.start()
        world.end()
        world.now_ms += 10_000
    for _ in range(60):
        world.happen()
    world.failing = set()
    parking.replay(connection, world.now_ms)
    world.check_heads()
    while outbox.count_by_state(connection).get("pending"):
        world.start()
        world.end()
    assert world.seen == {room: ids for room, ids in world.written.items() if ids}
