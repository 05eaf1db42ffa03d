"""HTTPS as an option of the server: API, join, signalling and recording work, and a renewed certificate is taken."""

import signal
import ssl
import subprocess
from pathlib import Path

import httpx
import pytest
from cryptography import x509

from tests.kit.certificates import write_certificate
from tests.kit.cloud import Cloud
from tests.kit.server import COMMAND, Server
from tests.kit.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp")]


def served_serial(server: Server) -> int:
    pem = ssl.get_server_certificate(("127.0.0.1", server.port))
    return x509.load_pem_x509_certificate(pem.encode()).serial_number


@pytest.fixture
def secure(tmp_path: Path) -> Server:
    chain, private = write_certificate(tmp_path, 1)
    return Server(tmp_path / "data", "--tls-cert", str(chain), "--tls-key", str(private), scheme="https")


def test_api_join_and_recording_work_over_https(secure: Server, tmp_path: Path) -> None:
    with secure as server:
        cloud = Cloud(server, trust=str(tmp_path / "fullchain.pem"))
        trust = ssl.create_default_context(cafile=str(tmp_path / "fullchain.pem"))
        joined = httpx.post(f"{server.url}/v1/join", json=server.join_body("alice", 7), verify=trust, timeout=10).json()
        assert joined["url"] == f"wss://127.0.0.1:{server.port}"
        assert httpx.get(f"{server.url}/healthz", verify=trust).status_code == 200
        task_id = cloud.start_recording(7)
        # The robot is a process of its own that joins by the server's signalling.
        wait_until(lambda: cloud.describe_recording(task_id)["Status"] == "InProgress", "the robot joins", 20)
        cloud.stop_recording(task_id)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{server.port}/healthz", timeout=5)


def test_renewed_certificate_is_taken_on_sighup(secure: Server, tmp_path: Path) -> None:
    with secure as server:
        assert served_serial(server) == 1
        write_certificate(tmp_path, 2)
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: served_serial(server) == 2, "the new certificate is served", 5)

        (tmp_path / "privkey.pem").write_text("not a key")
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the certificate was not reloaded" in server.tail(), "the refusal is logged", 5)
        assert served_serial(server) == 2


@pytest.mark.parametrize(
    ("chain", "key", "said"),
    [
        ("absent.pem", "privkey.pem", "No such file"),
        ("fullchain.pem", "fullchain.pem", "not a certificate and its key"),
        ("fullchain.pem", "", "HTTPS needs both"),
    ],
)
def test_unusable_certificate_stops_the_start_with_one_line(tmp_path: Path, chain: str, key: str, said: str) -> None:
    write_certificate(tmp_path, 1)
    options = ["--tls-cert", str(tmp_path / chain), "--tls-key", str(tmp_path / key) if key else ""]
    done = subprocess.run(
        [str(COMMAND), "serve", "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0", *options],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
