"""Who watches a room and believes nothing: a second account of it, kept only from what goes in and what comes out.

Clients are known to it as livekit's clients know each other: by identity. So it also sees whether somebody is told of
a track before it is subscribed, and not made to forget it after.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.commands import Command, Drive, Notify
from rtcloud.rooms.participant import Kind, Participant, Permission, Role, Track
from rtcloud.rooms.scenes import Rules

_KIND_OF: dict[str, Kind] = {"audio": "audio", "video": "video", "aux": "video"}


@dataclass
class Seen:
    """One session, as it came in and was told."""

    user_id: str
    fact: facts.Entered
    permission: Permission
    audience: dict[str, frozenset[str] | None] | None = None
    tracks: dict[str, Track] = field(default_factory=dict)  # accepted ones, as announced
    muted: dict[str, bool] = field(default_factory=dict)
    started: set[str] = field(default_factory=set)
    choices: dict[str, bool] = field(default_factory=dict)
    subscribed: set[str] = field(default_factory=set)
    #: by user id: the session it knows and that one's tracks
    known: dict[str, tuple[str, frozenset[str]]] = field(default_factory=dict)


class Witness:
    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.created = self.destroyed = False
        self.roles: dict[str, Role] = {}  # of open presences, by user id
        self.robots: set[str] = set()
        self.presences: dict[str, str] = {}
        self.sending: dict[str, set[str]] = {}
        self.returning: dict[str, int] = {}  # until when what an earlier session sent may come back
        self.blocked: dict[str, frozenset[Kind]] = {}
        self.receiving: set[tuple[str, str, str]] = set()  # (presence, publisher, stream) written down and not ended
        self.sessions: dict[str, Seen] = {}
        self.over: set[str] = set()

    def restart(self) -> None:
        self.over |= self.sessions.keys()
        self.sessions.clear()
        self.returning.clear()
        self.receiving.clear()

    # what goes in -------------------------------------------------------------------------------------------------

    def watch(self, fact: facts.Fact, said: Iterable[Command], now_ms: int) -> None:
        """One fact, and all that was said to it."""
        said = list(said)
        assert not (self.destroyed and said), "something after the end"
        was_destroyed = self.destroyed
        self._take_in(fact)
        for command in said:
            match command:
                case Drive(order):
                    self._driven(order, fact)
                case Notify(session, notice):
                    self._told(session, notice, fact)
                case _:
                    self._recorded(command, fact, now_ms)
        if not was_destroyed:
            self._look_round(now_ms)

    def _take_in(self, fact: facts.Fact) -> None:
        match fact:
            case facts.AudienceChosen(session, audience) if session in self.sessions:
                self.sessions[session].audience = audience
            case facts.KeyReplaced(session, permission) if session in self.sessions:
                self.sessions[session].permission = permission
            case facts.SubscriptionChosen(session, track_ids, subscribe) if session in self.sessions:
                present = {track for seen in self.sessions.values() for track in seen.tracks}
                own = self.sessions[session].tracks
                for track_id in track_ids:
                    if track_id in present and track_id not in own:
                        self.sessions[session].choices[track_id] = subscribe
            case facts.MediaStarted(session, track_id) if session in self.sessions:
                if track_id in self.sessions[session].tracks:
                    self.sessions[session].started.add(track_id)

    # what comes out -----------------------------------------------------------------------------------------------

    def _driven(self, order: media.AnyCommand, fact: facts.Fact) -> None:
        match order:
            case media.AddParticipant(participant=session):
                assert isinstance(fact, facts.Entered)
                assert session == fact.participant_id
                assert session not in self.sessions
                assert session not in self.over
                assert fact.user_id not in {seen.user_id for seen in self.sessions.values()}, "two sessions of one user"
                self.sessions[session] = Seen(fact.user_id, fact, fact.permission)
            case media.RemoveParticipant(participant=session):
                seen = self.sessions.pop(session)
                self.over.add(session)
                for other in self.sessions.values():
                    self._forget(other, seen.tracks)
            case media.PublishTrack(participant=session, track=track_id):
                assert isinstance(fact, facts.TrackAdded)
                seen = self.sessions[session]
                assert self.roles[seen.user_id] == Role.ANCHOR, "one of the audience publishes"
                assert seen.permission.publishes(fact.track.source), "published without the right"
                seen.tracks[track_id] = fact.track
                seen.muted[track_id] = order.muted
            case media.UnpublishTrack(participant=session, track=track_id):
                del self.sessions[session].tracks[track_id]
                self.sessions[session].started.discard(track_id)
                for other in self.sessions.values():
                    self._forget(other, {track_id})
            case media.MuteTrack(track=track_id, muted=muted):
                owner = next(seen for seen in self.sessions.values() if track_id in seen.tracks)
                owner.muted[track_id] = muted
            case media.Subscribe(participant=session, track=track_id):
                seen = self.sessions[session]
                assert track_id not in seen.subscribed
                owner = next(one for one in self.sessions.values() if track_id in one.tracks)
                assert owner is not seen
                assert track_id in owner.started
                seen.subscribed.add(track_id)
                self._knows(seen, track_id)
            case media.Unsubscribe(participant=session, track=track_id):
                self.sessions[session].subscribed.remove(track_id)

    @staticmethod
    def _forget(seen: Seen, track_ids: Iterable[str]) -> None:
        for track_id in track_ids:
            seen.subscribed.discard(track_id)
            seen.choices.pop(track_id, None)

    def _told(self, session: str, notice: commands.Notice, fact: facts.Fact) -> None:
        if isinstance(notice, commands.Dismiss):
            refused = isinstance(fact, facts.Entered) and fact.participant_id == session
            assert refused != (session in self.over), f"{session} is dismissed without being removed"
            assert session not in self.sessions
            self.over.add(session)
            return
        assert session in self.sessions, f"{session} is told {notice} and is not there"
        seen = self.sessions[session]
        match notice:
            case commands.Welcome(_, _, others):
                self._learn(seen, others)
            case commands.ShowParticipants(changed, gone):
                for _, user_id in gone:
                    seen.known.pop(user_id, None)
                self._learn(seen, changed)

    @staticmethod
    def _learn(seen: Seen, participants: Iterable[Participant]) -> None:
        for one in participants:
            if one.participant_id and one.user_id != seen.user_id:
                seen.known[one.user_id] = (one.participant_id, frozenset(one.tracks))

    def _recorded(self, record: commands.Record, fact: facts.Fact, now_ms: int) -> None:
        assert not self.destroyed, "a record after the room's end"
        assert self.created != isinstance(record, commands.RoomCreated), "the room's beginning is not the first"
        match record:
            case commands.RoomCreated():
                self.created = True
            case commands.RoomDestroyed():
                assert not self.presences, "destroyed with people in it"
                self.destroyed = True
            case commands.PresenceBegan(presence, user_id, role):
                assert isinstance(fact, facts.Entered)
                assert user_id not in self.presences
                self.presences[user_id], self.roles[user_id], self.sending[user_id] = presence, role, set()
                self.robots.discard(user_id)
                if fact.robot:
                    self.robots.add(user_id)
            case commands.PresenceEnded(presence, user_id, role):
                assert self.presences.pop(user_id) == presence
                assert self.roles.pop(user_id) == role
                del self.sending[user_id]
                self.returning.pop(user_id, None)
                self.receiving = {one for one in self.receiving if one[0] != presence}
            case commands.RoleChanged(presence, user_id, role):
                assert self.presences[user_id] == presence
                assert self.roles[user_id] != role
                assert role == Role.ANCHOR or not self.sending[user_id], "audience before it stopped sending"
                self.roles[user_id] = role
            case commands.PublicationStarted(presence, user_id, stream):
                assert self.presences[user_id] == presence
                assert stream not in self.sending[user_id]
                self.sending[user_id].add(stream)
            case commands.PublicationStopped(presence, user_id, stream):
                assert self.presences[user_id] == presence
                self.sending[user_id].remove(stream)
            case commands.UserBlocked(user_id, kinds):
                self.blocked[user_id] = kinds
            case commands.SubscriptionChanged(presence, publisher, stream):
                assert presence in self.presences.values()
                self.receiving.discard((presence, publisher, stream))
                if record.receiving:
                    self.receiving.add((presence, publisher, stream))
        if isinstance(fact, facts.Entered) and isinstance(record, commands.PresenceBegan | commands.RoleChanged):
            return
        self.returning = {user: until for user, until in self.returning.items() if until > now_ms}

    # what must be so between two facts ----------------------------------------------------------------------------

    def came_again(self, user_id: str, until_ms: int) -> None:
        if self.sending.get(user_id):
            self.returning[user_id] = until_ms

    def _look_round(self, now_ms: int) -> None:
        for session, seen in self.sessions.items():
            self._look_at_subscriptions(session, seen)
            self._look_at_publications(seen, now_ms)
        self._look_at_limits()
        received = {
            (self.presences[seen.user_id], owner.user_id, track.publication)
            for seen in self.sessions.values()
            for owner in self.sessions.values()
            for track_id, track in owner.tracks.items()
            if track_id in seen.subscribed
        }
        assert self.receiving <= received, f"{self.receiving - received} is received by the record only"

    def _look_at_subscriptions(self, session: str, seen: Seen) -> None:
        due = set()
        for owner in self.sessions.values():
            if owner is seen or owner.fact.hidden:
                continue
            for track_id in owner.started:
                allowed = owner.audience is None or seen.fact.robot
                if not allowed and owner.audience is not None and seen.user_id in owner.audience:
                    named = owner.audience[seen.user_id]
                    allowed = named is None or track_id in named
                wanted = seen.choices.get(track_id, seen.fact.auto_subscribe)
                if allowed and wanted and seen.permission.receives(owner.tracks[track_id].source):
                    due.add(track_id)
        assert seen.subscribed == due, f"{session} receives {seen.subscribed}, not {due}"
        for track_id in seen.subscribed:
            self._knows(seen, track_id)

    def _knows(self, seen: Seen, track_id: str) -> None:
        owner = next(session for session, one in self.sessions.items() if track_id in one.tracks)
        known = seen.known.get(self.sessions[owner].user_id)
        assert known is not None, f"{seen.user_id} is sent a track of somebody unknown"
        assert known[0] == owner, f"{seen.user_id} is sent a track of a session it does not know"
        assert track_id in known[1], f"{seen.user_id} is sent a track it was not told of"

    def _look_at_publications(self, seen: Seen, now_ms: int) -> None:
        blocked = self.blocked.get(seen.user_id, frozenset())
        heard: set[str] = {
            track.publication
            for track_id, track in seen.tracks.items()
            if track.publication and track_id in seen.started and not seen.muted[track_id] and track.kind not in blocked
        }
        reported = self.sending[seen.user_id]
        assert heard <= reported, f"{heard} of {seen.user_id} is not reported, only {reported}"
        if self.returning.get(seen.user_id, 0) <= now_ms:
            assert reported == heard, f"{reported} of {seen.user_id} is reported, not {heard}"

    def _look_at_limits(self) -> None:
        people = {user for user in self.presences if user not in self.robots}
        anchors = sum(self.roles[user] == Role.ANCHOR for user in people)
        if self.rules.has_audience:
            assert anchors <= self.rules.anchors
            assert len(people) <= self.rules.anchors + self.rules.audience  # whoever steps down joins a full audience
        else:
            assert len(people) <= self.rules.anchors
        speakers = [
            seen
            for seen in self.sessions.values()
            if seen.user_id not in self.robots
            and any(t.publication == "audio" and not seen.muted[track_id] for track_id, t in seen.tracks.items())
        ]
        assert not self.rules.speakers or len(speakers) <= self.rules.speakers
        sharing = sum(any(t.publication == "aux" for t in s.tracks.values()) for s in self.sessions.values())
        assert sharing <= self.rules.screens
