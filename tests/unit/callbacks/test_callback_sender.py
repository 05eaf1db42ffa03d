"""The sender with a clock turned by hand and receivers that are functions: time-outs and minutes take no time."""

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Connection, func, insert, select, update

from rtcloud.callbacks import outbox, parking
from rtcloud.callbacks import sender as sending
from rtcloud.callbacks.events import room_event
from rtcloud.callbacks.outbox import Address
from rtcloud.callbacks.posting import Answer
from rtcloud.callbacks.receiver import FIRST_PLACES, MOST_PLACES, PATIENCE
from rtcloud.callbacks.sender import Sender
from rtcloud.callbacks.targets import remove_targets, set_targets
from rtcloud.rooms.ids import RoomRef
from rtcloud.store import tables
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import SqliteDatabase, open_database
from rtcloud.store.sealing import Sealer

pytestmark = pytest.mark.anyio

APP = 1400
SEALER = Sealer(bytes(32))
OK = Answer(200, "")
REFUSED = Answer(None, "ConnectError: refused")
NO = Answer(500, "HTTP status 500")


@dataclass
class HandClock:
    at_ms: int = 1_000_000

    def now_ms(self) -> int:
        return self.at_ms

    def monotonic(self) -> float:
        return self.at_ms / 1000


@dataclass
class Receivers:
    """Answers by URL; ``None`` says nothing until it is released, then ``REFUSED``."""

    clock: HandClock
    answers: dict[str, Answer | None] = field(default_factory=dict)
    got: dict[str, list[tuple[int, str, int]]] = field(default_factory=lambda: defaultdict(list))  # time, room, type
    under_way: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    most: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    silence: list[asyncio.Future[None]] = field(default_factory=list)
    forgotten: list[str] = field(default_factory=list)
    holds: bool = False  # answers wait until they are let go
    held: list[asyncio.Future[None]] = field(default_factory=list)

    async def post(self, address: Address, body: bytes, headers: dict[str, str]) -> Answer:
        url, decoded = address.url, json.loads(body)
        self.got[url].append((self.clock.at_ms, str(decoded["EventInfo"]["RoomId"]), decoded["EventType"]))
        self.under_way[url] += 1
        self.most[url] = max(self.most[url], self.under_way[url])
        answer = self.answers.get(url, OK)
        await asyncio.sleep(0)
        if self.holds:
            self.held.append(asyncio.get_running_loop().create_future())
            await self.held[-1]
        if answer is None:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self.silence.append(waiting)
            await waiting
        self.under_way[url] -= 1
        return answer or REFUSED

    def let_go(self) -> None:
        for waiting in self.held:
            waiting.set_result(None)
        self.held.clear()

    async def forget(self, address: Address) -> None:
        self.forgotten.append(address.url)

    async def close(self) -> None:
        for waiting in self.silence:
            waiting.cancel()

    def give_up(self) -> None:
        """The time-out of all that are silent."""
        for waiting in self.silence:
            if not waiting.done():
                waiting.set_result(None)


class Scene:
    def __init__(self, database: SqliteDatabase, clock: HandClock, receivers: Receivers, sender: Sender) -> None:
        self.database, self.clock, self.receivers, self.sender = database, clock, receivers, sender
        self.bus = LocalBus()

    async def happen(self, room: str, *types: int, app: int = APP) -> None:
        now_ms = self.clock.now_ms()

        def work(connection: Connection) -> None:
            for event_type in types or (101,):
                given = {} if event_type == 102 else {"user_id": "u"}
                event = room_event(RoomRef(app, False, room), event_type, now_ms, **given)  # type: ignore[arg-type]
                outbox.enqueue(connection, event, now_ms)

        await self.database.write(work)

    async def settle(self) -> None:
        """Until nothing can be done at this moment."""
        idle = 0
        while idle < 3:
            before = (self.sender.counters.delivered, self.sender.counters.failed_attempts, self.sender.sending)
            await self.database.read(lambda _: None)
            await asyncio.sleep(0.004)
            after = (self.sender.counters.delivered, self.sender.counters.failed_attempts, self.sender.sending)
            idle = idle + 1 if before == after else 0

    async def until(self, at_ms: int, step_ms: int = 1_000, each: Callable[[], None] | None = None) -> None:
        while True:
            await self.settle()
            if each is not None:
                each()
                await self.settle()
            if self.clock.at_ms >= at_ms:
                return
            self.clock.at_ms = min(self.clock.at_ms + step_ms, at_ms)

    async def states(self) -> dict[str, int]:
        return await self.database.read(outbox.count_by_state)


@contextlib.asynccontextmanager
async def scene(urls: dict[int, str] | None = None) -> AsyncIterator[Scene]:
    clock = HandClock()
    database = open_database(None)
    receivers = Receivers(clock)

    def prepare(connection: Connection) -> None:
        connection.execute(insert(tables.accounts).values(uin="1", created_ms=1))
        values = {"account_uin": "1", "name": "", "secret_key_sealed": b"", "settings": "{}", "created_ms": 1}
        for app, url in (urls or {APP: "http://a/"}).items():
            connection.execute(insert(tables.applications).values(sdk_app_id=app, **values))
            set_targets(connection, SEALER, app, url=url)

    await database.write(prepare)
    bus = LocalBus()
    async with Sender(database, SEALER, bus, clock, poster=receivers, poll_seconds=0.002) as sender:
        running = asyncio.ensure_future(sender.run())
        try:
            yield Scene(database, clock, receivers, sender)
        finally:
            receivers.give_up()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            await database.close()


async def test_an_event_that_is_alone_is_tried_at_the_documented_times() -> None:
    async with scene() as stage:
        stage.receivers.answers["http://a/"] = REFUSED
        born = stage.clock.at_ms
        await stage.happen("1")
        await stage.until(born + 70_000)
        tried = [at_ms - born for at_ms, _, _ in stage.receivers.got["http://a/"]]
        assert tried == [0, 0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]
        assert await stage.states() == {"parked": 1}


async def test_a_receiver_that_is_down_for_three_minutes_gets_everything_after_a_replay() -> None:
    async with scene() as stage:
        url, born = "http://a/", stage.clock.at_ms
        stage.receivers.answers[url] = REFUSED
        for second in range(0, 240, 12):
            if second == 180:
                stage.receivers.answers[url] = OK
                stage.receivers.got[url].clear()
            await stage.happen(str(second % 36), 101, 201)
            await stage.until(born + second * 1000 + 12_000, 2_000)
        await stage.until(born + 300_000, 2_000)
        states = await stage.states()
        assert sum(states.values()) == 40
        assert states["delivered"] >= 14  # what is younger than a minute when it comes back, and what follows
        young = [at for at, _, _ in stage.receivers.got[url] if at <= born + 195_000]
        assert len(young) >= 4  # within ten seconds of coming back
        assert states["parked"] <= 26
        await stage.database.write(lambda connection: parking.replay(connection, stage.clock.now_ms()))
        await stage.until(stage.clock.at_ms + 3_000)
        assert await stage.states() == {"delivered": 40}


async def test_a_dead_receiver_does_not_delay_any_of_many_others() -> None:
    apps = {APP + number: f"http://r{number}/" for number in range(100)}
    async with scene(apps) as stage:
        stage.receivers.answers["http://r0/"] = None
        for room in range(200):
            await stage.happen(str(room), 101, 201, app=APP)
        for app in list(apps)[1:]:
            await stage.happen("x", 101, 201, 102, app=app)
        await stage.settle()
        assert stage.sender.counters.delivered == 99 * 3
        assert stage.receivers.most["http://r0/"] == FIRST_PLACES


async def test_many_dead_receivers_leave_half_of_the_places_to_the_living(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "CONCURRENCY", 8)
    apps = {APP + number: f"http://r{number}/" for number in range(30)}
    async with scene(apps) as stage:
        await stage.happen("x", app=APP)
        await stage.settle()
        for number in range(1, 30):
            stage.receivers.answers[f"http://r{number}/"] = None
            for room in "abc":
                await stage.happen(room, app=APP + number)
        await stage.settle()
        assert stage.sender.sending <= 4
        for _ in range(10):
            await stage.happen("x", 201, app=APP)
        await stage.settle()
        assert stage.sender.counters.delivered == 11


async def test_places_of_a_receiver_are_bounded() -> None:
    async with scene() as stage:
        stage.receivers.holds = True
        for room in range(200):
            await stage.happen(str(room))
        at_once = []
        while stage.sender.counters.delivered < 200:
            await stage.settle()
            at_once.append(stage.sender.sending)
            stage.receivers.let_go()
            await stage.settle()
        assert at_once[0] == FIRST_PLACES
        assert max(at_once) == stage.receivers.most["http://a/"] == MOST_PLACES
        assert await stage.states() == {"delivered": 200}


async def test_an_open_breaker_fails_attempts_without_making_them() -> None:
    async with scene() as stage:
        url, born = "http://a/", stage.clock.at_ms
        stage.receivers.answers[url] = REFUSED
        for room in range(50):
            await stage.happen(str(room))
        await stage.settle()
        assert len(stage.receivers.got[url]) <= PATIENCE + MOST_PLACES
        assert stage.sender.counters.failed_attempts == 100  # each at once, and once more
        assert stage.sender.open_breakers == 1
        await stage.until(born + 30_000)
        stage.receivers.answers[url] = OK
        await stage.until(born + 45_000)
        assert await stage.states() == {"delivered": 50}
        assert stage.sender.open_breakers == 0


async def test_errors_that_are_answered_open_no_breaker() -> None:
    async with scene() as stage:
        born = stage.clock.at_ms
        stage.receivers.answers["http://a/"] = NO
        for room in range(20):
            await stage.happen(str(room))
        await stage.until(born + 61_000)
        assert len(stage.receivers.got["http://a/"]) == 20 * 8
        assert await stage.states() == {"parked": 20}


async def test_a_new_address_holds_for_what_is_pending() -> None:
    async with scene() as stage:
        stage.receivers.answers["http://a/"] = REFUSED
        await stage.happen("1", 101, 201)
        await stage.settle()
        await stage.database.write(lambda connection: set_targets(connection, SEALER, APP, url="http://b/"))
        await stage.until(stage.clock.at_ms + 10_000)
        assert [event_type for _, _, event_type in stage.receivers.got["http://b/"]] == [101, 201]


async def test_an_address_removed_while_an_attempt_is_under_way_parks_the_event() -> None:
    async with scene() as stage:
        stage.receivers.answers["http://a/"] = None
        await stage.happen("1", 101, 201)
        await stage.settle()
        await stage.database.write(lambda connection: remove_targets(connection, APP))
        stage.receivers.give_up()
        await stage.settle()
        assert await stage.states() == {"parked": 2}


async def test_nothing_is_sent_twice_because_it_could_not_be_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy.exc import OperationalError

    record, failures = outbox.record, iter(range(3))

    def full_disk(connection: Connection, outcomes: list[outbox.Outcome]) -> None:
        if next(failures, None) is not None:
            raise OperationalError("", {}, Exception("disk full"))
        record(connection, outcomes)

    monkeypatch.setattr(outbox, "record", full_disk)
    async with scene() as stage:
        await stage.happen("1", 101, 201)
        await asyncio.sleep(0.05)
        await stage.settle()
        assert [event_type for _, _, event_type in stage.receivers.got["http://a/"]] == [101, 201]
        assert await stage.states() == {"delivered": 2}


@pytest.fixture
def quick_housekeeping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "HOUSEKEEPING_SECONDS", 0.01)


@pytest.mark.usefixtures("quick_housekeeping")
async def test_delivered_events_are_deleted_after_two_weeks_and_idle_addresses_forgotten() -> None:
    async with scene() as stage:
        await stage.happen("1")
        await stage.settle()
        await stage.database.write(
            lambda connection: connection.execute(update(tables.callbacks).values(delivered_ms=stage.clock.at_ms))
        )
        stage.clock.at_ms += sending.KEPT_MS
        await asyncio.sleep(0.05)
        assert await stage.states() == {"delivered": 1}
        assert stage.receivers.forgotten == ["http://a/"]
        stage.clock.at_ms += 1
        while await stage.states():
            await asyncio.sleep(0.01)


@pytest.mark.usefixtures("quick_housekeeping")
async def test_the_backlog_is_there_for_the_metrics() -> None:
    async with scene() as stage:
        stage.receivers.answers["http://a/"] = REFUSED
        await stage.happen("1", 101, 201)
        await stage.until(stage.clock.at_ms + 7_000)
        await asyncio.sleep(0.05)
        assert (stage.sender.backlog.pending, stage.sender.oldest_pending_s) == (2, 7.0)


@pytest.mark.usefixtures("quick_housekeeping")
async def test_events_of_a_deleted_application_are_parked() -> None:
    async with scene() as stage:
        stage.receivers.answers["http://a/"] = REFUSED
        await stage.happen("1", 101, 201)
        await stage.settle()
        await stage.database.write(lambda connection: connection.execute(tables.callback_targets.delete()))
        while await stage.states() != {"parked": 2}:
            await asyncio.sleep(0.01)


async def test_the_memory_of_a_long_backlog_is_a_page() -> None:
    async with scene() as stage:
        stage.receivers.answers["http://a/"] = None
        row = {"sdk_app_id": APP, "event_group": 1, "event_type": 101, "event_info": '{"RoomId":"1"}', "created_ms": 1}
        row |= {"retries_from_ms": 1, "state": "pending", "head": True, "next_attempt_ms": 1, "last_error": ""}
        rows = [row | {"ordering": str(number)} for number in range(5_000)]
        await stage.database.write(lambda connection: connection.execute(insert(tables.callbacks), rows))
        await stage.settle()
        assert stage.sender.sending == FIRST_PLACES
        count = select(func.count()).select_from(tables.callbacks)
        assert await stage.database.read(lambda connection: connection.scalars(count).one()) == 5_000
