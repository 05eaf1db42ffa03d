"""The cloud API's whole way: signed ``DescribeCloudRecording`` of a real task against a real ``rtcloud serve`` on a
SQLite file, beside a bare Starlette JSON echo on the same HTTP settings; and the verification of a signature alone.

The server is held on one core and the load, a process of its own, on another, so calls per second are those of one
core. TC3 has no nonce, so one signed request serves for all.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl

from benches.figures import Figure
from rtcloud.gateway.signing import tc3, v1
from rtcloud.gateway.signing.faults import check_time
from tests.kit.cloud import Cloud
from tests.kit.raw_requests import Caller
from tests.kit.server import Server

SECONDS = float(os.environ.get("BENCH_GATEWAY_SECONDS", "4"))
ROUNDS = 3
BUDGET_PER_SECOND = 1_500.0
BUDGET_US = 20.0
CONFIG = 'roles = ["api", "signal", "media", "sender"]\n[limits]\n"*" = 0\n'
FOLDER = Path(__file__).parent


def run() -> list[Figure]:
    calls, calls_per_cpu, echo_per_cpu = _whole_way()
    return [
        Figure("gateway", "signed call, on one core", calls, "per second"),
        Figure("gateway", "signed call, of the server", calls_per_cpu, "per CPU-second", BUDGET_PER_SECOND, "at least"),
        Figure("gateway", "bare Starlette echo", echo_per_cpu, "per CPU-second"),
        Figure("gateway", "CPU of a signed call beside the echo's", echo_per_cpu / calls_per_cpu, "×"),
        Figure("gateway", "verification alone, TC3", _verify_tc3_us(), "µs", BUDGET_US),
        Figure("gateway", "verification alone, v1", _verify_v1_us(), "µs", BUDGET_US),
    ]


def _whole_way() -> tuple[float, float, float]:
    """Calls per second, per CPU-second, and the echo's per CPU-second: the best of some rounds, taken in turn."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "rtcloud.toml"
        config.write_text(CONFIG)
        with Server(Path(folder) / "data", "--config", str(config)) as server, _Echo() as echo:
            task_id = Cloud(server).start_recording(7)
            request = _describe(server, task_id)
            rounds = [
                (_load(server.pid, server.port, request), _load(echo.pid, echo.port, request)) for _ in range(ROUNDS)
            ]
    per_second = max(ours[0] for ours, _ in rounds)
    return per_second, max(ours[1] for ours, _ in rounds), max(bare[1] for _, bare in rounds)


def _describe(server: Server, task_id: str) -> bytes:
    keys = server.credentials
    caller = Caller(keys["secret_id"], keys["secret_key"], f"127.0.0.1:{server.port}")
    return caller.tc3("DescribeCloudRecording", {"SdkAppId": server.sdk_app_id, "TaskId": task_id})


def _load(pid: int, port: int, request: bytes) -> tuple[float, float]:
    """Answers per second and per CPU-second of process ``pid``, which stays on the first core meanwhile."""
    cores = sorted(os.sched_getaffinity(0))
    _pin(pid, {cores[0]})
    order = {"port": port, "request": request.decode("latin-1"), "seconds": SECONDS, "core": cores[-1], "pid": pid}
    done = subprocess.run(
        [sys.executable, str(FOLDER / "_gateway_load.py")],
        input=json.dumps(order),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=FOLDER.parent,
    )
    answer = json.loads(done.stdout)
    assert not answer["faults"], answer["faults"]
    return answer["per_second"], answer["per_cpu_second"]


def _pin(pid: int, cores: set[int]) -> None:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cores)


class _Echo:
    """The bare server of ``_gateway_echo.py``."""

    def __enter__(self) -> "_Echo":
        command = [sys.executable, str(FOLDER / "_gateway_echo.py")]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True, cwd=FOLDER.parent
        )
        assert self._process.stdout is not None
        self.pid, self.port = self._process.pid, int(self._process.stdout.readline())
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=10)  # the end of its stdin ends it


CALLER = Caller("AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE", "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE", "127.0.0.1:7880")
PARAMETERS = {"SdkAppId": 1400000000, "TaskId": "-m-Vtqt3OZAqzAfnRhVNrx4RYWz0yRsnVbwMOGwbdWsXXXXXXXX.."}


def _verify_tc3_us() -> float:
    """Of a usual request: its Authorization read, its time checked, its body hashed, its signature made again."""
    head, _, body = CALLER.tc3("DescribeCloudRecording", PARAMETERS).partition(b"\r\n\r\n")
    lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
    headers = {name: value for name, _, value in lines}
    now_ms = int(time.time() * 1000)

    def verify() -> None:
        tc3.verify(
            tc3.parse_authorization(headers["authorization"]),
            CALLER.secret_key,
            method="POST",
            query="",
            headers=headers,
            payload_hash=tc3.hash_payload(body),
            seconds=check_time("X-TC-Timestamp", headers["x-tc-timestamp"], now_ms),
        )

    return _us(verify)


def _verify_v1_us() -> float:
    """Of the same call: its time checked, its parameters sorted, joined and signed again. They are decoded anyway."""
    body = CALLER.v1("DescribeCloudRecording", PARAMETERS, digest="HmacSHA256").partition(b"\r\n\r\n")[2]
    parameters = dict(parse_qsl(body.decode()))
    now_ms = int(time.time() * 1000)

    def verify() -> None:
        check_time("Timestamp", parameters["Timestamp"], now_ms)
        v1.verify(parameters, CALLER.secret_key, method="POST", host=CALLER.host)

    return _us(verify)


def _us(work: Callable[[], None]) -> float:
    """CPU time of one, the least of some thousands' averages: others run on this machine too."""
    timer = timeit.Timer(work, timer=time.process_time)
    return min(timer.repeat(repeat=15, number=2_000)) / 2_000 * 1e6
