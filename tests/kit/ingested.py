"""What a room would see and hear of a pipeline's packets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import av
import numpy as np
import numpy.typing as npt

from rtcloud.egress.passing import parameter_sets
from rtcloud.ingest.media import Handling, RoomPacket, SourcePacket
from rtcloud.ingest.pipeline import Pipeline, PipelineSettings
from rtcloud.mixer.audio import OpusDecoder
from rtcloud.mixer.timeline import RATE
from rtcloud.mixer.video import Plane, planes
from rtcloud.robots.broadcasting import Program

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Seen:
    time_us: int
    width: int
    height: int
    brightness: float  # of the middle
    luma: Plane = field(repr=False)


@dataclass
class Outcome:
    packets: list[RoomPacket]
    told: list[Handling]
    program: Program
    video: list[RoomPacket] = field(init=False)
    audio: list[RoomPacket] = field(init=False)
    _seen: list[Seen] | None = None

    def __post_init__(self) -> None:
        self.video = [packet for packet in self.packets if packet.kind == "video"]
        self.audio = [packet for packet in self.packets if packet.kind == "audio"]
        for track in (self.video, self.audio):
            times = [packet.time_us for packet in track]
            assert all(later > earlier for earlier, later in zip(times, times[1:], strict=False)), times
        assert not self.video or self.video[0].keyframe

    def handling(self, kind: str) -> list[Handling]:
        return [each for each in self.told if each.kind == kind]

    def seen(self) -> list[Seen]:
        """Each picture that a browser would show, which waits for none: one that came out of order is lost."""
        if self._seen is None:
            self._seen = self._watched()
        return self._seen

    def _watched(self) -> list[Seen]:
        found: list[Seen] = []
        context: av.VideoCodecContext | None = None
        sets: dict[int, bytes] = {}
        for packet in self.video:
            # browsers that copy to a new size or profile begin anew as well
            if context is None or (packet.keyframe and packet.codec == "h264" and parameter_sets(packet.data) != sets):
                sets = parameter_sets(packet.data)
                context = cast(av.VideoCodecContext, av.CodecContext.create(packet.codec, "r"))
                context.thread_count = 1
                context.options = {"flags": "+low_delay"}
            frames = context.decode(av.Packet(packet.data))
            assert len(frames) <= 1, f"{len(frames)} pictures of one packet at {packet.time_us}"
            if not frames:
                continue
            grey = planes(frames[0])[0]
            middle = grey[grey.shape[0] // 4 : grey.shape[0] * 3 // 4, grey.shape[1] // 4 : grey.shape[1] * 3 // 4]
            found.append(Seen(packet.time_us, frames[0].width, frames[0].height, middle.mean(), grey.copy()))
        return found

    def heard(self) -> tuple[Samples, int]:
        """Channels × samples from the first packet on, holes silent, and when they begin."""
        assert all(packet.codec == "opus" for packet in self.audio)
        begin = self.audio[0].time_us
        pieces = []
        channels = 2 if self.audio[0].data[0] & 4 else 1
        decoder = OpusDecoder(channels)
        for packet in self.audio:
            samples = decoder.decode(packet.data)
            assert samples is not None
            pieces.append((round((packet.time_us - begin) * RATE / 1_000_000), samples))
        out = np.zeros((channels, max(at + each.shape[1] for at, each in pieces)), np.float32)
        for at, each in pieces:
            out[:, at : at + each.shape[1]] = each
        return out, begin

    def onset_us(self, threshold: float = 0.1) -> int:
        """When sound begins that was not there before."""
        samples, begin = self.heard()
        loud = np.abs(samples[0]) > threshold
        return begin + int(np.argmax(loud)) * 1_000_000 // RATE

    def flash_us(self) -> int:
        """When pictures turn bright."""
        return next(each.time_us for each in self.seen() if each.brightness > 150)


def ingest(packets: Iterable[SourcePacket], settings: PipelineSettings | None = None) -> Outcome:
    told: list[Handling] = []
    pipeline = Pipeline(settings or PipelineSettings(), told.append, elapsed=lambda: 0.0)
    made = [each for packet in packets for each in pipeline.put(packet)]
    made += pipeline.flush()
    return Outcome(made, told, pipeline.program)


def loudest_hz(samples: Samples) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.fft.rfftfreq(len(samples), 1 / RATE)[int(np.argmax(spectrum))])


def level(samples: Samples) -> float:
    """Of a sine with that power, its peak."""
    return float(np.sqrt(2 * np.mean(np.square(samples))))


def holes(samples: Sequence[float] | Samples, length: int) -> int:
    """How many runs of silence at least that long."""
    quiet = np.abs(np.asarray(samples)) < 1e-4
    edges = np.diff(np.concatenate([[0], quiet.astype(np.int8), [0]]))
    return int(((np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)) >= length).sum())
