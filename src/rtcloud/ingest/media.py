"""The values of ingest: what a source gives, what a room gets, and what was done between. Pure.

All times are microseconds. A source's own clock (``pts_us``, ``dts_us``) starts anywhere, may run fast or slow, and may
jump; what leaves ``pipeline`` is on that clock still, without its jumps; ``clock`` places it on the server's.
"""

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["audio", "video"]
RoomCodec = Literal["h264", "vp8", "opus"]


@dataclass(frozen=True, slots=True)
class StreamForm:
    """What is known of a stream before its packets. Numbers are 0 when the source does not say."""

    kind: Kind
    codec: str  # FFmpeg's name: h264, hevc, av1, vp8, vp9, aac, mp3, opus, …
    config: bytes = field(default=b"", repr=False)  # avcC, hvcC, AudioSpecificConfig, OpusHead, …; b"": in the packets
    width: int = 0
    height: int = 0
    rate: int = 0
    channels: int = 0


@dataclass(frozen=True, slots=True)
class SourcePacket:
    """One encoded frame. ``form`` is the same object as long as nothing changes; a new one begins a new stream of that
    kind in place of the one before (another size, another codec). H.264 and HEVC with a ``config`` are
    length-prefixed as that says, without one Annex B."""

    form: StreamForm
    data: bytes = field(repr=False)
    pts_us: int
    dts_us: int
    keyframe: bool = True

    @property
    def kind(self) -> Kind:
        return self.form.kind


@dataclass(frozen=True, slots=True)
class RoomPacket:
    """An H.264 access unit in Annex B (parameter sets at each keyframe), a VP8 frame, or an Opus packet."""

    kind: Kind
    codec: RoomCodec
    data: bytes = field(repr=False)
    time_us: int  # when it is shown or heard, on the source's clock without its jumps
    keyframe: bool = True


@dataclass(frozen=True, slots=True)
class Handling:
    """What becomes of a stream, for the operator: ``why`` is empty for what is copied. ``refused`` ends a push whose
    application says so; ``left_out`` is a stream that nobody can use, beside another that is used."""

    kind: Kind
    how: Literal["copied", "transcoded", "refused", "left_out"]
    why: str  # "B-frames", "10 bits per sample", "larger than 1920x1080", …
    source: str  # "h264 1280x720", "aac 44100 Hz stereo"
    result: str = ""  # the same of what rooms get
