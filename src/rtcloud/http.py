"""How we serve HTTP: uvicorn inside our own event loop, on sockets we bound, with bounds on what a stranger may hold.

A connection must finish its request head within ``HEAD_SECONDS`` and ``MAX_HEAD`` bytes (a first offer rides in the
query of /rtc/v1, so the bound is generous). Signals are the caller's business.
"""

import asyncio
import contextlib
import logging
import re
import resource
import socket
import ssl
from collections.abc import Iterator
from typing import Any, ClassVar

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from rtcloud.errors import ConfigError

MAX_HEAD = 384 * 1024
HEAD_SECONDS = 20.0
MAX_MESSAGE = 512 * 1024
#: Among the scope's extensions: ends a connection at once, with what its reader did not take.
ABORT = "rtcloud.abort"
#: Open connections over which new ones are turned away with 503.
MAX_CONNECTIONS = 20_000
#: Connections without a request; and never more than half of the files that the process may open. Beyond that, the one
#: that has been idle longest is closed, so that whoever opens many and says nothing keeps nobody else out.
MAX_IDLE = 8_000

#: Java's HttpClient offers HTTP/2 with the first request of a connection. The parser takes any offer for the end of
#: HTTP/1 and would drop the body; one that is not taken up means nothing, so it is left out.
_OFFER = re.compile(rb"\r\nupgrade:[ \t]*h2c[ \t]*(?=\r\n|$)", re.IGNORECASE)

_log = logging.getLogger(__name__)


class BoundedProtocol(HttpToolsProtocol):
    _head = 0
    _head_done = False
    _is_over = False
    _idle: ClassVar[dict["BoundedProtocol", None]] = {}  # of all servers of the process, the longest idle first
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_head()
        self._begin_idling()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_timer()
        self._idle.pop(self, None)
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Also of each further request of the connection."""
        if self._head_done:
            self._head, self._head_done, self._is_over = 0, False, False
            self._expect_head()
        super().on_message_begin()
        self.scope["extensions"] = {ABORT: self.transport.abort}  # type: ignore[dict-item]  # ASGI wants a dict there

    def on_message_complete(self) -> None:
        self._is_over = True
        super().on_message_complete()

    def on_headers_complete(self) -> None:
        self._head_done = True
        self._cancel_timer()
        self._idle.pop(self, None)
        super().on_headers_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.cycle is None or self.cycle.response_complete:  # else another request was waiting
            self._begin_idling()

    def _begin_idling(self) -> None:
        if self.transport.is_closing():
            return
        self._idle.pop(self, None)
        self._idle[self] = None
        if len(self._idle) > min(MAX_IDLE, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2):
            longest = next(iter(self._idle))
            del self._idle[longest]
            longest.transport.close()

    def _expect_head(self) -> None:
        self._cancel_timer()
        self._timer = self.loop.call_later(HEAD_SECONDS, self._too_slow)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        if not self._head_done:
            self._head += len(data)
            if self._head > MAX_HEAD:
                _log.warning("request head too long")
                self.transport.close()
                return
        if b"h2c" in data and (self._is_over or not self._head_done):
            head, end, body = data.partition(b"\r\n\r\n")
            data = _OFFER.sub(b"", head) + end + body
        super().data_received(data)

    def _too_slow(self) -> None:
        if not self._head_done:
            self.transport.close()


class HttpServer(uvicorn.Server):
    """``await serve(sockets)`` until ``should_exit``."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_server(app: Any, *, graceful_seconds: int = 5, tls: ssl.SSLContext | None = None) -> HttpServer:
    return HttpServer(
        uvicorn.Config(
            app,
            loop="none",
            http=BoundedProtocol,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE,
            ws_max_queue=64,
            ws_ping_interval=None,  # the protocol has pings of its own, and who is silent is hung up on
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=MAX_CONNECTIONS,
            timeout_keep_alive=65,
            timeout_graceful_shutdown=graceful_seconds,
            ssl_context_factory=None if tls is None else lambda _config, _default: tls,
        )
    )


def bind(host: str, port: int, key: str = "listen") -> socket.socket:
    """A listening TCP socket. ConfigError, which names ``key``, when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    server = socket.socket(family, socket.SOCK_STREAM)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        server.bind((host, port))
    except OSError as error:
        server.close()
        raise ConfigError(f"{key}: {host}:{port}: {error.strerror or error}") from error
    server.listen(2048)
    server.setblocking(False)
    return server
