"""What the whole front door answers: to a fault in any action, for actions not built, offline or unknown."""

import asyncio
import json
from collections import Counter

import pytest

from rtcloud.actions.registry import ACTIONS
from rtcloud.apimodel.model import load_model
from tests.kit import faulty
from tests.kit.api import Api, open_api
from tests.kit.signed import StillClock, call

pytestmark = pytest.mark.contract

MODEL = load_model()


def test_gateway_answers_one_fault_of_each_kind_per_action() -> None:
    """Also for actions that are not built: they say so only to a request that is good."""

    async def ask() -> None:
        clock = StillClock()
        api = await open_api(clock)
        try:
            tried: Counter[str] = Counter()
            for action in MODEL.actions:
                chosen = {case.fault: case for case in faulty.cases(action) if fits_json(case.value)}
                for fault, case in chosen.items():
                    clock.ms += 1
                    request = faulty.good_request(action)
                    with faulty.Broken(request, case):
                        body = json.dumps(request).encode()
                    answer = await call(api, body, action=action, x_tc_region=region_of(action))
                    assert answer.code == case.code, (case, answer.response)
                    tried[fault] += 1
            assert tried["unknown"] == tried["invalid"] == 58
            assert tried["missing"] > 40
        finally:
            await api.close()

    asyncio.run(ask())


def fits_json(value: object) -> bool:
    try:
        return bool(json.dumps(value, allow_nan=False)) and "\ud800" not in str(value) and len(str(value)) < 10_000
    except (TypeError, ValueError):
        return value is faulty.Absent


def region_of(action: str) -> str:
    known = MODEL.actions.get(action)
    return min(known.regions) if known and known.regions else "ap-guangzhou"


def answers(names: list[str], body: bytes = b"{}") -> dict[str, str]:
    """What each action answers to ``body``."""

    async def ask() -> dict[str, str]:
        api: Api = await open_api(StillClock())
        try:
            return {name: (await call(api, body, action=name, x_tc_region=region_of(name))).code for name in names}
        finally:
            await api.close()

    return asyncio.run(ask())


def test_every_action_answers_something_documented() -> None:
    for body in (b"{}", b'{"SdkAppId": 1}', b'{"Nonsense": []}', b"[]"):
        for name, code in answers(list(MODEL.actions), body).items():
            assert MODEL.may_answer(MODEL.actions[name], code), name
            assert code in MODEL.error_codes


def test_unbuilt_actions_say_so_to_a_good_request() -> None:
    async def ask() -> None:
        api: Api = await open_api(StillClock())
        try:
            application = api.credentials.sdk_app_id
            for name in MODEL.actions.keys() - ACTIONS.keys():
                request = faulty.good_request(name)
                if "SdkAppId" in request:
                    request["SdkAppId"] = type(request["SdkAppId"])(application)
                answer = await call(api, json.dumps(request).encode(), action=name, x_tc_region=region_of(name))
                assert answer.code == "UnsupportedOperation", (name, answer.response)
        finally:
            await api.close()

    asyncio.run(ask())


def test_offline_and_unknown_actions_are_told_apart() -> None:
    assert len(MODEL.offline_actions) == 21
    assert set(answers(list(MODEL.offline_actions)).values()) == {"ActionOffline"}
    assert set(answers(["removeUser", "RemoveUsers", "x" * 500]).values()) == {"InvalidAction"}
