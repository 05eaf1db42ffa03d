"""One room as a state machine: ``handle(fact, now_ms)`` returns what is to be done, in order.

Pure: no clock, no randomness (new ids come inside facts), no database. The shell (``rooms/running.py``) sends
``Drive`` to the media node at once, writes the records of a batch in one transaction, and only then delivers the
notices: nobody hears of anything that is not durable.

Invariants
- one participant per user id; the same user entering again takes over the presence and the earlier session ends;
- a track is subscribed only after its first media packet, by everybody who wants it and may;
- a presence that was begun is ended exactly once; its end closes its publications (callback 104 alone).
"""

from collections.abc import Iterator, Mapping

from rtcloud.callbacks.events import ExitReason
from rtcloud.rooms import entering, facts, publishing, rights, showing, subscribing
from rtcloud.rooms.commands import Command, Confirm, LeaveCause, Notify, RoomMetadataChanged, ShowRoom
from rtcloud.rooms.facts import Fact
from rtcloud.rooms.participant import Kind, Participant, Role
from rtcloud.rooms.scenes import CALL, Rules
from rtcloud.rooms.state import RoomState

#: A user whose connection is lost is given up after this long (guides: 90 s).
LOST_AFTER_MS = 90_000


class Room:
    """One life of a room. Its parts: entering, publishing, subscribing, rights, showing."""

    def __init__(self, sid: str, created_ms: int, rules: Rules = CALL) -> None:
        self.state = RoomState(sid, created_ms, rules)

    @property
    def sid(self) -> str:
        return self.state.sid

    @property
    def created_ms(self) -> int:
        return self.state.created_ms

    @property
    def participants(self) -> dict[str, Participant]:
        return self.state.participants

    @property
    def sessions(self) -> dict[str, Participant]:
        return self.state.sessions

    @property
    def destroyed(self) -> bool:
        return self.state.destroyed

    def give_up(self) -> None:
        """It cannot go on; nothing follows."""
        self.state.destroyed = True

    def refusal(self, user_id: str, role: Role, *, robot: bool, may_create: bool) -> LeaveCause | None:
        """Why somebody would not get in now."""
        return entering.refusal(self.state, user_id, role, robot=robot, may_create=may_create)

    def handle(self, fact: Fact, now_ms: int) -> list[Command]:
        if self.destroyed:
            return []
        return list(self._handle(fact, now_ms))

    def is_news(self, fact: facts.QualityMeasured) -> bool:
        """Whether anything follows from it: it comes of everybody, all the time, and mostly says what is known."""
        return showing.is_news(self.state, fact)

    def deadline(self) -> int | None:
        """When, in Unix ms, ``TimePassed`` has something to do."""
        state = self.state
        if state.destroyed:
            return None
        times = [t for p in state.waiting() for t in (p.lost_deadline_ms, p.return_deadline_ms)]
        times += [state.show_due_ms, state.quality_due_ms, state.empty_deadline_ms]
        return min((t for t in times if t is not None), default=None)

    def restore(
        self,
        participants: list[Participant],
        now_ms: int,
        *,
        blocked: Mapping[str, frozenset[Kind]] | None = None,
        metadata: str = "",
    ) -> None:
        """Presences found open at start: their users have 90 s to come back."""
        state = self.state
        state.begun = True
        state.metadata = metadata
        state.blocked = dict(blocked or {})
        for participant in participants:
            participant.lost_deadline_ms = now_ms + LOST_AFTER_MS
            state.awaited[participant.user_id] = None
            participant.blocked = state.blocked.get(participant.user_id, participant.blocked)
            state.participants[participant.user_id] = participant
        if not participants and state.rules.empty_ms:
            state.empty_deadline_ms = now_ms + state.rules.empty_ms

    def _handle(self, fact: Fact, now_ms: int) -> Iterator[Command]:
        state = self.state
        match fact:
            case facts.Entered():
                yield from entering.enter(state, fact, now_ms)
            case facts.UsersRemoved(user_ids):
                for user_id in user_ids:
                    if (participant := state.participants.get(user_id)) is not None:
                        yield from entering.end(state, participant, ExitReason.REMOVED, "removed", now_ms)
                yield from entering.destroy_if_empty(state, now_ms)
            case facts.UserBlockedSet():
                yield from rights.block(state, fact, now_ms)
            case facts.RoomMetadataSet(metadata):
                state.metadata = metadata
                yield RoomMetadataChanged(metadata)
                notice = ShowRoom(metadata, len(state.sessions))
                for session in tuple(state.sessions):
                    yield Notify(session, notice)
            case facts.RoomDismissed():
                yield from entering.end_all(state, ExitReason.REMOVED, "dismissed", now_ms)
            case facts.MediaFailed():
                yield from entering.end_all(state, ExitReason.KILLED, "failed", now_ms)
            case facts.TimePassed():
                yield from self._expire(now_ms)
            case _:
                if (who := state.sessions.get(fact.participant_id)) is not None:
                    yield from self._handle_session(who, fact, now_ms)

    def _handle_session(self, participant: Participant, fact: Fact, now_ms: int) -> Iterator[Command]:
        state = self.state
        match fact:
            case facts.Resumed():
                participant.lost_deadline_ms = None
                yield Notify(participant.participant_id, Confirm(participant, state.others(participant)))
            case facts.SocketLost(_, silent_ms):
                participant.lost_deadline_ms = now_ms - silent_ms + LOST_AFTER_MS
                state.awaited[participant.user_id] = None
            case facts.LeftRoom():
                yield from self._end(participant, ExitReason.NORMAL, "left", now_ms)
            case facts.KeyExpired():
                yield from self._end(participant, ExitReason.REMOVED, "key_expired", now_ms)
            case facts.RoleChosen():
                yield from rights.choose_role(state, participant, fact, now_ms)
            case facts.KeyReplaced():
                yield from rights.replace_key(state, participant, fact, now_ms)
            case facts.ProfileChanged():
                yield from rights.change_profile(state, participant, fact, now_ms)
            case facts.TrackAdded(_, track):
                yield from publishing.add(state, participant, track, now_ms)
            case facts.TrackMuted(_, track_id, muted):
                yield from publishing.mute(state, participant, track_id, muted, now_ms)
            case facts.TrackDescribed():
                yield from publishing.describe(state, participant, fact, now_ms)
            case facts.TrackRemoved(_, track_id):
                yield from publishing.remove(state, participant, track_id, now_ms)
            case facts.MediaStarted(_, track_id, codec):
                yield from publishing.media_started(state, participant, track_id, codec, now_ms)
            case _:
                yield from self._handle_subscriber(participant, fact, now_ms)

    def _handle_subscriber(self, participant: Participant, fact: Fact, now_ms: int) -> Iterator[Command]:
        state = self.state
        match fact:
            case facts.AudienceChosen(_, audience):
                yield from subscribing.admit(state, participant, audience)
            case facts.SubscriptionChosen(_, track_ids, subscribe):
                yield from subscribing.choose(state, participant, track_ids, subscribe)
            case facts.SubscriptionSized():
                for track_id in fact.track_ids:
                    if track_id in participant.subscribed:
                        yield subscribing.size(state, participant, track_id, fact)
            case facts.Receiving(_, track_id, width, height):
                owner, found = state.find(track_id)
                if track_id not in participant.subscribed:
                    return  # said before the media node heard that it ended
                if owner is not None and found is not None and found.publication not in (None, "audio"):
                    yield subscribing.receives(participant, owner, found, width, height, width > 0)
            case facts.QualityMeasured():
                showing.measure(state, participant, fact, now_ms)

    def _end(self, participant: Participant, reason: ExitReason, cause: LeaveCause, now_ms: int) -> Iterator[Command]:
        yield from entering.end(self.state, participant, reason, cause, now_ms)
        yield from entering.destroy_if_empty(self.state, now_ms)

    def _expire(self, now_ms: int) -> Iterator[Command]:
        state = self.state
        if state.show_due_ms is not None and state.show_due_ms <= now_ms:
            yield from showing.flush(state)
        if state.quality_due_ms is not None and state.quality_due_ms <= now_ms:
            yield from showing.show_qualities(state)
        for participant in state.waiting():
            if participant.lost_deadline_ms is not None and participant.lost_deadline_ms <= now_ms:
                yield from entering.end(state, participant, ExitReason.TIMEOUT, "timed_out", now_ms)
            elif participant.return_deadline_ms is not None and participant.return_deadline_ms <= now_ms:
                yield from publishing.stop_absent(participant)
        yield from entering.destroy_if_empty(state, now_ms)
