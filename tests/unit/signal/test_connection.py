"""A session and its sockets: what a resume tells, and what it need not."""

from dataclasses import dataclass, field
from typing import Any

from livekit.protocol import models, rtc

from rtcloud.accounts.tokens import JoinGrant
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Device, Participant, Role, Track
from rtcloud.signal.admission import Admission
from rtcloud.signal.connection import APART_MS, MISSED_SIZE, Connection
from rtcloud.signal.joining import JoinAttempt
from rtcloud.signal.outputs import Drive, Post
from rtcloud.signal.session import Session

REF = RoomRef(1400000000, False, "r")


@dataclass
class Rooms:
    posted: list[facts.Fact] = field(default_factory=list)
    accepts: bool = True

    def post(self, participant_id: str, fact: facts.Fact) -> bool:
        self.posted.append(fact)
        return self.accepts

    def drive(self, command: media.AnyCommand) -> bool:
        return self.accepts


def person(session: str, user_id: str) -> Participant:
    return Participant(session, session, user_id, Role.ANCHOR, Device(), joined_ms=1000)


@dataclass
class HandClock:
    ms: int = 1_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


class Line:
    def __init__(self) -> None:
        self.clock = HandClock()
        self.rooms, self.over = Rooms(), list[Connection]()
        admission = Admission(JoinGrant(REF, "alice", 0), lambda app: ("key",))
        attempt = JoinAttempt(single=True, client=models.ClientInfo())
        session = Session(REF, "PA_a", attempt, str, admission)
        encode = rtc.SignalResponse.SerializeToString
        self.connection = Connection(session, self.rooms, self.clock, encode, self.over.append)
        self.alice, self.socket = person("PA_a", "alice"), self.connection.attach()
        self.connection.deliver(commands.Welcome("RM_1", self.alice, (), 1000))
        self.heard()

    def speak(self, after_ms: int) -> None:
        """The client says something, so much later."""
        self.clock.ms += after_ms
        self.connection.hear(self.clock.ms)

    def lose(self) -> None:
        self.connection.outbox = None

    def heard(self) -> list[rtc.SignalResponse]:
        """Up to the end, if the socket was closed."""
        said = []
        while not self.socket.empty() and (raw := self.socket.get_nowait()) is not None:
            said.append(rtc.SignalResponse.FromString(raw))
        return said

    def resume(self, *others: Participant) -> list[rtc.SignalResponse]:
        self.socket = self.connection.attach()
        self.connection.deliver(commands.Confirm(self.alice, others))
        return self.heard()


def people(response: rtc.SignalResponse) -> list[tuple[str, bool]]:
    gone: Any = models.ParticipantInfo.State.DISCONNECTED
    return [(info.sid, info.state != gone) for info in response.update.participants]


def test_a_resume_tells_who_is_gone_and_then_who_is_there() -> None:
    line = Line()
    bob, carol = person("PA_b", "bob"), person("PA_c", "carol")
    line.connection.deliver(commands.ShowParticipants((bob, carol)))
    line.heard()
    line.lose()
    line.connection.deliver(commands.ShowParticipants((bob,), (("PA_c", "carol"),)))
    line.connection.deliver(commands.DropTrack("TR_1"))
    line.connection.deliver(commands.ShowQuality((("PA_b", 2, 5.0),)))
    again, gone, ended, present = line.resume(bob)
    assert again.HasField("reconnect")
    assert people(gone) == [("PA_c", False)]
    assert ended.track_unpublished.track_sid == "TR_1"
    assert people(present) == [("PA_a", True), ("PA_b", True)]
    line.speak(APART_MS)
    line.speak(APART_MS)
    line.lose()
    assert [response.WhichOneof("message") for response in line.resume(bob)] == ["reconnect", "update"]


def test_who_went_and_is_back_is_gone_first_unless_it_is_the_same_session() -> None:
    line = Line()
    line.lose()
    line.connection.deliver(commands.ShowParticipants((), (("PA_b", "bob"), ("PA_c", "carol"))))
    _, gone, present = line.resume(person("PA_b2", "bob"), person("PA_c", "carol"))
    assert people(gone) == [("PA_b", False)]
    assert people(present) == [("PA_a", True), ("PA_b2", True), ("PA_c", True)]


def test_what_was_said_to_a_dead_socket_is_said_again() -> None:
    line = Line()
    line.connection.deliver(commands.ShowParticipants((), (("PA_b", "bob"),)))
    line.connection.deliver(commands.DropTrack("TR_1"))
    line.speak(5_000)
    line.speak(APART_MS)
    line.speak(APART_MS)  # it got these
    line.connection.deliver(commands.ShowParticipants((), (("PA_c", "carol"),)))
    line.connection.deliver(commands.DropTrack("TR_2"))
    line.speak(20_000)  # of what it had said before, and lay in the network
    line.speak(1)
    _, gone, ended, present = line.resume()
    assert people(gone) == [("PA_c", False)]
    assert ended.track_unpublished.track_sid == "TR_2"
    assert people(present) == [("PA_a", True)]


def test_who_may_be_known_in_a_new_session_does_not_go() -> None:
    line = Line()
    line.connection.deliver(commands.ShowParticipants((person("PA_b2", "bob"),), (("PA_b", "bob"),)))
    _, present = line.resume(person("PA_b2", "bob"))
    assert people(present) == [("PA_a", True), ("PA_b2", True)]


def test_a_client_that_talks_before_it_is_told_is_told_all_the_same() -> None:
    line = Line()
    line.lose()
    line.connection.deliver(commands.ShowParticipants((), (("PA_b", "bob"),)))
    line.clock.ms += 60_000
    line.socket = line.connection.attach()
    line.speak(1)
    line.connection.deliver(commands.Confirm(line.alice, ()))
    _, gone, _ = line.heard()
    assert people(gone) == [("PA_b", False)]


def test_what_is_missed_has_a_bound() -> None:
    line = Line()
    line.lose()
    for number in range(MISSED_SIZE + 10):
        line.connection.deliver(commands.ShowParticipants((), ((f"PA_{number}", str(number)),)))
    _, gone, _ = line.resume()
    assert len(gone.update.participants) == MISSED_SIZE


def test_a_second_socket_closes_the_first() -> None:
    line = Line()
    first = line.socket
    second = line.connection.attach()
    assert first.get_nowait() is None
    assert line.connection.outbox is second


def test_who_is_dismissed_is_told_and_forgotten() -> None:
    line = Line()
    line.connection.deliver(commands.Dismiss("removed"))
    [leave] = line.heard()
    assert leave.leave.reason == models.DisconnectReason.PARTICIPANT_REMOVED
    assert line.connection.outbox is None
    assert line.over == [line.connection]


def test_a_room_or_a_media_node_that_takes_no_more_hangs_up() -> None:
    line = Line()
    line.rooms.accepts = False
    line.connection.execute([Post(facts.TrackAdded("PA_a", Track("TR", "c", "audio", "microphone")))])
    assert line.connection.outbox is None
    line = Line()
    line.rooms.accepts = False
    line.connection.execute([Drive(media.RestartIce(room="RM_1", participant="PA_a"))])
    [leave] = line.heard()
    assert leave.leave.action == rtc.LeaveRequest.Action.RESUME
    assert line.connection.outbox is None
