"""Who hears of whom, and when: hidden people, audiences, changes that wait for others in big rooms."""

from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.commands import Notify, ShowParticipants, ShowSelf
from rtcloud.rooms.participant import Role
from rtcloud.rooms.showing import SMALL, WITHIN_MS
from rtcloud.signal import messages
from tests.kit.rooms import SID, Script, drives, notices, only


def crowd(scene: str = "rtc", users: int = SMALL + 4) -> Script:
    script = Script(scene)
    for number in range(users):
        script.enter(f"user{number}")
    script.wait(WITHIN_MS)
    return script


def shown(said: list[commands.Command], session: str) -> list[ShowParticipants]:
    return only(ShowParticipants, notices(said, session))


def welcome(said: list[commands.Command], session: str) -> commands.Welcome:
    [notice] = only(commands.Welcome, notices(said, session))
    return notice


def test_hidden_people_are_not_shown_and_see_everybody() -> None:
    script = Script()
    script.enter("alice")
    said = script.enter("bob", hidden=True)
    assert notices(said, "alice") == []
    assert [other.user_id for other in welcome(said, "bob").others] == ["alice"]
    assert only(ShowSelf, notices(said, "bob"))
    assert welcome(script.enter("carol"), "carol").others == (script.participant("alice"),)
    assert [p.user_id for p in shown(script.enter("dave"), "bob")[0].changed] == ["dave"]
    published = script.publish("bob")
    assert not only(media.Subscribe, drives(published))  # nobody knows whose it would be
    assert shown(published, "alice") == []
    assert notices(script.leave("bob"), "alice") == []


def test_an_audience_is_not_announced_and_sees_the_anchors() -> None:
    script = Script("live")
    script.enter("alice")
    said = script.audience("bob")
    assert notices(said, "alice") == []
    assert [other.user_id for other in welcome(said, "bob").others] == ["alice"]
    assert welcome(said, "bob").present == 2
    assert [other.user_id for other in welcome(script.audience("carol"), "carol").others] == ["alice"]
    assert [p.user_id for p in shown(script.enter("dave"), "bob")[0].changed] == ["dave"]
    assert notices(script.leave("carol"), "alice") == []


def test_what_an_audience_changes_it_is_told_alone() -> None:
    script = Script("live")
    script.enter("alice")
    script.audience("bob")
    said = script.do(facts.ProfileChanged("bob", 1, metadata="new"))
    assert notices(said, "alice") == []
    assert notices(said, "bob") == [ShowSelf(script.participant("bob")), commands.Grant(1)]


def test_people_of_a_call_who_may_not_speak_are_shown() -> None:
    script = Script()
    script.enter("alice")
    assert [p.user_id for p in shown(script.audience("bob"), "alice")[0].changed] == ["bob"]


def test_who_becomes_an_anchor_appears_and_disappears_with_the_role() -> None:
    script = Script("live")
    script.enter("alice")
    script.audience("bob")
    assert [p.user_id for p in shown(script.switch("bob", Role.ANCHOR), "alice")[-1].changed] == ["bob"]
    assert shown(script.switch("bob", Role.AUDIENCE), "alice")[-1].gone == (("bob", "bob"),)
    assert notices(script.leave("bob"), "alice") == []


def test_small_rooms_hear_of_each_change_at_once() -> None:
    script = crowd(users=SMALL)
    said = script.do(facts.ProfileChanged("user1", 1, metadata="new"))
    assert len(shown(said, "user0")) == 1
    assert shown(said, "user1") == []  # told by ShowSelf
    assert script.room.deadline() is None


def test_changes_in_a_big_room_go_together() -> None:
    script = crowd()
    said = []
    for number in range(10):
        said += script.do(facts.ProfileChanged(f"user{number}", 1, metadata="new"))
    assert shown(said, "user0") == []
    assert all(len(only(ShowSelf, notices(said, f"user{number}"))) == 1 for number in range(10))  # that is told at once
    assert script.room.deadline() == script.now_ms + WITHIN_MS
    later = script.wait(WITHIN_MS)
    [told] = shown(later, "user12")
    assert [p.user_id for p in told.changed] == [f"user{number}" for number in range(10)]
    assert all(len(shown(later, session)) == 1 for session in script.room.sessions)
    assert len({id(one.notice) for one in later if isinstance(one, Notify)}) == 1  # one message for all


def test_a_change_waits_no_longer_because_another_follows() -> None:
    script = crowd()
    script.do(facts.ProfileChanged("user1", 1, metadata="a"))
    said = script.wait(WITHIN_MS - 1)
    said += script.do(facts.ProfileChanged("user2", 1, metadata="b"))
    assert shown(said, "user0") == []
    assert len(shown(script.wait(1), "user0")[0].changed) == 2


def test_who_comes_and_goes_between_two_updates_is_gone() -> None:
    script = crowd()
    script.enter("alice")
    script.leave("alice")
    [told] = shown(script.wait(WITHIN_MS), "user0")
    assert told.changed == ()
    assert told.gone == (("alice", "alice"),)


def test_who_comes_again_between_two_updates_is_gone_first_and_then_there() -> None:
    script = crowd()
    script.enter("user1")
    [told] = shown(script.wait(WITHIN_MS), "user0")
    infos = messages.participants(told).update.participants
    assert [(info.sid, info.identity) for info in infos] == [("user1", "user1"), ("user1+", "user1")]
    assert [info.state for info in infos] == [infos[0].State.DISCONNECTED, infos[0].State.ACTIVE]


def test_who_is_audience_for_a_moment_is_not_said_to_be_gone() -> None:
    script = crowd("live")
    script.switch("user1", Role.AUDIENCE)
    script.switch("user1", Role.ANCHOR)
    [told] = shown(script.wait(WITHIN_MS), "user0")
    assert told.gone == ()
    assert [p.user_id for p in told.changed] == ["user1"]


def test_a_tracks_update_comes_before_its_subscription() -> None:
    script = crowd()
    said = script.publish("user1")
    for session in script.room.sessions.keys() - {"user1"}:
        told = next(n for n, one in enumerate(said) if isinstance(one, Notify) and one.participant_id == session)
        assert isinstance(said[told], Notify)
        assert script.participant("user1") in shown(said, session)[0].changed
        order = commands.Drive(media.Subscribe(room=SID, participant=session, track="user1-camera"))
        assert told < said.index(order)
    assert script.wait(WITHIN_MS) == []  # all is told


def test_a_late_choice_hears_of_the_publisher_first_too() -> None:
    script = crowd()
    script.enter("late", auto_subscribe=False)
    script.publish("user1")
    script.wait(WITHIN_MS)
    script.do(facts.ProfileChanged("user1", 1, metadata="new"))
    said = script.do(facts.SubscriptionChosen("late", ("user1-camera",), True))
    assert len(shown(said, "late")) == 1
    update = said.index(Notify("late", shown(said, "late")[0]))
    assert update < said.index(commands.Drive(media.Subscribe(room=SID, participant="late", track="user1-camera")))


def test_who_was_just_welcomed_needs_no_update_before_its_subscriptions() -> None:
    script = crowd()
    script.publish("user1")
    script.wait(WITHIN_MS)
    script.do(facts.ProfileChanged("user1", 1, metadata="new"))
    said = script.enter("late")
    assert only(media.Subscribe, drives(said))
    assert shown(said, "user0") == shown(said, "late") == []
    assert welcome(said, "late").others[1].metadata == "new"


def test_a_new_session_that_publishes_at_once_is_not_ended_by_the_end_of_the_earlier_one() -> None:
    script = crowd()
    script.enter("user1")
    [told] = shown(script.publish("user1"), "user0")
    assert told.gone == (("user1", "user1"),)
    assert [p.participant_id for p in told.changed] == ["user1+"]
    assert script.wait(WITHIN_MS) == []


def test_a_blocked_user_is_not_told_that_it_muted_itself() -> None:
    script = crowd()
    script.publish("user1", "microphone")
    script.do(facts.ProfileChanged("user2", 1, metadata="new"))
    script.block("user1", "audio")
    said = script.wait(WITHIN_MS)
    assert [p.user_id for p in shown(said, "user1")[0].changed] == ["user2"]
    assert [p.user_id for p in shown(said, "user2")[0].changed] == ["user2", "user1"]


def test_how_good_the_connections_of_an_audience_are_is_told_to_each_alone() -> None:
    script = Script("live")
    script.enter("alice")
    script.audience("bob")
    script.audience("carol")
    for session in ("alice", "bob"):
        script.do(facts.QualityMeasured(session, 0, 0, 20))
    said = script.wait(1000)
    assert notices(said, "alice") == [commands.ShowQuality((("alice", 2, 5.0),))]
    assert notices(said, "bob") == [
        commands.ShowQuality((("alice", 2, 5.0),)),
        commands.ShowQuality((("bob", 2, 5.0),)),
    ]
    assert notices(said, "carol") == [commands.ShowQuality((("alice", 2, 5.0),))]


def test_two_thousand_of_an_audience_cost_an_anchor_nothing() -> None:
    script = Script("live")
    script.enter("alice")
    said = []
    for number in range(2000):
        said += script.audience(f"user{number}")
    assert notices(said, "alice") == []
    assert all(len(notices(said, f"user{number}")) == 2 for number in range(2000))  # Welcome and ShowSelf
