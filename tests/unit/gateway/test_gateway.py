"""The gateway as an ASGI application: what is refused before the body, sizes, hostile bodies, what is not told."""

import asyncio
import json
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

import pytest

from rtcloud.errors import ServiceError
from rtcloud.gateway import bodies, signing
from rtcloud.gateway.bodies import Body, BodyBudget, ClientGoneError
from rtcloud.gateway.server import GatewaySettings
from rtcloud.rooms.ids import RoomRef
from tests.kit.api import Api, open_api
from tests.kit.signed import NOW_MS, StillClock, call, sign_for


def run(scenario: Callable[[Api], Coroutine[Any, Any, None]], settings: GatewaySettings | None = None) -> None:
    async def opened() -> None:
        api = await open_api(StillClock(), settings)
        try:
            await scenario(api)
        finally:
            await api.close()

    asyncio.run(opened())


def removal(api: Api, **changes: Any) -> bytes:
    return json.dumps({"SdkAppId": api.credentials.sdk_app_id, "RoomId": 1, "UserIds": ["u"]} | changes).encode()


def test_good_call_is_answered_in_the_envelope() -> None:
    async def scenario(api: Api) -> None:
        api.rooms.open[RoomRef(api.credentials.sdk_app_id, True, "1")] = {"u"}
        answer = await call(api, removal(api))
        assert (answer.status, answer.closes) == (200, False)
        assert answer.headers[b"content-type"] == b"application/json"
        assert answer.response.keys() == {"RequestId"}
        assert answer.response["RequestId"] != (await call(api, removal(api))).response["RequestId"]

    run(scenario)


def test_each_refusal_has_its_code() -> None:
    async def scenario(api: Api) -> None:
        good = removal(api)
        for code, changes in {
            "AuthFailure.InvalidAuthorization": {"authorization": None},
            "AuthFailure.SignatureFailure": {"sign": b"other"},
            "AuthFailure.TokenFailure": {"x_tc_token": "t"},
            "NoSuchVersion": {"x_tc_version": "2018-01-01"},
            "UnsupportedRegion": {"x_tc_region": "na-toronto"},
            "InvalidAction": {"action": "Nothing\u00e9"},
            "ActionOffline": {"action": "DescribeCallDetail"},
            "UnsupportedOperation": {"action": "StartStreamIngest"},
        }.items():
            answer = await call(api, good, **changes)  # type: ignore[arg-type]
            assert (answer.code, answer.status) == (code, 200), changes
        for header in ("x_tc_action", "x_tc_version", "x_tc_region", "x_tc_timestamp"):
            assert (await call(api, good, **{header: None})).code == "MissingParameter"
        assert (await call(api, good, content_type="multipart/form-data")).code == "UnsupportedProtocol"
        for method in ("GET", "PUT", "OPTIONS"):
            assert (await call(api, good, method=method)).code == "UnsupportedProtocol"
        assert (await call(api, good)).code == "FailedOperation.RoomNotExist"

    run(scenario)


def test_bodies_that_are_not_an_object_are_refused() -> None:
    async def scenario(api: Api) -> None:
        for body in (b"[]", b"7", b"null", b"{", b"\xff", b'"\\ud800"', b"[" * 100_000, b'{"a":1e999}', b"{}{}"):
            assert (await call(api, body)).code == "InvalidParameter", body[:20]
        assert (await call(api, b"")).code == "MissingParameter.SdkAppId"

    run(scenario)


def test_large_bodies_are_accepted_up_to_the_limit_and_not_beyond() -> None:
    async def scenario(api: Api) -> None:
        good = removal(api)
        exact = good + b" " * (bodies.MAX_BODY - len(good))
        assert (await call(api, exact)).code == "FailedOperation.RoomNotExist"
        for parts in ([exact, b" "], [b" " * 1_000_000] * 100):
            answer = await call(api, parts)
            assert (answer.code, answer.closes, answer.read) == ("RequestSizeLimitExceeded", False, len(parts))

    run(scenario)


def test_announced_size_is_refused_before_reading() -> None:
    async def scenario(api: Api) -> None:
        answer = await call(api, [b""] * 3, content_length=str(10**8), expect="100-continue")
        assert (answer.code, answer.closes, answer.read) == ("RequestSizeLimitExceeded", True, 0)

    run(scenario)


def test_unknown_callers_are_refused_before_their_body_is_kept() -> None:
    async def scenario(api: Api) -> None:
        parts = [b"x" * 65_536] * 50
        header = "TC3-HMAC-SHA256 Credential=AKIDnobody/2023-11-14/trtc/tc3_request, "
        header += f"SignedHeaders=content-type;host, Signature={'0' * 64}"
        answer = await call(api, parts, authorization=header)
        assert (answer.code, answer.closes) == ("AuthFailure.SecretIdNotFound", False)

    run(scenario)


def test_endless_bodies_end_with_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(api: Api) -> None:
        monkeypatch.setattr(bodies, "DISCARD_BYTES", 20_000)
        answer = await call(api, [b"x" * 1000] * 100, authorization=None)
        assert (answer.code, answer.closes) == ("AuthFailure.InvalidAuthorization", True)
        assert answer.read == 20

    run(scenario)


def test_slow_bodies_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "READ_SECONDS", 0.01)
    monkeypatch.setattr(bodies, "DISCARD_SECONDS", 0.01)

    async def never() -> MutableMapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def scenario() -> None:
        body = Body(never, None, BodyBudget())
        with pytest.raises(ServiceError, match="did not arrive"):
            await body.read()
        await body.discard()
        assert not body.complete

    asyncio.run(scenario())


def test_all_bodies_together_are_bounded() -> None:
    async def scenario() -> None:
        budget = BodyBudget(1500)

        def sends(*parts: bytes) -> Body:
            messages = [
                {"type": "http.request", "body": part, "more_body": index < len(parts) - 1}
                for index, part in enumerate(parts)
            ]

            async def receive() -> MutableMapping[str, Any]:
                return messages.pop(0) if messages else {"type": "http.disconnect"}

            return Body(receive, None, budget)

        first = await sends(b"x" * 1000).read()
        with pytest.raises(ServiceError, match="too many"):
            await sends(b"y" * 300, b"y" * 300).read()
        budget.give(len(first))
        assert len(await sends(b"y" * 300, b"y" * 300).read()) == 600
        gone = sends(b"z" * 900, b"")
        await gone.read()
        with pytest.raises(ClientGoneError):
            await gone._part()

    asyncio.run(scenario())


def test_permission_and_ownership_are_checked() -> None:
    async def scenario(api: Api) -> None:
        assert (await call(api, removal(api, SdkAppId=5))).code == "InvalidParameter.SdkAppId"
        api.gateway._authorise = lambda user, action: action != "DismissRoom"
        assert (await call(api, removal(api))).code == "FailedOperation.RoomNotExist"
        dismissal = json.dumps({"SdkAppId": api.credentials.sdk_app_id, "RoomId": 1}).encode()
        denied = await call(api, dismissal, action="DismissRoom")
        assert denied.code == "AuthFailure.UnauthorizedOperation"

    run(scenario)


def test_regions_matter_only_when_strict() -> None:
    async def scenario(api: Api) -> None:
        for region in ("", "nowhere", None):
            assert (await call(api, removal(api), x_tc_region=region)).code == "FailedOperation.RoomNotExist"

    run(scenario, GatewaySettings(strict_regions=False))


def test_disabled_key_is_refused() -> None:
    async def scenario(api: Api) -> None:
        pair = api.accounts.key_pair(api.credentials.secret_id)
        assert pair is not None
        disabled = type(pair)(pair.secret_id, pair.secret_key, pair.user, enabled=False)
        api.accounts._held.key_pairs[pair.secret_id] = disabled
        assert (await call(api, removal(api))).code == "AuthFailure.SecretIdNotFound"

    run(scenario)


def test_unexpected_failure_tells_only_a_request_id(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(api: Api) -> None:
        async def fail(*_: object) -> None:
            raise RuntimeError("secret detail")

        api.rooms.remove_users = fail  # type: ignore[method-assign]
        answer = await call(api, removal(api))
        assert answer.code == "InternalError"
        assert "secret" not in json.dumps(answer.response)
        (record,) = [r for r in caplog.records if r.exc_info]
        assert record.__dict__["request_id"] == answer.response["RequestId"]

    run(scenario)


def test_client_that_goes_away_is_not_answered() -> None:
    async def scenario(api: Api) -> None:
        async def receive() -> MutableMapping[str, Any]:
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            raise AssertionError(message)

        headers: dict[str, str | None] = {
            "content-type": "application/json",
            "host": "h",
            "x-tc-timestamp": str(NOW_MS // 1000),
        }
        headers["authorization"] = sign_for(api, headers, b"")
        raw = [(name.encode(), str(value).encode()) for name, value in headers.items()]
        await api.gateway({"type": "http", "method": "POST", "headers": raw}, receive, send)

    run(scenario)


def test_logs_hold_no_parameters(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")

    async def scenario(api: Api) -> None:
        await call(api, removal(api, UserIds=["a-very-private-person"]))
        text = "".join(str(record.__dict__) for record in caplog.records)
        assert "RemoveUser" in text
        assert "a-very-private-person" not in text
        assert api.credentials.secret_key not in text
        assert signing.ALGORITHM not in text

    run(scenario)
