"""A relay for ten minutes, of somebody whose crystal runs fast: picture and sound stay together to the end."""

import statistics
import time
from pathlib import Path

import pytest

from tests.kit import probes
from tests.kit.acts import FLASH, Act
from tests.kit.aired import Aired, steps_ms
from tests.kit.house import open_house
from tests.kit.probes import Region
from tests.kit.relaying import GRID, video

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 5501
TALK_S = 600.0
WINDOW_S = 60.0
PPM = 100.0
PEOPLE = {"steady": Act(0, fps=30), "fast": Act(1, fps=30, flash=True, ppm=PPM)}
#: The fast one has the right half of the picture, in which a quarter of each side is cropped.
FLASHING = Region(0.72, FLASH.top + 0.02, 0.78, FLASH.bottom - 0.02)


def test_ten_minutes_stay_together(tmp_path: Path) -> None:
    with open_house(tmp_path) as house:
        house.stage.enter_all(ROOM, PEOPLE)
        relay = house.relay(ROOM, "long", VideoParams=video(GRID, fps=30))
        house.cdn.wait_for("long")
        with house.cdn.pulling("long", TALK_S + 60) as (path, process):
            time.sleep(TALK_S)
            assert process.poll() is None
        relay.stop()
    aired = Aired(path)
    for kind in ("audio", "video"):
        steps = steps_ms(aired.times(kind))
        assert 0 < min(steps) <= max(steps) <= 200, kind
    length = probes.duration(path)
    assert length > TALK_S - 5
    for name, begin in (("first", 1.0), ("last", length - WINDOW_S - 1)):
        part = probes.cut(path, begin, WINDOW_S, tmp_path / f"{name}.mp4")
        apart = [each * 1000 for each in probes.offsets(probes.beeps(part), probes.flashes(part, FLASHING))]
        assert len(apart) >= WINDOW_S * 0.9, name
        assert abs(statistics.mean(apart)) <= 40, (name, statistics.mean(apart))
