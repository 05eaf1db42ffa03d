"""The models in memory: what each action takes, gives and may answer.

``model.json`` beside this module is generated from ``spec/``, so that an installed package needs no repository: the
supplied model (never edited) with the extras beside it, and our own descriptions of the console's actions and of the
parts of CAM and STS that we answer. Everything here is frozen: one catalogue serves every request.
"""

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal, TypeVar

import msgspec

from rtcloud.apimodel.rules import Check, Rule, compile_check

T = TypeVar("T", int, float, str)

#: The types of scalars by what a list of them is said to hold.
SCALARS = {"int64": "int", "uint64": "int", "float": "float", "bool": "bool", "string": "string"}

#: What a policy could name of a call: the application of its SdkAppId (every one of the account where that is optional
#: and absent), the application of its TaskId's task, or nothing.
Scope = Literal["application", "task", "none"]


@dataclass(frozen=True, slots=True)
class Member:
    name: str
    type: str  # int, float, bool, string, object, list
    of: str | None  # int64 or uint64, an object's name, or what a list holds
    required: bool
    disabled: bool  # accepted and ignored
    rule: Rule | None
    check: Check | None  # of a scalar, or of each element of a list of scalars
    description: str = ""

    @property
    def default(self) -> int | float | str | bool | None:
        """What the documents say an absent value means, or None."""
        return None if self.rule is None else self.rule.default

    def meaning(self, value: object) -> str:
        """Our word for a value, since the same one means different things in different actions."""
        assert self.rule is not None, self.name
        assert self.rule.meanings is not None, self.name
        return self.rule.meanings[str(value)]


@dataclass(frozen=True, slots=True)
class Action:
    service: str
    name: str
    group: str
    input: Mapping[str, Member]
    output: Mapping[str, Member]
    errors: frozenset[str]  # that it lists, without the common ones
    regions: frozenset[str]  # empty: any
    requests_per_second: int | None
    seconds_per_request: int | None
    scope: Scope
    open: bool = False  # every user may call it unless a policy denies it
    description: str = ""

    @property
    def full_name(self) -> str:
        """As policies spell it."""
        return f"name/{self.service}:{self.name}"


@dataclass(frozen=True, slots=True)
class Model:
    service: str
    version: str
    regions: frozenset[str]  # empty: the service has none
    actions: Mapping[str, Action]
    offline_actions: frozenset[str]
    objects: Mapping[str, Mapping[str, Member]]
    error_codes: frozenset[str]  # all documented ones
    common_error_codes: frozenset[str]  # those that any action may answer

    def member(self, key: str) -> Member:
        """Of an action's input or of an object, as ``CloudStorage.Vendor``."""
        owner, _, name = key.partition(".")
        return (self.actions[owner].input if owner in self.actions else self.objects[owner])[name]

    def default(self, key: str, kind: type[T]) -> T:
        """What an absent member means."""
        value = self.member(key).default
        assert isinstance(value, kind), key
        return value

    def may_answer(self, action: Action, code: str) -> bool:
        return code in action.errors or code in self.common_error_codes


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Every model we answer. ``cloud`` is the supplied one, with its 58 actions; others may share its service."""

    models: tuple[Model, ...]

    @property
    def cloud(self) -> Model:
        return self.models[0]

    @property
    def services(self) -> frozenset[str]:
        return frozenset(model.service for model in self.models)

    def versions(self, services: Iterable[str]) -> frozenset[str]:
        wanted = frozenset(services)
        return frozenset(model.version for model in self.models if model.service in wanted)

    def having(self, services: Iterable[str], version: str) -> tuple[Model, ...]:
        """The models of that version among ``services``; a version may belong to several services."""
        wanted = frozenset(services)
        return tuple(model for model in self.models if model.service in wanted and model.version == version)


@functools.cache
def load_catalogue() -> Catalogue:
    """The generated catalogue of this package."""
    data = msgspec.json.decode(resources.files(__package__).joinpath("model.json").read_bytes())
    return Catalogue(tuple(build_model(entry) for entry in data["models"]))


def load_model() -> Model:
    """The supplied model with its extras."""
    return load_catalogue().cloud


def build_model(data: Mapping[str, Any]) -> Model:
    """``data`` is a model joined with its rules."""
    rules = msgspec.convert(data["rules"], dict[str, Rule])
    objects = {name: _members(name, entries, rules) for name, entries in data["objects"].items()}
    unscoped = frozenset(data.get("not_resource_level", ()))
    errors, regions = data.get("more_errors", {}), data.get("more_regions", {})
    actions = {
        name: _action(
            data["service"], name, entry, rules, name in unscoped, errors.get(name, ()), regions.get(name, ())
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


def _action(
    service: str,
    name: str,
    entry: Mapping[str, Any],
    rules: Mapping[str, Rule],
    unscoped: bool,
    more_errors: Iterable[str],
    more_regions: Iterable[str],
) -> Action:
    taken = _members(name, entry["input"], rules)
    scope: Scope = "none"
    if not unscoped:
        scope = "application" if "SdkAppId" in taken else "task" if "TaskId" in taken else "none"
    return Action(
        service=service,
        name=name,
        group=entry["group"],
        input=taken,
        output=_members(name, entry["output"], {}),
        errors=frozenset(entry["errors"]).union(more_errors),
        regions=frozenset(entry["regions"]).union(more_regions),
        requests_per_second=entry.get("requests_per_second"),
        seconds_per_request=entry.get("seconds_per_request"),
        scope=scope,
        open=entry.get("open", False),
        description=entry.get("description", ""),
    )


def _members(owner: str, entries: list[dict[str, Any]], rules: Mapping[str, Rule]) -> dict[str, Member]:
    return {entry["name"]: _member(entry, rules.get(f"{owner}.{entry['name']}")) for entry in entries}


def _member(entry: Mapping[str, Any], rule: Rule | None) -> Member:
    kind, of = entry["type"], entry.get("of")
    check: Check | None = None
    if kind == "list":
        if of in SCALARS:
            check = compile_check(SCALARS[of], of, None if rule is None else rule.items)
    elif kind != "object":
        check = compile_check(kind, of, rule)
    return Member(
        name=entry["name"],
        type=kind,
        of=of,
        required=entry.get("required", False),
        disabled=entry.get("disabled", False),
        rule=rule,
        check=check,
        description=entry.get("description", ""),
    )
