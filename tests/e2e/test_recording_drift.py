"""Sound and pictures stay together however wrong the senders' clocks run: the whole recorder on virtual time.

Half an hour with crystals that are off by 100 millionths, or a few minutes with crystals as much worse as that is
shorter: at the end both are 180 ms away from where counting samples and pictures would put them.
"""

from pathlib import Path

import pytest

from tests.kit import probes
from tests.kit.acts import FLASH, Act
from tests.kit.aired import Aired
from tests.kit.generated import Recorded, order, record
from tests.kit.generator import START_US, Guest
from tests.kit.probes import Region, Span

pytestmark = pytest.mark.e2e

WIDTH, HEIGHT = 160, 180
APART_S = 0.040
#: what is on the way is placed later than it was captured: the least transit, and half a picture of a mix
LATE_S = 0.060
#: between the beeps of two people, at least
QUIET_S = 0.15
#: a person's flash where they have half of the canvas
HALVES = [Region((FLASH.left + n) / 2, FLASH.top, (FLASH.right + n) / 2, FLASH.bottom) for n in (0, 1)]

short = pytest.param(120.0, 1500.0, id="minutes", marks=pytest.mark.timeout(600))
long = pytest.param(1800.0, 100.0, id="half-an-hour", marks=[pytest.mark.long, pytest.mark.timeout(900)])


@pytest.mark.parametrize(("seconds", "ppm"), [short, long])
@pytest.mark.parametrize("mode", ["mixed", "single", "merged"])
def test_sound_and_pictures_stay_together(tmp_path: Path, mode: str, seconds: float, ppm: float) -> None:
    ann, bob = guests = [
        Guest("ann", _act(0), sound_ppm=ppm, wall_ppm=80),
        Guest("bob", _act(1), begins=0.5, picture_ppm=ppm, wall_ppm=-80),
    ]
    is_mixed = mode == "mixed"
    asked = order(tmp_path, RecordMode=2 if is_mixed else 1, AvMerge=int(mode == "merged"))
    recorded = record(asked, guests, seconds)
    for guest, half in zip(guests, HALVES, strict=True):
        (file,) = recorded.closed("mp4", "" if is_mixed else guest.user_id)
        begin = file.begin_ms / 1000 - START_US / 1e6
        path = recorded.path(file)
        assert abs(probes.duration(path) - (seconds - begin)) < 0.3
        minute = min(60.0, seconds / 3)
        for from_s in (0.0, (seconds - minute) / 2, seconds - minute - 1):
            span = Span(from_s, from_s + minute)
            _look(path, begin, guest, half if is_mixed else FLASH, span)
    _nothing_is_wrong(recorded)


def _act(number: int) -> Act:
    return Act(number, WIDTH, HEIGHT, fps=30, flash=True, bitrate=100_000)


def _look(path: Path, begin: float, guest: Guest, region: Region, span: Span) -> None:
    """``begin`` is when the file begins. What was captured at different moments may be as far apart in the file."""
    heard = [begin + at for at in probes.beeps(path, span, QUIET_S)]
    seen = [begin + at for at in probes.flashes(path, region, span)]
    first, last = begin + span.begin + 1.5, begin + span.end - 1.5
    sounds = [_late(at, heard) for at in guest.beeps(first, last)]
    pictures = [_late(at, seen) for at in guest.flashes(first, last)]
    apart = [sound - picture for sound, picture in zip(sounds, pictures, strict=False)]
    worst = max(apart, key=abs)
    print(f"{path.name} {span}: {1000 * min(apart):.0f} to {1000 * max(apart):.0f} ms")
    assert abs(worst) <= APART_S, f"{guest.user_id} is {worst * 1000:.0f} ms apart in {span}"
    assert all(-0.01 <= late <= LATE_S for late in (*sounds, *pictures)), f"{guest.user_id} is out of place in {span}"


def _late(at: float, found: list[float]) -> float:
    return min((each - at for each in found), key=abs)


def _nothing_is_wrong(recorded: Recorded) -> None:
    for file in recorded.closed("mp4"):
        assert Aired(recorded.path(file)).complaints() == ""
