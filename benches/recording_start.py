"""How soon a recording has media on the disk: after its start was answered, and after its recorder was killed.

People are in the room and send already. From the API's answer to CreateCloudRecording (from the kill) until a segment
of the task has its first bytes, which are media: they are written with the first picture or sound. All is on this
machine, people's clients included.
"""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from benches.figures import Figure, percentile
from tests.kit.acts import Act
from tests.kit.cloud import Cloud
from tests.kit.server import Server, end_by_signal
from tests.kit.stage import Stage
from tests.kit.waiting import wait_until

ROOM = 3580
PEOPLE = 2
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "12"))
#: between two starts: nothing of the last one shall be in the next one's figure, and the next process waits again
REST_S = 4.0
BUDGET_MS = 1000.0
#: a killed recorder's successor, of the promises
AGAIN_MS = 5000.0
LOOK_S = 0.002
_MIXED = {"width": 640, "height": 360, "fps": 15, "output_format": 0}
_SINGLE = {"output_format": 0, "RecordMode": 1}


def run() -> list[Figure]:
    acts = {f"person{each}": Act(each, 640, 360, 30, bitrate=600_000) for each in range(PEOPLE)}
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server, Stage(server) as stage:
        stage.enter_all(ROOM, acts)
        time.sleep(REST_S)
        figures = []
        for what, asked in (("mixed", _MIXED), ("single streams", _SINGLE)):
            taken = [_measure(server, asked) for _ in range(ROUNDS)]
            starts, again = zip(*taken, strict=True)
            figures += [
                Figure("recording_start", f"{what}, start to media, median", percentile([*starts], 0.5), "ms"),
                Figure("recording_start", f"{what}, start to media, p95", percentile([*starts], 0.95), "ms", BUDGET_MS),
                Figure("recording_start", f"{what}, kill to media, median", percentile([*again], 0.5), "ms"),
                Figure("recording_start", f"{what}, kill to media, p95", percentile([*again], 0.95), "ms", AGAIN_MS),
            ]
    return figures


def _measure(server: Server, asked: dict[str, int]) -> tuple[float, float]:
    """Milliseconds of a start, and of the start after a kill."""
    cloud = Cloud(server)
    task_id = cloud.start_recording(ROOM, **asked)
    answered = time.monotonic()
    spool = server.data / "spool" / task_id
    started = _until(lambda: _has_media(spool / "0")) - answered
    time.sleep(REST_S)
    (pid,) = server.jobs().values()
    killed = time.monotonic()
    end_by_signal(pid)
    again = _until(lambda: _has_media(spool / "1")) - killed
    cloud.stop_recording(task_id)
    wait_until(lambda: not server.jobs(), "the job ends", within=20)
    time.sleep(REST_S)
    return started * 1000, again * 1000


def _has_media(attempt: Path) -> bool:
    try:
        return any(entry.name.endswith(".ts") and entry.stat().st_size for entry in os.scandir(attempt))
    except FileNotFoundError:  # no directory yet, or a file that was just moved
        return False


def _until(condition: Callable[[], bool], within: float = 30.0) -> float:
    """The moment at which it holds; looked at oftener than tests do, since the moment is what is measured."""
    deadline = time.monotonic() + within
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"no media within {within:g} s")
        time.sleep(LOOK_S)
    return time.monotonic()
