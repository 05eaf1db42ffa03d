"""The official, unmodified cloud SDK, told only another endpoint and protocol."""

import json
from typing import Any

from tencentcloud.common.abstract_model import AbstractModel
from tencentcloud.common.credential import Credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.trtc.v20190722 import models
from tencentcloud.trtc.v20190722.trtc_client import TrtcClient

from tests.kit import relaying
from tests.kit.server import Server

REGION = "ap-singapore"
BUCKET = "recordings"


class Cloud:
    def __init__(self, server: Server, *, secret_id: str = "", secret_key: str = "", trust: str | None = None) -> None:
        known = server.credentials
        scheme, _, endpoint = known["endpoint"].partition("://")
        http = HttpProfile(protocol=scheme, endpoint=endpoint, reqTimeout=20, certification=trust)
        profile = ClientProfile(httpProfile=http)
        credential = Credential(secret_id or known["secret_id"], secret_key or known["secret_key"])
        self.client = TrtcClient(credential, REGION, profile)
        self.server = server

    def start_recording(
        self,
        room: int | str,
        *,
        robot: str = "recorder",
        width: int = 1280,
        height: int = 720,
        fps: int = 30,
        output_format: int = 1,
        storage: dict[str, Any] | None = None,
        layout: dict[str, Any] | None = None,
        **record_params: Any,
    ) -> str:
        """A mixed recording, HLS and MP4, in the grid layout unless ``layout`` (members of MixLayoutParams) says
        otherwise; its TaskId. ``storage``: members of CloudStorage. With
        EndpointUrl, which the SDK's model does not have, the SDK's way to call anything is used."""
        asked = {
            "RoomId": str(room),
            "RoomIdType": 1 if isinstance(room, int) else 0,
            "UserId": robot,
            "UserSig": self.server.user_sig(robot),
            "RecordParams": {
                "RecordMode": 2,
                "StreamType": 0,
                "MaxIdleTime": 30,
                "OutputFormat": output_format,
                **record_params,
            },
            "StorageParams": {
                "CloudStorage": {
                    "Vendor": 0,
                    "Region": REGION,
                    "Bucket": BUCKET,
                    "AccessKey": "unused",
                    "SecretKey": "unused",
                    "FileNamePrefix": ["calls"],
                    **(storage or {}),
                }
            },
            "MixTranscodeParams": {
                "VideoParams": {"Width": width, "Height": height, "Fps": fps, "BitRate": 1_500_000, "Gop": 2},
                "AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": 64_000},
            },
            "MixLayoutParams": {"MixLayoutMode": 3, **(layout or {})},
        }
        if storage and "EndpointUrl" in storage:
            asked = {"SdkAppId": self.server.sdk_app_id, **asked}
            return str(self.client.call_json("CreateCloudRecording", asked)["Response"]["TaskId"])
        answer = self.ask(models.CreateCloudRecordingRequest(), asked)
        return str(answer["TaskId"])

    def describe_recording(self, task_id: str) -> dict[str, Any]:
        return self.ask(models.DescribeCloudRecordingRequest(), {"TaskId": task_id})

    def stop_recording(self, task_id: str) -> dict[str, Any]:
        return self.ask(models.DeleteCloudRecordingRequest(), {"TaskId": task_id})

    def start_relay(self, room: int | str, *urls: str, robot: str = "relay", **fields: Any) -> str:
        """Of a room to push addresses; ``fields`` are those of StartPublishCdnStream. Its TaskId. What is asked for
        by default is the grid of everybody, 640 × 360 at 15 pictures a second, with sound."""
        asked = {
            **relaying.room_of(room),
            "AgentParams": {"UserId": robot, "UserSig": self.server.user_sig(robot), "MaxIdleTime": 30},
            "WithTranscoding": 1,
            "AudioParams": relaying.audio(),
            "VideoParams": relaying.video(),
            **({"PublishCdnParams": relaying.outputs(*urls)} if urls else {}),
            **fields,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        return str(self.ask(models.StartPublishCdnStreamRequest(), given)["TaskId"])

    def update_relay(self, task_id: str, sequence: int, **fields: Any) -> dict[str, Any]:
        asked = {"TaskId": task_id, "SequenceNumber": sequence, "WithTranscoding": 1, **fields}
        return self.ask(models.UpdatePublishCdnStreamRequest(), asked)

    def stop_relay(self, task_id: str) -> dict[str, Any]:
        return self.ask(models.StopPublishCdnStreamRequest(), {"TaskId": task_id})

    def start_ingest(self, room: int | str, url: str, *, user: str = "film", **fields: Any) -> str:
        """Pull an address into a room; ``fields`` are those of StartStreamIngest. Its TaskId."""
        asked = {
            "RoomId": str(room),
            "RoomIdType": 1 if isinstance(room, int) else 0,
            "UserId": user,
            "UserSig": self.server.user_sig(user),
            "StreamUrl": url,
            **fields,
        }
        return str(self.ask(models.StartStreamIngestRequest(), asked)["TaskId"])

    def update_ingest(self, task_id: str, **fields: Any) -> str:
        return str(self.ask(models.UpdateStreamIngestRequest(), {"TaskId": task_id, **fields})["Status"])

    def describe_ingest(self, task_id: str) -> str:
        return str(self.ask(models.DescribeStreamIngestRequest(), {"TaskId": task_id})["Status"])

    def stop_ingest(self, task_id: str) -> None:
        self.ask(models.StopStreamIngestRequest(), {"TaskId": task_id})

    def remove_users(self, room: int | str, *user_ids: str) -> dict[str, Any]:
        request = models.RemoveUserRequest() if isinstance(room, int) else models.RemoveUserByStrRoomIdRequest()
        return self.ask(request, {"RoomId": room, "UserIds": list(user_ids)})

    def dismiss_room(self, room: int | str) -> dict[str, Any]:
        request = models.DismissRoomRequest() if isinstance(room, int) else models.DismissRoomByStrRoomIdRequest()
        return self.ask(request, {"RoomId": room})

    def silence(self, room: int | str, user_id: str, is_mute: int) -> None:
        """0 nothing, 1 all, 2 the sound, 3 the picture. The SDK has no model of it, only its way to call anything."""
        by_number = isinstance(room, int)
        action = "SetUserBlocked" if by_number else "SetUserBlockedByStrRoomId"
        asked = {"RoomId" if by_number else "StrRoomId": room, "UserId": user_id, "IsMute": is_mute}
        self.client.call_json(action, {"SdkAppId": self.server.sdk_app_id, **asked})

    def ask(self, request: AbstractModel, fields: dict[str, Any]) -> dict[str, Any]:
        """Through the SDK's own typed model and method: ``XRequest`` is sent by ``client.X``."""
        request.from_json_string(json.dumps({"SdkAppId": self.server.sdk_app_id, **fields}))
        action = type(request).__name__.removesuffix("Request")
        answer = getattr(self.client, action)(request)
        decoded = json.loads(answer.to_json_string())
        assert isinstance(decoded, dict)
        return decoded
