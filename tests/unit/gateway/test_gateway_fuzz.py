"""Whatever bytes come, signed or not, the answer is an envelope with status 200, never an internal error."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtcloud.apimodel.model import load_catalogue
from rtcloud.gateway.server import GatewaySettings
from tests.kit.api import Api, open_api
from tests.kit.signed import FORM, Answer, StillClock, call, call_v1, send

CATALOGUE = load_catalogue()
ACTIONS = sorted({name for model in CATALOGUE.models for name in model.actions})
NAMES = sorted({name for model in CATALOGUE.models for action in model.actions.values() for name in action.input})
COMMON = ["Action", "Version", "Timestamp", "Nonce", "SecretId", "Signature", "Token", "Region", "SignatureMethod"]

MULTIPART = "multipart/form-data; boundary=B"
KINDS = st.sampled_from(
    ["application/json", FORM, MULTIPART, "multipart/form-data", "text/plain", "", ";", "A/B; =\xff"]
)
METHODS = st.sampled_from(["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "", "GE T"])
HEADER = st.text(st.characters(max_codepoint=255), max_size=40)
HEADER_NAMES = ["authorization", "host", "x-tc-action", "x-tc-version", "x-tc-timestamp", "x-tc-region", "x-tc-token"]
HEADER_NAMES += ["x-tc-content-sha256", "content-length", "content-type", "expect", "x-tc-language"]
AUTHORIZATION = st.builds(
    "TC3-HMAC-SHA256 Credential={}/{}/{}/tc3_request, SignedHeaders={}, Signature={}".format,
    st.sampled_from(["AKIDxxxxxxxxxxxxxxxx", ""]) | HEADER,
    st.just("2023-11-14") | HEADER,
    st.just("trtc") | HEADER,
    st.just("content-type;host") | HEADER,
    st.just("0" * 64) | HEADER,
)
TEXT = st.text(max_size=20)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT
VALUES = st.recursive(
    SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from(NAMES) | TEXT, v), max_leaves=8
)
PATHS = st.lists(st.sampled_from([*NAMES, "0", "1", "00", "", "__proto__"]), min_size=1, max_size=4).map(".".join)
FIELDS = st.dictionaries(PATHS | st.sampled_from(COMMON) | TEXT, TEXT, max_size=6)
PARTS = st.lists(
    st.sampled_from([b"--B\r\n", b"--B--\r\n", b'Content-Disposition: form-data; name="SdkAppId"\r\n', b"\r\n", b"7"])
    | st.binary(max_size=20),
    max_size=12,
).map(b"".join)

slow = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Opened:
    def __init__(self) -> None:
        self.runner = asyncio.Runner()
        self.api: Api = self.runner.run(open_api(StillClock(), GatewaySettings(per_second={"*": 0})))

    def check(self, asked: Any) -> Answer:
        answer: Answer = self.runner.run(asked)
        assert answer.status == 200
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.response["RequestId"])
        assert not answer.code.startswith("InternalError")
        assert answer.size < 4000
        whole = self.api.gateway._budget._free
        assert whole == 128 * 1024 * 1024
        return answer


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    made = Opened()
    yield made
    made.runner.run(made.api.close())
    made.runner.close()


@slow
@given(
    method=METHODS,
    kind=KINDS,
    query=st.binary(max_size=60),
    headers=st.dictionaries(st.sampled_from(HEADER_NAMES), HEADER, max_size=6),
    parts=st.lists(st.binary(max_size=60), min_size=1, max_size=3),
)
def test_any_request_is_answered(
    opened: Opened, method: str, kind: str, query: bytes, headers: dict[str, str], parts: list[bytes]
) -> None:
    opened.check(send(opened.api, method, query, {"content-type": kind} | headers, parts))


@slow
@given(authorization=AUTHORIZATION, body=st.binary(max_size=60), timestamp=HEADER | st.just("1700000000"))
def test_any_authorization_is_answered(opened: Opened, authorization: str, body: bytes, timestamp: str) -> None:
    answer = opened.check(call(opened.api, body, authorization=authorization, x_tc_timestamp=timestamp))
    assert answer.code


@slow
@given(
    action=st.sampled_from(ACTIONS) | HEADER,
    version=st.sampled_from(["2019-07-22", "2019-01-16", "2018-08-13"]) | HEADER,
    service=st.sampled_from(["trtc", "cam", "sts", "localhost"]),
    region=st.sampled_from(["ap-guangzhou", "ap-singapore"]) | HEADER,
    body=st.binary(max_size=80) | PARTS,
    kind=st.sampled_from(["application/json", MULTIPART]),
)
def test_any_signed_body_is_answered(
    opened: Opened, action: str, version: str, service: str, region: str, body: bytes, kind: str
) -> None:
    opened.check(
        call(
            opened.api,
            body,
            action=action,
            service=service,
            content_type=kind,
            x_tc_version=version,
            x_tc_region=region,
        )
    )


@slow
@given(
    action=st.sampled_from(ACTIONS),
    version=st.sampled_from(["2019-07-22", "2019-01-16", "2018-08-13"]),
    parameters=st.dictionaries(st.sampled_from(NAMES) | TEXT, VALUES, max_size=5),
)
def test_any_signed_parameters_are_answered(
    opened: Opened, action: str, version: str, parameters: dict[str, Any]
) -> None:
    body = msgspec.json.encode(parameters)
    opened.check(call(opened.api, body, action=action, service="localhost", x_tc_version=version))


@slow
@given(method=st.sampled_from(["GET", "POST"]), action=st.sampled_from(ACTIONS) | TEXT, fields=FIELDS)
def test_any_signed_form_is_answered(opened: Opened, method: str, action: str, fields: dict[str, str]) -> None:
    form: dict[str, object] = {"SdkAppId": opened.api.credentials.sdk_app_id, **fields}
    opened.check(call_v1(opened.api, form, method=method, action=action))


@slow
@given(query=st.text(st.characters(max_codepoint=127), max_size=80))
def test_any_signed_query_is_answered(opened: Opened, query: str) -> None:
    opened.check(call(opened.api, method="GET", query=query, content_type=FORM))
