"""What the clients offer besides media, in both of them as they come from npm and PyPI: a page with livekit-client and
a program with the livekit package in one room. docs/protocol.md has the list."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from livekit import api, rtc
from livekit.rtc.participant import ParticipantTrackPermission  # type: ignore[attr-defined]

from tests.conftest import Open
from tests.kit.browser import BLUE, RED, Caller
from tests.kit.receiver import Receiver
from tests.kit.sdk_user import SdkUser, sdk_user
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.interop, pytest.mark.e2e]


async def until(what: str, condition: Callable[[], object], within: float = 10.0) -> None:
    async def asked() -> object:
        return condition()

    await eventually(asked, what, within)


async def page_sees(page: Caller, user_id: str, what: str, wanted: Callable[[dict[str, Any]], object]) -> None:
    async def seen() -> object:
        described = await page.feature("describe", user_id)
        return described and wanted(described)

    await eventually(seen, f"{page.user_id} sees of {user_id}: {what}")


async def test_what_people_say_of_themselves_reaches_the_others(shared_server: Server, open_caller: Open) -> None:
    page = await open_caller("page")
    await page.join(shared_server, "profiles")
    async with sdk_user(shared_server, "sdk", "profiles") as sdk:
        remote = sdk.room.remote_participants["page"]
        assert await page.feature("setMetadata", "about me") == ""
        assert await page.feature("setName", "The Page") == ""
        assert await page.feature("setAttributes", {"seat": "4", "mood": "good"}) == ""
        await until("the SDK sees all", lambda: (remote.metadata, remote.name) == ("about me", "The Page"))
        assert remote.attributes == {"seat": "4", "mood": "good", "trtc.role": "anchor"}
        assert await page.feature("setAttributes", {"seat": ""}) == ""
        await until("one is taken away", lambda: "seat" not in remote.attributes)
        assert ("participant_metadata_changed", "page", "about me") in sdk.events

        own = sdk.room.local_participant
        await own.set_metadata("a program")
        await own.set_name("The Program")
        await own.set_attributes({"language": "Python"})
        await page_sees(page, "sdk", "metadata", lambda d: (d["metadata"], d["name"]) == ("a program", "The Program"))
        await page_sees(page, "sdk", "attributes", lambda d: d["attributes"].get("language") == "Python")
        await page.saw_event("attributesChanged", userId="sdk", changed={"language": "Python"})
        await page.saw_event("nameChanged", userId="sdk", name="The Program")

        for attributes in ({"trtc.blocked": "audio"}, {"trtc.role": "king"}):
            assert await page.feature("setAttributes", attributes) == "INVALID_REQUEST: not a value that is known"
            await own.set_attributes(attributes)  # the SDK keeps the refusal to itself
        assert dict(own.attributes) == {"trtc.role": "anchor", "language": "Python"}
        large = "LIMIT_EXCEEDED: metadata or attributes are too large"
        assert await page.feature("setMetadata", "x" * 70_000) == large
        refusal = "NOT_ALLOWED: not allowed"
        assert await page.feature("setAttributes", {"trtc.role": "audience"}) == refusal, "a call has no audience"


async def test_a_role_switch_gives_and_takes_the_right_to_publish(
    shared_server: Server, open_caller: Open, receiver: Receiver
) -> None:
    room = "roles"
    shared_server.set_callbacks(receiver.url, receiver.key)
    page = await open_caller("page")
    async with sdk_user(shared_server, "host", room, scene="live") as host:
        await page.join(shared_server, room, scene="live", role="audience")
        async with sdk_user(shared_server, "guest", room, scene="live", role="audience") as guest:
            assert await page.call("participants") == ["host"], "an audience is not announced"
            assert list(guest.room.remote_participants) == ["host"]
            assert list(host.room.remote_participants) == []
            refused, _ = await page.feature("tryPublish", "microphone")
            assert refused == "failed to publish track, insufficient permissions"

            assert await page.feature("setAttributes", {"trtc.role": "anchor"}) == ""
            await page.saw_event("permissionsChanged", canPublish=True)
            assert (await page.feature("tryPublish", "microphone"))[0] == ""
            await until("the others hear", lambda: "page" in host.tones and "page" in guest.tones)
            await receiver.expect(105, lambda each: (each.user_id, each.info["Role"]) == ("page", 20))

            await guest.room.local_participant.set_attributes({"trtc.role": "anchor"})
            await until("the SDK may publish", lambda: ("permissions", "guest", True) in guest.events)
            await guest.publish(BLUE, 700)
            await page.saw_event("trackSubscribed", userId="guest", source="camera")

            assert await page.feature("setAttributes", {"trtc.role": "audience"}) == ""
            await page.saw_event("localTrackUnpublished", source="microphone")
            await page.saw_event("permissionsChanged", canPublish=False)
            await until("it is one of the audience", lambda: "page" not in host.room.remote_participants)
            await receiver.expect(105, lambda each: (each.user_id, each.info["Role"]) == ("page", 21))

            await guest.room.local_participant.set_attributes({"trtc.role": "audience"})
            await page.saw_event("participantDisconnected", userId="guest")
            await until("the SDK may not publish", lambda: ("permissions", "guest", False) in guest.events)


async def test_mutes_are_told_both_ways(shared_server: Server, open_caller: Open) -> None:
    page = await open_caller("page")
    await page.join(shared_server, "mutes")
    async with sdk_user(shared_server, "sdk", "mutes") as sdk:
        await page.publish(video=False)
        await sdk.publish(BLUE, 700)
        await page.saw_event("trackSubscribed", userId="sdk", source="microphone")
        await until("the SDK hears", lambda: "page" in sdk.tones)
        await page.call("setMuted", "audio", True)
        await until("the SDK is told", lambda: ("track_muted", "page", "") in sdk.events)
        await page.call("setMuted", "audio", False)
        await until("the SDK is told again", lambda: ("track_unmuted", "page", "") in sdk.events)
        for track in sdk.tracks:
            track.mute()
        await page.saw_event("trackMuted", userId="sdk", source="microphone")
        await page.saw_event("trackMuted", userId="sdk", source="camera")
        for track in sdk.tracks:
            track.unmute()
        await page.saw_event("trackUnmuted", userId="sdk", source="microphone")


async def test_speakers_and_the_quality_of_lines_are_told(shared_server: Server, open_caller: Open) -> None:
    page = await open_caller("page")
    await page.join(shared_server, "speaking")
    async with sdk_user(shared_server, "sdk", "speaking") as sdk:
        await page.publish(video=False)
        await until("the SDK is told who speaks", lambda: ("speakers", "page", "") in sdk.events, within=15)
        await page.call("setMuted", "audio", True)
        await sdk.publish(BLUE, 700)

        async def page_is_told() -> bool:
            return "sdk" in await page.feature("speakers")

        await eventually(page_is_told, "the page is told who speaks", within=15)
        await until("the SDK knows the page's line", lambda: sdk.qualities.get("page") is not None, within=20)

        async def page_knows() -> bool:
            return await page.feature("quality", "sdk") in ("excellent", "good", "poor")

        await eventually(page_knows, "the page knows the SDK's line", within=20)


async def test_a_publisher_says_who_may_receive_its_tracks(shared_server: Server, open_caller: Open) -> None:
    page, other = await open_caller("page"), await open_caller("other")
    await page.join(shared_server, "chosen")
    await other.join(shared_server, "chosen")
    async with sdk_user(shared_server, "sdk", "chosen") as sdk:
        await page.publish(color=RED, hz=440, width=320, height=180)
        await sdk.publish(BLUE, 700)
        for caller in (other, page):
            await caller.saw_event("trackSubscribed", userId="sdk", source="camera")
        await until("the SDK sees", lambda: "page" in sdk.colors)

        tracks = {t["source"]: t["sid"] for t in (await page.feature("describe"))["tracks"]}
        chosen = [{"userId": "sdk", "sids": [tracks["camera"]]}]
        await page.feature("allow", False, chosen)
        await other.saw_event("trackUnsubscribed", userId="page", source="camera")
        await other.saw_event("subscriptionPermission", userId="page", source="camera", status="not_allowed")
        before = await settled(sdk)
        await flowing(page, "sdk", "camera", packets=30)
        after = [await sdk.packets("page", kind) for kind in KINDS]
        assert (after[0] == before[0], after[1] > before[1]) == (True, True), "it sees and hears no more"
        await other.call("setSubscribed", "page", True)
        await page.feature("allow", True)
        await other.saw_event("subscriptionPermission", userId="page", source="camera", status="allowed")
        await flowing(other, "page", "camera")

        async def hears_again() -> bool:
            heard = await sdk.packets("page", rtc.TrackKind.KIND_AUDIO)
            await asyncio.sleep(0.3)
            return await sdk.packets("page", rtc.TrackKind.KIND_AUDIO) > heard + 5

        await eventually(hears_again, "the SDK hears again")

        permission = ParticipantTrackPermission(participant_identity="page", allow_all=True)
        own = sdk.room.local_participant
        own.set_track_subscription_permissions(allow_all_participants=False, participant_permissions=[permission])
        await other.saw_event("trackUnsubscribed", userId="sdk", source="camera")
        await flowing(page, "sdk", "camera")
        own.set_track_subscription_permissions(allow_all_participants=True)
        await flowing(other, "sdk", "camera")


KINDS = (rtc.TrackKind.KIND_AUDIO, rtc.TrackKind.KIND_VIDEO)


async def settled(sdk: SdkUser) -> list[int]:
    """Packets of sound and picture of the page's, once no more sound comes."""

    async def silent() -> bool:
        before = await sdk.packets("page", rtc.TrackKind.KIND_AUDIO)
        await asyncio.sleep(0.3)
        return before == await sdk.packets("page", rtc.TrackKind.KIND_AUDIO)

    await eventually(silent, "the SDK loses the sound")
    return [await sdk.packets("page", kind) for kind in KINDS]


async def flowing(caller: Caller, user_id: str, source: str, packets: int = 10) -> None:
    before = (await caller.sources_of(user_id)).get(source, 0)

    async def grown() -> bool:
        after = (await caller.sources_of(user_id)).get(source, 0)
        return after < before or after > before + packets

    await eventually(grown, f"{caller.user_id} gets {source} of {user_id}", within=15)


async def test_each_subscribes_to_what_it_wants(shared_server: Server, open_caller: Open) -> None:
    page = await open_caller("page")
    await page.join(shared_server, "wanted")
    async with sdk_user(shared_server, "sdk", "wanted") as sdk:
        await page.publish(color=RED, hz=440, width=320, height=180)
        await sdk.publish(BLUE, 700)
        await flowing(page, "sdk", "camera")
        await until("the SDK hears", lambda: "page" in sdk.tones)
        publications = sdk.room.remote_participants["page"].track_publications.values()
        (voice,) = (one for one in publications if one.kind == rtc.TrackKind.KIND_AUDIO)
        voice.set_subscribed(False)
        await until("it is told", lambda: ("track_unsubscribed", "page", voice.sid) in sdk.events)
        voice.set_subscribed(True)

        async def hears_again() -> bool:
            return await sdk.packets("page", rtc.TrackKind.KIND_AUDIO) > 10

        await eventually(hears_again, "the SDK hears again")
        await page.call("setSubscribed", "sdk", False)
        await page.saw_event("trackUnsubscribed", userId="sdk", source="camera")
        await page.call("setSubscribed", "sdk", True)
        await flowing(page, "sdk", "camera")


async def test_sizes_and_qualities_choose_the_layer(shared_server: Server, open_caller: Open) -> None:
    page, watcher = await open_caller("page"), await open_caller("watcher")
    await page.join(shared_server, "layers")
    await watcher.join(shared_server, "layers")
    async with sdk_user(shared_server, "sdk", "layers") as sdk:
        await page.publish(color=RED, codec="vp8", simulcast=True, width=1280, height=720, fps=15, audio=False)
        await until("the SDK sees", lambda: "page" in sdk.colors)

        async def width_is(wanted: int) -> bool:
            return bool((await watcher.received("page", "video")).get("frameWidth") == wanted)

        for (width, height), wanted in {(300, 160): 320, (1280, 720): 1280, (600, 340): 640}.items():
            await watcher.feature("setDimensions", "page", width, height)
            await eventually(lambda w=wanted: width_is(w), f"the watcher gets {wanted} wide", within=30)  # type: ignore[misc]
        await watcher.feature("setEnabled", "page", False)
        await asyncio.sleep(0.5)
        before = await watcher.sources_of("page")
        await asyncio.sleep(0.5)
        assert await watcher.sources_of("page") == before, "switched off"
        await watcher.feature("setEnabled", "page", True)
        await flowing(watcher, "page", "camera")

        (publication,) = sdk.room.remote_participants["page"].track_publications.values()
        for quality, wanted in (
            (rtc.VideoQuality.VIDEO_QUALITY_LOW, 320),
            (rtc.VideoQuality.VIDEO_QUALITY_HIGH, 1280),
            (rtc.VideoQuality.VIDEO_QUALITY_MEDIUM, 640),
        ):
            publication.set_video_quality(quality)
            await until(f"the SDK gets {wanted} wide", lambda w=wanted: sdk.widths.get("page") == w, within=30)  # type: ignore[misc]


async def test_streams_of_text_and_bytes(shared_server: Server, open_caller: Open) -> None:
    page, other = await open_caller("page"), await open_caller("other")
    await page.join(shared_server, "streams")
    await other.join(shared_server, "streams")
    async with sdk_user(shared_server, "sdk", "streams") as sdk:
        sdk.receive_streams("files")
        for caller in (page, other):
            await caller.feature("receiveStreams", "files")
        text, size = "héllo " * 20_000, 200_000
        content = bytes(index % 251 for index in range(size))
        checksum = sum(content) % 65521

        await page.feature("sendText", text, "files")
        await until("the SDK has the text", lambda: ("text", "page", text) in sdk.streams)
        await other.saw_event("textStream", userId="page", text=text)
        await page.feature("sendFile", size, "files", ["sdk"])
        await until("the SDK has the file", lambda: ("bytes", "page", content) in sdk.streams)

        await sdk.room.local_participant.send_text(text, topic="files", attributes={"of": "sdk"})
        for caller in (page, other):
            event = await caller.saw_event("textStream", userId="sdk", text=text)
            assert event["attributes"]["of"] == "sdk"
        await sdk.room.local_participant.send_bytes(
            content, topic="files", name="some.bin", destination_identities=["page"]
        )
        await page.saw_event("byteStream", userId="sdk", name="some.bin", size=size, sum=checksum)
        assert await other.events("byteStream") == [], "it was for others"


async def test_participants_call_each_other(shared_server: Server, open_caller: Open) -> None:
    page = await open_caller("page")
    await page.join(shared_server, "calls")
    async with sdk_user(shared_server, "sdk", "calls") as sdk:
        own = sdk.room.local_participant

        async def shout(call: rtc.RpcInvocationData) -> str:
            return f"{call.caller_identity}: {call.payload.upper()}"

        own.register_rpc_method("shout", shout)
        await page.feature("answerCalls", "shout")
        assert await page.feature("call", "sdk", "shout", "hello") == "page: HELLO"
        assert await own.perform_rpc(destination_identity="page", method="shout", payload="hi") == "sdk: HI"
        large = "x" * 14_000
        assert (
            await own.perform_rpc(destination_identity="page", method="shout", payload=large) == f"sdk: {large.upper()}"
        )
        with pytest.raises(rtc.RpcError) as unknown:
            await own.perform_rpc(destination_identity="page", method="whisper", payload="")
        assert unknown.value.code == rtc.RpcError.ErrorCode.UNSUPPORTED_METHOD
        with pytest.raises(Exception, match="Method not supported"):
            await page.feature("call", "sdk", "whisper", "")


async def test_custom_commands_keep_their_limits(shared_server: Server, open_caller: Open) -> None:
    page = await open_caller("page")
    await page.join(shared_server, "commands")
    async with sdk_user(shared_server, "sdk", "commands") as sdk:
        await page.call("send", "n" * 1001, True, "trtc.cmd.1")
        await page.call("send", "eleven", True, "trtc.cmd.11")
        began = time.monotonic()
        await page.feature("sendMany", 60, "trtc.cmd.10")
        took = time.monotonic() - began
        await page.call("send", "the end", True, "chat")
        await until("the end", lambda: ("page", b"the end", "chat") in sdk.messages)
        got = [data for _, data, topic in sdk.messages if topic == "trtc.cmd.10"]
        assert 30 <= len(got) <= 31 + 30 * took, "thirty, and what came back meanwhile"
        assert got == sorted(got), "in order"
        assert {topic for _, _, topic in sdk.messages} == {"trtc.cmd.10", "chat"}
        await sdk.room.local_participant.publish_data(b"x" * 1001, topic="trtc.cmd.1")
        await sdk.room.local_participant.publish_data(b"fits", topic="trtc.cmd.1")
        await page.saw_event("dataReceived", text="fits", topic="trtc.cmd.1")
        assert len(await page.events("dataReceived")) == 1


async def test_the_servers_words_reach_both_kinds_of_clients(shared_server: Server, open_caller: Open) -> None:
    page, application = await open_caller("page"), str(shared_server.sdk_app_id)
    await page.join(shared_server, 4001)
    async with sdk_user(shared_server, "sdk", 4001) as sdk:
        assert sdk.room.metadata == await page.feature("roomMetadata") == '{"roomId":4001}'
        await asyncio.to_thread(shared_server.admin, "rooms", "set", application, "4001", "--metadata", "a lesson")
        await page.saw_event("roomMetadataChanged", metadata="a lesson")
        await until("the SDK is told", lambda: sdk.room.metadata == "a lesson")

        def send(*arguments: str) -> str:
            return shared_server.admin("send", application, "4001", *arguments)

        await asyncio.to_thread(send, "--text", "doors close", "--cmd", "3")
        event = await page.saw_event("dataReceived", text="doors close", topic="trtc.cmd.3")
        assert not event.get("userId"), "it comes from nobody"
        await until("the SDK has it", lambda: ("", b"doors close", "trtc.cmd.3") in sdk.messages)
        await asyncio.to_thread(send, "--text", "only you", "--topic", "chat", "--users", "sdk")
        await asyncio.to_thread(send, "--text", "everybody", "--topic", "chat")
        await page.saw_event("dataReceived", text="everybody", topic="chat")
        await until("the SDK has both", lambda: ("", b"only you", "chat") in sdk.messages)
        assert not [each for each in await page.events("dataReceived") if each["text"] == "only you"]


async def test_the_sdk_resumes_and_reconnects_in_full(shared_server: Server, open_caller: Open) -> None:
    page = await open_caller("page")
    await page.join(shared_server, "returning")
    async with sdk_user(shared_server, "sdk", "returning") as sdk:
        await sdk.publish(BLUE, 700)
        await page.publish(color=RED, hz=440, width=320, height=180)
        await page.sees("sdk")
        for scenario in ("SIMULATE_SIGNAL_RECONNECT", "SIMULATE_FULL_RECONNECT"):
            sdk.events.clear()
            await sdk.room.simulate_scenario(getattr(rtc.SimulateScenarioKind, scenario))
            await until(f"the SDK is back from {scenario}", lambda: ("reconnected", "", "") in sdk.events, within=30)
            await flowing(page, "sdk", "camera", packets=30)
            sdk.colors.clear()
            await until("the SDK sees", lambda: "page" in sdk.colors, within=20)


async def test_one_screen_at_a_time_and_the_second_is_told(shared_server: Server, open_caller: Open) -> None:
    page, other = await open_caller("page"), await open_caller("other")
    await page.join(shared_server, "screens")
    await other.join(shared_server, "screens")
    assert (await page.feature("tryPublish", "screen_share"))[0] == ""
    problem, took_ms = await other.feature("tryPublish", "screen_share")
    assert problem.endswith("publication of local track timed out, no response from server")
    assert took_ms < 11_000
    async with sdk_user(shared_server, "sdk", "screens") as sdk:
        with pytest.raises(rtc.participant.PublishTrackError, match="timed out"):
            await sdk.publish_screen()
    await page.call("leave")
    assert (await other.feature("tryPublish", "screen_share"))[0] == "", "now it is free"


async def test_data_tracks_are_refused_at_once(shared_server: Server, open_caller: Open) -> None:
    page = await open_caller("page")
    await page.join(shared_server, "data-tracks")
    began = time.monotonic()
    assert "does not offer that" in await page.feature("tryDataTrack", "positions")
    async with sdk_user(shared_server, "sdk", "data-tracks") as sdk:
        with pytest.raises(rtc.participant.PublishDataTrackError):
            await sdk.room.local_participant.publish_data_track(name="positions")
    assert time.monotonic() - began < 8


async def test_the_hidden_are_not_shown_and_see_everything(shared_server: Server, open_caller: Open) -> None:
    page = await open_caller("page")
    await page.join(shared_server, "watched")
    await page.publish(color=RED, hz=440, width=320, height=180)
    key = shared_server.credentials["sdk_secret_key"]
    grants = api.VideoGrants(room_join=True, room="watched", hidden=True, can_publish=False)
    token = api.AccessToken(str(shared_server.sdk_app_id), key).with_identity("ghost").with_grants(grants).to_jwt()
    ghost, phantom = SdkUser("ghost"), await open_caller("phantom")
    token_of_another = api.AccessToken(str(shared_server.sdk_app_id), key).with_identity("phantom")
    await phantom.call("join", {"url": shared_server.url, "token": token_of_another.with_grants(grants).to_jwt()})
    await ghost.room.connect(shared_server.url, token)
    try:
        assert await phantom.call("participants") == ["page"]
        await until("the ghost sees", lambda: "page" in ghost.colors)
        async with sdk_user(shared_server, "sdk", "watched") as sdk:
            assert list(sdk.room.remote_participants) == ["page"]
            assert await page.call("participants") == ["sdk"]
            await until("the ghost sees who comes", lambda: "sdk" in ghost.room.remote_participants)
    finally:
        await ghost.close()
