"""Hours of recording on virtual time: what is split where, that nothing grows, that no part lacks or doubles any."""

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import pytest

from rtcloud.tasks.protocol import JOURNAL
from tests.kit.acts import Act
from tests.kit.generated import Recorded, order, record
from tests.kit.generator import Guest

pytestmark = pytest.mark.e2e

FPS = 10
SMALL = {"Width": 160, "Height": 90, "Fps": FPS, "BitRate": 60_000}
QUIET = Act(0, 160, 90, FPS, amplitude=0.0, bitrate=60_000)  # silence is encoded in no time
AAC_FRAME_S = 1024 / 48_000
MIB = 1 << 20

short = pytest.param(620, 3, id="minutes", marks=pytest.mark.timeout(600))
long = pytest.param(3 * 3600 + 30, 60, id="hours", marks=[pytest.mark.long, pytest.mark.timeout(1800)])


@dataclass
class Watch:
    """What the recorder's process takes, minute by minute, and at most while the MP4 is made."""

    resident: list[int] = field(default_factory=list)
    descriptors: list[int] = field(default_factory=list)
    peak: int = 0

    def minute(self) -> None:
        self.resident.append(_resident())
        self.descriptors.append(len(os.listdir("/proc/self/fd")))

    @contextmanager
    def looking(self) -> Iterator[None]:
        done = threading.Event()

        def look() -> None:
            while not done.wait(0.05):
                self.peak = max(self.peak, _resident())

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize(("seconds", "minutes"), [short, long])
@pytest.mark.parametrize("mode", ["mixed", "single"])
def test_hours_are_split_and_take_no_more_than_minutes(tmp_path: Path, mode: str, seconds: int, minutes: int) -> None:
    guests = [Guest("ann", QUIET, sound_ppm=100, wall_ppm=50)]
    watch = Watch()
    asked = order(tmp_path, video=SMALL, RecordMode=2 if mode == "mixed" else 1, MaxMediaFileDuration=minutes)
    with watch.looking():
        recorded = record(asked, guests, seconds, watch.minute)
    _is_split(recorded, seconds, minutes)
    _is_whole(recorded, seconds)
    # The first minutes fill caches and pools.
    early = watch.resident[len(watch.resident) // 6]
    assert watch.resident[-1] - early < 8 * MIB, [each // MIB for each in watch.resident]
    assert watch.peak - watch.resident[-1] < 64 * MIB, f"{watch.peak // MIB} MiB while the MP4 was made"
    assert max(watch.descriptors) - min(watch.descriptors) <= 4
    segments = len(recorded.closed("segment"))
    assert (recorded.directory / JOURNAL).stat().st_size < 1_000 * segments + 20_000


def _is_split(recorded: Recorded, seconds: int, minutes: int) -> None:
    """Parts of the wanted length and a little, to the next keyframe, without a gap between them."""
    parts = recorded.closed("mp4")
    assert len(parts) == -(-seconds // (minutes * 60))
    assert [part.name for part in parts] == [
        re.sub(r"_1\.mp4$", f"_{n}.mp4", parts[0].name) for n in range(1, len(parts) + 1)
    ]
    for part in parts[:-1]:
        assert 0 <= part.end_ms - part.begin_ms - minutes * 60_000 < 11_000
    for before, after in zip(parts, parts[1:], strict=False):
        assert -30 < after.begin_ms - before.end_ms <= 1000 // FPS, "sound ends within a frame of the cut"
    assert abs(parts[-1].end_ms - parts[0].begin_ms - seconds * 1000) < 300


def _is_whole(recorded: Recorded, seconds: int) -> None:
    """Each packet of the segments is in one part, at its moment."""
    for kind, step in (("video", 1 / FPS), ("audio", AAC_FRAME_S)):
        times: list[float] = []
        for part in recorded.closed("mp4"):
            begin = part.begin_ms / 1000
            times += [begin + at for at in _times(recorded.path(part), kind)]
        assert abs(len(times) - seconds / step) < 3 + seconds / step * 2e-4, f"{len(times)} of {kind}"
        steps = [after - before for before, after in zip(times, times[1:], strict=False)]
        assert max(steps) < step * 1.5 + 0.005
        assert min(steps) > step * 0.5 - 0.005


def _times(path: Path, kind: str) -> list[float]:
    with av.open(str(path)) as container:
        stream = next(each for each in container.streams if each.type == kind)
        base = stream.time_base or Fraction(1)
        return [float(packet.pts * base) for packet in container.demux(stream) if packet.pts is not None]
