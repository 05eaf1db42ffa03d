"""Give somebody temporary credentials for one application with the official cloud SDKs, and call the API with them.

    .venv/bin/rtcloud serve --data data &
    .venv/bin/python examples/api/temporary_credentials.py --data data

A server of yours keeps the lasting key and hands out what GetFederationToken answers; whoever gets it may do what the
policy says, on this application only, until it expires. Needs `tencentcloud-sdk-python-trtc` and
`tencentcloud-sdk-python-sts`, which `make setup` installs.
"""

import argparse
import json
import urllib.parse
from pathlib import Path

from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.sts.v20180813 import models
from tencentcloud.sts.v20180813.sts_client import StsClient
from tencentcloud.trtc.v20190722.trtc_client import TrtcClient

REGION = "ap-singapore"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="the server's data directory")
    parser.add_argument("--seconds", type=int, default=900, help="how long the credentials are good")
    wanted = parser.parse_args()

    keys = json.loads((wanted.data / "credentials.json").read_text())
    protocol, _, endpoint = keys["endpoint"].partition("://")
    profile = ClientProfile(httpProfile=HttpProfile(protocol=protocol, endpoint=endpoint))
    application = f"qcs::trtc::uin/{keys['account_uin']}:sdkappid/{keys['sdk_app_id']}"
    policy = {
        "version": "2.0",
        "statement": {
            "effect": "allow",
            "action": ["name/trtc:DescribeSdkAppInfo", "name/trtc:RemoveUser*"],
            "resource": [application],
        },
    }

    # What your server does.
    request = models.GetFederationTokenRequest()
    request.Name = "guest"
    request.Policy = urllib.parse.quote(json.dumps(policy))
    request.DurationSeconds = wanted.seconds
    lasting = Credential(keys["secret_id"], keys["secret_key"])
    made = StsClient(lasting, REGION, profile).GetFederationToken(request)
    print(f"credentials of {made.Credentials.TmpSecretId[:12]}… are good until {made.Expiration}")

    # What whoever got the three texts does.
    temporary = Credential(made.Credentials.TmpSecretId, made.Credentials.TmpSecretKey, made.Credentials.Token)
    client = TrtcClient(temporary, REGION, profile)
    for action in ("DescribeSdkAppInfo", "DescribeSecret"):
        try:
            answer = client.call_json(action, {"SdkAppId": keys["sdk_app_id"]})
            print(f"{action}: {json.dumps(answer['Response'], ensure_ascii=False)}")
        except TencentCloudSDKException as error:
            print(f"{action}: {error.code}")


if __name__ == "__main__":
    main()
