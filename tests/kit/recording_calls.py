"""Recording actions called as the gateway calls them, with rooms, tasks and pictures that remember what was asked."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest

from rtcloud.accounts.entities import Application, ApplicationSettings, Caller
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.actions import recording
from rtcloud.actions.context import Call, Services
from rtcloud.actions.recording import CreateCloudRecordingRequest, ModifyCloudRecordingRequest, TaskRequest
from rtcloud.apimodel.model import Action, load_model
from rtcloud.apimodel.validation import validate
from rtcloud.egress.recording.request import RecordingRequest, decode
from rtcloud.errors import ServiceError
from tests.kit.api import FakeImages, FakeRooms, FakeTasks
from tests.kit.clock import NOW_MS, StillClock

HOUR_MS = 3_600_000
MODEL = load_model()
APP = Application(1_400_000_000, "100", "app", "key", ApplicationSettings(concurrent_recordings=2))
STORAGE = {"Vendor": 0, "Region": "r", "Bucket": "b", "AccessKey": "access", "SecretKey": "hidden"}


def services(tasks: FakeTasks, clock: StillClock, images: FakeImages | None = None) -> Services:
    """Without what recordings have nothing to do with."""
    unused: Any = None
    return Services(FakeRooms(), tasks, clock, unused, unused, unused, images or FakeImages())


def call_of(action: Action, application: Application = APP) -> Call:
    return Call(action, Caller("100", "100", "owner", ()), "id", found=application)


class World:
    def __init__(self) -> None:
        self.tasks, self.clock = FakeTasks(), StillClock()
        self.images = FakeImages()
        self.robots = 0
        self.services, self.application = services(self.tasks, self.clock, self.images), APP

    async def create(self, **changes: Any) -> str:
        """Each robot that is not named has a name of its own."""
        self.robots += 1
        robot = changes.get("UserId", f"robot{self.robots}")
        parameters = {
            "SdkAppId": APP.sdk_app_id,
            "RoomId": "3560",
            "UserId": robot,
            "UserSig": make_user_sig(APP.sdk_app_id, APP.secret_key, robot, now_ms=NOW_MS),
            "RecordParams": {"RecordMode": 2},
            "StorageParams": {"CloudStorage": STORAGE},
        } | changes
        action = MODEL.actions["CreateCloudRecording"]
        request = msgspec.convert(validate(MODEL, action, parameters), CreateCloudRecordingRequest)
        call = call_of(action, self.application)
        return (await recording.create_cloud_recording(self.services, call, request)).task_id

    async def accepted(self, **changes: Any) -> RecordingRequest:
        return decode(self.tasks.accepted[await self.create(**changes)].params)

    async def refused(self, **changes: Any) -> ServiceError:
        before = len(self.tasks.accepted)
        with pytest.raises(ServiceError) as caught:
            await self.create(**changes)
        assert MODEL.may_answer(MODEL.actions["CreateCloudRecording"], caught.value.code)
        assert len(self.tasks.accepted) == before
        return caught.value

    async def modify(self, task_id: str, app: int = APP.sdk_app_id, **members: Any) -> RecordingRequest:
        action = MODEL.actions["ModifyCloudRecording"]
        parameters = validate(MODEL, action, {"SdkAppId": app, "TaskId": task_id} | members)
        request = msgspec.convert(parameters, ModifyCloudRecordingRequest)
        answer = await recording.modify_cloud_recording(self.services, call_of(action, self.application), request)
        assert answer.task_id == task_id
        return decode(self.tasks.accepted[task_id].params)

    async def describe(self, task_id: str, app: int = APP.sdk_app_id) -> recording.DescribeCloudRecordingResult:
        call = call_of(MODEL.actions["DescribeCloudRecording"])
        return await recording.describe_cloud_recording(self.services, call, TaskRequest(app, task_id))


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(scenario(World()))
