"""The table of sessions with rooms in memory: bounds, overload, and that nothing stays of what came to nothing."""

import asyncio
import itertools
from http import HTTPStatus

import pytest

from rtcloud import errors
from rtcloud.accounts.tokens import JoinGrant
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Device, Participant, Role
from rtcloud.rooms.running import Deliver
from rtcloud.whip import sdp, session, sessions
from rtcloud.whip.problems import Problem
from rtcloud.whip.sessions import Live, Publisher, Sessions
from tests.kit.clock import NOW_MS, StillClock
from tests.kit.waiting import eventually
from tests.kit.whip import offer, section

pytestmark = pytest.mark.anyio

REF = RoomRef(1400000000, False, "r")
OFFER = sdp.read_played(offer(section("0", "opus", direction="recvonly")).encode())
PUBLISHED = sdp.read_published(offer().encode())
NEW = sdp.Credentials("ysXw", "p" * 22)


class Rooms:
    """Welcomes everybody and answers every offer, unless told otherwise."""

    def __init__(self) -> None:
        self.delivers: dict[str, Deliver] = {}
        self.posted: list[facts.Fact] = []
        self.accepts = True  # facts
        self.drives = True  # commands of the media node
        self.answers = True
        self.fails = False

    async def enter(self, ref: RoomRef, scene: str, fact: facts.Entered, deliver: Deliver) -> str:
        if self.fails:
            raise errors.internal("overloaded")
        self.delivers[fact.participant_id] = deliver
        me = Participant("PA", "PA", fact.user_id, Role.ANCHOR, Device(), 0)
        deliver(commands.Welcome("RM_1", me, (), 0))
        return "RM_1"

    def post(self, participant_id: str, fact: facts.Fact) -> bool:
        if self.accepts:
            self.posted.append(fact)
        return self.accepts

    def drive(self, command: media.AnyCommand) -> bool:
        if self.drives and self.answers and isinstance(command, media.Offer):
            text = command.sdp.replace("a=recvonly", "a=sendonly")
            self.delivers[command.participant](
                media.Answered(
                    room="RM_1",
                    participant=command.participant,
                    request=command.request,
                    target="single",
                    sdp=text,
                    mid_to_track={},
                )
            )
        return self.drives


@pytest.fixture
def rooms() -> Rooms:
    return Rooms()


@pytest.fixture
def table(rooms: Rooms) -> Sessions:
    numbers = itertools.count(1)
    return Sessions(rooms, StillClock(), lambda prefix: f"{prefix}_{next(numbers)}")


async def opened(table: Sessions, user_id: str = "alice") -> Live:
    live, answer = await table.open("play", JoinGrant(REF, user_id, 0), OFFER, Device())
    assert "a=sendonly" in answer
    return live


async def refused(table: Sessions) -> HTTPStatus:
    with pytest.raises(Problem) as caught:
        await opened(table)
    assert table.count("play") == 0
    return caught.value.status


async def test_a_session_is_found_by_its_secret_until_it_ends(table: Sessions, rooms: Rooms) -> None:
    live = await opened(table)
    assert table.find(live.secret) is live
    table.end(live)
    assert rooms.posted == [facts.LeftRoom(live.session.participant_id)]
    with pytest.raises(Problem):
        table.find(live.secret)


async def test_who_publishes_is_listed_and_who_plays_is_not(table: Sessions) -> None:
    await opened(table, "viewer")
    opening = asyncio.create_task(table.open("publish", JoinGrant(REF, "obs", 0), PUBLISHED, Device()))
    while not (publishers := table.publishers()):
        await asyncio.sleep(0)
    assert publishers == [Publisher(REF, "obs", NOW_MS, False, frozenset({"video", "audio"}))]
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert table.publishers() == []


async def test_a_room_that_cannot_take_anybody_is_503(table: Sessions, rooms: Rooms) -> None:
    rooms.fails = True
    assert await refused(table) == HTTPStatus.SERVICE_UNAVAILABLE


async def test_a_media_node_that_is_full_is_503_and_the_user_leaves(table: Sessions, rooms: Rooms) -> None:
    rooms.drives = False
    assert await refused(table) == HTTPStatus.SERVICE_UNAVAILABLE
    assert isinstance(rooms.posted[-1], facts.LeftRoom)


async def test_an_answer_that_never_comes_is_503_and_the_user_leaves(
    table: Sessions, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "ANSWER_SECONDS", 0.05)
    rooms.answers = False
    assert await refused(table) == HTTPStatus.SERVICE_UNAVAILABLE
    assert isinstance(rooms.posted[-1], facts.LeftRoom)


async def test_a_request_that_is_given_up_leaves_nothing(table: Sessions, rooms: Rooms) -> None:
    rooms.answers = False
    waiting = asyncio.ensure_future(opened(table))
    while not rooms.delivers:
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert table.count("play") == 0
    assert isinstance(rooms.posted[-1], facts.LeftRoom)


async def test_a_room_that_does_not_hear_of_the_end_keeps_the_session(table: Sessions, rooms: Rooms) -> None:
    live = await opened(table)
    rooms.accepts = False
    with pytest.raises(Problem) as caught:
        table.end(live)
    assert caught.value.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert table.find(live.secret) is live


async def test_who_is_sent_away_has_no_session_any_more(table: Sessions, rooms: Rooms) -> None:
    live = await opened(table)
    rooms.delivers[live.session.participant_id](commands.Dismiss("duplicate"))
    assert table.count("play") == 0


async def test_users_have_a_bound_of_sessions_and_others_their_own(table: Sessions) -> None:
    for _ in range(sessions.MAX_PER_USER):
        table.check_room(JoinGrant(REF, "alice", 0))
        await opened(table)
    with pytest.raises(Problem) as caught:
        table.check_room(JoinGrant(REF, "alice", 0))
    assert caught.value.status == HTTPStatus.TOO_MANY_REQUESTS
    table.check_room(JoinGrant(REF, "bob", 0))


async def test_requests_that_are_read_at_the_same_time_are_within_the_bound(table: Sessions) -> None:
    for _ in range(sessions.MAX_PER_USER):
        table.check_room(JoinGrant(REF, "alice", 0))
    for _ in range(sessions.MAX_PER_USER):
        await opened(table)
    with pytest.raises(Problem) as caught:
        await opened(table)
    assert caught.value.status == HTTPStatus.TOO_MANY_REQUESTS
    assert table.count("play") == sessions.MAX_PER_USER


async def test_all_sessions_together_have_a_bound(table: Sessions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 2)
    await opened(table, "alice")
    await opened(table, "bob")
    with pytest.raises(Problem) as caught:
        table.check_room(JoinGrant(REF, "carol", 0))
    assert caught.value.status == HTTPStatus.SERVICE_UNAVAILABLE
    assert "Retry-After" in caught.value.headers


async def test_restarts_that_overlap_are_done_in_turn(table: Sessions) -> None:
    live = await opened(table)
    others = [sdp.Credentials(f"ufrag{number}", "p" * 22) for number in range(4)]
    fragments = await asyncio.gather(*(table.change(live, "*", sdp.Fragment(each, ())) for each in others))
    assert [f"a=ice-ufrag:{each.ufrag}" in (text or "") for each, text in zip(others, fragments, strict=True)] == [
        True
    ] * 4  # the media node of this test answers with what it was offered
    assert live.session.offer.credentials == others[-1]


async def test_a_client_that_never_connects_is_lost_to_its_room(
    table: Sessions, rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CONNECT_S", 0.01)
    monkeypatch.setattr(sessions, "AGAIN_S", 0.01)
    rooms.accepts = False
    live = await opened(table)
    await asyncio.sleep(0.03)  # the room hears nothing at first
    rooms.accepts = True

    async def lost() -> bool:
        return any(isinstance(fact, facts.SocketLost) for fact in rooms.posted)

    await eventually(lost, "the loss is said again")
    rooms.delivers[live.session.participant_id](commands.Dismiss("timed_out"))
