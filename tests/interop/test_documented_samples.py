"""The documents' own sample programs: what they print is sent as they print it."""

import json
import shlex
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtcloud.rooms.ids import RoomRef
from tests.kit.api import Api, serve_api

pytestmark = pytest.mark.interop

SAMPLES = Path(__file__).parent / "samples"
RUN = {".py": sys.executable, ".mjs": "node"}


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with serve_api() as served:
        yield served


def printed(api: Api, sample: str, params: dict[str, Any], **options: Any) -> str:
    known = api.credentials
    given = {
        "secret_id": known.secret_id,
        "secret_key": known.secret_key,
        "host": api.endpoint,
        "service": "trtc",
        "region": "ap-guangzhou",
        "version": "2019-07-22",
        "action": "RemoveUser",
        "params": params,
        **options,
    }
    program = [RUN[Path(sample).suffix], str(SAMPLES / sample), json.dumps(given)]
    return subprocess.run(program, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def answer(request: str | urllib.request.Request) -> dict[str, Any]:
    with urllib.request.urlopen(request, timeout=20) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "application/json")
        found: dict[str, Any] = json.load(response)["Response"]
        return found


def curl(line: str) -> urllib.request.Request:
    """What the printed command sends."""
    words = shlex.split(line)
    assert words[:3] == ["curl", "-X", "POST"]
    options = dict[str, list[str]]()
    for flag, value in zip(words[4::2], words[5::2], strict=True):
        options.setdefault(flag, []).append(value)
    headers = dict(header.split(": ", 1) for header in options["-H"])
    return urllib.request.Request(words[3], options["-d"][0].encode(), headers, method="POST")


@pytest.mark.parametrize("sample", ["tc3.py", "tc3.mjs"])
def test_the_printed_curl_command_is_understood(api: Api, sample: str) -> None:
    api.rooms.open[RoomRef(api.credentials.sdk_app_id, True, "5")] = {"a", "b"}
    params = {"SdkAppId": api.credentials.sdk_app_id, "RoomId": 5, "UserIds": ["a", "c"]}
    line = printed(api, sample, params)
    assert "Error" not in answer(curl(line))
    assert api.rooms.open[RoomRef(api.credentials.sdk_app_id, True, "5")] == {"b"}
    changed = answer(curl(line.replace('"RoomId"', '"Room_Id"')))
    assert changed["Error"]["Code"] == "AuthFailure.SignatureFailure"


@pytest.mark.parametrize(("sample", "options"), [("v1.py", {}), ("v1.mjs", {}), ("v1.mjs", {"with_plus": True})])
def test_the_printed_url_is_understood_once(api: Api, sample: str, options: dict[str, Any]) -> None:
    api.rooms.open[RoomRef(api.credentials.sdk_app_id, True, "6")] = {"a", "b"}
    params = {"SdkAppId": api.credentials.sdk_app_id, "RoomId": 6, "UserIds.0": "a", "UserIds.1": "c"}
    url = printed(api, sample, params, **options)
    assert "Error" not in answer(url)
    assert api.rooms.open[RoomRef(api.credentials.sdk_app_id, True, "6")] == {"b"}
    assert answer(url)["Error"]["Code"] == "AuthFailure.SignatureFailure"
