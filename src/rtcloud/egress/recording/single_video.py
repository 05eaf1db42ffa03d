"""The pictures of one single stream: H.264 as it came, VP8 made into H.264.

TS carries no VP8, and whoever sends it shall not be missing: those pictures are decoded and encoded again, with a
keyframe where the sender has one.
"""

from dataclasses import dataclass

from rtcloud.egress.passing import PassedVideo, Unit, parameter_sets, picture_size
from rtcloud.egress.recording.hls import Size
from rtcloud.mixer.encoding import VideoEncoder
from rtcloud.mixer.form import MixFormat
from rtcloud.mixer.layout import Rect
from rtcloud.mixer.video import Encoded, VideoDecoder, cropped, sniff

#: of what is encoded again: pictures per second that its rate is made for, bits per pixel and second, least rate
FPS, BITS, LEAST = 30, 3, 200_000


@dataclass(frozen=True, slots=True)
class Converted:
    data: bytes
    keyframe: bool
    contiguous: bool = True


class Converter:
    """VP8 to H.264."""

    def __init__(self) -> None:
        self._decoder = VideoDecoder()
        self._encoder: VideoEncoder | None = None
        self._size: Size = (0, 0)
        self._last = -1

    @property
    def is_waiting(self) -> bool:
        """For a keyframe."""
        return self._decoder.waiting

    def convert(self, frame: Encoded, at_us: int) -> Converted | None:
        """None while a keyframe is missing."""
        picture = self._decoder.decode(frame)
        if picture is None:
            return None
        width, height = picture.width & ~1, picture.height & ~1
        if not width or not height:
            return None
        if (width, height) != (picture.width, picture.height):
            picture = cropped(picture, Rect(0, 0, width, height))
        if self._encoder is None or self._size != (width, height):
            self._encoder, self._size = VideoEncoder("h264", _form(width, height)), (width, height)
            self._last = -1
        is_first = self._last < 0
        self._last = index = max(self._last + 1, at_us * FPS // 1_000_000)
        packets = self._encoder.encode(picture, index, is_first or frame.keyframe)
        return Converted(b"".join(packet.data for packet in packets), is_first or frame.keyframe) if packets else None


class StreamVideo:
    """Gives out units of H.264 when their moment has come. ``converted``, ``refused``: what the sender last sent."""

    def __init__(self) -> None:
        self.refused = ""
        self._passed = PassedVideo(self._refuse)
        self._converter: Converter | None = None
        self._sets: dict[int, bytes] = {}

    @property
    def converts(self) -> bool:
        return self._converter is not None

    def restart(self) -> None:
        self._passed.restart()
        self._converter = None

    def lost(self) -> None:
        self._passed.lost()

    def push(self, frame: Encoded, placed_us: int) -> bool:
        """Whether it will be given out."""
        if frame.keyframe:
            if sniff(frame.data) != "vp8":
                self._converter = None
            elif self._converter is None:
                self._converter = Converter()
        if self._converter is None:
            return self._passed.push(frame, placed_us)
        converted = self._converter.convert(frame, placed_us)
        if self._converter.is_waiting:
            self._passed.lost()
        return converted is not None and self._passed.push(converted, placed_us)

    def due(self, until_us: int) -> list[Unit]:
        return list(self._passed.due(until_us))

    def asks(self, now_us: int, *, wanted: bool) -> bool:
        return self._passed.asks(now_us, wanted=wanted)

    def size(self, unit: Unit) -> Size | None:
        """Of a keyframe whose parameter sets are not those of the last; None otherwise."""
        if not unit.keyframe:
            return None
        sets = parameter_sets(unit.data)
        if sets == self._sets:
            return None
        self._sets = sets
        return picture_size(unit.data)

    def _refuse(self, codec: str) -> None:
        self.refused = codec


def _form(width: int, height: int) -> MixFormat:
    return MixFormat(
        width=width,
        height=height,
        fps=FPS,
        video_bitrate=max(LEAST, width * height * BITS),
        gop_seconds=60,
        sample_rate=48_000,
        channels=2,
        audio_bitrate=64_000,
        audio=False,
        segment_seconds=None,
    )
