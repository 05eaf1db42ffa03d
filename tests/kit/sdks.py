"""The official SDKs, each making the same calls: Node and Java in programs of their own, Python here.

A call is a dict: ``endpoint``, ``secret_id``, ``secret_key``, ``action``, ``parameters``, and optionally ``token``,
``region``, ``service``, ``version``, ``language``, ``method`` (GET or POST), ``sign_method``, ``multipart``.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tencentcloud.common.common_client import CommonClient
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile

ROOT = Path(__file__).parent.parent.parent
JAVA_CLASSES = ROOT / "target" / "interop-java"


def node_command(program: str = "calls.mjs") -> list[str]:
    return [_found("node"), str(ROOT / "tests" / "interop" / "node" / program)]


def java_command(program: str = "Calls") -> list[str]:
    assert (JAVA_CLASSES / f"{program}.class").exists(), "the Java program is not built: run `make setup`"
    classes = f"{JAVA_CLASSES}:{JAVA_CLASSES}/*"
    # A short life on a shared machine: one compiler, the simplest collector, an answer even without a locale.
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Dfile.encoding=UTF-8"]
    return [_found("java"), *options, "-cp", classes, program]


def run_calls(command: list[str], calls: list[dict[str, Any]], within_s: float = 60) -> list[dict[str, Any]]:
    """One outcome for each call: ``{"response": …}`` or ``{"error": {"code", "message", "request_id"}}``."""
    given = json.dumps({"calls": calls})
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=within_s)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert len(outcomes) == len(calls)
    return list(outcomes)


def make_keys(command: list[str], wanted: list[dict[str, Any]], within_s: float = 60) -> list[str]:
    """UserSigs and PrivateMapKeys; what a wanted one says is in tests/interop/node/keys.mjs."""
    done = subprocess.run(command, input=json.dumps(wanted), capture_output=True, text=True, timeout=within_s)
    assert done.returncode == 0, done.stderr
    return [str(key) for key in json.loads(done.stdout)]


def run_python(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As ``run_calls``, with one client for calls that differ only in action and parameters."""
    clients: dict[str, CommonClient] = {}
    outcomes = []
    for call in calls:
        about = {name: value for name, value in call.items() if name not in ("action", "parameters", "multipart")}
        client = clients.setdefault(json.dumps(about, sort_keys=True), _python_client(call))
        options = {"IsMultipart": True, "BinaryParams": []} if "multipart" in call else {}
        try:
            answer = client.call_json(call["action"], dict(call["parameters"]), options=options)
        except TencentCloudSDKException as refusal:
            error = {"code": refusal.code, "message": refusal.message, "request_id": refusal.requestId}
            outcomes.append({"error": error})
        else:
            outcomes.append({"response": answer["Response"]})
    return outcomes


def _python_client(call: dict[str, Any]) -> CommonClient:
    http = HttpProfile(protocol="http", endpoint=call["endpoint"], reqMethod=call.get("method", "POST"), reqTimeout=20)
    http.keepAlive = True
    profile = ClientProfile(call.get("sign_method", "TC3-HMAC-SHA256"), http, call.get("language", "en-US"))
    profile.unsignedPayload = call.get("unsigned", False)
    keys = Credential(call["secret_id"], call["secret_key"], call.get("token"))
    return CommonClient(call.get("service", "trtc"), call["version"], keys, call.get("region", ""), profile)


def _found(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, f"{program} was not found: run `make setup`"
    return path
