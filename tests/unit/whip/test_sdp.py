"""Offers, answers and fragments as text: what is kept, what is edited, and that anything is survived."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from rtcloud.whip import sdp
from rtcloud.whip.problems import Problem
from tests.kit.whip import PWD, UFRAG, fragment, offer, section

LINES = st.sampled_from([*offer().split("\r\n"), *fragment("a=candidate:1 1 udp 1 192.0.2.1 9 typ host").split("\r\n")])
#: Lines of real descriptions in any order, cut, doubled and with anything between.
TEXTS = st.lists(LINES | st.text(max_size=40), max_size=60).map("\r\n".join).map(str.encode) | st.binary(max_size=300)


@given(TEXTS)
def test_any_body_is_an_offer_or_a_problem(body: bytes) -> None:
    for read in (sdp.read_published, sdp.read_played):
        with contextlib.suppress(Problem):
            found = read(body)
            assert 0 < len(found.sections) <= sdp.MAX_SECTIONS
            sdp.with_credentials(found, sdp.Credentials("abcd", "p" * 22))


@given(TEXTS)
def test_any_body_is_a_fragment_or_a_problem(body: bytes) -> None:
    with contextlib.suppress(Problem):
        found = sdp.read_fragment(body)
        assert len(found.candidates) <= sdp.MAX_CANDIDATES
        assert all("\r" not in each and "\n" not in each for each in found.candidates)


@given(TEXTS)
def test_any_answer_is_finished_or_a_problem(body: bytes) -> None:
    text = body.decode(errors="replace")
    sdp.fragment_of(text)
    with contextlib.suppress(Problem):
        sdp.finish_answer(text, sdp.read_published(offer().encode()), direction="recvonly")


def test_every_track_gets_an_id_of_its_own() -> None:
    text = sdp.read_published(offer().encode()).text
    assert text.count("a=msid:") == 2
    assert "a=msid:whip whip-0\r\n" in text
    assert "a=msid:whip whip-1\r\n" in text


def test_lines_may_end_without_carriage_returns() -> None:
    assert sdp.read_published(offer().replace("\r\n", "\n").encode()).text == sdp.read_published(offer().encode()).text


def test_a_restart_is_a_later_version_without_the_candidates_of_before() -> None:
    text = offer(section("0", "opus", "a=candidate:1 1 udp 1 192.0.2.1 9 typ host"))
    before = sdp.read_published(text.encode())
    after = sdp.with_credentials(before, sdp.Credentials("abcd", "p" * 22))
    assert "o=- 5228595038118931041 3 IN" in after.text
    assert "a=candidate" not in after.text
    assert UFRAG not in after.text
    assert PWD not in after.text


def test_credentials_of_the_session_level_are_taken_and_replaced() -> None:
    sound = section("0", "opus", "-a=ice-ufrag", "-a=ice-pwd")
    text = offer(sound).replace("t=0 0\r\n", f"t=0 0\r\na=ice-ufrag:{UFRAG}\r\na=ice-pwd:{PWD}\r\n")
    before = sdp.read_published(text.encode())
    assert before.credentials == sdp.Credentials(UFRAG, PWD)
    assert "a=ice-ufrag:abcd\r\n" in sdp.with_credentials(before, sdp.Credentials("abcd", "p" * 22)).text


def test_a_direction_may_be_said_once_for_all_sections() -> None:
    sound = section("0", "opus", "-a=sendonly")
    text = offer(sound).replace("t=0 0\r\n", "t=0 0\r\na=sendonly\r\n")
    assert [each.direction for each in sdp.read_published(text.encode()).sections] == ["sendonly"]


def test_layers_are_ordered_by_names_that_tell_their_size_and_else_as_listed() -> None:
    def layers(listed: str) -> tuple[str, ...]:
        return sdp.read_published(offer(section("0", "vp8", f"a=simulcast:send {listed}")).encode()).sections[0].layers

    assert layers("q;h;f") == ("f", "h", "q")
    assert layers("low;high") == ("high", "low")
    assert layers("1;0;2") == ("1", "0", "2")
    assert layers("a,b;~c recv x") == ("a", "c")
