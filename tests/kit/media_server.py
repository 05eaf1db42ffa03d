"""An HTTP server of files, with ranges, and with the faults that servers of media have.

``Site`` serves a directory under ``url``. A path may be made faulty: ``Fault`` says how, for how many requests.
"""

import contextlib
import re
import socket
import ssl
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

CHUNK = 16 << 10
#: of an endless answer, before the test is the one that hangs
MOST = 64 << 20


@dataclass
class Fault:
    """``status`` instead of the file; ``redirect`` to there; ``dies_at``: the connection breaks behind so many bytes of
    the file; ``rate``: bytes a second; ``head``: so many bytes of header; ``stops_at``: nothing comes behind so many;
    ``lasts``: for so many requests."""

    status: int = 0
    redirect: str = ""
    dies_at: int | None = None
    stops_at: int | None = None
    rate: int | None = None
    head: int = 0
    lasts: int = 1_000_000


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, *about: Any) -> None:
        self.connections: set[socket.socket] = set()
        super().__init__(*about)

    def process_request(self, request: Any, client_address: Any) -> None:
        self.connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away are no news."""


class Site:
    """``ranges``: whether parts can be asked for; ``sized``: whether lengths are said."""

    def __init__(
        self, directory: Path, *, ranges: bool = True, sized: bool = True, certificate: tuple[Path, Path] | None = None
    ) -> None:
        self.directory = directory
        self.ranges, self.sized = ranges, sized
        self.faults: dict[str, Fault] = {}
        self.requests: list[tuple[str, str]] = []  # path, range
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                try:
                    site.answer(self)
                except OSError:
                    self.close_connection = True

        self._handler = Handler
        self._certificate = certificate
        self._server: _Server | None = None
        self.port = 0
        self.start()

    def __enter__(self) -> "Site":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Again on the same port after ``stop``."""
        self._server = _Server(("127.0.0.1", self.port), self._handler)
        self.port = self._server.server_port
        if self._certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self._certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """With every connection."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()
            for connection in list(server.connections):
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def url(self, name: str) -> str:
        return f"{'https' if self._certificate else 'http'}://127.0.0.1:{self.port}/{name}"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0].lstrip("/")
        asked = request.headers.get("Range", "")
        self.requests.append((path, asked))
        fault = self.faults.get(path, Fault())
        if fault.lasts <= 0:
            fault = Fault()
        fault.lasts -= 1
        if fault.redirect:
            return _head(request, 302, Location=fault.redirect, Content_Length="0")
        file = self.directory / path
        if fault.status or not file.is_file():
            return _head(request, fault.status or 404, Content_Length="0")
        if fault.head:
            request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Large: ")
            for _ in range(min(fault.head, MOST) // CHUNK):
                request.wfile.write(b"a" * CHUNK)
            return None
        size = file.stat().st_size
        found = re.fullmatch(r"bytes=(\d+)-(\d*)", asked)
        begin = int(found[1]) if found and self.ranges else 0
        end = min(size, int(found[2]) + 1) if found and found[2] and self.ranges else size
        if begin >= size:
            return _head(request, 416, Content_Length="0")
        self._send(request, file, (begin, end), size, fault, is_part=found is not None and self.ranges)
        return None

    def _send(
        self,
        request: BaseHTTPRequestHandler,
        file: Path,
        part: tuple[int, int],
        size: int,
        fault: Fault,
        *,
        is_part: bool,
    ) -> None:
        begin, end = part
        if is_part:
            _head(request, 206, Content_Range=f"bytes {begin}-{end - 1}/{size}", Content_Length=str(end - begin))
        elif self.sized:
            _head(request, 200, Content_Length=str(size))
        else:
            request.close_connection = True
            _head(request, 200, Connection="close")
        at = begin
        with file.open("rb") as source:
            source.seek(begin)
            chunk = CHUNK if fault.rate is None else max(1, min(CHUNK, fault.rate // 20))
            while data := source.read(min(chunk, end - at)):
                if fault.dies_at is not None and at + len(data) > fault.dies_at:
                    request.close_connection = True
                    request.connection.close()
                    return
                if fault.stops_at is not None and at + len(data) > fault.stops_at:
                    while request.connection.recv(1):
                        pass
                request.wfile.write(data)
                at += len(data)
                if fault.rate is not None:
                    time.sleep(len(data) / fault.rate)


def _head(request: BaseHTTPRequestHandler, status: int, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.end_headers()
