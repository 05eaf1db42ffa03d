"""An encoded frame as a room hands it out (``EncodedFrame``), made by a test."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Frame:
    track: str
    data: bytes
    rtp_time: int = 0
    capture_us: int | None = None
    arrival_us: int = 0
    keyframe: bool = False
    contiguous: bool = True
