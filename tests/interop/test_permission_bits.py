"""Permission control, bit by bit: what a PrivateMapKey does not allow gets no packet through, from clients that obey
nobody, in real Chromium and through the native client; what it allows does."""

import asyncio
import contextlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
from livekit.protocol import rtc

from rtcloud.client import Room
from rtcloud.client.orders import AddTrack, CreateOffer, PublicationState, Send
from rtcloud.client.types import Source
from tests.conftest import Open
from tests.kit.browser import Caller
from tests.kit.robot import AudioMaker, Robot, VideoMaker, robot
from tests.kit.sdk_user import sdk_user
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.interop, pytest.mark.e2e]

ALL, CREATE, ENTER = 255, 1, 2
SOURCES: tuple[Source, ...] = ("microphone", "camera", "screen_share")
SEND = dict(zip(SOURCES, (4, 16, 64), strict=True))
RECEIVE = dict(zip(SOURCES, (8, 32, 128), strict=True))
#: What comes of the allowed while nothing may come of the denied.
MEANWHILE = 40


@pytest.fixture(scope="module")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that has permission control on."""
    with Server(tmp_path_factory.mktemp("controlled") / "data") as started:
        started.admin("applications", "set", str(started.sdk_app_id), "--permission-control", "on")
        yield started
        assert started.alive, "the server died"


async def enter(caller: Caller, server: Server, room: int | str, bits: int) -> None:
    await caller.join(server, room, privateMapKey=server.private_map_key(caller.user_id, room, bits))


def refused(server: Server, user_id: str, room: int | str, bits: int) -> tuple[int, int]:
    answer = server.join(user_id, room, privateMapKey=server.private_map_key(user_id, room, bits))
    return answer.status_code, answer.json()["error"]["code"]


@pytest.mark.parametrize("room", [10_001, "create"], ids=["numeric", "string"])
async def test_the_bits_to_create_and_to_enter(shared_server: Server, open_caller: Open, room: int | str) -> None:
    assert refused(shared_server, "alice", room, ALL - CREATE) == (403, -102010)
    assert refused(shared_server, "alice", room, ALL - ENTER) == (403, -100006)
    alice, bob = await open_caller("alice"), await open_caller("bob")
    await enter(alice, shared_server, room, CREATE | ENTER)
    assert refused(shared_server, "bob", room, ALL - ENTER) == (403, -100006)
    await enter(bob, shared_server, room, ENTER)
    await alice.saw_event("participantConnected", userId="bob")
    described = await bob.feature("describe")
    assert (described["canPublish"], described["canSubscribe"], described["canPublishData"]) == (False, False, False)
    with pytest.raises(Exception, match="insufficient permissions"):
        await bob.publish(video=False)


async def test_a_browser_sends_nothing_without_the_bit_whatever_it_does(
    shared_server: Server, open_caller: Open
) -> None:
    bob = await open_caller("bob")
    await enter(bob, shared_server, 10_002, ALL)
    for denied, bit in SEND.items():
        liar = await open_caller(f"no-{denied}")
        await enter(liar, shared_server, 10_002, ALL - bit)
        await liar.feature("publishAnyway", list(SOURCES))
        await only(bob, liar.user_id, denied)
        await liar.call("leave")


async def test_a_browser_receives_nothing_without_the_bit_whatever_it_asks(
    shared_server: Server, open_caller: Open
) -> None:
    alice = await open_caller("alice")
    await enter(alice, shared_server, 10_003, ALL)
    for source in SOURCES:
        assert (await alice.feature("tryPublish", source))[0] == ""
    for denied, bit in RECEIVE.items():
        asker = await open_caller(f"no-{denied}")
        await enter(asker, shared_server, 10_003, ALL - bit)
        await asker.saw_event("trackSubscribed")
        await asker.call("setSubscribed", "alice", True)
        await only(asker, "alice", denied)
        await asker.call("leave")


async def only(receiver: Caller, sender: str, denied: str) -> None:
    """All but the denied arrive, for a while."""
    allowed = {source for source in SOURCES if source != denied}

    async def flowing() -> bool:
        return set(await receiver.sources_of(sender, MEANWHILE)) >= allowed

    await eventually(flowing, f"{receiver.user_id} gets {allowed} of {sender}", within=20)
    assert set(await receiver.sources_of(sender)) == allowed


# The native client ----------------------------------------------------------------------------------------------------


@asynccontextmanager
async def native(server: Server, user_id: str, room: int | str, bits: int) -> AsyncIterator[Robot]:
    key = server.private_map_key(user_id, room, bits)
    async with robot(**server.ticket(user_id, room, privateMapKey=key)) as entered:
        yield entered


def as_room(person: Robot) -> Room:
    """With its insides."""
    assert isinstance(person.room, Room)
    return person.room


def announce(person: Robot, kind_of: Source, *, announced: Source | None) -> str:
    """Sends a source under another's name, or (None) without a word; the server's refusal changes nothing."""
    room = as_room(person)
    kind = "audio" if kind_of == "microphone" else "video"
    cid = secrets.token_hex(12)
    state = PublicationState(cid, kind, kind_of, "opus" if kind == "audio" else "h264", "", 320, 180)  # type: ignore[arg-type]
    room.apply([AddTrack(state)])
    if announced is not None:
        named = PublicationState(cid, kind, announced, state.codec, "", 320, 180)  # type: ignore[arg-type]
        room.apply([Send(rtc.SignalRequest(add_track=named.request()))])
    room.apply([CreateOffer()])
    return cid


@asynccontextmanager
async def sending(person: Robot, pictures: list[str], sounds: list[str]) -> AsyncIterator[None]:
    """Media on all of these, thirty times a second."""

    room = as_room(person)

    async def send() -> None:
        picture, sound = VideoMaker("#2040c0"), AudioMaker(440)
        count = 0
        while True:
            data, voice = picture.frame(count % 30 == 0), sound.packet()
            for cid in pictures:
                room.write(cid, data, time.time_ns() // 1000)
            for cid in sounds if voice else ():
                room.write(cid, voice, time.time_ns() // 1000)
            count += 1
            await asyncio.sleep(1 / 30)

    task = asyncio.create_task(send())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def came(receiver: Robot, sender: str) -> Counter[str]:
    """Frames by source; those of tracks that nobody announced are ''."""
    person = receiver.room.participants.get(sender)
    sources = {track.track_id: track.source for track in person.tracks} if person else {}
    counted: Counter[str] = Counter()
    for track_id, count in receiver.by_track.items():
        counted[sources.get(track_id, "")] += count
    return counted


async def native_only(receiver: Robot, sender: str, denied: str) -> None:
    allowed = {source for source in SOURCES if source != denied}

    async def flowing() -> bool:
        counted = came(receiver, sender)
        return all(counted[source] >= MEANWHILE for source in allowed)

    await eventually(flowing, f"the native client gets {allowed}", within=20, seen=lambda: came(receiver, sender))
    assert set(came(receiver, sender)) == allowed


@pytest.mark.parametrize("denied", SOURCES)
async def test_a_native_client_sends_nothing_without_the_bit_whatever_it_does(
    shared_server: Server, denied: Source
) -> None:
    room = f"native-send-{denied}"
    async with (
        native(shared_server, "bob", room, ALL) as bob,
        native(shared_server, "liar", room, ALL - SEND[denied]) as liar,
    ):
        names: list[Source | None] = [denied, "unknown", None]
        if denied == "microphone":
            names.append("camera")  # of the other kind: as good as unknown
        cids: dict[Source, list[str]] = {source: [] for source in SOURCES}
        for source in SOURCES:
            for name in names if source == denied else [source]:
                cids[source].append(announce(liar, source, announced=name))
        async with sending(liar, cids["camera"] + cids["screen_share"], cids["microphone"]):
            await native_only(bob, "liar", denied)


@pytest.mark.parametrize("denied", SOURCES)
async def test_a_native_client_receives_nothing_without_the_bit_whatever_it_asks(
    shared_server: Server, denied: Source
) -> None:
    room = f"native-receive-{denied}"
    async with (
        native(shared_server, "alice", room, ALL) as alice,
        native(shared_server, "asker", room, ALL - RECEIVE[denied]) as asker,
    ):
        voice = await alice.room.publish_audio()
        camera = await alice.room.publish_video(width=320, height=180)
        screen = await alice.room.publish_video(width=320, height=180, source="screen_share")
        for publication in (voice, camera, screen):
            await asker.room.subscribe(publication.track_id)
        async with sending(alice, [camera.cid, screen.cid], [voice.cid]):
            await native_only(asker, "alice", denied)


async def test_who_goes_on_sending_after_a_bit_was_taken_harms_nobody(shared_server: Server) -> None:
    room = "goes-on"
    async with native(shared_server, "bob", room, ALL) as bob, native(shared_server, "liar", room, ALL) as liar:
        voice, camera = (announce(liar, source, announced=source) for source in ("microphone", "camera"))
        async with sending(liar, [camera], [voice]):

            async def both() -> bool:
                return all(came(bob, "liar")[source] > MEANWHILE for source in ("microphone", "camera"))

            await eventually(both, "sound and picture", within=20)
            key = shared_server.private_map_key("liar", room, ALL - SEND["camera"])
            update = rtc.UpdateParticipantMetadata(attributes={"trtc.privateMapKey": key}, request_id=1)
            as_room(liar).apply([Send(rtc.SignalRequest(update_metadata=update))])

            async def taken() -> bool:
                return [track.source for track in bob.room.participants["liar"].tracks] == ["microphone"]

            await eventually(taken, "the picture is taken")
            bob.by_track.clear()

            async def goes_on() -> bool:
                return came(bob, "liar")["microphone"] > 2 * MEANWHILE

            await eventually(goes_on, "the sound goes on")
            assert came(bob, "liar")[""] <= 2, "what was under way"


async def say(person: Robot, data: bytes) -> None:
    async def said() -> bool:
        try:
            await person.room.send_data(data, topic="trtc.cmd.1")
        except ConnectionError:  # the channel is not open yet
            return False
        return True

    await eventually(said, f"a message of {person.room.user_id}")


async def test_who_may_send_nothing_sends_no_messages(shared_server: Server) -> None:
    async with (
        native(shared_server, "bob", 10_004, ALL) as bob,
        native(shared_server, "mute", 10_004, ALL - sum(SEND.values())) as mute,
    ):
        await say(mute, b"not this")
        await say(bob, b"but this")

        async def got() -> bool:
            return bool(mute.messages())

        await eventually(got, "the message of who may")
        assert bob.messages() == []


async def test_a_key_replaced_in_the_call_takes_and_gives(shared_server: Server, open_caller: Open) -> None:
    alice, bob = await open_caller("alice"), await open_caller("bob")
    await enter(alice, shared_server, "replaced", ALL)
    await enter(bob, shared_server, "replaced", ALL)
    for source in ("microphone", "camera"):
        assert (await alice.feature("tryPublish", source))[0] == ""
    await bob.sees("alice", frames=5)

    async def hand_over(bits: int, room: str = "replaced") -> str:
        key = shared_server.private_map_key("alice", room, bits)
        return str(await alice.feature("setAttributes", {"trtc.privateMapKey": key}))

    assert await hand_over(ALL - SEND["camera"]) == ""
    await alice.saw_event("localTrackUnpublished", source="camera")
    await alice.saw_event("permissionsChanged", sources=[2, 3, 4])
    await bob.saw_event("trackUnsubscribed", userId="alice", source="camera")
    assert (await alice.feature("tryPublish", "camera"))[0] == "failed to publish track, insufficient permissions"
    assert await hand_over(ALL) == ""
    assert (await alice.feature("tryPublish", "camera"))[0] == ""
    await bob.sees("alice", frames=5)
    said = await hand_over(ALL, room="another")
    assert said == "NOT_ALLOWED: -100006: the PrivateMapKey is not good for this user and room"
    key = shared_server.private_map_key("sdk", "replaced", ALL)
    async with sdk_user(shared_server, "sdk", "replaced", privateMapKey=key) as sdk:
        listening = shared_server.private_map_key("sdk", "replaced", ENTER + sum(RECEIVE.values()))
        await sdk.room.local_participant.set_attributes({"trtc.privateMapKey": listening})

        async def is_told() -> bool:
            return ("permissions", "sdk", False) in sdk.events

        await eventually(is_told, "the SDK may not publish any more")
    described = await bob.feature("describe", "alice")
    assert "trtc.privateMapKey" not in described["attributes"], "a key is nobody else's business"
