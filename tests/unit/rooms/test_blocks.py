"""What SetUserBlocked takes from a user: out of the media, out of the callbacks, until it is given back."""

import pytest

from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.entering import RETURN_WITHIN_MS
from rtcloud.rooms.participant import Kind, Role
from rtcloud.signal import messages
from tests.kit.rooms import SID, Script, callbacks, drives, notices, only, records

BLOCKS: list[tuple[Kind, ...]] = [(), ("audio", "video"), ("audio",), ("video",)]


def talking() -> Script:
    """alice sends everything, bob receives it."""
    script = Script()
    script.enter("alice")
    script.enter("bob")
    for source in ("camera", "microphone", "screen_share"):
        script.publish("alice", source)
    return script


def enforced(said: list[commands.Command]) -> media.Rights:
    [order] = only(media.SetRights, drives(said))
    assert (order.room, order.participant) == (SID, "alice")
    return order.rights


@pytest.mark.parametrize(
    ("kinds", "stopped", "rights"),
    [
        (("audio",), ["204 alice"], media.Rights(send_audio=False)),
        (("video",), ["202 alice", "206 alice"], media.Rights(send_video=False, send_screen=False)),
        (
            ("audio", "video"),
            ["202 alice", "204 alice", "206 alice"],
            media.Rights(send_audio=False, send_video=False, send_screen=False),
        ),
    ],
)
def test_a_block_stops_what_is_sent_and_its_end_starts_it_again(
    kinds: tuple[Kind, ...], stopped: list[str], rights: media.Rights
) -> None:
    script = talking()
    said = script.block("alice", *kinds)
    assert sorted(callbacks(said)) == stopped
    assert enforced(said) == rights
    assert only(commands.UserBlocked, records(said)) == [commands.UserBlocked("alice", frozenset(kinds))]
    restored = script.block("alice")
    assert sorted(callbacks(restored)) == [f"{int(one[:3]) - 1} alice" for one in stopped]
    assert enforced(restored) == media.Rights()
    assert only(commands.UserBlocked, records(restored)) == [commands.UserBlocked("alice", frozenset())]


def test_the_same_block_again_is_nothing() -> None:
    script = talking()
    assert script.block("alice") == []
    script.block("alice", "audio")
    assert script.block("alice", "audio") == []


def test_one_block_takes_the_place_of_another() -> None:
    script = talking()
    script.block("alice", "audio")
    assert sorted(callbacks(script.block("alice", "video"))) == ["202 alice", "203 alice", "206 alice"]


def test_a_blocked_user_keeps_its_tracks_and_whoever_receives_them() -> None:
    script = talking()
    said = script.block("alice", "audio", "video")
    assert not only(media.UnpublishTrack, drives(said))
    assert not only(media.Unsubscribe, drives(said))
    assert not only(commands.DropTrack, notices(said, "alice"))
    assert "alice-camera" in script.participant("bob").subscribed


def test_others_see_blocked_tracks_muted_and_the_user_sees_that_it_is_blocked() -> None:
    script = talking()
    said = script.block("alice", "audio")
    [shown] = only(commands.ShowParticipants, notices(said, "bob"))
    [info] = messages.participants(shown).update.participants
    assert {track.sid: track.muted for track in info.tracks} == {
        "alice-camera": False,
        "alice-microphone": True,
        "alice-screen_share": False,
    }
    assert info.attributes[messages.BLOCKED] == "audio"
    [own] = only(commands.ShowSelf, notices(said, "alice"))
    mine = messages.participant_info(own.participant, own=True)
    assert not any(track.muted for track in mine.tracks)
    assert mine.attributes[messages.BLOCKED] == "audio"
    script.block("alice")
    assert messages.BLOCKED not in messages.participant_info(own.participant).attributes


@pytest.mark.parametrize("kinds", BLOCKS)
def test_a_block_survives_the_users_reconnection(kinds: tuple[Kind, ...]) -> None:
    script = talking()
    script.block("alice", *kinds)
    script.do(facts.SocketLost("alice"))
    script.wait(20_000)
    assert not only(media.SetRights, drives(script.do(facts.Resumed("alice"))))  # the media node knows it still
    [added] = only(media.AddParticipant, drives(script.enter("alice")))
    assert added.rights.send_audio == ("audio" not in kinds)
    assert added.rights.send_video == added.rights.send_screen == ("video" not in kinds)
    told = [*callbacks(script.publish("alice", "camera", "c")), *callbacks(script.publish("alice", "microphone", "m"))]
    assert told == []  # unblocked ones go on, blocked ones do not begin


@pytest.mark.parametrize("kinds", BLOCKS)
def test_a_block_survives_leaving_and_entering(kinds: tuple[Kind, ...]) -> None:
    script = talking()
    script.block("alice", *kinds)
    script.leave("alice")
    [added] = only(media.AddParticipant, drives(script.enter("alice")))
    assert added.rights.send_audio == ("audio" not in kinds)
    assert callbacks(script.publish("alice", "camera", "c")) == ([] if "video" in kinds else ["201 alice"])
    assert callbacks(script.publish("alice", "microphone", "m")) == ([] if "audio" in kinds else ["203 alice"])
    assert callbacks(script.block("alice")) == [
        *(["201 alice"] if "video" in kinds else []),
        *(["203 alice"] if "audio" in kinds else []),
    ]


def test_a_block_survives_republication() -> None:
    script = talking()
    script.block("alice", "video")
    assert callbacks(script.do(facts.TrackRemoved("alice", "alice-camera"))) == []
    said = script.publish("alice", "camera", "again")
    assert callbacks(said) == []
    assert "again" in script.participant("bob").subscribed  # the media node lets nothing through
    assert callbacks(script.block("alice")) == ["205 alice", "201 alice"]


def test_a_block_survives_a_restart() -> None:
    script = talking()
    script.block("alice", "audio")
    again = script.restart()
    assert again.participant("alice").blocked == {"audio"}
    [added] = only(media.AddParticipant, drives(again.enter("alice")))
    assert added.rights == media.Rights(send_audio=False)
    assert callbacks(again.publish("alice", "microphone", "m")) == []
    assert callbacks(again.block("alice")) == ["203 alice"]


def test_a_user_who_is_not_back_yet_may_be_blocked_and_released() -> None:
    again = talking().restart()
    said = again.block("alice", "audio")
    assert drives(said) == []
    assert only(commands.UserBlocked, records(said)) == [commands.UserBlocked("alice", frozenset({"audio"}))]
    again.block("alice")
    [added] = only(media.AddParticipant, drives(again.enter("alice")))
    assert added.rights == media.Rights()


def test_a_block_survives_a_role_switch() -> None:
    script = Script("live")
    script.enter("alice")
    script.publish("alice", "microphone")
    assert callbacks(script.block("alice", "audio")) == ["204 alice"]
    assert callbacks(script.switch("alice", Role.AUDIENCE)) == ["105 alice 21"]
    assert enforced(script.switch("alice", Role.ANCHOR)) == media.Rights(send_audio=False)


def test_unmuting_does_not_lift_a_block_nor_unblocking_a_mute() -> None:
    script = talking()
    script.mute("alice", "alice-microphone")
    assert callbacks(script.block("alice", "audio")) == []
    assert callbacks(script.mute("alice", "alice-microphone", False)) == []
    script.mute("alice", "alice-microphone")
    assert callbacks(script.block("alice")) == []
    assert callbacks(script.mute("alice", "alice-microphone", False)) == ["203 alice"]


def test_what_was_not_sent_yet_is_reported_when_both_hold() -> None:
    script = Script()
    script.enter("alice")
    script.block("alice", "video")
    assert callbacks(script.publish("alice")) == []
    assert callbacks(script.block("alice")) == ["201 alice"]


def test_who_returns_blocked_has_stopped_after_ten_seconds() -> None:
    script = talking()
    script.enter("alice")
    script.block("alice", "audio")
    assert sorted(callbacks(script.wait(RETURN_WITHIN_MS))) == ["202 alice", "204 alice", "206 alice"]


def test_a_block_holds_for_its_user_only_and_strangers_are_ignored() -> None:
    script = talking()
    assert script.block("carol", "audio") == []
    script.block("alice", "audio", "video")
    assert callbacks(script.publish("bob", "microphone")) == ["203 bob"]
    [added] = only(media.AddParticipant, drives(script.enter("carol")))
    assert added.rights == media.Rights()
