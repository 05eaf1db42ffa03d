"""A machine takes no more than it can do: what it has begun goes on in full."""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.kit.acts import Act
from tests.kit.house import House, open_house
from tests.kit.relaying import GRID, video
from tests.kit.server import COMMAND
from tests.kit.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 5401
MEASURE_S = 6.0


@dataclass(frozen=True)
class Scene:
    """Pictures of people and of the mixes of them; ``cores`` is as much as three such mixes are reckoned to take."""

    width: int
    height: int
    cores: float

    def people(self) -> dict[str, Act]:
        bitrate = 1_200_000 * self.height // 720
        return {
            f"person{number}": Act(number, width=self.width, height=self.height, fps=30, bitrate=bitrate)
            for number in range(4)
        }


#: What leaves room on every machine, and what fills two cores of the one that loads are reckoned for.
SCENES = [
    pytest.param(Scene(640, 360, 0.5), id="640x360"),
    pytest.param(Scene(1280, 720, 1.5), id="1280x720", marks=pytest.mark.long),
]


@pytest.fixture
def house(tmp_path: Path, scene: Scene) -> Iterator[House]:
    with open_house(tmp_path, environment={"RTCLOUD_MIXING_CORES": str(scene.cores)}) as opened:
        opened.stage.enter_all(ROOM, scene.people())
        yield opened


def listed(house: House) -> list[dict[str, object]]:
    command = [str(COMMAND), "task", "ls", "--json", "--data", str(house.server.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    found = json.loads(done.stdout)
    return list(found["tasks"] if isinstance(found, dict) else found)


def start(house: House, scene: Scene, name: str) -> str:
    """The code of the refusal, or nothing."""
    mix = video(GRID, width=scene.width, height=scene.height, fps=30)
    try:
        house.cloud.start_relay(ROOM, house.cdn.url(name), robot=name, VideoParams=mix)
    except TencentCloudSDKException as error:
        return str(error.code)
    return ""


@pytest.mark.parametrize("scene", SCENES)
def test_mixes_are_taken_until_the_machine_is_full_and_keep_their_rate(house: House, scene: Scene) -> None:
    names: list[str] = []
    while not (code := start(house, scene, f"mix{len(names)}")) and len(names) < 10:
        names.append(f"mix{len(names)}")
    assert code == "FailedOperation.RestrictedConcurrency"
    assert len(names) == 3
    assert len(listed(house)) == 3

    def settled() -> bool:
        return all(isinstance(each["fps"], float) and each["fps"] >= 28.5 for each in listed(house))

    wait_until(settled, "all run at their rate", within=30, seen=lambda: listed(house))
    for name, aired in house.pull_all(MEASURE_S, *names).items():
        times = aired.times("video")
        assert (len(times) - 1) / (times[-1] - times[0]) >= 30 * 0.95, name
        # Media time goes on at the pace of the clock, too: nothing is late, and more so each second.
        assert times[-1] >= MEASURE_S * 0.95, name

    # A place that becomes free is given again.
    first = str(listed(house)[0]["task_id"])
    house.cloud.stop_relay(first)
    assert house.receiver.wait_for(401, lambda each: each.info["TaskId"] == first and each.payload["Status"] == 0)
    assert start(house, scene, "again") == ""
