"""The official Python, Node and Java SDKs make the same calls against a real server: every way of signing that each
has, long-term and temporary credentials, policies, nested structures. Only endpoint and protocol are changed.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.kit.relay import Relay
from tests.kit.sdks import java_command, node_command, run_calls, run_python
from tests.kit.tenant import Keys, Tenant, open_tenant

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp")]

Call = dict[str, Any]
Outcome = dict[str, Any]

HARD = "a b+c%20d*e~f'g(h)!i&j=k;l/m?n#o:p@q$r,s[t]\n\tu\"v\\w<x>`^{|}é会议室🎉"
WAYS = [
    {},
    {"method": "GET"},
    {"language": "zh-CN"},
    *({"sign_method": digest, "method": method} for digest in ("HmacSHA1", "HmacSHA256") for method in ("GET", "POST")),
]


@pytest.fixture(scope="module")
def tenant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenant]:
    with open_tenant(tmp_path_factory.mktemp("tenant")) as opened:
        yield opened


class Sdk:
    """One language's SDK, calling as ``owner`` unless told otherwise."""

    def __init__(self, language: str, tenant: Tenant) -> None:
        self.language = language
        self._tenant = tenant

    def run(self, calls: list[Call], keys: Keys | None = None) -> list[Outcome]:
        known = keys or self._tenant.owner
        common = {
            "endpoint": self._tenant.endpoint,
            "region": "ap-singapore",
            "version": "2019-07-22",
            "secret_id": known.secret_id,
            "secret_key": known.secret_key,
            **({"token": known.token} if known.token else {}),
        }
        whole = [{**common, **call} for call in calls]
        if self.language == "Python":
            return run_python(whole)
        return run_calls(node_command() if self.language == "Node" else java_command(), whole)

    def each_way(self, calls: list[Call], keys: Keys | None = None) -> list[tuple[Call, list[Outcome]]]:
        """The outcomes of ``calls`` by every way of signing, from one run: a program takes a moment to start."""
        outcomes = iter(self.run([{**call, **way} for way in WAYS for call in calls], keys))
        return [(way, [next(outcomes) for _ in calls]) for way in WAYS]

    def one(self, call: Call, keys: Keys | None = None) -> Outcome:
        return self.run([call], keys)[0]


@pytest.fixture(params=["Python", "Node", "Java"])
def sdk(request: pytest.FixtureRequest, tenant: Tenant) -> Sdk:
    return Sdk(request.param, tenant)


def describe(tenant: Tenant, **changes: Any) -> Call:
    parameters = {"SdkAppId": tenant.allowed, "TaskId": tenant.task_id}
    return {"action": "DescribeCloudRecording", "parameters": parameters, **changes}


def remove(application: int, **changes: Any) -> Call:
    parameters = {"SdkAppId": application, "RoomId": 4_294_967_294, "UserIds": [f"u{number}" for number in range(10)]}
    return {"action": "RemoveUser", "parameters": parameters, **changes}


def record(tenant: Tenant, room: str, *, robot: str = "recorder", **changes: Any) -> Call:
    parameters = {
        "SdkAppId": tenant.allowed,
        "RoomId": room,
        "RoomIdType": 0,
        "UserId": robot,
        "UserSig": tenant.server.user_sig(robot),
        "RecordParams": {
            "RecordMode": 2,
            "StreamType": 0,
            "MaxIdleTime": 30,
            "OutputFormat": 1,
            "SubscribeStreamUserIds": {"SubscribeAudioUserIds": ["alice", "王*~ &=+"]},
        },
        "StorageParams": {
            "CloudStorage": {
                "Vendor": 0,
                "Region": "ap-guangzhou",
                "Bucket": "calls",
                "AccessKey": "k+/=",
                "SecretKey": "s &%",
                "FileNamePrefix": ["a", "b"],
            }
        },
        "MixTranscodeParams": {
            "VideoParams": {"Width": 1280, "Height": 720, "Fps": 15, "BitRate": 550_000, "Gop": 10},
            "AudioParams": {"SampleRate": 1, "Channel": 2, "BitRate": 64_000},
        },
        "MixLayoutParams": {"MixLayoutMode": 3},
    }
    return {"action": "CreateCloudRecording", "parameters": parameters, **changes}


def code_of(outcome: Outcome) -> str:
    """Of a refused call; it says its RequestId too."""
    assert "error" in outcome, outcome
    assert outcome["error"]["request_id"], outcome
    return str(outcome["error"]["code"])


def test_every_way_of_signing_is_understood(sdk: Sdk, tenant: Tenant) -> None:
    request_ids = set()
    for way, (outcome,) in sdk.each_way([describe(tenant)]):
        assert "response" in outcome, (way, outcome)
        assert outcome["response"]["TaskId"] == tenant.task_id
        assert outcome["response"]["Status"] == "Idle"
        request_ids.add(outcome["response"]["RequestId"])
    assert len(request_ids) == len(WAYS)


def test_nested_structures_arrive_whole(sdk: Sdk, tenant: Tenant) -> None:
    room = f"会议室 {sdk.language} +&=%"
    calls = [{**record(tenant, room, robot=f"recorder{number}"), **way} for number, way in enumerate(WAYS)]
    for way, outcome in zip(WAYS, sdk.run(calls), strict=True):
        assert "response" in outcome, (way, outcome)
        assert outcome["response"]["TaskId"]


def test_refusals_have_code_field_and_request_id(sdk: Sdk, tenant: Tenant) -> None:
    wrong = record(tenant, "x")
    wrong["parameters"]["RecordParams"]["MaxIdleTime"] = 4
    calls = [remove(tenant.allowed), {**describe(tenant), "parameters": {"SdkAppId": tenant.allowed, "TaskId": HARD}}]
    calls.append(wrong)
    expected = ["FailedOperation.RoomNotExist", "ResourceNotFound", "InvalidParameter.OutOfRange"]
    for way, outcomes in sdk.each_way(calls):
        assert [code_of(outcome) for outcome in outcomes] == expected, way
        assert "RecordParams.MaxIdleTime" in outcomes[2]["error"]["message"]


def test_wrong_keys_are_refused(sdk: Sdk, tenant: Tenant) -> None:
    calls = [
        describe(tenant, secret_key="wrong"),
        describe(tenant, secret_id="AKID" + "x" * 32),
        describe(tenant, secret_id=tenant.temporary.secret_id, token="no-token"),
    ]
    expected = ["AuthFailure.SignatureFailure", "AuthFailure.SecretIdNotFound", "AuthFailure.TokenFailure"]
    for way, outcomes in sdk.each_way(calls):
        assert [code_of(outcome) for outcome in outcomes] == expected, way


@pytest.mark.parametrize("kind", ["restricted", "temporary"])
def test_policy_allows_one_application_and_denies_another(sdk: Sdk, tenant: Tenant, kind: str) -> None:
    keys: Keys = getattr(tenant, kind)
    calls = [describe(tenant), remove(tenant.allowed), remove(tenant.denied)]
    for way, (described, allowed, denied) in sdk.each_way(calls, keys):
        assert "response" in described, (way, described)
        assert code_of(allowed) == "FailedOperation.RoomNotExist"  # it got as far as the room
        assert code_of(denied) == "AuthFailure.UnauthorizedOperation", way
        assert str(tenant.denied) in denied["error"]["message"]


def sts(action: str, **parameters: Any) -> Call:
    return {"service": "sts", "version": "2018-08-13", "action": action, "parameters": parameters}


def keys_of(outcome: Outcome) -> Keys:
    assert "response" in outcome, outcome
    made = outcome["response"]["Credentials"]
    return Keys(made["TmpSecretId"], made["TmpSecretKey"], made["Token"])


def test_federated_credentials_are_narrowed_by_their_policy(sdk: Sdk, tenant: Tenant) -> None:
    """The owner may do everything; whom it federates only what the policy says."""
    asked = sts("GetFederationToken", Name="guest", Policy=json.dumps(tenant.policy()), DurationSeconds=900)
    (_, (made,)), *others = sdk.each_way([asked])
    assert all(keys_of(outcome) for _, (outcome,) in others)
    for way, (described, denied) in sdk.each_way([describe(tenant), remove(tenant.denied)], keys_of(made)):
        assert "response" in described, (way, described)
        assert code_of(denied) == "AuthFailure.UnauthorizedOperation", way


def test_assumed_role_has_the_roles_rights(sdk: Sdk, tenant: Tenant) -> None:
    asked = sts("AssumeRole", RoleArn=tenant.role_arn, RoleSessionName="shift", DurationSeconds=900)
    keys = keys_of(sdk.one(asked, tenant.restricted))
    described, removed, identity = sdk.run([describe(tenant), remove(tenant.allowed), sts("GetCallerIdentity")], keys)
    assert "response" in described, described
    assert code_of(removed) == "AuthFailure.UnauthorizedOperation"  # the role may only read
    assert identity["response"]["Type"] == "CAMRole"


def test_multipart_is_understood(sdk: Sdk, tenant: Tenant) -> None:
    texts = {"SdkAppId": str(tenant.allowed), "TaskId": tenant.task_id}
    outcome = sdk.one({**describe(tenant), "parameters": texts, "multipart": True})
    assert "response" in outcome, outcome
    # the Java SDK's client gives the envelope of a request that it has no type for
    response = outcome["response"].get("Response", outcome["response"])
    assert response["Status"] == "Idle"


def test_host_name_instead_of_address(sdk: Sdk, tenant: Tenant) -> None:
    """Node and Java sign the first part of the endpoint as the service, and Node the host without its port."""
    endpoint = f"localhost:{tenant.server.port}"
    for way, (outcome,) in sdk.each_way([describe(tenant, endpoint=endpoint)]):
        assert "response" in outcome, (way, outcome)


def test_fifty_calls_use_one_connection(sdk: Sdk, tenant: Tenant) -> None:
    with Relay(tenant.server.port) as relay:
        outcomes = sdk.run([describe(tenant, endpoint=relay.endpoint) for _ in range(50)])
    assert all("response" in outcome for outcome in outcomes), outcomes
    assert len({outcome["response"]["RequestId"] for outcome in outcomes}) == 50
    assert relay.connections == 1


def test_calls_from_many_clients_at_once(sdk: Sdk, tenant: Tenant) -> None:
    clients = 8 if sdk.language == "Python" else 2
    with ThreadPoolExecutor(clients) as pool:
        several = list(pool.map(lambda _: sdk.each_way([describe(tenant), describe(tenant)]), range(clients)))
    assert all("response" in each for ways in several for _, outcomes in ways for each in outcomes)
