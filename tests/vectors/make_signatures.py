"""Writes ``tests/vectors/signatures/*.json``: requests that the official SDKs really sent, with every stage of signing.

Run by hand after ``make setup``: ``.venv/bin/python tests/vectors/make_signatures.py``. Each SDK is pointed at a proxy
in this process, which keeps what came over the wire. Clock and random numbers are fixed in the Python and Node SDKs;
the Java SDK takes the machine's clock, so its vectors are new ones each time. The stages are computed here, from the
documents alone and without a line of ours, and must end in the signature that the SDK sent: so they are the SDK's too.
"""

import base64
import hashlib
import hmac
import importlib.metadata
import json
import socketserver
import subprocess
import sys
import threading
import types
import urllib.parse
import uuid
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT)]
warnings.simplefilter("ignore")

from tencentcloud.common import abstract_client  # noqa: E402
from tencentcloud.common.common_client import CommonClient  # noqa: E402
from tencentcloud.common.credential import Credential  # noqa: E402
from tencentcloud.common.profile.client_profile import ClientProfile  # noqa: E402
from tencentcloud.common.profile.http_profile import HttpProfile  # noqa: E402

from tests.kit.sdks import java_command, node_command  # noqa: E402

FOLDER = Path(__file__).parent / "signatures"
SECRET_ID = "AKIDz8krbsJ5yKBZQpn74WFkmLPx3EXAMPLE"
SECRET_KEY = "Gu5t9xGARNpq86cd98joQYCN3EXAMPLE"
TOKEN = "2gDg4yhAzTzGpYbPyaD1Yq9c+/=_-~." * 8
VERSION = "2019-07-22"
HOST = "trtc.tencentcloudapi.com"
NOW = 1_700_000_000
NONCE = 3_141_592_653_589_793
APP = 1_400_000_000
#: beside the letters of the world: everything that the encodings of queries and forms treat in different ways
HARD = "a b+c%20d*e~f'g(h)!i&j=k;l/m?n#o:p@q$r,s[t]\n\tu\"v\\w<x>`^{|}é会议室🎉"
UNKEPT = {"user-agent", "accept", "accept-encoding", "connection", "proxy-connection", "x-tc-traceid", "content-length"}

ROOM = {"SdkAppId": APP, "RoomId": 4_294_967_294, "UserIds": ["a", "b"]}
TEXT_ROOM = {"SdkAppId": APP, "RoomId": HARD}
MANY = {"SdkAppId": APP, "RoomId": 1, "UserIds": [f"user{number}" for number in range(13)]}
TASK = {"SdkAppId": APP, "TaskId": HARD}
EMPTY = {"SdkAppId": APP, "RoomId": "", "UserIds": []}
SPEECH = {
    "SdkAppId": APP,
    "Text": "你好, 世界 🌏",
    "Voice": {"VoiceId": "v-1", "Speed": 1.25, "Volume": 0.5, "Pitch": -3},
    "Model": "flow_01_turbo",
}
USAGE = {"SdkAppId": APP, "StartTime": 1_699_999_000, "EndTime": 9_007_199_254_740_991, "RoomId": "7"}
PUSH = {
    "TaskId": "task-1",
    "Command": "ServerPushText",
    "ServerPushText": {"Text": "再见", "Interrupt": True, "StopAfterPlay": False, "DropMode": 0},
}
RECORDING = {
    "SdkAppId": APP,
    "RoomId": "会议室",
    "RoomIdType": 0,
    "UserId": "recorder",
    "UserSig": "eJw1jcEKgkAURX9FZlvpOM*ZcRLapEEQQtEHKDPVQ51Rx0jCf0-MlvdwOeeNbofLvnetvg2II+IDnQMYrOtsxQ-",
    "RecordParams": {
        "RecordMode": 2,
        "StreamType": 0,
        "MaxIdleTime": 30,
        "SubscribeStreamUserIds": {"SubscribeAudioUserIds": ["alice", "王*~"], "UnSubscribeVideoUserIds": ["#all"]},
    },
    "StorageParams": {
        "CloudStorage": {
            "Vendor": 0,
            "Region": "ap-guangzhou",
            "Bucket": "calls-1250000000",
            "AccessKey": "k+/=",
            "SecretKey": "s &%",
            "FileNamePrefix": ["录制", "2023/11"],
        }
    },
    "MixTranscodeParams": {"VideoParams": {"Width": 1280, "Height": 720, "Fps": 15, "BitRate": 550_000, "Gop": 10}},
    "MixLayoutParams": {
        "MixLayoutMode": 4,
        "MixLayoutList": [
            {"Top": 0, "Left": 0, "Width": 640, "Height": 360, "UserId": "alice", "Alpha": 0, "RenderMode": 1},
            {"Top": 0, "Left": 640, "Width": 640, "Height": 360, "UserId": "bob"},
        ],
        "MaxResolutionUserId": "alice",
    },
}


def case(name: str, action: str, parameters: dict[str, Any], **options: Any) -> dict[str, Any]:
    return {"name": name, "action": action, "parameters": parameters, **options}


TC3_JSON = [
    case("numbers", "RemoveUser", ROOM),
    case("hard text", "DismissRoomByStrRoomId", TEXT_ROOM),
    case("nested", "CreateCloudRecording", RECORDING, language="zh-CN"),
    case("fractions", "TextToSpeech", SPEECH, language="en-US"),
    case("empty values", "RemoveUserByStrRoomId", EMPTY),
    case("large integers, no region", "DescribeTRTCRealTimeScaleData", USAGE, region=""),
    case("temporary credentials", "RemoveUser", ROOM, token=TOKEN),
    case("host in capitals with a port", "RemoveUser", ROOM, endpoint="Trtc.Example.COM:8443"),
    case("address and port", "DescribeCloudRecording", TASK, endpoint="127.0.0.1:7880"),
    case("last second of a leap day", "RemoveUser", ROOM, now_s=1_709_251_199, endpoint="trtc.ap-seoul.example.com"),
    case("first second of a year", "RemoveUser", ROOM, now_s=1_704_067_200),
]
TC3_GET = [
    case("numbers", "RemoveUser", ROOM, method="GET"),
    case("hard text", "DescribeCloudRecording", TASK, method="GET"),
    case("twelve before two", "RemoveUser", MANY, method="GET"),
    case("nested", "CreateCloudRecording", RECORDING, method="GET"),
    case("fractions", "TextToSpeech", SPEECH, method="GET", token=TOKEN),
    case("empty values", "RemoveUserByStrRoomId", EMPTY, method="GET"),
]
FORM = {"SdkAppId": str(APP), "RoomId": "7", "UserIds": ["a", "会议室"]}
TC3_FORMS = [
    case("multipart with JSON parts", "RemoveUser", FORM, multipart=[]),
    case("multipart with a file", "DescribeCloudRecording", {**TASK, "SdkAppId": str(APP)}, multipart=["TaskId"]),
    case("multipart, unsigned payload", "RemoveUser", FORM, multipart=[], unsigned=True),
    case("unsigned payload", "CreateCloudRecording", RECORDING, unsigned=True),
    case("GET, unsigned payload", "DescribeCloudRecording", TASK, method="GET", unsigned=True),
    case("octet stream", "VoiceClone", {}, octets="RIFF\x00WAVE"),
]
V1 = [
    case("numbers", "RemoveUser", ROOM),
    case("hard text", "DescribeCloudRecording", TASK, endpoint="127.0.0.1:7880"),
    case("twelve before two", "RemoveUser", MANY),
    case("nested", "CreateCloudRecording", RECORDING, language="en-US"),
    case("fractions", "TextToSpeech", SPEECH, token=TOKEN),
    case("empty values", "RemoveUserByStrRoomId", EMPTY),
    case("truth values", "ControlAIConversation", PUSH),
]
OTHER_TC3 = [
    case("numbers", "RemoveUser", ROOM, token=TOKEN),
    case("hard text", "DismissRoomByStrRoomId", TEXT_ROOM, language="zh-CN"),
    case("nested", "CreateCloudRecording", RECORDING, endpoint="127.0.0.1:7880"),
    case("host with a port", "RemoveUser", ROOM, endpoint="trtc.example.com:8443"),
]
OTHER_GET = [
    case("hard text", "DescribeCloudRecording", TASK, method="GET", endpoint="127.0.0.1:7880"),
    case("nested", "CreateCloudRecording", RECORDING, method="GET"),
]
OTHER_FORM = {"SdkAppId": str(APP), "TaskId": HARD}
OTHER_FORMS = [case("multipart", "DescribeCloudRecording", OTHER_FORM, multipart=["TaskId"])]
OTHER_V1 = [
    case("hard text", "DescribeCloudRecording", TASK, token=TOKEN),
    case("nested", "CreateCloudRecording", RECORDING, endpoint="127.0.0.1:7880"),
    case("twelve before two", "RemoveUser", MANY),
]
NODE_V1 = [*OTHER_V1, case("truth values", "ControlAIConversation", PUSH)]  # the Java SDK has no input of that type


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    with Wire() as wire:
        python, node, java = (
            _python(wire),
            _by_program(wire, "Node", node_command),
            _by_program(wire, "Java", java_command),
        )
        files = {
            "documents": [_documented_tc3(), _documented_v1()],
            "tc3-json": [*python(TC3_JSON), *node(OTHER_TC3), *java(OTHER_TC3)],
            "tc3-get": [*python(TC3_GET), *node(OTHER_GET), *java(OTHER_GET)],
            "tc3-forms": [
                *python(TC3_FORMS),
                *node(OTHER_FORMS),
                *java([*OTHER_FORMS, case("unsigned payload", "RemoveUser", ROOM, unsigned=True), TC3_FORMS[-1]]),
            ],
        }
        for method in ("HmacSHA1", "HmacSHA256"):
            made = []
            for verb in ("GET", "POST"):
                named = {"sign_method": method, "method": verb}
                made += python([{**each, **named} for each in V1])
                made += node([{**each, **named} for each in NODE_V1]) + java([{**each, **named} for each in OTHER_V1])
            files[f"v1-{method.removeprefix('Hmac').lower()}"] = made
    for name, vectors in files.items():
        (FOLDER / f"{name}.json").write_text(json.dumps(vectors, indent=1) + "\n")
        print(f"{name}: {len(vectors)}")


class Wire:
    """An HTTP proxy on loopback that keeps the requests and answers each with an empty success."""

    def __enter__(self) -> "Wire":
        requests: list[dict[str, Any]] = []
        self.requests = requests

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while line := self.rfile.readline().decode("latin-1").strip():
                    method, target, _ = line.split(" ")
                    headers: dict[str, str] = {}
                    while head := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
                        name, _, value = head.partition(":")
                        headers[name.lower()] = value.strip()
                    if method == "CONNECT":
                        self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                        continue
                    body = self._body(headers)
                    query = target.partition("?")[2]
                    kept = {name: value for name, value in headers.items() if name not in UNKEPT}
                    requests.append({"method": method, "query": query, "headers": kept, "body": body})
                    answer = b'{"Response":{"RequestId":"r"}}'
                    self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                    self.wfile.write(b"Content-Length: %d\r\n\r\n%s" % (len(answer), answer))

            def _body(self, headers: dict[str, str]) -> bytes:
                if headers.pop("transfer-encoding", "") != "chunked":
                    return self.rfile.read(int(headers.get("content-length", "0")))
                parts = []
                while size := int(self.rfile.readline(), 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def last(self) -> dict[str, Any]:
        return self.requests.pop()


def _python(wire: Wire) -> Any:
    version = importlib.metadata.version("tencentcloud-sdk-python-common")
    fixed: dict[str, Any] = {"random": types.SimpleNamespace(randint=lambda low, high: NONCE)}
    fixed["uuid"] = types.SimpleNamespace(uuid4=lambda: uuid.UUID(int=2**128 // 3))
    vars(abstract_client).update(fixed)

    def make(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        vectors = []
        for each in cases:
            now = each.get("now_s", NOW)
            vars(abstract_client)["time"] = types.SimpleNamespace(time=lambda now=now: now)
            http = HttpProfile(
                protocol="http", endpoint=each.get("endpoint", HOST), reqMethod=each.get("method", "POST")
            )
            http.proxy = wire.address
            profile = ClientProfile(each.get("sign_method", "TC3-HMAC-SHA256"), http, each.get("language", "en-US"))
            profile.unsignedPayload = each.get("unsigned", False)
            keys = Credential(SECRET_ID, SECRET_KEY, each.get("token"))
            client = CommonClient("trtc", VERSION, keys, each.get("region", "ap-guangzhou"), profile)
            if "octets" in each:
                client.call_octet_stream(each["action"], {}, each["octets"].encode())
            else:
                forms = {"IsMultipart": True, "BinaryParams": each["multipart"]} if "multipart" in each else {}
                client.call_json(each["action"], each["parameters"], options=forms)
            vectors.append(_vector(f"tencentcloud-sdk-python-common {version}", each, wire.last()))
        return vectors

    return make


def _by_program(wire: Wire, language: str, command: Any) -> Any:
    """Node and Java: a program of theirs makes the calls."""

    def make(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
        vectors = []
        for each in cases:
            call: dict[str, Any] = {"endpoint": HOST, "region": "ap-guangzhou", "version": VERSION, **each}
            call |= {"secret_id": SECRET_ID, "secret_key": SECRET_KEY, "now_s": NOW, "random": 0.618}
            given = json.dumps({"proxy": wire.address, "calls": [call]})
            done = subprocess.run(command(), input=given, capture_output=True, text=True, check=True, timeout=60)
            assert "response" in json.loads(done.stdout)[0], done.stdout
            sent = wire.last()
            vectors.append(_vector(_sdk_of(sent, language), each, sent))
        return vectors

    return make


def _sdk_of(sent: dict[str, Any], language: str) -> str:
    client = sent["headers"].get("x-tc-requestclient") or dict(_pairs(sent))["RequestClient"]
    return f"official {language} SDK, {client}"


def _vector(source: str, each: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    flat = each.get("method") == "GET" or "sign_method" in each
    expected = _without_empty_lists(each["parameters"]) if flat else each["parameters"]
    if "multipart" in each:
        expected = {**expected, "SdkAppId": APP, **({"RoomId": 7} if "RoomId" in expected else {})}
    stages = _v1_stages(sent, SECRET_KEY) if "sign_method" in each else _tc3_stages(sent, SECRET_KEY)
    body = base64.b64encode(sent.pop("body")).decode()
    vector = {"name": each["name"], "source": source, "secret_key": SECRET_KEY, "action": each["action"]}
    return vector | sent | {"body": body, **stages, "parameters": None if "octets" in each else expected}


def _without_empty_lists(value: Any) -> Any:
    """A flattened request cannot carry them."""
    if not isinstance(value, dict):
        return value
    return {name: _without_empty_lists(member) for name, member in value.items() if member != []}


def _tc3_stages(sent: dict[str, Any], secret_key: str) -> dict[str, Any]:
    """R:3706 ff. Tries what the SDKs differ in: Node signs the host without its port."""
    headers = sent["headers"]
    credential, _, rest = headers["authorization"].partition("Credential=")[2].partition(", SignedHeaders=")
    names, _, signature = rest.partition(", Signature=")
    _, date, service, _ = credential.split("/")
    body: bytes = sent["body"] if headers.get("x-tc-content-sha256") is None else b"UNSIGNED-PAYLOAD"
    key = f"TC3{secret_key}".encode()
    for part in (date, service, "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    for host in (headers["host"], headers["host"].partition(":")[0]):
        signed = {**headers, "host": host}
        lines = "".join(f"{name}:{signed[name]}\n" for name in names.split(";"))
        digest = hashlib.sha256(body).hexdigest()
        canonical = f"{sent['method']}\n/\n{sent['query']}\n{lines}\n{names}\n{digest}"
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"TC3-HMAC-SHA256\n{headers['x-tc-timestamp']}\n{date}/{service}/tc3_request\n{hashed}"
        if hmac.digest(key, text.encode(), "sha256").hex() == signature:
            about: dict[str, Any] = {
                "algorithm": "TC3-HMAC-SHA256",
                "service": service,
                "now_s": int(headers["x-tc-timestamp"]),
            }
            about["signed_headers"] = {name: signed[name] for name in names.split(";")}
            return {**about, "canonical_request": canonical, "string_to_sign": text, "signature": signature}
    raise AssertionError(f"the stages are not those of the SDK: {headers}")


def _v1_stages(sent: dict[str, Any], secret_key: str) -> dict[str, Any]:
    """R:4877 ff."""
    given = dict(_pairs(sent))
    signature, method = given.pop("Signature"), given.get("SignatureMethod", "HmacSHA1")
    text = "&".join(f"{name}={given[name]}" for name in sorted(given))
    text = f"{sent['method']}{sent['headers']['host']}/?{text}"
    made = hmac.digest(secret_key.encode(), text.encode(), method.removeprefix("Hmac").lower())
    assert base64.b64encode(made).decode() == signature, (text, signature)
    return {"algorithm": method, "now_s": int(given["Timestamp"]), "string_to_sign": text, "signature": signature}


def _pairs(sent: dict[str, Any]) -> list[tuple[str, str]]:
    form = sent["query"] if sent["method"] == "GET" else sent["body"].decode()
    return urllib.parse.parse_qsl(form, keep_blank_values=True, strict_parsing=True, errors="strict")


def _documented_tc3() -> dict[str, Any]:
    authorization = (
        "TC3-HMAC-SHA256 Credential=AKID********************************/2019-02-25/cvm/tc3_request, "
        "SignedHeaders=content-type;host, "
        "Signature=a7b8551448762bd123d6f79e81815e31a92013640a6cef36a08ad4b292a4d2f2"
    )
    headers = {
        "authorization": authorization,
        "content-type": "application/json; charset=utf-8",
        "host": "cvm.tencentcloudapi.com",
        "x-tc-action": "DescribeInstances",
        "x-tc-timestamp": "1551113065",
        "x-tc-version": "2017-03-12",
        "x-tc-region": "ap-guangzhou",
    }
    body = b'{"Limit": 1, "Filters": [{"Values": ["unnamed"], "Name": "instance-name"}]}'
    sent = {"method": "POST", "query": "", "headers": headers, "body": body}
    return _documented("api-reference.txt, R:3903", sent, _tc3_stages(sent, "*" * 32), json.loads(body))


def _documented_v1() -> dict[str, Any]:
    query = (
        "Action=DescribeInstances&InstanceIds.0=ins-09dx96dg&Limit=20&Nonce=11886&Offset=0&Region=ap-guangzhou"
        "&SecretId=AKID********************************&Signature=7RAM2xfNMO9EiVTNmPg06MRnCvQ%3D&Timestamp=1465185768"
        "&Version=2017-03-12"
    )
    sent = {"method": "GET", "query": query, "headers": {"host": "cvm.tencentcloudapi.com"}, "body": b""}
    return _documented("api-reference.txt, R:4870", sent, _v1_stages(sent, "*" * 32), None)


def _documented(source: str, sent: dict[str, Any], stages: dict[str, Any], parameters: Any) -> dict[str, Any]:
    about = {"name": "documented", "source": source, "secret_key": "*" * 32, "action": "DescribeInstances"}
    return about | sent | {"body": base64.b64encode(sent["body"]).decode(), **stages, "parameters": parameters}


if __name__ == "__main__":
    main()
