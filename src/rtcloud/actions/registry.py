"""Which actions are built, and the function and request struct of each. Every other one of the model is answered
``UnsupportedOperation``; the coverage page of the docs is generated from this table."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rtcloud.actions import recording, room
from rtcloud.actions.context import Call, Services


@dataclass(frozen=True, slots=True)
class Entry:
    request: type[msgspec.Struct]
    run: Callable[[Services, Call, Any], Awaitable[msgspec.Struct]]


ACTIONS: Mapping[str, Entry] = {
    "CreateCloudRecording": Entry(recording.CreateCloudRecordingRequest, recording.create_cloud_recording),
    "DeleteCloudRecording": Entry(recording.TaskRequest, recording.delete_cloud_recording),
    "DescribeCloudRecording": Entry(recording.TaskRequest, recording.describe_cloud_recording),
    "DismissRoom": Entry(room.DismissRoomRequest, room.dismiss_room),
    "DismissRoomByStrRoomId": Entry(room.DismissRoomByStrRoomIdRequest, room.dismiss_room_by_str_room_id),
    "RemoveUser": Entry(room.RemoveUserRequest, room.remove_user),
    "RemoveUserByStrRoomId": Entry(room.RemoveUserByStrRoomIdRequest, room.remove_user_by_str_room_id),
}
