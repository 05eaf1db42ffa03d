"""One connection for many calls: what is answered, in which version of HTTP, says whether it stays open."""

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from typing import Any

import pytest

from rtcloud.gateway.server import GatewaySettings
from tests.kit.api import Api, serve_api
from tests.kit.raw_requests import Caller

pytestmark = pytest.mark.e2e

NOT_OPEN = "FailedOperation.RoomNotExist"


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with serve_api(GatewaySettings(per_second={"*": 0})) as served:
        yield served


class Connection:
    """Sends requests that are bytes already, and never opens a second connection."""

    def __init__(self, api: Api) -> None:
        self._connection = HTTPConnection(api.endpoint, timeout=20)
        self._connection.connect()
        self.socket: socket.socket = self._connection.sock

    def ask(self, request: bytes) -> HTTPResponse:
        self.socket.sendall(request)
        response = HTTPResponse(self.socket, method=request.split(b" ", 1)[0].decode())
        response.begin()
        return response

    def code(self, request: bytes) -> str:
        response = self.ask(request)
        assert response.status == 200
        return code_in(response.read())

    def is_closed(self) -> bool:
        return self.socket.recv(1) == b""

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def connection(api: Api) -> Iterator[Connection]:
    opened = Connection(api)
    yield opened
    opened.close()


def code_in(body: bytes) -> str:
    answer: dict[str, Any] = json.loads(body)["Response"]
    return str(answer["Error"]["Code"])


def caller(api: Api) -> Caller:
    return Caller(api.credentials.secret_id, api.credentials.secret_key, api.endpoint)


def dismiss(api: Api) -> bytes:
    return caller(api).tc3("DismissRoom", {"SdkAppId": api.credentials.sdk_app_id, "RoomId": 7})


def with_header(request: bytes, line: bytes) -> bytes:
    return request.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1)


def test_a_connection_outlives_every_kind_of_call_and_refusal(api: Api, connection: Connection) -> None:
    by, parameters = caller(api), {"SdkAppId": api.credentials.sdk_app_id, "RoomId": 7}
    stranger = Caller("AKID" + "a" * 32, "key", api.endpoint)
    calls = [
        (by.tc3("DismissRoom", parameters), NOT_OPEN),
        (by.tc3_get("DismissRoom", parameters), NOT_OPEN),
        (by.tc3_multipart("DismissRoom", parameters), NOT_OPEN),
        (by.v1("DismissRoom", parameters), NOT_OPEN),
        (by.v1("DismissRoom", parameters, method="GET"), NOT_OPEN),
        (by.tc3("DismissRoom", b"{"), "InvalidParameter"),
        (by.tc3("DismissRoom", b" " * 20_000 + b"{}"), "MissingParameter.SdkAppId"),
        (by.tc3("NoSuch"), "InvalidAction"),
        (by.tc3("DismissRoom", parameters, content_type="text/plain"), "UnsupportedProtocol"),
        (by.tc3("DismissRoom", parameters, changes={"authorization": "x"}), "AuthFailure.InvalidAuthorization"),
        (stranger.tc3("DismissRoom", b" " * 300_000), "AuthFailure.SecretIdNotFound"),  # its body is not kept
        (stranger.v1("DismissRoom", parameters), "AuthFailure.SecretIdNotFound"),
        (by.tc3("DismissRoom", b" " * (10 * 1024 * 1024 + 1)), "RequestSizeLimitExceeded"),
    ]
    for request, code in [*calls, *reversed(calls[:3]), (dismiss(api), NOT_OPEN)]:
        assert connection.code(request) == code


def test_an_answer_to_head_has_no_body_and_the_connection_goes_on(api: Api, connection: Connection) -> None:
    response = connection.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (response.status, response.read()) == (200, b"")
    assert int(response.headers["Content-Length"]) > 0
    assert connection.code(dismiss(api)) == NOT_OPEN


def test_a_client_may_ask_for_the_end_of_the_connection(api: Api, connection: Connection) -> None:
    assert connection.code(with_header(dismiss(api), b"Connection: close")) == NOT_OPEN
    assert connection.is_closed()


@pytest.mark.parametrize("line", [b"X-Nothing: 1", b"Connection: keep-alive"])
def test_http_1_0_is_answered_and_ended(api: Api, connection: Connection, line: bytes) -> None:
    request = with_header(dismiss(api), line).replace(b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", 1)
    response = connection.ask(request)
    assert (response.headers["Connection"], code_in(response.read())) == ("close", NOT_OPEN)
    assert connection.is_closed()


def test_names_of_headers_are_of_any_case(api: Api, connection: Connection) -> None:
    head, end, body = dismiss(api).partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    for change in (bytes.upper, bytes.title):
        named = [change(name) + b":" + value for name, _, value in (line.partition(b":") for line in lines)]
        assert connection.code(b"\r\n".join([first, *named]) + end + body) == NOT_OPEN


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(api: Api, connection: Connection) -> None:
    """As curl does with bodies of more than a kilobyte or so."""
    head, end, body = with_header(dismiss(api), b"Expect: 100-continue").partition(b"\r\n\r\n")
    connection.socket.sendall(head + end)
    assert connection.socket.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert connection.code(body) == NOT_OPEN
    assert connection.code(dismiss(api)) == NOT_OPEN


def test_a_client_that_asks_and_is_refused_need_not_send(api: Api, connection: Connection) -> None:
    """Whether it sends all the same cannot be known, so the connection ends."""
    by = Caller("AKID" + "a" * 32, "key", api.endpoint)
    request = with_header(by.tc3("DismissRoom", b" " * 5_000_000), b"Expect: 100-continue")
    head, end, _ = request.partition(b"\r\n\r\n")
    assert connection.code(head + end) == "AuthFailure.SecretIdNotFound"
    assert connection.is_closed()
