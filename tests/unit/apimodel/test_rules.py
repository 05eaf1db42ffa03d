"""Checks made of a type and a rule: forms, bounds, and that no value makes one raise."""

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.apimodel.rules import INT_RANGES, Check, Form, Rule, compile_check

FORMS = get_args(Form)


def text_of(form: Form) -> Check:
    return compile_check("string", None, Rule(form=form))


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        (
            "date",
            ["2024-02-29", "1970-01-01"],
            ["2023-02-29", "2024-13-01", "2024-1-1", "20240101", "2024-W01-1", "２０２４-01-01"],
        ),
        (
            "datetime",
            ["2024-02-29 23:59:59"],
            ["2024-02-29", "2024-02-29 24:00:00", "2024-02-29T23:59:59", "2024-02-29 1:2:3"],
        ),
        ("minute", ["2024-02-29 23:59"], ["2024-02-29", "2024-02-29 24:00", "2023-02-29 00:00", "2024-02-29 23:59:59"]),
        ("base64", ["AAAA", "AA==", "", "+/8="], ["A", "AA", "AA=A", "A A=", "AAAA\n", "-_8=", "\u4e2d\u6587"]),
        ("json", ["{}", ' {"a": [1]} '], ["[]", "1", "null", '"{}"', "{", "{}{}", "{'a':1}", "", "[" * 100_000]),
        (
            "url",
            [
                "http://h",
                "https://h/",
                "HTTPS://h:8443/a?b=c#d",
                "https://[::1]:80/a",
                "https://u:p@h/a",
                "https://\u4e2d\u6587.cn/\u4e2d.png",
                "https://h?q",
            ],
            [
                "h/a",
                "//h/a",
                "https:",
                "https://",
                "https:///a",
                "https://:80/a",
                "https://h:0/",
                "https://h:65536/",
                "https://h:x/",
                "https://a b/",
                "https://h/a b",
                "https://h/a\n",
                "https://h/\x7f",
                "https://a\\@b/",
                "https://[::1/",
                "javascript:alert(1)",
                "file:///etc/passwd",
                "rtmp://h/a",
            ],
        ),
        (
            "stream_url",
            ["https://h/a.mp4", "rtmps://h/a", "rtsp://u:p@h:554/a"],
            ["file:///a", "srt://h:9000?streamid=x", "h"],
        ),
        ("push_url", ["rtmp://h/live/a?txSecret=b&txTime=c", "rtmps://h/live"], ["http://h/a", "rtmp://", "rtmp:///a"]),
    ],
)
def test_forms_of_texts(form: Form, good: list[str], bad: list[str]) -> None:
    check = text_of(form)
    for text in good:
        assert check(text) is None, text
    for text in bad:
        found = check(text)
        assert found is not None, text
        assert found[0] == "invalid", text


def test_text_that_is_a_date_needs_no_rule() -> None:
    check = compile_check("string", "date", None)
    assert check("2024-05-31") is None
    assert check("yesterday") == ("invalid", "must be a date as 2024-05-31")


def test_length_counts_bytes_and_both_bounds_are_inclusive() -> None:
    check = compile_check("string", None, Rule(min_length=3, max_length=6))
    assert check("\u4e2d") is None
    assert check("\u4e2d\u6587") is None
    assert check("ab") == ("out_of_range", "must have at least 3 bytes")
    assert check("\u4e2d\u6587a") == ("too_large", "must have at most 6 bytes")


def test_integers_have_the_width_of_their_type_where_a_rule_is_open() -> None:
    for width, (low, high) in INT_RANGES.items():
        check = compile_check("int", width, None)
        assert check(low) is None
        assert check(high) is None
        assert check(low - 1) == ("out_of_range", f"must be from {low} to {high}")
        assert check(high + 1) == ("too_large", f"must be from {low} to {high}")


def test_enumerations_hold_numbers_or_texts() -> None:
    assert compile_check("int", "uint64", Rule(enum=(0, 2)))(1) == ("out_of_range", "must be one of 0, 2")
    assert compile_check("string", None, Rule(enum=("hls",)))("mp4") == ("out_of_range", "must be hls")
    assert compile_check("int", "uint64", Rule(enum=(0, 1)))(True) == ("invalid", "must be an integer")


def test_bounds_of_floats_may_be_open() -> None:
    assert compile_check("float", None, None)(-1e308) is None
    assert compile_check("float", None, Rule(min=0.5))(0.4) == ("out_of_range", "must be at least 0.5")
    assert compile_check("float", None, Rule(max=2))(3) == ("too_large", "must be at most 2")


def test_a_rule_has_no_other_keys() -> None:
    with pytest.raises(msgspec.ValidationError, match="minimum"):
        msgspec.convert({"minimum": 1}, Rule)


anything: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**64, 2**4000)
    | st.floats()
    | st.text(st.characters(exclude_categories=()))
    | st.from_regex(r"[a-zA-Z]+://[^ ]*")
    | st.lists(st.integers())
    | st.dictionaries(st.text(), st.integers())
)
rules = st.builds(
    Rule,
    min=st.none() | st.integers(-5, 5),
    max=st.none() | st.floats(-5, 5),
    enum=st.none() | st.just((0, 1)) | st.just(("a", "b")),
    min_length=st.none() | st.integers(0, 3),
    max_length=st.none() | st.integers(0, 9),
    form=st.none() | st.sampled_from(FORMS),
)


@given(st.sampled_from(["int", "float", "bool", "string"]), st.sampled_from([None, *INT_RANGES]), rules, anything)
def test_no_value_makes_a_check_raise(kind: str, of: str | None, rule: Rule, value: Any) -> None:
    found = compile_check(kind, of, rule)(value)
    assert found is None or found[0] in ("invalid", "out_of_range", "too_large")
