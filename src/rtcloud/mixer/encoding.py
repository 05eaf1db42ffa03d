"""The encoders of a mix: H.264 without delay, AAC-LC.

No frame is held back (no B-frames, no look-ahead): what was mixed can be on disk at once, which is what limits the loss
when a process dies.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.video.frame import PictureType, VideoFrame

from rtcloud.mixer.timeline import RATE, Samples

#: ticks of a packet's times, as in MPEG
TICKS = 90_000
AAC_FRAME = 1024


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """``time`` counts 1/90000 s from the mix's beginning. Video is Annex B with parameter sets at each keyframe; audio
    is one raw AAC-LC frame."""

    kind: Literal["audio", "video"]
    data: bytes
    time: int
    keyframe: bool = True


class H264Encoder:
    def __init__(self, width: int, height: int, fps: int, bitrate: int, gop_frames: int) -> None:
        context = av.VideoCodecContext.create("libx264", "w")
        context.width, context.height = width, height
        context.pix_fmt = "yuv420p"
        context.time_base = Fraction(1, fps)
        context.framerate = Fraction(fps, 1)
        context.bit_rate = bitrate
        context.gop_size = gop_frames
        context.thread_count = 1
        context.options = {
            "preset": "veryfast",
            "tune": "zerolatency",
            "profile": "main",
            "maxrate": str(bitrate * 3 // 2),
            "bufsize": str(bitrate * 2),
            "forced-idr": "1",
            "sc_threshold": "0",
            "x264-params": "aud=1",
        }
        self._context = context
        self._fps = fps

    def encode(self, frame: VideoFrame, index: int, keyframe: bool) -> list[EncodedPacket]:
        """``index`` is the frame's number on the mix's clock; numbers may be left out."""
        frame.pts = index
        frame.time_base = Fraction(1, self._fps)
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        return self._packets(frame)

    def flush(self) -> list[EncodedPacket]:
        return self._packets(None)

    def _packets(self, frame: VideoFrame | None) -> list[EncodedPacket]:
        return [
            EncodedPacket("video", bytes(packet), (packet.pts or 0) * TICKS // self._fps, packet.is_keyframe)
            for packet in self._context.encode(frame)
        ]


class AacEncoder:
    def __init__(self, rate: int, channels: int, bitrate: int) -> None:
        self._layout = "stereo" if channels == 2 else "mono"
        context = av.AudioCodecContext.create("aac", "w")
        context.sample_rate = rate
        context.layout = self._layout
        context.format = "fltp"
        context.bit_rate = bitrate
        context.time_base = Fraction(1, rate)
        self._context = context
        self._rate = rate
        # also cuts the sound into the encoder's frames
        self._resampler = AudioResampler("fltp", self._layout, rate, AAC_FRAME)

    def encode(self, samples: Samples, position: int) -> list[EncodedPacket]:
        """``position`` is the first sample's, at 48 kHz from the mix's beginning, and continues the last call's."""
        frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=self._layout)
        frame.sample_rate = RATE
        frame.pts = position
        frame.time_base = Fraction(1, RATE)
        return self._packets(self._resampler.resample(frame))

    def flush(self) -> list[EncodedPacket]:
        return self._packets([*self._resampler.resample(None), None])

    def _packets(self, frames: Iterable[AudioFrame | None]) -> list[EncodedPacket]:
        packets = []
        for frame in frames:
            for packet in self._context.encode(frame):
                # the first frame only primes the decoder and lies before the beginning
                if packet.pts is not None and packet.pts >= 0:
                    packets.append(EncodedPacket("audio", bytes(packet), packet.pts * TICKS // self._rate))
        return packets
