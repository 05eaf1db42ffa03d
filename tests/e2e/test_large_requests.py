"""Large and malformed requests over real sockets: refused with an answer, and the server's memory does not grow."""

import http.client
import json
import resource
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kit.api import Api, serve_api

pytestmark = pytest.mark.e2e

CHUNK = b"x" * 65_536
HUNDRED_MB = 100 * 1024 * 1024
MEBIBYTES = 1024  # of ru_maxrss


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with serve_api() as served:
        yield served


def post(api: Api, body: Any, **headers: str) -> str:
    connection = http.client.HTTPConnection(api.endpoint, timeout=30)
    try:
        connection.request("POST", "/", body, headers={"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        assert answer.status == 200
        return str(json.loads(answer.read())["Response"]["Error"]["Code"])
    finally:
        connection.close()


def hundred_megabytes() -> Iterator[bytes]:
    return (CHUNK for _ in range(HUNDRED_MB // len(CHUNK)))


def authorized(api: Api) -> dict[str, str]:
    """A caller that exists, at the right time; the signature is wrong, which is found only with the whole body."""
    seconds = int(time.time())
    date = time.strftime("%Y-%m-%d", time.gmtime(seconds))
    credential = f"{api.credentials.secret_id}/{date}/trtc/tc3_request"
    header = f"TC3-HMAC-SHA256 Credential={credential}, SignedHeaders=content-type;host, Signature={'0' * 64}"
    return {"Authorization": header, "X-TC-Timestamp": str(seconds), "X-TC-Action": "RemoveUser"}


def test_hundred_megabytes_are_refused_without_being_kept(api: Api) -> None:
    known = authorized(api)
    assert post(api, CHUNK, **known) == "AuthFailure.SignatureFailure"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert post(api, hundred_megabytes(), **known, **{"Content-Length": str(HUNDRED_MB)}) == "RequestSizeLimitExceeded"
    assert post(api, hundred_megabytes(), **known) == "RequestSizeLimitExceeded"  # chunked, of unknown length
    assert post(api, hundred_megabytes()) == "AuthFailure.InvalidAuthorization"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // MEBIBYTES
    assert grown < 40, f"{grown} MiB more"


def test_server_answers_on_after_broken_requests(api: Api) -> None:
    host, port = api.endpoint.split(":")
    for raw in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
        b"POST / HTTP/9.9\r\n\r\n",
        b"A" * 2_000_000,
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            try:
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass
            except TimeoutError:
                raise
            except OSError:
                pass  # cut off, as it deserves
    assert post(api, b"{}") == "AuthFailure.InvalidAuthorization"
