"""How rooms and presences begin and end, by scene (trtc-facts §10.5), on a virtual clock."""

import pytest

from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.entering import RETURN_WITHIN_MS
from rtcloud.rooms.participant import Device, Role
from rtcloud.rooms.room import LOST_AFTER_MS
from rtcloud.rooms.scenes import Limits
from tests.kit.rooms import SID, Script, callbacks, drives, notices, only, records, track

TEN_MINUTES = 600_000


def test_the_first_to_enter_creates_the_room_and_others_enter_it() -> None:
    script = Script()
    assert callbacks(script.enter("alice")) == ["101 alice", "103 alice"]
    assert callbacks(script.enter("bob")) == ["103 bob"]


def test_a_call_ends_when_the_last_leaves() -> None:
    script = Script()
    script.enter("alice")
    script.enter("bob")
    assert callbacks(script.leave("alice")) == ["104 alice 1"]
    last = script.leave("bob")
    assert callbacks(last) == ["104 bob 1", "102"]
    assert drives(last)[-1] == media.CloseRoom(room=SID)
    assert script.room.destroyed
    assert script.room.deadline() is None


def test_a_live_room_ends_at_once_after_its_last_anchor() -> None:
    script = Script("live")
    script.audience("alice")
    script.enter("bob")
    assert callbacks(script.leave("alice")) == ["104 alice 1"]
    assert callbacks(script.leave("bob")) == ["104 bob 1", "102"]


def test_a_live_room_outlives_the_last_of_its_audience_by_ten_minutes() -> None:
    script = Script("live")
    script.enter("alice")
    script.audience("bob")
    script.leave("alice")
    assert callbacks(script.leave("bob")) == ["104 bob 1"]
    assert callbacks(script.wait(TEN_MINUTES - 1)) == []
    assert not script.room.destroyed
    assert callbacks(script.wait(1)) == ["102"]


def test_who_enters_a_waiting_room_keeps_it_and_its_wait_begins_anew() -> None:
    script = Script("live")
    script.audience("alice")
    script.leave("alice")
    script.wait(TEN_MINUTES - 1)
    assert callbacks(script.audience("bob")) == ["103 bob"]
    assert callbacks(script.wait(2 * TEN_MINUTES)) == []
    assert callbacks(script.leave("bob")) == ["104 bob 1"]
    assert callbacks(script.wait(TEN_MINUTES)) == ["102"]


def test_whoever_left_a_waiting_room_last_decides_how_long_it_waits() -> None:
    script = Script("live")
    script.audience("alice")
    script.leave("alice")
    script.wait(1000)
    script.enter("bob")
    assert callbacks(script.leave("bob")) == ["104 bob 1", "102"]


def test_the_role_at_the_end_counts_and_not_the_one_at_the_beginning() -> None:
    script = Script("live")
    script.enter("alice")
    script.switch("alice", Role.AUDIENCE)
    assert callbacks(script.leave("alice")) == ["104 alice 1"]
    assert callbacks(script.wait(TEN_MINUTES)) == ["102"]


def test_an_operator_may_set_how_long_empty_live_rooms_wait() -> None:
    script = Script("live", Limits(live_empty_ms=5000))
    script.audience("alice")
    script.leave("alice")
    assert callbacks(script.wait(5000)) == ["102"]
    script = Script("live", Limits(live_empty_ms=0))
    script.audience("alice")
    assert callbacks(script.leave("alice")) == ["104 alice 1", "102"]


def test_a_live_room_that_was_empty_when_the_server_stopped_waits_ten_minutes_more() -> None:
    script = Script("live")
    script.audience("alice")
    script.leave("alice")
    script.wait(TEN_MINUTES - 1)
    again = script.restart()
    assert callbacks(again.wait(TEN_MINUTES - 1)) == []
    assert callbacks(again.wait(1)) == ["102"]


def test_an_audience_that_does_not_return_after_a_restart_leaves_a_room_that_waits() -> None:
    script = Script("live")
    script.audience("alice")
    again = script.restart()
    assert callbacks(again.wait(LOST_AFTER_MS)) == ["104 alice 2"]
    assert callbacks(again.wait(TEN_MINUTES - 1)) == []
    assert callbacks(again.wait(1)) == ["102"]


def test_a_call_that_nobody_returns_to_after_a_restart_ends_after_90_seconds() -> None:
    script = Script()
    script.enter("alice")
    again = script.restart()
    assert callbacks(again.wait(LOST_AFTER_MS - 1)) == []
    assert callbacks(again.wait(1)) == ["104 alice 2", "102"]


def test_a_waiting_room_may_be_dismissed() -> None:
    script = Script("live")
    script.audience("alice")
    script.leave("alice")
    assert callbacks(script.do(facts.RoomDismissed())) == ["102"]


def test_dismissing_removes_everybody_and_ends_a_live_room_at_once() -> None:
    script = Script("live")
    script.enter("alice")
    script.audience("bob")
    said = script.do(facts.RoomDismissed())
    assert callbacks(said) == ["104 alice 3", "104 bob 3", "102"]
    assert notices(said, "bob")[-1] == commands.Dismiss("dismissed")


def test_media_that_fails_ends_the_room_with_reason_5() -> None:
    script = Script("live")
    script.audience("alice")
    script.enter("bob")
    said = script.do(facts.MediaFailed())
    assert callbacks(said) == ["104 alice 5", "104 bob 5", "102"]
    assert notices(said, "alice")[-1] == commands.Dismiss("failed")


def test_removed_users_may_come_again() -> None:
    script = Script()
    script.enter("alice")
    script.enter("bob")
    assert callbacks(script.do(facts.UsersRemoved(("bob", "nobody")))) == ["104 bob 3"]
    assert callbacks(script.enter("bob")) == ["103 bob"]
    assert callbacks(script.do(facts.UsersRemoved(("alice", "bob")))) == ["104 alice 3", "104 bob 3", "102"]


def test_a_lost_user_is_removed_after_90_seconds() -> None:
    script = Script()
    script.enter("alice")
    script.enter("bob")
    script.publish("alice")
    assert callbacks(script.do(facts.SocketLost("alice"))) == []
    assert callbacks(script.wait(LOST_AFTER_MS - 1)) == []
    said = script.wait(1)
    assert callbacks(said) == ["104 alice 2"]  # alone: it says that nothing is published any more
    assert only(commands.ShowParticipants, notices(said, "bob"))[-1].gone == (("alice", "alice"),)


def test_a_loss_counts_from_when_nothing_came_any_more() -> None:
    script = Script()
    script.enter("alice")
    script.do(facts.SocketLost("alice", silent_ms=30_000))
    assert callbacks(script.wait(LOST_AFTER_MS - 30_001)) == []
    assert callbacks(script.wait(1)) == ["104 alice 2", "102"]


def test_others_notice_nothing_of_20_seconds_without_a_network() -> None:
    script = Script()
    script.enter("alice")
    script.enter("bob")
    script.publish("alice")
    lost = script.do(facts.SocketLost("alice"))
    said = [*lost, *script.wait(20_000), *script.do(facts.Resumed("alice"))]
    assert notices(said, "bob") == []
    assert records(said) == []
    [confirm] = notices(said, "alice")
    assert isinstance(confirm, commands.Confirm)
    assert [other.user_id for other in confirm.others] == ["bob"]
    assert script.wait(LOST_AFTER_MS) == []


def test_every_loss_has_90_seconds_of_its_own() -> None:
    script = Script()
    script.enter("alice")
    script.enter("bob")
    for _ in range(3):
        script.do(facts.SocketLost("alice"))
        assert script.wait(LOST_AFTER_MS - 1) == []
        script.do(facts.Resumed("alice"))
    script.do(facts.SocketLost("alice"))
    assert callbacks(script.wait(LOST_AFTER_MS)) == ["104 alice 2"]


def test_the_same_user_again_evicts_the_earlier_session_at_once() -> None:
    script = Script()
    script.enter("alice")
    script.enter("bob")
    script.publish("bob")
    said = script.enter("alice")
    assert notices(said, "alice") == [commands.Dismiss("duplicate")]
    assert callbacks(said) == []
    assert media.RemoveParticipant(room=SID, participant="alice") in drives(said)
    assert isinstance(notices(said, "alice+")[0], commands.Welcome)
    assert media.Subscribe(room=SID, participant="alice+", track="bob-camera") in drives(said)
    gone, come = only(commands.ShowParticipants, notices(said, "bob"))
    assert gone.gone == (("alice", "alice"),)
    assert [p.participant_id for p in come.changed] == ["alice+"]
    # and nothing that the evicted session still says counts
    assert script.do(facts.LeftRoom("alice")) == []
    assert script.do(facts.SocketLost("alice")) == []
    assert script.wait(2 * LOST_AFTER_MS) == []
    assert callbacks(script.leave("alice")) == ["104 alice 1"]


def test_what_the_earlier_session_sent_may_come_back_within_ten_seconds() -> None:
    script = Script()
    script.enter("alice")
    script.publish("alice", "camera")
    script.publish("alice", "microphone")
    script.enter("alice")
    assert callbacks(script.publish("alice", "microphone", "again")) == []
    assert callbacks(script.wait(RETURN_WITHIN_MS - 1)) == []
    assert callbacks(script.wait(1)) == ["202 alice"]
    assert callbacks(script.publish("alice", "camera", "late")) == ["201 alice"]


def test_an_announced_track_without_media_has_not_come_back() -> None:
    script = Script()
    script.enter("alice")
    script.publish("alice", "camera")
    script.enter("alice")
    script.announce("alice", track("again"))
    assert callbacks(script.wait(RETURN_WITHIN_MS)) == ["202 alice"]
    assert callbacks(script.do(facts.MediaStarted("alice+", "again", "h264"))) == ["201 alice"]


def test_who_comes_back_as_audience_stopped_sending() -> None:
    script = Script("live")
    script.enter("alice")
    script.publish("alice")
    assert callbacks(script.audience("alice")) == ["202 alice", "105 alice 21"]
    assert script.wait(RETURN_WITHIN_MS) == []


def test_who_comes_back_from_another_device_is_written_down() -> None:
    script = Script()
    script.enter("alice")
    other = Device(device_type="phone")
    said = script.do(facts.Entered("alice+", "alice", Role.ANCHOR, other, True))
    assert records(said) == [commands.DeviceChanged("alice", other)]


def test_only_who_may_create_opens_a_room() -> None:
    script = Script()
    said = script.enter("bob", may_create=False)
    assert said == [commands.Notify("bob", commands.Dismiss("may_not_create"))]
    assert script.room.destroyed  # nothing came of it
    script = Script()
    script.enter("alice")
    assert callbacks(script.enter("bob", may_create=False)) == ["103 bob"]


@pytest.mark.parametrize("scene", ["rtc", "live"])
def test_nothing_follows_the_end(scene: str) -> None:
    script = Script(scene)
    script.enter("alice")
    script.leave("alice")
    assert script.enter("bob") == []
    assert script.do(facts.RoomDismissed()) == []
    assert script.wait(2 * TEN_MINUTES) == []
