"""A WHIP or WHEP session as transcripts: notices in, commands out."""

import itertools
from http import HTTPStatus

import pytest

from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.participant import Device, Participant, Role, Track
from rtcloud.rooms.room import LOST_AFTER_MS
from rtcloud.signal.outputs import Drive, Post
from rtcloud.whip import sdp
from rtcloud.whip.outputs import Command, End, Reply, StartTimer, StopTimer
from rtcloud.whip.problems import Problem
from rtcloud.whip.session import CONNECT_S, Session
from tests.kit.whip import offer, section

PUBLISHED = sdp.read_published(offer().encode())
PLAYED = sdp.read_played(offer(section("0", "opus", direction="recvonly")).encode())
RESTART = sdp.Credentials("ysXw", "vw5LmwG4y/e6dPP/zAP9Gp5k")


def somebody(user_id: str, *track_ids: str) -> Participant:
    tracks = {track_id: Track(track_id, track_id, "audio", "microphone") for track_id in track_ids}
    return Participant(f"PA_{user_id}", f"PA_{user_id}", user_id, Role.ANCHOR, Device(), 0, tracks=tracks)


def welcome(*others: Participant) -> commands.Welcome:
    return commands.Welcome("RM_1", somebody("me"), others, 0)


def a_session(offered: sdp.Offer = PUBLISHED, **more: str) -> Session:
    numbers = itertools.count(1)
    return Session(
        "PA_me", "publish" if offered.sent else "play", offered, lambda prefix: f"{prefix}_{next(numbers)}", **more
    )


def tracks(said: list[Command]) -> list[Track]:
    return [each.fact.track for each in said if isinstance(each, Post) and isinstance(each.fact, facts.TrackAdded)]


def offers(said: list[Command]) -> list[media.Offer]:
    return [each.command for each in said if isinstance(each, Drive) and isinstance(each.command, media.Offer)]


def refusals(said: list[Command]) -> list[HTTPStatus]:
    return [each.outcome.status for each in said if isinstance(each, Reply) and isinstance(each.outcome, Problem)]


def answer(offered: media.Offer, direction: str = "recvonly") -> media.Answered:
    text = offered.sdp.replace("a=sendonly", f"a={direction}").replace("a=recvonly", f"a={direction}")
    return media.Answered(
        room="RM_1", participant="PA_me", request=offered.request, target="single", sdp=text, mid_to_track={}
    )


def rejection(offered: media.Offer) -> media.SdpRejected:
    return media.SdpRejected(
        room="RM_1", participant="PA_me", request=offered.request, target="single", reason="not acceptable"
    )


def transport(state: str) -> media.TransportChanged:
    return media.TransportChanged(room="RM_1", participant="PA_me", target="single", state=state)  # type: ignore[arg-type]


def opened(session: Session) -> list[Command]:
    """What was said at the answer."""
    said = session.tell(welcome())
    for track in tracks(said):
        said = session.tell(commands.AcceptTrack(track.cid, track))
    return session.tell(answer(offers(said)[0], "recvonly" if session.way == "publish" else "sendonly"))


def test_the_offer_waits_until_the_room_has_taken_every_track() -> None:
    session = a_session()
    announced = tracks(session.tell(welcome()))
    assert [(track.kind, track.source, track.cid) for track in announced] == [
        ("audio", "microphone", "whip-0"),
        ("video", "camera", "whip-1"),
    ]
    assert session.tell(commands.AcceptTrack("whip-1", announced[1])) == []
    said = session.tell(commands.AcceptTrack("whip-0", announced[0]))
    assert [each.target for each in offers(said)] == ["single"]
    assert "a=msid:whip whip-0\r\n" in offers(said)[0].sdp


def test_the_answer_is_replied_and_the_client_has_a_while_to_connect() -> None:
    said = opened(a_session())
    assert said[0] == StartTimer(CONNECT_S)
    assert isinstance(said[1], Reply)
    assert isinstance(said[1].outcome, str)


def test_a_viewer_announces_nothing_and_offers_at_once() -> None:
    session = a_session(PLAYED)
    said = session.tell(welcome(somebody("bob", "TR_b")))
    assert len(said) == len(offers(said)) == 1


def test_a_track_that_the_room_refuses_refuses_the_session() -> None:
    session = a_session()
    session.tell(welcome())
    said = session.tell(commands.RefuseTrack("whip-1", "not_allowed"))
    assert refusals(said) == [HTTPStatus.FORBIDDEN]
    assert said[-1] == Post(facts.LeftRoom("PA_me"))


def test_one_speaker_too_many_is_refused_and_not_published_in_silence() -> None:
    session = a_session()
    announced = tracks(session.tell(welcome()))
    session.tell(commands.AcceptTrack("whip-0", announced[0]))
    assert refusals(session.tell(commands.SilenceTrack(announced[0].track_id))) == [HTTPStatus.FORBIDDEN]


def test_an_offer_that_the_media_node_refuses_ends_the_session() -> None:
    session = a_session(PLAYED)
    first = offers(session.tell(welcome()))[0]
    said = session.tell(rejection(first))
    assert refusals(said) == [HTTPStatus.UNPROCESSABLE_ENTITY]
    assert said[-1] == Post(facts.LeftRoom("PA_me"))


def test_a_section_that_came_to_nothing_ends_the_session() -> None:
    session = a_session(PLAYED)
    first = offers(session.tell(welcome()))[0]
    said = session.tell(answer(first, "inactive"))
    assert refusals(said) == [HTTPStatus.UNPROCESSABLE_ENTITY]
    assert said[-1] == Post(facts.LeftRoom("PA_me"))


@pytest.mark.parametrize(
    ("cause", "status"),
    [("full", 403), ("may_not_create", 403), ("duplicate", 409), ("removed", 403), ("shutdown", 503), ("failed", 503)],
)
def test_who_is_sent_away_before_the_answer_hears_why(cause: commands.LeaveCause, status: int) -> None:
    session = a_session()
    said = session.tell(commands.Dismiss(cause))
    assert refusals(said) == [status]
    assert said[1:] == [StopTimer(), End(cause)]
    assert session.tell(welcome()) == []


def test_a_restart_offers_the_same_with_new_credentials() -> None:
    session = a_session()
    opened(session)
    again = offers(session.restart(RESTART))[0]
    assert again.request == 2
    assert again.sdp.count("a=ice-ufrag:ysXw\r\n") == 2
    assert "EsAw" not in again.sdp
    assert session.offer.credentials != RESTART
    said = session.tell(answer(again))
    assert isinstance(said[0], Reply)
    assert session.offer.credentials == RESTART


def test_a_restart_that_fails_leaves_everything_as_it_was() -> None:
    session = a_session()
    opened(session)
    before = session.offer
    said = session.tell(rejection(offers(session.restart(RESTART))[0]))
    assert refusals(said) == [HTTPStatus.UNPROCESSABLE_ENTITY]
    assert len(said) == 1
    assert session.offer is before


def test_answers_that_nobody_waits_for_are_passed_over() -> None:
    session = a_session()
    opened(session)
    late = offers(session.restart(RESTART))[0]
    present = offers(session.restart(sdp.Credentials("zzzz", RESTART.pwd)))[0]
    assert session.tell(answer(late)) == []
    assert session.tell(answer(present))


def test_only_candidates_that_can_be_used_go_on() -> None:
    session = a_session()
    opened(session)
    good = "candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host"
    bad = "candidate:1 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active"
    said = session.trickle([bad, good, "candidate:", "candidate:1 1 udp 1 some.local 9 typ host"])
    assert [each.command.candidate for each in said if isinstance(each, Drive)] == [good]  # type: ignore[union-attr]


def test_a_client_that_never_connects_is_given_up() -> None:
    session = a_session()
    opened(session)
    assert session.expire() == [Post(facts.SocketLost("PA_me", LOST_AFTER_MS))]


def test_a_client_that_connected_is_not() -> None:
    session = a_session()
    opened(session)
    assert session.tell(transport("connected")) == [StopTimer()]
    assert session.expire() == []


def test_dtls_that_is_closed_is_a_leave_and_silence_is_a_loss() -> None:
    closed, silent = a_session(), a_session()
    for session in (closed, silent):
        opened(session)
        session.tell(transport("connected"))
    assert closed.tell(transport("failed")) == [Post(facts.LeftRoom("PA_me"))]
    assert silent.tell(transport("disconnected")) == []
    assert silent.tell(transport("failed")) == [Post(facts.SocketLost("PA_me", LOST_AFTER_MS))]


def test_of_the_one_user_each_track_is_chosen_once_and_of_others_none() -> None:
    session = a_session(PLAYED, only="bob")
    said = session.tell(welcome(somebody("bob", "TR_1"), somebody("eve", "TR_e")))
    assert said[0] == Post(facts.SubscriptionChosen("PA_me", ("TR_1",), True))
    said = session.tell(commands.ShowParticipants((somebody("bob", "TR_1", "TR_2"), somebody("eve", "TR_f"))))
    assert said == [Post(facts.SubscriptionChosen("PA_me", ("TR_2",), True))]
    assert session.tell(commands.ShowParticipants((somebody("bob", "TR_1", "TR_2"),))) == []


def test_layers_are_announced_from_small_to_large() -> None:
    lines = ("a=rid:l send", "a=rid:h send", "a=rid:m send", "a=simulcast:send l;~h;m")
    session = a_session(sdp.read_published(offer(section("0", "vp8", *lines)).encode()))
    track = tracks(session.tell(welcome()))[0]
    assert [(layer.rid, layer.quality, layer.width) for layer in track.layers] == [
        ("l", 0, 320),
        ("m", 1, 640),
        ("h", 2, 1280),
    ]


def test_the_older_form_may_prefer_a_codec() -> None:
    session = a_session(codec="vp8")
    assert [track.codec for track in tracks(session.tell(welcome()))] == ["opus", "vp8"]
