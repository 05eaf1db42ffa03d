"""Whatever comes over the API's socket: garbage, huge heads, bodies that are slow or not as long as they say, several
requests at once. Each request gets an envelope or HTTP's own refusal, never a 5xx, and the server answers on.
"""

import json
import logging
import random
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtcloud.gateway import bodies
from rtcloud.gateway.guard import GuardSettings
from rtcloud.gateway.server import GatewaySettings
from tests.kit.api import Api, serve_api
from tests.kit.raw_requests import FORM, Caller, raw

pytestmark = pytest.mark.e2e

WAIT_S = 20.0
REFUSALS = {400, 403, 404, 405, 413, 431}  # of HTTP itself, for what is no request to the API
many = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    generous = GuardSettings(failures_per_second=1_000_000)
    with serve_api(GatewaySettings(per_second={"*": 0}, guard=generous)) as served:
        yield served


@pytest.fixture(autouse=True)
def nothing_goes_wrong_inside(api: Api, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """After each test the server still answers, and it logged no error meanwhile."""
    caplog.set_level(logging.ERROR)
    yield
    assert code_of(api, good(api)) == "FailedOperation.RoomNotExist"
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def caller(api: Api) -> Caller:
    return Caller(api.credentials.secret_id, api.credentials.secret_key, api.endpoint)


def good(api: Api, room: int = 4_294_967_294) -> bytes:
    parameters = {"SdkAppId": api.credentials.sdk_app_id, "RoomId": room, "UserIds": ["u"]}
    return caller(api).tc3("RemoveUser", parameters)


def connect(api: Api) -> socket.socket:
    host, port = api.endpoint.split(":")
    return socket.create_connection((host, int(port)), timeout=WAIT_S)


Answer = tuple[int, bytes]  # status and body


def exchange(api: Api, *parts: bytes, count: int | None, pause_s: float = 0.0) -> list[Answer]:
    """``count`` answers; or None: what is answered until the server closes, once we have nothing more to say."""
    received = b""
    with connect(api) as connection:
        try:
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
            if count is None:
                connection.shutdown(socket.SHUT_WR)
            while count is None or len(whole_answers(received)) < count:
                data = connection.recv(65_536)
                if not data:
                    break
                received += data
        except TimeoutError:
            raise
        except OSError:
            pass  # cut off: it may be, once it is no request
    return whole_answers(received)


def whole_answers(received: bytes) -> list[Answer]:
    answers: list[Answer] = []
    while True:
        head, end, rest = received.partition(b"\r\n\r\n")
        if not end:
            return answers
        status = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
        assert status, head[:200]
        length = re.search(rb"\r\ncontent-length: (\d+)", head.lower())
        size = int(length[1]) if length else len(rest)
        if len(rest) < size:
            return answers
        answers.append((int(status[1]), rest[:size]))
        received = rest[size:]


def codes_of(answers: list[Answer]) -> list[str]:
    """The code of each answer: "" for success, a number for a refusal that is HTTP's own."""
    codes = []
    for status, body in answers:
        if status != 200:
            assert status in REFUSALS, (status, body)
            codes.append(str(status))
            continue
        response = json.loads(body)["Response"]
        assert response["RequestId"]
        codes.append(response.get("Error", {}).get("Code", ""))
    return codes


def code_of(api: Api, *parts: bytes, pause_s: float = 0.0) -> str:
    """Of the one answer to one request."""
    (code,) = codes_of(exchange(api, *parts, count=1, pause_s=pause_s))
    return code


@many
@given(st.binary(max_size=2_000))
def test_garbage_gets_no_5xx(api: Api, data: bytes) -> None:
    assert "InternalError" not in codes_of(exchange(api, data, count=None))


@many
@given(st.integers(0, 2**64), st.sampled_from(["tc3", "get", "multipart", "v1", "v1 get"]))
def test_damaged_requests_get_no_5xx(api: Api, seed: int, form: str) -> None:
    chance = random.Random(seed)
    by, parameters = caller(api), {"SdkAppId": api.credentials.sdk_app_id, "RoomId": 7, "UserIds.0": "王"}
    made = {
        "tc3": lambda: by.tc3("RemoveUser", parameters),
        "get": lambda: by.tc3_get("RemoveUser", parameters),
        "multipart": lambda: by.tc3_multipart("RemoveUser", parameters),
        "v1": lambda: by.v1("RemoveUser", parameters),
        "v1 get": lambda: by.v1("RemoveUser", parameters, method="GET"),
    }[form]()
    damaged = bytearray(made)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(damaged))
        match chance.randrange(4):
            case 0:
                damaged[at] = chance.randrange(256)
            case 1:
                del damaged[at : at + chance.randint(1, 40)]
            case 2:
                damaged[at:at] = chance.randbytes(chance.randint(1, 40))
            case 3:
                damaged[at:at] = damaged[at : at + chance.randint(1, 200)]
    assert "InternalError" not in codes_of(exchange(api, bytes(damaged), count=None))


@pytest.mark.parametrize(
    ("head", "codes"),
    [
        (b"X-Long: " + b"a" * 300_000, [["AuthFailure.InvalidAuthorization"]]),
        (b"X-Long: " + b"a" * 600_000, [[], ["400"], ["431"]]),
        (b"\r\n".join(b"X-%d: a" % number for number in range(20_000)), [["InvalidRequest"]]),
        (b"Authorization: TC3-HMAC-SHA256 " + b"Credential=" * 20_000, [["AuthFailure.InvalidAuthorization"]]),
        (b"Authorization: " + b"h;" * 50_000, [["AuthFailure.InvalidAuthorization"]]),
    ],
)
def test_huge_heads_are_bounded(api: Api, head: bytes, codes: list[list[str]]) -> None:
    request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 0\r\n" + head
    assert codes_of(exchange(api, request + b"\r\n\r\n", count=1)) in codes


def test_pipelined_requests_are_answered_in_order(api: Api) -> None:
    application = api.credentials.sdk_app_id
    requests = {
        good(api): "FailedOperation.RoomNotExist",
        caller(api).tc3("NoSuchAction", {}): "InvalidAction",
        caller(api).tc3_get("DismissRoom", {"SdkAppId": application}): "MissingParameter.RoomId",
        caller(api).v1("RemoveUser", {"SdkAppId": application, "RoomId": 7, "Colour": 1}): "UnknownParameter",
    }
    twice = [*requests, *list(requests)[:3]]
    answers = exchange(api, b"".join(twice), count=len(twice))
    assert codes_of(answers) == [requests[request] for request in twice]
    assert len({json.loads(body)["Response"]["RequestId"] for _, body in answers}) == len(twice)


def test_body_in_many_small_pieces_is_whole(api: Api) -> None:
    head, end, body = good(api).partition(b"\r\n\r\n")
    pieces = [bytes([byte]) for byte in body]
    assert code_of(api, head + end, *pieces, pause_s=0.001) == "FailedOperation.RoomNotExist"


def test_an_offer_of_http_2_changes_nothing(api: Api) -> None:
    """As Java's HttpClient makes it."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\nHost:"
    request = good(api)
    assert b"\r\nhost:" in request
    offering = request.replace(b"\r\nhost:", b"\r\n" + offer, 1)
    answers = exchange(api, offering + request, count=2)
    assert codes_of(answers) == ["FailedOperation.RoomNotExist"] * 2
    head, end, body = offering.partition(b"\r\n\r\n")
    answers = exchange(api, head + end, body, head + end, body, count=2, pause_s=0.05)
    assert codes_of(answers) == ["FailedOperation.RoomNotExist"] * 2
    application = api.credentials.sdk_app_id
    said = caller(api).tc3("DismissRoom", {"SdkAppId": application, "RoomId": 7, "X": "\r\nUpgrade: h2c\r\n"})
    assert code_of(api, said) == "UnknownParameter"


def test_chunked_body_is_understood(api: Api) -> None:
    head, _, body = good(api).partition(b"\r\n\r\n")
    head = re.sub(rb"content-length: \d+", b"transfer-encoding: chunked", head)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(body[at : at + 7]), body[at : at + 7]) for at in range(0, len(body), 7))
    assert code_of(api, head + b"\r\n\r\n" + chunks + b"0\r\n\r\n") == "FailedOperation.RoomNotExist"


def test_body_that_never_ends_is_not_waited_for(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "READ_SECONDS", 0.3)
    monkeypatch.setattr(bodies, "DISCARD_SECONDS", 0.3)
    request = good(api)
    began = time.monotonic()
    assert code_of(api, request[:-5]) == "InvalidParameter"
    assert time.monotonic() - began < WAIT_S / 2


def test_body_is_as_long_as_it_says(api: Api) -> None:
    """More than announced is the next request, and no good one; less is waited for, until the other side ends."""
    request = good(api)
    announced = re.search(rb"content-length: (\d+)", request)
    assert announced
    size = int(announced[1])

    def saying(length: object) -> bytes:
        return request.replace(announced[0], f"content-length: {length}".encode())

    def codes(length: object) -> list[str]:
        return codes_of(exchange(api, saying(length), count=None))

    allowed: list[list[str]] = [[], ["400"], ["AuthFailure.SignatureFailure"], ["AuthFailure.SignatureFailure", "400"]]
    assert codes(size - 1) in allowed
    assert codes(size + 1) == []  # nobody is left to answer
    for nonsense in (-1, "1e3", "0x20", "", "9" * 400, f"{size}, {size}", f"{size}\r\ncontent-length: 1"):
        assert codes(nonsense) in [*allowed, ["RequestSizeLimitExceeded"]], nonsense


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "PROPFIND"])
def test_other_methods_get_an_envelope(api: Api, method: str) -> None:
    request = raw(method, "/", {"host": "x", "content-length": "0"}, b"")
    if method != "HEAD":
        assert code_of(api, request) == "UnsupportedProtocol"
        return
    with connect(api) as connection:  # its answer says how long it would be, and is not sent
        connection.sendall(request)
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")


def test_half_closed_and_broken_off_connections_leave_nothing_behind(api: Api) -> None:
    request = good(api)
    before = threading.active_count()
    for cut in range(1, len(request), 7):
        with connect(api) as connection:
            connection.sendall(request[:cut])
            if cut % 2:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")  # reset
    assert threading.active_count() <= before + 8


def test_repeated_and_odd_parameters_are_named(api: Api) -> None:
    for form, code in {
        "Action=RemoveUser&Action=RemoveUser": "InvalidParameter",
        "=x": "InvalidParameter",
        "%FF=x": "InvalidParameter",
        "Action=%FF": "InvalidParameter",
        "&".join(f"{number:x}=" for number in range(5_000)): "InvalidParameter",
        "Action=RemoveUser": "MissingParameter",
    }.items():
        request = raw("POST", "/", {"host": "x", "content-type": FORM, "content-length": str(len(form))}, form.encode())
        assert code_of(api, request) == code, form[:40]
        assert code_of(api, raw("GET", f"/?{form}", {"host": "x"}, b"")) == code, form[:40]
