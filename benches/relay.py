"""How old a relay's pictures are when a CDN has them, and what a single stream costs.

People send 1280 × 720 at 30 pictures a second with a clock burnt in; a process of its own takes the RTMP stream and
reads the clock. All is on this machine, so that there is one clock.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benches.figures import Figure, percentile
from tests.kit.acts import Act
from tests.kit.aired import Box
from tests.kit.cloud import Cloud
from tests.kit.ports import free_port
from tests.kit.relaying import GRID, Fields, stream, video
from tests.kit.server import Server, cpu_seconds
from tests.kit.stage import Stage
from tests.kit.waiting import wait_until

ROOM = 3570
WIDTH, HEIGHT, FPS = 1280, 720, 30
PEOPLE = int(os.environ.get("BENCH_PEOPLE", "4"))
MEASURE_S = float(os.environ.get("BENCH_SECONDS", "20"))
MIXED_MS, SINGLE_MS, SINGLE_CORE = 1000, 600, 0.03


def run() -> list[Figure]:
    acts = {f"person{each}": Act(each, WIDTH, HEIGHT, FPS, bitrate=1_200_000) for each in range(PEOPLE)}
    with tempfile.TemporaryDirectory() as folder, Server(Path(folder) / "data") as server, Stage(server) as stage:
        stage.enter_all(ROOM, acts)
        mixed = {"VideoParams": video(GRID, width=WIDTH, height=HEIGHT, fps=FPS)}
        single = {
            "WithTranscoding": 0,
            "VideoParams": {"VideoEncode": {"Width": WIDTH, "Height": HEIGHT, "Fps": FPS, "BitRate": 1200, "Gop": 1}},
            "SingleSubscribeParams": {"UserMediaStream": stream(ROOM, "person0")},
        }
        half = 2 if PEOPLE > 1 else 1
        first = Box(0, 0, WIDTH // half, HEIGHT // (2 if PEOPLE > 2 else 1))
        mixed_ms, mixed_core = _measure(server, mixed, first)
        single_ms, single_core = _measure(server, single, Box(0, 0, WIDTH, HEIGHT))
    return [
        Figure("relay", f"mix of {PEOPLE}, capture to receipt, median", percentile(mixed_ms, 0.5), "ms"),
        Figure("relay", f"mix of {PEOPLE}, capture to receipt, p95", percentile(mixed_ms, 0.95), "ms", MIXED_MS),
        Figure("relay", f"mix of {PEOPLE}, the job", mixed_core, "core"),
        Figure("relay", "single stream, capture to receipt, median", percentile(single_ms, 0.5), "ms"),
        Figure("relay", "single stream, capture to receipt, p95", percentile(single_ms, 0.95), "ms", SINGLE_MS),
        Figure("relay", "single stream, the job", single_core, "core", SINGLE_CORE),
    ]


def _measure(server: Server, fields: Fields, box: Box) -> tuple[list[float], float]:
    """Milliseconds of each picture, and cores of the job."""
    cloud = Cloud(server)
    port = free_port()
    url = f"rtmp://127.0.0.1:{port}/live/bench"
    where = [str(each) for each in (box.left, box.top, box.right, box.bottom)]
    receipt = subprocess.Popen(
        [sys.executable, "-m", "benches._relay_receipt", url, str(MEASURE_S), str(FPS), *where],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert receipt.stdout is not None
        assert receipt.stdout.readline().strip() == "ready"
        task_id = cloud.start_relay(ROOM, url, **fields)
        (pid,) = wait_until(lambda: list(server.jobs().values()), "the job begins", within=15)
        time.sleep(MEASURE_S / 3)
        cpu, began = cpu_seconds(pid), time.monotonic()
        time.sleep(MEASURE_S / 3)
        core = (cpu_seconds(pid) - cpu) / (time.monotonic() - began)
        said, _ = receipt.communicate(timeout=MEASURE_S + 30)
        delays = list(map(float, json.loads(said)))
        cloud.stop_relay(task_id)
        wait_until(lambda: not server.jobs(), "the job ends", within=15)
    finally:
        receipt.kill()
        receipt.wait()
    assert len(delays) > MEASURE_S * FPS / 3, f"the clock was read {len(delays)} times only"
    return delays, core
