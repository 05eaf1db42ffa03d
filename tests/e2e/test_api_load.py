"""The API under load with every limit lifted, one request in a hundred broken: each answer is an envelope, none says
InternalError, and the server's memory stays where it was.
"""

import asyncio
import itertools
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from tests.kit.cloud import Cloud
from tests.kit.flood import Outcome, Shot, flood
from tests.kit.raw_requests import BOUNDARY, FORM, Caller, raw
from tests.kit.server import Server, resident_mib

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

CONFIG = 'roles = ["api", "signal", "media", "sender"]\n[limits]\n"*" = 0\n'
ACTION = "DescribeCloudRecording"
FORM_PAIR = f"Action={ACTION}"
BROKEN_IN = 100  # one request of these; during the warm-up more, so that each kind comes
BROKEN_AT_FIRST_IN = 10
WARM_UP_S = 3.0
FLAT = 1.05
TOO_MANY_FAILURES = "RequestLimitExceeded.IPLimitExceeded"  # a fast machine's warm-up has so many
#: what the broken requests are answered
EXPECTED = {
    "AuthFailure.InvalidAuthorization",
    "AuthFailure.InvalidSecretId",
    "AuthFailure.SecretIdNotFound",
    "AuthFailure.SignatureExpire",
    "AuthFailure.SignatureFailure",
    "InvalidAction",
    "InvalidParameter",
    "InvalidRequest",
    "MissingParameter",
    "NoSuchVersion",
    "RequestSizeLimitExceeded",
    "UnknownParameter",
    "UnsupportedProtocol",
}


@pytest.fixture
def lifted(tmp_path: Path) -> Iterator[Server]:
    """A server without limits of calls, and without a worker: the tasks stay as they are."""
    config = tmp_path / "rtcloud.toml"
    config.write_text(CONFIG)
    with Server(tmp_path / "data", "--config", str(config)) as server:
        yield server
        assert server.alive, "the server died"


class Mixture:
    """Good requests of every form, and one in ``broken_in`` of two dozen broken kinds, in turn."""

    def __init__(self, server: Server, task_id: str) -> None:
        keys = server.credentials
        self._caller = Caller(keys["secret_id"], keys["secret_key"], f"127.0.0.1:{server.port}")
        self._parameters = {"SdkAppId": server.sdk_app_id, "TaskId": task_id}
        self._random = random.Random(20_190_722)
        self._numbers = itertools.count()
        self._breaks = itertools.count()
        self._made_at = 0.0
        self._good: list[Shot] = []
        self._broken: list[Shot] = []
        self.broken_in = BROKEN_AT_FIRST_IN

    def __call__(self) -> Shot:
        if time.monotonic() > self._made_at + 60:  # a signature is good for five minutes
            self._good, self._broken, self._made_at = self._make_good(), self._make_broken(), time.monotonic()
        if next(self._numbers) % self.broken_in == 0:
            return self._broken[next(self._breaks) % len(self._broken)]
        return self._random.choice(self._good)

    def _make_good(self) -> list[Shot]:
        caller, parameters = self._caller, self._parameters
        return [
            Shot(caller.tc3(ACTION, parameters)),
            Shot(caller.tc3(ACTION, parameters)),
            Shot(caller.tc3_get(ACTION, parameters)),
            Shot(caller.tc3_multipart(ACTION, parameters)),
        ]

    def _make_broken(self) -> list[Shot]:
        caller, parameters = self._caller, self._parameters
        whole = caller.tc3(ACTION, parameters)
        text = json.dumps(parameters)
        multipart = f"multipart/form-data; boundary={BOUNDARY}"
        half_part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="SdkAppId"\r\n'
        twice = f"{FORM_PAIR}&{FORM_PAIR}".encode()
        return [
            Shot(caller.tc3(ACTION, parameters, changes={"x-tc-timestamp": str(int(time.time()) + 1)})),
            Shot(Caller(caller.secret_id, "wrong", caller.host).tc3(ACTION, parameters)),
            Shot(Caller("AKID" + "x" * 32, "wrong", caller.host).tc3(ACTION, parameters)),
            Shot(Caller("nobody", "wrong", caller.host).tc3(ACTION, parameters)),
            Shot(caller.tc3(ACTION, parameters, seconds=int(time.time()) - 400)),
            Shot(caller.tc3(ACTION, text[: len(text) // 2])),
            Shot(caller.tc3(ACTION, {**parameters, "TaskId": 5})),
            Shot(caller.tc3(ACTION, {**parameters, "Colour": "red"})),
            Shot(caller.tc3(ACTION, b"\xff\xfe{}")),
            Shot(caller.tc3(ACTION, half_part, content_type=multipart)),
            Shot(caller.tc3("NoSuchAction", parameters)),
            Shot(caller.tc3(ACTION, parameters, changes={"x-tc-version": "2017-03-12"})),
            Shot(caller.tc3(ACTION, parameters, changes={"x-tc-timestamp": None})),
            Shot(caller.tc3(ACTION, parameters, changes={"authorization": "TC3-HMAC-SHA256 x"})),
            Shot(caller.tc3_get(ACTION, {**parameters, "TaskId": "x" * 33_000})),
            Shot(caller.tc3(ACTION, "<a/>", content_type="text/xml")),
            Shot(caller.v1(ACTION, parameters, changes={"Signature": "AAAA"})),
            Shot(caller.v1(ACTION, parameters, method="GET", changes={"Nonce": None})),
            Shot(raw("POST", "/", {"host": "x", "content-type": FORM, "content-length": str(len(twice))}, twice)),
            Shot(raw("PUT", "/", {"host": caller.host, "content-length": "0"}, b"")),
            Shot(whole[:-20], breaks_off=True),
            Shot(whole[: len(whole) // 2], breaks_off=True),
        ]


def check(server: Server, seconds: float) -> None:
    mixture = Mixture(server, Cloud(server).start_recording(7))

    async def load() -> tuple[Outcome, Outcome, float, float]:
        warm_up = await flood("127.0.0.1", server.port, mixture, seconds=WARM_UP_S)
        mixture.broken_in = BROKEN_IN
        before = resident_mib(server.pid)
        outcome = await flood("127.0.0.1", server.port, mixture, seconds=seconds)
        return warm_up, outcome, before, resident_mib(server.pid)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        warm_up, outcome, before, after = runner.run(load())
    print(f"{outcome.answers / outcome.seconds:.0f} answers/s, {before:.1f} MiB, then {after:.1f} MiB, {outcome.codes}")
    assert warm_up.codes.keys() - {TOO_MANY_FAILURES} == {"", *EXPECTED}
    assert warm_up.broken_off > 0
    for each in (warm_up, outcome):
        assert not each.strange, each.strange[:3]
        assert each.unanswered == 0
    assert outcome.codes.keys() <= {"", *EXPECTED}
    assert outcome.codes[""] > 0.97 * outcome.answers
    assert "api call failed" not in server.log.read_text()
    assert after < FLAT * before, f"memory grew from {before:.1f} MiB to {after:.1f} MiB"


def test_a_few_seconds_of_load_with_broken_requests(lifted: Server) -> None:
    check(lifted, 5)


@pytest.mark.long
def test_half_a_minute_of_load_with_broken_requests(lifted: Server) -> None:
    check(lifted, 30)
