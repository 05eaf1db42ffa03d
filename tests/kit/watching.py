"""What one user sends into a room, as another one receives it: encoded frames on the server's clock, decoded for when
they flash and beep."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import av
import numpy as np

from rtcloud.client import connect
from rtcloud.client.types import ClientRoom, EncodedFrame
from tests.kit.waiting import eventually

RATE = 48_000
QUIET_S = 0.1


class Watcher:
    """Keeps every frame, by user and kind."""

    def __init__(self, room: ClientRoom) -> None:
        self.room = room
        self.frames: dict[tuple[str, str], list[EncodedFrame]] = defaultdict(list)

    def count(self, user_id: str, kind: str) -> int:
        return len(self.frames[user_id, kind])

    async def sees(self, user_id: str, frames: int = 1, kind: str = "video", within: float = 20.0) -> None:
        """So many more than now."""
        wanted = self.count(user_id, kind) + frames

        async def seen() -> bool:
            return self.count(user_id, kind) >= wanted

        await eventually(seen, f"{frames} of {kind} from {user_id}", within, lambda: self.count(user_id, kind))

    def forget(self) -> None:
        self.frames.clear()

    def flashes(self, user_id: str) -> list[int]:
        """When the picture turned from dark to bright, Unix microseconds."""
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        found, was_bright = [], True
        for frame in self._from_keyframe(user_id):
            for picture in decoder.decode(av.Packet(frame.data)):
                bright = float(picture.reformat(format="gray").to_ndarray().mean()) > 120
                if bright and not was_bright and frame.capture_us is not None:
                    found.append(frame.capture_us)  # the decoder holds none back
                was_bright = bright
        return found

    def beeps(self, user_id: str) -> list[int]:
        """When it was loud after a while of silence."""
        decoder = av.CodecContext.create("libopus", "r")
        assert isinstance(decoder, av.AudioCodecContext)
        decoder.sample_rate = RATE
        found, quiet = [], 0
        for frame in self.frames[user_id, "audio"]:
            for sound in decoder.decode(av.Packet(frame.data)):
                loud = np.abs(_floats(sound)) > 0.05
                first = int(np.argmax(loud)) if loud.any() else len(loud)
                if loud.any() and quiet + first >= QUIET_S * RATE and frame.capture_us is not None:
                    found.append(frame.capture_us + first * 1_000_000 // RATE)
                quiet = int(np.argmax(loud[::-1])) if loud.any() else quiet + len(loud)
        return found

    def offsets_ms(self, user_id: str) -> list[float]:
        """How much later than its flash each beep is; those without the other are left out."""
        flashes = self.flashes(user_id)
        near = [
            (beep - min(flashes, key=lambda flash: abs(flash - beep))) / 1000 for beep in self.beeps(user_id) if flashes
        ]
        return [each for each in near if abs(each) < 400]

    def _from_keyframe(self, user_id: str) -> list[EncodedFrame]:
        frames = self.frames[user_id, "video"]
        first = next((at for at, frame in enumerate(frames) if frame.keyframe), len(frames))
        return frames[first:]

    async def receive(self) -> None:
        while frames := await self.room.frames():
            for frame in frames:
                for participant in self.room.participants.values():
                    for track in participant.tracks:
                        if track.track_id == frame.track:
                            self.frames[participant.user_id, track.kind].append(frame)


def _floats(sound: av.AudioFrame) -> np.ndarray:
    samples = sound.to_ndarray()
    scale = 32768 if samples.dtype == np.int16 else 1
    return (
        samples.reshape(-1, len(sound.layout.channels))[:, 0] / scale if sound.format.is_packed else samples[0] / scale
    )


@asynccontextmanager
async def watcher(url: str, token: str) -> AsyncIterator[Watcher]:
    async with connect(url, token) as room:
        watching = Watcher(room)
        receiving, listening = asyncio.create_task(watching.receive()), asyncio.create_task(_listen(room))
        try:
            yield watching
        finally:
            receiving.cancel()
            listening.cancel()
            await asyncio.gather(receiving, listening, return_exceptions=True)
            await room.leave()


async def _listen(room: ClientRoom) -> None:
    while await room.events():
        pass
