"""Each code that the gateway decides before an action runs, asked of the whole gateway, stage by stage."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from rtcloud.accounts.entities import AccountSettings
from rtcloud.gateway import envelope
from rtcloud.gateway.guard import GuardSettings
from rtcloud.gateway.pipeline import GatewaySettings
from tests.kit.api import Api, open_api
from tests.kit.signed import NOW_MS, StillClock, call, call_v1

pytestmark = pytest.mark.contract

ROOM_UNKNOWN = "FailedOperation.RoomNotExist"  # what the action itself answers: no stage refused


def run(scenario: Callable[[Api, StillClock], Coroutine[Any, Any, None]], **settings: Any) -> None:
    async def opened() -> None:
        clock = StillClock()
        api = await open_api(clock, GatewaySettings(**settings))
        try:
            await scenario(api, clock)
        finally:
            await api.close()

    asyncio.run(opened())


def removal(api: Api, **changes: Any) -> bytes:
    return json.dumps({"SdkAppId": api.credentials.sdk_app_id, "RoomId": 1, "UserIds": ["u"]} | changes).encode()


def authorization(secret_id: str) -> str:
    scope = f"{secret_id}/2023-11-14/trtc/tc3_request"
    return f"TC3-HMAC-SHA256 Credential={scope}, SignedHeaders=content-type;host, Signature={'0' * 64}"


def test_form_and_size() -> None:
    async def scenario(api: Api, clock: StillClock) -> None:
        good = removal(api)
        assert (await call(api, good, method="PUT")).code == "UnsupportedProtocol"
        assert (await call(api, good, content_type="text/plain")).code == "UnsupportedProtocol"
        assert (await call(api, good, content_type="multipart/form-data")).code == "InvalidRequest"
        assert (await call(api, b"x" * 10_485_761)).code == "RequestSizeLimitExceeded"
        assert (await call(api, b"{")).code == "InvalidParameter"
        assert (await call(api, good)).code == ROOM_UNKNOWN

    run(scenario)


def test_who_signs_and_the_signature() -> None:
    async def scenario(api: Api, clock: StillClock) -> None:
        good = removal(api)
        changed: dict[str, dict[str, Any]] = {
            "AuthFailure.InvalidAuthorization": {"authorization": "TC3-HMAC-SHA256 nonsense"},
            "AuthFailure.InvalidSecretId": {"authorization": authorization("nobody")},
            "AuthFailure.SecretIdNotFound": {"authorization": authorization("AKID" + "x" * 32)},
            "AuthFailure.TokenFailure": {"x_tc_token": "none of ours"},
            "AuthFailure.SignatureExpire": {"x_tc_timestamp": str(NOW_MS // 1000 - 301)},
            "AuthFailure.SignatureFailure": {"authorization": authorization(api.credentials.secret_id)},
            "MissingParameter": {"x_tc_timestamp": None},
            "InvalidParameterValue": {"x_tc_timestamp": "now"},
        }
        for code, changes in changed.items():
            assert (await call(api, good, **changes)).code == code
        filled: dict[str, dict[str, Any]] = {
            "AuthFailure.InvalidSecretId": {"SecretId": "nobody"},
            "AuthFailure.SignatureFailure": {"Signature": "AAAA"},
            "MissingParameter": {"Nonce": None},
            "InvalidParameterValue": {"Nonce": "seven"},
        }
        for code, fields in filled.items():
            assert (await call_v1(api, {"SdkAppId": 1}, **fields)).code == code

    run(scenario)


def test_networks_of_the_account() -> None:
    async def scenario(api: Api, clock: StillClock) -> None:
        (account,) = api.accounts.accounts()
        for settings, code in (
            (AccountSettings(denied_networks=("192.0.2.0/24",)), "IpInBlacklist"),
            (AccountSettings(allowed_networks=("198.51.100.0/24",)), "IpNotInWhitelist"),
            (AccountSettings(allowed_networks=("192.0.2.1/32",)), ROOM_UNKNOWN),
        ):
            await api.accounts.update_account(account.uin, settings=settings)
            assert (await call(api, removal(api))).code == code

    run(scenario)


def test_product_version_action_and_region() -> None:
    async def scenario(api: Api, clock: StillClock) -> None:
        good = removal(api)
        assert (await call(api, good, service="cvm")).code == "NoSuchProduct"
        assert (await call(api, good, x_tc_version="2017-03-12")).code == "NoSuchVersion"
        assert (await call(api, good, action="RemoveEveryone")).code == "InvalidAction"
        assert (await call(api, good, action="DescribeCallDetail")).code == "ActionOffline"
        assert (await call(api, good, x_tc_region="eu-frankfurt")).code == "UnsupportedRegion"
        assert (await call(api, good, x_tc_region=None)).code == "MissingParameter"

    run(scenario)


def test_parameters() -> None:
    async def scenario(api: Api, clock: StillClock) -> None:
        for changes, code in (
            ({"Everyone": 1}, "UnknownParameter"),
            ({"RoomId": None}, "MissingParameter.RoomId"),
            ({"RoomId": "1"}, "InvalidParameter.RoomId"),
            ({"RoomId": 2**32}, "InvalidParameterValue.RoomId"),
        ):
            assert (await call(api, removal(api, **changes))).code == code

    run(scenario)


def test_rate_limits() -> None:
    async def codes(api: Api, clock: StillClock, count: int, **changes: str) -> list[str]:
        clock.ms += 1000
        return [(await call(api, removal(api), **changes)).code for _ in range(count)]  # type: ignore[arg-type]

    async def of_the_action(api: Api, clock: StillClock) -> None:
        assert await codes(api, clock, 21) == [ROOM_UNKNOWN] * 20 + ["RequestLimitExceeded"]
        assert await codes(api, clock, 1) == [ROOM_UNKNOWN]

    async def of_the_account(api: Api, clock: StillClock) -> None:
        assert await codes(api, clock, 3) == [ROOM_UNKNOWN] * 2 + ["RequestLimitExceeded.UinLimitExceeded"]

    async def of_the_region(api: Api, clock: StillClock) -> None:
        told = await codes(api, clock, 3)
        assert told == [ROOM_UNKNOWN] * 2 + ["RequestLimitExceeded.GlobalRegionUinLimitExceeded"]

    run(of_the_action)
    run(of_the_account, account_per_second=2)
    run(of_the_region, account_region_per_second=2)


def test_the_guard() -> None:
    async def failures(api: Api, clock: StillClock) -> None:
        told = [(await call(api, sign=b"other")).code for _ in range(2)]
        assert told == ["AuthFailure.SignatureFailure", "RequestLimitExceeded.IPLimitExceeded"]

    async def bytes_of_all(api: Api, clock: StillClock) -> None:
        unproved = [b" " * 50_000] * 3
        assert (await call(api, unproved, sign=b"other")).code == "ServiceUnavailable"
        assert (await call(api, removal(api))).code == ROOM_UNKNOWN

    run(failures, guard=GuardSettings(failures_per_second=1))
    run(bytes_of_all, guard=GuardSettings(gateway_bytes=100_000, gateway_bytes_per_second=0))


def test_authorisation_comes_before_whether_the_action_is_built() -> None:
    async def scenario(api: Api, clock: StillClock) -> None:
        stop = json.dumps({"TaskId": "x"}).encode()
        assert (await call(api, b"{}", action="StopWebRecord")).code == "MissingParameter"
        assert (await call(api, stop, action="StopWebRecord")).code == "UnsupportedOperation"
        (pair,) = api.accounts.key_pairs()
        for policy in pair.user.policies:
            await api.accounts.detach_policy(pair.user.account_uin, policy.policy_id, user_uin=pair.user.uin)
        for action, body in (("StopWebRecord", stop), ("RemoveUser", removal(api))):
            assert (await call(api, body, action=action)).code == "AuthFailure.UnauthorizedOperation"

    run(scenario)


def test_applications_of_others_and_of_nobody() -> None:
    async def scenario(api: Api, clock: StillClock) -> None:
        other = await api.accounts.create_account("other")
        theirs = await api.accounts.create_application(other.uin, "theirs")
        for action, of_others in (("RemoveUser", "UnauthorizedOperation.SdkAppId"), ("DescribeSecret", "")):
            rest = {} if action == "DescribeSecret" else {"RoomId": 1, "UserIds": ["u"]}
            for sdk_app_id, code in ((theirs.sdk_app_id, of_others), (4_000_000_000, "")):
                body = json.dumps({"SdkAppId": sdk_app_id} | rest).encode()
                assert (await call(api, body, action=action)).code == (code or "InvalidParameter.SdkAppId")

    run(scenario)


def test_faults_of_ours_and_answers_that_are_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(api: Api, clock: StillClock) -> None:
        async def fail(*_: object) -> None:
            raise RuntimeError("inside")

        monkeypatch.setattr(api.rooms, "dismiss", fail)
        dismissal = json.dumps({"SdkAppId": api.credentials.sdk_app_id, "RoomId": 1}).encode()
        assert (await call(api, dismissal, action="DismissRoom")).code == "InternalError"
        monkeypatch.setattr(envelope, "MAX_ANSWER", 30)
        known = json.dumps({"SdkAppId": api.credentials.sdk_app_id}).encode()
        assert (await call(api, known, action="DescribeSecret")).code == "ResponseSizeLimitExceeded"

    run(scenario)
