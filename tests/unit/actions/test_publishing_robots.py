"""Robots of relays: names that nobody else has in the rooms where they go."""

import asyncio
from typing import Any

import pytest

from rtcloud.actions import publishing
from rtcloud.errors import ServiceError
from rtcloud.rooms.ids import RoomRef
from tests.kit.relay_calls import (
    PLACE,
    World,
    layout,
    refusal,
    run,
    stream,
    video,
)


def test_robots_of_a_relay_that_runs_are_refused_before_they_have_entered() -> None:
    async def scenario(world: World) -> None:
        echo = {"RoomId": "8", "RoomIdType": 0, "UserId": "echo", "UserSig": world.sig("echo")}
        other = {"UserId": "second", "UserSig": world.sig("second")}
        task_id, _ = await world.started(FeedBackRoomParams=[echo], **video())
        error = await refusal(world.start(AgentParams=other, FeedBackRoomParams=[echo], **video()))
        assert error.code == "InvalidParameter"
        assert error.message == "FeedBackRoomParams.0.UserId is the robot of another task in room 8"
        await world.world.call("StopPublishCdnStream", SdkAppId=world.app, TaskId=task_id)
        second, _ = await world.started(AgentParams=other, FeedBackRoomParams=[echo], **video())
        third, _ = await world.started(**video())
        rooms = {"TaskId": third, "SequenceNumber": 1, "WithTranscoding": 1, "FeedBackRoomParams": [echo]}
        error = await refusal(world.world.call("UpdatePublishCdnStream", SdkAppId=world.app, **rooms))
        assert error.message == "FeedBackRoomParams.0.UserId is the robot of another task in room 8"
        own = {"TaskId": second, "SequenceNumber": 1, "WithTranscoding": 1, "FeedBackRoomParams": [echo]}
        await world.world.call("UpdatePublishCdnStream", SdkAppId=world.app, **own)

    run(scenario)


def test_robots_that_feed_back_have_names_of_their_own() -> None:
    async def scenario(world: World) -> None:
        def echo(room: str, name: str, kind: int = 0) -> dict[str, Any]:
            return {"RoomId": room, "RoomIdType": kind, "UserId": name, "UserSig": world.sig(name)}

        for rooms, other in (
            ([echo("3560", "robot")], "AgentParams"),
            ([echo("8", "echo"), echo("008", "echo")], "FeedBackRoomParams.0"),
            ([echo("3560", "alice")], "VideoParams.LayoutParams.MixLayoutList.0.UserMediaStream.UserInfo"),
        ):
            error = await refusal(world.start(FeedBackRoomParams=rooms, **layout(4, PLACE | stream("alice"))))
            assert error.code == "InvalidParameter"
            assert error.message.startswith(f"FeedBackRoomParams.{len(rooms) - 1}.UserId is the robot's")
            assert other in error.message
        several = [echo("3560", "echo"), echo("8", "echo"), echo("8", "echo", 1), echo("9", "robot")]
        _, accepted = await world.started(FeedBackRoomParams=several, **layout(4, PLACE | stream("alice")))
        assert len(accepted.feed_back_room_params) == 4

    run(scenario)


def test_a_robot_whose_name_is_taken_in_a_room_is_refused() -> None:
    async def scenario(world: World) -> None:
        main, other = RoomRef(world.app, True, "3560"), RoomRef(world.app, False, "lobby")
        places = layout(4, PLACE | stream("a"), PLACE | stream("b", RoomId="lobby", RoomIdType=1))
        feedback = {"RoomId": "lobby", "RoomIdType": 1, "UserId": "echo", "UserSig": world.sig("echo")}
        for room, taken, path in (
            (main, "robot", "AgentParams.UserId"),
            (other, "robot", "AgentParams.UserId"),
            (other, "echo", "FeedBackRoomParams.0.UserId"),
        ):
            world.rooms.open = {room: {taken, "a"}}
            error = await refusal(world.start(FeedBackRoomParams=[feedback], **places))
            assert (error.code, error.message.split()[0]) == ("InvalidParameter", path)
            assert "already" in error.message
        world.rooms.open = {main: {"a"}, other: {"b"}, RoomRef(world.app, True, "7"): {"robot"}}
        await world.start(FeedBackRoomParams=[feedback], **places)

    run(scenario)


def test_a_robot_of_a_task_stopped_just_now_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        main, same = RoomRef(world.app, True, "3560"), {"AgentParams": {"UserId": "robot"}}
        task_id = await world.start(**same)
        world.rooms.open = {main: {"robot"}}
        await world.stop(task_id)
        starting = asyncio.ensure_future(world.start(**same))
        await asyncio.sleep(0)
        assert not starting.done()
        await world.rooms.remove_users(main, ["robot"])
        await starting
        monkeypatch.setattr(publishing, "ROBOT_LEAVES_WITHIN_S", 0.2)
        world.rooms.open = {main: {"robot"}}  # somebody else took its name
        assert (await refusal(world.start(**same))).code == "InvalidParameter"

    run(scenario)


def test_a_robot_of_another_task_is_taken_before_it_is_in_the_room() -> None:
    async def scenario(world: World) -> None:
        same: dict[str, Any] = {"AgentParams": {"UserId": "robot"}}
        task_id = await world.start(**same)
        error = await refusal(world.start(**same))
        assert (error.code, error.message.split()[0]) == ("InvalidParameter", "AgentParams.UserId")
        await world.start(RoomIdType=1, **same)
        await world.stop(task_id)
        first, second = await asyncio.gather(world.start(**same), world.start(**same), return_exceptions=True)
        assert {type(first), type(second)} == {str, ServiceError}

    run(scenario)


def test_robots_of_the_task_itself_are_no_strangers() -> None:
    async def scenario(world: World) -> None:
        echo = {"RoomId": "8", "RoomIdType": 0, "UserId": "echo", "UserSig": world.sig("echo")}
        task_id = await world.start(FeedBackRoomParams=[echo])
        world.rooms.open = {RoomRef(world.app, True, "3560"): {"robot"}, RoomRef(world.app, True, "8"): {"echo"}}
        await world.update(task_id, 1, FeedBackRoomParams=[echo])
        error = await refusal(world.update(task_id, 2, FeedBackRoomParams=[echo, echo | {"UserSig": "x"}]))
        assert error.code == "InvalidParameter"
        world.rooms.open[RoomRef(world.app, True, "9")] = {"echo"}
        error = await refusal(world.update(task_id, 2, FeedBackRoomParams=[echo, echo | {"RoomId": "9"}]))
        assert error.message.startswith("FeedBackRoomParams.1.UserId is in room 9 already")

    run(scenario)
