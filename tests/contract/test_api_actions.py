"""What built actions take and give is what the models say."""

import msgspec
import pytest

from rtcloud.actions.context import Nothing
from rtcloud.actions.registry import ACTIONS
from rtcloud.apimodel.model import load_catalogue

pytestmark = pytest.mark.contract

DESCRIBED = {action.name: action for model in load_catalogue().models for action in model.actions.values()}


@pytest.mark.parametrize("name", ACTIONS)
def test_built_action_takes_what_the_model_says(name: str) -> None:
    members = {member.name: member for member in DESCRIBED[name].input.values() if not member.disabled}
    fields = {field.encode_name: field for field in msgspec.structs.fields(ACTIONS[name].request)}
    assert fields.keys() == members.keys()
    for member in members.values():
        assert fields[member.name].required == member.required, member.name
        if member.default is not None and not member.required:
            assert fields[member.name].default == member.default, member.name


@pytest.mark.parametrize("name", ACTIONS)
def test_built_action_gives_what_the_model_says(name: str) -> None:
    result = ACTIONS[name].run.__annotations__["return"]
    given = {field.encode_name for field in msgspec.structs.fields(result)}
    assert given == DESCRIBED[name].output.keys() - {"RequestId"}
    assert (result is Nothing) == (not given)
