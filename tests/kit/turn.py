"""coturn, a TURN server, as its documentation has it for credentials that hold for a while (``use-auth-secret``)."""

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kit.ports import accepts, free_port
from tests.kit.waiting import wait_until


@dataclass(frozen=True)
class Turn:
    host: str
    port: int
    secret: str
    log: Path

    def url(self, transport: str = "udp") -> str:
        return f"turn:{self.host}:{self.port}?transport={transport}"


@contextlib.contextmanager
def coturn(host: str = "127.0.0.1", relay: str = "127.0.0.1") -> Iterator[Turn]:
    """Listens at ``host``, by UDP and TCP, and relays from ``relay``, also to this machine itself."""
    program = shutil.which("turnserver")
    assert program, "`turnserver` was not found: run `make setup`, or install coturn"
    with tempfile.TemporaryDirectory(prefix="turn-") as folder:
        turn = Turn(host, free_port(), "a secret of the two", Path(folder) / "log")
        with turn.log.open("wb") as log:
            process = subprocess.Popen(
                [
                    *(program, "-n", "--no-cli", "--no-tls", "--no-dtls", "--no-stdout-log", "--log-file=stdout"),
                    *("--listening-ip", host, "--listening-port", str(turn.port), "--relay-ip", relay),
                    *("--use-auth-secret", "--static-auth-secret", turn.secret, "--realm", "rtcloud.test"),
                    *("--allow-loopback-peers", "--verbose"),
                    *("--userdb", f"{folder}/users", "--pidfile", f"{folder}/pid"),
                ],
                stdout=log,
                stderr=log,
                cwd=folder,
            )
            try:
                wait_until(lambda: accepts(turn.port, host), "coturn accepts connections", seen=turn.log.read_text)
                yield turn
            finally:
                process.kill()
                process.wait()
