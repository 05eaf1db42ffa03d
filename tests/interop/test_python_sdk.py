"""The unmodified ``livekit`` package from PyPI in one room with a browser and with our native client: media and data
between each two of them, in both directions."""

import pytest

from tests.conftest import Open
from tests.kit.browser import BLUE, GREEN, RED, Caller, is_near
from tests.kit.robot import Robot, robot
from tests.kit.sdk_user import SdkUser, sdk_user
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.interop, pytest.mark.e2e]

ROOM = "three-kinds"


async def test_browser_sdk_and_native_client_see_hear_and_message_each_other(
    shared_server: Server, open_caller: Open
) -> None:
    page = await open_caller("page")
    await page.join(shared_server, ROOM)
    ticket = shared_server.ticket("native", ROOM)
    async with sdk_user(shared_server, "sdk", ROOM) as sdk, robot(**ticket) as native:
        await page.publish(color=RED, hz=440, codec="h264")
        await sdk.publish(BLUE, 700)
        await native.publish(GREEN, 1000)
        await _page_gets(page)
        await _sdk_gets(sdk)
        await _native_gets(native)
        await _messages_pass(page, sdk, native)


async def test_two_peer_connections_work_as_one_does(shared_server: Server) -> None:
    room = "two-connections"
    ticket = shared_server.ticket("native", room)
    async with (
        sdk_user(shared_server, "dual", room, single=False) as dual,
        sdk_user(shared_server, "single", room, single=True) as single,
        robot(**ticket) as native,
    ):
        await dual.publish(BLUE, 700)
        await single.publish(RED, 440)
        await native.publish(GREEN, 1000)
        # Who comes when everything is there is offered it all at once.
        async with sdk_user(shared_server, "late", room, single=False) as late:
            wanted = {"dual": (BLUE, 700), "single": (RED, 440), "native": (GREEN, 1000)}
            for user in (dual, single, late):
                await _sees_and_hears(user, {name: of for name, of in wanted.items() if name != user.user_id})
            await dual.room.local_participant.publish_data(b"to all", reliable=True, topic="trtc.cmd.1")
            await single.room.local_participant.publish_data(b"to dual", destination_identities=["dual"])

            async def got() -> bool:
                said = ("dual", b"to all", "trtc.cmd.1")
                return said in single.messages and said in late.messages and bool(dual.messages)

            await eventually(got, "messages pass between both kinds of connections")
            assert dual.messages == [("single", b"to dual", "")]
            assert ("single", b"to dual", "") not in late.messages


async def _sees_and_hears(user: SdkUser, wanted: dict[str, tuple[str, float]]) -> None:
    async def complete() -> bool:
        return set(wanted) <= set(user.colors) and all(
            abs(user.tones.get(name, 0) - hz) < 5 for name, (_, hz) in wanted.items()
        )

    await eventually(complete, f"{user.user_id} gets {wanted}, not {user.colors} {user.tones}", within=20)
    for name, (color, _) in wanted.items():
        assert is_near(user.colors[name], color)


async def _page_gets(page: Caller) -> None:
    for user, color, hz in (("sdk", BLUE, 700), ("native", GREEN, 1000)):
        await page.sees(user)
        await page.hears(user)
        assert is_near(await page.color_of(user), color)

        async def tone(user: str = user, hz: float = hz) -> bool:
            wanted, other = await page.loudness(user, hz, 550)
            return wanted > -60 and wanted > other + 20

        await eventually(tone, f"the page hears {hz} Hz of {user}")


async def _sdk_gets(sdk: SdkUser) -> None:
    async def complete() -> bool:
        return {"page", "native"} <= set(sdk.colors) and {"page", "native"} <= set(sdk.tones)

    await eventually(complete, "the SDK gets picture and sound of both", within=20)
    assert is_near(sdk.colors["page"], RED)
    assert is_near(sdk.colors["native"], GREEN)

    async def tones() -> bool:
        return abs(sdk.tones["page"] - 440) < 5 and abs(sdk.tones["native"] - 1000) < 5

    await eventually(tones, f"the SDK hears both tones, not {sdk.tones}")


async def _native_gets(native: Robot) -> None:
    async def complete() -> bool:
        return all(native.frames[user, kind] > 30 for user in ("page", "sdk") for kind in ("audio", "video"))

    await eventually(complete, "the native client gets frames of both", within=20)
    for user in ("page", "sdk"):
        assert native.keyframes[user] >= 1
        for kind in ("audio", "video"):
            captured = native.last[user, kind].capture_us
            assert captured is not None
            assert abs(captured - native.last[user, kind].arrival_us) < 2_000_000


async def _messages_pass(page: Caller, sdk: SdkUser, native: Robot) -> None:
    await page.call("send", "from page", True, "trtc.cmd.1")
    await sdk.room.local_participant.publish_data(b"from sdk", reliable=True, topic="trtc.cmd.2")
    await native.room.send_data(b"from native", topic="trtc.cmd.3")
    for sender, topic in (("sdk", "trtc.cmd.2"), ("native", "trtc.cmd.3")):
        event = await page.saw_event("dataReceived", text=f"from {sender}")
        assert (event["userId"], event["topic"]) == (sender, topic)

    async def sdk_got() -> bool:
        return {("page", b"from page", "trtc.cmd.1"), ("native", b"from native", "trtc.cmd.3")} <= set(sdk.messages)

    await eventually(sdk_got, f"the SDK gets both messages: {sdk.messages}")

    async def native_got() -> bool:
        got = {(each.user_id, each.data, each.topic) for each in native.messages()}
        return {("page", b"from page", "trtc.cmd.1"), ("sdk", b"from sdk", "trtc.cmd.2")} <= got

    await eventually(native_got, f"the native client gets both messages: {native.messages()}")
