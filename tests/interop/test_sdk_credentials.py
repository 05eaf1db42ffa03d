"""What the Python SDK does by itself: credentials that it renews from a role, and a client for asyncio."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential, STSAssumeRoleCredential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.trtc.v20190722 import models
from tencentcloud.trtc.v20190722.trtc_client_async import TrtcClient as AsyncTrtcClient

from rtcloud.gateway.server import GatewaySettings
from rtcloud.rooms.ids import RoomRef
from tests.kit.api import Api, serve_api
from tests.kit.certificates import write_certificate
from tests.kit.server import Server

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp")]

NOT_OPEN = "FailedOperation.RoomNotExist"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("secure")


@pytest.fixture(scope="module")
def server(directory: Path) -> Iterator[Server]:
    chain, private = write_certificate(directory, 1)
    with Server(directory / "data", "--tls-cert", str(chain), "--tls-key", str(private), scheme="https") as served:
        yield served


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with serve_api(GatewaySettings(per_second={"*": 0})) as served:
        yield served


def profile(server: Server, directory: Path) -> ClientProfile:
    http = HttpProfile(
        protocol="https", endpoint=f"127.0.0.1:{server.port}", certification=str(directory / "fullchain.pem")
    )
    return ClientProfile(httpProfile=http)


def dismissed(client: CommonClient, server: Server) -> str:
    with pytest.raises(TencentCloudSDKException) as answer:
        client.call_json("DismissRoom", {"SdkAppId": server.sdk_app_id, "RoomId": 4711})
    return str(answer.value.get_code())


def test_credentials_of_a_role_renew_themselves(
    server: Server, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK asks for them over HTTPS and can only be told the endpoint; whom it trusts is the machine's affair."""
    monkeypatch.setattr("certifi.where", lambda: str(directory / "fullchain.pem"))
    account = server.credentials["account_uin"]
    server.admin("roles", "create", account, "robot", "--trust", "administrator")
    known, arn = server.credentials, f"qcs::cam::uin/{account}:roleName/robot"
    credential = STSAssumeRoleCredential(
        known["secret_id"], known["secret_key"], arn, "night", 7200, endpoint=f"127.0.0.1:{server.port}"
    )
    client = CommonClient("trtc", "2019-07-22", credential, "ap-guangzhou", profile(server, directory))
    assert dismissed(client, server) == "AuthFailure.UnauthorizedOperation"
    server.admin("policies", "attach", "QcloudTRTCFullAccess", "--role", "robot", "--account", account)
    assert dismissed(client, server) == NOT_OPEN
    first = credential.secret_id
    credential._expired_time = 0
    assert dismissed(client, server) == NOT_OPEN
    assert credential.secret_id != first
    server.admin("roles", "delete", account, "robot")
    assert dismissed(client, server) == "AuthFailure.TokenFailure"


@pytest.mark.anyio
@pytest.mark.parametrize("sign_method", ["TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_the_sdks_asyncio_client_is_answered(api: Api, sign_method: str, method: str) -> None:
    http = HttpProfile(protocol="http", endpoint=api.endpoint, reqMethod=method)
    keys = Credential(api.credentials.secret_id, api.credentials.secret_key)
    told = ClientProfile(httpProfile=http, signMethod=sign_method)
    api.rooms.open[RoomRef(api.credentials.sdk_app_id, True, "6")] = {"u", "v"}
    request = models.RemoveUserRequest()
    request.SdkAppId, request.RoomId, request.UserIds = api.credentials.sdk_app_id, 6, ["u"]
    async with AsyncTrtcClient(keys, "ap-guangzhou", told) as client:
        assert (await client.RemoveUser(request)).RequestId
        request.RoomId = 7
        with pytest.raises(TencentCloudSDKException) as answer:
            await client.RemoveUser(request)
    assert answer.value.get_code() == NOT_OPEN
    assert api.rooms.open[RoomRef(api.credentials.sdk_app_id, True, "6")] == {"v"}
