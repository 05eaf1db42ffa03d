"""What comes in by RTMP and WHIP: how old it is when a browser shows it, and what it costs.

A process of its own draws 1080 × 720 pictures that say when they were drawn, encodes and sends them; a page reads the
time from what it shows. All is on this machine, so that there is one clock. Then ten pushes at once, for their CPU.
"""

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from playwright.async_api import Browser

from benches.figures import Figure, percentile
from tests.kit.browser import Caller, PageFiles, chromium
from tests.kit.ports import free_port
from tests.kit.pushing import push_url
from tests.kit.server import Server, cpu_seconds
from tests.kit.waiting import eventually
from tests.kit.whip import address

SETTLE_MS = 4000
MEASURE_MS = int(float(os.environ.get("BENCH_SECONDS", "10")) * 1000)
PUSHES = 10
RTMP_MS, WHIP_MS = 600, 250
ROOT = Path(__file__).parent.parent


def run() -> list[Figure]:
    port = free_port()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Server(folder / "data", "--rtmp-listen", f"127.0.0.1:{port}", "--mixing-cores", "8") as server:
            certificate, sample = _certificate(folder), _sample(folder)
            return asyncio.run(_measure(server, port, certificate, sample))


def _certificate(folder: Path) -> list[str]:
    key, signed = str(folder / "key.pem"), str(folder / "cert.pem")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = ["openssl", "req", "-x509", *curve, "-nodes", "-subj", "/CN=whip", "-keyout", key, "-out", signed]
    subprocess.run(command, check=True, capture_output=True)
    return [f"cert_file={signed}", f"key_file={key}"]


def _sample(folder: Path) -> str:
    sample = str(folder / "sample.mp4")
    pictures = ["-f", "lavfi", "-i", "testsrc2=size=1280x720:rate=30", "-f", "lavfi", "-i", "sine=440"]
    encoders = ["-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "30", "-b:v", "1500k", "-c:a", "aac"]
    subprocess.run(["ffmpeg", "-v", "error", *pictures, "-t", "5", *encoders, sample], check=True, timeout=60)
    return sample


async def _measure(server: Server, port: int, certificate: list[str], sample: str) -> list[Figure]:
    whip = [
        *("whip", address(server, "pub", "whip", "sender"), f"authorization={server.user_sig('sender')}"),
        *certificate,
    ]
    ways = {
        "RTMP, copied": ["flv", push_url(server, port, "copied", "sender")],
        "RTMP with B-frames, transcoded": ["flv", push_url(server, port, "transcoded", "sender"), "bf=2"],
        "WHIP": whip,
    }
    figures = []
    files = PageFiles()
    try:
        async with chromium() as browser:
            for (what, arguments), room in zip(ways.items(), ("copied", "transcoded", "whip"), strict=True):
                delays, core = await _watch(server, browser, files, room, arguments)
                budget = {"copied": RTMP_MS, "whip": WHIP_MS}.get(room)
                figures.append(Figure("ingest", f"{what}, drawn to shown, p50", percentile(delays, 0.5), "ms"))
                figures.append(Figure("ingest", f"{what}, drawn to shown, p95", percentile(delays, 0.95), "ms", budget))
                if core is not None:
                    figures.append(Figure("ingest", f"{what}, the job", core, "core"))
    finally:
        files.close()
    return figures + await _crowd(server, port, sample)


async def _watch(
    server: Server, browser: Browser, files: PageFiles, room: str, arguments: list[str]
) -> tuple[list[float], float | None]:
    """Milliseconds of each picture, and cores of the push's job."""
    watcher = await Caller.open(browser, files.url, f"watcher-{room}")
    await watcher.join(server, room)
    sender = [sys.executable, "-m", "benches._ingest_clock", *arguments]
    with _running(sender):
        await watcher.sees("sender")
        await watcher.call("delays", "sender", SETTLE_MS)
        jobs = list(server.jobs().values())
        cpu, began = sum(map(cpu_seconds, jobs)), time.monotonic()
        delays = await watcher.call("delays", "sender", MEASURE_MS)
        core = (sum(map(cpu_seconds, jobs)) - cpu) / (time.monotonic() - began) if jobs else None
    await watcher.close()
    await _is_quiet(server)
    return delays, core


async def _crowd(server: Server, port: int, sample: str) -> list[Figure]:
    """Pushed from a file: what sends costs next to nothing."""
    source = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", sample, "-c", "copy", "-f", "flv"]
    with contextlib.ExitStack() as stack:
        for number in range(PUSHES):
            url = push_url(server, port, f"crowd-{number}", f"sender-{number}")  # one may come ten times a minute
            stack.enter_context(_running([*source, url]))

        async def all_run() -> bool:
            return len(server.jobs()) == PUSHES

        await eventually(all_run, f"{PUSHES} pushes run", 60, server.jobs)
        await asyncio.sleep(3)
        assert server.process is not None
        jobs, front = list(server.jobs().values()), server.process.pid
        before, at_front, began = sum(map(cpu_seconds, jobs)), cpu_seconds(front), time.monotonic()
        await asyncio.sleep(MEASURE_MS / 1000)
        lasted = time.monotonic() - began
        inside, outside = (sum(map(cpu_seconds, jobs)) - before) / lasted, (cpu_seconds(front) - at_front) / lasted
    await _is_quiet(server)
    return [
        Figure("ingest", f"{PUSHES} pushes of 720p30, each job", inside / PUSHES, "core"),
        Figure("ingest", f"{PUSHES} pushes of 720p30, the server beside them", outside, "core"),
    ]


async def _is_quiet(server: Server) -> None:
    async def gone() -> bool:
        return not server.jobs()

    await eventually(gone, "the pushes end", 20, server.jobs)


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[None]:
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait()
