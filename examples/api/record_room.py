"""Record a room with the official cloud SDK: only endpoint and protocol differ from a program for the cloud.

    .venv/bin/rtcloud serve --data data &
    .venv/bin/python examples/api/record_room.py --data data --room 1001 --seconds 20

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

ROBOT = "recorder"
BUCKET = "recordings"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the server's data directory")
    parser.add_argument("--room", type=int, default=1001)
    parser.add_argument("--seconds", type=float, default=20)
    wanted = parser.parse_args()

    keys = json.loads((wanted.data / "credentials.json").read_text())
    protocol, _, endpoint = keys["endpoint"].partition("://")
    profile = ClientProfile(httpProfile=HttpProfile(protocol=protocol, endpoint=endpoint))
    client = TrtcClient(Credential(keys["secret_id"], keys["secret_key"]), "ap-singapore", profile)

    create = models.CreateCloudRecordingRequest()
    create.from_json_string(
        json.dumps(
            {
                "SdkAppId": keys["sdk_app_id"],
                "RoomId": str(wanted.room),
                "UserId": ROBOT,
                "UserSig": TLSSigAPIv2(keys["sdk_app_id"], keys["sdk_secret_key"]).gen_sig(ROBOT, 3600),
                "RecordParams": {"RecordMode": 2, "StreamType": 0, "MaxIdleTime": 30, "OutputFormat": 1},
                "StorageParams": {
                    "CloudStorage": {
                        "Vendor": 0,
                        "Region": "ap-singapore",
                        "Bucket": BUCKET,
                        "AccessKey": "unused",
                        "SecretKey": "unused",
                        "FileNamePrefix": ["example"],
                    }
                },
            }
        )
    )
    task_id = client.CreateCloudRecording(create).TaskId
    print(f"recording room {wanted.room} as task {task_id} for {wanted.seconds:g} s …")
    time.sleep(wanted.seconds)

    describe = models.DescribeCloudRecordingRequest()
    describe.SdkAppId, describe.TaskId = keys["sdk_app_id"], task_id
    print(client.DescribeCloudRecording(describe).to_json_string())

    delete = models.DeleteCloudRecordingRequest()
    delete.SdkAppId, delete.TaskId = keys["sdk_app_id"], task_id
    client.DeleteCloudRecording(delete)
    folder = wanted.data / "files" / BUCKET / "example" / task_id
    deadline = time.monotonic() + 30
    while not list(folder.glob("*.mp4")):
        if time.monotonic() > deadline:
            raise SystemExit(f"no MP4 in {folder} after 30 s: was anybody in the room?")
        time.sleep(0.2)
    for file in sorted(folder.iterdir()):
        print(f"{file.stat().st_size:>10}  {file}")


if __name__ == "__main__":
    main()
