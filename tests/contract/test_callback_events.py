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
