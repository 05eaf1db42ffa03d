"""The transcribed rules are whole and consistent: every input member has one, with its source, and none contradicts
itself, the model's types or the codes of the actions that it binds."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from tencentcloud.trtc.v20190722 import models as sdk

from rtcloud.apimodel.model import SCALARS, Member, load_catalogue, load_model
from rtcloud.apimodel.rules import Form, Rule, compile_check
from rtcloud.egress.recording import request as recording
from rtcloud.egress.recording.appearance import MixLayoutParams
from tests.kit import faulty

pytestmark = pytest.mark.contract

PACKAGED = Path(__file__).parents[2] / "src" / "rtcloud" / "apimodel" / "model.json"
MODEL = load_model()
RULES: dict[str, dict[str, Any]] = faulty.extras()["rules"]
#: How long the references are.
LINES = {"R": 8744, "C": 163, "P": 720, "G": 4810, "F": 1057}


def bound() -> Iterator[tuple[str, Member, Rule]]:
    """Every member with a rule, by its key."""
    shapes = {name: action.input for name, action in MODEL.actions.items()} | dict(MODEL.objects)
    for owner, members in shapes.items():
        for member in members.values():
            if member.rule is not None:
                yield f"{owner}.{member.name}", member, member.rule


def users(key: str) -> list[str]:
    """The actions that a rule binds."""
    owner = key.partition(".")[0]
    return [owner] if owner in MODEL.actions else [name for name in MODEL.actions if owner in objects_of(name)]


def objects_of(action: str) -> set[str]:
    waiting, found = list(MODEL.actions[action].input.values()), set[str]()
    while waiting:
        name = waiting.pop().of or ""
        if name in MODEL.objects and name not in found:
            found.add(name)
            waiting += MODEL.objects[name].values()
    return found


def test_model_in_the_package_is_that_of_the_specification() -> None:
    packaged = json.loads(PACKAGED.read_text("utf-8"))["models"][0]
    assert packaged["rules"] == RULES
    assert packaged["common_error_codes"] == faulty.extras()["common_error_codes"]
    assert {key: packaged[key] for key in faulty.spec()} == faulty.spec()
    assert MODEL.common_error_codes <= MODEL.error_codes


def test_every_input_member_has_a_rule() -> None:
    wanted = [f"{name}.{member}" for name, action in MODEL.actions.items() for member in action.input]
    wanted += [f"{name}.{member}" for name in faulty.reachable() for member in MODEL.objects[name]]
    assert sorted(wanted) == sorted(RULES)


def test_every_rule_names_its_source() -> None:
    for key, rule in RULES.items():
        for reference in (rule["reference"], rule.get("items", {}).get("reference", "own")):
            if reference.startswith("S:"):
                assert hasattr(sdk, reference[2:]), key
            elif reference not in ("own", "D"):
                found = re.fullmatch(r"([RCPGF]):([1-9][0-9]*)", reference)
                assert found is not None, key
                assert int(found[2]) <= LINES[found[1]], key


def test_rules_fit_the_types_of_their_members() -> None:
    texts = {"min_length", "max_length", "pattern", "form"}
    kinds = {
        "int": {"min", "max", "enum", "meanings", "unit", "default"},
        "float": {"min", "max", "enum", "unit", "default"},
        "bool": {"default"},
        "string": texts | {"enum", "meanings", "default", "unit"},
        "object": set(),
        "list": {"min_items", "max_items", "items"},
    }
    for key, member, _ in bound():
        assert RULES[key].keys() <= kinds[member.type] | {"codes", "note", "reference"}, key
        items = RULES[key].get("items", {})
        if items:
            assert member.of in SCALARS, key
            assert items.keys() <= kinds[SCALARS[member.of]] | {"codes", "reference"}, key
    assert set(get_args(Form)) == faulty.BAD_TEXTS.keys() == faulty.TEXTS.keys()


def test_bounds_have_the_right_order_and_patterns_are_patterns() -> None:
    for key, _, whole in bound():
        for rule in (whole, whole.items or Rule()):
            for low, high in (
                (rule.min, rule.max),
                (rule.min_length, rule.max_length),
                (rule.min_items, rule.max_items),
            ):
                assert low is None or high is None or low <= high, key
            assert re.compile(rule.pattern or ""), key
            assert rule.enum is None or len(set(rule.enum)) == len(rule.enum) > 0, key


def test_defaults_satisfy_their_own_rules() -> None:
    given = [(key, member) for key, member, _ in bound() if member.default is not None]
    assert len(given) > 50
    for key, member in given:
        assert member.check is not None, key
        assert member.default == "" or member.check(member.default) is None, key


def test_meanings_cover_the_enumeration() -> None:
    for key, member, rule in bound():
        if rule.meanings is not None:
            assert rule.enum is not None, key
            assert [str(value) for value in rule.enum] == list(rule.meanings), key
            assert [member.meaning(value) for value in rule.enum] == list(rule.meanings.values()), key


def test_each_room_id_type_has_the_convention_of_its_action() -> None:
    numbers = {key.partition(".")[0]: m for key, m, _ in bound() if m.name == "RoomIdType"}
    first_number = {name for name, member in numbers.items() if member.meaning(0) == "number"}
    assert first_number == {
        "StartPublishCdnStream",
        "McuFeedBackRoomParams",
        "MixUserInfo",
        "StartAIConversation",
        "StartAITranscription",
        "CreateCloudTranscription",
    }
    for member in numbers.values():
        assert sorted([member.meaning(0), member.meaning(1)]) == ["number", "string"]
        assert member.meaning(member.default) == "number"


def test_codes_of_rules_are_listed_by_the_actions_they_bind() -> None:
    for key, _, rule in bound():
        for code in (*(rule.codes or {}).values(), *((rule.items or Rule()).codes or {}).values()):
            assert code in MODEL.error_codes, key
            for name in users(key):
                assert "." not in code or code in MODEL.actions[name].errors, (key, name)


def test_general_codes_are_ones_that_the_action_may_answer() -> None:
    for action in MODEL.actions:
        for case in faulty.cases(action):
            assert MODEL.may_answer(MODEL.actions[action], case.code), case


def test_our_own_models_have_rules_for_their_own_members_only() -> None:
    packaged = json.loads(PACKAGED.read_text("utf-8"))["models"]
    for model, data in zip(load_catalogue().models[1:], packaged[1:], strict=True):
        shapes = {name: action.input for name, action in model.actions.items()} | dict(model.objects)
        assert not model.actions.keys() & MODEL.actions.keys()
        assert all(model.member(key).rule is not None for key in data["rules"])
        for members in shapes.values():
            for member in members.values():
                assert member.of is None or member.of in model.objects or member.of in SCALARS | {"date": ""}, member


def test_accepted_recordings_have_the_documented_defaults() -> None:
    """The structs that jobs read repeat them; here it is seen that they are the same."""
    for struct, owner in (
        (recording.RecordParams, "RecordParams"),
        (recording.VideoParams, "VideoParams"),
        (recording.AudioParams, "AudioParams"),
        (MixLayoutParams, "MixLayoutParams"),
    ):
        for field in msgspec.structs.fields(struct):
            documented = MODEL.objects[owner][field.encode_name].default
            if field.default is not msgspec.NODEFAULT and documented is not None:
                assert field.default == documented, f"{owner}.{field.encode_name}"
    rates = MODEL.objects["AudioParams"]["SampleRate"]
    assert {value: int(rates.meaning(value)) for value in (1, 2, 3)} == recording.SAMPLE_RATES_HZ


def test_defaults_and_meanings_are_asked_by_key() -> None:
    assert MODEL.default("CreateCloudRecording.ResourceExpiredHour", int) == 72
    assert MODEL.default("MixLayoutParams.BackGroundColor", str) == "#000000"
    assert MODEL.member("MixLayoutParams.MixLayoutMode").meaning(4) == "custom"
    with pytest.raises(KeyError):
        MODEL.member("CreateCloudRecording.Nothing")


def test_every_check_takes_the_good_value_and_no_other_type() -> None:
    for key, member, rule in bound():
        if member.check is None or member.type == "list":
            continue
        again = compile_check(member.type, member.of, rule)
        owner, _, name = key.partition(".")
        entries = faulty.spec()["actions"].get(owner, {}).get("input") or faulty.spec()["objects"][owner]
        good = faulty.good_value(owner, next(entry for entry in entries if entry["name"] == name))
        assert member.check(good) is None, key
        assert again(good) is None, key
        for value in faulty.WRONG[member.type]:
            found = member.check(value)
            assert found is not None, key
            assert found[0] == "invalid", key
