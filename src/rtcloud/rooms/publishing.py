"""Tracks of a room: announced, started, muted, ended, and what callbacks hear of it.

A publication is reported as started when somebody could receive it (its media came, nobody silenced it) and as
stopped when that ends, unless its user leaves: callback 104 alone says both.
"""

from collections.abc import Iterator

from rtcloud.media import node as media
from rtcloud.rooms import facts, showing, subscribing
from rtcloud.rooms.commands import (
    AcceptTrack,
    Command,
    Drive,
    DropTrack,
    Notify,
    PublicationStarted,
    PublicationStopped,
    Refusal,
    RefuseTrack,
    SilenceTrack,
)
from rtcloud.rooms.participant import Participant, Stream, Track
from rtcloud.rooms.state import RoomState


def add(state: RoomState, participant: Participant, track: Track, now_ms: int) -> Iterator[Command]:
    refusal = _refusal(state, participant, track)
    if refusal is not None:
        yield Notify(participant.participant_id, RefuseTrack(track.cid, refusal))
        yield Notify(participant.participant_id, DropTrack(track.track_id))
        return
    too_many = not track.muted and _is_one_speaker_too_many(state, participant, track)
    if too_many:
        track.muted = True
    participant.tracks[track.track_id] = track
    state.publishers[track.track_id] = participant
    layers = [media.Layer(rid=la.rid, width=la.width, height=la.height, bitrate=la.bitrate) for la in track.layers]
    yield Drive(
        media.PublishTrack(
            room=state.sid,
            participant=participant.participant_id,
            track=track.track_id,
            cid=track.cid,
            kind=track.kind,
            stream=track.right,
            codec=_preferred(track),
            layers=layers,
            muted=track.muted,
        )
    )
    yield Notify(participant.participant_id, AcceptTrack(track.cid, track))
    if too_many:
        yield Notify(participant.participant_id, SilenceTrack(track.track_id))
    yield from showing.show(state, participant, now_ms)


def mute(state: RoomState, participant: Participant, track_id: str, muted: bool, now_ms: int) -> Iterator[Command]:
    track = participant.tracks.get(track_id)
    if track is None or track.muted == muted:
        return
    if not muted and _is_one_speaker_too_many(state, participant, track):
        yield Notify(participant.participant_id, SilenceTrack(track_id))
        return
    track.muted = muted
    yield Drive(media.MuteTrack(room=state.sid, track=track_id, muted=muted))
    yield from showing.show(state, participant, now_ms)
    if track.started:
        yield from report(participant, track.publication)


def describe(state: RoomState, participant: Participant, fact: facts.TrackDescribed, now_ms: int) -> Iterator[Command]:
    track = participant.tracks.get(fact.track_id)
    if track is None:
        return
    before = track.width, track.height, track.features
    if track.kind == "audio":
        track.features = fact.features
    elif fact.width and fact.height:
        track.width, track.height = fact.width, fact.height
    if before != (track.width, track.height, track.features):
        yield from showing.show(state, participant, now_ms)


def remove(state: RoomState, participant: Participant, track_id: str, now_ms: int) -> Iterator[Command]:
    track = participant.tracks.get(track_id)
    if track is None:
        return
    yield from forget(state, participant, track)
    yield Drive(media.UnpublishTrack(room=state.sid, participant=participant.participant_id, track=track_id))
    yield Notify(participant.participant_id, DropTrack(track_id))
    yield from showing.show(state, participant, now_ms)
    yield from report(participant, track.publication)


def remove_all(state: RoomState, participant: Participant, now_ms: int) -> Iterator[Command]:
    """It may not publish any more; what an earlier session of it was sending will not come back either."""
    for track_id in tuple(participant.tracks):
        yield from remove(state, participant, track_id, now_ms)
    yield from stop_absent(participant)


def forget(state: RoomState, participant: Participant, track: Track) -> Iterator[Command]:
    yield from subscribing.forget(state, participant, track)
    del participant.tracks[track.track_id], state.publishers[track.track_id]


def media_started(
    state: RoomState, participant: Participant, track_id: str, codec: str, now_ms: int
) -> Iterator[Command]:
    track = participant.tracks.get(track_id)
    if track is None or track.started:
        return
    track.started = True
    if codec and codec != track.codec:
        track.codec = codec
        yield from showing.show(state, participant, now_ms)
    yield from report(participant, track.publication)
    for other in tuple(state.sessions.values()):
        if other is not participant:
            yield from subscribing.if_wanted(state, other, participant, track)


def report(participant: Participant, stream: Stream | None) -> Iterator[Command]:
    """What callbacks hear of the publication as it is now; one user's two cameras are one."""
    if stream is None or participant.is_sending(stream) == (stream in participant.sending):
        return
    if stream in participant.sending:
        participant.sending.discard(stream)
        yield PublicationStopped(participant.presence, participant.user_id, stream)
    else:
        participant.sending.add(stream)
        yield PublicationStarted(participant.presence, participant.user_id, stream)


def stop_absent(participant: Participant) -> Iterator[Command]:
    """What an earlier session was sending and this one does not."""
    participant.return_deadline_ms = None
    for stream in sorted(participant.sending):
        yield from report(participant, stream)


def _preferred(track: Track) -> str:
    """Sound is asked for with redundancy, unless its publisher will not send any."""
    return "red" if track.codec == "opus" and not track.disable_red else track.codec


def _refusal(state: RoomState, participant: Participant, track: Track) -> Refusal | None:
    if not participant.publishes(track):
        return "not_allowed"
    if track.publication == "aux" and state.rules.screens:
        sharing = sum(bool(p.tracks_of("aux")) for p in state.participants.values() if p is not participant)
        if sharing >= state.rules.screens:
            return "screen_taken"
    return None


def _is_one_speaker_too_many(state: RoomState, participant: Participant, track: Track) -> bool:
    """Were the track heard."""
    if track.publication != "audio" or not state.rules.speakers or participant.robot:
        return False
    return sum(p is not participant for p in state.speakers()) >= state.rules.speakers
