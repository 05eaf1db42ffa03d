"""From a source's packets to what a room takes, whatever the source is.

Packets of both kinds go in as they come, in decoding order each; what leaves is on the source's clock without its
jumps. Nothing is held back longer than a decoder needs, and ``told`` hears once of each stream what becomes of it, and
again when that changes. Not for two threads at once, but for ``want_keyframe``.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from rtcloud.ingest.audio import SoundTrack
from rtcloud.ingest.clock import Continuity
from rtcloud.ingest.fitness import Limits
from rtcloud.ingest.media import Handling, RoomPacket, SourcePacket
from rtcloud.ingest.video import PictureSettings, PictureTrack
from rtcloud.robots.broadcasting import Program

#: a picture is not shown before it is decoded, but for a muxer's wobble, nor so long after
EARLIEST_US, LATEST_US = -200_000, 5_000_000


@dataclass(frozen=True, slots=True)
class PipelineSettings:
    """``b_frames``: what becomes of a stream that has some. The largest picture is one that lies; one that stands is
    bounded the other way round. What is copied may come at any rate."""

    volume: int = 100
    b_frames: Literal["transcode", "refuse"] = "transcode"
    max_width: int = 1920
    max_height: int = 1080
    max_fps: int = 30


class Pipeline:
    """``elapsed`` is a clock in seconds, to see whether transcoding keeps up."""

    def __init__(
        self,
        settings: PipelineSettings,
        told: Callable[[Handling], None],
        elapsed: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.told = told
        self._continuity = Continuity()
        limits = Limits(settings.max_width, settings.max_height)
        self._pictures = PictureTrack(PictureSettings(limits, settings.max_fps, settings.b_frames), elapsed)
        self._sound = SoundTrack(settings.volume)
        self._wants_keyframe = False

    @property
    def program(self) -> Program:
        return Program(self._pictures.pictures, self._sound.is_used)

    @property
    def skipped(self) -> int:
        """Pictures that there was no time for."""
        return self._pictures.skipped

    def put(self, packet: SourcePacket) -> list[RoomPacket]:
        if not packet.data:  # decoders take it for the end
            return []
        if not EARLIEST_US <= packet.pts_us - packet.dts_us <= LATEST_US:
            packet = replace(packet, pts_us=packet.dts_us)
        shift_us = self._continuity.shift(packet.kind, packet.dts_us, packet.pts_us)
        if packet.kind == "audio":
            out = self._sound.put(packet, shift_us)
            self._tell(self._sound.take_handling())
            return out
        if self._wants_keyframe:
            self._wants_keyframe = False
            self._pictures.want_keyframe()
        out = self._pictures.put(packet, shift_us)
        self._tell(self._pictures.take_handling())
        return out

    def cut(self) -> None:
        """What comes next does not continue what came."""
        self._continuity.cut()
        self._pictures.cut()
        self._sound.cut()

    def flush(self) -> list[RoomPacket]:
        """What decoders hold, in the order of its times."""
        return sorted([*self._pictures.flush(), *self._sound.flush()], key=lambda packet: packet.time_us)

    def set_volume(self, percent: int) -> None:
        self._sound.set_volume(percent)

    def want_keyframe(self) -> None:
        """From any thread."""
        self._wants_keyframe = True

    def _tell(self, handling: Handling | None) -> None:
        if handling is not None:
            self.told(handling)
