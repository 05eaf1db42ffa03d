"""The room's state machine as transcripts: a fact in, commands out."""

from rtcloud.callbacks.events import ExitReason
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.commands import Notify
from rtcloud.rooms.entering import RETURN_WITHIN_MS
from rtcloud.rooms.participant import Device, Layer, Permission, Role, Track
from rtcloud.rooms.room import LOST_AFTER_MS, Room
from tests.kit.rooms import drives, entered, notices, records, refused, track


def room_of_two(now: int = 1000) -> Room:
    room = Room("RM_1", now)
    room.handle(entered("PA_a", "alice"), now)
    room.handle(entered("PA_b", "bob"), now)
    return room


def publish(room: Room, participant_id: str, one: Track, now: int = 2000) -> list[commands.Command]:
    return [
        *room.handle(facts.TrackAdded(participant_id, one), now),
        *room.handle(facts.MediaStarted(participant_id, one.track_id, one.codec), now),
    ]


def test_the_first_to_enter_creates_the_room() -> None:
    room = Room("RM_1", 1000)
    said = room.handle(entered("PA_a", "alice"), 1000)
    assert records(said) == [
        commands.RoomCreated("alice"),
        commands.PresenceBegan("PA_a", "alice", Role.ANCHOR, Device()),
    ]
    added = media.AddParticipant(room="RM_1", participant="PA_a", identity="alice", single=True, rights=media.Rights())
    assert drives(said) == [added]
    welcome = notices(said, "PA_a")[0]
    assert isinstance(welcome, commands.Welcome)
    assert welcome.others == ()
    assert notices(said, "PA_a")[1:] == [commands.ShowSelf(room.participants["alice"])]


def test_others_see_who_enters_and_who_leaves() -> None:
    room = room_of_two()
    said = room.handle(facts.LeftRoom("PA_b"), 3000)
    assert notices(said, "PA_a") == [commands.ShowParticipants(gone=(("PA_b", "bob"),))]
    assert notices(said, "PA_b") == [commands.Dismiss("left")]
    assert records(said) == [commands.PresenceEnded("PA_b", "bob", Role.ANCHOR, ExitReason.NORMAL)]


def test_the_last_to_leave_destroys_the_room() -> None:
    room = room_of_two()
    room.handle(facts.LeftRoom("PA_a"), 3000)
    said = room.handle(facts.LeftRoom("PA_b"), 3000)
    assert records(said)[-1] == commands.RoomDestroyed()
    assert drives(said)[-1] == media.CloseRoom(room="RM_1")
    assert room.destroyed
    assert room.handle(entered("PA_c", "carol"), 4000) == []


def test_a_track_is_subscribed_when_its_media_starts() -> None:
    room = room_of_two()
    added = room.handle(facts.TrackAdded("PA_a", track("TR_1")), 2000)
    assert not any(isinstance(c, media.Subscribe) for c in drives(added))
    started = room.handle(facts.MediaStarted("PA_a", "TR_1", "h264"), 2100)
    assert media.Subscribe(room="RM_1", participant="PA_b", track="TR_1") in drives(started)
    assert commands.PublicationStarted("PA_a", "alice", "video") in records(started)
    assert commands.TellPublisher("TR_1") in notices(started, "PA_a")


def test_only_permitted_sources_are_received() -> None:
    room = Room("RM_1", 1000)
    room.handle(entered("PA_a", "alice"), 1000)
    room.handle(entered("PA_b", "bob", permission=Permission(received=("microphone",))), 1000)
    voice = publish(room, "PA_a", track("TR_1", "microphone"))
    picture = publish(room, "PA_a", track("TR_2", "camera"))
    assert media.Subscribe(room="RM_1", participant="PA_b", track="TR_1") in drives(voice)
    assert not any(isinstance(command, media.Subscribe) for command in drives(picture))


def test_a_late_comer_is_subscribed_to_what_runs() -> None:
    room = room_of_two()
    publish(room, "PA_a", track("TR_1"))
    said = room.handle(entered("PA_c", "carol"), 5000)
    assert media.Subscribe(room="RM_1", participant="PA_c", track="TR_1") in drives(said)


def test_mute_stops_and_unmute_starts_the_publication() -> None:
    room = room_of_two()
    publish(room, "PA_a", track("TR_1", "microphone"))
    muted = room.handle(facts.TrackMuted("PA_a", "TR_1", True), 3000)
    assert drives(muted) == [media.MuteTrack(room="RM_1", track="TR_1", muted=True)]
    assert records(muted) == [commands.PublicationStopped("PA_a", "alice", "audio")]
    again = room.handle(facts.TrackMuted("PA_a", "TR_1", False), 4000)
    assert records(again) == [commands.PublicationStarted("PA_a", "alice", "audio")]


def test_a_shared_screen_is_the_auxiliary_stream() -> None:
    room = room_of_two()
    said = publish(room, "PA_a", track("TR_s", "screen_share"))
    assert commands.PublicationStarted("PA_a", "alice", "aux") in records(said)


def test_leaving_reports_no_stopped_publications() -> None:
    room = room_of_two()
    publish(room, "PA_a", track("TR_1"))
    said = room.handle(facts.LeftRoom("PA_a"), 3000)
    assert not any(isinstance(r, commands.PublicationStopped) for r in records(said))
    assert any(isinstance(r, commands.PresenceEnded) for r in records(said))


def test_the_same_user_again_takes_over_the_presence() -> None:
    room = room_of_two()
    publish(room, "PA_a", track("TR_1"))
    said = room.handle(entered("PA_a2", "alice"), 3000)
    assert notices(said, "PA_a") == [commands.Dismiss("duplicate")]
    assert not any(isinstance(r, commands.PresenceBegan | commands.PresenceEnded) for r in records(said))
    assert room.participants["alice"].presence == "PA_a"
    assert room.participants["alice"].participant_id == "PA_a2"
    # publishing the same again is not a new start
    assert not any(
        isinstance(r, commands.PublicationStarted) for r in records(publish(room, "PA_a2", track("TR_2"), 3500))
    )


def test_what_does_not_come_back_is_reported_as_stopped() -> None:
    room = room_of_two()
    publish(room, "PA_a", track("TR_1"))
    room.handle(entered("PA_a2", "alice"), 3000)
    assert room.deadline() == 3000 + RETURN_WITHIN_MS
    said = room.handle(facts.TimePassed(), 3000 + RETURN_WITHIN_MS)
    assert records(said) == [commands.PublicationStopped("PA_a", "alice", "video")]


def test_a_lost_user_is_given_up_after_90_seconds() -> None:
    room = room_of_two()
    room.handle(facts.SocketLost("PA_a"), 5000)
    assert room.handle(facts.TimePassed(), 5000 + LOST_AFTER_MS - 1) == []
    said = room.handle(facts.TimePassed(), 5000 + LOST_AFTER_MS)
    assert records(said) == [commands.PresenceEnded("PA_a", "alice", Role.ANCHOR, ExitReason.TIMEOUT)]


def test_a_resumed_session_is_not_given_up() -> None:
    room = room_of_two()
    room.handle(facts.SocketLost("PA_a"), 5000)
    said = room.handle(facts.Resumed("PA_a"), 6000)
    assert isinstance(notices(said, "PA_a")[0], commands.Confirm)
    assert room.deadline() is None


def test_removed_users_leave_with_their_reason_and_absent_ones_are_ignored() -> None:
    room = room_of_two()
    said = room.handle(facts.UsersRemoved(("bob", "nobody")), 3000)
    assert notices(said, "PA_b") == [commands.Dismiss("removed")]
    assert records(said) == [commands.PresenceEnded("PA_b", "bob", Role.ANCHOR, ExitReason.REMOVED)]


def test_dismissing_ends_every_presence_and_the_room() -> None:
    room = room_of_two()
    said = room.handle(facts.RoomDismissed(), 3000)
    assert [type(r) for r in records(said)] == [commands.PresenceEnded, commands.PresenceEnded, commands.RoomDestroyed]
    assert notices(said, "PA_a") == [commands.Dismiss("dismissed")]


def test_presences_found_at_start_wait_for_their_users() -> None:
    before = room_of_two()
    publish(before, "PA_a", track("TR_1"))
    found = list(before.participants.values())
    for participant in found:
        participant.participant_id = ""
        participant.tracks = {}
        participant.subscribed = set()
    room = Room("RM_1", 1000)
    room.restore(found, 50_000)
    back = room.handle(entered("PA_a9", "alice"), 60_000)
    assert records(back) == []
    assert records(publish(room, "PA_a9", track("TR_9"), 61_000)) == []
    gone = room.handle(facts.TimePassed(), 50_000 + LOST_AFTER_MS)
    assert commands.PresenceEnded("PA_b", "bob", Role.ANCHOR, ExitReason.TIMEOUT) in records(gone)
    assert not room.destroyed


def test_who_may_not_publish_is_told_so() -> None:
    room = Room("RM_1", 1000)
    room.handle(entered("PA_a", "alice", permission=Permission(publish=False)), 1000)
    assert room.handle(facts.TrackAdded("PA_a", track("TR_1")), 2000) == refused("PA_a", "TR_1", "not_allowed")


def test_only_the_granted_sources_may_be_published() -> None:
    room = Room("RM_1", 1000)
    room.handle(entered("PA_a", "alice", permission=Permission(sources=("microphone",))), 1000)
    assert room.handle(facts.TrackAdded("PA_a", track("TR_1")), 2000) == refused("PA_a", "TR_1", "not_allowed")
    heard = track("TR_2", "microphone")
    assert Notify("PA_a", commands.AcceptTrack(heard.cid, heard)) in room.handle(facts.TrackAdded("PA_a", heard), 2000)


def test_an_explicit_choice_wins_over_automatic_subscription() -> None:
    room = room_of_two()
    publish(room, "PA_a", track("TR_1"))
    off = room.handle(facts.SubscriptionChosen("PA_b", ("TR_1",), False), 3000)
    assert media.Unsubscribe(room="RM_1", participant="PA_b", track="TR_1") in drives(off)
    on = room.handle(facts.SubscriptionChosen("PA_b", ("TR_1",), True), 4000)
    assert media.Subscribe(room="RM_1", participant="PA_b", track="TR_1") in drives(on)


def test_a_quality_names_the_announced_layer() -> None:
    room = room_of_two()
    layers = (Layer(0, "q", 160, 120, 80_000), Layer(1, "h", 320, 240, 200_000), Layer(2, "f", 640, 480, 600_000))
    publish(room, "PA_a", track("TR_1", layers=layers))

    def sized(width: int, height: int, quality: int) -> tuple[int, int]:
        fact = facts.SubscriptionSized("PA_b", ("TR_1",), True, width, height, 0, quality)
        [command] = drives(room.handle(fact, 3000))
        assert isinstance(command, media.SetSubscription)
        return command.width, command.height

    assert sized(0, 0, 0) == (160, 120)
    assert sized(0, 0, 1) == (320, 240)
    assert sized(0, 0, 2) == (0, 0)
    assert sized(200, 100, 0) == (200, 100)


def test_what_is_received_is_recorded_until_the_end() -> None:
    room = room_of_two()
    publish(room, "PA_a", track("TR_1"))
    sized = room.handle(facts.Receiving("PA_b", "TR_1", 1280, 720), 3000)
    assert records(sized) == [commands.SubscriptionChanged("PA_b", "alice", "video", 1280, 720, True)]
    gone = room.handle(facts.TrackRemoved("PA_a", "TR_1"), 4000)
    assert commands.SubscriptionChanged("PA_b", "alice", "video", 0, 0, False) in records(gone)


def test_quality_is_told_when_it_is_known_and_when_it_changes() -> None:
    room = room_of_two()
    assert room.is_news(facts.QualityMeasured("PA_a", 0.0, 0.0, 20))
    assert not room.is_news(facts.QualityMeasured("PA_x", 0.0, 0.0, 20))
    room.handle(facts.QualityMeasured("PA_a", 0.0, 0.0, 20), 2000)
    room.handle(facts.QualityMeasured("PA_b", 0.15, 0.0, 20), 2900)
    assert room.deadline() == 3000
    first = room.handle(facts.TimePassed(), 3000)
    assert notices(first, "PA_b") == [commands.ShowQuality((("PA_a", 2, 5.0), ("PA_b", 1, 4.0)))]
    same = facts.QualityMeasured("PA_a", 0.01, 0.0, 30)
    assert not room.is_news(same)
    room.handle(same, 3500)
    assert room.deadline() is None
    worse = facts.QualityMeasured("PA_a", 0.25, 0.0, 20)
    assert room.is_news(worse)
    room.handle(worse, 4000)
    assert notices(room.handle(facts.TimePassed(), 5000), "PA_b") == [commands.ShowQuality((("PA_a", 0, 3.0),))]
    late = room.handle(entered("PA_c", "carol"), 6000)
    assert commands.ShowQuality((("PA_a", 0, 3.0), ("PA_b", 1, 4.0))) in notices(late, "PA_c")
