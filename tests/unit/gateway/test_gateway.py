"""The gateway as an ASGI application: what is refused before the body, sizes, hostile bodies, what is not told."""

import asyncio
import json
from collections.abc import Callable, Coroutine, MutableMapping
from typing import Any

import pytest

from rtcloud.errors import ServiceError
from rtcloud.gateway import bodies, envelope, heads
from rtcloud.gateway.bodies import Body, BodyBudget, ClientGoneError
from rtcloud.gateway.guard import FREE_BYTES, MEBIBYTE, GuardSettings
from rtcloud.gateway.server import GatewaySettings
from rtcloud.gateway.signing import tc3
from rtcloud.rooms.ids import RoomRef
from tests.kit.api import Api, open_api
from tests.kit.signed import FORM, NOW_MS, StillClock, call, call_v1, sign_for


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
            "NoSuchProduct": {"service": "cvm"},
            "UnsupportedRegion": {"x_tc_region": "na-toronto"},
            "InvalidAction": {"action": "Nothing\u00e9"},
            "ActionOffline": {"action": "DescribeCallDetail"},
            "UnsupportedProtocol": {"content_type": "application/octet-stream"},
            "InvalidRequest": {"content_type": "multipart/form-data"},
        }.items():
            answer = await call(api, good, **changes)  # type: ignore[arg-type]
            assert (answer.code, answer.status) == (code, 200), changes
        for header in ("x_tc_action", "x_tc_version", "x_tc_region", "x_tc_timestamp"):
            answer = await call(api, good, **{header: None})  # type: ignore[arg-type]
            assert (answer.code, header in answer.message.lower().replace("-", "_")) == ("MissingParameter", True)
        for method in ("HEAD", "PUT", "OPTIONS", "post", "PATCH"):
            assert (await call(api, good, method=method)).code == "UnsupportedProtocol"
        assert (await call(api, good)).code == "FailedOperation.RoomNotExist"

    run(scenario)


def test_what_is_not_built_is_said_only_to_who_may_call_it_with_good_parameters() -> None:
    async def scenario(api: Api) -> None:
        stop = json.dumps({"TaskId": "x"}).encode()
        assert (await call(api, stop, action="StopWebRecord")).code == "UnsupportedOperation"
        assert (await call(api, b"{}", action="StopWebRecord")).code.startswith("MissingParameter")
        assert (await call(api, stop, action="StopWebRecord", x_tc_region="nowhere")).code == "UnsupportedRegion"
        (pair,) = api.accounts.key_pairs()
        for policy in pair.user.policies:
            await api.accounts.detach_policy(pair.user.account_uin, policy.policy_id, user_uin=pair.user.uin)
        answer = await call(api, stop, action="StopWebRecord")
        assert answer.code == "AuthFailure.UnauthorizedOperation"
        assert "name/trtc:StopWebRecord" in answer.message

    run(scenario)


def test_bodies_that_are_not_an_object_are_refused() -> None:
    async def scenario(api: Api) -> None:
        for body in (b"[]", b"7", b"null", b"{", b"\xff", b"{}{}"):
            assert (await call(api, body)).code == "InvalidParameter", body[:20]
        assert (await call(api, b"")).code == "MissingParameter.SdkAppId"

    run(scenario)


def test_large_bodies_are_accepted_up_to_the_limit_and_not_beyond() -> None:
    async def scenario(api: Api) -> None:
        good = removal(api)
        exact = good + b" " * (heads.MAX_BODY - len(good))
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
        header = f"TC3-HMAC-SHA256 Credential=AKID{'x' * 32}/2023-11-14/trtc/tc3_request, "
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
            await body.read(1000, lambda size: None)
        await body.discard()
        assert not body.complete

    asyncio.run(scenario())


def sends(budget: BodyBudget, address: str, *parts: bytes) -> Body:
    messages = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1} for index, part in enumerate(parts)
    ]

    async def receive() -> MutableMapping[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    return Body(receive, None, budget, address)


async def read(body: Body) -> int:
    return len(await body.read(MEBIBYTE, lambda size: None))


def test_all_bodies_together_are_bounded() -> None:
    async def scenario() -> None:
        budget = BodyBudget(1600)
        first = sends(budget, "192.0.2.1", b"x" * 1000)
        assert await read(first) == 1000
        second = sends(budget, "192.0.2.2", b"y" * 400, b"y" * 300)
        with pytest.raises(ServiceError, match="too many") as caught:
            await read(second)
        assert caught.value.code == "ServiceUnavailable"
        second.release()
        first.release()
        first.release()
        assert (budget._free, budget._held) == (1600, {})
        assert await read(sends(budget, "192.0.2.2", b"y" * 300, b"y" * 300)) == 600
        gone = sends(budget, "192.0.2.1", b"z" * 900, b"")
        await read(gone)
        with pytest.raises(ClientGoneError):
            await gone._part()

    asyncio.run(scenario())


def test_slow_bodies_of_one_address_keep_nobody_elses_out() -> None:
    async def scenario() -> None:
        budget = BodyBudget(8 * MEBIBYTE)
        for _ in range(4):
            assert await read(sends(budget, "192.0.2.1", b"x" * MEBIBYTE)) == MEBIBYTE
        with pytest.raises(ServiceError, match="at once from this address") as caught:
            await read(sends(budget, "192.0.2.1", b"x" * MEBIBYTE))
        assert caught.value.code == "RequestLimitExceeded.IPLimitExceeded"
        assert await read(sends(budget, "192.0.2.1", b"small")) == 5, "whoever shares the address"
        for _ in range(MEBIBYTE // FREE_BYTES - 1):
            await read(sends(budget, "192.0.2.1", b"x" * FREE_BYTES))
        with pytest.raises(ServiceError, match="at once from this address"):
            await read(sends(budget, "192.0.2.1", b"x" * FREE_BYTES))
        assert await read(sends(budget, "192.0.2.2", b"x" * MEBIBYTE)) == MEBIBYTE

    asyncio.run(scenario())


def test_large_bodies_of_many_addresses_leave_room_for_small_ones() -> None:
    async def scenario() -> None:
        budget = BodyBudget(8 * MEBIBYTE)
        for host in range(6):
            assert await read(sends(budget, f"192.0.2.{host}", b"x" * MEBIBYTE)) == MEBIBYTE
        with pytest.raises(ServiceError, match="too many large") as caught:
            await read(sends(budget, "192.0.2.99", b"x" * MEBIBYTE))
        assert caught.value.code == "ServiceUnavailable"
        for host in range(100):
            assert await read(sends(budget, f"192.0.2.{host}", b"x" * FREE_BYTES)) == FREE_BYTES

    asyncio.run(scenario())


def test_the_budget_of_bodies_is_whole_again_after_every_request() -> None:
    async def scenario(api: Api) -> None:
        whole = api.gateway._budget._free
        for parts in ([b"{}"], [b"x"] * 3, [removal(api)], [b" " * 1_000_000] * 11):
            for changes in ({}, {"sign": b"other"}, {"x_tc_action": "None"}):
                await call(api, parts, **changes)
        await call_v1(api, {"SdkAppId": "x"}, method="POST")
        assert api.gateway._budget._free == whole

    run(scenario)


def test_sizes_are_those_of_the_documents() -> None:
    async def scenario(api: Api) -> None:
        too_large = "RequestSizeLimitExceeded"
        fields: dict[str, object] = {"SdkAppId": api.credentials.sdk_app_id, "RoomId": 1}
        assert (await call_v1(api, fields | {"UserIds.0": "u" * 32_000})).code != too_large
        answer = await call_v1(api, fields | {"UserIds.0": "u" * 33_000})
        assert (answer.code, "32 KB" in answer.message) == (too_large, True)
        assert (await call(api, method="GET", query="a" * 32_769, content_type=FORM)).code == too_large
        assert (await call(api, method="GET", query="a" * 32_768, content_type=FORM)).code == "UnknownParameter"
        assert (await call_v1(api, fields | {"UserIds.0": "u" * 1_000_000}, method="POST")).code != too_large
        answer = await call_v1(api, fields | {"UserIds.0": "u" * 1_100_000}, method="POST")
        assert (answer.code, "1 MB" in answer.message) == (too_large, True)

    run(scenario)


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(api: Api) -> None:
        known = json.dumps({"SdkAppId": api.credentials.sdk_app_id}).encode()
        assert (await call(api, known, action="DescribeSecret")).code == ""
        monkeypatch.setattr(envelope, "MAX_ANSWER", 30)
        assert (await call(api, known, action="DescribeSecret")).code == "ResponseSizeLimitExceeded"

    run(scenario)


def test_floods_of_unsigned_bytes_stop_large_requests_but_not_small_ones() -> None:
    async def scenario(api: Api) -> None:
        good, large = removal(api), [b" " * 50_000] * 20
        unsigned = [*large, removal(api)]
        for _ in range(2):
            assert (await call(api, unsigned, sign=b"")).code == "AuthFailure.SignatureFailure"
        answer = await call(api, unsigned, sign=b"")
        assert (answer.code, "unproved" in answer.message) == ("RequestLimitExceeded.IPLimitExceeded", True)
        assert (await call(api, good)).code == "FailedOperation.RoomNotExist"
        for _ in range(5):  # proved bytes are put back
            assert (await call(api, unsigned, client="192.0.2.2")).code == "FailedOperation.RoomNotExist"

    run(scenario, GatewaySettings(guard=GuardSettings(address_bytes=2_100_000, address_bytes_per_second=0)))


def test_failed_signatures_are_counted_but_good_callers_get_through() -> None:
    async def scenario(api: Api) -> None:
        codes = [(await call(api, sign=b"x")).code for _ in range(5)]
        limited = "RequestLimitExceeded.IPLimitExceeded"
        assert codes == ["AuthFailure.SignatureFailure"] * 3 + [limited] * 2
        assert (await call(api, authorization=None)).code == "AuthFailure.InvalidAuthorization"  # costs nothing to tell
        assert (await call_v1(api, {}, SecretId="AKID" + "x" * 32)).code == limited
        assert (await call(api, sign=b"x", client="192.0.2.2")).code == "AuthFailure.SignatureFailure"
        assert (await call(api, removal(api))).code == "FailedOperation.RoomNotExist"

    run(scenario, GatewaySettings(guard=GuardSettings(failures_per_second=3)))


def test_regions_matter_only_when_strict() -> None:
    async def scenario(api: Api) -> None:
        for region in ("", "nowhere", None):
            assert (await call(api, removal(api), x_tc_region=region)).code == "FailedOperation.RoomNotExist"

    run(scenario, GatewaySettings(strict_regions=False))


def test_unexpected_failure_tells_only_a_request_id(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(api: Api) -> None:
        async def fail(*_: object) -> None:
            raise RuntimeError("secret detail")

        api.rooms.remove_users = fail  # type: ignore[assignment, method-assign]
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
        assert tc3.ALGORITHM not in text

    run(scenario)
