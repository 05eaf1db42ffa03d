"""Who will be in which rooms for a task: names that nobody else may have there.

Two of one name would throw each other out. So a robot is refused the name of a person who is in the room, of another
task's robot there (that may not have entered yet), and the reserved name of automatic recordings. One that is just
leaving, since its task was stopped, is waited for.
"""

import asyncio
from collections.abc import Mapping

from rtcloud.actions import relay_rules
from rtcloud.actions.context import Call, Services
from rtcloud.apimodel import faults
from rtcloud.egress.publishing import request as publishing
from rtcloud.egress.publishing.request import RelayRequest
from rtcloud.rooms.ids import AUTO_RECORDER, RoomRef

#: the room and the name there → the path in the call that names the robot
Robots = Mapping[tuple[RoomRef, str], str]
_LOOK_AGAIN_S = 0.1


def of_relay(request: RelayRequest, besides: Robots | None = None) -> Robots:
    """Without those of ``besides``."""
    agent = request.agent_params.user_id
    found = {(room, agent): "AgentParams.UserId" for room in relay_rules.rooms(request)}
    for index, each in enumerate(request.feed_back_room_params):
        room = RoomRef(request.sdk_app_id, each.room_id_type == 0, each.room_id)
        found[room, each.user_id] = f"FeedBackRoomParams.{index}.UserId"
    return {robot: path for robot, path in found.items() if robot not in (besides or {})}


async def check_free(services: Services, call: Call, robots: Robots, within_s: float) -> float:
    """That no name is reserved, and that nobody is in the rooms under one. Gives how long that was waited for, at most
    about ``within_s`` seconds."""
    for (_, user_id), path in robots.items():
        if user_id == AUTO_RECORDER:
            raise faults.invalid(call.action, path, "is the name of automatic recordings' robot")
    tries = most = round(within_s / _LOOK_AGAIN_S)
    for (room, user_id), path in robots.items():
        while services.rooms.has_user(room, user_id):
            if tries <= 0 or not await services.tasks.has_leaving(room.sdk_app_id):
                reason = f"is in room {room.room_id} already: the task needs a name of its own there"
                raise faults.invalid(call.action, path, reason)
            tries -= 1
            await asyncio.sleep(_LOOK_AGAIN_S)
    return (most - tries) * _LOOK_AGAIN_S


async def check_nobodys(services: Services, call: Call, robots: Robots) -> None:
    """That no other task has a robot of that name there. Hold ``accepting``."""
    if not robots:
        return
    taken = {robot for robot in robots if await services.tasks.has_robot(*robot)}
    for params in await services.tasks.running_params(call.application.sdk_app_id, publishing.KIND):
        taken |= robots.keys() & of_relay(publishing.decode(params)).keys()
    for robot, path in robots.items():
        if robot in taken:
            raise faults.invalid(call.action, path, f"is the robot of another task in room {robot[0].room_id}")
