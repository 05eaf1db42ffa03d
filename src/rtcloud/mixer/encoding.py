"""The encoders of a mix: H.264 and H.265 without delay, AAC-LC and Opus.

No frame is held back (no B-frames, no look-ahead): what was mixed can be on disk at once, which is what limits the loss
when a process dies. So each picture gives its packet before the next one is encoded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.video.frame import PictureType, VideoFrame

from rtcloud.mixer.form import MixFormat
from rtcloud.mixer.timeline import RATE, Samples

#: ticks of a packet's times, as in MPEG
TICKS = 90_000
AAC_FRAME = 1024
#: Half of a piece of sound: one that begins sooner after the last says the same again, where sound begins anew or
#: another source goes on.
SAME_PIECE = TICKS // 100
#: From this bitrate on FFmpeg's fast coder is the better one by its own documentation, mostly at a third of the work.
#: The other sometimes takes several steady tones for something abrupt, and loses 4 dB of the highest.
AAC_FAST_FROM = 64_000
#: what Opus takes per channel, as H.264's senders in a room do
OPUS_BITRATES = (16_000, 160_000)

VideoCodec = Literal["h264", "h265"]
Codec = Literal["h264", "h265", "aac", "opus"]


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """``time`` counts 1/90000 s from the mix's beginning. Video is Annex B with parameter sets at each keyframe; audio
    is one raw AAC-LC frame or one Opus packet."""

    kind: Literal["audio", "video"]
    data: bytes
    time: int
    keyframe: bool
    codec: Codec


class VideoEncoder:
    """``start`` is the time of its frame 0."""

    def __init__(self, codec: VideoCodec, form: MixFormat, start: int = 0) -> None:
        self.codec: VideoCodec = codec
        self.start = start
        self._fps = form.fps
        self._context = _h264(form) if codec == "h264" else _h265(form)

    def encode(self, frame: VideoFrame, index: int, keyframe: bool) -> list[EncodedPacket]:
        """``index`` is the frame's number since the encoder's start; numbers may be left out."""
        frame.pts = index
        frame.time_base = Fraction(1, self._fps)
        frame.pict_type = PictureType.I if keyframe else PictureType.NONE
        return self._packets(frame)

    def flush(self) -> list[EncodedPacket]:
        return self._packets(None)

    def _packets(self, frame: VideoFrame | None) -> list[EncodedPacket]:
        return [
            EncodedPacket(
                "video",
                bytes(packet),
                self.start + (packet.pts or 0) * TICKS // self._fps,
                packet.is_keyframe,
                self.codec,
            )
            for packet in self._context.encode(frame)
        ]


def _h264(form: MixFormat) -> av.VideoCodecContext:
    context = _context("libx264", form)
    context.options = {
        "preset": "veryfast",
        "tune": "zerolatency",
        "profile": form.profile,
        **_rate_options(form),
        "forced-idr": "1",
        "sc_threshold": "0",
        "x264-params": "aud=1",
    }
    return context


def _h265(form: MixFormat) -> av.VideoCodecContext:
    context = _context("libx265", form)
    params = {
        "log-level": "none",
        "info": 0,
        "aud": 1,
        "annexb": 1,
        "repeat-headers": 1,
        "open-gop": 0,
        "scenecut": 0,
        "pools": "none",
        "frame-threads": 1,
        "vbv-maxrate": form.video_bitrate * 3 // 2000,
        "vbv-bufsize": form.video_bitrate * 2 // 1000,
    }
    context.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "forced-idr": "1",
        "x265-params": ":".join(f"{name}={value}" for name, value in params.items()),
    }
    return context


def _context(name: str, form: MixFormat) -> av.VideoCodecContext:
    context = cast(av.VideoCodecContext, av.CodecContext.create(name, "w"))
    context.width, context.height = form.width, form.height
    context.pix_fmt = "yuv420p"
    context.time_base = Fraction(1, form.fps)
    context.framerate = Fraction(form.fps, 1)
    context.bit_rate = form.video_bitrate
    context.gop_size = min(form.gop_seconds, form.segment_seconds or form.gop_seconds) * form.fps
    context.thread_count = 1
    return context


def _rate_options(form: MixFormat) -> dict[str, str]:
    return {"maxrate": str(form.video_bitrate * 3 // 2), "bufsize": str(form.video_bitrate * 2)}


class AacEncoder:
    codec: Literal["aac"] = "aac"

    def __init__(self, rate: int, channels: int, bitrate: int, *, fast: bool = False) -> None:
        self._layout = "stereo" if channels == 2 else "mono"
        context = av.AudioCodecContext.create("aac", "w")
        context.sample_rate = rate
        context.layout = self._layout
        context.format = "fltp"
        context.bit_rate = bitrate
        context.time_base = Fraction(1, rate)
        if fast or bitrate >= AAC_FAST_FROM:
            context.options = {"aac_coder": "fast"}
        self._context = context
        self._rate = rate
        # also cuts the sound into the encoder's frames
        self._resampler = AudioResampler("fltp", self._layout, rate, AAC_FRAME) if rate != RATE else None
        self._gathered = np.zeros((channels, AAC_FRAME), np.float32)
        self._filled = 0
        self._end = 0  # position behind what is gathered

    def encode(self, samples: Samples, position: int) -> list[EncodedPacket]:
        """``position`` is the first sample's, at 48 kHz from the mix's beginning, and continues the last call's."""
        if self._resampler is not None:
            return self._packets(self._resampler.resample(_frame(samples, position, self._layout)))
        frames: list[AudioFrame] = []
        used, count = 0, samples.shape[1]
        while used < count:
            taken = min(AAC_FRAME - self._filled, count - used)
            self._gathered[:, self._filled : self._filled + taken] = samples[:, used : used + taken]
            self._filled += taken
            used += taken
            if self._filled == AAC_FRAME:
                frames.append(_frame(self._gathered, position + used - AAC_FRAME, self._layout))
                self._filled = 0
        self._end = position + count
        return self._packets(frames)

    def flush(self) -> list[EncodedPacket]:
        rest: list[AudioFrame] = self._resampler.resample(None) if self._resampler is not None else []
        if self._filled:
            rest.append(_frame(self._gathered[:, : self._filled], self._end - self._filled, self._layout))
            self._filled = 0
        return self._packets([*rest, None])

    def _packets(self, frames: Iterable[AudioFrame | None]) -> list[EncodedPacket]:
        packets = []
        for frame in frames:
            for packet in self._context.encode(frame):
                # the first frame only primes the decoder and lies before the beginning
                if packet.pts is not None and packet.pts >= 0:
                    time = packet.pts * TICKS // self._rate
                    packets.append(EncodedPacket("audio", bytes(packet), time, True, "aac"))
        return packets


def _frame(samples: Samples, position: int, layout: str) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
    frame.sample_rate = RATE
    frame.pts = position
    frame.time_base = Fraction(1, RATE)
    return frame


class OpusEncoder:
    """For rooms: one packet for each 20 ms that it is given."""

    codec: Literal["opus"] = "opus"

    def __init__(self, channels: int, bitrate: int) -> None:
        self._layout = "stereo" if channels == 2 else "mono"
        context = av.AudioCodecContext.create("libopus", "w")
        context.sample_rate = RATE
        context.layout = self._layout
        context.format = "flt"
        context.bit_rate = max(OPUS_BITRATES[0], min(OPUS_BITRATES[1], bitrate))
        context.time_base = Fraction(1, RATE)
        context.options = {"frame_duration": "20"}
        self._context = context

    def encode(self, samples: Samples, position: int) -> list[EncodedPacket]:
        """As ``AacEncoder.encode``. The encoder's own delay (6.5 ms) is not taken off the time."""
        interleaved = np.ascontiguousarray(samples.T).reshape(1, -1)
        frame = AudioFrame.from_ndarray(interleaved, format="flt", layout=self._layout)
        frame.sample_rate = RATE
        frame.pts = position
        frame.time_base = Fraction(1, RATE)
        time = position * TICKS // RATE
        return [EncodedPacket("audio", bytes(packet), time, True, "opus") for packet in self._context.encode(frame)]

    def flush(self) -> list[EncodedPacket]:
        return []
