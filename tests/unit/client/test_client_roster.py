from livekit.protocol import models

from rtcloud.client.roster import Roster
from rtcloud.client.types import ParticipantJoined, ParticipantLeft, TrackChanged, TrackPublished, TrackUnpublished


def info(
    user: str, sid: str, *tracks: models.TrackInfo, version: int = 0, gone: bool = False
) -> models.ParticipantInfo:
    state = models.ParticipantInfo.State
    return models.ParticipantInfo(
        identity=user, sid=sid, tracks=tracks, version=version, state=state.DISCONNECTED if gone else state.ACTIVE
    )


def camera(sid: str, *, muted: bool = False, width: int = 1280) -> models.TrackInfo:
    return models.TrackInfo(
        sid=sid, type=models.TrackType.VIDEO, source=models.TrackSource.CAMERA, muted=muted, width=width, height=720
    )


def names(events: object) -> list[str]:
    return [type(event).__name__ for event in events]  # type: ignore[attr-defined]


def test_everyone_present_is_told_at_the_join() -> None:
    roster = Roster()
    events = list(roster.replace("PA_me", [info("ann", "PA_1", camera("TR_1")), info("bob", "PA_2")]))
    assert names(events) == ["ParticipantJoined", "TrackPublished", "ParticipantJoined"]
    assert list(roster.participants) == ["ann", "bob"]
    track = roster.track("TR_1")
    assert track is not None
    assert (track.user_id, track.kind, track.source, track.width) == ("ann", "video", "camera", 1280)


def test_oneself_is_not_a_participant() -> None:
    roster = Roster()
    list(roster.replace("PA_me", []))
    assert list(roster.update(info("me", "PA_me", camera("TR_mine")))) == []
    assert roster.participants == {}


def test_differences_of_tracks_are_told() -> None:
    roster = Roster()
    list(roster.replace("PA_me", [info("ann", "PA_1", camera("TR_1"))]))
    assert names(roster.update(info("ann", "PA_1", camera("TR_1", muted=True)))) == ["TrackChanged"]
    assert names(roster.update(info("ann", "PA_1", camera("TR_1", muted=True)))) == []
    events = list(roster.update(info("ann", "PA_1", camera("TR_2"))))
    assert [type(event) for event in events] == [TrackUnpublished, TrackPublished]


def test_one_who_leaves_takes_tracks_along() -> None:
    roster = Roster()
    list(roster.replace("PA_me", [info("ann", "PA_1", camera("TR_1"))]))
    assert [type(event) for event in roster.update(info("ann", "PA_1", gone=True))] == [
        TrackUnpublished,
        ParticipantLeft,
    ]


def test_end_of_an_earlier_presence_does_not_end_the_new_one() -> None:
    roster = Roster()
    list(roster.replace("PA_me", [info("ann", "PA_1")]))
    assert [type(event) for event in roster.update(info("ann", "PA_2"))] == [ParticipantLeft, ParticipantJoined]
    assert list(roster.update(info("ann", "PA_1", gone=True))) == []
    assert roster.participants["ann"].participant_id == "PA_2"


def test_older_version_is_ignored() -> None:
    roster = Roster()
    list(roster.replace("PA_me", [info("ann", "PA_1", camera("TR_1"), version=5)]))
    assert list(roster.update(info("ann", "PA_1", version=4))) == []
    assert [type(e) for e in roster.update(info("ann", "PA_1", camera("TR_1", width=640), version=6))] == [TrackChanged]


def test_list_after_a_rejoin_is_compared_with_the_one_before() -> None:
    roster = Roster()
    list(roster.replace("PA_me", [info("ann", "PA_1", camera("TR_1")), info("bob", "PA_2")]))
    events = list(roster.replace("PA_me2", [info("ann", "PA_1", camera("TR_1")), info("eve", "PA_3")]))
    assert [type(event) for event in events] == [ParticipantLeft, ParticipantJoined]


def test_the_servers_own_robots_are_told_from_people() -> None:
    roster = Roster()
    robot = info("mixer", "PA_3")
    robot.kind = models.ParticipantInfo.Kind.EGRESS
    list(roster.replace("PA_me", [info("ann", "PA_1"), robot]))
    assert {name: one.robot for name, one in roster.participants.items()} == {"ann": False, "mixer": True}
