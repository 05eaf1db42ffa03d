"""What is held until it is written, and what goes when there is too much."""

from rtcloud.stats.buffer import EVENTS_OF_ONE, REFUSED_NAMES, Buffer
from rtcloud.stats.events import EventId, RefusedEntry, UserEvent
from rtcloud.stats.samples import MINUTE_MS, Sample, unpack

MINUTE = 28_333_333
BEGIN = MINUTE * MINUTE_MS


def event(presence: str = "PA_1", at_ms: int = BEGIN) -> UserEvent:
    return UserEvent(presence, at_ms, EventId.SIGNAL_DOWN)


def write_minutes(buffer: Buffer, now_ms: int, every_ms: int = 10_000) -> dict[tuple[int, str, str], list[int]]:
    rows = buffer.packed(buffer.minutes(now_ms, every_ms))
    buffer.minutes_written(rows, now_ms)
    return {key: [one.at_ms for one in unpack(key[0], blob)] for key, blob, _ in rows}


def test_a_minute_is_written_every_ten_seconds_and_when_it_is_over() -> None:
    buffer = Buffer()
    for second in range(0, 60, 2):
        buffer.sample("PA_1", Sample(BEGIN + second * 1000, rtt_ms=second))
        written = write_minutes(buffer, BEGIN + second * 1000)
        assert bool(written) == (second in (10, 20, 30, 40, 50)), second
    (times,) = write_minutes(buffer, BEGIN + MINUTE_MS).values()
    assert len(times) == 30
    assert buffer.counters.samples == 30
    assert write_minutes(buffer, BEGIN + MINUTE_MS + 1) == {}
    assert buffer.waiting == (0, 0)


def test_peers_and_presences_have_minutes_of_their_own_in_the_order_of_the_table() -> None:
    buffer = Buffer()
    for presence, peer in (("PA_2", ""), ("PA_1", "bob"), ("PA_1", "")):
        buffer.sample(presence, Sample(BEGIN), peer)
    assert list(write_minutes(buffer, BEGIN, 0)) == [
        (MINUTE, "PA_1", ""),
        (MINUTE, "PA_1", "bob"),
        (MINUTE, "PA_2", ""),
    ]


def test_a_write_that_fails_is_tried_again() -> None:
    buffer = Buffer()
    buffer.sample("PA_1", Sample(BEGIN))
    buffer.event(event())
    buffer.refused(RefusedEntry(1, True, "7", "bob", BEGIN, 70001))
    for _ in range(2):
        assert len(buffer.packed(buffer.minutes(BEGIN + MINUTE_MS, 10_000))) == 1
        assert len(buffer.events(100)) == 1
        assert len(buffer.refusals()) == 1


def test_when_full_the_oldest_samples_go_and_are_counted() -> None:
    buffer = Buffer(most_held=3)
    for n in range(5):
        buffer.sample("PA_1", Sample(BEGIN + n * MINUTE_MS))
        buffer.sample("PA_1", Sample(BEGIN + n * MINUTE_MS + 2000))
    assert buffer.counters.samples_dropped == 4
    assert [key[0] - MINUTE for key in write_minutes(buffer, BEGIN + 9 * MINUTE_MS)] == [2, 3, 4]


def test_samples_that_were_written_are_not_counted_as_dropped() -> None:
    buffer = Buffer(most_held=1)
    buffer.sample("PA_1", Sample(BEGIN))
    write_minutes(buffer, BEGIN, 0)
    buffer.sample("PA_2", Sample(BEGIN))
    assert buffer.counters.samples_dropped == 0


def test_a_minute_dropped_while_it_was_being_written_is_no_harm() -> None:
    buffer = Buffer(most_held=1)
    buffer.sample("PA_1", Sample(BEGIN))
    rows = buffer.packed(buffer.minutes(BEGIN, 0))
    buffer.sample("PA_2", Sample(BEGIN))
    buffer.minutes_written(rows, BEGIN)
    assert buffer.packed([key for key, _, _ in rows]) == []


def test_samples_taken_while_a_minute_is_written_are_written_next() -> None:
    buffer = Buffer()
    buffer.sample("PA_1", Sample(BEGIN))
    rows = buffer.packed(buffer.minutes(BEGIN, 0))
    buffer.sample("PA_1", Sample(BEGIN + 2000))
    buffer.minutes_written(rows, BEGIN)
    (times,) = write_minutes(buffer, BEGIN + 2000, 0).values()
    assert len(times) == 2


def test_events_push_samples_out_and_are_never_pushed_out_by_them() -> None:
    buffer = Buffer(most_held=4)
    for n in range(4):
        buffer.sample(f"PA_{n}", Sample(BEGIN))
    for n in range(4):
        buffer.event(event(f"PA_{n}"))
    assert buffer.waiting == (4, 0)
    assert buffer.counters.samples_dropped == 4
    buffer.sample("PA_9", Sample(BEGIN))
    assert buffer.waiting == (4, 0)
    assert buffer.counters.samples_dropped == 5
    assert buffer.counters.events_left_out == 0


def test_only_events_beyond_all_room_are_left_out_and_counted() -> None:
    buffer = Buffer(most_held=2)
    for n in range(3):
        buffer.event(event(f"PA_{n}"))
    assert [one.presence for one in buffer.events(9)] == ["PA_0", "PA_1"]
    assert buffer.counters.events_left_out == 1


def test_a_flood_of_one_user_becomes_one_event_that_says_how_many() -> None:
    buffer = Buffer()
    for n in range(EVENTS_OF_ONE + 7):
        buffer.event(event("PA_loud", BEGIN + n))
    buffer.event(event("PA_calm"))
    assert len(buffer.events(1000)) == EVENTS_OF_ONE + 1
    buffer.events_written(EVENTS_OF_ONE + 1)
    assert buffer.events(9) == [UserEvent("PA_loud", BEGIN + EVENTS_OF_ONE + 6, EventId.LEFT_OUT, 7)]
    buffer.event(event("PA_loud"))
    assert len(buffer.events(9)) == 2


def test_refusals_alike_are_counted_together() -> None:
    buffer = Buffer()
    entry = RefusedEntry(1, True, "7", "bob", BEGIN, 70001)
    buffer.refused(entry)
    buffer.refused(entry)
    taken = buffer.refusals()
    assert [one.count for one in taken] == [2]
    buffer.refused(entry)  # while they are written
    buffer.refusals_written(taken)
    assert [one.count for one in buffer.refusals()] == [1]


def test_a_flood_of_refusals_keeps_its_count_but_not_its_names() -> None:
    buffer = Buffer()
    for n in range(REFUSED_NAMES + 40):
        buffer.refused(RefusedEntry(1, True, "7", f"u{n}", BEGIN, 70001))
    buffer.refused(RefusedEntry(2, True, "7", "u", BEGIN, 70001))
    found = buffer.refusals()
    assert sum(one.count for one in found if one.sdk_app_id == 1) == REFUSED_NAMES + 40
    assert [one.count for one in found if one.sdk_app_id == 1 and not one.user_id] == [40]
    assert [one.user_id for one in found if one.sdk_app_id == 2] == ["u"]
    buffer.refusals_written(found)
    buffer.refused(RefusedEntry(1, True, "7", "late", BEGIN + MINUTE_MS, 70001))
    assert [one.user_id for one in buffer.refusals()] == ["late"]
