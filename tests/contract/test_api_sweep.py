"""Sweeps over the whole API model: every action answers something documented, every transcribed rule bites."""

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rtcloud.actions.context import Nothing
from rtcloud.actions.registry import ACTIONS
from rtcloud.apimodel.model import Action, Member, Rule, load_model
from rtcloud.apimodel.validation import validate
from rtcloud.callbacks import events
from rtcloud.errors import ServiceError
from rtcloud.rooms.ids import RoomRef
from tests.kit.api import Api, open_api
from tests.kit.signed import StillClock, call

pytestmark = pytest.mark.contract

ROOT = Path(__file__).parents[2]
MODEL = load_model()
EXTRAS = json.loads((ROOT / "spec" / "trtc-2019-07-22.extras.json").read_text("utf-8"))
CODE = re.compile(
    r"\"((?:ActionOffline|AuthFailure|DryRunOperation|FailedOperation|InternalError|InvalidAction|InvalidParameter"
    r"|InvalidParameterValue|InvalidRequest|LimitExceeded|MissingParameter|NoSuchProduct|NoSuchVersion"
    r"|RequestLimitExceeded|RequestSizeLimitExceeded|ResourceInUse|ResourceInsufficient|ResourceNotFound"
    r"|ResourceUnavailable|ServiceUnavailable|UnauthorizedOperation|UnknownParameter|UnsupportedOperation"
    r"|UnsupportedProtocol|UnsupportedRegion)(?:\.[A-Za-z]+)?)\""
)
#: A good value for each pattern of the extras.
MATCHING = {"FileNamePrefix": "prefix", "Bucket": "calls-1250000000", "Region": "ap-guangzhou"}


def answers(names: list[str], body: bytes = b"{}") -> dict[str, str]:
    """What each action answers to ``body``."""

    async def ask() -> dict[str, str]:
        api: Api = await open_api(StillClock())
        try:
            found: dict[str, str] = {}
            for name in names:
                action = MODEL.actions.get(name)
                region = min(action.regions) if action and action.regions else "ap-guangzhou"
                found[name] = (await call(api, body, action=name, x_tc_region=region)).code
            return found
        finally:
            await api.close()

    return asyncio.run(ask())


def test_every_action_answers_something_documented() -> None:
    assert len(MODEL.actions) == 58
    for body in (b"{}", b'{"SdkAppId": 1}', b'{"Nonsense": []}', b"[]"):
        for name, code in answers(list(MODEL.actions), body).items():
            if name in ACTIONS:
                assert MODEL.may_answer(MODEL.actions[name], code), name
                assert code in MODEL.error_codes
            else:
                assert code == "UnsupportedOperation", name


def test_offline_and_unknown_actions_are_told_apart() -> None:
    assert len(MODEL.offline_actions) == 21
    assert set(answers(list(MODEL.offline_actions)).values()) == {"ActionOffline"}
    assert set(answers(["removeUser", "RemoveUsers", "x" * 500]).values()) == {"InvalidAction"}


@pytest.mark.parametrize("name", ACTIONS)
def test_built_action_takes_and_gives_what_the_model_says(name: str) -> None:
    action, entry = MODEL.actions[name], ACTIONS[name]
    fields = {field.encode_name: field for field in msgspec.structs.fields(entry.request)}
    assert fields.keys() == action.input.keys()
    assert {n for n, f in fields.items() if f.required} == {n for n, m in action.input.items() if m.required}
    result = entry.run.__annotations__["return"]
    given = {field.encode_name for field in msgspec.structs.fields(result)}
    assert given == action.output.keys() - {"RequestId"}
    assert (result is Nothing) == (not given)


def test_every_code_in_the_source_is_documented() -> None:
    used: dict[str, Path] = {}
    for path in sorted((ROOT / "src" / "rtcloud").rglob("*.py")):
        for code in CODE.findall(path.read_text("utf-8")):
            used.setdefault(code, path)
    assert len(used) > 20
    assert {code: str(path) for code, path in used.items() if code not in MODEL.error_codes} == {}


def test_model_in_the_package_is_that_of_the_specification() -> None:
    packaged = json.loads((ROOT / "src" / "rtcloud" / "apimodel" / "model.json").read_text("utf-8"))
    assert packaged["rules"] == EXTRAS["rules"]
    assert packaged["common_error_codes"] == EXTRAS["common_error_codes"]
    supplied = json.loads((ROOT / "spec" / "trtc-2019-07-22.json").read_text("utf-8"))
    assert {key: packaged[key] for key in supplied} == supplied
    assert MODEL.common_error_codes <= MODEL.error_codes


def test_every_rule_names_a_member_and_its_source() -> None:
    for key, rule in EXTRAS["rules"].items():
        owner, _, name = key.partition(".")
        members = MODEL.actions[owner].input if owner in MODEL.actions else MODEL.objects[owner]
        assert name in members, key
        assert re.fullmatch(r"[RCGF]:\d+|S:\w+|own", rule["reference"]), key


# Every rule is broken once, inside a request that is good otherwise ------------------------------------------------


def sample(member: Member) -> Any:
    """A good value, with every optional member present."""
    match member.type:
        case "object":
            return {m.name: sample(m) for m in MODEL.objects[member.of or ""].values()}
        case "list" if member.of in MODEL.objects:
            return [{m.name: sample(m) for m in MODEL.objects[member.of].values()}]
        case "list":
            return [MATCHING.get(member.name, "someone")]
    rule = member.rule or Rule()
    if rule.default is not None:
        return rule.default
    if rule.enum is not None:
        return rule.enum[0]
    return {"int": max(rule.min or 0, 1), "bool": True, "float": 1.5}.get(member.type, MATCHING.get(member.name, "x"))


def broken(rule: Rule) -> Iterator[Any]:
    if rule.enum is not None:
        yield max(rule.enum) + 1
    if rule.min is not None and rule.min > 0:
        yield rule.min - 1
    if rule.max is not None:
        yield rule.max + 1
    if rule.max_length is not None:
        yield "x" * (rule.max_length + 1)
        yield "\u4e2d" * (rule.max_length // 3 + 1)
    if rule.pattern is not None:
        yield "\u00a7 /.."
    if rule.max_items is not None:
        yield ["x"] * (rule.max_items + 1)
    if rule.items is not None:
        for value in broken(rule.items):
            yield [value]
        if rule.items.min_length:
            yield [""]


def places(members: dict[str, Member], prefix: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Member]]:
    for member in members.values():
        path = (*prefix, member.name)
        yield path, member
        if member.of in MODEL.objects:
            inside = path if member.type == "object" else (*path, "0")
            yield from places(dict(MODEL.objects[member.of]), inside)


def put(parameters: Any, path: tuple[str, ...], value: Any) -> None:
    *above, last = path
    for step in above:
        parameters = parameters[int(step)] if isinstance(parameters, list) else parameters[step]
    parameters[last] = value


def refusal(action: Action, parameters: Any) -> ServiceError:
    with pytest.raises(ServiceError) as caught:
        validate(MODEL, action, parameters)
    return caught.value


def test_every_rule_refuses_what_breaks_it() -> None:
    met: set[str] = set()
    for name in ACTIONS:
        action = MODEL.actions[name]
        good = {member.name: sample(member) for member in action.input.values()}
        validate(MODEL, action, good)
        for path, member in places(dict(action.input)):
            if member.rule is None:
                continue
            for value in broken(member.rule):
                parameters = json.loads(json.dumps(good))
                put(parameters, path, value)
                error = refusal(action, parameters)
                assert MODEL.may_answer(action, error.code), path
                assert error.message.startswith(".".join(path)), (path, value, error)
            met.add(f"{path[-1]}:{member.rule.reference}")
    wanted = {f"{key.partition('.')[2]}:{rule['reference']}" for key, rule in EXTRAS["rules"].items()}
    assert wanted - met == set()
    assert len(EXTRAS["rules"]) == 70


def test_callback_events_are_those_of_the_specification() -> None:
    specified = json.loads((ROOT / "spec" / "callback-events.json").read_text("utf-8"))["groups"]
    room = {**specified["1"]["events"], **specified["2"]["events"]}
    assert {str(int(event)) for event in events.RoomEvent} == room.keys()
    assert {str(int(event)) for event in events.RecordingEvent} == specified["3"]["events"].keys()
    ref = RoomRef(1, True, "7")
    given: dict[str, Any] = {"UserId": "u", "Role": 20, "TerminalType": 1, "UserType": 1, "Reason": 1}
    keywords = {"UserId": "user_id", "Role": "role", "TerminalType": "terminal_type", "UserType": "user_type"}
    for number, event in room.items():
        chosen = {keywords.get(n, "reason"): given[n] for n in event["fields"] if n in given}
        assert list(events.room_event(ref, int(number), 1, **chosen).info) == event["fields"], number
    for number, event in specified["3"]["events"].items():
        made = events.recording_event(ref, int(number), 1, user_id="r", task_id="t", payload={})
        assert list(made.info) == event["fields"], number
