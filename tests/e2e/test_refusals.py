"""What a server refuses, with the documented codes: at the join, and through the official SDK."""

import os
import stat
import time

import httpx
import pytest
from tencentcloud.common import abstract_client
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.trtc.v20190722 import models
from TLSSigAPIv2 import TLSSigAPIv2

from tests.kit.cloud import Cloud
from tests.kit.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp")]


def refused(server: Server, **fields: object) -> tuple[int, int]:
    """HTTP status and documented number of a refused join."""
    answer = server.join("alice", 77, **fields)
    error = answer.json()["error"]
    assert error["message"]
    assert error["requestId"]
    return answer.status_code, error["code"]


def test_a_user_sig_of_another_key_is_refused(shared_server: Server) -> None:
    forged = TLSSigAPIv2(shared_server.sdk_app_id, "0" * 64).gen_sig("alice", 3600)
    assert refused(shared_server, userSig=forged) == (401, 70009)


def test_an_expired_user_sig_is_refused(shared_server: Server) -> None:
    assert refused(shared_server, userSig=shared_server.user_sig("alice", -10)) == (401, 70001)


def test_a_user_sig_of_another_user_is_refused(shared_server: Server) -> None:
    assert refused(shared_server, userSig=shared_server.user_sig("bob")) == (401, 70013)


def test_a_damaged_user_sig_is_refused(shared_server: Server) -> None:
    status, code = refused(shared_server, userSig=shared_server.user_sig("alice")[:40])
    assert status == 401
    assert 70002 <= code <= 70005


def test_an_unknown_application_is_refused(shared_server: Server) -> None:
    assert refused(shared_server, sdkAppId=shared_server.sdk_app_id + 1) == (404, -8)


@pytest.mark.parametrize("room", [{"roomId": 0}, {"roomId": 4294967295}, {"roomId": "77"}, {"strRoomId": "ä"}])
def test_a_bad_room_is_refused(shared_server: Server, room: dict[str, object]) -> None:
    body = {"sdkAppId": shared_server.sdk_app_id, "userId": "a", "userSig": shared_server.user_sig("a"), **room}
    answer = httpx.post(f"{shared_server.url}/v1/join", json=body, timeout=10)
    assert 400 <= answer.status_code < 500
    assert answer.json()["error"]["code"]


def api_refusal(cloud: Cloud) -> str:
    with pytest.raises(TencentCloudSDKException) as caught:
        cloud.ask(models.DescribeCloudRecordingRequest(), {"TaskId": "none"})
    assert caught.value.get_request_id()
    return str(caught.value.get_code())


def test_a_wrong_api_signature_is_refused(shared_server: Server) -> None:
    assert api_refusal(Cloud(shared_server, secret_key="x" * 32)) == "AuthFailure.SignatureFailure"


def test_an_unknown_secret_id_is_refused(shared_server: Server) -> None:
    assert api_refusal(Cloud(shared_server, secret_id="AKID" + "0" * 32)) == "AuthFailure.SecretIdNotFound"


def test_a_request_six_minutes_old_is_refused(shared_server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    class SlowClock:
        @staticmethod
        def time() -> float:
            return time.time() - 360

    monkeypatch.setattr(abstract_client, "time", SlowClock)
    assert api_refusal(Cloud(shared_server)) == "AuthFailure.SignatureExpire"


def test_an_unknown_task_and_an_unknown_room_are_told(shared_server: Server) -> None:
    cloud = Cloud(shared_server)
    assert api_refusal(cloud) == "ResourceNotFound"
    with pytest.raises(TencentCloudSDKException) as caught:
        cloud.dismiss_room(4040)
    assert caught.value.get_code() == "FailedOperation.RoomNotExist"


def test_the_credentials_are_readable_by_their_owner_only(shared_server: Server) -> None:
    mode = stat.S_IMODE(os.stat(shared_server.data / "credentials.json").st_mode)
    assert mode == 0o600
