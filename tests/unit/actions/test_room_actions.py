"""Silencing users through the API: what is blocked in which room, and what is refused."""

import json
from typing import Any

import pytest

from rtcloud.rooms.ids import RoomRef
from tests.kit.api import Api, open_api
from tests.kit.signed import StillClock, call

pytestmark = pytest.mark.anyio

FORMS = {True: ("SetUserBlocked", "RoomId", 7), False: ("SetUserBlockedByStrRoomId", "StrRoomId", "7")}
BLOCKED = {0: frozenset(), 1: frozenset({"audio", "video"}), 2: frozenset({"audio"}), 3: frozenset({"video"})}


async def ask(api: Api, numeric: bool, **changes: Any) -> str:
    action, member, room = FORMS[numeric]
    values = {"SdkAppId": api.credentials.sdk_app_id, member: room, "UserId": "alice", "IsMute": 1} | changes
    return (await call(api, json.dumps(values).encode(), action=action, x_tc_region="ap-guangzhou")).code


@pytest.mark.parametrize("numeric", [True, False])
async def test_is_mute_says_what_is_silenced_in_place_of_what_was(numeric: bool) -> None:
    api = await open_api(StillClock())
    ref = RoomRef(api.credentials.sdk_app_id, numeric, "7")
    other = RoomRef(api.credentials.sdk_app_id, not numeric, "7")
    api.rooms.open = {ref: {"alice"}, other: {"alice"}}
    for is_mute, kinds in BLOCKED.items():
        assert await ask(api, numeric, IsMute=is_mute) == ""
        assert api.rooms.blocked == {(ref, "alice"): kinds}
    await api.close()


@pytest.mark.parametrize("numeric", [True, False])
async def test_who_and_what_is_not_there_is_named(numeric: bool) -> None:
    api = await open_api(StillClock())
    assert await ask(api, numeric) == "FailedOperation.RoomNotExist"
    api.rooms.open = {RoomRef(api.credentials.sdk_app_id, numeric, "7"): {"bob"}}
    assert await ask(api, numeric) == "FailedOperation.UserNotExist"
    assert await ask(api, numeric, SdkAppId=1) == "FailedOperation.SdkAppIdNotExist"
    assert await ask(api, numeric, IsMute=4) == "InvalidParameterValue"
    assert api.rooms.blocked == {}
    await api.close()
