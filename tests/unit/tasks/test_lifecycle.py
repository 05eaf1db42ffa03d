from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.tasks.lifecycle import (
    GIVE_UP_CODE,
    MAX_RESTARTS,
    CloseFiles,
    Desired,
    Leave,
    Rest,
    StartJob,
    State,
    counts,
    decide,
    move,
)
from rtcloud.tasks.protocol import Ended, FileClosed, Heartbeat, Left, Started
from tests.kit.running_task import running_task

TASK = running_task("recording", b"{}", state=State.ACCEPTED, attempts=0, spent=0)
STARTED, ENDED, LEFT = Started(sequence=1, at_ms=1), Ended(sequence=2, at_ms=1), Left(sequence=3, at_ms=1, leave_code=0)


def test_an_accepted_task_gets_a_job_at_once() -> None:
    assert decide(TASK, needs_finish=False) == StartJob(0, False, 0)


def test_a_task_without_job_goes_on_in_the_next_attempt_until_there_are_no_more() -> None:
    for attempts in range(1, MAX_RESTARTS + 1):
        step = decide(replace(TASK, state=State.RUNNING, attempts=attempts, spent=attempts), needs_finish=True)
        assert isinstance(step, StartJob)
        assert (step.attempt, step.finish) == (attempts, False)
        assert step.delay_ms <= 2000
    assert decide(replace(TASK, attempts=MAX_RESTARTS + 1, spent=MAX_RESTARTS + 1), needs_finish=True) == Leave(
        GIVE_UP_CODE
    )


def test_attempts_that_were_let_go_do_not_use_up_the_restarts() -> None:
    assert decide(replace(TASK, attempts=9, spent=0), needs_finish=False) == StartJob(9, False, 0)


def test_a_kind_without_limit_is_started_again_for_as_long_as_it_is_wanted() -> None:
    delays = []
    for attempts in range(50):
        step = decide(replace(TASK, attempts=attempts, spent=attempts), needs_finish=False, max_restarts=None)
        assert isinstance(step, StartJob)
        delays.append(step.delay_ms)
    assert delays == sorted(delays)
    assert sum(delays[:3]) <= 2_000
    assert delays[-1] == 10_000


@pytest.mark.parametrize("max_restarts", [None, MAX_RESTARTS])
def test_what_is_missing_is_tried_a_few_times(max_restarts: int | None) -> None:
    left = replace(TASK, state=State.ENDING, desired=Desired.STOPPED, leave_code=0, attempts=20)
    assert decide(replace(left, spent=3), needs_finish=True, max_restarts=max_restarts) == StartJob(20, True, 2_000)
    assert decide(replace(left, spent=4), needs_finish=True, max_restarts=max_restarts) == CloseFiles()


def test_a_stopped_task_leaves_with_the_code_it_was_stopped_with() -> None:
    for attempts in (0, 1, 4):
        stopped = replace(TASK, desired=Desired.STOPPED, stop_code=2, attempts=attempts, spent=attempts)
        assert decide(stopped, needs_finish=False) == Leave(2)


def test_after_leaving_only_what_is_missing_is_made() -> None:
    left = replace(TASK, state=State.ENDING, desired=Desired.STOPPED, leave_code=0, attempts=1)
    assert decide(left, needs_finish=False) == CloseFiles()
    step = decide(left, needs_finish=True)
    assert isinstance(step, StartJob)
    assert step.finish
    assert decide(replace(left, attempts=4, spent=4), needs_finish=True) == CloseFiles()


def test_nothing_is_run_while_files_go_up_or_after_the_end() -> None:
    for state in (State.UPLOADING, State.ENDED):
        assert decide(replace(TASK, state=state), needs_finish=True) == Rest()


def test_a_leave_that_nobody_asked_for_is_a_job_let_go() -> None:
    assert not counts(TASK, LEFT)
    assert counts(replace(TASK, desired=Desired.STOPPED), LEFT)
    assert counts(TASK, Left(at_ms=1, leave_code=99))


def test_a_robot_leaves_once() -> None:
    assert not counts(replace(TASK, leave_code=1), Left(at_ms=1, leave_code=99))


def test_an_end_counts_only_after_leaving() -> None:
    assert not counts(TASK, ENDED)
    assert counts(replace(TASK, leave_code=0), ENDED)


def test_secrets_are_not_shown() -> None:
    assert "SecretKey" not in repr(replace(TASK, params=b'{"SecretKey":"s"}'))


EVENTS = st.sampled_from(
    [
        STARTED,
        ENDED,
        LEFT,
        Left(at_ms=1, leave_code=99),
        Heartbeat(at_ms=1),
        FileClosed(at_ms=1, name="a", kind="segment", begin_ms=0, end_ms=1, size=1),
    ]
)
ORDER = list(State)


@given(st.lists(st.one_of(EVENTS, st.just("stop"))))
def test_states_never_go_back_and_the_code_is_set_once(steps: list[Any]) -> None:
    task = TASK
    for step in steps:
        before = task
        if step == "stop":
            task = replace(task, desired=Desired.STOPPED)
        elif counts(task, step):
            change = move(task, step)
            task = replace(
                task,
                state=change.state or task.state,
                desired=change.desired or task.desired,
                leave_code=task.leave_code if change.leave_code is None else change.leave_code,
            )
        assert ORDER.index(task.state) >= ORDER.index(before.state)
        assert before.leave_code is None or task.leave_code == before.leave_code
        if task.state is State.UPLOADING:
            assert task.leave_code is not None
