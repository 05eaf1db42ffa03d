"""Crowds: a large meeting that comes quickly, and a large audience. Everybody hears the talkers, nobody is dropped,
what each is told stays bounded, and what it costs the server is printed.
"""

import pytest

from tests.kit.crowd import FRAME_S, Account, Used
from tests.kit.gathering import ANCHORS, hold, meeting, show
from tests.kit.server import Server

pytestmark = [pytest.mark.e2e, pytest.mark.alone]


#: Of the signalling, to each in a meeting, for each who is in it: its description, and where its sound goes.
BYTES_A_HEAD = 4_000
#: To one of an audience, all in all.
AUDIENCE_BYTES = 20_000
JOINED_WITHIN_S = 10.0


def describe(what: str, values: list[float]) -> str:
    ordered = sorted(values)
    return f"{what}: median {ordered[len(ordered) // 2]:,.2f}, most {ordered[-1]:,.2f}"


def tell(accounts: list[Account], coming: Used, steady: Used) -> None:
    """Of those whose accounts they are, and the whole server."""
    print(f"\nwhile they come: {coming}\nsteady: {steady}")
    print(describe("joined within s", [each.joined_s for each in accounts]))
    print(describe("KB told to each", [each.bytes / 1000 for each in accounts]))
    print(describe("messages to each", [float(each.messages) for each in accounts]))
    print({kind: most(accounts, kind) for kind in sorted({kind for each in accounts for kind in each.kinds})})


def most(accounts: list[Account], kind: str) -> int:
    return max(each.kinds.get(kind, 0) for each in accounts)


def check_attendance(accounts: list[Account], people: int) -> None:
    """All were there, from when they came to the end."""
    assert len({each.user_id for each in accounts}) == people
    assert [each for each in accounts if each.faults] == []
    assert max(each.joined_s for each in accounts) < JOINED_WITHIN_S


def check_talk(accounts: list[Account], publishers: int, turn_s: float) -> None:
    talkers = {each.user_id: each.sent for each in accounts if each.sent}
    assert len(talkers) == publishers
    assert min(talkers.values()) > 0.5 * turn_s / FRAME_S
    for talker, sent in talkers.items():
        heard = {each.user_id: each.heard.get(talker, 0) for each in accounts if each.user_id != talker}
        assert min(heard.values()) > 0.8 * sent, f"{talker} is not heard by all: {heard}"


def hold_meeting(server: Server, people: int, publishers: int, turn_s: float, *, updates: int) -> None:
    """``updates``: most that anybody is told of the others' changes."""
    coming, steady, accounts = hold(server, meeting(server, people, publishers, turn_s))
    tell(accounts, coming, steady)
    check_attendance(accounts, people)
    assert {each.known for each in accounts} == {people - 1}
    check_talk(accounts, publishers, turn_s)
    assert most(accounts, "update") <= updates
    assert max(each.bytes for each in accounts) < BYTES_A_HEAD * people


def hold_show(server: Server, audience: int, turn_s: float) -> None:
    coming, steady, accounts = hold(server, show(server, audience, turn_s))
    anchors = [each for each in accounts if each.user_id.startswith("user")]
    watching = [each for each in accounts if each.user_id.startswith("watcher")]
    tell(watching, coming, steady)
    check_attendance(accounts, ANCHORS + audience)
    check_talk(anchors, ANCHORS, turn_s)
    assert {each.known for each in anchors} == {ANCHORS - 1}, "an audience is not announced"
    assert max(each.bytes for each in watching) < AUDIENCE_BYTES
    assert max(each.kinds["update"] for each in watching) < 50
    assert steady.mib < coming.mib + 16, "memory grows while nothing changes"


def test_everybody_in_a_meeting_of_forty_hears_the_talkers(server: Server) -> None:
    hold_meeting(server, 40, 10, 2.0, updates=60)


def test_a_show_goes_on_before_two_hundred_watchers(server: Server) -> None:
    hold_show(server, 200, 2.0)


@pytest.mark.long
def test_everybody_in_a_meeting_of_two_hundred_hears_the_talkers(server: Server) -> None:
    hold_meeting(server, 200, 50, 3.0, updates=150)


@pytest.mark.long
def test_a_show_goes_on_before_two_thousand_watchers(server: Server) -> None:
    hold_show(server, 2000, 15.0)
