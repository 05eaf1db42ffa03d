"""Both ends of ``DIR/admin.sock``: HTTP over a Unix socket that only the owner may open (0600)."""

import logging
import os
import socket
from pathlib import Path

import httpx
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from rtcloud.admin.command import AdminError, Command, FailedError, Site
from rtcloud.admin.commands import decode, perform
from rtcloud.errors import ConfigError

NAME = "admin.sock"
MAX_BODY = 1 << 20
#: Linux limits the path of a Unix socket to 108 bytes.
MAX_PATH = 107

_log = logging.getLogger(__name__)


def listen(directory: Path) -> socket.socket:
    """The caller holds the directory's lock, so a socket file that is there is a leftover."""
    path = directory / NAME
    server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    target = _reachable(path)
    before = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        server.bind(target)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    server.listen(16)
    return server


def application(site: Site) -> Starlette:
    async def answer(request: Request) -> Response:
        raw = await request.body()
        if len(raw) > MAX_BODY:
            return _json({"error": "request too long"}, 413)
        try:
            command = decode(raw)
            result = await perform(command, site)
            _log.info("an administrator's command", extra={"command": " ".join(command.words())})
            return _json({"result": result}, 200)
        except AdminError as error:
            return _json({"error": str(error)}, 400)
        except Exception as error:
            _log.exception("an administrator's command failed")
            return _json({"error": f"the server failed ({type(error).__name__}); its log says more"}, 500)

    return Starlette(routes=[Route("/", answer, methods=["POST"])])


def ask(directory: Path, command: Command) -> object:
    """Ask the running server. Raises AdminError with its reason, ConnectionError when none runs."""
    path = directory / NAME
    if not os.path.exists(path):
        raise ConnectionError(f"{path}: there is no such socket")
    transport = httpx.HTTPTransport(uds=_reachable(path))
    try:
        with httpx.Client(transport=transport, timeout=30, trust_env=False) as client:
            response = client.post("http://admin/", content=msgspec.json.encode(command))
    except httpx.TransportError as error:
        raise ConnectionError(str(error)) from error
    body = response.json()
    if response.status_code != 200:
        raise (FailedError if response.status_code >= 500 else AdminError)(body["error"])
    return body["result"]


def _reachable(path: Path) -> str:
    """A long path is shortened by way of the working directory."""
    text = str(path.resolve())
    if len(os.fsencode(text)) > MAX_PATH:
        text = os.path.relpath(text)
    if len(os.fsencode(text)) > MAX_PATH:
        raise ConfigError(f"{path}: the path is too long for a Unix socket; choose a shorter data directory")
    return text


def _json(content: object, status: int) -> Response:
    return Response(msgspec.json.encode(content), status, media_type="application/json")
