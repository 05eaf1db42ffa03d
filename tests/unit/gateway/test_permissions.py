"""Who may call what: keys, networks, policies, other accounts' applications and tasks, limits per account."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlencode

import msgspec

from rtcloud.accounts.authentication import Keyring
from rtcloud.accounts.documents import parse_document
from rtcloud.accounts.entities import AccountSettings, Application, User
from rtcloud.accounts.sessions import Sessions
from rtcloud.actions.context import Call, Services
from rtcloud.actions.registry import Entry
from rtcloud.gateway.server import Gateway, GatewaySettings
from rtcloud.store.sealing import Sealer
from tests.kit.api import Api, open_api
from tests.kit.signed import FORM, NOW_MS, Answer, StillClock, call, call_v1

Keys = tuple[str, str]
DENIED = "AuthFailure.UnauthorizedOperation"
NO_ROOM = "FailedOperation.RoomNotExist"


def run(scenario: Callable[[Api], Coroutine[Any, Any, None]], settings: GatewaySettings | None = None) -> None:
    async def opened() -> None:
        api = await open_api(StillClock(), settings or GatewaySettings(per_second={"*": 0}))
        try:
            await scenario(api)
        finally:
            await api.close()

    asyncio.run(opened())


async def user_with(api: Api, *statements: dict[str, Any], account_uin: str = "") -> tuple[User, Keys]:
    """A new user with one policy of these statements, and its keys."""
    uin = account_uin or api.credentials.account_uin
    user = await api.accounts.create_user(uin, f"user{len(api.accounts.users())}")
    if statements:
        document = json.dumps({"version": "2.0", "statement": list(statements)})
        policy = await api.accounts.create_policy(uin, f"{user.name}-policy", document)
        await api.accounts.attach_policy(uin, policy.policy_id, user_uin=user.uin)
    pair = await api.accounts.create_key_pair(user.uin)
    return user, (pair.secret_id, pair.secret_key)


def grant(effect: str, action: str, resource: str = "*") -> dict[str, Any]:
    return {"effect": effect, "action": [action], "resource": [resource]}


def on(account_uin: str, sdk_app_id: int | str) -> str:
    return f"qcs::trtc::uin/{account_uin}:sdkappid/{sdk_app_id}"


async def remove(api: Api, keys: Keys, sdk_app_id: int, **changes: Any) -> str:
    body = json.dumps({"SdkAppId": sdk_app_id, "RoomId": 1, "UserIds": ["u"]}).encode()
    return (await call(api, body, keys=keys, **changes)).code


async def second_account(api: Api) -> tuple[Application, Keys]:
    account = await api.accounts.create_account("other")
    application = await api.accounts.create_application(account.uin, "other app")
    _, keys = await user_with(api, grant("allow", "*"), account_uin=account.uin)
    return application, keys


def test_a_user_without_policies_may_do_nothing() -> None:
    async def scenario(api: Api) -> None:
        _, keys = await user_with(api)
        assert await remove(api, keys, api.credentials.sdk_app_id) == DENIED
        assert await remove(api, keys, 5) == DENIED

    run(scenario)


def test_one_application_can_be_denied_and_another_allowed() -> None:
    async def scenario(api: Api) -> None:
        uin, first = api.credentials.account_uin, api.credentials.sdk_app_id
        second = (await api.accounts.create_application(uin, "second")).sdk_app_id
        _, keys = await user_with(
            api, grant("allow", "name/trtc:*", on(uin, "*")), grant("deny", "name/trtc:RemoveUser", on(uin, second))
        )
        assert await remove(api, keys, first) == NO_ROOM
        assert await remove(api, keys, second) == DENIED
        body = json.dumps({"SdkAppId": second, "RoomId": 1, "UserIds": ["u"]}).encode()
        answer = await call(api, body, keys=keys)
        assert "name/trtc:RemoveUser" in answer.message
        assert on(uin, second) in answer.message
        dismissal = json.dumps({"SdkAppId": second, "RoomId": 1}).encode()
        assert (await call(api, dismissal, action="DismissRoom", keys=keys)).code == NO_ROOM

    run(scenario)


def test_an_absent_application_means_every_one_of_the_account() -> None:
    async def scenario(api: Api) -> None:
        uin, app = api.credentials.account_uin, api.credentials.sdk_app_id
        usage = json.dumps({"StartTime": "2023-11-13", "EndTime": "2023-11-14"}).encode()
        _, every = await user_with(api, grant("allow", "name/trtc:*", on(uin, "*")))
        _, one = await user_with(api, grant("allow", "name/trtc:*", on(uin, app)))
        codes = [(await call(api, usage, action="DescribeTrtcUsage", keys=keys)).code for keys in (every, one)]
        assert codes == ["UnsupportedOperation", DENIED]

    run(scenario)


def test_another_accounts_application_is_like_none_unless_documented() -> None:
    async def scenario(api: Api) -> None:
        application, theirs = await second_account(api)
        mine, app = (api.credentials.secret_id, api.credentials.secret_key), api.credentials.sdk_app_id
        for keys, own, foreign in ((mine, app, application.sdk_app_id), (theirs, application.sdk_app_id, app)):
            assert await remove(api, keys, own) == NO_ROOM
            assert await remove(api, keys, foreign) == "UnauthorizedOperation.SdkAppId"  # RemoveUser lists it
            assert await remove(api, keys, 5) == "InvalidParameter.SdkAppId"
            told = [
                await call(api, json.dumps({"SdkAppId": number}).encode(), action="DescribeSdkAppInfo", keys=keys)
                for number in (foreign, 5)
            ]
            assert told[0].code == told[1].code != ""
            assert told[0].message.replace(str(foreign), "5") == told[1].message

    run(scenario)


class TaskRequest(msgspec.Struct, rename="pascal"):
    task_id: str


class Stopped(msgspec.Struct, rename="pascal"):
    sdk_app_id: int


async def stop_web_record(services: Services, call: Call, request: TaskRequest) -> Stopped:
    return Stopped(call.application.sdk_app_id)


def with_tasks(api: Api, owners: dict[str, int]) -> None:
    """Tasks of these applications, and an action that is about a task alone."""

    async def application_of(task_id: str) -> int | None:
        return owners.get(task_id)

    api.tasks.application_of = application_of  # type: ignore[method-assign]
    built = {"StopWebRecord": Entry(TaskRequest, stop_web_record)}
    api.gateway = Gateway(api.gateway._pipeline._services, actions=built)


def test_a_task_is_its_applications() -> None:
    async def scenario(api: Api) -> None:
        uin, app = api.credentials.account_uin, api.credentials.sdk_app_id
        application, _ = await second_account(api)
        with_tasks(api, {"mine": app, "theirs": application.sdk_app_id})
        _, allowed = await user_with(api, grant("allow", "name/trtc:StopWebRecord", on(uin, app)))
        _, elsewhere = await user_with(api, grant("allow", "name/trtc:StopWebRecord", on(uin, 5)))
        _, nothing = await user_with(api, grant("allow", "name/trtc:RemoveUser"))

        async def stop(keys: Keys, task_id: str) -> Answer:
            return await call(api, json.dumps({"TaskId": task_id}).encode(), action="StopWebRecord", keys=keys)

        assert (await stop(allowed, "mine")).response["SdkAppId"] == app
        assert (await stop(elsewhere, "mine")).code == DENIED
        # An unknown task and one of another account are the same, for who may stop some task and for who may not.
        for keys in (allowed, elsewhere):
            told = [await stop(keys, task_id) for task_id in ("theirs", "nobody")]
            assert {each.code for each in told} == {"ResourceNotFound"}
            assert told[0].message.replace("theirs", "nobody") == told[1].message
        assert {(await stop(nothing, task_id)).code for task_id in ("mine", "theirs", "nobody")} == {DENIED}

    run(scenario)


def test_disabled_deleted_and_strange_keys_are_refused() -> None:
    async def scenario(api: Api) -> None:
        _, keys = await user_with(api, grant("allow", "*"))
        app = api.credentials.sdk_app_id
        assert await remove(api, keys, app) == NO_ROOM
        await api.accounts.enable_key_pair(keys[0], False)
        assert await remove(api, keys, app) == "AuthFailure.SecretIdNotFound"
        await api.accounts.enable_key_pair(keys[0], True)
        assert await remove(api, keys, app) == NO_ROOM
        await api.accounts.delete_key_pair(keys[0])
        assert await remove(api, keys, app) == "AuthFailure.SecretIdNotFound"
        assert await remove(api, ("somebody", "x"), app) == "AuthFailure.InvalidSecretId"

    run(scenario)


def test_temporary_credentials_need_their_token_and_narrow_what_is_allowed() -> None:
    async def scenario(api: Api) -> None:
        sessions, uin = Sessions(Sealer(bytes(32)), api.accounts), api.credentials.account_uin
        keyring = Keyring(api.accounts, sessions)
        caller = keyring.find(api.credentials.secret_id, None, NOW_MS).caller
        document = json.dumps({"version": "2.0", "statement": [grant("allow", "name/trtc:DismissRoom")]})
        narrow = parse_document(document, account_uin=uin)
        made = sessions.federate(caller, name="guest", policy=narrow, duration_s=60, now_ms=NOW_MS)
        keys, app = (made.secret_id, made.secret_key), api.credentials.sdk_app_id
        dismissal = json.dumps({"SdkAppId": app, "RoomId": 1}).encode()
        assert (await call(api, dismissal, action="DismissRoom", keys=keys, x_tc_token=made.token)).code == NO_ROOM
        fields = {"SdkAppId": app, "RoomId": 1, "Token": made.token}
        assert (await call_v1(api, fields, action="DismissRoom", keys=keys)).code == NO_ROOM
        assert await remove(api, keys, app, x_tc_token=made.token) == DENIED
        for token in (None, "", "x", made.token[:-2]):
            assert await remove(api, keys, app, x_tc_token=token) == "AuthFailure.TokenFailure"

    run(scenario)


def test_networks_of_an_account_are_checked_before_the_body_is_read() -> None:
    async def scenario(api: Api) -> None:
        uin, app = api.credentials.account_uin, api.credentials.sdk_app_id
        settings = AccountSettings(
            allowed_networks=("192.0.2.0/24", "2001:db8::/32"), denied_networks=("192.0.2.66/32",)
        )
        await api.accounts.update_account(uin, settings=settings)
        keys = (api.credentials.secret_id, api.credentials.secret_key)
        for client, code in {
            "192.0.2.1": NO_ROOM,
            "2001:db8::1": NO_ROOM,
            "::ffff:192.0.2.1": NO_ROOM,
            "192.0.2.66": "IpInBlacklist",
            "198.51.100.1": "IpNotInWhitelist",
        }.items():
            assert await remove(api, keys, app, client=client) == code
        refused = await call(api, [b"x" * 60_000] * 3, client="198.51.100.1", expect="100-continue")
        assert (refused.code, refused.read) == ("IpNotInWhitelist", 0)
        body = urlencode({"SdkAppId": app, "RoomId": 1})
        assert (await call(api, method="GET", query=body, content_type=FORM, client="x")).code == "IpNotInWhitelist"

    run(scenario)


def test_calls_are_limited_per_account_action_and_region() -> None:
    async def scenario(api: Api) -> None:
        application, theirs = await second_account(api)
        mine, app = (api.credentials.secret_id, api.credentials.secret_key), api.credentials.sdk_app_id
        assert [await remove(api, mine, app) for _ in range(22)] == [NO_ROOM] * 20 + ["RequestLimitExceeded"] * 2
        assert await remove(api, mine, app, x_tc_region="ap-beijing") == NO_ROOM
        assert await remove(api, theirs, application.sdk_app_id) == NO_ROOM
        # What is not counted: a request that is refused before.
        assert await remove(api, theirs, application.sdk_app_id, sign=b"") == "AuthFailure.SignatureFailure"

    run(scenario, GatewaySettings())


def test_an_account_and_its_regions_can_be_limited() -> None:
    async def scenario(api: Api) -> None:
        mine, app = (api.credentials.secret_id, api.credentials.secret_key), api.credentials.sdk_app_id
        assert [await remove(api, mine, app) for _ in range(3)][
            -1
        ] == "RequestLimitExceeded.GlobalRegionUinLimitExceeded"
        for region in ("ap-beijing", "ap-beijing"):
            assert await remove(api, mine, app, x_tc_region=region) == NO_ROOM
        assert await remove(api, mine, app, x_tc_region="ap-singapore") == "RequestLimitExceeded.UinLimitExceeded"

    run(scenario, GatewaySettings(per_second={"*": 0}, account_per_second=4, account_region_per_second=2))
