"""What a mix is asked to be, and what it asks for: values that both halves of the mixer share."""

from dataclasses import dataclass
from typing import Literal, Protocol

from rtcloud.mixer.video import Encoded


class InputFrame(Encoded, Protocol):
    """``client.types.EncodedFrame``, as far as the mixer reads it."""

    @property
    def rtp_time(self) -> int: ...
    @property
    def capture_us(self) -> int | None: ...
    @property
    def arrival_us(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MixFormat:
    """Width and height are even. A keyframe stands every ``gop_seconds``, and at each ``segment_seconds`` so that files
    can be cut there. Each named codec is made, all from the same picture or sound; ``profile`` is H.264's. Opus comes
    in 20 ms packets of 48 kHz whatever ``sample_rate`` says. ``fast_audio``: AAC of low bitrates costs less too,
    for where there are many sounds at once."""

    width: int
    height: int
    fps: int
    video_bitrate: int
    gop_seconds: int
    sample_rate: int
    channels: int
    audio_bitrate: int
    video: bool = True
    audio: bool = True
    patience_us: int = 300_000
    segment_seconds: int | None = 10
    video_codecs: tuple[Literal["h264", "h265"], ...] = ("h264",)
    profile: Literal["main", "baseline"] = "main"
    audio_codecs: tuple[Literal["aac", "opus"], ...] = ("aac",)
    fast_audio: bool = False

    def continues(self, other: "MixFormat") -> bool:
        """Whether a mix of the other format can go on as this one."""
        return (self.video, self.audio, self.sample_rate, self.channels, self.patience_us) == (
            other.video,
            other.audio,
            other.sample_rate,
            other.channels,
            other.patience_us,
        )


@dataclass(frozen=True, slots=True)
class KeyframeWanted:
    track_id: str


@dataclass(frozen=True, slots=True)
class SubscriptionWanted:
    """The size at which a video track is shown; not enabled when it is not."""

    track_id: str
    enabled: bool
    width: int = 0
    height: int = 0


Wish = KeyframeWanted | SubscriptionWanted


@dataclass(slots=True)
class MixCounts:
    """What went wrong since the beginning, all tracks together."""

    skipped_pictures: int = 0  # not composed, in a hurry
    undecodable: int = 0  # packets and frames
    late_sounds: int = 0  # packets that came after their moment
    late_pictures: int = 0  # frames that came after their moment: shown, but too late
    sound_jumps: int = 0  # runs of packets that had to be placed anew
