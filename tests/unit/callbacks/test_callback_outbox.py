from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, create_engine, insert, select

from rtcloud.callbacks import outbox
from rtcloud.callbacks.events import room_event
from rtcloud.callbacks.targets import TargetError, list_targets, remove_targets, set_targets
from rtcloud.rooms.ids import RoomRef
from rtcloud.store.sealing import Sealer
from rtcloud.store.tables import accounts, applications, callbacks, metadata

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


def test_nothing_is_kept_for_a_group_without_a_target(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL, groups=[1])
    put(connection, event_type=201)
    assert connection.execute(select(callbacks)).all() == []
    put(connection, event_type=102)
    row = connection.execute(select(callbacks)).one()
    assert (row.state, row.event_info) == ("pending", '{"RoomId":1,"EventTs":0,"EventMsTs":5}')


def test_only_the_oldest_event_of_each_room_is_due(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection)
    put(connection, event_type=201)
    put(connection, OTHER_ROOM)
    found = outbox.due(connection, 5, 10)
    assert [(due.ordering, due.event_type) for due in found] == [("1400/n/1", 102), ("1400/s/1", 102)]
    assert found[0].url == URL


def test_a_waiting_head_holds_its_room_back_and_no_other(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection)
    put(connection, event_type=201)
    put(connection, OTHER_ROOM)
    outbox.mark_retry(connection, 1, 6, next_ms=10_006, error="x" * 1000)
    assert [due.id for due in outbox.due(connection, 7, 10)] == [3]
    assert [due.id for due in outbox.due(connection, 10_006, 10)] == [1, 3]
    assert [due.id for due in outbox.due(connection, 10_006, 10, busy=["1400/n/1"])] == [3]
    assert outbox.due(connection, 10_006, 10, full=[APP]) == []
    outbox.mark_parked(connection, 1, 10_007, error="gone")
    assert [due.id for due in outbox.due(connection, 10_008, 10)] == [2, 3]


def test_replay_delivers_parked_events_before_newer_ones(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection)
    put(connection, event_type=201)
    outbox.mark_parked(connection, 1, 7, error="HTTP status 500")
    (parked,) = outbox.list_parked(connection, APP)
    assert (parked.id, parked.attempts, parked.last_error) == (1, 1, "HTTP status 500")
    assert outbox.list_parked(connection, APP + 1) == []
    assert outbox.replay(connection, 900_000, ids=[2]) == 0
    assert outbox.replay(connection, 900_000, sdk_app_id=APP) == 1
    (head,) = outbox.due(connection, 900_000, 10)
    assert (head.id, head.attempts, head.created_ms) == (1, 0, 900_000)


def test_a_delivered_event_is_counted_and_gone(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL)
    put(connection)
    outbox.mark_delivered(connection, 1, 8)
    assert outbox.due(connection, 9, 10) == []
    assert outbox.count_by_state(connection) == outbox.count_by_state(connection, APP) == {"delivered": 1}
    assert outbox.count_by_state(connection, APP + 1) == {}


def test_targets_are_set_for_each_group_and_replaced(connection: Connection) -> None:
    set_targets(connection, SEALER, APP, url=URL, key="secret", groups=[1, 3])
    set_targets(connection, SEALER, APP, url="https://other", groups=[3])
    assert [(target.group, target.url) for target in list_targets(connection, APP)] == [(1, URL), (3, "https://other")]
    remove_targets(connection, APP, groups=[1])
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
        (URL, "", [4], "groups"),
    ],
)
def test_a_bad_target_is_refused_by_name(
    connection: Connection, url: str, key: str, groups: list[int], said: str
) -> None:
    with pytest.raises(TargetError, match=said):
        set_targets(connection, SEALER, APP, url=url, key=key, groups=groups)
