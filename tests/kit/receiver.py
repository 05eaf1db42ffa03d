"""A customer's callback server: checks each signature, remembers bodies in the order they came, and can be down."""

import base64
import contextlib
import hmac
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from tests.kit.ports import free_port
from tests.kit.waiting import eventually, wait_until

KEY = "a1B2c3D4e5F6a7B8c9D0e1F2a3B4c5D6"


@dataclass(frozen=True)
class Received:
    at: float  # Unix seconds
    headers: dict[str, str]
    raw: bytes
    body: dict[str, Any]
    signed: bool  # the Sign header is the signature of exactly these bytes

    @property
    def type(self) -> int:
        return int(self.body["EventType"])

    @property
    def info(self) -> dict[str, Any]:
        info = self.body["EventInfo"]
        assert isinstance(info, dict)
        return info

    @property
    def user_id(self) -> str:
        return str(self.info.get("UserId", ""))

    @property
    def payload(self) -> dict[str, Any]:
        payload = self.info["Payload"]
        assert isinstance(payload, dict)
        return payload


Wanted = Callable[[Received], bool]


def check_sign(key: str, body: str, sign: str) -> bool:
    """The documents' sample for Python (``checkSign``), its cut line made whole, without what it prints."""
    computSign = base64.b64encode(hmac.new(key.encode("utf-8"), body.encode("utf-8"), sha256).digest())
    return computSign == sign.encode("utf-8")


class Receiver:
    """Answers 200 while up, ``delay_s`` after it took the event; while down nothing listens on its port."""

    def __init__(self, key: str = KEY) -> None:
        self.key = key
        self.delay_s = 0.0
        self.received: list[Received] = []
        self._server: ThreadingHTTPServer | None = None
        self._thread: threading.Thread | None = None
        self._port = free_port()

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/callbacks"

    def up(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                receiver._take({name.lower(): value for name, value in self.headers.items()}, raw)
                time.sleep(receiver.delay_s)
                answer = b'{"code":0}'
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):  # a killed server waits for no answer
                    super().handle()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", self._port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def down(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
        self._server = self._thread = None

    def of(self, event_type: int, where: Wanted = lambda _: True) -> list[Received]:
        return [each for each in self.received if each.type == event_type and where(each)]

    def types(self) -> list[int]:
        return [each.type for each in self.received]

    def wait_for(self, event_type: int, where: Wanted = lambda _: True, within: float = 15.0) -> Received:
        return wait_until(lambda: self.of(event_type, where), f"callback {event_type}", within, self.types)[0]

    async def expect(self, event_type: int, where: Wanted = lambda _: True, within: float = 15.0) -> Received:
        async def found() -> list[Received]:
            return self.of(event_type, where)

        return (await eventually(found, f"callback {event_type}", within, self.types))[0]

    def _take(self, headers: dict[str, str], raw: bytes) -> None:
        signed = check_sign(self.key, raw.decode(), headers.get("sign", ""))
        self.received.append(Received(time.time(), headers, raw, json.loads(raw), signed))
