"""What came out of a relay: a file pulled from the CDN, looked at as a viewer would, and closer.

Who is where is found by colour alone, who is heard by tone alone; nothing is taken from the layouts under test.
"""

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from rtcloud.client import sei
from tests.kit import probes
from tests.kit.acts import Act
from tests.kit.probes import Picture, Region, Samples

START = b"\x00\x00\x00\x01"
TOLERANCE = 30


@dataclass(frozen=True)
class Box:
    """Pixels; right and bottom are the first beyond."""

    left: int
    top: int
    right: int
    bottom: int

    @classmethod
    def at(cls, x: int, y: int, width: int, height: int) -> "Box":
        return cls(x, y, x + width, y + height)

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def is_near(self, other: "Box", within: int = 4) -> bool:
        mine, others = (
            (self.left, self.top, self.right, self.bottom),
            (other.left, other.top, other.right, other.bottom),
        )
        return all(abs(a - b) <= within for a, b in zip(mine, others, strict=True))

    def overlaps(self, other: "Box", within: int = 2) -> bool:
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return across > within and down > within

    def of(self, picture: Picture) -> Picture:
        return picture[self.top : self.bottom, self.left : self.right]


@dataclass(frozen=True)
class Unit:
    """One video packet as it was sent: ``at`` in seconds, ``data`` in Annex B."""

    at: float
    keyframe: bool
    data: bytes


@dataclass(frozen=True)
class Heard:
    samples: Samples
    rate: int
    begin: float

    def level(self, hz: float, begin: float = -1e9, end: float = 1e9) -> float:
        """Decibels of a tone between two times of the file, relative to full scale."""
        first = max(0, int((begin - self.begin) * self.rate))
        last = max(0, min(len(self.samples), int((end - self.begin) * self.rate)))
        assert last - first >= self.rate // 5, f"only {(last - first) / self.rate:.2f} s to listen to"
        return probes.tone_level(self.samples[first:last], self.rate, hz)


class Aired:
    def __init__(self, path: Path, video_format: str = "h264") -> None:
        self.path = path
        self._video_format = video_format

    @cached_property
    def codecs(self) -> dict[str, str]:
        return probes.codecs(self.path)

    @cached_property
    def units(self) -> list[Unit]:
        with av.open(str(self.path)) as container:
            (stream,) = container.streams.video
            return [
                Unit(_seconds(packet), packet.is_keyframe, annex_b(bytes(packet)))
                for packet in container.demux(stream)
                if packet.size
            ]

    @cached_property
    def pictures(self) -> list[tuple[float, Picture]]:
        return probes.pictures(self.path)

    @cached_property
    def sound(self) -> Heard:
        return Heard(*probes.sound(self.path))

    def picture(self, share: float = 0.9) -> Picture:
        """The one at that share of the file's pictures."""
        return self.pictures[min(len(self.pictures) - 1, int(len(self.pictures) * share))][1]

    def messages(self, payload_type: int) -> list[tuple[float, sei.SeiMessage]]:
        found: list[tuple[float, sei.SeiMessage]] = []
        for unit in self.units:
            found += [(unit.at, each) for each in sei.read(unit.data) if each.payload_type == payload_type]
        return found

    def layouts(self, payload_type: int = 100) -> list[dict[str, Any]]:
        """The bodies of the layout SEI."""
        return [json.loads(message.data) for _, message in self.messages(payload_type)]

    def times(self, kind: str) -> list[float]:
        """Of each packet of ``audio`` or ``video``, in seconds, in the order in which they were sent."""
        with av.open(str(self.path)) as container:
            (stream,) = [each for each in container.streams if each.type == kind]
            return [_seconds(packet) for packet in container.demux(stream) if packet.size]

    def complaints(self) -> str:
        """What FFmpeg says when it plays everything. Frame rates may change on the way: times are looked at apart."""
        times = ["-fps_mode", "passthrough", "-enc_time_base", "-1"]
        command = ["ffmpeg", "-v", "warning", "-xerror", "-i", str(self.path), *times, "-f", "null", "-"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        return done.stderr.strip() if done.returncode == 0 else f"status {done.returncode}: {done.stderr.strip()}"

    def offset_ms(self, region: Region) -> list[float]:
        """For each beep how much later its flash in the region is."""
        apart = probes.offsets(probes.beeps(self.path), probes.flashes(self.path, region))
        return [each * 1000 for each in apart]


def box_of(picture: Picture, color: tuple[int, int, int], least: int = 6, share: float = 0.1) -> Box | None:
    """The bounding box of a colour. Rows and columns with few pixels of it do not count, nor do those that stand apart:
    where other colours meet there are all colours between them."""
    mask = (np.abs(picture.astype(np.int16) - np.array(color, np.int16)) <= TOLERANCE).all(axis=2)
    across, down = mask.sum(axis=1), mask.sum(axis=0)
    if min(across.max(), down.max()) < least:
        return None
    top, bottom = _longest(across >= max(least, share * across.max()))
    left, right = _longest(down >= max(least, share * down.max()))
    return Box(left, top, right, bottom)


def _longest(marked: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """Begin and end of the longest run. What is drawn into a picture may cross all of it, and is no end."""
    at, gap = np.nonzero(marked)[0], len(marked) / 5
    runs = np.split(at, np.nonzero(np.diff(at) > gap)[0] + 1)
    run = max(runs, key=lambda each: int(each[-1] - each[0]))
    return int(run[0]), int(run[-1]) + 1


def boxes(picture: Picture, acts: dict[str, Act]) -> dict[str, Box]:
    """Who is seen, and where."""
    found = {user_id: box_of(picture, act.color) for user_id, act in acts.items()}
    return {user_id: box for user_id, box in found.items() if box is not None}


def color_at(picture: Picture, x: int, y: int, around: int = 2) -> tuple[int, int, int]:
    part = picture[max(0, y - around) : y + around + 1, max(0, x - around) : x + around + 1]
    red, green, blue = part.reshape(-1, 3).mean(axis=0)
    return int(red), int(green), int(blue)


def steps_ms(times: Iterable[float]) -> list[float]:
    """Between each time and the next."""
    listed = list(times)
    return [(after - before) * 1000 for before, after in zip(listed, listed[1:], strict=False)]


def _seconds(packet: "av.Packet[Any]") -> float:
    assert packet.dts is not None
    return float(packet.dts * (packet.time_base or Fraction(1, 1000)))


def annex_b(data: bytes) -> bytes:
    """FLV keeps units with their length in four bytes before each."""
    parts: list[bytes] = []
    at = 0
    while at + 4 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        parts += [START, data[at + 4 : at + 4 + size]]
        at += 4 + size
    return b"".join(parts)
