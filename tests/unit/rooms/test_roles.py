"""Anchors and audience: switching between them, and how many of each a room takes."""

import pytest

from rtcloud.accounts.privatemapkey import Permissions
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.commands import Dismiss, Notify
from rtcloud.rooms.entering import RETURN_WITHIN_MS
from rtcloud.rooms.participant import Device, Permission, Role
from rtcloud.rooms.scenes import CALL, LIVE, Limits
from tests.kit.rooms import SID, Script, callbacks, drives, notices, only, records, refusals, refused, track

NOTHING_SENT = media.Rights(send_audio=False, send_video=False, send_screen=False, data=False)


def rights_of(said: list[commands.Command]) -> media.Rights:
    [order] = only(media.SetRights, drives(said))
    return order.rights


def test_one_of_the_audience_becomes_an_anchor_and_speaks() -> None:
    script = Script("live")
    script.enter("alice")
    entered = script.audience("bob")
    [added] = only(media.AddParticipant, drives(entered))
    assert added.rights == NOTHING_SENT
    assert script.announce("bob", track("early")) == refused("bob", "early", "not_allowed")
    said = script.switch("bob", Role.ANCHOR)
    assert callbacks(said) == ["105 bob 20"]
    assert rights_of(said) == media.Rights()
    assert notices(said, "bob")[-1] == commands.Grant(7)
    [shown] = only(commands.ShowParticipants, notices(said, "alice"))
    assert [p.user_id for p in shown.changed] == ["bob"]
    assert callbacks(script.publish("bob")) == ["201 bob"]


def test_an_anchor_who_becomes_audience_stops_sending_first() -> None:
    script = Script("live")
    script.enter("alice")
    script.enter("bob")
    script.publish("bob", "camera")
    script.publish("bob", "microphone")
    said = script.switch("bob", Role.AUDIENCE)
    assert callbacks(said) == ["202 bob", "204 bob", "105 bob 21"]
    assert {order.track for order in only(media.UnpublishTrack, drives(said))} == {"bob-camera", "bob-microphone"}
    assert only(commands.DropTrack, notices(said, "bob")) == [
        commands.DropTrack("bob-camera"),
        commands.DropTrack("bob-microphone"),
    ]
    assert rights_of(said) == NOTHING_SENT
    assert only(commands.ShowParticipants, notices(said, "alice"))[-1].gone == (("bob", "bob"),)
    assert commands.SubscriptionChanged("alice", "bob", "audio", 0, 0, False) in records(said)


def test_what_an_earlier_session_sent_ends_with_the_role() -> None:
    script = Script("live")
    script.enter("alice")
    script.publish("alice")
    script.enter("alice")
    assert callbacks(script.switch("alice", Role.AUDIENCE)) == ["202 alice", "105 alice 21"]
    assert script.wait(RETURN_WITHIN_MS) == []


def test_the_role_that_one_has_is_granted_without_a_word_to_others() -> None:
    for script in (Script(), Script("live")):
        script.enter("alice")
        said = script.switch("alice", Role.ANCHOR)
        assert said == [Notify("alice", commands.Grant(7))]


def test_a_call_has_no_audience() -> None:
    script = Script()
    script.enter("alice")
    assert script.switch("alice", Role.AUDIENCE) == [Notify("alice", commands.Refuse(7, "not_allowed"))]
    assert callbacks(script.publish("alice")) == ["201 alice"]


def test_whom_nothing_lets_publish_cannot_become_an_anchor() -> None:
    script = Script("live")
    script.audience("alice", permission=Permission(publish=False, data=False))
    said = script.switch("alice", Role.ANCHOR)
    assert said == [Notify("alice", commands.Refuse(7, "not_allowed"))]


def test_anchors_are_limited_and_a_place_that_is_left_is_free() -> None:
    script = Script("live", Limits(live_anchors=2))
    for user in ("alice", "bob"):
        script.enter(user)
    script.audience("carol")
    assert script.switch("carol", Role.ANCHOR) == [Notify("carol", commands.Refuse(7, "too_many_anchors"))]
    assert script.enter("dave") == [Notify("dave", Dismiss("full"))]
    script.switch("alice", Role.AUDIENCE)
    assert callbacks(script.switch("carol", Role.ANCHOR)) == ["105 carol 20"]
    assert refusals(script.switch("alice", Role.ANCHOR), "alice") == ["too_many_anchors"]


def test_coming_again_in_another_role_is_no_way_round_the_limit() -> None:
    script = Script("live", Limits(live_anchors=1, live_audience=1))
    script.enter("alice")
    script.audience("bob")
    said = script.do(facts.Entered("bob+", "bob", Role.ANCHOR, Device(), True))
    assert said == [Notify("bob+", Dismiss("full"))]
    assert script.room.sessions.keys() == {"alice", "bob"}  # and the one he has goes on
    assert notices(script.enter("alice"), "alice") == [Dismiss("duplicate")]


def test_a_live_rooms_audience_is_limited_apart_from_its_anchors() -> None:
    script = Script("live", Limits(live_anchors=1, live_audience=2))
    script.enter("alice")
    script.audience("bob")
    script.audience("carol")
    assert script.audience("dave") == [Notify("dave", Dismiss("full"))]
    assert notices(script.audience("bob"), "bob+")  # who is in comes again
    script.leave("carol")
    assert callbacks(script.audience("dave")) == ["103 dave"]


def test_stepping_down_is_never_refused_and_is_no_way_to_fill_a_room() -> None:
    script = Script("live", Limits(live_anchors=1, live_audience=2))
    script.audience("alice")
    script.audience("bob")
    script.enter("carol")
    assert callbacks(script.switch("carol", Role.AUDIENCE)) == ["105 carol 21"]
    assert script.enter("dave") == [Notify("dave", Dismiss("full"))]
    script.leave("bob")
    assert callbacks(script.enter("dave")) == ["103 dave"]


def test_a_call_takes_so_many_users() -> None:
    script = Script(limits=Limits(call_users=2))
    script.enter("alice")
    script.enter("bob")
    assert script.enter("carol") == [Notify("carol", Dismiss("full"))]
    assert script.room.refusal("carol", Role.ANCHOR, robot=False, may_create=True) == "full"
    assert script.room.refusal("alice", Role.ANCHOR, robot=False, may_create=True) is None
    script.leave("alice")
    assert callbacks(script.enter("carol")) == ["103 carol"]


def test_a_lost_user_keeps_its_place_and_after_90_seconds_it_is_free() -> None:
    script = Script(limits=Limits(call_users=2))
    script.enter("alice")
    script.enter("bob")
    script.do(facts.SocketLost("bob"))
    script.wait(89_999)
    assert script.enter("carol") == [Notify("carol", Dismiss("full"))]
    script.wait(1)
    assert callbacks(script.enter("dave")) == ["103 dave"]


def test_robots_take_no_place() -> None:
    script = Script(limits=Limits(call_users=1, call_speakers=1))
    script.enter("recorder", robot=True)
    script.enter("alice")
    assert callbacks(script.enter("mixer", robot=True)) == ["103 mixer"]
    script.publish("mixer", "microphone")
    script.publish("recorder", "microphone")
    assert callbacks(script.publish("alice", "microphone")) == ["203 alice"]
    live = Script("live", Limits(live_anchors=1))
    live.enter("alice", robot=True)
    assert callbacks(live.enter("bob")) == ["103 bob"]


def test_the_documented_numbers() -> None:
    assert (CALL.anchors, CALL.speakers, CALL.screens, CALL.empty_ms) == (300, 50, 1, 0)
    assert (LIVE.anchors, LIVE.audience, LIVE.speakers, LIVE.empty_ms) == (50, 100_000, 0, 600_000)


def test_zero_lifts_a_limit() -> None:
    script = Script(limits=Limits(call_users=0, call_speakers=0, screens=0))
    for number in range(400):
        script.enter(f"user{number}")
    for number in (1, 2, 3):
        assert callbacks(script.publish(f"user{number}", "screen_share")) == [f"205 user{number}"]
        assert callbacks(script.publish(f"user{number}", "microphone")) == [f"203 user{number}"]


def speaking(users: int, limit: int) -> Script:
    script = Script(limits=Limits(call_speakers=limit))
    for number in range(users):
        script.enter(f"user{number}")
    for number in range(limit):
        assert callbacks(script.publish(f"user{number}", "microphone")) == [f"203 user{number}"]
    return script


def test_one_speaker_too_many_is_there_and_silent() -> None:
    script = speaking(users=4, limit=3)
    said = script.publish("user3", "microphone")
    [order] = only(media.PublishTrack, drives(said))
    assert order.muted
    assert callbacks(said) == []
    told = notices(said, "user3")
    accepted, silenced = only(commands.AcceptTrack, told), only(commands.SilenceTrack, told)
    assert accepted[0].track.muted
    assert silenced == [commands.SilenceTrack("user3-microphone")]
    assert told.index(accepted[0]) < told.index(silenced[0])


def test_one_speaker_too_many_may_not_unmute_until_somebody_is_silent() -> None:
    script = speaking(users=4, limit=3)
    script.publish("user3", "microphone")
    refused_unmute = script.mute("user3", "user3-microphone", False)
    assert refused_unmute == [Notify("user3", commands.SilenceTrack("user3-microphone"))]
    assert callbacks(script.mute("user0", "user0-microphone")) == ["204 user0"]
    allowed = script.mute("user3", "user3-microphone", False)
    assert media.MuteTrack(room=SID, track="user3-microphone", muted=False) in drives(allowed)
    assert callbacks(allowed) == ["203 user3"]
    assert only(commands.SilenceTrack, notices(script.mute("user0", "user0-microphone", False), "user0"))


@pytest.mark.parametrize("way", ["leaves", "unpublishes", "is lost"])
def test_a_speaker_that_goes_makes_room_for_another(way: str) -> None:
    script = speaking(users=2, limit=1)
    script.publish("user1", "microphone")
    match way:
        case "leaves":
            script.leave("user0")
        case "unpublishes":
            script.do(facts.TrackRemoved("user0", "user0-microphone"))
        case "is lost":
            script.do(facts.SocketLost("user0"))
            script.wait(90_000)
    assert callbacks(script.mute("user1", "user1-microphone", False)) == ["203 user1"]


def test_a_second_microphone_is_no_second_speaker_and_no_way_round_the_limit() -> None:
    script = speaking(users=2, limit=1)
    assert not only(commands.SilenceTrack, notices(script.publish("user0", "microphone", "second"), "user0"))
    script.mute("user0", "user0-microphone")
    assert only(commands.SilenceTrack, notices(script.publish("user1", "microphone"), "user1"))


def test_pictures_need_no_place_among_the_speakers() -> None:
    script = speaking(users=2, limit=1)
    assert callbacks(script.publish("user1", "camera")) == ["201 user1"]
    assert callbacks(script.publish("user1", "screen_share")) == ["205 user1"]


def test_one_screen_is_shared_at_a_time() -> None:
    script = Script()
    script.enter("alice")
    script.enter("bob")
    assert callbacks(script.publish("alice", "screen_share")) == ["205 alice"]
    assert script.announce("bob", track("screen", "screen_share")) == refused("bob", "screen", "screen_taken")
    assert callbacks(script.publish("bob", "camera")) == ["201 bob"]
    assert callbacks(script.do(facts.TrackRemoved("alice", "alice-screen_share"))) == ["206 alice"]
    assert callbacks(script.publish("bob", "screen_share")) == ["205 bob"]


def test_a_muted_screen_is_still_taken_and_one_whose_user_came_again_is_free() -> None:
    script = Script()
    script.enter("alice")
    script.enter("bob")
    script.publish("alice", "screen_share")
    script.mute("alice", "alice-screen_share")
    assert script.announce("bob", track("screen", "screen_share")) == refused("bob", "screen", "screen_taken")
    script.enter("alice")
    assert callbacks(script.publish("bob", "screen_share")) == ["205 bob"]


def test_a_shared_screens_sound_is_no_screen() -> None:
    script = Script()
    script.enter("alice")
    script.enter("bob")
    script.publish("alice", "screen_share")
    said = script.publish("bob", "screen_share_audio")
    [order] = only(media.PublishTrack, drives(said))
    assert (order.kind, order.stream) == ("audio", "audio")
    assert callbacks(said) == []  # no callback has a word for it
    assert media.Subscribe(room=SID, participant="alice", track="bob-screen_share_audio") in drives(said)


def test_the_media_node_is_told_which_right_a_track_needs() -> None:
    script = Script()
    script.enter("alice")
    streams = {
        source: only(media.PublishTrack, drives(script.publish("alice", source)))[0].stream
        for source in ("camera", "microphone", "screen_share", "screen_share_audio", "unknown")
    }
    assert streams == {
        "camera": "video",
        "microphone": "audio",
        "screen_share": "aux",
        "screen_share_audio": "audio",
        "unknown": "video",
    }


def test_sound_is_asked_for_with_redundancy_unless_its_publisher_has_none() -> None:
    script = Script()
    script.enter("alice")
    sound = track("t1", "microphone", codec="opus")
    plain = track("t2", "microphone", codec="opus", disable_red=True)
    orders = [only(media.PublishTrack, drives(script.announce("alice", one)))[0] for one in (sound, plain)]
    assert [order.codec for order in orders] == ["red", "opus"]


def test_the_bits_are_the_documented_ones() -> None:
    names = ["CREATE", "ENTER", "SEND_AUDIO", "RECEIVE_AUDIO", "SEND_VIDEO", "RECEIVE_VIDEO", "SEND_SCREEN"]
    assert [int(Permissions[name]) for name in [*names, "RECEIVE_SCREEN"]] == [1 << bit for bit in range(8)]
