"""The callbacks we send have the events and fields of the specification."""

import json
from pathlib import Path
from typing import Any

import pytest

from rtcloud.callbacks import events
from rtcloud.rooms.ids import RoomRef

pytestmark = pytest.mark.contract

SPEC = Path(__file__).parents[2] / "spec" / "callback-events.json"


def test_callback_events_are_those_of_the_specification() -> None:
    specified = json.loads(SPEC.read_text("utf-8"))["groups"]
    room = {**specified["1"]["events"], **specified["2"]["events"]}
    assert {str(int(event)) for event in events.RoomEvent} == room.keys()
    assert {str(int(event)) for event in events.RecordingEvent} == specified["3"]["events"].keys()
    ref = RoomRef(1, True, "7")
    given: dict[str, Any] = {"UserId": "u", "Role": 20, "TerminalType": 1, "UserType": 1, "Reason": 1}
    keywords = {"UserId": "user_id", "Role": "role", "TerminalType": "terminal_type", "UserType": "user_type"}
    for number, event in room.items():
        chosen = {keywords.get(n, "reason"): given[n] for n in event["fields"] if n in given}
        assert list(events.room_event(ref, int(number), 1, **chosen).info) == event["fields"], number
    for number, event in specified["3"]["events"].items():
        made = events.recording_event(ref, int(number), 1, user_id="r", task_id="t", payload={})
        assert list(made.info) == event["fields"], number
    relayed = specified["4"]["events"]
    assert {str(int(event)) for event in events.RelayEvent} == relayed.keys()
    told = events.publishing_event(ref, 1, user_id="r", task_id="t", url="rtmp://cdn/live/x", status=2)
    assert list(told.info) == relayed["401"]["fields"]
    pulled = specified["7"]["events"]
    assert {str(int(event)) for event in events.IngestEvent} == pulled.keys()
    for number, event in pulled.items():
        made = events.ingest_event(ref, int(number), 1, task_id="t")
        assert list(made.info) == event["fields"], number


def test_an_address_is_told_of_as_documented() -> None:
    told = events.publishing_event(
        RoomRef(1, False, "seven"), 1622186275913, user_id="robot", task_id="T",
        url="rtmp://cdn/live/x", status=4, code=3, message="refused",
    )  # fmt: skip
    assert (told.group, told.type) == (4, 401)
    assert json.loads(told.info_json) == {
        "RoomId": "seven",
        "RoomType": 1,
        "EventMsTs": 1622186275913,
        "UserId": "robot",
        "TaskId": "T",
        "Payload": {"Url": "rtmp://cdn/live/x", "Status": 4, "ErrorCode": 3, "ErrorMsg": "refused"},
    }
    numeric = events.publishing_event(RoomRef(1, True, "7"), 1, user_id="r", task_id="T", url="u", status=0)
    assert (numeric.info["RoomId"], numeric.info["RoomType"]) == (7, 0)


def test_the_statuses_are_those_of_the_specification() -> None:
    specified = json.loads(SPEC.read_text("utf-8"))["groups"]
    ours = {str(int(status)): f"PUBLISH_CDN_STREAM_STATE_{status.name}" for status in events.CdnStatus}
    assert ours == specified["4"]["events"]["401"]["statuses"]
    ours = {str(int(status)): f"STATUS_START_{status.name}" for status in events.IngestStart}
    assert ours == specified["7"]["events"]["701"]["statuses"]
    with pytest.raises(ValueError, match="only the status 0"):
        events.ingest_event(RoomRef(1, True, "7"), 702, 1, task_id="t", status=1)


def test_the_envelope_of_each_group_is_that_of_the_specification() -> None:
    specified = json.loads(SPEC.read_text("utf-8"))
    for number, group in specified["groups"].items():
        body = events.body(int(number), 1, 1664209748188, "{}")
        assert list(json.loads(body)) == group.get("envelope", specified["envelope"])


def test_a_pulled_stream_is_told_of_as_documented() -> None:
    """The documents' own body, without its spaces."""
    started = events.ingest_event(RoomRef(1, True, "7"), 701, 1701937900013, task_id="xx", status=0)
    assert events.body(started.group, started.type, 1701937900012, started.info_json) == (
        b'{"EventGroupId":7,"EventType":701,"CallbackMsTs":1701937900012,'
        b'"EventInfo":{"EventMsTs":1701937900013,"TaskId":"xx","Status":0}}'
    )
    stopped = events.ingest_event(RoomRef(1, True, "7"), 702, 1701937900013, task_id="xx")
    assert events.body(stopped.group, stopped.type, 1701937900012, stopped.info_json) == (
        b'{"EventGroupId":7,"EventType":702,"CallbackMsTs":1701937900012,'
        b'"EventInfo":{"EventMsTs":1701937900013,"TaskId":"xx","Status":0}}'
    )
