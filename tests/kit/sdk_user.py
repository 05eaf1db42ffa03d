"""A program written with the unmodified ``livekit`` package from PyPI, as a person in a room."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from livekit import rtc

from tests.kit.server import Server

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
async def sdk_user(
    server: Server, user_id: str, room: int | str, single: bool | None = None, **fields: Any
) -> AsyncIterator[SdkUser]:
    """A joined user; ``single`` chooses one peer connection or two, None is what the SDK does by itself."""
    user = SdkUser(user_id)
    ticket = server.ticket(user_id, room, **fields)
    options = rtc.RoomOptions(single_peer_connection=single)
    await user.room.connect(ticket["url"], ticket["token"], options)
    try:
        yield user
    finally:
        await user.close()
