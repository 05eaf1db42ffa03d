"""The model in memory: what each action takes, gives and may answer.

``model.json`` beside this module is generated from ``spec/`` (the supplied model, never edited, and the extras beside
it), so that an installed package needs no repository. Everything here is frozen: one model serves every request.
"""

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import msgspec


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a member's value must satisfy beyond its type. ``reference`` is the documents' line."""

    min: int | None = None
    max: int | None = None
    enum: tuple[int, ...] | None = None
    min_length: int | None = None  # UTF-8 bytes
    max_length: int | None = None
    pattern: str | None = None  # the whole value
    max_items: int | None = None
    items: "Rule | None" = None
    default: int | str | bool | None = None
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    type: str  # int, float, bool, string, object, list
    of: str | None  # int64 or uint64, an object's name, or what a list holds
    required: bool
    disabled: bool  # accepted and ignored
    rule: Rule | None
    pattern: re.Pattern[str] | None  # of the rule, or of its items


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    group: str
    input: Mapping[str, Member]
    output: Mapping[str, Member]
    errors: frozenset[str]  # that it lists, without the common ones
    regions: frozenset[str]  # empty: any
    requests_per_second: int | None
    seconds_per_request: int | None


@dataclass(frozen=True, slots=True)
class Model:
    service: str
    version: str
    regions: frozenset[str]
    actions: Mapping[str, Action]
    offline_actions: frozenset[str]
    objects: Mapping[str, Mapping[str, Member]]
    error_codes: frozenset[str]  # all documented ones
    common_error_codes: frozenset[str]  # those that any action may answer

    def may_answer(self, action: Action, code: str) -> bool:
        return code in action.errors or code in self.common_error_codes


@functools.cache
def load_model() -> Model:
    """The generated model of this package."""
    return build_model(msgspec.json.decode(resources.files(__package__).joinpath("model.json").read_bytes()))


def build_model(data: Mapping[str, Any]) -> Model:
    """``data`` is the supplied model joined with the extras."""
    rules = msgspec.convert(data["rules"], dict[str, Rule])
    objects = {name: _members(name, entries, rules) for name, entries in data["objects"].items()}
    actions = {
        name: Action(
            name=name,
            group=entry["group"],
            input=_members(name, entry["input"], rules),
            output=_members(name, entry["output"], {}),
            errors=frozenset(entry["errors"]),
            regions=frozenset(entry["regions"]),
            requests_per_second=entry.get("requests_per_second"),
            seconds_per_request=entry.get("seconds_per_request"),
        )
        for name, entry in data["actions"].items()
    }
    return Model(
        service=data["service"],
        version=data["version"],
        regions=frozenset(data["regions"]),
        actions=actions,
        offline_actions=frozenset(data["offline_actions"]),
        objects=objects,
        error_codes=frozenset(data["error_codes"]),
        common_error_codes=frozenset(data["common_error_codes"]),
    )


def _members(owner: str, entries: list[dict[str, Any]], rules: Mapping[str, Rule]) -> dict[str, Member]:
    return {entry["name"]: _member(entry, rules.get(f"{owner}.{entry['name']}")) for entry in entries}


def _member(entry: Mapping[str, Any], rule: Rule | None) -> Member:
    pattern = None
    if rule is not None:
        source = rule.pattern if rule.items is None else rule.items.pattern
        pattern = re.compile(source) if source else None
    return Member(
        name=entry["name"],
        type=entry["type"],
        of=entry.get("of"),
        required=entry.get("required", False),
        disabled=entry.get("disabled", False),
        rule=rule,
        pattern=pattern,
    )
