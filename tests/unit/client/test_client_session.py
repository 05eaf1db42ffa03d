"""Transcripts: what the server, the transport and the program do, and what the session orders."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import models, rtc

from rtcloud.client import orders, peer
from rtcloud.client.joining import client_info
from rtcloud.client.orders import PublicationState
from rtcloud.client.session import EXPLAIN_S, GIVE_UP_S, MAX_RESUMES, Session
from rtcloud.client.types import (
    DataReceived,
    Disconnected,
    KeyframeRequested,
    ParticipantJoined,
    Reconnected,
    Reconnecting,
    SpeakersChanged,
    TrackPublished,
    TrackSubscribed,
)
from rtcloud.signal import joining as server_side

Action = rtc.LeaveRequest.Action
Reason = models.DisconnectReason


class Talk:
    """One session with a clock, and everything it ordered since the last look."""

    def __init__(self, *, auto_subscribe: bool = True) -> None:
        self.session = Session("token", client_info("test"), auto_subscribe=auto_subscribe)
        self.now = 100.0
        self.ordered: list[orders.Order] = []
        self.offers = 0

    def do(self, wanted: Iterable[orders.Order]) -> list[orders.Order]:
        self.ordered = list(wanted)
        return self.ordered

    def names(self) -> list[str]:
        return [type(order).__name__ for order in self.ordered]

    def one(self, kind: type[Any]) -> Any:
        found = [order for order in self.ordered if isinstance(order, kind)]
        assert len(found) == 1, self.ordered
        return found[0]

    def told(self) -> list[Any]:
        return [order.event for order in self.ordered if isinstance(order, orders.Tell)]

    def sent(self) -> list[str | None]:
        return [order.request.WhichOneof("message") for order in self.ordered if isinstance(order, orders.Send)]

    def peer(self, event: peer.AnyPeerEvent) -> list[orders.Order]:
        return self.do(self.session.peer_event(event, self.now))

    def offer(self, *cids: str) -> list[orders.Order]:
        self.offers += 1
        return self.peer(peer.OfferMade(request=self.offers, sdp="v=0 " + " ".join(cids)))

    def answered(self) -> list[orders.Order]:
        return self.peer(peer.Answered(request=self.offers))

    def connected(self) -> list[orders.Order]:
        return self.peer(peer.StateChanged(state="connected"))

    def receive(self, response: rtc.SignalResponse, socket: int | None = None) -> list[orders.Order]:
        number = self.session._socket if socket is None else socket
        return self.do(self.session.receive(number, response.SerializeToString(), self.now))

    def join(self, *others: models.ParticipantInfo) -> list[orders.Order]:
        own = models.ParticipantInfo(sid="PA_me", identity="me")
        room = models.Room(name="77")
        return self.receive(
            rtc.SignalResponse(
                join=rtc.JoinResponse(
                    room=room, participant=own, other_participants=others, ping_interval=5, ping_timeout=15
                )
            )
        )

    def answer(self, mapping: dict[str, str]) -> list[orders.Order]:
        answer = rtc.SessionDescription(type="answer", sdp="v=0", id=self.offers, mid_to_track_id=mapping)
        return self.receive(rtc.SignalResponse(answer=answer))

    def leave(self, action: Any, reason: Any) -> list[orders.Order]:
        return self.receive(rtc.SignalResponse(leave=rtc.LeaveRequest(action=action, reason=reason)))

    def lose_transport(self) -> list[orders.Order]:
        """And nobody says why."""
        assert self.peer(peer.StateChanged(state="failed", reason="x")) == []
        self.now += EXPLAIN_S
        return self.do(self.session.time_passed(self.now))

    def lose_socket(self) -> list[orders.Order]:
        return self.do(self.session.socket_lost(self.session._socket, self.now))


def ann(*tracks: str) -> models.ParticipantInfo:
    return models.ParticipantInfo(
        sid="PA_ann",
        identity="ann",
        tracks=[models.TrackInfo(sid=track, type=models.TrackType.VIDEO) for track in tracks],
    )


def entered(*others: models.ParticipantInfo, auto_subscribe: bool = True) -> Talk:
    talk = Talk(auto_subscribe=auto_subscribe)
    talk.do(talk.session.start(talk.now))
    talk.offer()
    talk.join(*others)
    talk.answer({})
    talk.answered()
    talk.connected()
    return talk


def camera(cid: str = "cid-cam") -> PublicationState:
    return PublicationState(cid, "video", "camera", "h264", width=1280, height=720)


def published(talk: Talk, cid: str = "cid-cam", track: str = "TR_1") -> list[orders.Order]:
    response = rtc.TrackPublishedResponse(cid=cid, track=models.TrackInfo(sid=track))
    return talk.receive(rtc.SignalResponse(track_published=response))


def publishing() -> Talk:
    talk = entered()
    talk.do(talk.session.publish(camera()))
    talk.offer("cid-cam")
    published(talk)
    talk.answer({})
    talk.answered()
    return talk


def attempt(order: orders.Open) -> server_side.JoinAttempt:
    return server_side.parse_v1({"join_request": order.join_request})


# joining


def test_first_offer_goes_along_with_the_join_request() -> None:
    talk = Talk()
    talk.do(talk.session.start(talk.now))
    assert talk.names() == ["MakePeer", "CreateOffer"]
    talk.offer()
    opened = talk.one(orders.Open)
    assert (opened.token, opened.delay_s) == ("token", 0.0)
    offer = attempt(opened).offer
    assert offer is not None
    assert (offer.id, offer.sdp) == (1, "v=0 ")


def test_ready_when_joined_answered_and_connected_in_any_order() -> None:
    talk = Talk()
    talk.do(talk.session.start(talk.now))
    talk.offer()
    talk.join(ann("TR_1"))
    assert (talk.session.user_id, talk.session.room_name) == ("me", "77")
    assert [type(event) for event in talk.told()] == [ParticipantJoined, TrackPublished]
    talk.answer({"0": "TR_1"})
    accepted = talk.one(orders.AcceptAnswer)
    assert (accepted.request, accepted.mid_to_track) == (1, {"0": "TR_1"})
    talk.connected()
    assert "Ready" not in talk.names()
    talk.answered()
    assert [type(event) for event in talk.told()] == [TrackSubscribed]
    assert "Ready" in talk.names()


@pytest.mark.parametrize("reason", [Reason.DUPLICATE_IDENTITY, Reason.ROOM_DELETED])
def test_leave_instead_of_the_join_response_ends_the_attempt(reason: Any) -> None:
    talk = Talk()
    talk.do(talk.session.start(talk.now))
    talk.offer()
    talk.leave(Action.RECONNECT, reason)
    assert talk.one(orders.Finish).reason == Reason.Name(reason)


def test_refused_handshake_ends_the_attempt_with_its_status() -> None:
    talk = Talk()
    talk.do(talk.session.start(talk.now))
    talk.offer()
    talk.do(talk.session.socket_refused(1, 401, "expired", talk.now))
    finish = talk.one(orders.Finish)
    assert (finish.reason, finish.status, finish.message) == ("JOIN_FAILURE", 401, "expired")


def test_server_that_never_answers_ends_the_attempt() -> None:
    talk = Talk()
    talk.do(talk.session.start(talk.now))
    talk.offer()
    at = talk.session.next_at()
    assert at is not None
    talk.do(talk.session.time_passed(at))
    assert "Finish" in talk.names()


def test_transport_that_never_comes_up_ends_the_attempt() -> None:
    talk = Talk()
    talk.do(talk.session.start(talk.now))
    talk.offer()
    talk.join()
    talk.peer(peer.StateChanged(state="failed"))
    assert talk.one(orders.Finish).reason == "MEDIA_FAILURE"


# in the room


def test_publication_is_accepted_when_announced_and_negotiated() -> None:
    talk = entered()
    talk.do(talk.session.publish(camera()))
    assert talk.names() == ["AddTrack", "Send", "CreateOffer"]
    add = talk.one(orders.Send).request.add_track
    assert (add.cid, add.width, add.source) == ("cid-cam", 1280, models.TrackSource.CAMERA)
    assert [codec.codec for codec in add.simulcast_codecs] == ["h264"]
    talk.offer("cid-cam")
    assert talk.sent() == ["offer"]
    published(talk)
    assert "Accepted" not in talk.names()
    talk.answer({})
    talk.answered()
    assert talk.one(orders.Accepted).cid == "cid-cam"
    assert talk.session.publications["cid-cam"].track_id == "TR_1"


def test_refused_publication_is_taken_back() -> None:
    talk = entered()
    talk.do(talk.session.publish(camera()))
    refusal = rtc.RequestResponse(reason=rtc.RequestResponse.Reason.NOT_ALLOWED, message="no")
    talk.receive(rtc.SignalResponse(request_response=refusal))
    assert talk.one(orders.Refused) == orders.Refused("cid-cam", "no")
    assert talk.one(orders.RemoveTrack).cid == "cid-cam"
    assert talk.session.publications == {}


def test_mute_is_said_once() -> None:
    talk = publishing()
    talk.do(talk.session.mute("cid-cam", True))
    mute = talk.one(orders.Send).request.mute
    assert (mute.sid, mute.muted) == ("TR_1", True)
    assert talk.do(talk.session.mute("cid-cam", True)) == []


def test_more_receive_sections_are_offered_when_the_server_needs_them() -> None:
    talk = entered()
    needed = rtc.MediaSectionsRequirement(num_audios=1, num_videos=2)
    talk.receive(rtc.SignalResponse(media_sections_requirement=needed))
    assert talk.ordered == [orders.RequireSections(1, 2), orders.CreateOffer()]


def test_subscribed_track_is_told_once_also_when_it_is_announced_late() -> None:
    talk = entered()
    talk.offer()
    talk.answer({"3": "TR_9"})
    talk.answered()
    assert talk.told() == []
    talk.receive(rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=[ann("TR_9")])))
    assert [type(event) for event in talk.told()] == [ParticipantJoined, TrackPublished, TrackSubscribed]
    talk.offer()
    talk.answer({"3": "TR_9"})
    talk.answered()
    assert talk.told() == []


def test_wishes_are_sent() -> None:
    talk = entered(ann("TR_1"))
    talk.do(talk.session.subscribe("TR_1", False))
    subscription = talk.one(orders.Send).request.subscription
    assert (list(subscription.track_sids), subscription.subscribe) == (["TR_1"], False)
    talk.do(talk.session.size("TR_1", True, 320, 180))
    setting = talk.one(orders.Send).request.track_setting
    assert (setting.disabled, setting.width, setting.height) == (False, 320, 180)


def test_data_keyframes_and_speakers_are_told() -> None:
    talk = entered(ann())
    user = models.UserPacket(payload=b"hi", topic="trtc.cmd.1")
    packet = models.DataPacket(user=user, participant_identity="ann").SerializeToString()
    talk.peer(peer.DataArrived(packet=packet, reliable=True))
    assert talk.told() == [DataReceived(b"hi", "ann", "trtc.cmd.1", True)]
    talk.peer(peer.DataArrived(packet=b"\xff\xff", reliable=True))
    assert talk.ordered == []
    talk.peer(peer.KeyframeWanted(cid="cid-cam"))
    assert talk.told() == [KeyframeRequested("cid-cam")]
    for active, levels in [(True, {"ann": 0.5}), (False, {})]:
        speaker = models.SpeakerInfo(sid="PA_ann", level=0.5, active=active)
        talk.receive(rtc.SignalResponse(speakers_changed=rtc.SpeakersChanged(speakers=[speaker])))
        assert talk.told() == [SpeakersChanged(levels)]


def test_pings_keep_the_socket_and_silence_loses_it() -> None:
    talk = entered()
    talk.now += 5
    talk.do(talk.session.time_passed(talk.now))
    assert talk.sent() == ["ping_req"]
    talk.receive(rtc.SignalResponse(pong_resp=rtc.Pong()))
    talk.now += 15
    talk.do(talk.session.time_passed(talk.now))
    assert talk.told() == [Reconnecting()]
    assert attempt(talk.one(orders.Open)).participant_id == "PA_me"


# coming back


def test_lost_socket_is_resumed_with_an_ice_restart() -> None:
    talk = publishing()
    talk.do(talk.session.subscribe("TR_9", False))
    talk.lose_socket()
    assert talk.told() == [Reconnecting()]
    assert attempt(talk.one(orders.Open)).resumes
    talk.do(talk.session.mute("cid-cam", True))
    assert talk.ordered == [], "said when the socket is back"
    talk.receive(rtc.SignalResponse(reconnect=rtc.ReconnectResponse()))
    assert talk.sent() == ["sync_state", "mute"]
    assert talk.one(orders.CreateOffer).restart_ice
    talk.offer("cid-cam")
    talk.answer({})
    talk.answered()
    assert talk.told() == [Reconnected(full=False)]


def test_publication_made_while_the_socket_is_gone_is_announced_after() -> None:
    talk = entered()
    talk.lose_socket()
    talk.do(talk.session.publish(camera()))
    assert talk.names() == ["AddTrack"]
    talk.receive(rtc.SignalResponse(reconnect=rtc.ReconnectResponse()))
    assert talk.sent() == ["sync_state", "add_track"]


def test_resume_is_tried_again_and_then_becomes_a_rejoin() -> None:
    talk = publishing()
    talk.lose_socket()
    delays = [talk.one(orders.Open).delay_s]
    while "MakePeer" not in talk.names():
        talk.do(talk.session.socket_refused(talk.session._socket, 0, "unreachable", talk.now))
        delays += [order.delay_s for order in talk.ordered if isinstance(order, orders.Open)]
    assert delays == [0.0, 0.3, 0.7, 1.0, 2.0]
    assert len(delays) == MAX_RESUMES
    assert talk.one(orders.AddTrack).publication.cid == "cid-cam"


def test_unknown_session_is_joined_anew_with_the_publications() -> None:
    talk = publishing()
    talk.do(talk.session.size("TR_9", True, 1, 1))
    talk.lose_socket()
    talk.leave(Action.RECONNECT, Reason.STATE_MISMATCH)
    assert talk.names() == ["Hang", "MakePeer", "AddTrack", "CreateOffer"]
    talk.offer("cid-cam")
    opened = talk.one(orders.Open)
    assert not attempt(opened).resumes
    assert [track.cid for track in attempt(opened).add_tracks] == ["cid-cam"]
    talk.join(ann("TR_9"))
    published(talk, track="TR_2")
    talk.answer({})
    talk.answered()
    assert talk.one(orders.Accepted).cid == "cid-cam"
    talk.connected()
    assert talk.told() == [Reconnected(full=True)]
    assert talk.session.publications["cid-cam"].track_id == "TR_2"


def test_a_server_that_is_back_is_joined_at_once_and_waited_for_when_it_goes_again() -> None:
    talk = publishing()
    talk.lose_socket()
    for _ in range(3):
        talk.do(talk.session.socket_refused(talk.session._socket, 0, "unreachable", talk.now))
    talk.leave(Action.RECONNECT, Reason.STATE_MISMATCH)
    talk.offer("cid-cam")
    assert talk.one(orders.Open).delay_s == 0.0
    talk.do(talk.session.socket_refused(talk.session._socket, 0, "unreachable", talk.now))
    talk.offer("cid-cam")
    assert talk.one(orders.Open).delay_s == 2.0


def test_wishes_are_said_again_after_a_rejoin() -> None:
    talk = entered(ann("TR_1"), auto_subscribe=False)
    talk.do(talk.session.subscribe("TR_1", True))
    talk.do(talk.session.size("TR_1", False, 0, 0))
    talk.lose_transport()
    talk.offer()
    talk.join(ann("TR_1"))
    assert talk.sent() == ["subscription", "track_setting"]


def test_publication_made_during_a_rejoin_is_not_forgotten() -> None:
    talk = entered()
    talk.lose_transport()
    talk.offer()
    talk.do(talk.session.publish(camera()))
    assert talk.names() == ["AddTrack"]
    talk.join()
    assert talk.sent() == ["add_track"]
    assert "CreateOffer" in talk.names()


def test_transport_without_consent_restarts_ice_on_the_same_socket() -> None:
    talk = entered()
    talk.peer(peer.StateChanged(state="disconnected"))
    assert talk.told() == [Reconnecting()]
    assert talk.one(orders.CreateOffer).restart_ice
    talk.offer()
    talk.answer({})
    talk.answered()
    talk.connected()
    assert talk.told() == [Reconnected(full=False)]


def test_all_attempts_end_at_last() -> None:
    talk = entered()
    talk.lose_socket()
    talk.now += GIVE_UP_S
    talk.do(talk.session.time_passed(talk.now))
    assert talk.told() == [Disconnected("CONNECTION_TIMEOUT")]
    assert talk.session.next_at() is None


def test_token_that_no_longer_admits_ends_the_session() -> None:
    talk = entered()
    talk.lose_socket()
    talk.do(talk.session.socket_refused(talk.session._socket, 401, "expired", talk.now))
    assert talk.told() == [Disconnected("JOIN_FAILURE")]


def test_transport_that_is_gone_is_made_anew() -> None:
    talk = entered()
    talk.lose_transport()
    assert talk.names() == ["Hang", "Tell", "MakePeer", "CreateOffer"]
    assert talk.told() == [Reconnecting()]


def test_transport_closed_before_the_leave_arrives_is_no_reason_to_come_back() -> None:
    talk = entered()
    assert talk.peer(peer.StateChanged(state="failed", reason="closed")) == []
    talk.leave(Action.DISCONNECT, Reason.PARTICIPANT_REMOVED)
    assert talk.told() == [Disconnected("PARTICIPANT_REMOVED")]
    assert talk.session.next_at() is None


def test_unusable_answer_means_a_new_transport() -> None:
    talk = entered()
    talk.peer(peer.AnswerRejected(request=1, reason="x"))
    assert talk.names() == ["Hang", "Tell", "MakePeer", "CreateOffer"]


def test_refreshed_token_is_used() -> None:
    talk = entered()
    talk.receive(rtc.SignalResponse(refresh_token="newer"))
    talk.lose_socket()
    assert talk.one(orders.Open).token == "newer"


# the end


@pytest.mark.parametrize("reason", [Reason.PARTICIPANT_REMOVED, Reason.ROOM_DELETED, Reason.DUPLICATE_IDENTITY])
def test_being_sent_away_is_the_last_event(reason: Any) -> None:
    talk = entered()
    talk.leave(Action.DISCONNECT, reason)
    assert talk.told() == [Disconnected(Reason.Name(reason))]
    assert talk.names() == ["Hang", "Tell", "Finish"]
    assert talk.lose_socket() == []
    assert talk.connected() == []


def test_leaving_says_goodbye() -> None:
    talk = entered()
    talk.do(talk.session.leave())
    assert talk.sent() == ["leave"]
    assert talk.told() == [Disconnected("CLIENT_INITIATED")]
    assert talk.do(talk.session.leave()) == []


def test_messages_of_an_earlier_socket_are_ignored() -> None:
    talk = entered()
    talk.lose_socket()
    assert talk.receive(rtc.SignalResponse(refresh_token="old"), socket=1) == []


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_no_message_breaks_the_session(messages: list[bytes]) -> None:
    talk = entered()
    for message in messages:
        list(talk.session.receive(talk.session._socket, message, talk.now))
