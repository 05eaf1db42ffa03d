"""Files of media whose pictures and sound tell where in them they are: the clock of ``acts`` counts the pictures, and
each second has a tone of its own. ``write`` makes them, in any container."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import PictureType

from tests.kit.acts import LOOP_S, PALETTE, draw

FPS = 15
RATE = 48_000


def hz_of(second: int, number: int = 0) -> int:
    return 400 + 150 * second + 60 * number


def write(
    path: Path,
    seconds: float,
    *,
    number: int = 0,
    video: str | None = "libx264",
    audio: str | None = "aac",
    b_frames: int = 0,
    size: tuple[int, int] = (320, 180),
    format: str | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """``number`` is that of the colour and the tones. A keyframe begins each second."""
    with av.open(str(path), "w", format=format, options=options or {}) as target:
        streams: list[tuple[Any, Sequence[Any]]] = []
        if video is not None:
            streams.append((_video_stream(target, video, b_frames, size), _pictures(seconds, number, size)))
        if audio is not None:
            stream: Any = target.add_stream(audio, rate=RATE)
            stream.layout = "mono"
            stream.bit_rate = 64_000
            streams.append((stream, _sound(seconds, number)))
        packets = [packet for stream, frames in streams for frame in frames for packet in stream.encode(frame)]
        packets += [packet for stream, _ in streams for packet in stream.encode(None)]
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            target.mux(packet)
    return path


def _video_stream(target: Any, codec: str, b_frames: int, size: tuple[int, int]) -> Any:
    stream = target.add_stream(codec, rate=FPS)
    stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    stream.bit_rate = 400_000
    context = stream.codec_context
    context.gop_size, context.max_b_frames, context.thread_count = FPS, b_frames, 1
    if codec == "libx264":
        stream.options = {"preset": "veryfast", "sc_threshold": "0"}
        if not b_frames:
            stream.options |= {"tune": "zerolatency", "profile": "baseline"}
    elif codec == "libvpx":
        stream.options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0"}
    return stream


def _pictures(seconds: float, number: int, size: tuple[int, int]) -> list[av.VideoFrame]:
    frames = []
    for count in range(round(seconds * FPS)):
        frame = av.VideoFrame.from_ndarray(
            draw(PALETTE[number], *size, FPS, count % (FPS * LOOP_S), False), format="rgb24"
        )
        frame = frame.reformat(format="yuv420p")
        frame.pts, frame.time_base = count, Fraction(1, FPS)
        frame.pict_type = PictureType.I if count % FPS == 0 else PictureType.NONE
        frames.append(frame)
    return frames


def _sound(seconds: float, number: int) -> list[av.AudioFrame]:
    times = np.arange(round(seconds * RATE)) / RATE
    hz = np.array([hz_of(second, number) for second in range(int(seconds) + 1)])[times.astype(int)]
    wave = (0.4 * np.sin(2 * np.pi * np.cumsum(hz) / RATE)).astype(np.float32)
    frames = []
    for at in range(0, len(wave), 960):
        frame = av.AudioFrame.from_ndarray(wave[None, at : at + 960], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
        frames.append(frame)
    return frames
