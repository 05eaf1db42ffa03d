"""The documents' own relay examples, sent by the official SDKs of three languages: each is accepted, and all mean the
same. Only ids, signatures and the endpoint are ours.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtcloud.accounts.usersig import make_user_sig
from rtcloud.egress.publishing.request import RelayRequest, decode
from rtcloud.gateway.server import GatewaySettings
from tests.kit.api import Api, serve_api
from tests.kit.sdks import java_command, node_command, run_calls, run_python

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp")]

EXAMPLES = json.loads((Path(__file__).parents[1] / "vectors" / "examples.json").read_text("utf-8"))["examples"]
LANGUAGES = ("Python", "Node", "Java")
Call = dict[str, Any]


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    actions = ("StartPublishCdnStream", "UpdatePublishCdnStream", "StopPublishCdnStream")
    with serve_api(GatewaySettings(per_second=dict.fromkeys(actions, 0))) as served:
        yield served


def examples(action: str) -> list[Call]:
    return [json.loads(json.dumps(each["parameters"])) for each in EXAMPLES if each["action"] == action]


def run(api: Api, language: str, calls: list[tuple[str, Call]]) -> list[dict[str, Any]]:
    known = api.credentials
    common = {
        "endpoint": api.endpoint,
        "region": "ap-singapore",
        "version": "2019-07-22",
        "secret_id": known.secret_id,
        "secret_key": known.secret_key,
    }
    whole = [{**common, "action": action, "parameters": parameters} for action, parameters in calls]
    if language == "Python":
        outcomes = run_python(whole)
    else:
        outcomes = run_calls(node_command() if language == "Node" else java_command(), whole)
    for outcome, (action, _) in zip(outcomes, calls, strict=True):
        assert "error" not in outcome, (language, action, outcome)
    return [dict(outcome["response"]) for outcome in outcomes]


def ours(api: Api, given: Call, number: int) -> Call:
    app, key, now_ms = api.credentials.sdk_app_id, api.credentials.sdk_secret_key, time.time_ns() // 1_000_000
    given["SdkAppId"] = app
    for robot in (given["AgentParams"], *given.get("FeedBackRoomParams", ())):
        robot["UserId"] += f"_{number}"  # each runs beside the others
        robot["UserSig"] = make_user_sig(app, key, robot["UserId"], now_ms=now_ms)
    for message in given.get("SeiParams", {}).values():
        for unknown in ("Interval", "FollowIdr"):  # to the newest Java SDK that the registry has
            message.pop(unknown, None)
    return given


def accepted(api: Api, task_id: str) -> RelayRequest:
    return decode(api.tasks.accepted[task_id].params)


def test_every_documented_relay_means_the_same_by_every_sdk(api: Api) -> None:
    given = [ours(api, each, number) for number, each in enumerate(examples("StartPublishCdnStream"))]
    assert len(given) >= 6
    started: list[list[RelayRequest]] = []
    for language in LANGUAGES:
        answers = run(api, language, [("StartPublishCdnStream", each) for each in given])
        task_ids = [answer["TaskId"] for answer in answers]
        started.append([accepted(api, task_id) for task_id in task_ids])
        stops = [("StopPublishCdnStream", {"SdkAppId": given[0]["SdkAppId"], "TaskId": each}) for each in task_ids]
        assert [answer["TaskId"] for answer in run(api, language, stops)] == task_ids
        for task_id in task_ids:
            assert api.tasks.views[task_id].desired_state == "stopped"
            api.tasks.move(task_id, "ended")
    assert started[0] == started[1] == started[2]
    for request, asked in zip(started[0], given, strict=True):
        assert [each.publish_cdn_url for each in request.publish_cdn_params] == [
            each["PublishCdnUrl"] for each in asked.get("PublishCdnParams", ())
        ]
        assert len(request.feed_back_room_params) == len(asked.get("FeedBackRoomParams", ()))
        assert request.is_single == (asked["WithTranscoding"] == 0)


def test_every_documented_update_changes_the_same_by_every_sdk(api: Api) -> None:
    begin = {
        "RoomId": "48111",
        "RoomIdType": 0,
        "AgentParams": {"UserId": "updated"},
        "WithTranscoding": 1,
        "AudioParams": {"AudioEncode": {"SampleRate": 48_000, "Channel": 2, "BitRate": 64}},
        "VideoParams": {"VideoEncode": {"Width": 1280, "Height": 1080, "Fps": 15, "BitRate": 1500, "Gop": 2}},
        "PublishCdnParams": [{"PublishCdnUrl": "rtmp://cdn.example/live/first"}],
    }
    updated: list[list[RelayRequest]] = []
    for language in LANGUAGES:
        requests = []
        for number, change in enumerate(examples("UpdatePublishCdnStream")):
            start = ours(api, json.loads(json.dumps(begin)), number)
            (answer,) = run(api, language, [("StartPublishCdnStream", start)])
            task_id = answer["TaskId"]
            run(
                api,
                language,
                [("UpdatePublishCdnStream", {**change, "SdkAppId": start["SdkAppId"], "TaskId": task_id})],
            )
            requests.append(accepted(api, task_id))
            api.tasks.move(task_id, "ended")
        updated.append(requests)
    assert updated[0] == updated[1] == updated[2]
    assert {request.sequence_number for request in updated[0]} == {20}
