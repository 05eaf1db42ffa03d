"""What a participant may do: its permission, a new key, whom it lets receive, and its own profile."""

import pytest

from rtcloud.accounts.privatemapkey import Permissions, VerifiedKey, limited
from rtcloud.accounts.tokens import JoinGrant
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.commands import Notify
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Permission, Role, Source
from rtcloud.rooms.rights import MAX_ATTRIBUTES, MAX_METADATA, MAX_NAME
from rtcloud.signal.admission import Admission
from tests.kit.rooms import SID, Script, callbacks, drives, notices, only, records, refusals, refused, track

SOURCES: tuple[Source, ...] = ("microphone", "camera", "screen_share", "screen_share_audio")


def by_key(bits: int) -> Permission:
    """What a PrivateMapKey with these bits and that of entering allows."""
    grant = JoinGrant(RoomRef(1, True, "7"), "alice", 0, can_update_metadata=True)
    return Admission(limited(grant, VerifiedKey(Permissions(bits | 2), 0)), lambda app: ()).permission()


# The eight bits ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bits", "accepted"),
    [
        (0, set()),
        (4, {"microphone", "screen_share_audio"}),
        (16, {"camera"}),
        (64, {"screen_share"}),
        (4 | 16, {"microphone", "camera", "screen_share_audio"}),
        (8 | 32 | 128, set()),
        (255, set(SOURCES)),
    ],
)
def test_a_bit_to_send_is_needed_for_each_source(bits: int, accepted: set[Source]) -> None:
    script = Script()
    entered = script.enter("alice", permission=by_key(bits))
    for source in SOURCES:
        said = script.announce("alice", track(source, source))
        if source in accepted:
            assert only(media.PublishTrack, drives(said))
        else:
            assert said == refused("alice", source, "not_allowed")
    [added] = only(media.AddParticipant, drives(entered))
    rights = added.rights
    assert (rights.send_audio, rights.send_video, rights.send_screen) == (
        "microphone" in accepted,
        "camera" in accepted,
        "screen_share" in accepted,
    )
    assert rights.data == bool(accepted)


@pytest.mark.parametrize(
    ("bits", "received"),
    [
        (0, set()),
        (8, {"microphone", "screen_share_audio"}),
        (32, {"camera"}),
        (128, {"screen_share"}),
        (4 | 16 | 64, set()),
        (255, set(SOURCES)),
    ],
)
def test_a_bit_to_receive_is_needed_for_each_source(bits: int, received: set[Source]) -> None:
    script = Script()
    script.enter("alice", permission=by_key(bits))
    script.enter("bob")
    for source in SOURCES:
        script.publish("bob", source, source)
        script.do(facts.SubscriptionChosen("alice", (source,), True))  # nor by asking for it
    assert script.participant("alice").subscribed == received
    rights = script.participant("alice").rights()
    assert (rights.receive_audio, rights.receive_video, rights.receive_screen) == (
        "microphone" in received,
        "camera" in received,
        "screen_share" in received,
    )


def test_a_source_without_a_name_needs_every_bit() -> None:
    script = Script()
    script.enter("alice", permission=by_key(4 | 16))
    assert script.announce("alice", track("t", "unknown")) == refused("alice", "t", "not_allowed")
    script.enter("alice", permission=by_key(255))
    assert only(media.PublishTrack, drives(script.announce("alice", track("t", "unknown"))))


def test_whose_token_grants_messages_alone_may_send_them() -> None:
    script = Script()
    said = script.enter("alice", Role.AUDIENCE, permission=Permission(publish=False, data=True))
    [added] = only(media.AddParticipant, drives(said))
    assert added.rights == media.Rights(send_audio=False, send_video=False, send_screen=False)


# A key in place of an earlier one ------------------------------------------------------------------------------------


def replaced(script: Script, bits: int) -> list[commands.Command]:
    return script.do(facts.KeyReplaced("alice", by_key(bits), 9))


def test_a_narrower_key_removes_tracks_and_subscriptions() -> None:
    script = Script()
    script.enter("alice", permission=by_key(255))
    script.enter("bob")
    for user in ("alice", "bob"):
        script.publish(user, "camera")
        script.publish(user, "microphone")
    said = replaced(script, 4 | 32)
    assert callbacks(said) == ["202 alice"]
    assert Notify("alice", commands.DropTrack("alice-camera")) in said
    assert media.UnpublishTrack(room=SID, participant="alice", track="alice-camera") in drives(said)
    assert media.Unsubscribe(room=SID, participant="alice", track="bob-microphone") in drives(said)
    assert commands.SubscriptionChanged("alice", "bob", "audio", 0, 0, False) in records(said)
    [order] = only(media.SetRights, drives(said))
    assert order.rights == media.Rights(send_video=False, send_screen=False, receive_audio=False, receive_screen=False)
    assert script.participant("alice").tracks.keys() == {"alice-microphone"}
    assert script.participant("alice").subscribed == {"bob-camera"}
    assert script.participant("bob").subscribed == {"alice-microphone"}
    assert notices(said, "alice")[-1] == commands.Grant(9)


def test_a_wider_key_brings_what_is_sent_and_lets_publish() -> None:
    script = Script()
    script.enter("alice", permission=by_key(0))
    script.enter("bob")
    script.publish("bob", "camera")
    said = replaced(script, 255)
    assert media.Subscribe(room=SID, participant="alice", track="bob-camera") in drives(said)
    assert callbacks(said) == []
    assert callbacks(script.publish("alice", "camera")) == ["201 alice"]


def test_a_key_does_not_change_the_role() -> None:
    script = Script("live")
    script.audience("alice", permission=by_key(8))
    said = replaced(script, 255)
    assert callbacks(said) == []
    assert script.announce("alice", track("t")) == refused("alice", "t", "not_allowed")
    [order] = only(media.SetRights, drives(said))
    assert order.rights == media.Rights(send_audio=False, send_video=False, send_screen=False, data=False)
    assert callbacks(script.switch("alice", Role.ANCHOR)) == ["105 alice 20"]


def test_a_narrower_key_leaves_an_explicit_choice_and_a_wider_one_does_not_undo_it() -> None:
    script = Script()
    script.enter("alice", permission=by_key(255))
    script.enter("bob")
    script.publish("bob", "camera")
    script.do(facts.SubscriptionChosen("alice", ("bob-camera",), False))
    replaced(script, 0)
    assert not only(media.Subscribe, drives(replaced(script, 255)))


def test_an_expired_key_ends_in_removal() -> None:
    script = Script("live")
    script.enter("bob")
    script.audience("alice")
    said = script.do(facts.KeyExpired("alice"))
    assert callbacks(said) == ["104 alice 3"]
    assert notices(said, "alice") == [commands.Dismiss("key_expired")]
    assert media.RemoveParticipant(room=SID, participant="alice") in drives(said)


# Whom a publisher lets receive ---------------------------------------------------------------------------------------


def three() -> Script:
    script = Script()
    for user in ("alice", "bob", "carol"):
        script.enter(user)
    script.publish("alice", "camera")
    script.publish("alice", "microphone")
    return script


def test_a_publisher_lets_some_receive_some() -> None:
    script = three()
    said = script.do(facts.AudienceChosen("alice", {"bob": None, "carol": frozenset({"alice-camera"})}))
    assert notices(said, "bob") == []
    assert notices(said, "carol") == [commands.ShowAdmission("alice", "alice-microphone", False)]
    assert media.Unsubscribe(room=SID, participant="carol", track="alice-microphone") in drives(said)
    assert script.participant("bob").subscribed == {"alice-camera", "alice-microphone"}
    assert script.participant("carol").subscribed == {"alice-camera"}
    back = script.do(facts.AudienceChosen("alice", None))
    assert notices(back, "carol") == [commands.ShowAdmission("alice", "alice-microphone", True)]
    assert media.Subscribe(room=SID, participant="carol", track="alice-microphone") in drives(back)


def test_whom_it_does_not_name_receives_nothing_also_later() -> None:
    script = three()
    script.do(facts.AudienceChosen("alice", {"bob": None}))
    said = script.enter("dave")
    assert not only(media.Subscribe, drives(said))
    script.publish("alice", "screen_share")
    assert script.participant("dave").subscribed == set()
    asked = script.do(facts.SubscriptionChosen("dave", ("alice-camera",), True))
    assert asked == [Notify("dave", commands.ShowAdmission("alice", "alice-camera", False))]


def test_who_comes_again_is_known_by_its_name() -> None:
    script = three()
    script.do(facts.AudienceChosen("alice", {"bob": None}))
    said = script.enter("bob")
    assert {order.track for order in only(media.Subscribe, drives(said))} == {"alice-camera", "alice-microphone"}


def test_robots_receive_whatever_is_sent() -> None:
    script = three()
    script.do(facts.AudienceChosen("alice", {}))
    said = script.enter("recorder", robot=True)
    assert len(only(media.Subscribe, drives(said))) == 2


def test_who_did_not_want_a_track_does_not_get_it_by_being_admitted() -> None:
    script = three()
    script.do(facts.SubscriptionChosen("bob", ("alice-camera",), False))
    script.do(facts.AudienceChosen("alice", {}))
    said = script.do(facts.AudienceChosen("alice", None))
    assert "alice-camera" not in script.participant("bob").subscribed
    assert commands.ShowAdmission("alice", "alice-camera", True) in notices(said, "bob")


# Its own profile -----------------------------------------------------------------------------------------------------


def change(script: Script, **more: object) -> list[commands.Command]:
    return script.do(facts.ProfileChanged("alice", 5, **more))  # type: ignore[arg-type]


def two() -> Script:
    script = Script()
    script.enter("alice", name="Alice", metadata="m", attributes={"mood": "good"})
    script.enter("bob")
    return script


def test_metadata_and_attributes_are_shown_and_granted() -> None:
    script = two()
    said = change(script, metadata="new", attributes={"hand": "up"})
    alice = script.participant("alice")
    assert (alice.name, alice.metadata, alice.attributes) == ("Alice", "new", {"mood": "good", "hand": "up"})
    assert notices(said, "alice") == [commands.ShowSelf(alice), commands.Grant(5)]
    assert notices(said, "bob") == [commands.ShowParticipants((alice,))]
    change(script, attributes={"mood": ""})
    assert alice.attributes == {"hand": "up"}


def test_others_see_each_version_once() -> None:
    script = two()
    versions = [script.participant("alice").version]
    for number in range(3):
        change(script, attributes={"n": str(number)})
        versions.append(script.participant("alice").version)
    assert versions == sorted(set(versions))


def test_who_may_not_change_itself_is_told_so_and_what_is_so_already_needs_no_right() -> None:
    script = Script()
    script.enter("alice", name="Alice", permission=Permission(update_metadata=False))
    assert change(script, metadata="new") == [Notify("alice", commands.Refuse(5, "not_allowed"))]
    assert change(script, name="Alice") == [Notify("alice", commands.Grant(5))]
    assert script.participant("alice").metadata == ""


@pytest.mark.parametrize(
    ("fits", "too_much"),
    [
        ({"name": "n" * MAX_NAME}, {"name": "n" * (MAX_NAME + 1)}),
        ({"metadata": "m" * MAX_METADATA}, {"metadata": "é" * (MAX_METADATA // 2 + 1)}),
        ({"attributes": {"k": "v" * (MAX_ATTRIBUTES - 1)}}, {"attributes": {"k": "v" * MAX_ATTRIBUTES}}),
        (
            {"attributes": {str(n): "v" * 60 for n in range(1000)}},
            {"attributes": {str(n): "v" * 70 for n in range(1000)}},
        ),
    ],
)
def test_a_profile_has_bounds(fits: dict[str, object], too_much: dict[str, object]) -> None:
    script = Script()
    script.enter("alice")
    assert change(script, **too_much) == [Notify("alice", commands.Refuse(5, "too_large"))]
    assert refusals(change(script, **fits), "alice") == ["granted"]


def test_attributes_add_up_to_the_bound() -> None:
    script = Script()
    script.enter("alice")
    half = "v" * (MAX_ATTRIBUTES // 2)
    assert refusals(change(script, attributes={"a": half}), "alice") == ["granted"]
    assert refusals(change(script, attributes={"b": half}), "alice") == ["too_large"]
    assert refusals(change(script, attributes={"a": "", "b": half}), "alice") == ["granted"]


def test_the_rooms_metadata_is_told_to_everybody_also_to_who_comes_later() -> None:
    script = two()
    said = script.do(facts.RoomMetadataSet("title"))
    assert records(said) == [commands.RoomMetadataChanged("title")]
    assert notices(said, "alice") == notices(said, "bob") == [commands.ShowRoom("title", 2)]
    for later in (script, script.restart()):
        welcome = notices(later.enter("carol"), later.participant("carol").participant_id)[0]
        assert isinstance(welcome, commands.Welcome)
        assert welcome.metadata == "title"
