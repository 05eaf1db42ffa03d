import json
from typing import Any

import pytest

from rtcloud.callbacks.events import recording_event, room_event
from rtcloud.rooms.ids import RoomRef

NUMERIC = RoomRef(1400, True, "77")
NAMED = RoomRef(1400, False, "77")
NOW = 1_687_770_730_160
ALL = {"user_id": "test", "role": 21, "terminal_type": 2, "user_type": 3, "reason": 1}
HEAD = ["RoomId", "EventTs", "EventMsTs"]

# the documents' examples (房间与媒体回调)
DOCUMENTED = {
    101: ["UserId"],
    102: [],
    103: ["UserId", "Role", "TerminalType", "UserType", "Reason"],
    104: ["UserId", "Role", "Reason"],
    105: ["UserId", "Role"],
    201: ["UserId"],
    202: ["UserId", "Reason"],
    203: ["UserId"],
    204: ["UserId", "Reason"],
    205: ["UserId"],
    206: ["UserId", "Reason"],
}
ARGUMENTS = {
    "UserId": "user_id",
    "Role": "role",
    "TerminalType": "terminal_type",
    "UserType": "user_type",
    "Reason": "reason",
}


@pytest.mark.parametrize("event_type", DOCUMENTED)
def test_each_type_has_the_documented_fields_in_their_order(event_type: int) -> None:
    given: dict[str, Any] = {ARGUMENTS[field]: ALL[ARGUMENTS[field]] for field in DOCUMENTED[event_type]}
    event = room_event(NUMERIC, event_type, NOW, **given)
    assert list(event.info) == HEAD + DOCUMENTED[event_type]
    assert (event.group, event.type) == (event_type // 100, event_type)
    assert event.info["EventTs"] == 1_687_770_730
    assert event.info["EventMsTs"] == NOW


@pytest.mark.parametrize("event_type", DOCUMENTED)
def test_a_field_too_many_or_too_few_is_a_mistake(event_type: int) -> None:
    given: dict[str, Any] = {ARGUMENTS[field]: ALL[ARGUMENTS[field]] for field in DOCUMENTED[event_type]}
    for name in ALL:
        wrong = {key: value for key, value in given.items() if key != name} if name in given else given | {name: 1}
        with pytest.raises(ValueError, match="has the fields"):
            room_event(NUMERIC, event_type, NOW, **wrong)


def test_an_unknown_type_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="199"):
        room_event(NUMERIC, 199, NOW)


def test_the_room_id_has_the_type_of_the_room() -> None:
    assert room_event(NUMERIC, 102, NOW).info["RoomId"] == 77
    assert room_event(NAMED, 102, NOW).info["RoomId"] == "77"


def test_recording_events_carry_robot_task_and_payload() -> None:
    event = recording_event(NUMERIC, 301, NOW, user_id="robot", task_id="T", payload={"Status": 0})
    assert event.group == 3
    assert list(json.loads(event.info_json)) == [*HEAD, "UserId", "TaskId", "Payload"]
    assert event.info_json.endswith('"UserId":"robot","TaskId":"T","Payload":{"Status":0}}')
