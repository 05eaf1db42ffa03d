"""What of a source can go into a room as it is. Pure.

Rooms take H.264 that every browser decodes without waiting: 8 bits, 4:2:0, whole frames, no B-frames, keyframes that
are IDR, square pixels, even sizes within the limits; VP8 without hidden frames; Opus of one or two channels. The answer
to all else is why it cannot be copied, in words for the operator.
"""

from dataclasses import dataclass
from fractions import Fraction

from rtcloud.ingest import h264
from rtcloud.ingest.h264 import Sequence

CODEC = "no codec of rooms"
B_FRAMES = "B-frames"
OPEN_GOP = "keyframes that refer to earlier pictures"
HIDDEN = "hidden frames"
DAMAGED = "parameter sets that cannot be read"

#: Baseline, Main, High: what browsers decode
_PROFILES = frozenset({66, 77, 100})
#: pixels narrower or wider than this are seen to be so
_SQUARE = (Fraction(98, 100), Fraction(102, 100))
_MAX_OPUS_TICKS = 2880


@dataclass(frozen=True, slots=True)
class Limits:
    """For pictures that lie; those that stand have them the other way round."""

    width: int = 1920
    height: int = 1080

    def hold(self, width: int, height: int) -> bool:
        return max(width, height) <= self.width and min(width, height) <= self.height

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


def unfit_h264(sequence: Sequence, limits: Limits) -> str:
    """Why it cannot be copied; empty when it can, as far as the parameter set says."""
    if sequence.depth != 8:
        return f"{sequence.depth} bits per sample"
    if sequence.chroma != 1:
        return {0: "no colours", 2: "4:2:2", 3: "4:4:4"}.get(sequence.chroma, "unknown colours")
    if sequence.profile not in _PROFILES:
        return f"profile {sequence.profile}"
    if not sequence.frames_only:
        return "interlaced"
    if sequence.reorder and sequence.poc_type != 2:
        return B_FRAMES
    return unfit_size(sequence.width, sequence.height, limits) or unfit_pixels(sequence.sar)


def unfit_size(width: int, height: int, limits: Limits) -> str:
    if width % 2 or height % 2:
        return "odd size"
    return "" if limits.hold(width, height) else f"larger than {limits}"


def unfit_pixels(sar: tuple[int, int]) -> str:
    return "" if _SQUARE[0] <= Fraction(*sar) <= _SQUARE[1] else "pixels that are not square"


def is_b_slice(unit: bytes) -> bool:
    try:
        return h264.slice_kind(unit) == 1
    except ValueError:
        return False


def vp8_size(keyframe: bytes) -> tuple[int, int] | None:
    if len(keyframe) < 10 or keyframe[0] & 1 or keyframe[3:6] != b"\x9d\x01\x2a":
        return None
    width = int.from_bytes(keyframe[6:8], "little") & 0x3FFF
    height = int.from_bytes(keyframe[8:10], "little") & 0x3FFF
    return (width, height) if width and height else None


def is_hidden_vp8(data: bytes) -> bool:
    return bool(data) and not data[0] & 0x10


def opus_channels(head: bytes) -> int:
    """Of an OpusHead: 1 or 2 when packets can be copied, 0 when they hold several streams."""
    if len(head) < 19 or not head.startswith(b"OpusHead"):
        return 0
    return head[9] if head[18] == 0 and head[9] in (1, 2) else 0


def opus_ticks(packet: bytes) -> int:
    """How long it is at 48 kHz; 0 for what no room should get (RFC 6716, 3.1)."""
    if not packet:
        return 0
    config, code = packet[0] >> 3, packet[0] & 3
    if config < 12:
        frame = (480, 960, 1920, 2880)[config & 3]
    elif config < 16:
        frame = (480, 960)[config & 1]
    else:
        frame = (120, 240, 480, 960)[config & 3]
    if code == 3 and len(packet) < 2:
        return 0
    ticks = frame * (1, 2, 2, packet[1] & 63 if code == 3 else 0)[code]
    return ticks if ticks <= _MAX_OPUS_TICKS else 0
