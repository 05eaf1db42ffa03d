"""What a command answered, for people: a table of rows, or names and values beneath each other. Pure.

Names of rooms and users come from strangers, so whatever could move the terminal's cursor is shown escaped.
"""

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import TypeGuard

#: The field that is said as a sentence, after the rest.
NEXT = "next"
_GAP = "  "
_NOTHING = "-"


def render(result: object) -> str:
    """Without a line end."""
    return "\n".join(_lines(result))


def _lines(result: object) -> list[str]:
    if isinstance(result, Mapping):
        return _fields(result)
    if _is_table(result):
        return _table(result)
    if isinstance(result, Sequence) and not isinstance(result, str):
        return [_flat(each) for each in result] or ["none"]
    return [_flat(result)]


def _fields(values: Mapping[str, object]) -> list[str]:
    shown = {_title(name): value for name, value in values.items() if name != NEXT}
    width = max((_width(name) for name in shown), default=0) + 1
    lines = []
    for name, value in shown.items():
        if _is_table(value):
            lines += [f"{name}:", *_indented(_table(value))]
        elif isinstance(value, Mapping) and any(isinstance(each, Mapping | list) for each in value.values()):
            lines += [f"{name}:", *_indented(json.dumps(value, indent=2, ensure_ascii=False).splitlines())]
        else:
            lines.append(f"{_padded(name + ':', width)}{_GAP}{_flat(value)}")
    if values.get(NEXT):
        lines += ["", *(_printable(line) for line in str(values[NEXT]).splitlines())]
    return lines


def _table(rows: Sequence[Mapping[str, object]]) -> list[str]:
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_title(name).upper() for name in names], *([_flat(row.get(name)) for name in names] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    return [_GAP.join(map(_padded, row, widths)).rstrip() for row in cells]


def _is_table(value: object) -> TypeGuard[list[Mapping[str, object]]]:
    return isinstance(value, list) and bool(value) and all(isinstance(each, Mapping) for each in value)


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"{_GAP}{_printable(line)}" for line in lines]


def _flat(value: object) -> str:
    if value is None or value == "" or value == [] or value == {}:
        return _NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return _printable(value)
    if isinstance(value, Mapping):
        return ", ".join(f"{_printable(str(name))} {_flat(each)}" for name, each in value.items())
    if isinstance(value, Sequence):
        return ", ".join(map(_flat, value))
    return json.dumps(value)


def _title(name: str) -> str:
    return _printable(name.replace("_", " "))


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _width(text: str) -> int:
    """In columns of a terminal."""
    wide = sum(unicodedata.east_asian_width(each) in "WF" for each in text)
    return len(text) + wide - sum(unicodedata.combining(each) != 0 for each in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))
