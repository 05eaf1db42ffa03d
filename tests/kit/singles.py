"""Files of single-stream recordings as they lie in a store: segments and indexes under the documented names."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame

from rtcloud.egress.recording.mpegts import TsMuxer
from rtcloud.egress.recording.naming import encode_id, utc
from rtcloud.mixer.audio import BLOCK
from rtcloud.mixer.encoding import TICKS, AacEncoder, EncodedPacket, VideoEncoder
from rtcloud.mixer.form import MixFormat
from rtcloud.mixer.video import planes

BEGIN_MS = 1_622_425_551_884
SDK_APP_ID, ROOM = 1400123456, "12345"
FPS = 10


def form(width: int, height: int) -> MixFormat:
    return MixFormat(
        width=width,
        height=height,
        fps=FPS,
        video_bitrate=200_000,
        gop_seconds=10,
        sample_rate=48_000,
        channels=2,
        audio_bitrate=64_000,
    )


def pictures(seconds: float, level: int, width: int = 160, height: int = 90) -> list[EncodedPacket]:
    """Of one grey (16 to 235), the first a keyframe."""
    encoder = VideoEncoder("h264", form(width, height))
    frame = VideoFrame(width, height, "yuv420p")
    for plane, value in zip(planes(frame), (level, 128, 128), strict=True):
        plane[:] = value
    return [packet for tick in range(round(seconds * FPS)) for packet in encoder.encode(frame, tick, tick == 0)]


def tone(seconds: float, hz: float) -> list[EncodedPacket]:
    """Everything that begins within that time."""
    encoder = AacEncoder(48_000, 2, 64_000)
    packets = []
    for index in range(round(seconds * 48_000) // BLOCK + 8):
        at = np.arange(index * BLOCK, (index + 1) * BLOCK)
        wave = (np.sin(at * (2 * np.pi * hz / 48_000)) / 2).astype(np.float32)
        packets += encoder.encode(np.stack((wave, wave)), index * BLOCK)
    return [packet for packet in packets if packet.time < seconds * TICKS]


@dataclass
class Track:
    """One stream of a user: what ``<Type>`` and ``<MediaId>`` say. Media is put at seconds after ``BEGIN_MS``."""

    folder: Path
    user: str
    media: str = "audio"  # audio, video, audiovideo
    media_id: str = "main"
    attempt: int = 0
    segment_seconds: float = 10.0
    size: tuple[int, int] = (160, 90)
    lines: list[str] = field(default_factory=list)
    segments: list[Path] = field(default_factory=list)
    _began: float | None = None
    _ended: float = 0.0
    _said: tuple[int, int] | None = None

    @property
    def stem(self) -> str:
        prefix = f"ha{self.attempt}_" if self.attempt else ""
        user = f"__UserId_s_{encode_id(self.user)}__UserId_e_{self.media_id}_{self.media}" if self.user else ""
        return f"{prefix}{SDK_APP_ID}_{ROOM}{user}"

    @property
    def index(self) -> Path:
        return self.folder / f"{self.stem}.m3u8"

    def record(self, begin: float, seconds: float, *, hz: float = 440, level: int = 128) -> "Track":
        """A stretch, cut into segments. A gap before it is marked in the index."""
        sound = tone(seconds, hz) if self.media != "video" else []
        seen: list[EncodedPacket] = []
        if self.media != "audio":
            at = 0.0
            while at < seconds:  # every segment begins with a keyframe
                part = pictures(min(self.segment_seconds, seconds - at), level, *self.size)
                seen += [_moved(packet, at) for packet in part]
                at += self.segment_seconds
        self._mark(begin)
        muxer = TsMuxer(video=self.media != "audio", sample_rate=48_000 if self.media != "video" else 0, channels=2)
        at = 0.0
        while at < seconds - 1e-6:
            until = min(at + self.segment_seconds, seconds)
            packets = [p for p in (*sound, *seen) if at * TICKS <= p.time < until * TICKS]
            self._write(muxer, begin, at, until, sorted(packets, key=lambda packet: packet.time))
            at = until
        self._ended = begin + seconds
        self._render(ended=False)
        return self

    def close(self) -> "Track":
        self._render(ended=True)
        return self

    def _mark(self, begin: float) -> None:
        if self._began is None:
            self._began = begin
        elif begin - self._ended > 0.1 or self._said != self.size:
            self.lines.append("#EXT-X-DISCONTINUITY")
        if self.media != "audio" and self._said != self.size:
            self.lines.append(f"#EXT-X-TRTC-VIDEO-METADATA:WIDTH:{self.size[0]} HEIGHT:{self.size[1]}")
            self._said = self.size

    def _write(self, muxer: TsMuxer, begin: float, at: float, until: float, packets: Sequence[EncodedPacket]) -> None:
        path = self.folder / f"{self.stem}_{utc(BEGIN_MS + round((begin + at) * 1000))}.ts"
        data = bytearray(muxer.tables())
        base = round(begin * TICKS)
        for packet in packets:
            if packet.kind == "video":
                data += muxer.video(packet.data, base + packet.time, keyframe=packet.keyframe)
            else:
                data += muxer.audio(packet.data, base + packet.time)
        path.write_bytes(data)
        self.segments.append(path)
        self.lines += [f"#EXTINF:{until - at:.3f}", path.name]

    def _render(self, *, ended: bool) -> None:
        assert self._began is not None
        head = [
            "#EXTM3U",
            "#EXT-X-VERSION:3",
            "#EXT-X-ALLOW-CACHE:NO",
            "#EXT-X-MEDIA-SEQUENCE:0",
            f"#EXT-X-TARGETDURATION:{round(self.segment_seconds)}",
            f"#EXT-X-TRTC-START-REC-TIME:{BEGIN_MS + round(self._began * 1000)}",
        ]
        end = ["#EXT-X-ENDLIST"] if ended else []
        self.index.write_text("\n".join([*head, *self.lines, *end]) + "\n")


def _moved(packet: EncodedPacket, seconds: float) -> EncodedPacket:
    time = packet.time + round(seconds * TICKS)
    return EncodedPacket(packet.kind, packet.data, time, packet.keyframe, packet.codec)
