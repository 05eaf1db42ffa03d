"""The sweep over the whole API: every member of every action is left out, mistyped, out of range, misnamed.

Each case is a good request with one fault; its code is known from the specification alone (``tests.kit.faulty``).
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rtcloud.apimodel.model import load_catalogue
from rtcloud.apimodel.validation import validate
from rtcloud.errors import ServiceError
from tests.kit import faulty

pytestmark = pytest.mark.contract

MODEL = load_catalogue().cloud
#: Those of the supplied model, then the console's, CAM's and STS's of ours.
ACTIONS = {action.name: (model, action) for model in load_catalogue().models for action in model.actions.values()}
EXAMPLES = json.loads((Path(__file__).parents[1] / "vectors" / "examples.json").read_text("utf-8"))["examples"]
#: Documented examples that hold a placeholder where the same documents ask for a value.
WRONG_EXAMPLES = {
    "R:2007": ("InvalidParameter", 'SdkAppId is "1400xxxxxx"'),
    "R:2302": ("InvalidParameter", 'SdkAppId is "1400xxxxxx"'),
    "R:2598": ("InvalidParameter", 'SdkAppId is "1400xxxxxx"'),
    "R:2722": ("InvalidParameter", 'SdkAppId is "1400xxxxxx"'),
    "R:3555": ("InvalidParameter", 'TTSConfig is "your-tts-config-json"'),
}


def code_of(action: str, parameters: object) -> str:
    """What validation answers; empty when it lets the parameters pass."""
    try:
        validate(MODEL, MODEL.actions[action], parameters)
    except ServiceError as error:
        return error.code
    return ""


@pytest.mark.parametrize("action", ACTIONS)
def test_good_request_passes_with_and_without_its_optional_members(action: str) -> None:
    for optional in (True, False):
        request = faulty.good_request(action, optional=optional)
        assert validate(*ACTIONS[action], request) == request


@pytest.mark.parametrize("action", ACTIONS)
def test_every_fault_gets_its_code_and_names_its_path(action: str, swept: Counter[str]) -> None:
    request = faulty.good_request(action)
    whole = faulty.good_request(action)
    for case in faulty.cases(action):
        with faulty.Broken(request, case), pytest.raises(ServiceError) as refused:
            validate(*ACTIONS[action], request)
        assert refused.value.code == case.code, case
        assert refused.value.message.startswith(f"{case.named} "), (case, refused.value)
        swept[case.fault] += 1
    assert request == whole


def test_sweep_is_whole() -> None:
    assert len(MODEL.actions) == 58
    assert len(faulty.reachable()) == 77
    kinds = Counter(case.fault for action in MODEL.actions for case in faulty.cases(action))
    assert kinds["missing"] > 500
    assert kinds["invalid"] > 5000
    assert kinds["out_of_range"] + kinds["too_large"] > 1000
    assert kinds["unknown"] > 150


def test_disabled_members_are_ignored_whatever_they_hold() -> None:
    for action, entry in faulty.spec()["actions"].items():
        good = faulty.good_request(action)
        values: tuple[Any, ...] = ("x", 7, {"No": []}, [None], None)
        for member in entry["input"]:
            if member.get("disabled"):
                for value in values:
                    assert validate(MODEL, MODEL.actions[action], good | {member["name"]: value}) == good


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example['action']} {example['source']}")
def test_documented_example_passes(example: dict[str, Any]) -> None:
    code, _ = WRONG_EXAMPLES.get(example["source"], ("", ""))
    assert code_of(example["action"], example["parameters"]) == code


def test_every_documented_action_has_an_example() -> None:
    documented = {name for name, entry in faulty.spec()["actions"].items() if entry["documented_in_reference"]}
    shown = {example["action"] for example in EXAMPLES}
    assert documented - shown == {"DescribeUnusualEvent"}
    assert shown <= documented
    assert WRONG_EXAMPLES.keys() <= {example["source"] for example in EXAMPLES}
