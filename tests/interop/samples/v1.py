"""The documents' Python sample of signature v1: signs a GET request with HmacSHA1, and here prints its URL.

Only what a program has to fill in, and http for https, differs; it comes as JSON on the command line.
"""

import base64
import hashlib
import hmac
import json
import secrets
import sys
import time
import urllib.parse
from typing import Any


def get_string_to_sign(method: str, endpoint: str, params: dict[str, Any]) -> str:
    s = method + endpoint + "/?"
    query_str = "&".join(f"{k}={params[k]}" for k in sorted(params))
    return s + query_str


def sign_str(key: str, s: str, method: Any) -> bytes:
    hmac_str = hmac.new(key.encode("utf8"), s.encode("utf8"), method).digest()
    return base64.b64encode(hmac_str)


given = json.loads(sys.argv[1])
endpoint = given["host"]
data = {
    "Action": given["action"],
    **given["params"],
    "Nonce": secrets.randbelow(2**31),
    "Region": given["region"],
    "SecretId": given["secret_id"],
    "Timestamp": int(time.time()),
    "Version": given["version"],
}
s = get_string_to_sign("GET", endpoint, data)
data["Signature"] = sign_str(given["secret_key"], s, hashlib.sha1)
print("http://" + endpoint + "/?" + urllib.parse.urlencode(data))  # as requests.get(…, params=data) does
