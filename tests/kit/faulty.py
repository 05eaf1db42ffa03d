"""Requests made from the specification: a good one of each action, and every way to break it in one place.

Made from the files of ``spec/`` alone, without the code under test; ``expected_code`` states the rule of codes anew.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

SPEC = Path(__file__).parents[2] / "spec"
OURS = ("console", "cam-2019-01-16", "sts-2018-08-13")
Steps = tuple[str | int, ...]

#: A text of each form, then texts for the patterns; the first that fits a member is its good value.
TEXTS = {
    "date": "2024-05-31",
    "datetime": "2024-05-31 23:59:59",
    "minute": "2024-05-31 23:59",
    "base64": "AAAA",
    "json": '{"a":1}',
    "url": "https://host/a.png",
    "image_url": "watermark:WM_a-b_c",
    "stream_url": "https://host/a.mp4",
    "push_url": "rtmp://host/live/a",
}
OTHER_TEXTS = ("sample", "1400000000", "1400000000_sample_1", "word|10", "#ff0000", "0xff0000")
BAD_TEXTS: dict[str, list[str]] = {
    "date": ["2023-02-29", "2024-5-31", "20240531", "2024-05-31 ", "x"],
    "datetime": ["2024-05-31", "2024-05-31 24:00:00", "2024-02-30 00:00:00", "2024-05-31T00:00:00"],
    "minute": ["2024-05-31", "2024-05-31 23:60", "2023-02-29 00:00", "2024-05-31 23:59:59"],
    "base64": ["A", "AA=A", "\u4e2d", "AAAA AAAA"],
    "json": ["[]", "7", "{", "x", '{"a":1} x'],
    "url": ["x", "ftp://host/a", "https://", "https:///a", "https://host:99999/", "https://ho st/", "rtmp://host/a"],
    "image_url": ["x", "ftp://host/a", "https://", "watermark:", "watermark:x", "watermark:WM_", "watermark:WM_a/b"],
    "stream_url": ["x", "file:///etc/passwd", "rtmp://", "https://host:0/"],
    "push_url": ["x", "https://host/a", "rtmp:///a", "rtmp://host/a\r\nb"],
}
WRONG: dict[str, list[Any]] = {
    "int": ["1", 1.5, 1.0, True, [], {}],
    "float": ["1.5", True, [], {}, float("nan"), float("inf"), 10**400],
    "bool": [0, 1, "true", 1.5, [], {}],
    "string": [0, 7, 1.5, True, [], {}, "a\x00b", "\ud800"],
    "object": [0, 7, 1.5, "x", True, []],
    "list": [0, 7, 1.5, "x", True, {}],
}
WIDTHS = {"uint64": (0, 2**64 - 1), "int64": (-(2**63), 2**63 - 1)}


@dataclass(frozen=True, slots=True)
class Case:
    """``fault``: missing, invalid, out_of_range, too_large or unknown. ``value`` of a left out member is ``Absent``."""

    action: str
    fault: str
    path: Steps
    value: Any
    code: str

    @property
    def named(self) -> str:
        return ".".join(map(str, self.path))


class Absent:
    """Put where a member is to be left out."""


@cache
def spec() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SPEC / "trtc-2019-07-22.json").read_text("utf-8"))
    return found


@cache
def extras() -> dict[str, Any]:
    """All files of extras as one."""
    whole: dict[str, Any] = {"rules": {}}
    for path in sorted((SPEC / "trtc-2019-07-22.extras").glob("*.json")):
        part = json.loads(path.read_text("utf-8"))
        whole["rules"].update(part.pop("rules", {}))
        whole.update(part)
    return whole


@cache
def every_spec() -> dict[str, Any]:
    """The supplied model with its extras and our own models as one: no name means two things."""
    whole: dict[str, Any] = {"actions": {}, "objects": {}, "rules": {}}
    own = [json.loads((SPEC / f"{name}.json").read_text("utf-8")) for name in OURS]
    for part in (spec() | {"rules": extras()["rules"]}, *own):
        for kind, all_of_kind in whole.items():
            assert all(all_of_kind.get(name, entry) == entry for name, entry in part[kind].items())
            all_of_kind.update(part[kind])
    return whole


def rule_of(owner: str, member: dict[str, Any]) -> dict[str, Any]:
    rule: dict[str, Any] = every_spec()["rules"].get(f"{owner}.{member['name']}", {})
    return {"form": "date"} | rule if member.get("of") == "date" else rule


def reachable() -> list[str]:
    """The objects that occur in an input, at any depth."""
    waiting = [member for action in spec()["actions"].values() for member in action["input"]]
    found: dict[str, None] = {}
    while waiting:
        name = waiting.pop().get("of")
        if name in spec()["objects"] and name not in found:
            found[name] = None
            waiting += spec()["objects"][name]
    return sorted(found)


# A good request ---------------------------------------------------------------------------------------------------


def good_request(action: str, *, optional: bool = True) -> dict[str, Any]:
    return _good_members(action, every_spec()["actions"][action]["input"], optional)


def _good_members(owner: str, members: list[dict[str, Any]], optional: bool) -> dict[str, Any]:
    return {
        member["name"]: good_value(owner, member, optional)
        for member in members
        if not member.get("disabled") and (optional or member.get("required"))
    }


def good_value(owner: str, member: dict[str, Any], optional: bool = True) -> Any:
    rule, of = rule_of(owner, member), member.get("of", "")
    if member["type"] == "object":
        return _good_members(of, every_spec()["objects"][of], optional)
    if member["type"] == "list":
        element: Any
        if of in every_spec()["objects"]:
            element = _good_members(of, every_spec()["objects"][of], optional)
        else:
            element = _good_scalar("int" if of in WIDTHS else of, rule.get("items", {}))
        return [element] * rule.get("min_items", 1)
    return _good_scalar(member["type"], rule)


def _good_scalar(kind: str, rule: dict[str, Any]) -> Any:
    if "enum" in rule:
        return rule["enum"][0]
    if kind == "bool":
        return True
    if kind in ("int", "float"):
        return rule.get("min", min(1, rule.get("max", 1)))
    candidates = [TEXTS[rule["form"]]] if "form" in rule else OTHER_TEXTS
    for text in candidates:
        if re.fullmatch(rule.get("pattern", ".*"), text) and len(text) >= rule.get("min_length", 0):
            return text
    raise AssertionError(f"no sample text matches {rule}")


# Every fault of it ------------------------------------------------------------------------------------------------


def cases(action: str) -> Iterator[Case]:
    """Of the request with everything in it: each required member left out, each member mistyped and out of range at
    both ends, an unknown member in each object."""
    yield from _cases_of_object(action, action, every_spec()["actions"][action]["input"], ())


def _cases_of_object(action: str, owner: str, members: list[dict[str, Any]], at: Steps) -> Iterator[Case]:
    yield Case(action, "unknown", (*at, "NoSuchMember"), 1, "UnknownParameter")
    for member in members:
        path, rule, of = (*at, member["name"]), rule_of(owner, member), member.get("of", "")
        if member.get("disabled"):
            continue
        faults = [("invalid", value) for value in WRONG[member["type"]]]
        if member.get("required"):
            faults += [("missing", Absent), ("missing", None)]
            faults += (
                [("missing", {"string": "", "list": []}[member["type"]])]
                if member["type"] in ("string", "list")
                else []
            )
        if member["type"] == "list":
            faults += _sizes(good_value(owner, member)[:1], rule, member.get("required", False))
        elif member["type"] != "object":
            faults += _outside(member["type"], of, rule)
        for fault, value in faults:
            yield Case(action, fault, path, value, expected_code(action, fault, path, rule))
        if member["type"] == "list":
            yield from _cases_of_element(action, of, (*path, 0), rule.get("items", {}))
        elif member["type"] == "object":
            yield from _cases_of_object(action, of, every_spec()["objects"][of], path)


def _cases_of_element(action: str, of: str, path: Steps, rule: dict[str, Any]) -> Iterator[Case]:
    if of in every_spec()["objects"]:
        yield from _cases_of_object(action, of, every_spec()["objects"][of], path)
        faults: list[tuple[str, Any]] = [("invalid", value) for value in (*WRONG["object"], None)]
    else:
        kind = "int" if of in WIDTHS else of
        faults = [("invalid", value) for value in (*WRONG[kind], None)]
        faults += _outside(kind, of, rule)
        if kind == "string" and rule.get("min_length"):
            faults.append(("out_of_range", ""))
    for fault, value in faults:
        yield Case(action, fault, path, value, expected_code(action, fault, path, rule))


def _sizes(element: list[Any], rule: dict[str, Any], required: bool) -> Iterator[tuple[str, Any]]:
    if "max_items" in rule:
        yield "too_large", element * (rule["max_items"] + 1)
    if rule.get("min_items", 0) > (1 if required else 0):
        yield "out_of_range", element * (rule["min_items"] - 1)


def _outside(kind: str, of: str, rule: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if "enum" in rule:
        if kind == "string":
            yield "out_of_range", "no such value"
            yield "out_of_range", str(rule["enum"][0]) + " "
        else:
            yield "out_of_range", max(rule["enum"]) + 1
            yield "out_of_range", min(rule["enum"]) - 1
        return
    if kind == "int":
        low, high = WIDTHS.get(of, WIDTHS["int64"])
        yield "out_of_range", rule.get("min", low) - 1
        yield "too_large", rule.get("max", high) + 1
    if kind == "float" and "min" in rule:
        yield "out_of_range", rule["min"] - 0.001
    if kind == "float" and "max" in rule:
        yield "too_large", rule["max"] + 0.001
    if kind == "string":
        yield from _bad_texts(rule)


def _bad_texts(rule: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    if "max_length" in rule:
        yield "too_large", "x" * (rule["max_length"] + 1)
        yield "too_large", "\u4e2d" * (rule["max_length"] // 3 + 1)
    if rule.get("min_length", 0) > 1:
        yield "out_of_range", "x" * (rule["min_length"] - 1)
    if "pattern" in rule:
        unlike = ("\u00a7 /..", "\x1f", _good_scalar("string", rule) + "\n")
        for text in [text for text in unlike if not re.fullmatch(rule["pattern"], text)]:
            yield "invalid", text
    for text in BAD_TEXTS.get(rule.get("form", ""), ()):
        yield "invalid", text


def expected_code(action: str, fault: str, path: Steps, rule: dict[str, Any]) -> str:
    """The code that names the field if the action lists it, else the general one."""
    listed = every_spec()["actions"][action]["errors"]
    own = rule.get("codes", {})
    if fault in own:
        return str(own[fault])
    if fault == "too_large" and "out_of_range" in own:
        return str(own["out_of_range"])
    field = [step for step in path if isinstance(step, str)][-1]
    if fault == "missing":
        return f"MissingParameter.{field}" if f"MissingParameter.{field}" in listed else "MissingParameter"
    if fault == "invalid":
        return f"InvalidParameter.{field}" if f"InvalidParameter.{field}" in listed else "InvalidParameter"
    for code in ("InvalidParameter.OutOfRange", f"InvalidParameterValue.{field}", f"InvalidParameter.{field}"):
        if code in listed:
            return code
    return "InvalidParameterValue"


class Broken:
    """``with Broken(request, case): …``: the request with the case's fault, and afterwards as it was."""

    def __init__(self, request: Any, case: Case) -> None:
        self._place: Any = request
        for step in case.path[:-1]:
            self._place = self._place[step]
        self._last = case.path[-1]
        self._value = case.value

    def __enter__(self) -> None:
        is_list = isinstance(self._place, list)
        self._before = self._place[self._last] if is_list else self._place.get(self._last, Absent)
        self._set(self._value)

    def __exit__(self, *_: object) -> None:
        self._set(self._before)

    def _set(self, value: Any) -> None:
        if value is Absent:
            self._place.pop(self._last, None)
        else:
            self._place[self._last] = value
