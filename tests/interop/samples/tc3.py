"""The documents' Python sample of TC3-HMAC-SHA256: prints the curl command of a signed request.

Only what a program has to fill in, and http for https, differs; it comes as JSON on the command line.
"""

import hashlib
import hmac
import json
import sys
import time
from datetime import UTC, datetime

given = json.loads(sys.argv[1])
secret_id = given["secret_id"]
secret_key = given["secret_key"]
service = given["service"]
host = given["host"]
endpoint = "http://" + host
region = given["region"]
action = given["action"]
version = given["version"]
algorithm = "TC3-HMAC-SHA256"
timestamp = int(time.time())
date = datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%d")
params = given["params"]

# 1: the canonical request
http_request_method = "POST"
canonical_uri = "/"
canonical_querystring = ""
ct = "application/json; charset=utf-8"
payload = json.dumps(params)
canonical_headers = f"content-type:{ct}\nhost:{host}\n"
signed_headers = "content-type;host"
hashed_request_payload = hashlib.sha256(payload.encode("utf-8")).hexdigest()
canonical_request = (
    http_request_method
    + "\n"
    + canonical_uri
    + "\n"
    + canonical_querystring
    + "\n"
    + canonical_headers
    + "\n"
    + signed_headers
    + "\n"
    + hashed_request_payload
)

# 2: the string to sign
credential_scope = date + "/" + service + "/" + "tc3_request"
hashed_canonical_request = hashlib.sha256(canonical_request.encode("utf-8")).hexdigest()
string_to_sign = algorithm + "\n" + str(timestamp) + "\n" + credential_scope + "\n" + hashed_canonical_request


# 3: the signature
def sign(key: bytes, msg: str) -> bytes:
    return hmac.new(key, msg.encode("utf-8"), hashlib.sha256).digest()


secret_date = sign(("TC3" + secret_key).encode("utf-8"), date)
secret_service = sign(secret_date, service)
secret_signing = sign(secret_service, "tc3_request")
signature = hmac.new(secret_signing, string_to_sign.encode("utf-8"), hashlib.sha256).hexdigest()

# 4: the header
authorization = (
    algorithm
    + " "
    + "Credential="
    + secret_id
    + "/"
    + credential_scope
    + ", "
    + "SignedHeaders="
    + signed_headers
    + ", "
    + "Signature="
    + signature
)
print(
    "curl -X POST "
    + endpoint
    + ' -H "Authorization: '
    + authorization
    + '"'
    + ' -H "Content-Type: application/json; charset=utf-8"'
    + ' -H "Host: '
    + host
    + '"'
    + ' -H "X-TC-Action: '
    + action
    + '"'
    + ' -H "X-TC-Timestamp: '
    + str(timestamp)
    + '"'
    + ' -H "X-TC-Version: '
    + version
    + '"'
    + ' -H "X-TC-Region: '
    + region
    + '"'
    + " -d '"
    + payload
    + "'"
)
