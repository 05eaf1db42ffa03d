"""Unmodified livekit-client in real Chromium: two pages in one room see and hear each other."""

import asyncio

import pytest

from tests.conftest import Open
from tests.kit.browser import BLUE, GREEN, RED, Caller, is_near
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.interop, pytest.mark.e2e]

ALICE_HZ, BOB_HZ = 440, 700


async def pair(
    open_caller: Open, server: Server, room: int | str, *, single: bool = True, publish: dict[str, object] | None = None
) -> tuple[Caller, Caller]:
    """Alice (red, 440 Hz) and Bob (blue, 700 Hz), both publishing."""
    alice, bob = await open_caller("alice"), await open_caller("bob")
    await asyncio.gather(alice.join(server, room, single=single), bob.join(server, room, single=single))
    options = publish or {"codec": "h264"}
    await alice.publish(color=RED, hz=ALICE_HZ, **options)
    await bob.publish(color=BLUE, hz=BOB_HZ, **options)
    return alice, bob


async def hears_tone(caller: Caller, user_id: str, hz: float, other_hz: float) -> None:
    """The tone of the one stands at least 20 dB above the other's."""

    async def clear() -> bool:
        wanted, other = await caller.loudness(user_id, hz, other_hz)
        return wanted > -60 and wanted > other + 20

    await eventually(clear, f"{caller.user_id} hears {hz} Hz of {user_id}", within=15)


async def full_size(caller: Caller, user_id: str) -> None:
    """The published size; the sending browser begins smaller until it trusts the line."""

    async def reached() -> bool:
        video = await caller.received(user_id, "video")
        return (video.get("frameWidth"), video.get("frameHeight")) == (640, 360)

    await eventually(reached, f"{caller.user_id} sees {user_id} in full size", within=30)


@pytest.mark.parametrize("single", [True, False], ids=["rtc/v1", "rtc"])
async def test_two_pages_decode_each_others_h264_and_audio(
    shared_server: Server, open_caller: Open, single: bool
) -> None:
    alice, bob = await pair(open_caller, shared_server, 1001 if single else 1002, single=single)
    for caller, other, color, hz, other_hz in (
        (alice, "bob", BLUE, BOB_HZ, ALICE_HZ),
        (bob, "alice", RED, ALICE_HZ, BOB_HZ),
    ):
        video = await caller.sees(other)
        assert video["mimeType"] == "video/H264"
        await full_size(caller, other)
        audio = await caller.hears(other)
        assert audio["mimeType"] == "audio/opus"
        assert is_near(await caller.color_of(other), color)
        await hears_tone(caller, other, hz, other_hz)


async def test_a_vp8_subscriber_gets_the_simulcast_layer_it_asks_for(shared_server: Server, open_caller: Open) -> None:
    alice, bob = await open_caller("alice"), await open_caller("bob")
    await alice.join(shared_server, 1003)
    await bob.join(shared_server, 1003)
    await alice.publish(color=RED, codec="vp8", simulcast=True, width=1280, height=720, fps=15)
    await bob.publish(color=BLUE, codec="vp8")
    assert (await bob.sees("alice"))["mimeType"] == "video/VP8"
    assert (await alice.sees("bob"))["mimeType"] == "video/VP8"

    async def layers() -> int:
        return sum(1 for stats in await alice.call("sent") if stats.get("framesEncoded", 0) > 10)

    async def all_layers() -> bool:
        return await layers() == 3

    await eventually(all_layers, "alice sends three layers", within=30)

    async def width_is(wanted: int) -> bool:
        return bool((await bob.received("alice", "video")).get("frameWidth") == wanted)

    for quality, width in (("low", 320), ("high", 1280), ("medium", 640)):
        await bob.call("setQuality", "alice", quality)
        await eventually(lambda width=width: width_is(width), f"bob gets the {width} wide layer", within=20)  # type: ignore[misc]

    async def is_red() -> bool:  # the size is counted as it arrives; the picture is shown when it is drawn
        return is_near(await bob.color_of("alice"), RED)

    await eventually(is_red, "bob sees her colour")


async def test_a_late_subscriber_sees_at_once(shared_server: Server, open_caller: Open) -> None:
    alice, bob = await pair(open_caller, shared_server, 1004)
    await bob.sees("alice")
    carol = await open_caller("carol")
    await carol.join(shared_server, 1004)
    await carol.sees("alice", frames=1, within=5)
    await carol.sees("bob", frames=1, within=5)
    assert is_near(await carol.color_of("alice"), RED)


@pytest.mark.parametrize("single", [True, False], ids=["rtc/v1", "rtc"])
async def test_who_comes_after_somebody_left_is_seen_and_heard(
    shared_server: Server, open_caller: Open, single: bool
) -> None:
    room = "one-by-one" if single else "one-by-one-rtc"
    watcher = await open_caller("watcher")
    await watcher.join(shared_server, room, single=single)
    for user_id, color, hz in (("alice", RED, ALICE_HZ), ("bob", BLUE, BOB_HZ), ("carol", GREEN, 950)):
        caller = await open_caller(user_id)
        await caller.join(shared_server, room)
        await caller.publish(color=color, hz=hz)

        async def shown(user_id: str = user_id, color: str = color) -> bool:
            seen = (await watcher.call("look", user_id, [[0.5, 0.5]]))["colors"]
            return bool(seen) and is_near(tuple(seen[0]), color)

        await eventually(shown, f"{user_id} is shown in {color}", within=15)
        await hears_tone(watcher, user_id, hz, 1500)
        await caller.call("leave")
        await watcher.saw_event("participantDisconnected", userId=user_id)


async def test_mute_stops_and_unmute_resumes_the_picture(shared_server: Server, open_caller: Open) -> None:
    alice, bob = await pair(open_caller, shared_server, 1005)
    await bob.sees("alice")
    await alice.call("setMuted", "video", True)
    await bob.saw_event("trackMuted", userId="alice")
    before = (await bob.received("alice", "video"))["framesDecoded"]
    await alice.call("setMuted", "video", False)
    await bob.saw_event("trackUnmuted", userId="alice")
    await bob.sees("alice", frames=before + 30)


async def test_messages_reach_everyone_or_those_named(shared_server: Server, open_caller: Open) -> None:
    alice, bob, carol = [await open_caller(name) for name in ("alice", "bob", "carol")]
    for caller in (alice, bob, carol):
        await caller.join(shared_server, "messages")
    await alice.call("send", "to all", True, "trtc.cmd.1")
    for caller in (bob, carol):
        event = await caller.saw_event("dataReceived", text="to all")
        assert (event["userId"], event["topic"]) == ("alice", "trtc.cmd.1")
    await carol.call("send", "only alice", True, "", ["alice"])
    await carol.call("send", "everyone", True, "")
    await bob.saw_event("dataReceived", text="everyone")
    await alice.saw_event("dataReceived", text="only alice")
    assert not [event for event in await bob.events("dataReceived") if event["text"] == "only alice"]

    async def lossy_came() -> bool:
        await alice.call("send", "maybe", False, "")
        return any(event["text"] == "maybe" for event in await bob.events("dataReceived"))

    await eventually(lossy_came, "a lossy message arrives", within=10)


async def test_who_speaks_and_how_good_the_line_is_is_told(shared_server: Server, open_caller: Open) -> None:
    _, bob = await pair(open_caller, shared_server, 1006)

    async def alice_speaks() -> bool:
        return any("alice" in event["userIds"] for event in await bob.events("activeSpeakersChanged"))

    await eventually(alice_speaks, "bob is told that alice speaks", within=15)
    await bob.saw_event("connectionQualityChanged", within=20, userId="bob")


async def test_the_same_user_elsewhere_ends_the_earlier_session(shared_server: Server, open_caller: Open) -> None:
    first, second = await open_caller("alice"), await open_caller("alice")
    await first.join(shared_server, 1007)
    await second.join(shared_server, 1007)
    await first.saw_event("disconnected", reason="DUPLICATE_IDENTITY")
    assert await second.call("state") == "connected"


async def test_a_numeric_and_a_string_room_of_one_name_are_two(shared_server: Server, open_caller: Open) -> None:
    alice, bob = await open_caller("alice"), await open_caller("bob")
    await alice.join(shared_server, 1008)
    await bob.join(shared_server, "1008")
    carol = await open_caller("carol")
    await carol.join(shared_server, "1008")
    await bob.saw_event("participantConnected", userId="carol")
    assert await alice.call("participants") == []
    assert await carol.call("participants") == ["bob"]


@pytest.mark.parametrize("scenario", ["signal-reconnect", "full-reconnect"])
@pytest.mark.parametrize("single", [True, False], ids=["rtc/v1", "rtc"])
async def test_a_lost_connection_comes_back_with_its_media(
    shared_server: Server, open_caller: Open, scenario: str, single: bool
) -> None:
    room = f"back-{scenario}-{single}"
    alice, bob = await pair(open_caller, shared_server, room, single=single)
    await bob.sees("alice")
    await alice.sees("bob")
    await alice.call("lose", scenario)

    async def returned() -> bool:
        events = {event["event"] for event in await alice.events()}
        return "reconnected" in events or ("signalReconnecting" in events and await alice.call("state") == "connected")

    await eventually(returned, "alice is back", within=30)
    for caller, other in ((bob, "alice"), (alice, "bob")):
        before = (await caller.received(other, "video")).get("framesDecoded", 0)
        await caller.sees(other, frames=before + 30)


async def test_a_screen_is_a_second_picture(shared_server: Server, open_caller: Open) -> None:
    alice, bob = await pair(open_caller, shared_server, 1009)
    carol = await open_caller("carol")
    await carol.join(shared_server, 1009)
    await carol.publish(color=GREEN, hz=900, screen=True, codec="h264")
    for caller in (alice, bob):
        await caller.sees("carol")
        assert is_near(await caller.color_of("carol", "screen_share"), GREEN)
