from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, event, insert, select

from rtcloud.callbacks import outbox, parking
from rtcloud.callbacks.events import room_event
from rtcloud.callbacks.outbox import Address, Outcome
from rtcloud.callbacks.parking import Which
from rtcloud.callbacks.targets import Target, TargetError, list_targets, remove_targets, set_targets
from rtcloud.rooms.ids import RoomRef
from rtcloud.store.sealing import Sealer
from rtcloud.store.tables import accounts, applications, callback_targets, callbacks, metadata

APP = 1400
ROOM = RoomRef(APP, True, "1")
OTHER_ROOM = RoomRef(APP, False, "1")
SEALER = Sealer(bytes(32))
URL = "http://receiver/callbacks"


@pytest.fixture
def connection() -> Iterator[Connection]:
    engine = create_engine("sqlite://")
    metadata.create_all(engine)
    with engine.connect() as connection:
        connection.execute(insert(accounts).values(uin="1", created_ms=1))
        connection.execute(
            insert(applications).values(
                sdk_app_id=APP, account_uin="1", name="", secret_key_sealed=b"", settings="{}", created_ms=1
            )
        )
        yield connection
    engine.dispose()


def put(connection: Connection, ref: RoomRef = ROOM, event_type: int = 102, now_ms: int = 5) -> None:
    given = {} if event_type == 102 else {"user_id": "u"}
    outbox.enqueue(connection, room_event(ref, event_type, now_ms, **given), now_ms)  # type: ignore[arg-type]


def note(connection: Connection, callback_id: int, state: outbox.State, at_ms: int = 6, **given: object) -> None:
    ordering = connection.scalars(select(callbacks.c.ordering).where(callbacks.c.id == callback_id)).one()
    outbox.record(connection, [Outcome(callback_id, ordering, state, at_ms, **given)])  # type: ignore[arg-type]


def due_ids(connection: Connection, now_ms: int, limit: int = 10, busy: tuple[int, ...] = ()) -> list[int]:
    return [due.id for due in outbox.due(connection, now_ms, limit, busy=busy)]


def test_nothing_is_kept_for_a_group_without_a_target(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL, groups=[1])
    put(connection, event_type=201)
    assert connection.execute(select(callbacks)).all() == []
    put(connection, event_type=102)
    row = connection.execute(select(callbacks)).one()
    assert (row.state, row.event_info) == ("pending", '{"RoomId":1,"EventTs":0,"EventMsTs":5}')


def test_only_chosen_types_are_kept(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL, groups=[1, 2], events=[102, 201])
    for event_type in (101, 102, 201, 203):
        put(connection, event_type=event_type)
    assert list(connection.scalars(select(callbacks.c.event_type))) == [102, 201]


def test_what_was_wanted_when_it_happened_is_delivered_after_another_choice(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection, event_type=201)
    set_targets(connection, SEALER, APP, url="http://new/", groups=[2], events=[203], trusted=False)
    (due,) = outbox.due(connection, 5, 10)
    assert (due.event_type, due.address) == (201, Address("http://new/", False))


def test_only_the_oldest_event_of_each_room_is_due(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection)
    put(connection, event_type=201)
    put(connection, OTHER_ROOM)
    found = outbox.due(connection, 5, 10)
    assert [(due.ordering, due.event_type) for due in found] == [("1400/n/1", 102), ("1400/s/1", 102)]
    assert found[0].address == Address(URL, True)


def test_a_waiting_head_holds_its_room_back_and_no_other(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection)
    put(connection, event_type=201)
    put(connection, OTHER_ROOM)
    note(connection, 1, "retry", next_ms=10_006, error="x" * 1000)
    assert due_ids(connection, 7) == [3]
    assert due_ids(connection, 10_006) == [3, 1]  # who has waited longer comes first
    assert due_ids(connection, 10_006, busy=(1,)) == [3]
    note(connection, 1, "parked", 10_007, error="gone")
    assert sorted(due_ids(connection, 10_008)) == [2, 3]


def test_an_address_gets_no_more_than_its_places(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL, groups=[1])
    set_targets(connection, SEALER, APP, url="http://other/", groups=[2])
    for room in range(6):
        put(connection, RoomRef(APP, True, str(room)), 102 if room < 4 else 201)

    def found(limit: int, places: dict[Address, int], otherwise: int, *busy: int) -> list[int]:
        due = outbox.due(connection, 5, limit, places=places, otherwise=otherwise, busy=busy)
        return sorted(each.id for each in due)

    assert found(10, {}, 3) == [1, 2, 3, 5, 6]
    assert found(4, {}, 3) == [1, 2, 3, 5]
    assert found(10, {Address(URL, True): 0}, 3) == [5, 6]
    assert found(10, {Address(URL, True): 1, Address("http://other/", False): 0}, 0) == [1]
    assert found(10, {}, 2, 1, 2, 5) == [3, 4, 6]


def test_groups_that_share_an_address_share_its_places(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection, RoomRef(APP, True, "1"))
    put(connection, RoomRef(APP, True, "2"), 201)
    assert len(outbox.due(connection, 5, 10, otherwise=1)) == 1


def test_replay_delivers_parked_events_before_newer_ones(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection)
    put(connection, event_type=201)
    note(connection, 1, "parked", 7, error="HTTP status 500")
    (parked,) = parking.list_parked(connection, Which(APP))
    assert (parked.id, parked.attempts, parked.last_error) == (1, 1, "HTTP status 500")
    assert parking.list_parked(connection, Which(APP + 1)) == []
    assert parking.replay(connection, 900_000, Which(ids=[2])) == 0
    assert parking.replay(connection, 900_000, Which(APP)) == 1
    (head,) = outbox.due(connection, 900_000, 10)
    assert (head.id, head.attempts, head.retries_from_ms) == (1, 0, 900_000)
    note(connection, 2, "delivered")  # was under way when the first was replayed
    assert due_ids(connection, 900_000) == [1]


def test_what_is_replayed_is_chosen_by_id_application_room_type_and_time(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection, event_type=102, now_ms=10)
    put(connection, event_type=201, now_ms=20)
    put(connection, OTHER_ROOM, event_type=102, now_ms=30)
    for callback_id in (1, 2, 3):
        note(connection, callback_id, "parked", 40)
    for which, ids in (
        (Which(ids=[1, 3]), [1, 3]),
        (Which(APP), [1, 2, 3]),
        (Which(ordering=OTHER_ROOM.ordering), [3]),
        (Which(event_types=[102]), [1, 3]),
        (Which(from_ms=20), [2, 3]),
        (Which(from_ms=10, to_ms=20), [1]),
        (Which(APP, event_types=[102], from_ms=11), [3]),
        (Which(APP + 1), []),
    ):
        assert [parked.id for parked in parking.list_parked(connection, which)] == ids
        assert parking.replay(connection, 50, which) == len(ids)
        for callback_id in ids:
            note(connection, callback_id, "parked", 60)
    assert [parked.id for parked in parking.list_parked(connection, after_id=1, limit=1)] == [2]
    assert parking.purge(connection, Which(ids=[2])) == 1
    assert [parked.id for parked in parking.list_parked(connection)] == [1, 3]


def test_a_delivered_event_is_counted_and_gone(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection)
    note(connection, 1, "delivered", 8)
    assert due_ids(connection, 9) == []
    assert outbox.count_by_state(connection) == outbox.count_by_state(connection, APP) == {"delivered": 1}
    assert outbox.count_by_state(connection, APP + 1) == {}


def test_delivered_events_are_forgotten_oldest_first_and_parked_ones_never(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    for at_ms in (30, 10, 20, 40):
        put(connection)
        note(
            connection,
            connection.scalars(select(callbacks.c.id).order_by(callbacks.c.id.desc())).first() or 0,
            "parked" if at_ms == 40 else "delivered",
            at_ms,
        )
    assert outbox.has_delivered(connection, 30)
    assert outbox.forget_delivered(connection, 30, 1) == 1
    assert outbox.forget_delivered(connection, 30, 10) == 1
    assert not outbox.has_delivered(connection, 30)
    assert list(connection.scalars(select(callbacks.c.id))) == [1, 4]


def test_what_waits_for_a_removed_address_is_parked(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection, event_type=201)
    put(connection, event_type=102)
    put(connection, event_type=203)
    remove_targets(connection, APP, groups=[2])
    assert [(parked.id, parked.last_error) for parked in parking.list_parked(connection)] == [
        (1, parking.REMOVED),
        (3, parking.REMOVED),
    ]
    assert due_ids(connection, 5) == [2]
    note(connection, 1, "retry", next_ms=99)  # was under way
    assert outbox.count_by_state(connection) == {"parked": 2, "pending": 1}
    note(connection, 1, "delivered")
    assert outbox.count_by_state(connection) == {"parked": 1, "delivered": 1, "pending": 1}


def test_an_application_that_went_with_its_addresses_is_found(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection)
    assert not parking.has_unaddressed(connection)
    connection.execute(callback_targets.delete())
    assert parking.has_unaddressed(connection)
    assert parking.park_unaddressed(connection) == 1
    assert not parking.has_unaddressed(connection)


def test_the_backlog_is_measured_without_what_was_delivered(connection: Connection) -> None:
    assert outbox.measure(connection) == outbox.Backlog(0, 0, None)
    set_targets(connection, SEALER, APP, url=URL)
    for now_ms in (5, 6, 7, 8):
        put(connection, now_ms=now_ms)
    note(connection, 1, "delivered")
    note(connection, 2, "parked")
    assert outbox.measure(connection) == outbox.Backlog(pending=2, parked=1, oldest_ms=7)


def test_no_statement_of_the_delivery_reads_more_than_its_index_gives(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection)
    asked: list[tuple[str, object]] = []

    def remember(_: object, __: object, statement: str, parameters: object, ___: object, many: bool) -> None:
        asked.append((statement, parameters[0] if many else parameters))  # type: ignore[index]

    event.listen(connection, "before_cursor_execute", remember)
    put(connection, event_type=201)
    outbox.due(connection, 5, 10)
    note(connection, 1, "retry", next_ms=6)
    note(connection, 1, "delivered")
    parking.has_unaddressed(connection)
    outbox.measure(connection)
    outbox.has_delivered(connection, 5)
    outbox.forget_delivered(connection, 5, 10)
    event.remove(connection, "before_cursor_execute", remember)
    for statement, parameters in asked:
        steps = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)  # type: ignore[arg-type]
        for step in steps:
            assert not step.detail.startswith("SCAN callbacks") or "INDEX" in step.detail, (statement, step.detail)


def test_targets_are_set_for_each_group_and_replaced(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL, key="secret", groups=[1, 3, 4])
    set_targets(connection, SEALER, APP, url="https://other", groups=[3], events=[310, 304], trusted=False)
    assert list_targets(connection, APP) == [
        Target(APP, 1, URL),
        Target(APP, 3, "https://other", trusted=False, events=(304, 310)),
        Target(APP, 4, URL),
    ]
    remove_targets(connection, APP, groups=[1, 4])
    assert [target.group for target in list_targets(connection)] == [3]


@pytest.mark.parametrize(
    ("url", "key", "groups", "said"),
    [
        ("ftp://host/", "", [1], "url"),
        ("http://", "", [1], "url"),
        ("http://host:99999/", "", [1], "url"),
        ("http://[::1/", "", [1], "url"),
        ("http://host/\nX: y", "", [1], "url"),
        ("http://host/" + "x" * 3000, "", [1], "url"),
        (URL, "k" * 33, [1], "key"),
        (URL, "with space", [1], "key"),
        (URL, "", [], "groups"),
        (URL, "", [5], "groups"),
    ],
)
def test_a_bad_target_is_refused_by_name(
    connection: Connection, url: str, key: str, groups: list[int], said: str
) -> None:
    with pytest.raises(TargetError, match=said):
        set_targets(connection, SEALER, APP, url=url, key=key, groups=groups)
    assert list_targets(connection) == []


@pytest.mark.parametrize(("groups", "events"), [([1], [201]), ([1, 2], [101]), ([1], []), ([1], [101, 999])])
def test_events_that_no_group_has_are_refused(connection: Connection, groups: list[int], events: list[int]) -> None:
    with pytest.raises(TargetError, match="events"):
        set_targets(connection, SEALER, APP, url=URL, groups=groups, events=events)
