"""The official, unmodified Python SDKs of CAM and STS, and the console's actions through that of TRTC."""

import asyncio
import base64
import io
import json
import logging
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from PIL import Image
from tencentcloud.cam.v20190116 import models as cam
from tencentcloud.cam.v20190116.cam_client import CamClient
from tencentcloud.common import credential
from tencentcloud.common.abstract_client import AbstractClient
from tencentcloud.common.abstract_model import AbstractModel
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.sts.v20180813 import models as sts
from tencentcloud.sts.v20180813.sts_client import StsClient
from tencentcloud.trtc.v20190722.trtc_client import TrtcClient

from rtcloud.gateway.server import GatewaySettings
from tests.kit.api import Api, serve_api

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp")]


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with serve_api(GatewaySettings(per_second={"*": 0})) as served:
        yield served


@pytest.fixture(scope="module")
def second(api: Api) -> int:
    """Another application of the same account."""
    made: int = called(trtc(api), "CreateTrtcApp", AppName="second")["SdkAppId"]
    return made


def client(kind: type[AbstractClient], api: Api, keys: Any = None, **profile: Any) -> Any:
    own = api.credentials
    chosen = keys or credential.Credential(own.secret_id, own.secret_key)
    http = HttpProfile(protocol="http", endpoint=api.endpoint, reqTimeout=20, **profile.pop("http", {}))
    region = profile.pop("region", "ap-guangzhou")
    return kind(chosen, region, ClientProfile(httpProfile=http, **profile))


def trtc(api: Api, keys: Any = None, **profile: Any) -> Any:
    return client(TrtcClient, api, keys, **profile)


def called(sdk: Any, action: str, **parameters: Any) -> dict[str, Any]:
    answer: dict[str, Any] = sdk.call_json(action, parameters)["Response"]
    return answer


def filled(request: AbstractModel, **values: Any) -> Any:
    request._deserialize(values)
    return request


def code(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(TencentCloudSDKException) as caught:
        call(*arguments, **named)
    return str(caught.value.code)


def worker(api: Api, name: str) -> tuple[int, Any]:
    """A new user of the account: its uin, and a credential."""

    async def made() -> tuple[int, Any]:
        user = await api.accounts.create_user(api.credentials.account_uin, name)
        pair = await api.accounts.create_key_pair(user.uin)
        return int(user.uin), credential.Credential(pair.secret_id, pair.secret_key)

    return asyncio.run(made())


def document(api: Api, *applications: int, action: str = "name/trtc:*", effect: str = "allow") -> str:
    own = f"qcs::trtc::uin/{api.credentials.account_uin}:sdkappid"
    statement = {"effect": effect, "action": [action], "resource": [f"{own}/{number}" for number in applications]}
    return json.dumps({"version": "2.0", "statement": [statement]})


def temporary(answer: Any) -> Any:
    keys = answer.Credentials
    return credential.Credential(keys.TmpSecretId, keys.TmpSecretKey, keys.Token)


def remove(api: Api, keys: Any, sdk_app_id: int) -> str:
    """The code of a call on a room that does not exist: what is denied never gets there."""
    return code(called, trtc(api, keys), "RemoveUser", SdkAppId=sdk_app_id, RoomId=1, UserIds=["u"])


ALLOWED, DENIED = "FailedOperation.RoomNotExist", "AuthFailure.UnauthorizedOperation"


def test_an_attached_policy_allows_one_application_and_denies_another(api: Api, second: int) -> None:
    first, access = api.credentials.sdk_app_id, client(CamClient, api)
    uin, keys = worker(api, "one-only")
    assert (remove(api, keys, first), remove(api, keys, second)) == (DENIED, DENIED)
    request = filled(cam.CreatePolicyRequest(), PolicyName="one-only", PolicyDocument=document(api, first))
    made = access.CreatePolicy(request).PolicyId
    access.AttachUserPolicy(filled(cam.AttachUserPolicyRequest(), PolicyId=made, AttachUin=uin))
    assert (remove(api, keys, first), remove(api, keys, second)) == (ALLOWED, DENIED)

    (listed,) = access.ListAttachedUserPolicies(filled(cam.ListAttachedUserPoliciesRequest(), TargetUin=uin)).List
    assert (listed.PolicyId, listed.PolicyName, listed.PolicyType) == (made, "one-only", "User")
    told = access.GetPolicy(filled(cam.GetPolicyRequest(), PolicyId=made))
    assert json.loads(told.PolicyDocument)["statement"][0]["effect"] == "allow"
    found = access.ListPolicies(filled(cam.ListPoliciesRequest(), Scope="Local", Keyword="one-only"))
    assert (found.TotalNum, found.List[0].Attachments) == (1, 1)
    assert code(client(CamClient, api, keys).ListPolicies, cam.ListPoliciesRequest()) == DENIED

    access.DetachUserPolicy(filled(cam.DetachUserPolicyRequest(), PolicyId=made, DetachUin=uin))
    assert remove(api, keys, first) == DENIED
    access.DeletePolicy(filled(cam.DeletePolicyRequest(), PolicyId=[made]))
    gone = code(access.GetPolicy, filled(cam.GetPolicyRequest(), PolicyId=made))
    assert gone == "ResourceNotFound.PolicyIdNotFound"


@pytest.mark.parametrize("profile", [{}, {"signMethod": "HmacSHA256"}, {"http": {"reqMethod": "GET"}}])
def test_a_federation_token_is_narrower_than_who_asked(api: Api, second: int, profile: dict[str, Any]) -> None:
    request = filled(
        sts.GetFederationTokenRequest(),
        Name="guest",
        Policy=urllib.parse.quote(document(api, second, action="name/trtc:RemoveUser")),
    )
    answer = client(StsClient, api, **profile).GetFederationToken(request)
    assert 1700 < answer.ExpiredTime - time.time() <= 1800
    assert answer.Expiration.endswith("Z")
    keys = temporary(answer)
    assert (remove(api, keys, second), remove(api, keys, api.credentials.sdk_app_id)) == (ALLOWED, DENIED)
    identity = client(StsClient, api, keys).GetCallerIdentity(sts.GetCallerIdentityRequest())
    assert (identity.AccountId, identity.Type) == (api.credentials.account_uin, "FederatedUser")
    without = credential.Credential(keys.secret_id, keys.secret_key)
    assert remove(api, without, second) == "AuthFailure.TokenFailure"
    assert remove(api, credential.Credential(keys.secret_id, "wrong", keys.token), second) == (
        "AuthFailure.SignatureFailure"
    )


def test_an_expired_token_is_refused(api: Api) -> None:
    app = api.credentials.sdk_app_id
    request = filled(sts.GetFederationTokenRequest(), Name="guest", Policy=document(api, app), DurationSeconds=2)
    answer = client(StsClient, api).GetFederationToken(request)
    keys, deadline = temporary(answer), time.monotonic() + 20
    while (seen := remove(api, keys, app)) == ALLOWED:
        assert time.monotonic() < deadline, "it never expired"
    assert seen == "AuthFailure.TokenFailure"
    assert time.time() >= answer.ExpiredTime


def test_a_role_is_assumed_by_whom_it_trusts(api: Api) -> None:
    account, app = api.credentials.account_uin, api.credentials.sdk_app_id
    uin, keys = worker(api, "trusted")
    _, others = worker(api, "not-trusted")

    async def role() -> None:
        policy = await api.accounts.create_policy(account, "of-night", document(api, app))
        await api.accounts.create_role(account, "night", [str(uin)])
        await api.accounts.attach_policy(account, policy.policy_id, role="night")

    asyncio.run(role())
    request = filled(
        sts.AssumeRoleRequest(), RoleArn=f"qcs::cam::uin/{account}:roleName/night", RoleSessionName="shift-1"
    )
    assumed = temporary(client(StsClient, api, keys).AssumeRole(request))
    assert (remove(api, keys, app), remove(api, assumed, app)) == (DENIED, ALLOWED)
    assert code(client(StsClient, api, others).AssumeRole, request) == "UnauthorizedOperation"


def test_a_list_of_applications_holds_what_policies_grant(api: Api, second: int) -> None:
    uin, keys = worker(api, "reader")
    assert called(trtc(api, keys), "DescribeAppStatList")["AppList"] == []
    access = client(CamClient, api)
    text = document(api, second, action="name/trtc:Describe*")
    made = access.CreatePolicy(filled(cam.CreatePolicyRequest(), PolicyName="reads", PolicyDocument=text)).PolicyId
    access.AttachUserPolicy(filled(cam.AttachUserPolicyRequest(), PolicyId=made, AttachUin=uin))
    (seen,) = called(trtc(api, keys), "DescribeAppStatList")["AppList"]
    assert seen["SdkAppId"] == second
    assert called(trtc(api, keys), "DescribeSdkAppInfo", SdkAppId=second)["AppInfo"]["AppName"] == "second"
    for action in ("CreateTrtcApp", "DescribeSecret"):
        needed = {"AppName": "x"} if action == "CreateTrtcApp" else {"SdkAppId": api.credentials.sdk_app_id}
        assert code(called, trtc(api, keys), action, **needed) == DENIED


@pytest.mark.parametrize("region", ["", "eu-moon"])
def test_regions_do_not_matter(api: Api, region: str) -> None:
    assert called(trtc(api, region=region), "DescribeAppStatList")["Total"] >= 1
    identity = client(StsClient, api, region=region).GetCallerIdentity(sts.GetCallerIdentityRequest())
    assert identity.Type == "CAMUser"


def test_the_console_works_through_the_sdk(api: Api, second: int) -> None:
    sdk = trtc(api)
    called(sdk, "ModifyAppInfo", SdkAppId=second, Scenes=["rtc"], AutoRecording={"Enabled": True, "Format": "hls"})
    info = called(sdk, "DescribeSdkAppInfo", SdkAppId=second)["AppInfo"]
    assert (info["Scenes"], info["AutoRecording"]["Format"]) == (["rtc"], "hls")
    sig = called(sdk, "CreateSecretUserSig", SdkAppId=second, UserId="alice")["UserSig"]
    called(sdk, "CreateSecret", SdkAppId=second, KeepSeconds=600)
    assert called(sdk, "VerifySecretUserSig", SdkAppId=second, UserId="alice", UserSig=sig)["Code"] == 0
    called(sdk, "ChangeSecretKeyFlag", SdkAppId=second, ForgetPreviousSecret=True)
    assert called(sdk, "VerifySecretUserSig", SdkAppId=second, UserId="alice", UserSig=sig)["Code"] == 70009
    assert len(called(sdk, "DescribeSecret", SdkAppId=second)["SecretKey"]) == 64
    assert code(called, sdk, "DescribeSecret", SdkAppId=5) == "InvalidParameter.SdkAppId"


@pytest.mark.parametrize("profile", [{}, {"signMethod": "HmacSHA1"}])
def test_a_watermark_comes_back_as_it_went_in(api: Api, second: int, profile: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    Image.effect_noise((600, 500), 90).save(buffer, "PNG")
    content = base64.b64encode(buffer.getvalue()).decode()
    assert len(content) > 300_000
    sdk = trtc(api, **profile)
    made = called(sdk, "CreateWatermark", SdkAppId=second, Content=content, Suffix="png", Name="noise")["WatermarkId"]
    (kept,) = called(sdk, "DescribeWatermark", SdkAppId=second, WatermarkId=made)["WatermarkList"]
    assert (kept["Content"], kept["Width"], kept["Height"]) == (content, 600, 500)
    called(sdk, "DeleteWatermark", SdkAppId=second, WatermarkId=made)
    assert code(called, sdk, "DeleteWatermark", SdkAppId=second, WatermarkId=made) == "ResourceNotFound"


def test_the_example_shows_what_is_allowed_and_what_is_not(api: Api, tmp_path: Path) -> None:
    keys = msgspec.structs.asdict(api.credentials) | {"endpoint": f"http://{api.endpoint}"}
    (tmp_path / "credentials.json").write_text(json.dumps(keys))
    program = Path(__file__).parents[2] / "examples" / "api" / "temporary_credentials.py"
    done = subprocess.run(
        [sys.executable, program, "--data", tmp_path], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    made, allowed, denied = done.stdout.splitlines()
    assert "are good until" in made
    assert '"Scenes": ["rtc", "live"]' in allowed
    assert denied == "DescribeSecret: AuthFailure.UnauthorizedOperation"


def test_no_secret_is_logged(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    app = api.credentials.sdk_app_id
    with caplog.at_level(logging.DEBUG):
        secrets = [called(trtc(api), "DescribeSecret", SdkAppId=app)["SecretKey"]]
        secrets += [called(trtc(api), "CreateSecretUserSig", SdkAppId=app, UserId="alice")["UserSig"]]
        request = filled(sts.GetFederationTokenRequest(), Name="guest", Policy=document(api, app))
        keys = client(StsClient, api).GetFederationToken(request).Credentials
        secrets += [keys.TmpSecretKey, keys.Token, api.credentials.secret_key]
        remove(api, credential.Credential(keys.TmpSecretId, keys.TmpSecretKey, keys.Token), app)
    ours = [str(vars(record)) for record in caplog.records if record.name.startswith("rtcloud")]
    assert len(ours) >= 4
    assert not [line for line in ours if any(secret in line for secret in secrets)]
