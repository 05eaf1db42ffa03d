"""What an operator relies on: health, metrics, logs, one clear line for what cannot work, an orderly end."""

import base64
import json
import resource
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.kit.ports import free_port
from tests.kit.server import COMMAND, Server

pytestmark = pytest.mark.e2e


def serve(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(COMMAND), "serve", *arguments], capture_output=True, text=True, timeout=30)


def is_one_clear_line(done: subprocess.CompletedProcess[str], *words: str) -> bool:
    lines = done.stderr.strip().splitlines()
    return done.returncode == 2 and len(lines) == 1 and all(word in lines[0] for word in words)


def test_a_running_server_says_that_it_is_well(shared_server: Server) -> None:
    for path in ("/healthz", "/readyz"):
        assert httpx.get(shared_server.url + path).status_code == 200
    metrics = httpx.get(f"{shared_server.url}/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "# TYPE" in metrics.text


def test_logs_are_json_lines_without_secrets(tmp_path: Path) -> None:
    with Server(tmp_path / "data", "--log-level", "debug") as server:
        server.ticket("alice", 9001)
        assert httpx.post(server.url, json={}).json()["Response"]["Error"]["Code"]
        secrets = (server.credentials["secret_key"], server.credentials["sdk_secret_key"], server.user_sig("alice"))
    text = server.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines
    assert all(isinstance(line, dict) for line in lines)
    assert not [secret for secret in secrets if secret in text]


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = serve("--data", str(tmp_path / "d"), "--listen", f"127.0.0.1:{port}", "--media-port", "0")
    assert is_one_clear_line(done, str(port)), done.stderr


def test_a_media_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("0.0.0.0", 0))
        port = taken.getsockname()[1]
        listen = f"127.0.0.1:{free_port()}"
        done = serve("--data", str(tmp_path / "d"), "--listen", listen, "--media-port", str(port))
    assert is_one_clear_line(done, str(port)), done.stderr


def test_an_unusable_data_directory_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    done = serve("--data", str(tmp_path / "file"), "--listen", f"127.0.0.1:{free_port()}", "--media-port", "0")
    assert is_one_clear_line(done, str(tmp_path / "file")), done.stderr


@pytest.mark.parametrize("content", ["listen = 7", "no_such_key = 1", "= broken", 'log_level = "loud"'])
def test_a_bad_configuration_is_one_clear_line(tmp_path: Path, content: str) -> None:
    (tmp_path / "rtcloud.toml").write_text(content)
    done = serve("--config", str(tmp_path / "rtcloud.toml"), "--data", str(tmp_path / "d"))
    assert is_one_clear_line(done), done.stderr


def test_a_second_server_on_one_directory_is_refused(shared_server: Server) -> None:
    listen = f"127.0.0.1:{free_port()}"
    done = serve("--data", str(shared_server.data), "--listen", listen, "--media-port", "0")
    assert is_one_clear_line(done, str(shared_server.data)), done.stderr


def test_sigterm_ends_the_server_in_order(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    server.start()
    assert server.stop() == 0
    server.start()
    assert server.stop() == 0


def test_a_huge_body_is_refused_and_not_kept(shared_server: Server) -> None:
    def peak_kib() -> int:
        status = Path(f"/proc/{shared_server.pid}/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])

    before = peak_kib()

    def zeros() -> object:
        for _ in range(100):
            yield bytes(1024 * 1024)

    for path in ("/", "/v1/join"):
        try:
            answer = httpx.post(shared_server.url + path, content=zeros(), timeout=30)  # type: ignore[arg-type]
            assert 400 <= answer.status_code < 500 or "Error" in answer.json()["Response"]
        except httpx.TransportError:
            pass  # the connection may be closed before all of it was sent
    assert peak_kib() - before < 32 * 1024
    assert httpx.get(f"{shared_server.url}/healthz").status_code == 200


def test_doctor_finds_this_machine_fit(tmp_path: Path) -> None:
    arguments = ["--data", str(tmp_path / "d"), "--listen", f"127.0.0.1:{free_port()}"]
    done = subprocess.run([str(COMMAND), "doctor", *arguments], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "codec" in done.stdout.lower()


def test_an_idle_server_is_small(shared_server: Server) -> None:
    """The budget of the design: 200 MiB."""
    pages = int(Path(f"/proc/{shared_server.pid}/statm").read_text().split()[1])
    assert pages * resource.getpagesize() < 200 * 1024 * 1024


def test_a_host_name_is_as_good_as_its_address(tmp_path: Path) -> None:
    given = ("--data", str(tmp_path / "data"), "--listen", "localhost:0", "--media-port", "0")
    with subprocess.Popen([str(COMMAND), "serve", *given], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().removeprefix("rtcloud ready ").strip()
            assert httpx.get(f"{url}/readyz").json() == {"rooms": True, "running": True, "disk": True, "media": True}
        finally:
            process.terminate()
    assert process.returncode == 0


def test_another_master_key_or_a_broken_database_is_one_clear_line(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with Server(data):
        pass
    given = ("--data", str(data), "--listen", "127.0.0.1:0", "--media-port", "0")
    (data / "master.key").write_bytes(base64.b64encode(bytes(32)))
    done = serve(*given)
    assert is_one_clear_line(done, "master key"), done.stderr
    for file in data.glob("rtcloud.db*"):
        file.unlink()
    (data / "rtcloud.db").write_bytes(b"this is no database" * 100)
    done = serve(*given)
    assert is_one_clear_line(done, "rtcloud.db"), done.stderr
