"""Call any action with the official cloud SDK, as one would from a shell.

    .venv/bin/python examples/api/call.py --keys data/credentials.json DismissRoom '{"SdkAppId": 14…, "RoomId": 1001}'

Prints the answer, or the code and message of the refusal, and exits with 1 then. The keys are a file with secret_id,
secret_key and perhaps token, as `rtcloud admin keys create --json` and `rtcloud admin token --json` print them; without
a file they are TENCENTCLOUD_SECRET_ID, TENCENTCLOUD_SECRET_KEY and TENCENTCLOUD_TOKEN of the environment. The server is
RTCLOUD_ENDPOINT, by default http://127.0.0.1:7880.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

VERSIONS = {"trtc": "2019-07-22", "cam": "2019-01-16", "sts": "2018-08-13"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", help="such as DismissRoom")
    parser.add_argument("parameters", nargs="?", type=json.loads, default={}, help="as JSON")
    parser.add_argument("--keys", type=Path, metavar="FILE", help="JSON with secret_id, secret_key, token")
    parser.add_argument("--service", choices=sorted(VERSIONS), default="trtc")
    parser.add_argument("--region", default="ap-singapore")
    wanted = parser.parse_args()

    protocol, _, endpoint = os.environ.get("RTCLOUD_ENDPOINT", "http://127.0.0.1:7880").partition("://")
    if wanted.keys:
        keys = json.loads(wanted.keys.read_text())
    else:
        names = ("secret_id", "secret_key", "token")
        keys = {name: os.environ.get(f"TENCENTCLOUD_{name.upper()}") for name in names}
    credential = Credential(keys["secret_id"], keys["secret_key"], keys.get("token"))
    profile = ClientProfile(httpProfile=HttpProfile(protocol=protocol, endpoint=endpoint.rstrip("/")))
    client = CommonClient(wanted.service, VERSIONS[wanted.service], credential, wanted.region, profile=profile)
    try:
        answer = client.call_json(wanted.action, wanted.parameters)
    except TencentCloudSDKException as error:
        print(f"{error.get_code()}: {error.get_message()}")
        return 1
    print(json.dumps(answer["Response"], ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
