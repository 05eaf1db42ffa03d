"""How often a source is tried, and played."""

from typing import Any

from rtcloud.ingest.pull.playing import Again, Course, NextRound, Over
from rtcloud.ingest.pull.request import PLAYED_OUT, SOURCE_GONE, IngestRequest


def request(**settings: Any) -> IngestRequest:
    return IngestRequest(sdk_app_id=1, room_id="r", user_id="u", stream_url="http://host/a", **settings)


def test_what_never_ran_is_tried_at_once_and_after_one_and_three_seconds() -> None:
    course = Course(request())
    assert [course.failed(now) for now in (0.0, 0.1, 1.2, 4.3)] == [
        Again(0.0, True, True),
        Again(1.0, True, True),
        Again(3.0, True, True),
        Over(SOURCE_GONE),
    ]


def outage(course: Course, now: float) -> tuple[list[Again], float]:
    tries = []
    while isinstance(outcome := course.failed(now), Again):
        tries.append(outcome)
        now += outcome.after_s + 0.1
    assert outcome == Over(SOURCE_GONE)
    return tries, now


def test_what_ran_is_tried_for_ten_minutes_and_told_of_at_the_beginning() -> None:
    course = Course(request())
    course.succeeded(0.0)
    tries, end = outage(course, 100.0)
    assert [each.after_s for each in tries[:6]] == [0.0, 1.0, 3.0, 5.0, 10.0, 10.0]
    assert 700 <= end <= 711
    assert [each.tells_failure for each in tries] == [True] + [False] * (len(tries) - 1)
    assert [each.tells_attempt for each in tries] == [True] * 3 + [False] * (len(tries) - 3)


def test_what_an_earlier_attempt_had_from_it_counts() -> None:
    tries, _ = outage(Course(request(), has_run=True), 0.0)
    assert len(tries) > 50


def test_a_source_that_comes_back_for_a_moment_is_not_tried_without_end_nor_pause() -> None:
    course = Course(request())
    now, tries = 0.0, 0
    course.succeeded(now)
    while isinstance(outcome := course.failed(now), Again):
        now += outcome.after_s + 0.1
        course.succeeded(now)
        now += 0.5
        tries += 1
        assert tries < 200
    assert now >= 600


def test_each_outage_of_a_source_that_recovers_begins_anew() -> None:
    course = Course(request())
    for now in (0.0, 1_000.0, 2_000.0):
        course.succeeded(now)
        assert course.failed(now + 900) == Again(0.0, True, True)


def test_rounds_are_counted() -> None:
    course = Course(request(repeat_num=3))
    assert [course.ended(now) for now in (1.0, 2.0, 3.0)] == [NextRound(), NextRound(), Over(PLAYED_OUT)]
    again = Course(request(repeat_num=3), rounds=2)
    assert again.ended(0.0) == Over(PLAYED_OUT)


def test_without_end_until_the_longest_duration() -> None:
    course = Course(request(repeat_num=-1, max_duration=1), deadline_s=60.0)
    assert all(course.ended(float(now)) == NextRound() for now in range(60))
    assert course.ended(60.0) == Over(PLAYED_OUT)
    assert not course.is_expired(59.9)
