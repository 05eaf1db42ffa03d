"""Parameters of a form into structures: ``Filters.0.Name`` and ``UserIds.3``, guided by the action's shape. Pure.

A name is followed through the model, so an unknown, too deep or misplaced part is refused where it is met, and nothing
is built for it. List elements come in any order but leave no gap; they are kept by index until the end, so a huge
index costs nothing. Texts become numbers and truth values where the model says so; one that is none stays a text, and
an empty one is no value: validation then names the fault.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from rtcloud.apimodel import faults
from rtcloud.apimodel.model import Action, Member, Model
from rtcloud.errors import ServiceError
from rtcloud.gateway.decoding.fields import Field

_INTEGER = re.compile(r"-?[0-9]{1,40}")
_NUMBER = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
_SHOWN = 64  # characters of an unknown name in a message
#: Commas and brackets of a JSON text, those inside its strings too: what it may become in memory, and how long the
#: decoder, which lets nothing else run meanwhile, may work on it. No action takes a hundredth of that.
MAX_VALUES = 65_536


def unflatten(model: Model, action: Action, fields: Iterable[Field]) -> dict[str, Any]:
    """Parameters as a JSON body would have them, not yet validated."""
    root = _Object(action.input)
    for field in fields:
        _place(model, action, root, field)
    return root.finished(action, "")


def convert(kind: str | None, text: str) -> Any:
    """``text`` as the model's type ``kind``, or as it is."""
    if kind in ("int", "int64", "uint64"):
        return int(text) if _INTEGER.fullmatch(text) else text or None
    if kind == "float":
        return float(text) if _NUMBER.fullmatch(text) else text or None
    if kind == "bool":
        return _TRUTH.get(text.lower(), text or None)
    return text


class _Object:
    def __init__(self, shape: Mapping[str, Member]) -> None:
        self._shape = shape
        self.values: dict[str | int, Any] = {}

    def step(self, action: Action, part: str, outer: str, path: str) -> tuple[str | int, str | None, str | None]:
        """The key of what ``part`` names in here, its type, and of what it is."""
        member = self._shape.get(part)
        if member is None:
            raise faults.unknown(path)
        return part, member.type, member.of

    def finished(self, action: Action, path: str) -> dict[str, Any]:
        prefix = f"{path}." if path else ""
        return {str(name): _finished(action, value, f"{prefix}{name}") for name, value in self.values.items()}


class _List:
    def __init__(self, of: str | None, is_object: bool) -> None:
        self._of = of
        self._kind = "object" if is_object else of
        self.values: dict[str | int, Any] = {}

    def step(self, action: Action, part: str, outer: str, path: str) -> tuple[str | int, str | None, str | None]:
        if _INDEX.fullmatch(part) is None:
            raise faults.invalid(action, outer, f"is a list; {part[:_SHOWN]!a} is not the number of an element")
        return int(part), self._kind, self._of

    def finished(self, action: Action, path: str) -> list[Any]:
        values = []
        for index in range(len(self.values)):
            if index not in self.values:
                raise faults.invalid(action, path, f"has no element {index}: numbers begin at 0 and leave no gap")
            values.append(_finished(action, self.values[index], f"{path}.{index}"))
        return values


def _finished(action: Action, value: Any, path: str) -> Any:
    return value.finished(action, path) if isinstance(value, _Object | _List) else value


def _place(model: Model, action: Action, root: _Object, field: Field) -> None:
    """Walk along the name's parts, making the objects and lists on the way, and put the value at its end."""
    here: _Object | _List = root
    outer = path = ""
    rest: str | None = field.name
    while rest is not None:
        part, dot, after = rest.partition(".")
        rest = after if dot else None
        outer, path = path, f"{path}.{part[:_SHOWN]}" if path else part[:_SHOWN]
        key, kind, of = here.step(action, part, outer, path)
        known = here.values.get(key)
        if rest is None:
            if key in here.values:
                raise faults.invalid(action, path, "is given both as a value and by its parts")
            here.values[key] = _value(action, kind, field, path)
        elif isinstance(known, _Object | _List):
            here = known
        elif key in here.values:
            raise faults.invalid(action, path, "is given both as a value and by its parts")
        elif kind in ("object", "list"):
            made = _Object(model.objects[of or ""]) if kind == "object" else _List(of, of in model.objects)
            here.values[key] = made
            here = made
        else:
            raise faults.invalid(action, path, "is a single value and has no parts")


def _value(action: Action, kind: str | None, field: Field, path: str) -> Any:
    """A whole list or object is JSON: multipart sends them so."""
    if field.is_json or (kind in ("object", "list") and field.text[:1] in ("{", "[")):
        try:
            return _decoded(field.text.encode())
        except (msgspec.DecodeError, RecursionError):
            raise faults.invalid(action, path, "is not JSON") from None
    return convert(kind, field.text)


def decode_json(content: bytes) -> object:
    """A JSON body. An empty one has no parameters."""
    try:
        return _decoded(content or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ServiceError("InvalidParameter", "the body is not JSON in UTF-8") from None


def _decoded(content: bytes) -> Any:
    if len(content) > MAX_VALUES and content.count(b",") + content.count(b"[") + content.count(b"{") > MAX_VALUES:
        raise ServiceError("InvalidParameter", f"there are more than {MAX_VALUES} values")
    return msgspec.json.decode(content)
