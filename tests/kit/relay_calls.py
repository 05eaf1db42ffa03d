"""Relay actions called as the gateway calls them, and the members that their requests are made of."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from rtcloud.accounts.usersig import make_user_sig
from rtcloud.egress.publishing.request import RelayRequest, decode
from rtcloud.errors import ServiceError
from rtcloud.tasks.task import NewTask
from tests.kit import actions
from tests.kit.actions import NOW_MS, open_world
from tests.kit.api import FakeImages, FakeRooms, FakeTasks

EXAMPLES = json.loads((Path(__file__).parents[1] / "vectors" / "examples.json").read_text("utf-8"))["examples"]

URL = "rtmp://cdn.example/live/one"
AUDIO = {"AudioEncode": {"SampleRate": 48000, "Channel": 2, "BitRate": 64}}
ENCODE = {"Width": 1280, "Height": 720, "Fps": 30, "BitRate": 1500, "Gop": 2}
STORAGE = {"Vendor": 0, "Region": "r", "Bucket": "b", "AccessKey": "access", "SecretKey": "hidden"}
PLACE = {"ImageWidth": 640, "ImageHeight": 720}
MARK: dict[str, Any] = {
    "WaterMarkUrl": "https://host/a.png",
    "WaterMarkWidth": 64,
    "WaterMarkHeight": 64,
    "LocationX": 0,
    "LocationY": 0,
}
TEXT = {"Text": "live", "WaterMarkWidth": 200, "WaterMarkHeight": 50, "LocationX": 0, "LocationY": 0, "FontSize": 20}


def user(name: str, **room: Any) -> dict[str, Any]:
    return {"UserInfo": {"UserId": name, **room}}


def stream(name: str, **room: Any) -> dict[str, Any]:
    return {"UserMediaStream": user(name, **room)}


def video(encode: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    return {"VideoParams": {"VideoEncode": ENCODE | (encode or {}), **members}}


def layout(mode: int = 4, *places: dict[str, Any], **members: Any) -> dict[str, Any]:
    return video(LayoutParams={"MixLayoutMode": mode, "MixLayoutList": list(places), **members})


def marked(*marks: dict[str, Any]) -> dict[str, Any]:
    return video(WaterMarkList=list(marks))


def recorded(**members: Any) -> dict[str, Any]:
    storage = {"McuStorageParams": {"CloudStorage": STORAGE}}
    return video() | {"RecordParams": {"UniRecord": 3} | storage | members}


SINGLE = {"WithTranscoding": 0, "SingleSubscribeParams": stream("alice")}


class World:
    def __init__(self, world: actions.World) -> None:
        self.world = world
        rooms, tasks, images = world.services.rooms, world.services.tasks, world.services.images
        assert isinstance(rooms, FakeRooms)
        assert isinstance(tasks, FakeTasks)
        assert isinstance(images, FakeImages)
        self.rooms, self.tasks, self.images = rooms, tasks, images
        self.app = world.app.sdk_app_id

    def sig(self, user_id: str) -> str:
        return make_user_sig(self.app, self.world.app.secret_key, user_id, now_ms=NOW_MS)

    def parameters(self, changes: dict[str, Any]) -> dict[str, Any]:
        """Each task has a robot of its own."""
        robot = f"robot{len(self.tasks.accepted) or ''}"
        whole = {
            "SdkAppId": self.app,
            "RoomId": "3560",
            "RoomIdType": 0,
            "AgentParams": {"UserId": robot, "UserSig": self.sig(robot)},
            "WithTranscoding": 1,
            "AudioParams": AUDIO,
            "PublishCdnParams": [{"PublishCdnUrl": URL}],
        }
        return {name: value for name, value in (whole | changes).items() if value is not None}

    async def start(self, **changes: Any) -> str:
        answer = await self.world.call("StartPublishCdnStream", **self.parameters(changes))
        return str(answer["TaskId"])

    async def started(self, **changes: Any) -> tuple[str, RelayRequest]:
        task_id = await self.start(**changes)
        return task_id, self.request(task_id)

    async def update(self, task_id: str, number: int = 1, **changes: Any) -> RelayRequest:
        parameters = {"SdkAppId": self.app, "TaskId": task_id, "SequenceNumber": number, "WithTranscoding": 1} | changes
        assert await self.world.call("UpdatePublishCdnStream", **parameters) == {"TaskId": task_id}
        return self.request(task_id)

    async def stop(self, task_id: str, app: int | None = None) -> None:
        await self.world.call("StopPublishCdnStream", SdkAppId=app or self.app, TaskId=task_id)

    def task(self, task_id: str) -> NewTask:
        return self.tasks.accepted[task_id]

    def request(self, task_id: str) -> RelayRequest:
        return decode(self.task(task_id).params)


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with open_world() as world:
            await scenario(World(world))

    asyncio.run(main())


async def refusal(call: Coroutine[Any, Any, Any]) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        await call
    return caught.value
