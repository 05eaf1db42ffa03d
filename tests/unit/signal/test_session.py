"""The signalling session as transcripts: a client message or a notice in, commands out."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol import models, rtc

from rtcloud.accounts.tokens import JoinGrant
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Device, Participant, Role
from rtcloud.signal.admission import Admission
from rtcloud.signal.joining import JoinAttempt
from rtcloud.signal.outputs import Command, Drive, Hangup, Post, Send
from rtcloud.signal.session import MAX_EARLY, Session

REF, KEY = RoomRef(1400000000, True, "77"), "the key"


def a_participant(participant_id: str = "PA_a", user_id: str = "alice") -> Participant:
    return Participant(participant_id, participant_id, user_id, Role.ANCHOR, Device(), joined_ms=1000)


def a_session(
    *,
    single: bool = True,
    offer: rtc.SessionDescription | None = None,
    welcome: bool = True,
    grant: JoinGrant | None = None,
) -> Session:
    numbers = itertools.count()
    attempt = JoinAttempt(single=single, client=models.ClientInfo(), offer=offer)
    admission = Admission(grant or JoinGrant(REF, "alice", 0), lambda app: (KEY,))
    session = Session(REF, "PA_a", attempt, lambda prefix: f"{prefix}_{next(numbers)}", admission)
    if welcome:
        session.tell(commands.Welcome("RM_1", a_participant(), (), 1000), 1000)
    return session


def say(session: Session, **message: object) -> list[Command]:
    return session.receive(rtc.SignalRequest(**message).SerializeToString(), 5000)  # type: ignore[arg-type]


def sent(commands: list[Command]) -> list[rtc.SignalResponse]:
    return [c.response for c in commands if isinstance(c, Send)]


def test_the_welcome_is_a_join_response_and_then_the_first_offer_is_taken_up() -> None:
    offer = rtc.SessionDescription(type="offer", sdp="v=0 offer", id=3)
    session = a_session(offer=offer, welcome=False)
    bob = a_participant("PA_b", "bob")
    said = session.tell(commands.Welcome("RM_1", a_participant(), (bob,), 1000), 1000)
    join = sent(said)[0].join
    assert join.participant.identity == "alice"
    assert [p.identity for p in join.other_participants] == ["bob"]
    assert join.room.metadata == '{"roomId":77}'
    assert join.server_info.version
    assert not join.subscriber_primary
    assert said[1] == Drive(media.Offer(room="RM_1", participant="PA_a", request=3, target="single", sdp="v=0 offer"))


def test_messages_before_the_welcome_wait_for_it() -> None:
    session = a_session(welcome=False)
    assert say(session, mute=rtc.MuteTrackRequest(sid="TR_1", muted=True)) == []
    said = session.tell(commands.Welcome("RM_1", a_participant(), (), 1000), 1000)
    assert said[-1] == Post(facts.TrackMuted("PA_a", "TR_1", True))


def test_a_flood_before_the_welcome_ends_the_session() -> None:
    session = a_session(welcome=False)
    for _ in range(MAX_EARLY):
        say(session, ping=1)
    assert isinstance(say(session, ping=1)[-1], Hangup)


def test_announced_tracks_get_ids_and_layers() -> None:
    request = rtc.AddTrackRequest(
        cid="cam",
        type=models.TrackType.VIDEO,
        source=models.TrackSource.CAMERA,
        width=1280,
        height=720,
        simulcast_codecs=[rtc.SimulcastCodec(codec="vp8", cid="cam")],
        layers=[models.VideoLayer(quality=models.VideoQuality.LOW, width=320, height=180)],
    )
    [command] = say(a_session(), add_track=request)
    assert isinstance(command, Post)
    assert isinstance(command.fact, facts.TrackAdded)
    track = command.fact.track
    assert (track.codec, track.source, track.publication) == ("vp8", "camera", "video")
    assert [layer.rid for layer in track.layers] == ["q"]


def test_too_many_tracks_are_refused() -> None:
    session = a_session()
    for number in range(40):
        said = say(session, add_track=rtc.AddTrackRequest(cid=f"c{number}"))
    answer = sent(said)[0].request_response
    assert (answer.reason, answer.add_track.cid) == (rtc.RequestResponse.Reason.LIMIT_EXCEEDED, "c39")


def test_a_data_track_is_refused_by_its_handle() -> None:
    request = rtc.PublishDataTrackRequest(pub_handle=7, name="positions")
    [answer] = sent(say(a_session(), publish_data_track_request=request))
    assert answer.request_response.reason == rtc.RequestResponse.Reason.UNSUPPORTED_TYPE
    assert answer.request_response.publish_data_track == request


def test_pings_are_answered_both_ways() -> None:
    session = a_session()
    assert sent(say(session, ping=4000))[0].pong == 5000
    pong = sent(say(session, ping_req=rtc.Ping(timestamp=4000)))[0].pong_resp
    assert (pong.last_ping_timestamp, pong.timestamp) == (4000, 5000)


def test_candidates_are_json_and_broken_ones_are_ignored() -> None:
    session = a_session(single=False)
    [command] = say(
        session, trickle=rtc.TrickleRequest(candidateInit='{"candidate":"candidate:1 1 udp"}', target="SUBSCRIBER")
    )
    assert isinstance(command, Drive)
    assert isinstance(command.command, media.AddCandidate)
    assert command.command.target == "subscriber"
    assert say(session, trickle=rtc.TrickleRequest(candidateInit="{")) == []


def test_a_wish_for_a_quality_or_a_size_is_passed_on() -> None:
    setting = rtc.UpdateTrackSettings(track_sids=["TR_1"], quality=models.VideoQuality.MEDIUM)
    [command] = say(a_session(), track_setting=setting)
    assert command == Post(facts.SubscriptionSized("PA_a", ("TR_1",), True, 0, 0, 0, 1))
    setting = rtc.UpdateTrackSettings(track_sids=["TR_1"], width=99999, height=90, disabled=True)
    [command] = say(a_session(), track_setting=setting)
    assert command == Post(facts.SubscriptionSized("PA_a", ("TR_1",), False, 16384, 90, 0, 0))


def test_every_cause_of_leaving_has_its_reason_and_action() -> None:
    expected = {
        "removed": ("PARTICIPANT_REMOVED", "DISCONNECT"),
        "dismissed": ("ROOM_DELETED", "DISCONNECT"),
        "duplicate": ("DUPLICATE_IDENTITY", "DISCONNECT"),
        "shutdown": ("SERVER_SHUTDOWN", "RECONNECT"),
    }
    for cause, (reason, action) in expected.items():
        said = a_session().tell(commands.Dismiss(cause), 1000)  # type: ignore[arg-type]
        leave = sent(said)[0].leave
        assert models.DisconnectReason.Name(leave.reason) == reason
        assert rtc.LeaveRequest.Action.Name(leave.action) == action
        assert isinstance(said[-1], Hangup)


def test_a_resume_is_answered_with_reconnect_first() -> None:
    said = a_session().tell(commands.Confirm(a_participant(), ()), 1000)
    assert [r.WhichOneof("message") for r in sent(said)] == ["reconnect", "update"]
    dual = a_session(single=False).tell(commands.Confirm(a_participant(), ()), 1000)
    assert Drive(media.RestartIce(room="RM_1", participant="PA_a")) in dual


def private_map_key(user_id: str = "alice") -> str:
    numbers = struct.pack(">IIIII", REF.sdk_app_id, 77, 60, 255, 0)
    userbuf = struct.pack(">BH", 0, len(user_id)) + user_id.encode() + numbers
    return make_user_sig(REF.sdk_app_id, KEY, user_id, now_ms=0, expire_s=60, userbuf=userbuf)


def test_a_key_handed_over_is_shown_to_its_owner_alone() -> None:
    """livekit-client waits until an attribute that it set comes back."""
    session, key = a_session(), private_map_key()
    update = rtc.UpdateParticipantMetadata(attributes={"trtc.privateMapKey": key}, request_id=7)
    [posted] = say(session, update_metadata=update)
    assert isinstance(posted, Post)
    assert isinstance(posted.fact, facts.KeyReplaced)
    [own] = sent(session.tell(commands.ShowSelf(a_participant()), 5000))
    assert own.update.participants[0].attributes == {"trtc.role": "anchor", "trtc.privateMapKey": key}
    [others] = sent(session.tell(commands.ShowParticipants((a_participant(),)), 5000))
    assert others.update.participants[0].attributes == {"trtc.role": "anchor"}
    [granted] = sent(session.tell(commands.Grant(7), 5000))
    assert granted.request_response.reason == rtc.RequestResponse.Reason.OK


def test_a_key_of_somebody_else_is_refused() -> None:
    update = rtc.UpdateParticipantMetadata(attributes={"trtc.privateMapKey": private_map_key("bob")}, request_id=7)
    [answer] = sent(say(a_session(), update_metadata=update))
    assert answer.request_response.request_id == 7
    assert answer.request_response.reason == rtc.RequestResponse.Reason.NOT_ALLOWED
    assert answer.request_response.message.startswith("-100006")


@given(st.binary(max_size=300))
def test_no_bytes_break_a_session(raw: bytes) -> None:
    for command in a_session().receive(raw, 1000):
        assert isinstance(command, Send | Post | Drive | Hangup)


def refusal_of(said: list[Command]) -> tuple[str, str]:
    answer = sent(said)[-1].request_response
    return rtc.RequestResponse.Reason.Name(answer.reason), answer.message


def test_a_refused_track_is_named_with_the_reason_and_then_dropped() -> None:
    session = a_session()
    said = session.tell(commands.RefuseTrack("cam", "screen_taken"), 1000)
    assert refusal_of(said) == ("LIMIT_EXCEEDED", "-102016: another user shares the screen of this room")
    assert sent(said)[0].request_response.add_track.cid == "cam"
    [dropped] = sent(session.tell(commands.DropTrack("TR_1"), 1000))
    assert dropped.track_unpublished.track_sid == "TR_1"


def test_a_silenced_speaker_is_muted_and_told_why() -> None:
    said = a_session().tell(commands.SilenceTrack("TR_1"), 1000)
    mute = sent(said)[0].mute
    assert (mute.sid, mute.muted) == ("TR_1", True)
    assert refusal_of(said) == ("LIMIT_EXCEEDED", "too many people speak in this room")
    assert sent(said)[1].request_response.mute.sid == "TR_1"


def test_a_source_of_the_other_kind_is_no_source() -> None:
    def source(kind: models.TrackType, named: models.TrackSource) -> str:
        [command] = say(a_session(), add_track=rtc.AddTrackRequest(cid="c", type=kind, source=named))
        assert isinstance(command, Post)
        assert isinstance(command.fact, facts.TrackAdded)
        return command.fact.track.source

    audio, video = models.TrackType.AUDIO, models.TrackType.VIDEO
    assert source(audio, models.TrackSource.MICROPHONE) == "microphone"
    assert source(audio, models.TrackSource.SCREEN_SHARE_AUDIO) == "screen_share_audio"
    assert source(video, models.TrackSource.SCREEN_SHARE) == "screen_share"
    assert source(video, models.TrackSource.MICROPHONE) == "unknown"  # a picture on the right to speak
    assert source(audio, models.TrackSource.CAMERA) == "unknown"
    assert source(audio, models.TrackSource.SCREEN_SHARE) == "unknown"


def test_whom_a_publisher_lets_receive_may_be_named_by_user_or_by_session() -> None:
    session = a_session()
    session.tell(commands.ShowParticipants((a_participant("PA_b", "bob"), a_participant("PA_c", "carol"))), 1000)
    session.tell(commands.ShowParticipants((), (("PA_c", "carol"),)), 1000)
    permission = rtc.SubscriptionPermission(
        track_permissions=[
            rtc.TrackPermission(participant_identity="dave", track_sids=["TR_1", "TR_2"]),
            rtc.TrackPermission(participant_sid="PA_b", all_tracks=True),
            rtc.TrackPermission(participant_sid="PA_c", all_tracks=True),  # not here any more
        ]
    )
    [command] = say(session, subscription_permission=permission)
    assert command == Post(facts.AudienceChosen("PA_a", {"dave": frozenset({"TR_1", "TR_2"}), "bob": None}))
    [command] = say(session, subscription_permission=rtc.SubscriptionPermission(all_participants=True))
    assert command == Post(facts.AudienceChosen("PA_a", None))


def test_tracks_may_be_described_anew() -> None:
    audio = rtc.UpdateLocalAudioTrack(track_sid="TR_1", features=[models.AudioTrackFeature.TF_STEREO])
    [command] = say(a_session(), update_audio_track=audio)
    assert command == Post(facts.TrackDescribed("PA_a", "TR_1", features=(0,)))
    video = rtc.UpdateLocalVideoTrack(track_sid="TR_1", width=99_999, height=720)
    [command] = say(a_session(), update_video_track=video)
    assert command == Post(facts.TrackDescribed("PA_a", "TR_1", 16384, 720))


def test_what_is_not_offered_is_refused() -> None:
    said = say(a_session(), simulate=rtc.SimulateScenario(node_failure=True))
    assert refusal_of(said) == ("UNSUPPORTED_TYPE", "this server does not offer that")


def test_the_rooms_metadata_takes_the_place_of_its_id() -> None:
    session = a_session()
    [update] = sent(session.tell(commands.ShowRoom("title", 3), 1000))
    room = update.room_update.room
    assert (room.sid, room.name, room.metadata, room.num_participants) == ("RM_1", "77", "title", 3)
    [update] = sent(session.tell(commands.ShowRoom("", 3), 1000))
    assert update.room_update.room.metadata == '{"roomId":77}'


def test_a_publisher_that_shuts_one_out_is_told_of() -> None:
    [update] = sent(a_session().tell(commands.ShowAdmission("PA_b", "TR_1", False), 1000))
    told = update.subscription_permission_update
    assert (told.participant_sid, told.track_sid, told.allowed) == ("PA_b", "TR_1", False)


def test_a_subscriber_without_the_codec_is_told_in_both_modes() -> None:
    refused = media.SubscriptionRefused(room="RM_1", participant="PA_a", track="TR_9", reason="codec")
    for single in (True, False):
        [answer] = sent(a_session(single=single).tell(refused, 1000))
        response = answer.subscription_response
        assert (response.track_sid, response.err) == ("TR_9", models.SubscriptionError.SE_CODEC_UNSUPPORTED)


def test_what_the_network_does_not_carry_is_told_as_paused() -> None:
    for shed, state in ((True, rtc.StreamState.PAUSED), (False, rtc.StreamState.ACTIVE)):
        event = media.SubscriptionShed(room="RM_1", participant="PA_a", publisher="PA_b", track="TR_9", shed=shed)
        [update] = sent(a_session().tell(event, 1000))
        [told] = update.stream_state_update.stream_states
        assert (told.participant_sid, told.track_sid, told.state) == ("PA_b", "TR_9", state)


@pytest.mark.parametrize(
    ("layers", "qualities"),
    [
        ([("q", True), ("h", True), ("f", False)], [True, True, False]),
        ([("q", True), ("h", False)], [True, False, False]),
        ([("", False)], [False, False, False]),
        ([("", True)], [True, True, True]),
        ([("", True), ("", True), ("", False)], [True, True, False]),
    ],
)
def test_a_publisher_is_told_which_qualities_are_wanted(layers: list[tuple[str, bool]], qualities: list[bool]) -> None:
    wanted = [media.LayerWanted(rid=rid, wanted=wanted) for rid, wanted in layers]
    event = media.LayersWanted(room="RM_1", participant="PA_a", track="TR_1", codec="vp8", layers=wanted)
    [update] = sent(a_session().tell(event, 1000))
    told = update.subscribed_quality_update
    assert told.track_sid == "TR_1"
    assert [q.enabled for q in told.subscribed_qualities] == qualities
    [codec] = told.subscribed_codecs
    assert codec.codec == "vp8"
    assert [(q.quality, q.enabled) for q in codec.qualities] == list(enumerate(qualities))
