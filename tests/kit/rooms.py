"""One room on a virtual clock, told what happens and asked what it said, in the words of callbacks.

``Script`` does what the shell does: it hands in facts and lets time pass at each deadline. ``callbacks`` writes what
was said as ``103 alice``; ``104 alice 2`` has the reason, ``105 alice 21`` the role.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.commands import Command, Drive, Notify
from rtcloud.rooms.participant import Device, Kind, Participant, Role, Source, Track
from rtcloud.rooms.room import Room
from rtcloud.rooms.scenes import Limits, rules_of

T = TypeVar("T")
SID = "RM_1"
BEGIN_MS = 1_000_000
_STARTED = {"video": 201, "audio": 203, "aux": 205}
_KINDS: dict[Source, Kind] = {"microphone": "audio", "screen_share_audio": "audio"}


def entered(session: str, user_id: str, role: Role = Role.ANCHOR, **more: object) -> facts.Entered:
    return facts.Entered(session, user_id, role, Device(), True, **more)  # type: ignore[arg-type]


def track(track_id: str, source: Source = "camera", **more: object) -> Track:
    return Track(track_id, f"cid-{track_id}", _KINDS.get(source, "video"), source, **more)  # type: ignore[arg-type]


def drives(said: Iterable[Command]) -> list[media.AnyCommand]:
    return [c.command for c in said if isinstance(c, Drive)]


def notices(said: Iterable[Command], session: str) -> list[commands.Notice]:
    return [c.notice for c in said if isinstance(c, Notify) and c.participant_id == session]


def records(said: Iterable[Command]) -> list[commands.Record]:
    return [c for c in said if not isinstance(c, Drive | Notify)]


def only(kind: type[T], things: Iterable[object]) -> list[T]:
    return [thing for thing in things if isinstance(thing, kind)]


def refused(session: str, track_id: str, why: commands.Refusal) -> list[Command]:
    """All that is said when a track is refused."""
    return [
        Notify(session, commands.RefuseTrack(f"cid-{track_id}", why)),
        Notify(session, commands.DropTrack(track_id)),
    ]


def callbacks(said: Iterable[Command]) -> list[str]:
    return list(_callbacks(said))


def _callbacks(said: Iterable[Command]) -> Iterator[str]:
    for record in records(said):
        match record:
            case commands.RoomCreated(user_id):
                yield f"101 {user_id}"
            case commands.RoomDestroyed():
                yield "102"
            case commands.PresenceBegan():
                yield f"103 {record.user_id}"
            case commands.PresenceEnded():
                yield f"104 {record.user_id} {int(record.reason)}"
            case commands.RoleChanged():
                yield f"105 {record.user_id} {int(record.role)}"
            case commands.PublicationStarted():
                yield f"{_STARTED[record.stream]} {record.user_id}"
            case commands.PublicationStopped():
                yield f"{_STARTED[record.stream] + 1} {record.user_id}"


def receivers(said: Iterable[Command], track_id: str) -> list[str]:
    """Sessions that the media node is told to send the track to."""
    return [one.participant for one in only(media.Subscribe, drives(said)) if one.track == track_id]


def refusals(said: Iterable[Command], session: str) -> list[str]:
    """What requests of the session were answered: ``granted``, or why not."""
    answers = [n for n in notices(said, session) if isinstance(n, commands.Grant | commands.Refuse)]
    return [answer.refusal if isinstance(answer, commands.Refuse) else "granted" for answer in answers]


class Script:
    """Sessions are named after their users: ``alice``, then ``alice+``, ``alice++`` when the user comes again."""

    def __init__(self, scene: str = "rtc", limits: Limits | None = None) -> None:
        self.now_ms = BEGIN_MS
        self.room = Room(SID, self.now_ms, rules_of(scene, limits or Limits()))
        self._sessions: dict[str, str] = {}

    def do(self, fact: facts.Fact) -> list[Command]:
        return self.room.handle(fact, self.now_ms)

    def wait(self, ms: int) -> list[Command]:
        """Time passes, with a ``TimePassed`` at every deadline on the way."""
        end, said = self.now_ms + ms, list[Command]()
        while (deadline := self.room.deadline()) is not None and deadline <= end:
            assert deadline >= self.now_ms, "a deadline that was past already"
            self.now_ms = deadline
            said += self.do(facts.TimePassed())
            assert self.room.deadline() != deadline, "a deadline that nothing came of"
        self.now_ms = end
        return said

    def enter(self, user_id: str, role: Role = Role.ANCHOR, **more: object) -> list[Command]:
        session = self._sessions[user_id] = self._sessions[user_id] + "+" if user_id in self._sessions else user_id
        return self.do(entered(session, user_id, role, **more))

    def audience(self, user_id: str, **more: object) -> list[Command]:
        return self.enter(user_id, Role.AUDIENCE, **more)

    def leave(self, user_id: str) -> list[Command]:
        return self.do(facts.LeftRoom(self._sessions[user_id]))

    def switch(self, user_id: str, role: Role) -> list[Command]:
        return self.do(facts.RoleChosen(self._sessions[user_id], role, 7))

    def announce(self, user_id: str, one: Track) -> list[Command]:
        return self.do(facts.TrackAdded(self._sessions[user_id], one))

    def publish(self, user_id: str, source: Source = "camera", track_id: str = "", **more: object) -> list[Command]:
        """Announce a track (named ``alice-camera``) and let its first packet come, if it was accepted."""
        one = track(track_id or f"{user_id}-{source}", source, **more)
        session = self._sessions[user_id]
        return [*self.announce(user_id, one), *self.do(facts.MediaStarted(session, one.track_id, one.codec))]

    def mute(self, user_id: str, track_id: str, muted: bool = True) -> list[Command]:
        return self.do(facts.TrackMuted(self._sessions[user_id], track_id, muted))

    def block(self, user_id: str, *kinds: Kind) -> list[Command]:
        return self.do(facts.UserBlockedSet(user_id, frozenset(kinds)))

    def participant(self, user_id: str) -> Participant:
        return self.room.participants[user_id]

    def restart(self) -> "Script":
        """The server stops and starts: what is durable comes back, without sessions."""
        found = [
            Participant(p.presence, "", p.user_id, p.role, p.device, p.joined_ms, sending=set(p.sending))
            for p in self.room.participants.values()
        ]
        again, state = Script.__new__(Script), self.room.state
        again.now_ms, again._sessions = self.now_ms, self._sessions
        again.room = Room(SID, state.created_ms, state.rules)
        again.room.restore(found, self.now_ms, blocked=dict(state.blocked), metadata=state.metadata)
        return again
