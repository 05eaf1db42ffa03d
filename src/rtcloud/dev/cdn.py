"""``rtcloud dev cdn``: the origin as a process in the foreground, until Ctrl-C. What it wrote is removed at the end."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from rtcloud.config import parse_address
from rtcloud.dev.origin import FOLDERS, Origin, configuration, page
from rtcloud.errors import ConfigError

READY_SECONDS = 10.0
INSTALL = "sudo apt-get install nginx libnginx-mod-rtmp"

_MODULE = "ngx_rtmp_module.so"
_MODULE_FOLDERS = (
    "/usr/lib/nginx/modules",
    "/usr/lib64/nginx/modules",
    "/usr/local/nginx/modules",
    "/etc/nginx/modules",
)


def run(rtmp: str, http: str) -> int:
    """The exit status. Raises ConfigError when nginx, its module or a port cannot be had."""
    addresses = {"listen": _checked("listen", rtmp), "http": _checked("http", http)}
    for name, (host, port) in addresses.items():
        _check_free(name, host, port)
    command = nginx()
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rtcloud-cdn-")))
        origin = Origin(rtmp, http, directory)
        lay_out(origin)
        asked: list[int] = []
        stack.enter_context(_signals(asked))
        # in a group of its own: a terminal's Ctrl-C reaches us, and we end it before its directory goes
        server = subprocess.Popen([*command, "-c", str(directory / "nginx.conf")], start_new_session=True)
        stack.callback(_end, server)
        if not _wait_until_ready(server, list(addresses.values()), asked) and not asked:
            raise ConfigError("nginx did not start; it says above why")
        if not asked:
            _say_what_next(origin)
        while not asked and server.poll() is None:
            time.sleep(0.1)
        if not asked:
            print("rtcloud: nginx ended by itself", file=sys.stderr)
            return 1
    return 0


def lay_out(origin: Origin) -> None:
    """Write what nginx needs below the origin's directory."""
    module = rtmp_module()
    for name in FOLDERS:
        (origin.directory / name).mkdir(exist_ok=True)
    (origin.directory / "page" / "index.html").write_text(page(origin), encoding="utf-8")
    settings = configuration(origin, module=module, as_root=os.geteuid() == 0)
    (origin.directory / "nginx.conf").write_text(settings, encoding="utf-8")


def nginx() -> list[str]:
    """The command that runs it, without its configuration."""
    path = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))
    if path is None:
        raise ConfigError(f"nginx is not installed; on Debian and Ubuntu: {INSTALL}")
    return [path, "-e", "stderr"]


def rtmp_module() -> Path:
    for folder in _MODULE_FOLDERS:
        if (path := Path(folder) / _MODULE).exists():
            return path
    raise ConfigError(f"nginx has no RTMP module ({_MODULE}); on Debian and Ubuntu: {INSTALL}")


def _checked(name: str, address: str) -> tuple[str, int]:
    try:
        host, port = parse_address(address)
    except ConfigError:
        raise ConfigError(f"{name}: {address!r} is not HOST:PORT") from None
    if not port:
        raise ConfigError(f"{name}: port 0 cannot be pushed to; choose one")
    return host, port


def _check_free(name: str, host: str, port: int) -> None:
    """nginx would try for seconds, and say it in its own words."""
    try:
        family, _, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
    except OSError as error:
        raise ConfigError(f"{name}: {host}:{port}: {error.strerror or error}") from None


def _wait_until_ready(server: subprocess.Popen[bytes], addresses: list[tuple[str, int]], asked: list[int]) -> bool:
    deadline = time.monotonic() + READY_SECONDS
    waiting = [
        ("127.0.0.1" if host == "0.0.0.0" else "::1" if host == "::" else host, port) for host, port in addresses
    ]
    while waiting and not asked and server.poll() is None and time.monotonic() < deadline:
        try:
            socket.create_connection(waiting[0], timeout=1).close()
            waiting.pop(0)
        except OSError:
            time.sleep(0.02)
    return not waiting


@contextlib.contextmanager
def _signals(asked: list[int]) -> Iterator[None]:
    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(5)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _say_what_next(origin: Origin) -> None:
    address = origin.push_address("NAME")
    print(
        f"""\
rtcloud dev cdn ready {origin.push_address("")}

push to    {address}   (PublishCdnParams.N.PublishCdnUrl; start the server with --allow-private)
           ffmpeg -re -f lavfi -i testsrc2 -c:v libx264 -g 60 -pix_fmt yuv420p -f flv {address}
play       ffplay -fflags nobuffer {address}
           {origin.hls_address("NAME")}   (HLS, some seconds later)
streams    {origin.page_address}

Ctrl-C ends it.""",
        flush=True,
    )
