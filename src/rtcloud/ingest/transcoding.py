"""One stream of pictures, decoded and encoded anew for a room: even sizes within the limits, square pixels, few enough
a second, a keyframe every other second and on demand.

A packet that does not decode is counted and left; the pictures go on with the next one that does. When decoding and
encoding take longer than the pictures last, some are not encoded until that is made up for.
"""

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from typing import cast

import av
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation, VideoReformatter

from rtcloud.ingest.deinterlacing import TIME_BASE, Deinterlacer
from rtcloud.ingest.fitness import Limits
from rtcloud.ingest.media import RoomPacket, StreamForm
from rtcloud.mixer.encoding import VideoEncoder
from rtcloud.mixer.form import MixFormat

#: what one may make us decode
MAX_PIXELS, MAX_SIDE = 8192 * 4352, 16_384
KEYFRAME_EVERY_US = 2_000_000
MAX_STEP_US = 1_000_000
#: bits for each pixel of each picture, and their bounds for a second
BITS_PER_PIXEL = 0.075
BITRATES = (250_000, 4_500_000)
#: being behind by so many seconds stops encoding, and by so few lets it go on
BEHIND, CAUGHT_UP = 0.5, 0.1
MAX_BEHIND = 2.0
#: FFmpeg's own for AV1 needs hardware
_DECODERS = {"av1": "libdav1d"}


class Transcoder:
    """``elapsed`` is a clock in seconds; ``in_band``: packets carry what the decoder must know (Annex B)."""

    def __init__(
        self, form: StreamForm, limits: Limits, max_fps: int, elapsed: Callable[[], float], *, in_band: bool
    ) -> None:
        self._form = form
        self._config = b"" if in_band else form.config
        self._limits = limits
        self._fps = max_fps
        self._elapsed = elapsed
        self._context = self._open()
        self._deinterlacer = Deinterlacer()
        self._reformatter = VideoReformatter()
        self._encoder: VideoEncoder | None = None
        self._index = -1
        self._next_us: int | None = None
        self._last_us: int | None = None
        self._dts_us: int | None = None
        self._step_us = 1_000_000 // max_fps  # from one packet to the next
        self._keyframe_us: int | None = None
        self._wants_keyframe = True
        self._shape: tuple[int, int, Fraction] | None = None
        self._changed = False
        self._behind = 0.0
        self._hurries = False
        self.size = (0, 0)
        self.source_size = (0, 0)
        self.has_pictures = False
        self.errors = 0
        self.skipped = 0  # pictures that there was no time for

    def want_keyframe(self) -> None:
        self._wants_keyframe = True

    def has_changed(self) -> bool:
        """Whether ``size`` is another since this was asked."""
        changed, self._changed = self._changed, False
        return changed

    def cut(self) -> None:
        self._context, self._deinterlacer = self._open(), Deinterlacer()
        self._wants_keyframe = True

    def put(self, data: bytes, pts_us: int, dts_us: int, *, after_us: int | None = None) -> list[RoomPacket]:
        """Pictures that are shown at ``after_us`` or before are decoded only."""
        began = self._elapsed()
        if self._dts_us is not None and 0 < dts_us - self._dts_us <= MAX_STEP_US:
            self._step_us = dts_us - self._dts_us
        self._dts_us = dts_us
        self._context.skip_frame = "NONREF" if self._hurries else "DEFAULT"
        packet = av.Packet(data)
        packet.pts, packet.dts, packet.time_base = pts_us, dts_us, TIME_BASE
        out = self._encoded(self._whole(self._decoded(packet)), after_us)
        self._behind += self._elapsed() - began
        return out

    def flush(self) -> list[RoomPacket]:
        """What the decoder holds; what comes after it must begin with a keyframe."""
        out = self._encoded(self._whole(self._decoded(None)), None)
        out += self._encoded(self._deinterlacer.flush(), None)
        self._context = self._open()
        return out

    def _open(self) -> av.VideoCodecContext:
        name = _DECODERS.get(self._form.codec, self._form.codec)
        context = cast(av.VideoCodecContext, av.CodecContext.create(name, "r"))
        context.thread_count = 1
        context.options = {"max_pixels": str(MAX_PIXELS)} | ({"max_frame_delay": "1"} if name == "libdav1d" else {})
        if self._config:
            context.extradata = self._config
        if 0 < self._form.width <= MAX_SIDE and 0 < self._form.height <= MAX_SIDE:
            context.width, context.height = self._form.width, self._form.height
        return context

    def _decoded(self, packet: "av.Packet[av.stream.Stream] | None") -> list[VideoFrame]:
        try:
            return self._context.decode(packet)
        except av.FFmpegError:
            self.errors += 1
            return []

    def _whole(self, frames: list[VideoFrame]) -> Iterator[VideoFrame]:
        for frame in frames:
            yield from self._deinterlacer.put(frame)

    def _encoded(self, frames: Iterable[VideoFrame], after_us: int | None) -> list[RoomPacket]:
        out: list[RoomPacket] = []
        for frame in frames:
            self.has_pictures = True
            time_us = self._time(frame)
            if after_us is not None and time_us <= after_us:
                continue
            if self._is_due(time_us):
                try:
                    out.append(self._encode(frame, time_us))
                except (av.FFmpegError, ValueError):  # a form of picture that cannot be converted
                    self.errors += 1
        return out

    def _time(self, frame: VideoFrame) -> int:
        interval = 1_000_000 // self._fps
        last = self._last_us
        time_us = frame.pts if frame.pts is not None else (0 if last is None else last + interval)
        if last is not None:
            passed = max(0.0, (time_us - last) / 1_000_000)
            self._behind = min(MAX_BEHIND, max(0.0, self._behind - passed))
            if time_us <= last:  # of a container that does not say when pictures are shown
                time_us = last + self._step_us
        self._last_us = time_us
        return time_us

    def _is_due(self, time_us: int) -> bool:
        interval = 1_000_000 // self._fps
        slack = interval * 3 // 8
        if self._next_us is not None and time_us < self._next_us - slack:
            return False
        self._hurries = self._behind > (CAUGHT_UP if self._hurries else BEHIND)
        if self._hurries and self._encoder is not None:
            self.skipped += 1
            return False
        self._next_us = interval + (time_us if self._next_us is None else max(self._next_us, time_us - slack))
        return True

    def _encode(self, frame: VideoFrame, time_us: int) -> RoomPacket:
        width, height = self._fit(frame)
        if self._encoder is None:
            self._encoder = VideoEncoder("h264", _format(width, height, self._fps))
            self._wants_keyframe = True
        picture = self._reformatter.reformat(
            frame, width, height, "yuv420p", interpolation=Interpolation.BILINEAR, threads=1
        )
        if self._keyframe_us is None or time_us - self._keyframe_us >= KEYFRAME_EVERY_US:
            self._wants_keyframe = True
        keyframe, self._wants_keyframe = self._wants_keyframe, False
        self._index = max(self._index + 1, time_us * self._fps // 1_000_000)
        (packet,) = self._encoder.encode(picture, self._index, keyframe)
        if packet.keyframe:
            self._keyframe_us = time_us
        return RoomPacket("video", "h264", packet.data, time_us, packet.keyframe)

    def _fit(self, frame: VideoFrame) -> tuple[int, int]:
        sar = self._context.sample_aspect_ratio or Fraction(1)
        shape = (frame.width, frame.height, sar)
        if shape != self._shape:
            self._shape = shape
            self.source_size = (frame.width, frame.height)
            size = fitted(frame.width, frame.height, sar, self._limits)
            if size != self.size:
                self.size, self._changed, self._encoder = size, True, None
        return self.size


def fitted(width: int, height: int, sar: Fraction, limits: Limits) -> tuple[int, int]:
    """The even size within the limits that shows it undistorted, and no larger."""
    across, down = Fraction(width), Fraction(height)
    if Fraction(1, 4) <= sar <= 4:
        across = across * sar if sar > 1 else across
        down = down / sar if sar < 1 else down
    most = (limits.width, limits.height) if across >= down else (limits.height, limits.width)
    scale = min(Fraction(1), Fraction(most[0]) / across, Fraction(most[1]) / down)
    return max(16, int(across * scale) & ~1), max(16, int(down * scale) & ~1)


def _format(width: int, height: int, fps: int) -> MixFormat:
    bitrate = max(BITRATES[0], min(BITRATES[1], int(width * height * fps * BITS_PER_PIXEL)))
    return MixFormat(
        width=width,
        height=height,
        fps=fps,
        video_bitrate=bitrate,
        gop_seconds=10,  # keyframes are asked for
        sample_rate=48_000,
        channels=2,
        audio_bitrate=64_000,
        segment_seconds=None,
        profile="baseline",
    )
