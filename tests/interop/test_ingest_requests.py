"""The documents' own examples of pulled streams, sent by the official SDKs that know them (the newest Java SDK of the
registry does not): each is answered as documented, and all mean the same. Only ids, signatures and the endpoint are
ours."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtcloud.accounts.usersig import make_user_sig
from rtcloud.gateway.server import GatewaySettings
from rtcloud.ingest.pull.request import IngestRequest, decode
from tests.kit.api import Api, serve_api
from tests.kit.sdks import node_command, run_calls, run_python

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp")]

EXAMPLES = {
    each["action"]: each["parameters"]
    for each in json.loads((Path(__file__).parents[1] / "vectors" / "examples.json").read_text("utf-8"))["examples"]
    if each["action"].endswith("StreamIngest")
}
Call = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    with serve_api(GatewaySettings(per_second=dict.fromkeys(EXAMPLES, 0))) as served:
        yield served


def run(api: Api, language: str, calls: list[Call]) -> list[dict[str, Any]]:
    """Of each call its answer, or its code."""
    known = api.credentials
    common = {
        "endpoint": api.endpoint,
        "region": "ap-singapore",
        "version": "2019-07-22",
        "secret_id": known.secret_id,
        "secret_key": known.secret_key,
    }
    whole = [{**common, "action": action, "parameters": parameters} for action, parameters in calls]
    outcomes = run_python(whole) if language == "Python" else run_calls(node_command(), whole)
    return [
        {"code": outcome["error"]["code"]} if "error" in outcome else dict(outcome["response"]) for outcome in outcomes
    ]


@pytest.mark.parametrize("language", ["Python", "Node"])
def test_documented_examples_are_answered_as_documented(api: Api, language: str) -> None:
    app, now_ms = api.credentials.sdk_app_id, time.time_ns() // 1_000_000
    robot = f"robot123_{language}"
    sig = make_user_sig(app, api.credentials.sdk_secret_key, robot, now_ms=now_ms)
    start = EXAMPLES["StartStreamIngest"] | {"SdkAppId": app, "UserId": robot, "UserSig": sig}
    del start["PrivateMapKey"]  # the example's is a placeholder
    refused, started = run(
        api,
        language,
        [("StartStreamIngest", start), ("StartStreamIngest", start | {"RoomIdType": 0, "RepeatNum": -1})],
    )
    assert refused == {"code": "InvalidParameter.RoomId"}  # a text where RoomIdType says number
    assert set(started) == {"TaskId", "RequestId"}
    task_id = started["TaskId"]
    named = {"SdkAppId": app, "TaskId": task_id}
    answers = run(
        api,
        language,
        [
            ("DescribeStreamIngest", EXAMPLES["DescribeStreamIngest"] | named),
            ("UpdateStreamIngest", EXAMPLES["UpdateStreamIngest"] | named),
            ("UpdateStreamIngest", named | {"Volume": 30, "IsPause": True}),
            ("StopStreamIngest", EXAMPLES["StopStreamIngest"] | named),
            ("DescribeStreamIngest", EXAMPLES["DescribeStreamIngest"] | {"SdkAppId": app}),  # TaskId 1234
            ("UpdateStreamIngest", EXAMPLES["UpdateStreamIngest"] | {"SdkAppId": app}),
            ("StopStreamIngest", EXAMPLES["StopStreamIngest"] | {"SdkAppId": app}),
        ],
    )
    assert [answer.get("code") or answer.get("Status") for answer in answers] == [
        "InProgress",
        "InProgress",
        "InProgress",
        None,
        "NotExist",
        "FailedOperation.TaskNotExist",
        "InvalidParameter.TaskId",
    ]
    assert set(answers[0]) == {"Status", "RequestId"}
    assert set(answers[3]) == {"RequestId"}
    assert decode(api.tasks.accepted[task_id].params) == IngestRequest(
        sdk_app_id=app,
        room_id="room123",
        room_id_type=0,
        user_id=robot,
        stream_url="https://a.b/test.mp4",
        repeat_num=-1,
        volume=30,
        is_pause=True,
        url_revision=1,
    )
