"""Which actions are built, of every service, and the function and request struct of each. Any other one of the models
is answered ``UnsupportedOperation``; the coverage page of the docs is generated from this table.

Names are unique over all services, so a name is enough to find an action.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from rtcloud.actions import cam, console, ingest, publishing, recording, room, secret, sts, watermark
from rtcloud.actions.context import Call, Nothing, Services


@dataclass(frozen=True, slots=True)
class Entry:
    request: type[msgspec.Struct]
    run: Callable[[Services, Call, Any], Awaitable[msgspec.Struct]]


#: The cloud's API (``spec/trtc-2019-07-22.json``).
CLOUD: Mapping[str, Entry] = {
    "CreateCloudRecording": Entry(recording.CreateCloudRecordingRequest, recording.create_cloud_recording),
    "DeleteCloudRecording": Entry(recording.TaskRequest, recording.delete_cloud_recording),
    "DescribeCloudRecording": Entry(recording.TaskRequest, recording.describe_cloud_recording),
    "DescribeStreamIngest": Entry(ingest.TaskRequest, ingest.describe_stream_ingest),
    "DismissRoom": Entry(room.DismissRoomRequest, room.dismiss_room),
    "DismissRoomByStrRoomId": Entry(room.DismissRoomByStrRoomIdRequest, room.dismiss_room_by_str_room_id),
    "ModifyCloudRecording": Entry(recording.ModifyCloudRecordingRequest, recording.modify_cloud_recording),
    "RemoveUser": Entry(room.RemoveUserRequest, room.remove_user),
    "RemoveUserByStrRoomId": Entry(room.RemoveUserByStrRoomIdRequest, room.remove_user_by_str_room_id),
    "SetUserBlocked": Entry(room.SetUserBlockedRequest, room.set_user_blocked),
    "SetUserBlockedByStrRoomId": Entry(room.SetUserBlockedByStrRoomIdRequest, room.set_user_blocked_by_str_room_id),
    "StartPublishCdnStream": Entry(publishing.StartPublishCdnStreamRequest, publishing.start_publish_cdn_stream),
    "StartStreamIngest": Entry(ingest.StartStreamIngestRequest, ingest.start_stream_ingest),
    "StopPublishCdnStream": Entry(publishing.TaskRequest, publishing.stop_publish_cdn_stream),
    "StopStreamIngest": Entry(ingest.TaskRequest, ingest.stop_stream_ingest),
    "UpdatePublishCdnStream": Entry(publishing.UpdatePublishCdnStreamRequest, publishing.update_publish_cdn_stream),
    "UpdateStreamIngest": Entry(ingest.UpdateStreamIngestRequest, ingest.update_stream_ingest),
}

CONSOLE: Mapping[str, Entry] = {
    "ChangeSecretKeyFlag": Entry(secret.ChangeSecretKeyFlagRequest, secret.change_secret_key_flag),
    "CreateSecret": Entry(secret.CreateSecretRequest, secret.create_secret),
    "CreateSecretUserSig": Entry(secret.CreateSecretUserSigRequest, secret.create_secret_user_sig),
    "CreateTrtcApp": Entry(console.CreateTrtcAppRequest, console.create_trtc_app),
    "CreateWatermark": Entry(watermark.CreateWatermarkRequest, watermark.create_watermark),
    "DeleteWatermark": Entry(watermark.DeleteWatermarkRequest, watermark.delete_watermark),
    "DescribeAppStatList": Entry(console.DescribeAppStatListRequest, console.describe_app_stat_list),
    "DescribeSdkAppInfo": Entry(console.ApplicationRequest, console.describe_sdk_app_info),
    "DescribeSecret": Entry(secret.SecretRequest, secret.describe_secret),
    "DescribeWatermark": Entry(watermark.DescribeWatermarkRequest, watermark.describe_watermark),
    "ModifyAppInfo": Entry(console.ModifyAppInfoRequest, console.modify_app_info),
    "ModifyWatermark": Entry(watermark.ModifyWatermarkRequest, watermark.modify_watermark),
    "VerifySecretUserSig": Entry(secret.VerifySecretUserSigRequest, secret.verify_secret_user_sig),
}

CAM: Mapping[str, Entry] = {
    "AttachUserPolicy": Entry(cam.AttachUserPolicyRequest, cam.attach_user_policy),
    "CreatePolicy": Entry(cam.CreatePolicyRequest, cam.create_policy),
    "DeletePolicy": Entry(cam.DeletePolicyRequest, cam.delete_policy),
    "DetachUserPolicy": Entry(cam.DetachUserPolicyRequest, cam.detach_user_policy),
    "GetPolicy": Entry(cam.GetPolicyRequest, cam.get_policy),
    "ListAttachedUserPolicies": Entry(cam.ListAttachedUserPoliciesRequest, cam.list_attached_user_policies),
    "ListPolicies": Entry(cam.ListPoliciesRequest, cam.list_policies),
}

STS: Mapping[str, Entry] = {
    "AssumeRole": Entry(sts.AssumeRoleRequest, sts.assume_role),
    "GetCallerIdentity": Entry(Nothing, sts.get_caller_identity),
    "GetFederationToken": Entry(sts.GetFederationTokenRequest, sts.get_federation_token),
}

ACTIONS: Mapping[str, Entry] = {**CLOUD, **CONSOLE, **CAM, **STS}
