"""The console's actions: applications, secrets, UserSig, watermarks."""

import asyncio
import base64
import io
from collections.abc import Callable, Coroutine
from typing import Any

import msgspec
import pytest
from PIL import Image

from rtcloud.accounts.entities import Caller
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.actions.registry import ACTIONS, CAM, CLOUD, CONSOLE, STS
from rtcloud.apimodel.model import load_catalogue
from rtcloud.apimodel.rules import Rule
from rtcloud.watermarks.store import PER_APPLICATION
from tests.kit.actions import NOW_MS, StillClock, World, find, open_world

DAY_MS = 86_400_000
AUTO_RECORDING = {
    "Mode": "mixed",
    "Content": "av",
    "Format": "mp4",
    "MaxMediaFileDuration": 1440,
    "WaitSeconds": 30,
    "Bucket": "",
    "Vendor": "cos",
    "Region": "",
    "FileNamePrefix": [],
    "ExpireTime": 0,
    "ClassId": 0,
    "Procedure": "",
}


def run(scenario: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with open_world() as world:
            await scenario(world)

    asyncio.run(main())


def clock_of(world: World) -> StillClock:
    clock = world.services.clock
    assert isinstance(clock, StillClock)
    return clock


def picture(kind: str = "PNG", size: tuple[int, int] = (64, 32), **options: Any) -> str:
    buffer = io.BytesIO()
    Image.new("RGB", size, "red").save(buffer, kind, **options)
    return base64.b64encode(buffer.getvalue()).decode()


def test_names_are_unique_over_all_services() -> None:
    assert len(ACTIONS) == len(CLOUD) + len(CONSOLE) + len(CAM) + len(STS)
    described = [name for model in load_catalogue().models for name in model.actions]
    assert len(described) == len(set(described))
    assert set(ACTIONS) <= set(described)


def test_every_action_of_our_own_models_is_built_and_described() -> None:
    for model in load_catalogue().models[1:]:
        for action in model.actions.values():
            assert action.name in ACTIONS
            assert action.description
            for member in (*action.input.values(), *action.output.values()):
                assert member.description, f"{action.name}.{member.name}"
            assert all(member.rule is not None for member in action.input.values()), action.name


@pytest.mark.parametrize("name", sorted({**CONSOLE, **CAM, **STS}))
def test_request_structs_take_the_members_of_the_model_and_their_defaults(name: str) -> None:
    """The structs' defaults and the described ones are one truth."""
    members = {m.name: m for m in find(name)[1].input.values() if not m.disabled}
    fields = {field.encode_name: field for field in msgspec.structs.fields(ACTIONS[name].request)}
    assert set(fields) == set(members)
    for member in members.values():
        assert fields[member.name].required == member.required, member.name
        rule = member.rule or Rule()
        if rule.default is not None:
            assert fields[member.name].default == rule.default, member.name


@pytest.mark.parametrize("name", sorted({**CONSOLE, **CAM, **STS}))
def test_each_code_that_an_action_lists_is_in_the_tests(name: str) -> None:
    """``REFUSED`` of the three test modules; each of its rows is run."""
    from tests.unit.actions import test_cam, test_sts

    rows = [*REFUSED, *test_cam.REFUSED, *test_sts.REFUSED]
    produced = {row[2] for row in rows if row[0] == name}
    assert find(name)[1].errors - produced == set()


# Applications ---------------------------------------------------------------------------------------------------------


def test_an_application_is_made_listed_and_told() -> None:
    async def scenario(world: World) -> None:
        clock_of(world).ms += 1000
        made = (await world.call("CreateTrtcApp", AppName="Straße"))["SdkAppId"]
        listed = await world.call("DescribeAppStatList")
        assert listed["Total"] == 2
        assert [app["SdkAppId"] for app in listed["AppList"]] == [world.app.sdk_app_id, made]
        assert listed["AppList"][1] == {
            "SdkAppId": made,
            "AppName": "Straße",
            "CreateTime": "2023-11-14T22:13:21Z",
            "PermissionControl": False,
        }
        told = (await world.call("DescribeSdkAppInfo", SdkAppId=made))["AppInfo"]
        assert told == {
            "SdkAppId": made,
            "AppName": "Straße",
            "CreateTime": "2023-11-14T22:13:21Z",
            "PermissionControl": False,
            "Scenes": ["rtc", "live"],
            "AutoRecording": {"Enabled": False, **AUTO_RECORDING},
            "Callbacks": [],
            "ConcurrentRecordings": 100,
        }

    run(scenario)


def test_applications_are_found_by_number_and_name_page_by_page() -> None:
    async def scenario(world: World) -> None:
        made = [(await world.call("CreateTrtcApp", AppName=name))["SdkAppId"] for name in ("one", "Two", "three")]

        async def listed(**parameters: Any) -> tuple[int, list[int]]:
            answer = await world.call("DescribeAppStatList", **parameters)
            return answer["Total"], [app["SdkAppId"] for app in answer["AppList"]]

        assert await listed(Keyword="TWO") == (1, [made[1]])
        assert await listed(SdkAppIds=[made[2], world.other_app.sdk_app_id, 5]) == (1, [made[2]])
        assert await listed(PageSize=2, PageNumber=2) == (4, made[1:])
        assert await listed(PageSize=2, PageNumber=3) == (4, [])

    run(scenario)


def test_a_list_has_only_applications_that_policies_grant() -> None:
    async def scenario(world: World) -> None:
        made = (await world.call("CreateTrtcApp", AppName="second"))["SdkAppId"]

        async def seen(caller: Caller) -> list[int]:
            return [app["SdkAppId"] for app in (await world.call("DescribeAppStatList", caller))["AppList"]]

        async def having(name: str, document: str, *more: int) -> Caller:
            policy = await world.accounts.create_policy(world.mine.account_uin, name, document)
            return (await world.user(name, policy.policy_id, *more))[1]

        nobody = (await world.user("nobody"))[1]
        assert await seen(nobody) == []
        assert await seen(await having("one", world.policy(made))) == [made]
        elsewhere = world.policy(made, action="name/trtc:DescribeSdkAppInfo")
        assert await seen(await having("elsewhere", elsewhere)) == []
        assert await seen(await having("but", world.policy(made, effect="deny"), 1)) == [world.app.sdk_app_id]
        assert await seen(world.other) == []

    run(scenario)


def test_settings_change_and_absent_ones_stay() -> None:
    async def scenario(world: World) -> None:
        app = world.app.sdk_app_id

        async def told() -> dict[str, Any]:
            info: dict[str, Any] = (await world.call("DescribeSdkAppInfo", SdkAppId=app))["AppInfo"]
            return info

        before = await told()
        await world.call("ModifyAppInfo", SdkAppId=app)
        assert await told() == before
        await world.call("ModifyAppInfo", SdkAppId=app, AppName="calls", Scenes=["live", "live"])
        await world.call("ModifyAppInfo", SdkAppId=app, PermissionControl=True, AppName="")
        await world.call("ModifyAppInfo", SdkAppId=app, AutoRecording={"Enabled": True, "Mode": "single", "Format": ""})
        assert await told() == before | {
            "AppName": "calls",
            "Scenes": ["live"],
            "PermissionControl": True,
            "AutoRecording": {"Enabled": True, **AUTO_RECORDING, "Mode": "single"},
        }
        asked = {
            "Mode": "single",
            "Content": "audio",
            "Format": "aac",
            "MaxMediaFileDuration": 5,
            "WaitSeconds": 1,
            "Bucket": "lessons",
            "Vendor": "aws",
            "Region": "eu-x",
            "FileNamePrefix": ["a", "b"],
            "ExpireTime": 3600,
            "ClassId": 7,
            "Procedure": "cut",
        }
        await world.call("ModifyAppInfo", SdkAppId=app, AutoRecording={"Enabled": True, **asked})
        assert (await told())["AutoRecording"] == {"Enabled": True, **asked}
        await world.call("ModifyAppInfo", SdkAppId=app, AutoRecording={"Enabled": False}, PermissionControl=False)
        assert await told() == before | {"AppName": "calls", "Scenes": ["live"]}

    run(scenario)


def test_changes_at_once_lose_nothing() -> None:
    async def scenario(world: World) -> None:
        app = world.app.sdk_app_id
        await asyncio.gather(
            world.call("ModifyAppInfo", SdkAppId=app, Scenes=["rtc"]),
            world.call("ChangeSecretKeyFlag", SdkAppId=app, PermissionControl=True),
            world.call("ModifyAppInfo", SdkAppId=app, AutoRecording={"Enabled": True}),
        )
        info = (await world.call("DescribeSdkAppInfo", SdkAppId=app))["AppInfo"]
        assert (info["Scenes"], info["PermissionControl"], info["AutoRecording"]["Enabled"]) == (["rtc"], True, True)

    run(scenario)


def test_callbacks_are_set_by_group_and_taken_away() -> None:
    async def scenario(world: World) -> None:
        app = world.app.sdk_app_id

        async def told() -> list[tuple[int, str]]:
            info = (await world.call("DescribeSdkAppInfo", SdkAppId=app))["AppInfo"]
            assert "secret" not in str(info)
            assert all(not target.trusted for target in await world.accounts.callbacks(app))
            return [(target["EventGroup"], target["Url"]) for target in info["Callbacks"]]

        both = [
            {"EventGroup": 1, "Url": "https://example.com/a", "Key": "secret"},
            {"EventGroup": 3, "Url": "https://example.com/b"},
        ]
        await world.call("ModifyAppInfo", SdkAppId=app, Callbacks=both)
        assert await told() == [(1, "https://example.com/a"), (3, "https://example.com/b")]
        await world.call("ModifyAppInfo", SdkAppId=app, Callbacks=[{"EventGroup": 3, "Url": "https://example.com/c"}])
        await world.call("ModifyAppInfo", SdkAppId=app, Callbacks=[{"EventGroup": 1, "Url": ""}])
        assert await told() == [(3, "https://example.com/c")]
        some = [{"EventGroup": 1, "Url": "https://example.com/d", "EventTypes": [103, 104, 103]}]
        await world.call("ModifyAppInfo", SdkAppId=app, Callbacks=some)
        info = (await world.call("DescribeSdkAppInfo", SdkAppId=app))["AppInfo"]
        assert [target["EventTypes"] for target in info["Callbacks"]] == [[103, 104], []]

    run(scenario)


def test_who_may_not_switch_permission_control_does_not_come_by_it_with_other_settings() -> None:
    async def scenario(world: World) -> None:
        app, account = world.app.sdk_app_id, world.mine.account_uin
        policies = [
            await world.accounts.create_policy(account, "all", world.policy(app)),
            await world.accounts.create_policy(
                account, "no", world.policy(app, action="trtc:ChangeSecretKeyFlag", effect="deny")
            ),
        ]
        _, caller = await world.user("weak", *(policy.policy_id for policy in policies))
        before = await world.call("DescribeSdkAppInfo", SdkAppId=app)
        for on in (True, False):
            wanted = {"SdkAppId": app, "AppName": "new", "PermissionControl": on}
            assert await world.refusal("ModifyAppInfo", caller, **wanted) == "AuthFailure.UnauthorizedOperation"
        assert await world.call("DescribeSdkAppInfo", SdkAppId=app) == before
        await world.call("ModifyAppInfo", caller, SdkAppId=app, AppName="new")

    run(scenario)


def test_nothing_changes_when_one_part_is_refused() -> None:
    async def scenario(world: World) -> None:
        app = world.app.sdk_app_id
        before = await world.call("DescribeSdkAppInfo", SdkAppId=app)
        twice = [{"EventGroup": 1, "Url": "https://example.com"}, {"EventGroup": 1}]
        for bad in (
            {"AppName": "new", "Callbacks": twice},
            {"AppName": " new ", "Callbacks": [{"EventGroup": 1, "Url": "https://example.com"}]},
            {"PermissionControl": True, "Callbacks": [{"EventGroup": 1, "Url": "https://exa mple.com"}]},
        ):
            assert await world.refusal("ModifyAppInfo", SdkAppId=app, **bad) == "InvalidParameter"
        assert await world.call("DescribeSdkAppInfo", SdkAppId=app) == before

    run(scenario)


# Secrets and UserSig --------------------------------------------------------------------------------------------------


def test_a_new_secret_leaves_the_old_one_good_for_a_while() -> None:
    async def scenario(world: World) -> None:
        app, old = world.app.sdk_app_id, world.app.secret_key
        assert await world.call("DescribeSecret", SdkAppId=app) == {"SecretKey": old, "PreviousValidUntil": ""}
        made = await world.call("CreateSecret", SdkAppId=app, KeepSeconds=60)
        assert made == {"PreviousValidUntil": "2023-11-14T22:14:20Z"}
        told = await world.call("DescribeSecret", SdkAppId=app)
        assert told["PreviousValidUntil"] == made["PreviousValidUntil"]
        assert told["SecretKey"] != old
        assert world.accounts.sdk_secret_keys(app) == (told["SecretKey"], old)

        sig = make_user_sig(app, old, "u", now_ms=NOW_MS)

        async def code() -> int:
            number: int = (await world.call("VerifySecretUserSig", SdkAppId=app, UserId="u", UserSig=sig))["Code"]
            return number

        assert await code() == 0
        clock_of(world).ms += 60_000
        assert await code() == 70009
        assert (await world.call("DescribeSecret", SdkAppId=app))["PreviousValidUntil"] == ""

    run(scenario)


def test_a_previous_secret_is_forgotten_at_once() -> None:
    async def scenario(world: World) -> None:
        app = world.app.sdk_app_id
        await world.call("CreateSecret", SdkAppId=app)
        assert len(world.accounts.sdk_secret_keys(app)) == 2
        await world.call("ChangeSecretKeyFlag", SdkAppId=app, ForgetPreviousSecret=True)
        assert len(world.accounts.sdk_secret_keys(app)) == 1
        await world.call("CreateSecret", SdkAppId=app, KeepSeconds=0)
        assert len(world.accounts.sdk_secret_keys(app)) == 1

    run(scenario)


def test_the_permission_key_is_switched_on_and_off() -> None:
    async def scenario(world: World) -> None:
        app = world.app.sdk_app_id
        for on in (True, False):
            await world.call("ChangeSecretKeyFlag", SdkAppId=app, PermissionControl=on)
            assert (await world.call("DescribeSdkAppInfo", SdkAppId=app))["AppInfo"]["PermissionControl"] is on
        assert await world.refusal("ChangeSecretKeyFlag", SdkAppId=app) == "MissingParameter"
        assert await world.refusal("ChangeSecretKeyFlag", SdkAppId=app, ForgetPreviousSecret=False)

    run(scenario)


def test_a_user_sig_is_made_and_verified() -> None:
    async def scenario(world: World) -> None:
        app = world.app.sdk_app_id
        made = await world.call("CreateSecretUserSig", SdkAppId=app, UserId="alice", ExpireSeconds=60)
        assert made["ExpireTime"] == "2023-11-14T22:14:20Z"

        async def verified(user: str, sig: str) -> dict[str, Any]:
            return await world.call("VerifySecretUserSig", SdkAppId=app, UserId=user, UserSig=sig)

        good = {"Code": 0, "Message": "", "ExpireTime": made["ExpireTime"]}
        assert await verified("alice", made["UserSig"]) == good
        wrong = await verified("bob", made["UserSig"])
        assert (wrong["Code"], wrong["ExpireTime"]) == (70013, "")
        assert "another user" in wrong["Message"]
        assert (await verified("alice", made["UserSig"][:40]))["Code"] == 70003
        foreign = make_user_sig(app + 1, world.app.secret_key, "alice", now_ms=NOW_MS)
        assert (await verified("alice", foreign))["Code"] == 70014
        clock_of(world).ms += 61_000
        assert (await verified("alice", made["UserSig"]))["Code"] == 70001

    run(scenario)


def test_a_user_sig_is_good_for_half_a_year_unless_told() -> None:
    async def scenario(world: World) -> None:
        made = await world.call("CreateSecretUserSig", SdkAppId=world.app.sdk_app_id, UserId="alice")
        assert made["ExpireTime"] == "2024-05-12T22:13:20Z"

    run(scenario)


# Watermarks -----------------------------------------------------------------------------------------------------------


def test_a_watermark_is_kept_told_changed_and_deleted() -> None:
    async def scenario(world: World) -> None:
        app, content = world.app.sdk_app_id, picture()
        made = (await world.call("CreateWatermark", SdkAppId=app, Content=content, Suffix="png", XPosition=5))[
            "WatermarkId"
        ]
        whole = {
            "WatermarkId": made,
            "Name": "",
            "Format": "png",
            "Width": 64,
            "Height": 32,
            "XPosition": 5,
            "YPosition": 0,
            "CreateTime": "2023-11-14T22:13:20Z",
            "UpdateTime": "2023-11-14T22:13:20Z",
            "Content": content,
        }
        one = await world.call("DescribeWatermark", SdkAppId=app, WatermarkId=made)
        assert one == {"Total": 1, "WatermarkList": [whole]}
        clock_of(world).ms += 1000
        await world.call("ModifyWatermark", SdkAppId=app, WatermarkId=made, Name="logo", Width=128, XPosition=0)
        listed = await world.call("DescribeWatermark", SdkAppId=app)
        changed = {"Name": "logo", "Width": 128, "XPosition": 0, "UpdateTime": "2023-11-14T22:13:21Z", "Content": ""}
        assert listed == {"Total": 1, "WatermarkList": [whole | changed]}
        await world.call("DeleteWatermark", SdkAppId=app, WatermarkId=made)
        assert await world.call("DescribeWatermark", SdkAppId=app) == {"Total": 0, "WatermarkList": []}

    run(scenario)


def test_another_application_does_not_reach_a_watermark() -> None:
    async def scenario(world: World) -> None:
        made = (await world.call("CreateWatermark", SdkAppId=world.app.sdk_app_id, Content=picture()))["WatermarkId"]
        names = {"SdkAppId": world.other_app.sdk_app_id, "WatermarkId": made}
        for action in ("DescribeWatermark", "ModifyWatermark", "DeleteWatermark"):
            assert await world.refusal(action, world.other, **names) == "ResourceNotFound"
        assert (await world.call("DescribeWatermark", SdkAppId=world.app.sdk_app_id))["Total"] == 1

    run(scenario)


def test_an_application_has_fifty_watermarks() -> None:
    async def scenario(world: World) -> None:
        given = {"SdkAppId": world.app.sdk_app_id, "Content": picture("BMP", (2, 2))}
        for _ in range(PER_APPLICATION):
            await world.call("CreateWatermark", **given)
        assert await world.refusal("CreateWatermark", **given) == "LimitExceeded"
        listed = await world.call("DescribeWatermark", SdkAppId=world.app.sdk_app_id, PageSize=20, PageNumber=3)
        assert (listed["Total"], len(listed["WatermarkList"])) == (50, 10)

    run(scenario)


# Refusals -------------------------------------------------------------------------------------------------------------

APP: Any = object()  # replaced by the application's number

REFUSED: list[tuple[str, dict[str, Any], str]] = [
    *((name, {}, "MissingParameter.SdkAppId") for name in CONSOLE if find(name)[1].scope == "application"),
    *(
        (name, {"SdkAppId": "a"}, "InvalidParameter.SdkAppId")
        for name in CONSOLE
        if find(name)[1].scope == "application"
    ),
    ("CreateTrtcApp", {}, "MissingParameter"),
    ("CreateTrtcApp", {"AppName": "a\nb"}, "InvalidParameter"),
    ("CreateTrtcApp", {"AppName": " a"}, "InvalidParameter"),
    ("CreateTrtcApp", {"AppName": "a" * 65}, "InvalidParameterValue"),
    ("DescribeAppStatList", {"PageSize": 101}, "InvalidParameterValue"),
    ("DescribeAppStatList", {"SdkAppIds": [1] * 101}, "InvalidParameterValue"),
    ("ModifyAppInfo", {"SdkAppId": APP, "Scenes": ["meeting"]}, "InvalidParameterValue"),
    ("ModifyAppInfo", {"SdkAppId": APP, "AutoRecording": {}}, "MissingParameter"),
    ("ModifyAppInfo", {"SdkAppId": APP, "AutoRecording": {"Enabled": True, "WaitSeconds": 0}}, "InvalidParameterValue"),
    (
        "ModifyAppInfo",
        {"SdkAppId": APP, "AutoRecording": {"Enabled": True, "Format": "aac", "Content": "video"}},
        "InvalidParameter",
    ),
    ("ModifyAppInfo", {"SdkAppId": APP, "AutoRecording": {"Enabled": True, "Bucket": "a/b"}}, "InvalidParameter"),
    ("ModifyAppInfo", {"SdkAppId": APP, "Callbacks": [{"EventGroup": 5}]}, "InvalidParameterValue"),
    ("ModifyAppInfo", {"SdkAppId": APP, "Callbacks": [{"EventGroup": 1, "Url": "ftp://x"}]}, "InvalidParameter"),
    (
        "ModifyAppInfo",
        {"SdkAppId": APP, "Callbacks": [{"EventGroup": 1, "Url": "http://x", "Key": "a-b"}]},
        "InvalidParameter",
    ),
    (
        "ModifyAppInfo",
        {"SdkAppId": APP, "Callbacks": [{"EventGroup": 1, "Url": "http://x", "EventTypes": [201]}]},
        "InvalidParameterValue",
    ),
    ("CreateSecret", {"SdkAppId": APP, "KeepSeconds": 15_552_001}, "InvalidParameterValue"),
    ("CreateSecretUserSig", {"SdkAppId": APP, "UserId": "a b"}, "InvalidParameter"),
    ("CreateSecretUserSig", {"SdkAppId": APP, "UserId": "a", "ExpireSeconds": 0}, "InvalidParameterValue"),
    ("VerifySecretUserSig", {"SdkAppId": APP, "UserId": "a"}, "MissingParameter"),
    ("CreateWatermark", {"SdkAppId": APP, "Content": "no base64!"}, "InvalidParameter"),
    ("CreateWatermark", {"SdkAppId": APP, "Content": "Zm9v"}, "InvalidParameter"),
    ("CreateWatermark", {"SdkAppId": APP, "Content": picture("GIF")}, "InvalidParameter"),
    ("CreateWatermark", {"SdkAppId": APP, "Content": picture("JPEG"), "Suffix": "png"}, "InvalidParameter"),
    ("CreateWatermark", {"SdkAppId": APP, "Content": picture(), "Suffix": "gif"}, "InvalidParameterValue"),
    ("CreateWatermark", {"SdkAppId": APP, "Content": picture(), "Width": 0}, "InvalidParameterValue"),
    ("CreateWatermark", {"SdkAppId": APP, "Content": "A" * 2_796_208}, "InvalidParameterValue"),
    ("ModifyWatermark", {"SdkAppId": APP, "WatermarkId": "WM_none"}, "ResourceNotFound"),
    ("DescribeWatermark", {"SdkAppId": APP, "WatermarkId": "WM_none"}, "ResourceNotFound"),
    ("DeleteWatermark", {"SdkAppId": APP, "WatermarkId": "WM_none"}, "ResourceNotFound"),
]


@pytest.mark.parametrize(("name", "parameters", "code"), REFUSED)
def test_bad_requests_are_refused_with_their_code(name: str, parameters: dict[str, Any], code: str) -> None:
    async def scenario(world: World) -> None:
        given = {key: world.app.sdk_app_id if value is APP else value for key, value in parameters.items()}
        assert await world.refusal(name, **given) == code

    run(scenario)


def test_an_account_has_a_hundred_applications() -> None:
    async def scenario(world: World) -> None:
        for index in range(99):
            await world.accounts.create_application(world.mine.account_uin, f"app {index}")
        assert await world.refusal("CreateTrtcApp", AppName="one more") == "LimitExceeded"

    run(scenario)
