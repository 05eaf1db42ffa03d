"""Every way to write a request: methods, content types, signature versions, common parameters in their places."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

import pytest

from rtcloud.gateway.server import GatewaySettings
from rtcloud.rooms.ids import RoomRef
from tests.kit.api import Api, open_api
from tests.kit.signed import FORM, NOW_MS, Answer, StillClock, call, call_v1, send, sign_v1

Scenario = Callable[[Api], Coroutine[Any, Any, None]]


def run(scenario: Scenario, settings: GatewaySettings | None = None) -> None:
    async def opened() -> None:
        api = await open_api(StillClock(), settings or GatewaySettings(per_second={"*": 0}))
        try:
            api.rooms.open[RoomRef(api.credentials.sdk_app_id, True, "1")] = {"王 é", "b"}
            await scenario(api)
        finally:
            await api.close()

    asyncio.run(opened())


def fields(api: Api) -> dict[str, object]:
    return {"SdkAppId": api.credentials.sdk_app_id, "RoomId": 1, "UserIds.0": "王 é", "UserIds.1": "b"}


def removed(api: Api, answer: Answer) -> bool:
    """Whether the call did what was asked for; puts them back for the next one."""
    room = api.rooms.open[RoomRef(api.credentials.sdk_app_id, True, "1")]
    done = not room
    room |= {"王 é", "b"}
    return done and answer.code == ""


def test_every_documented_form_of_a_request_is_understood() -> None:
    async def scenario(api: Api) -> None:
        given = fields(api)
        form = urlencode(given)
        body = {"SdkAppId": given["SdkAppId"], "RoomId": 1, "UserIds": ["王 é", "b"]}
        assert removed(api, await call(api, json.dumps(body).encode()))
        assert removed(api, await call(api, json.dumps(body).encode(), content_type="Application/JSON; charset=UTF-8"))
        assert removed(api, await call(api, b"ignored", method="GET", query=form, content_type=FORM))
        multipart = "".join(
            f'--B\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in given.items()
        )
        content_type = "multipart/form-data; charset=utf-8; boundary=B"
        assert removed(api, await call(api, f"{multipart}--B--\r\n".encode(), content_type=content_type))
        for number, digest in enumerate(("HmacSHA1", "HmacSHA256", "else")):
            for method in ("GET", "POST"):
                assert removed(api, await call_v1(api, given, method=method, digest=digest)), (method, digest)
            kind = "application/x-www-form-urlencoded; charset=utf-8"
            nonce = {"Nonce": str(100 + number)}
            assert removed(api, await call_v1(api, given | nonce, method="POST", content_type=kind, digest=digest))
        without_method = sign_v1(api, {name: value for name, value in given.items()} | {"Nonce": 5}, digest="HmacSHA1")
        assert removed(api, await send(api, "GET", without_method, {"host": "localhost"}, [b""]))

    run(scenario)


def test_an_unsigned_payload_is_accepted_when_it_says_so() -> None:
    async def scenario(api: Api) -> None:
        body = json.dumps({"SdkAppId": api.credentials.sdk_app_id, "RoomId": 1, "UserIds": ["王 é", "b"]}).encode()
        unsigned = {"sign": b"UNSIGNED-PAYLOAD", "x_tc_content_sha256": "UNSIGNED-PAYLOAD"}
        assert removed(api, await call(api, body, **unsigned))  # type: ignore[arg-type]
        assert (await call(api, body, sign=b"UNSIGNED-PAYLOAD")).code == "AuthFailure.SignatureFailure"
        assert (await call(api, body, x_tc_content_sha256="UNSIGNED-PAYLOAD")).code == "AuthFailure.SignatureFailure"

    run(scenario)


@pytest.mark.parametrize(
    ("method", "content_type", "authorized", "code"),
    [
        ("POST", FORM, True, "UnsupportedProtocol"),
        ("POST", "text/plain", True, "UnsupportedProtocol"),
        ("POST", "", True, "UnsupportedProtocol"),
        ("GET", "application/json", True, "UnsupportedProtocol"),
        ("GET", "multipart/form-data; boundary=B", True, "UnsupportedProtocol"),
        ("POST", "application/json", False, "AuthFailure.InvalidAuthorization"),
        ("POST", "multipart/form-data; boundary=B", False, "AuthFailure.InvalidAuthorization"),
        ("POST", "text/plain", False, "UnsupportedProtocol"),
        ("POST", FORM, False, "MissingParameter"),
        ("GET", "application/json", False, "MissingParameter"),
        ("GET", "", False, "MissingParameter"),
        ("DELETE", FORM, False, "UnsupportedProtocol"),
    ],
)
def test_content_types_belong_to_signature_versions(
    method: str, content_type: str, authorized: bool, code: str
) -> None:
    async def scenario(api: Api) -> None:
        changes = {} if authorized else {"authorization": None}
        answer = await call(api, b"", method=method, content_type=content_type, **changes)  # type: ignore[arg-type]
        assert answer.code == code

    run(scenario)


def test_tc3_names_its_missing_common_parameter() -> None:
    async def scenario(api: Api) -> None:
        for name in ("X-TC-Action", "X-TC-Version", "X-TC-Timestamp", "X-TC-Region"):
            for absent in (None, ""):
                changes: dict[str, Any] = {name.lower(): absent}
                answer = await call(api, b"{}", **changes)
                assert (answer.code, answer.message) == ("MissingParameter", f"{name} is required")
        for text in ("soon", "-5", "1e9", " "):
            changes = {"x-tc-timestamp": text}
            assert (await call(api, b"{}", **changes)).code == "InvalidParameterValue"

    run(scenario)


def test_v1_names_its_missing_common_parameter() -> None:
    async def scenario(api: Api) -> None:
        for name in ("Action", "Timestamp", "Nonce", "SecretId", "Signature", "Version"):
            for absent in (None, ""):
                changes: dict[str, Any] = {name: absent}
                answer = await call_v1(api, fields(api), **changes)
                assert (answer.code, answer.message) == ("MissingParameter", f"{name} is required")
        for nonce in ("x", "-1", "1.5", "٣", "1" * 21):
            assert (await call_v1(api, fields(api) | {"Nonce": nonce})).code == "InvalidParameterValue"
        assert removed(api, await call_v1(api, fields(api) | {"Nonce": 0}))  # the Node SDK draws it
        assert (await call_v1(api, fields(api) | {"Nonce": 8, "Region": None})).code == "MissingParameter"
        assert (await call_v1(api, fields(api) | {"Nonce": 9, "Region": "x"})).code == "UnsupportedRegion"
        assert (await call_v1(api, fields(api) | {"Version": "1"})).code == "NoSuchVersion"
        assert (await call_v1(api, fields(api), action="Nothing")).code == "InvalidAction"
        assert (await call_v1(api, fields(api), action="DescribeCallDetail")).code == "ActionOffline"
        assert (await call_v1(api, fields(api), SecretId="x")).code == "AuthFailure.InvalidSecretId"
        assert (await call_v1(api, fields(api) | {"Token": "x"})).code == "AuthFailure.TokenFailure"

    run(scenario)


def test_v1_time_window_and_replays() -> None:
    async def scenario(api: Api) -> None:
        now = NOW_MS // 1000
        for number, (seconds, code) in enumerate(
            (
                (now - 300, ""),
                (now + 300, ""),
                (now - 301, "AuthFailure.SignatureExpire"),
                (now + 301, "AuthFailure.SignatureExpire"),
            )
        ):
            answer = await call_v1(api, fields(api) | {"Timestamp": seconds, "Nonce": number})
            assert answer.code == code, seconds
        for text in ("soon", "-5", "1e9"):
            assert (await call_v1(api, fields(api) | {"Timestamp": text})).code == "InvalidParameterValue"
        assert (await call_v1(api, fields(api) | {"Nonce": 99})).code == ""
        again = await call_v1(api, fields(api) | {"Nonce": 99})
        assert (again.code, "used before" in again.message) == ("AuthFailure.SignatureFailure", True)
        assert (await call_v1(api, fields(api) | {"Nonce": 98})).code == ""

    run(scenario)


def test_common_parameters_of_the_sdks_are_no_errors() -> None:
    async def scenario(api: Api) -> None:
        more = {"RequestClient": "SDK_PYTHON_3", "Language": "zh-CN"}
        assert removed(api, await call_v1(api, fields(api) | more))
        form = urlencode(fields(api) | more)
        extra = {"x_tc_language": "zh-CN", "x_tc_requestclient": "SDK", "x_tc_traceid": "t"}
        assert removed(api, await call(api, method="GET", query=form, content_type=FORM, **extra))  # type: ignore[arg-type]
        answer = await call_v1(api, fields(api) | {"Nonce": 3, "Other": "x"})
        assert (answer.code, answer.message.split()[0]) == ("UnknownParameter", "Other")
        speech = await call_v1(api, {"Language": "zh"}, action="TextToSpeech")  # there it is a parameter of the action
        assert speech.code == "MissingParameter"

    run(scenario)


def test_an_authorization_header_decides_over_v1_parameters() -> None:
    async def scenario(api: Api) -> None:
        form = sign_v1(api, fields(api) | {"Version": "1", "Action": "Nothing"}, Signature="bad").decode()
        assert removed(api, await call(api, method="GET", query=form, content_type=FORM))

    run(scenario)


def test_the_service_is_that_of_the_credential() -> None:
    async def scenario(api: Api) -> None:
        body = json.dumps({"SdkAppId": api.credentials.sdk_app_id, "RoomId": 1, "UserIds": ["王 é", "b"]}).encode()
        assert (await call(api, body, service="cvm")).code == "NoSuchProduct"
        assert (await call(api, body, service="sts")).code == "NoSuchVersion"
        assert (await call(api, body, service="sts", x_tc_version="2018-08-13")).code == "InvalidAction"
        # The Node and Java SDKs name the first part of the address that they were given.
        assert removed(api, await call(api, body, service="localhost"))
        assert (await call(api, body, service="localhost", x_tc_version="2017-01-01")).code == "NoSuchVersion"

    run(scenario)


def test_models_without_regions_ignore_the_region() -> None:
    async def scenario(api: Api) -> None:
        known = json.dumps({"SdkAppId": api.credentials.sdk_app_id}).encode()
        for region in (None, "", "nowhere"):
            assert (await call(api, known, action="DescribeSecret", x_tc_region=region)).code == ""

    run(scenario)


def test_faults_of_form_parameters_name_their_path() -> None:
    async def scenario(api: Api) -> None:
        for number, (change, code, path) in enumerate(
            [
                ({"SdkAppId": "x"}, "InvalidParameter.SdkAppId", "SdkAppId"),
                ({"UserIds.3": "x"}, "InvalidParameter.UserIds", "UserIds"),
                ({"UserIds.0.x": "x"}, "InvalidParameter.UserIds", "UserIds.0"),
                ({"Filters.0.Name": "x"}, "UnknownParameter", "Filters"),
                ({"SdkAppId": ""}, "MissingParameter.SdkAppId", "SdkAppId"),
            ]
        ):
            answer = await call_v1(api, {**fields(api), "Nonce": number, **change})
            assert (answer.code, answer.message.split()[0]) == (code, path)

    run(scenario)
