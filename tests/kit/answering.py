"""A server that gives one prepared answer to each request, however wrong: for what comes from the network."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from typing import Self

Answer = Callable[[socket.socket, bytes], None]


class Answering:
    """``with Answering(answer) as server:``. ``answer`` gets the connection and the head of the request, whose body was
    read. ``heads`` are those that came."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self.heads: list[bytes] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)  # wakes who accepts
        self._server.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(10)
            head, _, body = b"", b"", b""
            while b"\r\n\r\n" not in head:
                head += connection.recv(65_536)
            head, _, body = head.partition(b"\r\n\r\n")
            self.heads.append(head)
            length = next((int(v) for n, _, v in fields(head) if n == b"content-length"), 0)
            while len(body) < length:
                body += connection.recv(65_536)
            self._answer(connection, head)


def fields(head: bytes) -> list[tuple[bytes, bytes, bytes]]:
    lines = [line.partition(b":") for line in head.split(b"\r\n")[1:]]
    return [(name.lower(), colon, value.strip()) for name, colon, value in lines]


def saying(status: str, body: str = "", **headers: str) -> Answer:
    """An answer in HTTP; of a header, ``_`` stands for ``-``."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    if "content_length" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    whole = "\r\n".join([*lines, "Connection: close", "", body]).encode()
    return lambda connection, _: connection.sendall(whole)


def resetting(connection: socket.socket, _head: bytes) -> None:
    """As if the cable of a mighty router was pulled."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def talking(words: bytes) -> Answer:
    return lambda connection, _: connection.sendall(words)
