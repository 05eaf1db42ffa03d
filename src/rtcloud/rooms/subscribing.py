"""Who receives which track: wishes of subscribers, leave of publishers, rights of both.

A track is subscribed only after its first media packet.
"""

from collections.abc import Iterator, Mapping

from rtcloud.media import node as media
from rtcloud.rooms import showing
from rtcloud.rooms.commands import Command, Drive, Notify, ShowAdmission, SubscriptionChanged, TellPublisher
from rtcloud.rooms.facts import SubscriptionSized
from rtcloud.rooms.participant import Participant, Track
from rtcloud.rooms.state import RoomState


def if_wanted(state: RoomState, subscriber: Participant, owner: Participant, track: Track) -> Iterator[Command]:
    if _is_due(subscriber, owner, track):
        yield from showing.before_subscription(state, owner)
        yield from _begin(state, subscriber, owner, track)


def welcome(state: RoomState, participant: Participant) -> Iterator[Command]:
    """What is sent already, to one who was told of everybody just now."""
    for track_id, owner in tuple(state.publishers.items()):
        if _is_due(participant, owner, owner.tracks[track_id]):
            yield from _begin(state, participant, owner, owner.tracks[track_id])


def choose(
    state: RoomState, participant: Participant, track_ids: tuple[str, ...], subscribe: bool
) -> Iterator[Command]:
    for track_id in track_ids:
        owner, track = state.find(track_id)
        if owner is None or track is None or owner is participant:
            continue
        participant.choices[track_id] = subscribe
        if subscribe:
            yield from if_wanted(state, participant, owner, track)
            if not owner.admits(participant, track):
                yield Notify(participant.participant_id, ShowAdmission(owner.participant_id, track_id, False))
        else:
            yield from _stop(state, participant, owner, track)


def by_rights(state: RoomState, participant: Participant) -> Iterator[Command]:
    """Its rights to receive changed."""
    for track_id in tuple(participant.subscribed):
        owner, track = state.find(track_id)
        if owner is not None and track is not None and not participant.permission.receives(track.source):
            yield from _stop(state, participant, owner, track)
    for track_id, owner in tuple(state.publishers.items()):
        yield from if_wanted(state, participant, owner, owner.tracks[track_id])


def admit(
    state: RoomState, owner: Participant, audience: Mapping[str, frozenset[str] | None] | None
) -> Iterator[Command]:
    """The publisher says anew who may receive its tracks."""
    people = [p for p in state.sessions.values() if p is not owner]
    before = {(p.participant_id, t): owner.admits(p, track) for p in people for t, track in owner.tracks.items()}
    owner.audience = audience
    for subscriber in people:
        for track in owner.tracks.values():
            admitted = owner.admits(subscriber, track)
            if admitted == before[subscriber.participant_id, track.track_id]:
                continue
            yield Notify(subscriber.participant_id, ShowAdmission(owner.participant_id, track.track_id, admitted))
            if admitted:
                yield from if_wanted(state, subscriber, owner, track)
            else:
                yield from _stop(state, subscriber, owner, track)


def size(state: RoomState, participant: Participant, track_id: str, fact: SubscriptionSized) -> Drive:
    width, height = fact.width, fact.height
    _, track = state.find(track_id)
    if not (width or height) and track is not None:
        named = (layer for layer in track.layers if layer.quality == fact.quality)
        layer = next(named, None) if fact.quality < 2 else None
        width, height = (layer.width, layer.height) if layer is not None else (0, 0)
    return Drive(
        media.SetSubscription(
            room=state.sid,
            participant=participant.participant_id,
            track=track_id,
            enabled=fact.enabled,
            width=width,
            height=height,
            fps=fact.fps,
        )
    )


def end_all(state: RoomState, subscriber: Participant) -> Iterator[Command]:
    """Its session is over; the media node forgets by itself."""
    for track_id in tuple(subscriber.subscribed):
        owner, track = state.find(track_id)
        if owner is not None and track is not None:
            yield from _close(subscriber, owner, track)


def forget(state: RoomState, owner: Participant, track: Track) -> Iterator[Command]:
    """The track ends: nobody receives it any more."""
    for other in state.participants.values():
        if track.track_id in other.subscribed:
            yield from _close(other, owner, track)
        other.choices.pop(track.track_id, None)


def receives(
    subscriber: Participant, owner: Participant, track: Track, width: int, height: int, receiving: bool
) -> SubscriptionChanged:
    stream = track.publication
    assert stream is not None
    return SubscriptionChanged(subscriber.presence, owner.user_id, stream, width, height, receiving)


def _is_due(subscriber: Participant, owner: Participant, track: Track) -> bool:
    if owner is subscriber or not track.started or track.track_id in subscriber.subscribed:
        return False
    if owner.hidden:  # a client that was not told of the publisher has no place for its track
        return False
    return subscriber.wants(track) and owner.admits(subscriber, track)


def _begin(state: RoomState, subscriber: Participant, owner: Participant, track: Track) -> Iterator[Command]:
    first = not any(track.track_id in p.subscribed for p in state.sessions.values())
    subscriber.subscribed.add(track.track_id)
    yield Drive(media.Subscribe(room=state.sid, participant=subscriber.participant_id, track=track.track_id))
    if track.publication == "audio":
        yield receives(subscriber, owner, track, 0, 0, True)
    if first:
        yield Notify(owner.participant_id, TellPublisher(track.track_id))


def _stop(state: RoomState, subscriber: Participant, owner: Participant, track: Track) -> Iterator[Command]:
    if track.track_id in subscriber.subscribed:
        yield from _close(subscriber, owner, track)
        yield Drive(media.Unsubscribe(room=state.sid, participant=subscriber.participant_id, track=track.track_id))


def _close(subscriber: Participant, owner: Participant, track: Track) -> Iterator[Command]:
    subscriber.subscribed.discard(track.track_id)
    if track.publication is not None:
        yield receives(subscriber, owner, track, 0, 0, False)
