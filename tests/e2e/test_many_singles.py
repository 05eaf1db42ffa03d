"""Twenty-five people in one task of single streams, each known by colour and tone, while the twenty-sixth waits.

Their pictures are 320 × 180, since clients, server and recorder share the two cores of a test machine; the benchmark
``singles`` has 720p.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.kit import probes
from tests.kit.acts import Act
from tests.kit.cloud import BUCKET, Cloud
from tests.kit.probes import Region
from tests.kit.receiver import Receiver
from tests.kit.recorded_names import Asked, Expected, encoded, expected, table
from tests.kit.server import Server
from tests.kit.stage import Stage
from tests.kit.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.alone,
    pytest.mark.long,
    pytest.mark.timeout(400),
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 2500
STREAMS = 25
PEOPLE = [f"person{number:02}" for number in range(STREAMS + 1)]
LATE = PEOPLE[-1]
SECONDS, LATE_SECONDS = 13.0, 4.0
ASKED = Asked(record_mode=1, output_format=1)
#: inside the picture, beside what moves
PLAIN = Region(0.02, 0.02, 0.30, 0.10)
TOLERANCE_S = 0.3


def test_everybody_of_twenty_five_has_files_and_the_next_begins_when_somebody_leaves(tmp_path: Path) -> None:
    acts = {user: Act(number, fps=10, bitrate=100_000) for number, user in enumerate(PEOPLE)}
    with Server(tmp_path / "data") as server, Receiver() as receiver, Stage(server) as stage:
        server.set_callbacks(receiver.url, receiver.key)
        people = stage.enter_all(ROOM, acts)
        cloud = Cloud(server)
        task_id = cloud.start_recording(ROOM, output_format=ASKED.output_format, **ASKED.fields)
        spool = server.data / "spool" / task_id / "0"

        def open_for(user: str) -> int:
            return len([*spool.glob(f"*_s_{encoded(user)}__*.ts")])

        def everybody() -> bool:
            return all(open_for(user) >= 2 for user in PEOPLE[:STREAMS])

        wait_until(everybody, "files of 25 people", 60, lambda: {user: open_for(user) for user in PEOPLE})
        time.sleep(SECONDS)
        assert open_for(LATE) == 0
        left_ms = time.time_ns() // 1_000_000
        people[0].leave()
        wait_until(lambda: open_for(LATE) >= 2, "the twenty-sixth is recorded", 20)
        time.sleep(LATE_SECONDS)
        cloud.stop_recording(task_id)
        deleted_ms = time.time_ns() // 1_000_000
        wait_until(lambda: len(receiver.of(310)) == len(PEOPLE), "an MP4 of each", 120, lambda: receiver.types())
        folder = server.data / "files" / BUCKET / "calls" / task_id

    names = sorted(path.name for path in folder.iterdir())
    wanted = expected(ASKED, server.sdk_app_id, ROOM, {user: {"main": ("audio", "video")} for user in PEOPLE})
    rows = table(wanted, names)
    assert "MISSING" not in rows, rows
    assert "STRAY" not in rows, rows
    assert len(receiver.of(307)) == len(receiver.of(304)) == 2 * len(PEOPLE)
    told = {each.payload["FileMessage"][0]["FileName"]: each.payload["FileMessage"][0] for each in receiver.of(310)}
    with ThreadPoolExecutor(2) as pool:
        checked = [pool.submit(check, folder, each, names, told) for each in wanted if each.what in ("index", "mp4")]
        for each in checked:
            each.result()
    ends = {message["UserId"]: message["EndTimeStamp"] for message in told.values()}
    for user, end_ms in ends.items():
        assert abs(end_ms - (left_ms if user == PEOPLE[0] else deleted_ms)) <= 1000 * TOLERANCE_S, user


def check(folder: Path, file: Expected, names: list[str], told: dict[str, dict[str, object]]) -> None:
    """It plays to its end, and it is this person's."""
    (path,) = [folder / name for name in names if file.names(name)]
    assert probes.decode_all(path) == ""
    number = PEOPLE.index(file.user_id)
    if "video" in file.holds:
        color = probes.mean_color(probes.picture_at(path, 1.0), PLAIN)
        wanted = Act(number).color
        assert all(abs(one - other) < 40 for one, other in zip(color, wanted, strict=True)), (path.name, color, wanted)
    if "audio" in file.holds:
        samples, rate, _ = probes.sound(path)
        second = samples[rate : 2 * rate]
        levels = [probes.tone_level(second, rate, Act(each).hz) for each in range(len(PEOPLE))]
        assert levels.index(max(levels)) == number, (path.name, levels)
    if file.what == "mp4":
        message = told[path.name]
        begin, end = message["StartTimeStamp"], message["EndTimeStamp"]
        assert isinstance(begin, int)
        assert isinstance(end, int)
        assert abs(probes.duration(path) - (end - begin) / 1000) <= TOLERANCE_S
