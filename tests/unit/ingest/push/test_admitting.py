"""What an RTMP address asks for."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.ingest.push.admitting import BAD_NAME, WHYS, PushRefusedError, Wish, read_wish

QUERY = {"sdkappid": "1400000000", "userid": "obs", "usersig": "eJw-_*"}


def test_the_documented_address_names_a_room_by_text() -> None:
    wish = read_wish("hello-room", QUERY)
    assert wish == Wish(1400000000, "obs", "eJw-_*", "hello-room", False, "")
    assert "eJw" not in repr(wish)


def test_a_number_is_a_numeric_room_only_when_the_address_says_so() -> None:
    assert not read_wish("123", QUERY).numeric
    wish = read_wish("0123", QUERY | {"use_number_room_id": "1"})
    assert (wish.room, wish.numeric) == ("123", True)


def test_what_a_url_cannot_hold_comes_encoded() -> None:
    assert read_wish("room%201%2B", QUERY).room == "room 1+"


def test_parameters_are_found_whatever_their_case() -> None:
    assert read_wish("hall", {"SdkAppId": "7", "userId": "u", "userSig": "s"}).sdk_app_id == 7


def test_the_scene_of_a_room_that_is_opened_may_be_chosen() -> None:
    assert read_wish("hall", QUERY | {"scene": "live"}).scene == "live"


@pytest.mark.parametrize(
    ("name", "query", "words"),
    [
        ("", QUERY, "room is missing"),
        ("hall", QUERY | {"sdkappid": ""}, "sdkappid is missing"),
        ("hall", {"sdkappid": "1", "userid": "u"}, "usersig is missing"),
        ("hall", QUERY | {"sdkappid": "one"}, "not a number"),
        ("hall", QUERY | {"sdkappid": "²"}, "not a number"),
        ("hall", QUERY | {"sdkappid": "1" * 5000}, "not a number"),
        ("hall", QUERY | {"use_number_room_id": "1"}, "not a number"),
        ("1", QUERY | {"use_number_room_id": "yes"}, "neither 0 nor 1"),
        ("hall", QUERY | {"scene": "party"}, "scene"),
    ],
)
def test_what_is_missing_or_malformed_is_named(name: str, query: dict[str, str], words: str) -> None:
    with pytest.raises(PushRefusedError, match=words) as refused:
        read_wish(name, query)
    assert (refused.value.why, refused.value.code) == ("bad_address", BAD_NAME)
    assert "eJw" not in str(refused.value)


@given(st.text(max_size=80), st.dictionaries(st.sampled_from([*QUERY, "use_number_room_id", "scene", "x"]), st.text()))
def test_nothing_that_an_address_may_hold_breaks_it(name: str, query: dict[str, str]) -> None:
    with contextlib.suppress(PushRefusedError):
        wish = read_wish(name, QUERY | query)
        assert wish.room
        assert not wish.numeric or int(wish.room) >= 0


def test_the_guide_says_what_each_refusal_means() -> None:
    guide = (Path(__file__).parents[4] / "docs" / "guide" / "rtmp.md").read_text()
    assert [why for why in WHYS if f"`{why}`" not in guide] == []
