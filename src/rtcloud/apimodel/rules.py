"""What a value must satisfy beyond its type, and the one function that each member's type and rule become.

The grammar of rules is in ``spec/trtc-2019-07-22.extras/README.md``. Checks are made when the model is loaded, since
they run at every call; one takes a value and says why it is refused, or ``None``. Nothing here raises for any value
that JSON, or text in a form, can hold.
"""

import binascii
import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

import msgspec

Form = Literal["date", "datetime", "minute", "base64", "json", "url", "image_url", "stream_url", "push_url"]
#: Of a wrong type or form; of the right one, but not among the allowed values; and of these, above the upper bound.
Finding = Literal["invalid", "out_of_range", "too_large"]
Check = Callable[[Any], tuple[Finding, str] | None]


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    min: int | float | None = None
    max: int | float | None = None
    enum: tuple[int | str, ...] | None = None
    meanings: dict[str, str] | None = None
    unit: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None
    form: Form | None = None
    min_items: int | None = None
    max_items: int | None = None
    items: "Rule | None" = None
    default: int | float | str | bool | None = None
    codes: dict[Literal["missing"] | Finding, str] | None = None
    note: str = ""
    reference: str = ""


_NO_RULE = Rule()
INT_RANGES = {"uint64": (0, 2**64 - 1), "int64": (-(2**63), 2**63 - 1)}


def compile_check(kind: str | None, of: str | None, rule: Rule | None) -> Check:
    """Of a scalar, or of one element of a list. ``of`` refines the type: an integer's width, a text that is a date."""
    wanted = rule or _NO_RULE
    match kind:
        case "int":
            return _integer(of or "int64", wanted)
        case "float":
            return _number(wanted)
        case "bool":
            return _boolean
        case _:
            return _text(wanted, wanted.form or ("date" if of == "date" else None))


def _integer(width: str, rule: Rule) -> Check:
    lowest, highest = INT_RANGES[width]
    low = lowest if rule.min is None else rule.min
    high = highest if rule.max is None else rule.max
    span = f"must be {_span(low, high)}"
    enum, other = _enum(rule)

    def check(value: Any) -> tuple[Finding, str] | None:
        if type(value) is not int:
            return "invalid", "must be an integer"
        if enum is not None and value not in enum:
            return other
        if value < low:
            return "out_of_range", span
        return ("too_large", span) if value > high else None

    return check


def _number(rule: Rule) -> Check:
    low = -math.inf if rule.min is None else rule.min
    high = math.inf if rule.max is None else rule.max
    span = f"must be {_span(rule.min, rule.max)}"
    enum, other = _enum(rule)

    def check(value: Any) -> tuple[Finding, str] | None:
        if type(value) not in (int, float) or not _is_finite(value):
            return "invalid", "must be a number"
        if enum is not None and value not in enum:
            return other
        if value < low:
            return "out_of_range", span
        return ("too_large", span) if value > high else None

    return check


def _boolean(value: Any) -> tuple[Finding, str] | None:
    return None if type(value) is bool else ("invalid", "must be true or false")


def _text(rule: Rule, form: Form | None) -> Check:
    least, most = rule.min_length or 0, math.inf if rule.max_length is None else rule.max_length
    short: tuple[Finding, str] = (
        "out_of_range",
        "must not be empty" if least == 1 else f"must have at least {least} bytes",
    )
    long: tuple[Finding, str] = ("too_large", f"must have at most {rule.max_length} bytes")
    pattern = re.compile(rule.pattern) if rule.pattern else None
    unlike: tuple[Finding, str] = ("invalid", f"must match {rule.pattern}")
    has_form, described = _FORMS[form] if form else (None, "")
    enum, other = _enum(rule)

    def check(value: Any) -> tuple[Finding, str] | None:
        if type(value) is not str:
            return "invalid", "must be a string"
        length = len(value) if value.isascii() else _length(value)
        if length < 0 or "\x00" in value:
            return "invalid", "must be text without NUL"
        if length < least:
            return short
        if length > most:
            return long
        if enum is not None and value not in enum:
            return other
        if pattern is not None and pattern.fullmatch(value) is None:
            return unlike
        if has_form is not None and not has_form(value):
            return "invalid", described
        return None

    return check


def _enum(rule: Rule) -> tuple[frozenset[int | str] | None, tuple[Finding, str]]:
    if rule.enum is None:
        return None, ("out_of_range", "")
    choice = ("one of " if len(rule.enum) > 1 else "") + ", ".join(map(str, rule.enum))
    return frozenset(rule.enum), ("out_of_range", f"must be {choice}")


def _span(low: float | None, high: float | None) -> str:
    if high is None:
        return f"at least {low}"
    return f"at most {high}" if low is None else f"from {low} to {high}"


def _length(text: str) -> int:
    """In bytes; -1 where there are lone surrogates, which cannot be stored or sent."""
    try:
        return len(text.encode())
    except UnicodeEncodeError:
        return -1


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that no float comes near
        return False


# The forms of texts -----------------------------------------------------------------------------------------------


def _is_time(pattern: str) -> Callable[[str], bool]:
    """Whether it looks so and is in the calendar: the 30th of February is not."""
    whole = re.compile(pattern)

    def check(text: str) -> bool:
        try:
            return whole.fullmatch(text) is not None and bool(datetime.fromisoformat(text))
        except ValueError:
            return False

    return check


def _is_base64(text: str) -> bool:
    try:
        binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        return False
    return True


def _is_json_object(text: str) -> bool:
    try:
        return type(msgspec.json.decode(text)) is dict
    except (ValueError, RecursionError):
        return False


def _is_url(*schemes: str) -> Callable[[str], bool]:
    """Whether it names one of the schemes and a host. Nothing in it may break a line of a request or a log."""
    scheme = "|".join(schemes)
    host = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s\x00-\x1f\x7f/?#@:\[\]\\]+)"
    rest = r"[^\s\x00-\x1f\x7f]*"
    whole = re.compile(rf"(?i:{scheme})://(?:[^\s\x00-\x1f\x7f/?#@\\]*@)?{host}(?::([0-9]{{1,5}}))?(?:[/?#]{rest})?")

    def check(text: str) -> bool:
        found = whole.fullmatch(text)
        return found is not None and 0 < int(found[1] or 1) < 65_536

    return check


_is_web_url = _is_url("http", "https")
_WATERMARK = re.compile(r"watermark:WM_[A-Za-z0-9_-]{1,32}")


def _is_image_url(text: str) -> bool:
    return _is_web_url(text) or _WATERMARK.fullmatch(text) is not None


_DAY, _MINUTE = "[0-9]{4}-[0-9]{2}-[0-9]{2}", "[0-9]{2}:[0-9]{2}"
_PULLED = ("http", "https", "rtmp", "rtmps", "rtsp", "rtsps")
_PUSHED = ("rtmp", "rtmps")
_FORMS: dict[Form, tuple[Callable[[str], bool], str]] = {
    "date": (_is_time(_DAY), "must be a date as 2024-05-31"),
    "datetime": (_is_time(f"{_DAY} {_MINUTE}:[0-9]{{2}}"), "must be a time as 2024-05-31 23:59:59"),
    "minute": (_is_time(f"{_DAY} {_MINUTE}"), "must be a time as 2024-05-31 23:59"),
    "base64": (_is_base64, "must be Base64"),
    "json": (_is_json_object, "must be the text of a JSON object"),
    "url": (_is_web_url, "must be a URL as https://host/path"),
    "image_url": (_is_image_url, "must be a URL as https://host/path, or watermark:WM_… of CreateWatermark"),
    "stream_url": (_is_url(*_PULLED), f"must be a URL with a host and one of {', '.join(_PULLED)}"),
    "push_url": (_is_url(*_PUSHED), f"must be a URL with a host and one of {', '.join(_PUSHED)}"),
}
