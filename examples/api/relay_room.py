"""Relay a room, everybody in a grid, with the official cloud SDK: only endpoint and protocol differ from a program for
the cloud. It pushes to the development CDN:

    .venv/bin/rtcloud dev cdn &
    .venv/bin/rtcloud serve --data data --allow-private &
    .venv/bin/python examples/api/relay_room.py --data data --room 1001 --seconds 60
    ffplay -fflags nobuffer rtmp://127.0.0.1:1935/live/room1001

Somebody should be in the room meanwhile, for example the demo page of `make run` or examples/client/publish_pattern.py.
Needs `tencentcloud-sdk-python-trtc` and `tls-sig-api-v2`, which `make setup` installs.
"""

import argparse
import json
import time
from pathlib import Path

from tencentcloud.common.credential import Credential
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.trtc.v20190722 import models
from tencentcloud.trtc.v20190722.trtc_client import TrtcClient
from TLSSigAPIv2 import TLSSigAPIv2

GRID, FLOATING = 3, 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the server's data directory")
    parser.add_argument("--room", type=int, default=1001)
    parser.add_argument("--to", help="push address; by default the development CDN's, named after the room")
    parser.add_argument("--seconds", type=float, default=60)
    wanted = parser.parse_args()
    url = wanted.to or f"rtmp://127.0.0.1:1935/live/room{wanted.room}"

    keys = json.loads((wanted.data / "credentials.json").read_text())
    protocol, _, endpoint = keys["endpoint"].partition("://")
    profile = ClientProfile(httpProfile=HttpProfile(protocol=protocol, endpoint=endpoint))
    client = TrtcClient(Credential(keys["secret_id"], keys["secret_key"]), "ap-singapore", profile)

    robot = f"relay-{wanted.room}"
    start = models.StartPublishCdnStreamRequest()
    start.from_json_string(
        json.dumps(
            {
                "SdkAppId": keys["sdk_app_id"],
                "RoomId": str(wanted.room),
                "RoomIdType": 0,
                "AgentParams": {
                    "UserId": robot,
                    "UserSig": TLSSigAPIv2(keys["sdk_app_id"], keys["sdk_secret_key"]).gen_sig(robot, 3600),
                    "MaxIdleTime": 300,
                },
                "WithTranscoding": 1,
                "AudioParams": {"AudioEncode": {"SampleRate": 48000, "Channel": 2, "BitRate": 64}},
                "VideoParams": {
                    "VideoEncode": {"Width": 1280, "Height": 720, "Fps": 30, "BitRate": 1500, "Gop": 2},
                    "LayoutParams": {"MixLayoutMode": GRID},
                    "BackGroundColor": "0x101820",
                },
                "PublishCdnParams": [{"PublishCdnUrl": url, "IsTencentCdn": 0}],
            }
        )
    )
    task_id = client.StartPublishCdnStream(start).TaskId
    print(f"relaying room {wanted.room} to {url} as task {task_id} for {wanted.seconds:g} s …")
    time.sleep(wanted.seconds / 2)

    update = models.UpdatePublishCdnStreamRequest()
    update.from_json_string(
        json.dumps(
            {
                "SdkAppId": keys["sdk_app_id"],
                "TaskId": task_id,
                "SequenceNumber": 1,
                "WithTranscoding": 1,
                "VideoParams": {"LayoutParams": {"MixLayoutMode": FLOATING}},
            }
        )
    )
    client.UpdatePublishCdnStream(update)
    print("now the first of the room is seen large, the others float above …")
    time.sleep(wanted.seconds / 2)

    stop = models.StopPublishCdnStreamRequest()
    stop.SdkAppId, stop.TaskId = keys["sdk_app_id"], task_id
    client.StopPublishCdnStream(stop)
    print("stopped")


if __name__ == "__main__":
    main()
