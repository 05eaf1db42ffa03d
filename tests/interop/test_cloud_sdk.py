"""The official, unmodified Python SDK against the API's edge: only endpoint and protocol are changed."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tencentcloud.common import credential
from tencentcloud.common.abstract_model import AbstractModel
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.trtc.v20190722 import models
from tencentcloud.trtc.v20190722.trtc_client import TrtcClient

from rtcloud.accounts.usersig import make_user_sig
from rtcloud.egress.recording.request import decode
from rtcloud.gateway.server import GatewaySettings
from rtcloud.rooms.ids import RoomRef
from rtcloud.tasks.task import TaskFile
from tests.kit.api import Api, serve_api

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp")]


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    no_limits = {name: 0 for name in ("RemoveUser", "DismissRoom", "CreateCloudRecording", "DescribeCloudRecording")}
    with serve_api(GatewaySettings(per_second=no_limits)) as served:
        yield served


def client(
    api: Api,
    *,
    secret_id: str | None = None,
    secret_key: str | None = None,
    token: str | None = None,
    region: str = "ap-guangzhou",
    **profile: Any,
) -> TrtcClient:
    keys = credential.Credential(
        secret_id or api.credentials.secret_id, secret_key or api.credentials.secret_key, token
    )
    http = HttpProfile(protocol="http", endpoint=api.endpoint, reqTimeout=20)
    return TrtcClient(keys, region, ClientProfile(httpProfile=http, **profile))


def filled(request: AbstractModel, values: dict[str, Any]) -> Any:
    request._deserialize(values)
    return request


def recording(api: Api, **changes: Any) -> Any:
    app, key = api.credentials.sdk_app_id, api.credentials.sdk_secret_key
    values: dict[str, Any] = {
        "SdkAppId": app,
        "RoomId": "3560",
        "UserId": "robot",
        "UserSig": make_user_sig(app, key, "robot", now_ms=time.time_ns() // 1_000_000),
        "RecordParams": {"RecordMode": 2, "MaxIdleTime": 60, "StreamType": 0, "OutputFormat": 1},
        "StorageParams": {
            "CloudStorage": {
                "Vendor": 0,
                "Region": "ap-guangzhou",
                "Bucket": "calls-1250000000",
                "AccessKey": "access",
                "SecretKey": "secret",
                "FileNamePrefix": ["a", "b"],
            }
        },
        "MixTranscodeParams": {
            "VideoParams": {"Width": 1280, "Height": 720, "BitRate": 1_000_000, "Fps": 30, "Gop": 2}
        },
        "MixLayoutParams": {"MixLayoutMode": 3},
    }
    return filled(models.CreateCloudRecordingRequest(), values | changes)


def refused(call: Any, request: Any) -> TencentCloudSDKException:
    with pytest.raises(TencentCloudSDKException) as caught:
        call(request)
    error = caught.value
    assert error.get_request_id()
    return error


def remove(api: Api, room: int = 1, *users: str) -> Any:
    values = {"SdkAppId": api.credentials.sdk_app_id, "RoomId": room, "UserIds": list(users or ("u",))}
    return filled(models.RemoveUserRequest(), values)


def test_recording_is_created_described_and_deleted(api: Api) -> None:
    sdk = client(api)
    created = sdk.CreateCloudRecording(recording(api))
    assert created.RequestId
    task = api.tasks.accepted[created.TaskId]
    assert task.ref == RoomRef(api.credentials.sdk_app_id, True, "3560")
    request = decode(task.params)
    assert request.mix_transcode_params.video_params.bit_rate == 1_000_000
    assert request.storage_params.cloud_storage is not None
    assert request.storage_params.cloud_storage.file_name_prefix == ("a", "b")

    asked = filled(
        models.DescribeCloudRecordingRequest(), {"SdkAppId": api.credentials.sdk_app_id, "TaskId": created.TaskId}
    )
    assert sdk.DescribeCloudRecording(asked).Status == "Idle"
    index = TaskFile("1_3560.m3u8", "index", "", "audio_video", 1_700_000_000_123)
    api.tasks.move(created.TaskId, "running", index, TaskFile("x.mp4", "mp4", "", "audio_video", 5))
    described = sdk.DescribeCloudRecording(asked)
    assert (described.TaskId, described.Status) == (created.TaskId, "InProgress")
    (file,) = described.StorageFileList
    assert (file.UserId, file.FileName, file.TrackType) == ("", "1_3560.m3u8", "audio_video")
    assert file.BeginTimeStamp == 1_700_000_000_123

    stop = filled(
        models.DeleteCloudRecordingRequest(), {"SdkAppId": api.credentials.sdk_app_id, "TaskId": created.TaskId}
    )
    assert sdk.DeleteCloudRecording(stop).TaskId == created.TaskId
    assert api.tasks.views[created.TaskId].desired_state == "stopped"
    api.tasks.move(created.TaskId, "ending")
    assert sdk.DescribeCloudRecording(asked).Status == "Exited"
    assert sdk.DeleteCloudRecording(stop).TaskId == created.TaskId
    api.tasks.move(created.TaskId, "ended")
    assert refused(sdk.DescribeCloudRecording, asked).code == "ResourceNotFound"
    assert refused(sdk.DeleteCloudRecording, stop).code == "ResourceNotFound"


def test_the_documented_change_of_a_recording_is_taken(api: Api) -> None:
    sdk = client(api)
    task_id = sdk.CreateCloudRecording(recording(api)).TaskId
    changes = {
        "SdkAppId": api.credentials.sdk_app_id,
        "TaskId": task_id,
        "SubscribeStreamUserIds": {
            "SubscribeVideoUserIds": ["123", "456"],
            "SubscribeAudioUserIds": ["123", "456"],
        },
        "MixLayoutParams": {
            "MixLayoutMode": 4,
            "MixLayoutList": [
                {"Top": 100, "UserId": "123", "Height": 100, "Width": 100, "Left": 100},
                {"Top": 200, "UserId": "456", "Height": 100, "Width": 100, "Left": 200},
            ],
        },
    }
    modify = filled(models.ModifyCloudRecordingRequest(), changes)
    assert sdk.ModifyCloudRecording(modify).TaskId == task_id
    request = decode(api.tasks.accepted[task_id].params)
    assert request.record_params.subscribe_stream_user_ids.subscribe_video_user_ids == ("123", "456")
    assert [(each.user_id, each.left, each.top) for each in request.mix_layout_params.mix_layout_list] == [
        ("123", 100, 100),
        ("456", 200, 200),
    ]
    api.tasks.move(task_id, "ended")
    assert refused(sdk.ModifyCloudRecording, modify).code == "ResourceNotFound"


def test_rooms_of_both_kinds_are_managed(api: Api) -> None:
    sdk, app = client(api), api.credentials.sdk_app_id
    numeric, text = RoomRef(app, True, "7"), RoomRef(app, False, "7")
    api.rooms.open.update({numeric: {"a", "b"}, text: {"a", "b"}})
    assert sdk.RemoveUser(remove(api, 7, "a", "absent")).RequestId
    assert (api.rooms.open[numeric], api.rooms.open[text]) == ({"b"}, {"a", "b"})
    values = {"SdkAppId": app, "RoomId": "7", "UserIds": ["b"]}
    sdk.RemoveUserByStrRoomId(filled(models.RemoveUserByStrRoomIdRequest(), values))
    assert api.rooms.open[text] == {"a"}
    sdk.DismissRoomByStrRoomId(filled(models.DismissRoomByStrRoomIdRequest(), {"SdkAppId": app, "RoomId": "7"}))
    assert list(api.rooms.open) == [numeric]
    dismissal = filled(models.DismissRoomRequest(), {"SdkAppId": app, "RoomId": 7})
    sdk.DismissRoom(dismissal)
    assert refused(sdk.DismissRoom, dismissal).code == "FailedOperation.RoomNotExist"
    assert refused(sdk.RemoveUser, remove(api, 7)).code == "FailedOperation.RoomNotExist"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"secret_key": "wrong"}, "AuthFailure.SignatureFailure"),
        ({"secret_id": "AKID" + "x" * 32}, "AuthFailure.SecretIdNotFound"),
        ({"secret_id": "nobody"}, "AuthFailure.InvalidSecretId"),
        ({"token": "a-temporary-one"}, "AuthFailure.TokenFailure"),
        ({"region": "eu-moon"}, "UnsupportedRegion"),
        ({"region": ""}, "MissingParameter"),
        ({"signMethod": "HmacSHA1", "secret_key": "wrong"}, "AuthFailure.SignatureFailure"),
    ],
)
def test_wrong_credentials_are_refused(api: Api, options: dict[str, Any], code: str) -> None:
    assert refused(client(api, **options).RemoveUser, remove(api)).code == code


def test_six_minute_old_timestamp_is_refused(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    for shift in (-360, 360):
        with monkeypatch.context() as patched:
            patched.setattr("tencentcloud.common.abstract_client.time.time", lambda shift=shift: real() + shift)
            error = refused(client(api).RemoveUser, remove(api))
        assert error.code == "AuthFailure.SignatureExpire"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("sign_method", ["TC3-HMAC-SHA256", "HmacSHA1", "HmacSHA256"])
def test_every_profile_of_the_sdk_works(api: Api, sign_method: str, method: str) -> None:
    api.rooms.open[RoomRef(api.credentials.sdk_app_id, True, "9")] = {"u"}
    sdk = client(api, signMethod=sign_method)
    sdk.profile.httpProfile.reqMethod = method
    assert sdk.RemoveUser(remove(api, 9)).RequestId
    assert refused(sdk.RemoveUser, remove(api, 1000)).code == "FailedOperation.RoomNotExist"


@pytest.mark.parametrize("unsigned", [False, True])
@pytest.mark.parametrize("files", [[], ["RoomId"]])
def test_multipart_carries_texts_files_and_json(api: Api, unsigned: bool, files: list[str]) -> None:
    """Lists go as parts that say they are JSON, numbers as texts, and what the program calls binary as files."""
    room = RoomRef(api.credentials.sdk_app_id, False, "会议室")
    api.rooms.open[room] = {"a", "b", "王 &="}
    sdk = client(api)
    sdk.profile.unsignedPayload = unsigned
    values = {"SdkAppId": str(room.sdk_app_id), "RoomId": room.room_id, "UserIds": ["a", "王 &="]}
    options = {"IsMultipart": True, "BinaryParams": files}
    answer = sdk.call_json("RemoveUserByStrRoomId", values, options=options)
    assert answer["Response"]["RequestId"]
    assert api.rooms.open[room] == {"b"}


def test_octet_stream_is_refused(api: Api) -> None:
    with pytest.raises(TencentCloudSDKException) as caught:
        client(api).call_octet_stream("VoiceClone", {}, b"RIFF")
    assert caught.value.code == "UnsupportedProtocol"


def test_unsigned_payload_and_language_are_accepted(api: Api) -> None:
    api.rooms.open[RoomRef(api.credentials.sdk_app_id, True, "8")] = {"u"}
    sdk = client(api, language="en-US")
    sdk.profile.unsignedPayload = True
    assert sdk.RemoveUser(remove(api, 8)).RequestId


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"RoomId": None}, "MissingParameter.RoomId", "RoomId"),
        ({"UserSig": ""}, "MissingParameter.UserSig", "UserSig"),
        ({"UserSig": "eJx"}, "InvalidParameter", "UserSig"),
        ({"RoomId": "abc"}, "InvalidParameter", "RoomId"),
        ({"RoomId": "4294967295"}, "InvalidParameter.OutOfRange", "RoomId"),
        ({"RoomIdType": 2}, "InvalidParameter.OutOfRange", "RoomIdType"),
        (
            {"RecordParams": {"RecordMode": 2, "MaxIdleTime": 4}},
            "InvalidParameter.OutOfRange",
            "RecordParams.MaxIdleTime",
        ),
        ({"RecordParams": {"RecordMode": 3}}, "InvalidParameter.OutOfRange", "RecordParams.RecordMode"),
        ({"MixLayoutParams": {"MixLayoutMode": 5}}, "InvalidParameter.OutOfRange", "MixLayoutParams.MixLayoutMode"),
        ({"MixLayoutParams": {"MixLayoutMode": 4}}, "MissingParameter", "MixLayoutParams.MixLayoutList"),
        ({"StorageParams": None}, "MissingParameter.StorageParams", "StorageParams"),
        ({"StorageParams": {}}, "MissingParameter.CloudStorage", "StorageParams.CloudStorage"),
        (
            {"StorageParams": {"CloudVod": {"TencentVod": {"ExpireTime": 0, "MediaType": 2}}}},
            "InvalidParameter",
            "StorageParams.CloudVod.TencentVod.MediaType",
        ),
        ({"StorageParams": {"CloudStorage": {"Vendor": 0, "Region": "x"}}}, "MissingParameter.Bucket", "CloudStorage"),
        ({"SdkAppId": 1400000000000}, "InvalidParameter.OutOfRange", "SdkAppId"),
        ({"SdkAppId": 1}, "InvalidParameter.SdkAppId", "SdkAppId"),
        ({"ResourceExpiredHour": 5}, "InvalidParameter.OutOfRange", "ResourceExpiredHour"),
    ],
)
def test_bad_recording_requests_name_the_field(api: Api, changes: dict[str, Any], code: str, field: str) -> None:
    error = refused(client(api).CreateCloudRecording, recording(api, **changes))
    assert error.code == code
    assert field in error.get_message()


def test_robot_signature_of_another_user_is_refused(api: Api) -> None:
    error = refused(client(api).CreateCloudRecording, recording(api, UserId="someone-else"))
    assert error.code == "InvalidParameter"
    assert "70013" in error.get_message()


def test_unknown_actions_and_versions_are_refused(api: Api) -> None:
    sdk = client(api)
    for action, code in {
        "NoSuchAction": "InvalidAction",
        "StartMCUMixTranscode": "ActionOffline",
        "StopWebRecord": "UnsupportedOperation",
    }.items():
        assert refused(lambda values, action=action: sdk.call_json(action, values), {"TaskId": "x"}).code == code
    sdk._apiVersion = "2017-03-12"
    assert refused(sdk.RemoveUser, remove(api)).code == "NoSuchVersion"


def test_unknown_parameters_are_refused(api: Api) -> None:
    values = {"SdkAppId": api.credentials.sdk_app_id, "RoomId": 1, "UserIds": ["u"], "Colour": "red"}
    error = refused(lambda v: client(api).call_json("RemoveUser", v), values)
    assert error.code == "UnknownParameter"
    assert "Colour" in error.get_message()


def test_what_goes_wrong_inside_is_not_told(api: Api) -> None:
    api.tasks.failure = RuntimeError("the password is hunter2")
    try:
        error = refused(client(api).CreateCloudRecording, recording(api))
    finally:
        api.tasks.failure = None
    assert error.code == "InternalError"
    assert "hunter2" not in error.get_message()


def test_calls_beyond_the_limit_are_refused(api: Api) -> None:
    with serve_api() as limited:
        sdk = client(limited)
        codes = [refused(sdk.RemoveUser, remove(limited)).code for _ in range(60)]
    assert "RequestLimitExceeded" in codes
    assert codes.count("FailedOperation.RoomNotExist") >= 20
