"""Checks a request's parameters against the model.

What passes has only known members of the right types, all required ones, and every value inside its documented range.
``null`` means absent, as the official SDKs have it. An empty text is no value: a required member lacks it, and an
optional one passes unbounded, since programs send it for what they leave out. The first fault found is raised, with the
precise path of the field in its message (list elements by number: ``UserIds.3``).
"""

import logging
from collections.abc import Mapping
from typing import Any

from rtcloud.apimodel import faults
from rtcloud.apimodel.model import Action, Member, Model
from rtcloud.errors import ServiceError

_log = logging.getLogger(__name__)


def validate(model: Model, action: Action, parameters: object) -> dict[str, Any]:
    """The parameters without nulls and disabled members, or the ``ServiceError`` the documents prescribe."""
    if not isinstance(parameters, dict):
        raise ServiceError("InvalidParameter", "the body must be a JSON object")
    return _Request(model, action).members(action.input, parameters, "")


class _Request:
    def __init__(self, model: Model, action: Action) -> None:
        self._objects = model.objects
        self._action = action

    def members(self, shape: Mapping[str, Member], values: dict[str, Any], prefix: str) -> dict[str, Any]:
        accepted: dict[str, Any] = {}
        for name, value in values.items():
            member = shape.get(name)
            if member is None:
                raise faults.unknown(f"{prefix}{_shown(name)}")
            if value is None:
                continue
            if member.disabled:
                _log.debug("disabled member ignored", extra={"action": self._action.name, "path": prefix + name})
                continue
            accepted[name] = self._value(member, value, prefix + name)
        for name, member in shape.items():
            if member.required and accepted.get(name) in _NOTHING and not member.disabled:
                raise faults.missing(self._action, prefix + name, rule=member.rule)
        return accepted

    def _value(self, member: Member, value: Any, path: str) -> Any:
        kind = member.type
        if kind == "object":
            return self._object(member, value, path)
        if kind == "list":
            return self._list(member, value, path)
        if value == "" and kind == "string":
            return value
        return self._scalar(member, value, path)

    def _object(self, member: Member, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise faults.invalid(self._action, path, "must be an object", rule=member.rule)
        return self.members(self._objects[member.of or ""], value, f"{path}.")

    def _list(self, member: Member, value: Any, path: str) -> list[Any]:
        rule = member.rule
        if not isinstance(value, list):
            raise faults.invalid(self._action, path, "must be an array", rule=rule)
        if rule is not None:
            if rule.max_items is not None and len(value) > rule.max_items:
                reason = f"must have at most {rule.max_items} elements"
                raise faults.out_of_range(self._action, path, reason, rule=rule, too_large=True)
            if rule.min_items is not None and len(value) < rule.min_items and not (member.required and not value):
                reason = f"must have at least {rule.min_items} elements"
                raise faults.out_of_range(self._action, path, reason, rule=rule)
        element = self._object if member.check is None else self._scalar
        return [element(member, item, f"{path}.{index}") for index, item in enumerate(value)]

    def _scalar(self, member: Member, value: Any, path: str) -> Any:
        assert member.check is not None, path
        refused = member.check(value)
        if refused is not None:
            finding, reason = refused
            rule = member.rule.items if member.type == "list" and member.rule is not None else member.rule
            raise faults.found(self._action, path, finding, reason, rule)
        return float(value) if type(value) is int and "float" in (member.type, member.of) else value


_NOTHING: tuple[object, ...] = (None, "", [])


def _shown(name: str) -> str:
    """A caller's own name for something, fit for a message."""
    return name[:64].encode("utf-8", "backslashreplace").decode()
