"""Each transition that the documents show, and that nothing else is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.egress.publishing.statuses import TEXTS, Change, Fault, Status, Statuses

Step = tuple[float, str]

RUN, BREAK, CLOSE, CLOSED, TICK = "running", "broken", "closing", "closed", "tick"


def play(steps: list[Step], *, resumes: bool = False) -> list[tuple[float, int]]:
    """Events at their times, and ticks whenever one is due: when what was said."""
    statuses = Statuses(resumes=resumes)
    said = [(0.0, change.status) for change in statuses.begin(0)]
    for at, step in steps:
        while (due := statuses.deadline) is not None and due <= at:
            said += [(due, change.status) for change in statuses.tick(due)]
        match step:
            case "running":
                changes = statuses.running(at)
            case "broken":
                changes = statuses.broken(at, Fault.CLOSED)
            case "closing":
                changes = statuses.closing(at)
            case "closed":
                changes = statuses.closed(at)
            case _:
                changes = statuses.tick(at)
        said += [(at, change.status) for change in changes]
    return [(at, int(status)) for at, status in said]


FIVES = [float(at) for at in range(5, 60, 5)]


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        # start, or a new address → success
        ([(1, RUN)], [(0, 1), (1, 2)]),
        ([(12, RUN), (100, TICK)], [(0, 1), (5, 1), (10, 1), (12, 2)]),
        # stop, or an address removed → success
        ([(1, RUN), (9, CLOSE), (10, CLOSED)], [(0, 1), (1, 2), (9, 5), (10, 0)]),
        # a connection breaks → is there again
        ([(1, RUN), (2, BREAK), (3, RUN), (50, TICK)], [(0, 1), (1, 2), (2, 3), (3, 2)]),
        ([(1, RUN), (2, BREAK), (13, RUN)], [(0, 1), (1, 2), (2, 3), (7, 3), (12, 3), (13, 2)]),
        # breaks → is given up
        (
            [(1, RUN), (10, BREAK), (200, TICK)],
            [(0, 1), (1, 2), (10, 3), *((10 + at, 3) for at in FIVES), (70, 4), (70, 0)],
        ),
        # never connects → is given up
        ([(1, BREAK), (30, BREAK), (99, TICK)], [(0, 1), *((at, 1) for at in FIVES), (60, 4), (60, 0)]),
        # each break has its own minute
        (
            [(1, RUN), (2, BREAK), (61.5, RUN), (62, BREAK), (66, RUN)],
            [(0, 1), (1, 2), (2, 3), *((2 + at, 3) for at in FIVES), (61.5, 2), (62, 3), (66, 2)],
        ),
        # closed while connecting, while recovering, after it was given up
        ([(1, CLOSE), (2, CLOSED), (90, TICK)], [(0, 1), (1, 5), (2, 0)]),
        ([(1, RUN), (2, BREAK), (3, CLOSE), (4, CLOSED)], [(0, 1), (1, 2), (2, 3), (3, 5), (4, 0)]),
        ([(99, CLOSE), (100, CLOSED), (101, RUN)], [(0, 1), *((at, 1) for at in FIVES), (60, 4), (60, 0)]),
        # what comes too late
        ([(1, RUN), (2, CLOSE), (2, BREAK), (3, CLOSED), (4, RUN)], [(0, 1), (1, 2), (2, 5), (3, 0)]),
    ],
)
def test_transitions(steps: list[Step], said: list[tuple[float, int]]) -> None:
    assert play(steps) == said


def test_a_later_attempt_of_a_task_recovers() -> None:
    assert play([(1, RUN)], resumes=True) == [(0, 3), (1, 2)]
    assert play([(99, TICK)], resumes=True)[-2:] == [(60, 4), (60, 0)]


def test_what_went_wrong_is_told_while_it_is_wrong() -> None:
    statuses = Statuses()
    assert statuses.begin(0) == [Change(Status.CONNECTING)]
    assert statuses.broken(1, Fault.REJECTED, "NetStream.Publish.Denied") == []
    (again,) = statuses.tick(5)
    assert again == Change(Status.CONNECTING, Fault.REJECTED, "NetStream.Publish.Denied")
    assert again.message == "The server rejects the stream. (NetStream.Publish.Denied)"
    assert statuses.running(6) == [Change(Status.RUNNING)]
    assert statuses.broken(7, Fault.STALLED) == [Change(Status.RECOVERING, Fault.STALLED)]
    assert statuses.tick(67) == [Change(Status.FAILED, Fault.STALLED), Change(Status.IDLE)]
    assert statuses.status == Status.FAILED


def test_a_late_tick_says_it_once() -> None:
    statuses = Statuses()
    statuses.begin(0)
    assert len(statuses.tick(23)) == 1
    assert statuses.deadline == 25


def test_every_fault_has_its_text_and_number() -> None:
    assert set(TEXTS) == set(Fault)
    assert sorted(Fault) == list(range(len(Fault)))


@given(st.lists(st.tuples(st.floats(0, 30), st.sampled_from((RUN, BREAK, CLOSE, CLOSED, TICK))), max_size=20))
def test_whatever_happens_it_ends_once_and_no_callback_is_doubled(gaps: list[Step]) -> None:
    now, steps = 0.0, []
    for gap, step in gaps:
        now += gap
        steps.append((now, step))
    said = [status for _, status in play(steps)]
    assert said.count(0) <= 1
    assert said.count(0) == 0 or said[-1] == 0
    assert all(status in (1, 3) or status != following for status, following in zip(said, said[1:], strict=False))
    assert all(said[at + 1] == 0 for at, status in enumerate(said) if status == 4)
