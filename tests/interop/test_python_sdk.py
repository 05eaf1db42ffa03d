"""The unmodified ``livekit`` package from PyPI in one room with a browser and with our native client: media and data
between each two of them, in both directions."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from livekit import rtc

from tests.conftest import Open
from tests.kit.browser import BLUE, GREEN, RED, Caller, is_near
from tests.kit.robot import Robot, robot
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.interop, pytest.mark.e2e]

ROOM = "three-kinds"
RATE = 48_000


class SdkUser:
    """A program written with the official-protocol SDK: publishes a colour and a tone, watches what it gets."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.room = rtc.Room()
        self.colors: dict[str, tuple[int, int, int]] = {}
        self.tones: dict[str, float] = {}  # user → strongest frequency heard
        self.messages: list[tuple[str, bytes, str]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self.room.on("track_subscribed", self._subscribed)
        self.room.on("data_received", self._data)

    def _data(self, packet: rtc.DataPacket) -> None:
        sender = packet.participant.identity if packet.participant else ""
        self.messages.append((sender, packet.data, packet.topic or ""))

    def _subscribed(self, track: rtc.Track, _: object, participant: rtc.RemoteParticipant) -> None:
        watch = self._see if track.kind == rtc.TrackKind.KIND_VIDEO else self._hear
        self._tasks.append(asyncio.create_task(watch(track, participant.identity)))

    async def _see(self, track: rtc.Track, user_id: str) -> None:
        stream = rtc.VideoStream(track, format=rtc.VideoBufferType.RGB24)
        try:
            async for event in stream:
                picture = np.frombuffer(event.frame.data, np.uint8).reshape(event.frame.height, event.frame.width, 3)
                red, green, blue = picture[event.frame.height // 2, event.frame.width // 2]
                self.colors[user_id] = (int(red), int(green), int(blue))
        finally:
            await stream.aclose()

    async def _hear(self, track: rtc.Track, user_id: str) -> None:
        stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1)
        heard = np.zeros(0, np.float64)
        try:
            async for event in stream:
                heard = np.concatenate([heard, np.frombuffer(event.frame.data, np.int16)])[-RATE // 2 :]
                if len(heard) == RATE // 2 and np.abs(heard).max() > 300:
                    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
                    # Half a second: lines of 2 Hz. Below 50 Hz is noise, the page's beep is above 1500 Hz.
                    self.tones[user_id] = 50 + 2.0 * float(np.argmax(spectrum[25:750]))
        finally:
            await stream.aclose()

    async def publish(self, color: str, hz: float) -> None:
        video, audio = rtc.VideoSource(320, 180), rtc.AudioSource(RATE, 1)
        local = self.room.local_participant
        camera = rtc.LocalVideoTrack.create_video_track("camera", video)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_CAMERA, simulcast=False)
        options.video_codec = rtc.VideoCodec.H264
        await local.publish_track(camera, options)
        microphone = rtc.LocalAudioTrack.create_audio_track("microphone", audio)
        await local.publish_track(microphone, rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE))
        self._tasks += [asyncio.create_task(_show(video, color)), asyncio.create_task(_play(audio, hz))]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.room.disconnect()


async def _show(source: rtc.VideoSource, color: str) -> None:
    picture = np.empty((180, 320, 4), np.uint8)
    count = 0
    while True:
        picture[:] = [*(int(color[at : at + 2], 16) for at in (1, 3, 5)), 255]
        picture[150:, count * 4 % 300 :][:, :20, :3] = 0
        source.capture_frame(rtc.VideoFrame(320, 180, rtc.VideoBufferType.RGBA, picture.tobytes()))
        count += 1
        await asyncio.sleep(1 / 20)


async def _play(source: rtc.AudioSource, hz: float) -> None:
    position = 0
    while True:
        times = (position + np.arange(RATE // 100)) / RATE
        wave = (0.2 * 32767 * np.sin(2 * np.pi * hz * times)).astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(wave.tobytes(), RATE, 1, len(wave)))
        position += len(wave)


@asynccontextmanager
async def sdk_user(server: Server, user_id: str, room: int | str, single: bool | None = None) -> AsyncIterator[SdkUser]:
    """A joined user; ``single`` chooses one peer connection or two, None is what the SDK does by itself."""
    user = SdkUser(user_id)
    ticket = server.ticket(user_id, room)
    options = rtc.RoomOptions(single_peer_connection=single)
    await user.room.connect(ticket["url"], ticket["token"], options)
    try:
        yield user
    finally:
        await user.close()


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
