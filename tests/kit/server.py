"""A real ``rtcloud serve`` in its own data directory: start, stop, kill, and what an application would ask of it."""

import contextlib
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Self

import httpx
from TLSSigAPIv2 import TLSSigAPIv2

from tests.kit.ports import free_port

READY = "rtcloud ready "
ROOT = Path(__file__).parent.parent.parent
COMMAND = Path(sys.executable).parent / "rtcloud"


class Server:
    """``with Server(data) as server:``. Its log is ``data/../serve.log``, all runs one after the other."""

    def __init__(
        self,
        data: Path,
        *options: str,
        environment: dict[str, str] | None = None,
        scheme: str = "http",
        host: str = "127.0.0.1",
    ) -> None:
        self.data = data
        self.log = data.parent / f"{data.name}.log"
        self.port = free_port()
        self.media_port = free_port(socket.SOCK_DGRAM, socket.SOCK_STREAM)
        self.host = host
        self.url = f"{scheme}://{host}:{self.port}"
        self.process: subprocess.Popen[str] | None = None
        self._options = options
        self._environment = environment or {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, within: float = 20.0) -> None:
        """Returns once the ready line was printed."""
        assert self.process is None or self.process.poll() is not None, "runs already"
        self.data.parent.mkdir(parents=True, exist_ok=True)
        command = [
            *(str(COMMAND), "serve", "--data", str(self.data)),
            *("--listen", f"{self.host}:{self.port}", "--media-port", str(self.media_port)),
            *("--allow-private", *self._options),
        ]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self._environment},
                start_new_session=True,
            )
        line = self._first_line(within)
        if not line.startswith(READY):
            self.kill()
            raise AssertionError(f"no ready line within {within:g} s, but {line!r}\n{self.tail()}")
        assert line.removeprefix(READY).strip() == self.url

    def stop(self, within: float = 20.0) -> int:
        """SIGTERM, as a service manager does; the exit status."""
        process = self._running()
        if process.poll() is None:
            process.terminate()
        try:
            status = process.wait(within)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"SIGTERM did not end the server within {within:g} s\n{self.tail()}") from None
        finally:
            if process.stdout is not None:
                process.stdout.close()
        return status

    def kill(self) -> None:
        """SIGKILL to the server process only: its jobs see the end of their stdin."""
        process = self._running()
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()

    def restart_killed(self) -> None:
        self.kill()
        self.start()

    @property
    def pid(self) -> int:
        return self._running().pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def jobs(self) -> dict[str, int]:
        """Process ids of running jobs. A job holds the lock of its attempt; one that waits for an order has none."""
        return {str(pid): pid for pid in children(self.pid) if _holds_attempt(pid)}

    @property
    def credentials(self) -> dict[str, Any]:
        loaded = json.loads((self.data / "credentials.json").read_text())
        assert isinstance(loaded, dict)
        return loaded

    @property
    def sdk_app_id(self) -> int:
        return int(self.credentials["sdk_app_id"])

    def user_sig(self, user_id: str, expire_s: int = 3600) -> str:
        """By the official library."""
        maker = TLSSigAPIv2(self.sdk_app_id, self.credentials["sdk_secret_key"])
        return str(maker.gen_sig(user_id, expire_s))

    def private_map_key(self, user_id: str, room: int | str, bits: int, life_s: int = 60) -> str:
        """By the official library, which leaves the buffer to its callers in Python."""
        number, name = (room, b"") if isinstance(room, int) else (0, struct.pack(">H", len(room)) + room.encode())
        numbers = struct.pack(">IIIII", self.sdk_app_id, number, int(time.time()) + life_s, bits, 0)
        userbuf = struct.pack(">BH", bool(name), len(user_id)) + user_id.encode() + numbers + name
        maker = TLSSigAPIv2(self.sdk_app_id, self.credentials["sdk_secret_key"])
        return str(maker.gen_sig_with_userbuf(user_id, 3600, userbuf))

    def join_body(self, user_id: str, room: int | str, **fields: Any) -> dict[str, Any]:
        return {
            "sdkAppId": self.sdk_app_id,
            "userId": user_id,
            "userSig": self.user_sig(user_id),
            ("roomId" if isinstance(room, int) else "strRoomId"): room,
            **fields,
        }

    def join(self, user_id: str, room: int | str, **fields: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/join", json=self.join_body(user_id, room, **fields), timeout=10)

    def ticket(self, user_id: str, room: int | str, **fields: Any) -> dict[str, str]:
        """``url`` and ``token`` of an accepted join."""
        response = self.join(user_id, room, **fields)
        assert response.status_code == 200, response.text
        answer = response.json()
        return {"url": answer["url"], "token": answer["token"]}

    def signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def admin(self, *arguments: str, typed: str = "") -> str:
        """``typed`` is what its standard input gives."""
        command = [str(COMMAND), "admin", *arguments, "--data", str(self.data)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, input=typed)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def set_callbacks(self, url: str, key: str) -> None:
        self.admin("callbacks", "set", str(self.sdk_app_id), "--url", url, "--key", key)

    def tail(self, lines: int = 60) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def _running(self) -> subprocess.Popen[str]:
        assert self.process is not None, "was never started"
        return self.process

    def _first_line(self, within: float) -> str:
        process = self._running()
        assert process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], within)
        return process.stdout.readline() if readable else ""


def children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            if entry.name.isdigit() and int(_stat(entry)[1]) == parent:
                found.append(int(entry.name))
    return found


def _stat(process: Path) -> list[str]:
    """The fields after the name."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def _holds_attempt(pid: int) -> bool:
    with contextlib.suppress(OSError):  # it ends
        for each in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(each).endswith("/job.lock"):
                    return True
    return False


def cpu_seconds(pid: int | str) -> float:
    """User and system time of one process, its children not counted; or of a thread: ``<pid>/task/<tid>``."""
    fields = _stat(Path(f"/proc/{pid}"))
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def end_by_signal(pid: int, number: signal.Signals = signal.SIGKILL, within: float = 5.0) -> None:
    assert pid > 0, "a signal to 0 goes to the tests themselves"
    os.kill(pid, number)
    deadline = time.monotonic() + within
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it is gone
        while time.monotonic() < deadline and _stat(Path(f"/proc/{pid}"))[0] != "Z":
            time.sleep(0.01)


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def pss_mib(pid: int) -> float:
    """Memory, with what processes share divided among them."""
    rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return int(next(line for line in rollup.splitlines() if line.startswith("Pss:")).split()[1]) / 1024
