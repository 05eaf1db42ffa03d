"""Checks a request's parameters against the model.

What passes has only known members of the right types, all required ones, and every value inside its documented range.
``null`` means absent, as the official SDKs have it; an empty text is no value for a required member. The first fault
found is raised, with the precise path of the field in its message (list elements by number: ``UserIds.3``).
"""

from typing import Any

from rtcloud.apimodel import faults
from rtcloud.apimodel.model import Action, Member, Model, Rule
from rtcloud.errors import ServiceError

_INT_RANGES = {"uint64": (0, 2**64 - 1), "int64": (-(2**63), 2**63 - 1)}


def validate(model: Model, action: Action, parameters: object) -> dict[str, Any]:
    """The parameters without nulls and disabled members, or the ``ServiceError`` the documents prescribe."""
    if not isinstance(parameters, dict):
        raise ServiceError("InvalidParameter", "the body must be a JSON object")
    return _Check(model, action).members(action.input, parameters, "")


class _Check:
    def __init__(self, model: Model, action: Action) -> None:
        self._model = model
        self._action = action

    def members(self, shape: Any, values: dict[str, Any], prefix: str) -> dict[str, Any]:
        accepted: dict[str, Any] = {}
        for name, value in values.items():
            member: Member | None = shape.get(name)
            if member is None:
                raise faults.unknown(f"{prefix}{name[:64]}")
            if value is None or member.disabled:
                continue
            accepted[name] = self._value(member, value, f"{prefix}{name}")
        for member in shape.values():
            if member.required and not member.disabled and accepted.get(member.name) in (None, "", []):
                raise faults.missing(self._action, f"{prefix}{member.name}")
        return accepted

    def _value(self, member: Member, value: Any, path: str) -> Any:
        match member.type:
            case "object":
                return self._object(member.of, value, path)
            case "list":
                return self._list(member, value, path)
            case _:
                self._scalar(member.type, member.of, value, path)
                if member.rule is not None and not (value == "" and member.required):
                    self._rule(member.rule, member, value, path)
                return float(value) if member.type == "float" else value

    def _object(self, name: str | None, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise faults.invalid(self._action, path, "must be an object")
        return self.members(self._model.objects[name or ""], value, f"{path}.")

    def _list(self, member: Member, value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise faults.invalid(self._action, path, "must be an array")
        rule = member.rule
        if rule is not None and rule.max_items is not None and len(value) > rule.max_items:
            raise faults.out_of_range(self._action, path, f"must have at most {rule.max_items} elements")
        accepted: list[Any] = []
        for index, item in enumerate(value):
            here = f"{path}.{index}"
            if member.of in self._model.objects:
                accepted.append(self._object(member.of, item, here))
                continue
            kind = "int" if member.of in _INT_RANGES else member.of
            self._scalar(kind, member.of, item, here)
            if rule is not None and rule.items is not None:
                self._rule(rule.items, member, item, here)
            accepted.append(float(item) if kind == "float" else item)
        return accepted

    def _scalar(self, kind: str | None, of: str | None, value: Any, path: str) -> None:
        match kind:
            case "int":
                if type(value) is not int:
                    raise faults.invalid(self._action, path, "must be an integer")
                low, high = _INT_RANGES[of or "int64"]
                if not low <= value <= high:
                    raise faults.out_of_range(self._action, path, f"must be from {low} to {high}")
            case "float":
                if type(value) not in (int, float):
                    raise faults.invalid(self._action, path, "must be a number")
            case "bool":
                if type(value) is not bool:
                    raise faults.invalid(self._action, path, "must be true or false")
            case _:
                if type(value) is not str:
                    raise faults.invalid(self._action, path, "must be a string")
                if "\x00" in value or not _is_text(value):
                    raise faults.invalid(self._action, path, "must be text without NUL")

    def _rule(self, rule: Rule, member: Member, value: Any, path: str) -> None:
        if rule.enum is not None and value not in rule.enum:
            raise faults.out_of_range(self._action, path, f"must be one of {', '.join(map(str, rule.enum))}")
        if rule.min is not None and value < rule.min or rule.max is not None and value > rule.max:
            raise faults.out_of_range(self._action, path, f"must be {_span(rule.min, rule.max)}")
        if rule.min_length is not None or rule.max_length is not None:
            length = len(value.encode())
            if length < (rule.min_length or 0):
                raise faults.out_of_range(self._action, path, "must not be empty")
            if rule.max_length is not None and length > rule.max_length:
                raise faults.out_of_range(self._action, path, f"must have at most {rule.max_length} bytes")
        if member.pattern is not None and member.pattern.fullmatch(value) is None:
            raise faults.invalid(self._action, path, f"must match {member.pattern.pattern}")


def _span(low: int | None, high: int | None) -> str:
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"from {low} to {high}"


def _is_text(value: str) -> bool:
    """Whether it has no lone surrogates, which cannot be stored or sent."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
