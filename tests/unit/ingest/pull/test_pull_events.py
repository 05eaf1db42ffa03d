"""What a pull tells of its source: each row is a life of a task, and the statuses of 701 and 702 that come of it."""

from dataclasses import replace

import msgspec
import pytest

from rtcloud.callbacks.events import CallbackEvent
from rtcloud.ingest.handling import COPIED, TRANSCODED
from rtcloud.ingest.pull.events import IngestKind
from rtcloud.ingest.pull.request import PLAYED_OUT, SOURCE_GONE, UNUSABLE, IngestRequest, decode, encode
from rtcloud.tasks.attempts import is_sound
from rtcloud.tasks.kinds import Refusal
from rtcloud.tasks.lifecycle import GIVE_UP_CODE
from rtcloud.tasks.protocol import AnyJobEvent, Ended, Left, Noted, SourceChanged, Started
from tests.kit.running_task import running_task

KIND = IngestKind()
NOW = 1_700_000_000_000
REQUEST = IngestRequest(
    sdk_app_id=1400, room_id="77", user_id="robot", stream_url="https://user:word@media.example:8443/secret?key=k"
)
TASK = running_task("ingest", encode(REQUEST))


def event(word: str) -> AnyJobEvent:
    """``running``, ``again`` and ``failed`` are of the source; ``left 0`` is the end with that code."""
    name, _, code = word.partition(" ")
    match name:
        case "started":
            return Started(sequence=1, at_ms=NOW)
        case "noted":
            return Noted(sequence=1, at_ms=NOW, code="VideoTranscoded", message="B-frames")
        case "left":
            return Left(sequence=1, at_ms=NOW, leave_code=int(code))
        case "ended":
            return Ended(sequence=1, at_ms=NOW)
        case "running" | "again" | "failed":
            return SourceChanged(sequence=1, at_ms=NOW, state=name)
    raise AssertionError(word)


def told(*lives: str) -> list[CallbackEvent]:
    """``lives``: what each job says, one after the other, with commas."""
    task, found = TASK, list[CallbackEvent]()
    for attempt, life in enumerate(lives):
        for word in filter(None, life.split(", ")):
            said = event(word)
            reaction = KIND.on_event(task, attempt, said)
            found += reaction.callbacks
            task = replace(task, progress=reaction.progress)
            if isinstance(said, Left):
                task = replace(task, leave_code=said.leave_code)
    return found


STARTS = "failed, again, failed, again, failed, again, failed"


@pytest.mark.parametrize(
    ("lives", "expected"),
    [
        (["started, running, noted, left 0, ended"], "701/0 702/0"),
        (["running, started, left 0, ended"], "701/0 702/0"),
        (["left 0"], "702/0"),
        ([f"running, left {PLAYED_OUT}"], "701/0 702/0"),
        (["running, left 1"], "701/0 702/0"),  # sent out of the room
        (["running, left 2, left 2"], "701/0 702/0"),
        # a start that needs a second attempt, and one that no attempt helps
        (["failed, again, running, left 0"], "701/1 701/2 701/0 702/0"),
        ([f"{STARTS}, left {SOURCE_GONE}"], "701/1 701/2 701/1 701/2 701/1 701/2 701/1 702/0"),
        (["failed, again, left 0"], "701/1 701/2 702/0"),
        ([f"left {UNUSABLE}"], "701/1 702/0"),
        ([f"failed, left {UNUSABLE}"], "701/1 702/0"),
        # a source that had run and dies: it returns, or is given up
        ([f"running, {STARTS}, again, running, left 0"], "701/0 701/1 701/2 701/2 701/2 701/2 701/0 702/0"),
        (["running, failed, again, running, failed, again, running"], "701/0 701/1 701/2 701/0 701/1 701/2 701/0"),
        ([f"running, {STARTS}, left {SOURCE_GONE}"], "701/0 701/1 701/2 701/2 701/2 701/1 702/0"),
        # a second address: it is tried as such
        (["running, again, running, left 0"], "701/0 701/2 701/0 702/0"),
        (["running, running, left 0"], "701/0 702/0"),
        # a job that dies: the next one's first attempt is another one
        (["running", "started, running", "left 0"], "701/0 701/2 701/0 702/0"),
        (["running", "running, started, left 0"], "701/0 701/2 701/0 702/0"),
        (["running", "started, failed, again, running"], "701/0 701/2 701/1 701/2 701/0"),
        (["failed, again", "started, running"], "701/1 701/2 701/0"),
        (["failed", "started, running"], "701/1 701/2 701/0"),
        (["started", "started, running"], "701/0"),
        (["", "running, left 0"], "701/0 702/0"),
        (["running", "started", "started", f"left {GIVE_UP_CODE}"], "701/0 701/2 701/1 702/0"),
        # what is said after the end
        (["running, left 0, running, failed, started"], "701/0 702/0"),
    ],
)
def test_story_of_a_source(lives: list[str], expected: str) -> None:
    found = told(*lives)
    assert " ".join(f"{one.type}/{one.info['Status']}" for one in found) == expected
    assert all(dict(one.info) == {"EventMsTs": NOW, "TaskId": "T", "Status": one.info["Status"]} for one in found)
    assert {(one.ref, one.group) for one in found} <= {(TASK.ref, 7)}


def test_a_pull_makes_no_files_and_its_user_counts_as_a_person() -> None:
    assert (KIND.is_robot, KIND.waits_for_room, KIND.forgets_restarts) == (False, False, True)
    assert not KIND.needs_finish(TASK, {"segment": 1})
    assert not KIND.is_uploaded(TASK, "mp4")
    assert (KIND.bucket(TASK), list(KIND.folder(TASK)), list(KIND.passes(TASK))) == (None, [], [])
    assert KIND.trouble(TASK.progress) is None
    for reaction in (
        KIND.on_probed(TASK, None, NOW),
        KIND.on_refused(TASK, "NoSpace", "full", NOW),
        KIND.on_uploads(TASK, {}, (), NOW),
        KIND.on_probed(TASK, Refusal("a", "b"), NOW),
    ):
        assert (reaction.progress, reaction.callbacks, reaction.entries) == ("{}", (), ())


def test_a_pull_that_encodes_pictures_takes_a_place_of_its_own() -> None:
    def load(code: str) -> int | None:
        return KIND.on_event(TASK, 0, Noted(sequence=1, at_ms=NOW, code=code, message="")).load

    assert (load("VideoTranscoded"), load("VideoCopied")) == (TRANSCODED, COPIED)
    assert (load("AudioTranscoded"), load("VideoLeftOut")) == (None, None)
    assert KIND.on_event(TASK, 0, event("running")).load is None


def test_the_job_gets_the_request_as_it_is_and_nothing_of_it_is_shown() -> None:
    assert decode(KIND.job_params(TASK)) == REQUEST
    assert KIND.with_keys(TASK.params, "a", "b") == TASK.params
    assert repr(REQUEST) == "IngestRequest(https://media.example:8443)"
    plain = msgspec.json.decode(encode(REQUEST))
    assert set(plain) == {"SdkAppId", "RoomId", "UserId", "StreamUrl"}  # the defaults are not written


def test_what_a_job_says_of_its_source_is_believed_within_bounds() -> None:
    said = SourceChanged(sequence=1, at_ms=NOW, state="failed", message="the server closed the connection")
    assert is_sound(said)
    assert not is_sound(msgspec.structs.replace(said, message="x" * 513))
    assert not is_sound(msgspec.structs.replace(said, message="two\nlines"))
    assert not is_sound(msgspec.structs.replace(said, sequence=0))
