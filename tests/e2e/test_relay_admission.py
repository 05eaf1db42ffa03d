"""A machine takes no more than it can do: what it has begun goes on in full."""

import json
import subprocess
from collections.abc import Iterator

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
PEOPLE = {f"person{number}": Act(number, width=1280, height=720, fps=30, bitrate=1_200_000) for number in range(4)}
MIX = video(GRID, width=1280, height=720, fps=30)
#: As much as three such mixes are reckoned to take.
CORES = 1.5
MEASURE_S = 6.0


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    environment = {"RTCLOUD_MIXING_CORES": str(CORES)}
    with open_house(tmp_path_factory.mktemp("admission"), environment=environment) as opened:
        opened.stage.enter_all(ROOM, PEOPLE)
        yield opened


def listed(house: House) -> list[dict[str, object]]:
    command = [str(COMMAND), "task", "ls", "--json", "--data", str(house.server.data)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    found = json.loads(done.stdout)
    return list(found["tasks"] if isinstance(found, dict) else found)


def start(house: House, name: str) -> str:
    """The code of the refusal, or nothing."""
    try:
        house.cloud.start_relay(ROOM, house.cdn.url(name), robot=name, VideoParams=MIX)
    except TencentCloudSDKException as error:
        return str(error.code)
    return ""


def test_mixes_are_taken_until_the_machine_is_full_and_keep_their_rate(house: House) -> None:
    names: list[str] = []
    while not (code := start(house, f"mix{len(names)}")) and len(names) < 10:
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
    assert start(house, "again") == ""
