"""One room as a state machine: ``handle(fact, now_ms)`` returns what is to be done, in order.

Pure: no clock, no randomness (new ids come inside facts), no database. The shell (``rooms/service.py``) sends
``Drive`` to the media node at once, writes the records of a batch in one transaction, and only then delivers the
notices: nobody hears of anything that is not durable.

Invariants
- one participant per user id; the same user entering again takes over the presence and the earlier session ends;
- a track is subscribed only after its first media packet, by everybody who wants it;
- a presence that was begun is ended exactly once; its end closes its publications (callback 104 alone).
"""

from collections.abc import Iterator

from rtcloud.callbacks.events import ExitReason
from rtcloud.media import node as media
from rtcloud.rooms import facts
from rtcloud.rooms.facts import Command, Drive, Fact, Notify
from rtcloud.rooms.participant import Participant, Stream, Track
from rtcloud.rooms.quality import grade

#: A user whose connection is lost is given up after this long (guides: 90 s).
LOST_AFTER_MS = 90_000
#: A user who came back in a new session has this long to publish again what it was sending.
RETURN_WITHIN_MS = 10_000
#: Changes of quality wait this long for others to go with.
QUALITY_WITHIN_MS = 1_000


class Room:
    """``sid`` is the media node's and the database's name of this life of the room."""

    def __init__(self, sid: str, created_ms: int) -> None:
        self.sid = sid
        self.created_ms = created_ms
        self.participants: dict[str, Participant] = {}  # by user id, in order of entry
        self.sessions: dict[str, Participant] = {}  # by participant id
        self.begun = False
        self.destroyed = False
        # changed qualities, told together at ``_quality_due_ms``: a notice for each would be n² in a big room
        self._qualities: dict[str, tuple[int, float]] = {}
        self._quality_due_ms: int | None = None

    def handle(self, fact: Fact, now_ms: int) -> list[Command]:
        if self.destroyed:
            return []
        return list(self._handle(fact, now_ms))

    def deadline(self) -> int | None:
        """When, in Unix ms, ``TimePassed`` has something to do."""
        times = [
            t for p in self.participants.values() for t in (p.lost_deadline_ms, p.return_deadline_ms) if t is not None
        ]
        if self._quality_due_ms is not None:
            times.append(self._quality_due_ms)
        return min(times, default=None)

    def restore(self, participants: list[Participant], now_ms: int) -> None:
        """Presences found open at start: their users have 90 s to come back."""
        self.begun = True
        for participant in participants:
            participant.lost_deadline_ms = now_ms + LOST_AFTER_MS
            self.participants[participant.user_id] = participant

    def _handle(self, fact: Fact, now_ms: int) -> Iterator[Command]:
        match fact:
            case facts.Entered():
                yield from self._enter(fact, now_ms)
            case facts.UsersRemoved(user_ids):
                for user_id in user_ids:
                    if (participant := self.participants.get(user_id)) is not None:
                        yield from self._end(participant, ExitReason.REMOVED, "removed")
                yield from self._destroy_if_empty()
            case facts.RoomDismissed():
                yield from self._end_all(ExitReason.REMOVED, "dismissed")
            case facts.MediaFailed():
                yield from self._end_all(ExitReason.KILLED, "failed")
            case facts.TimePassed():
                yield from self._expire(now_ms)
            case _:
                participant = self.sessions.get(fact.participant_id)
                if participant is not None:
                    yield from self._handle_session(participant, fact, now_ms)

    def _handle_session(self, participant: Participant, fact: Fact, now_ms: int) -> Iterator[Command]:
        match fact:
            case facts.Resumed():
                participant.lost_deadline_ms = None
                others = tuple(p for p in self.participants.values() if p is not participant and p.participant_id)
                yield Notify(participant.participant_id, facts.Confirm(participant, others))
            case facts.SocketLost():
                participant.lost_deadline_ms = now_ms + LOST_AFTER_MS
            case facts.LeftRoom():
                yield from self._end(participant, ExitReason.NORMAL, "left")
                yield from self._destroy_if_empty()
            case facts.TrackAdded(_, track):
                yield from self._add_track(participant, track)
            case facts.TrackMuted(_, track_id, muted):
                yield from self._mute(participant, track_id, muted)
            case facts.TrackRemoved(_, track_id):
                yield from self._remove_track(participant, track_id)
            case facts.SubscriptionChosen(_, track_ids, subscribe):
                yield from self._choose(participant, track_ids, subscribe)
            case facts.SubscriptionSized():
                for track_id in fact.track_ids:
                    if track_id in participant.subscribed:
                        yield self._size(participant, track_id, fact)
            case facts.MediaStarted(_, track_id, codec):
                yield from self._media_started(participant, track_id, codec)
            case facts.Receiving(_, track_id, width, height):
                owner, found = self._find(track_id)
                if owner is not None and found is not None and found.publication not in (None, "audio"):
                    yield self._receives(participant, owner, found, width, height, width > 0)
            case facts.QualityMeasured():
                self._measure(participant, fact, now_ms)

    # entering and leaving -----------------------------------------------------------------------------------------

    def _enter(self, fact: facts.Entered, now_ms: int) -> Iterator[Command]:
        earlier = self.participants.get(fact.user_id)
        if earlier is not None:
            yield from self._end_session(earlier, "duplicate")
        participant = Participant(
            presence=earlier.presence if earlier is not None else fact.participant_id,
            participant_id=fact.participant_id,
            user_id=fact.user_id,
            role=fact.role,
            device=fact.device,
            joined_ms=earlier.joined_ms if earlier is not None else now_ms,
            permission=fact.permission,
            name=fact.name,
            metadata=fact.metadata,
            attributes=dict(fact.attributes),
            robot=fact.robot,
            auto_subscribe=fact.auto_subscribe,
            sending=earlier.sending if earlier is not None else set(),
        )
        if participant.sending:
            participant.return_deadline_ms = now_ms + RETURN_WITHIN_MS
        if not self.begun:
            self.begun = True
            yield facts.RoomCreated(fact.user_id)
        if earlier is None:
            yield facts.PresenceBegan(participant.presence, fact.user_id, fact.role, fact.device)
        self.participants[fact.user_id] = participant
        self.sessions[fact.participant_id] = participant
        yield Drive(
            media.AddParticipant(
                room=self.sid, participant=fact.participant_id, identity=fact.user_id, single=fact.single
            )
        )
        others = tuple(p for p in self.participants.values() if p is not participant and p.participant_id)
        yield Notify(fact.participant_id, facts.Welcome(self.sid, participant, others, self.created_ms))
        known = tuple((other.participant_id, *other.quality) for other in others if other.quality is not None)
        if known:
            yield Notify(fact.participant_id, facts.ShowQuality(known))
        yield from self._show(participant)
        for other in others:
            for track in other.tracks.values():
                yield from self._subscribe_if_wanted(participant, other, track)

    def _end_session(self, participant: Participant, cause: facts.LeaveCause) -> Iterator[Command]:
        """The session is over; the presence may go on."""
        session = participant.participant_id
        if not session:  # restored from the database, not yet back
            return
        for track_id in tuple(participant.tracks):
            yield from self._forget_track(participant, track_id)
        for track_id in tuple(participant.subscribed):
            yield from self._close_subscription(participant, track_id)
        participant.subscribed.clear()
        self.sessions.pop(session, None)
        participant.participant_id = ""
        yield Drive(media.RemoveParticipant(room=self.sid, participant=session))
        yield Notify(session, facts.Dismiss(cause))
        notice = facts.ShowParticipants(gone=((session, participant.user_id),))
        for other in tuple(self.sessions):
            yield Notify(other, notice)

    def _end(self, participant: Participant, reason: ExitReason, cause: facts.LeaveCause) -> Iterator[Command]:
        yield from self._end_session(participant, cause)
        del self.participants[participant.user_id]
        yield facts.PresenceEnded(participant.presence, participant.user_id, participant.role, reason)

    def _end_all(self, reason: ExitReason, cause: facts.LeaveCause) -> Iterator[Command]:
        for participant in tuple(self.participants.values()):
            yield from self._end(participant, reason, cause)
        yield from self._destroy_if_empty()

    def _destroy_if_empty(self) -> Iterator[Command]:
        if not self.participants and self.begun:
            self.destroyed = True
            yield Drive(media.CloseRoom(room=self.sid))
            yield facts.RoomDestroyed()

    def _expire(self, now_ms: int) -> Iterator[Command]:
        if self._quality_due_ms is not None and self._quality_due_ms <= now_ms:
            yield from self._show_qualities()
        for participant in tuple(self.participants.values()):
            if participant.lost_deadline_ms is not None and participant.lost_deadline_ms <= now_ms:
                yield from self._end(participant, ExitReason.TIMEOUT, "timed_out")
            elif participant.return_deadline_ms is not None and participant.return_deadline_ms <= now_ms:
                participant.return_deadline_ms = None
                for stream in sorted(participant.sending):
                    track = participant.track_of(stream)
                    if track is None or track.muted:
                        yield from self._stop_sending(participant, stream)
        yield from self._destroy_if_empty()

    # publishing ---------------------------------------------------------------------------------------------------

    def _add_track(self, participant: Participant, track: Track) -> Iterator[Command]:
        if not participant.permission.publishes(track.source):
            yield Notify(participant.participant_id, facts.DropTrack(track.track_id))
            return
        participant.tracks[track.track_id] = track
        yield Drive(
            media.PublishTrack(
                room=self.sid,
                participant=participant.participant_id,
                track=track.track_id,
                cid=track.cid,
                kind=track.kind,
                codec=track.codec,
                layers=[
                    media.Layer(rid=layer.rid, width=layer.width, height=layer.height, bitrate=layer.bitrate)
                    for layer in track.layers
                ],
                muted=track.muted,
            )
        )
        yield Notify(participant.participant_id, facts.AcceptTrack(track.cid, track))
        yield from self._show(participant)

    def _mute(self, participant: Participant, track_id: str, muted: bool) -> Iterator[Command]:
        track = participant.tracks.get(track_id)
        if track is None or track.muted == muted:
            return
        track.muted = muted
        yield Drive(media.MuteTrack(room=self.sid, track=track_id, muted=muted))
        yield from self._show(participant)
        if (stream := track.publication) is not None and track.started:
            if muted:
                yield from self._stop_sending(participant, stream)
            else:
                yield from self._start_sending(participant, stream)

    def _remove_track(self, participant: Participant, track_id: str) -> Iterator[Command]:
        track = participant.tracks.get(track_id)
        if track is None:
            return
        yield from self._forget_track(participant, track_id)
        yield Drive(media.UnpublishTrack(room=self.sid, participant=participant.participant_id, track=track_id))
        yield Notify(participant.participant_id, facts.DropTrack(track_id))
        yield from self._show(participant)
        if track.publication is not None:
            yield from self._stop_sending(participant, track.publication)

    def _forget_track(self, participant: Participant, track_id: str) -> Iterator[Command]:
        for other in self.participants.values():
            if track_id in other.subscribed:
                yield from self._close_subscription(other, track_id)
                other.subscribed.discard(track_id)
            other.choices.pop(track_id, None)
        participant.tracks.pop(track_id, None)

    def _media_started(self, participant: Participant, track_id: str, codec: str) -> Iterator[Command]:
        track = participant.tracks.get(track_id)
        if track is None or track.started:
            return
        track.started = True
        if codec and codec != track.codec:
            track.codec = codec
            yield from self._show(participant)
        if (stream := track.publication) is not None and not track.muted:
            yield from self._start_sending(participant, stream)
        for other in tuple(self.sessions.values()):
            if other is not participant:
                yield from self._subscribe_if_wanted(other, participant, track)

    def _start_sending(self, participant: Participant, stream: Stream) -> Iterator[Command]:
        if stream not in participant.sending:
            participant.sending.add(stream)
            yield facts.PublicationStarted(participant.presence, participant.user_id, stream)

    def _stop_sending(self, participant: Participant, stream: Stream) -> Iterator[Command]:
        if stream in participant.sending:
            participant.sending.discard(stream)
            yield facts.PublicationStopped(participant.presence, participant.user_id, stream)

    # subscribing --------------------------------------------------------------------------------------------------

    def _subscribe_if_wanted(self, subscriber: Participant, owner: Participant, track: Track) -> Iterator[Command]:
        if not track.started or track.track_id in subscriber.subscribed or not subscriber.wants(track):
            return
        first = not any(track.track_id in p.subscribed for p in self.sessions.values())
        subscriber.subscribed.add(track.track_id)
        yield Drive(media.Subscribe(room=self.sid, participant=subscriber.participant_id, track=track.track_id))
        if track.publication == "audio":
            yield self._receives(subscriber, owner, track, 0, 0, True)
        if first:
            yield Notify(owner.participant_id, facts.TellPublisher(track.track_id))

    def _choose(self, participant: Participant, track_ids: tuple[str, ...], subscribe: bool) -> Iterator[Command]:
        for track_id in track_ids:
            owner, track = self._find(track_id)
            if owner is None or track is None or owner is participant:
                continue
            participant.choices[track_id] = subscribe
            if subscribe:
                yield from self._subscribe_if_wanted(participant, owner, track)
            elif track_id in participant.subscribed:
                yield from self._close_subscription(participant, track_id)
                participant.subscribed.discard(track_id)
                yield Drive(media.Unsubscribe(room=self.sid, participant=participant.participant_id, track=track_id))

    def _size(self, participant: Participant, track_id: str, fact: facts.SubscriptionSized) -> Drive:
        width, height = fact.width, fact.height
        _, track = self._find(track_id)
        if not (width or height) and track is not None:
            named = (layer for layer in track.layers if layer.quality == fact.quality)
            layer = next(named, None) if fact.quality < 2 else None
            width, height = (layer.width, layer.height) if layer is not None else (0, 0)
        return Drive(
            media.SetSubscription(
                room=self.sid,
                participant=participant.participant_id,
                track=track_id,
                enabled=fact.enabled,
                width=width,
                height=height,
                fps=fact.fps,
            )
        )

    def _close_subscription(self, subscriber: Participant, track_id: str) -> Iterator[Command]:
        owner, track = self._find(track_id)
        if owner is not None and track is not None and track.publication is not None:
            yield self._receives(subscriber, owner, track, 0, 0, False)

    def _receives(
        self, subscriber: Participant, owner: Participant, track: Track, width: int, height: int, receiving: bool
    ) -> facts.SubscriptionChanged:
        stream = track.publication
        assert stream is not None
        return facts.SubscriptionChanged(subscriber.presence, owner.user_id, stream, width, height, receiving)

    def _find(self, track_id: str) -> tuple[Participant | None, Track | None]:
        for participant in self.participants.values():
            if (track := participant.tracks.get(track_id)) is not None:
                return participant, track
        return None, None

    # telling ------------------------------------------------------------------------------------------------------

    def _show(self, participant: Participant) -> Iterator[Command]:
        participant.version += 1
        notice = facts.ShowParticipants(changed=(participant,))
        for session in tuple(self.sessions):
            yield Notify(session, notice)

    def _measure(self, participant: Participant, fact: facts.QualityMeasured, now_ms: int) -> None:
        measured = grade(max(fact.uplink_loss, fact.downlink_loss), fact.rtt_ms)
        if participant.quality is not None and measured.livekit == participant.quality[0]:
            return
        participant.quality = self._qualities[participant.participant_id] = (measured.livekit, measured.score)
        if self._quality_due_ms is None:
            self._quality_due_ms = now_ms + QUALITY_WITHIN_MS

    def _show_qualities(self) -> Iterator[Command]:
        changed = {session: quality for session, quality in self._qualities.items() if session in self.sessions}
        self._qualities.clear()
        self._quality_due_ms = None
        notice = facts.ShowQuality(tuple((session, *quality) for session, quality in changed.items()))
        for session in tuple(self.sessions) if changed else ():
            yield Notify(session, notice)
