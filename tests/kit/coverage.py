"""When what was sent is really there in recorded files: the moments of new pictures and of sound, on the wall clock.

What people on the stage send carries its moment of capture (a clock in the picture, a beep with each whole second), so
a place in a file is believed only if its content was captured then.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from rtcloud.recordings.names import read_name
from tests.kit.acts import LOOP_S, Act, read_clock
from tests.kit.probes import BEEP_HZ, Samples

#: of sound: what is shorter is not told apart
BLOCK_S = 0.1
_LOUD = 0.02
_BEEP = 0.2


@dataclass(frozen=True)
class Part:
    """A file of a recording, and the wall time (Unix seconds) of its beginning."""

    path: Path
    begin_s: float


@dataclass
class Seen:
    """``pictures`` and ``sounds``: wall times at which there are new pictures, and blocks of each tone. ``late``: how
    much later than its capture each picture stands; ``beeps``: how far each beep is from a whole second."""

    pictures: list[float] = field(default_factory=list)
    sounds: dict[int, list[float]] = field(default_factory=dict)
    late: list[float] = field(default_factory=list)
    beeps: list[float] = field(default_factory=list)


def segments(folder: Path, user: str = "") -> list[Part]:
    """Of a mix, or (``user`` as names have it) of one person; in the order of their beginnings."""
    found = []
    for path in folder.glob("*.ts"):
        name = read_name(path.name)
        assert name is not None, path
        assert name.begin_ms is not None, path
        if name.user == user:
            found.append(Part(path, name.begin_ms / 1000))
    return sorted(found, key=lambda part: (part.begin_s, part.path.name))


def watch(parts: Sequence[Part], act: Act, tones: Sequence[int] = ()) -> Seen:
    """``act`` fills the picture; ``tones`` (Hz) may be heard."""
    seen = Seen(sounds={hz: [] for hz in tones})
    for part in parts:
        _watch_part(part, act, seen)
    for moments in (seen.pictures, *seen.sounds.values()):
        moments.sort()
    return seen


def holes(moments: Sequence[float], begin: float, end: float, longer_than: float) -> list[tuple[float, float]]:
    """Where nothing is between ``begin`` and ``end``."""
    inside = [begin, *(moment for moment in moments if begin < moment < end), end]
    return [(before, after) for before, after in itertools.pairwise(inside) if after - before > longer_than]


def _watch_part(part: Part, act: Act, seen: Seen) -> None:
    # A segment of a single frame is too short for guessing what it is.
    with av.open(str(part.path), format="mpegts" if part.path.suffix == ".ts" else None) as container:
        # The beginning of a segment is its name's; of the rest it is time 0.
        first = (container.start_time or 0) / av.time_base if part.path.suffix == ".ts" else 0.0
        blocks: list[Samples] = []
        starts: list[float] = []
        rate, last_count = 48_000, -1
        resampler = av.AudioResampler(format="flt", layout="mono")
        for frame in container.decode():
            at = float((frame.pts or 0) * (frame.time_base or Fraction(1))) - first + part.begin_s
            if isinstance(frame, av.VideoFrame):
                count = read_clock(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8), act.fps)
                if count is not None and count != last_count:
                    seen.pictures.append(at)
                    seen.late.append(_off(at - count / act.fps, LOOP_S))
                last_count = -1 if count is None else count
            elif isinstance(frame, av.AudioFrame):
                rate = frame.sample_rate
                for each in resampler.resample(frame):
                    starts.append(at)
                    blocks.append(each.to_ndarray().reshape(-1).astype(np.float32))
    _listen(starts, blocks, rate, seen)


def _listen(starts: Sequence[float], blocks: Sequence[Samples], rate: int, seen: Seen) -> None:
    """In stretches without a gap, since a file may leave time out."""
    stretch: list[Samples] = []
    begin, expected = 0.0, -1.0
    for start, block in zip(starts, blocks, strict=True):
        if stretch and abs(start - expected) > 0.02:
            _listen_stretch(begin, np.concatenate(stretch), rate, seen)
            stretch = []
        if not stretch:
            begin = start
        stretch.append(block)
        expected = start + len(block) / rate
    if stretch:
        _listen_stretch(begin, np.concatenate(stretch), rate, seen)


def _listen_stretch(begin: float, samples: Samples, rate: int, seen: Seen) -> None:
    for hz, moments in seen.sounds.items():
        loud = _levels(samples, rate, hz, BLOCK_S) > _LOUD
        moments += [begin + (index + 0.5) * BLOCK_S for index in np.flatnonzero(loud)]
    fine_s = 0.01
    beeping = _levels(samples, rate, BEEP_HZ, fine_s) > _BEEP
    rises = np.flatnonzero(beeping[1:] & ~beeping[:-1]) + 1
    seen.beeps += [_off(begin + index * fine_s, 1.0) for index in rises]


def _levels(samples: Samples, rate: int, hz: float, block_s: float) -> Samples:
    """Amplitude of one tone, block by block."""
    size = round(rate * block_s)
    blocks = samples[: len(samples) // size * size].reshape(-1, size)
    turns = np.exp(-2j * np.pi * hz * np.arange(size) / rate).astype(np.complex64)
    return (np.abs(blocks @ turns) * 2 / size).astype(np.float32)


def _off(seconds: float, period: float) -> float:
    """How far from the nearest multiple."""
    return (seconds + period / 2) % period - period / 2
