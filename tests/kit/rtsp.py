"""A small RTSP server: plays a file for ever, over TCP, to one client after the other. FFmpeg makes the RTP packets."""

import contextlib
import re
import select
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.kit.waiting import wait_until


class Rtsp:
    """``redirect``: a client that asks what there is, is sent there."""

    def __init__(self, file: Path, directory: Path, *, redirect: str = "") -> None:
        self._file, self._directory = file, directory
        self._redirect = redirect
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        self.url = f"rtsp://127.0.0.1:{self.port}/camera"
        self.requests: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "Rtsp":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                with connection, contextlib.suppress(OSError):
                    self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        with self._sources() as (sdp, sockets):
            plays, unread = False, b""
            while not self._stopped.is_set():
                readable, _, _ = select.select([connection, *(sockets if plays else [])], [], [], 0.1)
                for ready in readable:
                    if ready is not connection:
                        channel = 2 * sockets.index(ready)
                        packet = ready.recv(65536)
                        connection.sendall(b"$" + bytes([channel]) + len(packet).to_bytes(2, "big") + packet)
                        continue
                    if not (data := connection.recv(65536)):
                        return
                    *requests, unread = (unread + data).split(b"\r\n\r\n")
                    for request in requests:
                        plays |= self._answer(connection, request.decode("latin-1"), sdp)

    def _answer(self, connection: socket.socket, request: str, sdp: str) -> bool:
        if (found := re.search(r"([A-Z_]+) \S+ RTSP/1.0", request)) is None:
            return False
        method = found[1]
        self.requests.append(method)
        sequence = re.search(r"CSeq: *(\d+)", request)
        head, body = [f"CSeq: {sequence[1] if sequence else 0}", "Session: 1"], ""
        status = "200 OK"
        if method == "OPTIONS":
            head.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif method == "DESCRIBE" and self._redirect:
            status = "302 Found"
            head.append(f"Location: {self._redirect}")
        elif method == "DESCRIBE":
            body = sdp
            head += ["Content-Type: application/sdp", f"Content-Length: {len(body)}"]
        elif method == "SETUP":
            transport = re.search(r"Transport: *(\S+)", request)
            head.append(f"Transport: {transport[1] if transport else ''}")
        connection.sendall("\r\n".join([f"RTSP/1.0 {status}", *head, "", body]).encode())
        return method == "PLAY"

    @contextlib.contextmanager
    def _sources(self) -> Iterator[tuple[str, list[socket.socket]]]:
        sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
        with contextlib.ExitStack() as held:
            for each in sockets:
                held.enter_context(each)
                each.bind(("127.0.0.1", 0))
                each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
            places = [f"rtp://127.0.0.1:{each.getsockname()[1]}" for each in sockets]
            described = self._directory / "camera.sdp"
            described.unlink(missing_ok=True)
            command = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(self._file)]
            command += ["-map", "0:v", "-c", "copy", "-f", "rtp", places[0]]
            command += ["-map", "0:a", "-c", "copy", "-f", "rtp", places[1], "-sdp_file", str(described)]
            process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            held.callback(process.wait)
            held.callback(process.kill)
            wait_until(lambda: described.exists() and described.read_text().count("m=") == 2, "FFmpeg plays")
            yield _controlled(described.read_text()), sockets


def _controlled(sdp: str) -> str:
    """With a name for each stream, and no ports."""
    streams = iter(range(9))
    lines = [line for line in sdp.replace("\r", "").split("\n") if line and not line.startswith("SDP:")]
    lines = [re.sub(r"^(m=\w+) \d+", r"\1 0", line) for line in lines]
    found = [
        f"{line}\r\na=control:stream={next(streams)}" if line.startswith("m=") else line
        for line in lines
        if not line.startswith("a=control")
    ]
    return "\r\n".join(found) + "\r\n"
