"""Encoded pictures and sound as a mixer gives them out: each picture of one brightness, sound a tone."""

from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from rtcloud.mixer.encoding import TICKS, EncodedPacket, VideoCodec

_ENCODERS = {"h264": "libx264", "h265": "libx265"}
SAMPLES = 1024


def pictures(
    codec: VideoCodec, width: int, height: int, count: int, *, fps: int = 25, gop: int = 10
) -> list[EncodedPacket]:
    context = cast(VideoCodecContext, av.CodecContext.create(_ENCODERS[codec], "w"))
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base, context.framerate, context.gop_size = Fraction(1, fps), Fraction(fps), gop
    context.thread_count = 1
    further = {"x265-params": "log-level=error:repeat-headers=1:pools=1"} if codec == "h265" else {}
    context.options = {"preset": "ultrafast", "tune": "zerolatency"} | further
    packets = []
    for index in range(count):
        frame = VideoFrame.from_ndarray(np.full((height * 3 // 2, width), 16 + index % 200, np.uint8), format="yuv420p")
        frame.pts = index
        for packet in context.encode(frame):
            time = (packet.pts or 0) * TICKS // fps
            packets.append(EncodedPacket("video", bytes(packet), time, packet.is_keyframe, codec))
    return packets


def sound(count: int, *, rate: int = 48_000, channels: int = 2) -> list[EncodedPacket]:
    layout = "stereo" if channels == 2 else "mono"
    context = av.CodecContext.create("aac", "w")
    context.sample_rate, context.layout, context.format, context.bit_rate = rate, layout, "fltp", 64_000
    packets = []
    for index in range(count + 2):  # what the encoder keeps back
        wave = np.sin(np.arange(index * SAMPLES, (index + 1) * SAMPLES) * (2 * np.pi * 440 / rate)).astype(np.float32)
        frame = AudioFrame.from_ndarray(np.tile(wave, (channels, 1)) / 2, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate, index * SAMPLES
        for packet in context.encode(frame):
            if packet.pts is not None and packet.pts >= 0:
                packets.append(EncodedPacket("audio", bytes(packet), packet.pts * TICKS // rate, True, "aac"))
    return packets[:count]


def in_order(*kinds: list[EncodedPacket]) -> Iterator[EncodedPacket]:
    return iter(sorted((packet for kind in kinds for packet in kind), key=lambda packet: packet.time))
