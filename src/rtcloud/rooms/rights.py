"""What a participant may do, and what changes it during the stay: its role, its key, the application's blocks.

The room decides what is published and subscribed; the media node is told the same rights and lets nothing else through.
"""

from collections.abc import Iterator, Mapping

from rtcloud.media import node as media
from rtcloud.rooms import facts, publishing, showing, subscribing
from rtcloud.rooms.commands import Command, Drive, Grant, Notify, Refusal, Refuse, RoleChanged, UserBlocked
from rtcloud.rooms.participant import Participant, Role
from rtcloud.rooms.state import RoomState

MAX_NAME = 256
MAX_METADATA = 64 * 1024
MAX_ATTRIBUTES = 64 * 1024


def choose_role(state: RoomState, participant: Participant, fact: facts.RoleChosen, now_ms: int) -> Iterator[Command]:
    refusal = _role_refusal(state, participant, fact.role)
    if refusal is not None:
        yield Notify(participant.participant_id, Refuse(fact.request_id, refusal))
        return
    if fact.role != participant.role:
        if fact.role == Role.AUDIENCE:
            yield from publishing.remove_all(state, participant, now_ms)
        participant.role = fact.role
        yield _enforce(state, participant)
        yield RoleChanged(participant.presence, participant.user_id, participant.role)
        yield from showing.show(state, participant, now_ms)
    yield Notify(participant.participant_id, Grant(fact.request_id))


def replace_key(state: RoomState, participant: Participant, fact: facts.KeyReplaced, now_ms: int) -> Iterator[Command]:
    participant.permission = fact.permission
    for track_id, track in tuple(participant.tracks.items()):
        if not participant.publishes(track):
            yield from publishing.remove(state, participant, track_id, now_ms)
    yield _enforce(state, participant)
    yield from subscribing.by_rights(state, participant)
    yield from showing.show(state, participant, now_ms)
    yield Notify(participant.participant_id, Grant(fact.request_id))


def block(state: RoomState, fact: facts.UserBlockedSet, now_ms: int) -> Iterator[Command]:
    """Holds for the user as long as the room lives, whatever it reconnects or publishes again."""
    participant = state.participants.get(fact.user_id)
    if participant is None or participant.blocked == fact.kinds:
        return
    participant.blocked = fact.kinds
    if fact.kinds:
        state.blocked[fact.user_id] = fact.kinds
    else:
        state.blocked.pop(fact.user_id, None)
    yield UserBlocked(fact.user_id, fact.kinds)
    if participant.participant_id:
        yield _enforce(state, participant)
    yield from showing.show(state, participant, now_ms)
    for stream in {track.publication: None for track in participant.tracks.values() if track.started}:
        yield from publishing.report(participant, stream)


def change_profile(
    state: RoomState, participant: Participant, fact: facts.ProfileChanged, now_ms: int
) -> Iterator[Command]:
    attributes = _merged(participant.attributes, fact.attributes or {})
    name = participant.name if fact.name is None else fact.name
    metadata = participant.metadata if fact.metadata is None else fact.metadata
    if (name, metadata, attributes) == (participant.name, participant.metadata, participant.attributes):
        # livekit-client sends its name and metadata with every request: no right is needed for what is so already
        yield Notify(participant.participant_id, Grant(fact.request_id))
        return
    refusal: Refusal | None = None
    if not participant.permission.update_metadata:
        refusal = "not_allowed"
    elif _is_too_large(name, metadata, attributes):
        refusal = "too_large"
    if refusal is not None:
        yield Notify(participant.participant_id, Refuse(fact.request_id, refusal))
        return
    participant.name, participant.metadata, participant.attributes = name, metadata, attributes
    yield from showing.show(state, participant, now_ms)
    yield Notify(participant.participant_id, Grant(fact.request_id))


def _role_refusal(state: RoomState, participant: Participant, role: Role) -> Refusal | None:
    if role == participant.role:
        return None
    if not state.rules.has_audience:
        return "not_allowed"
    if role == Role.ANCHOR:
        if not participant.permission.publish:
            return "not_allowed"
        if state.rules.anchors and not participant.robot and state.count(Role.ANCHOR) >= state.rules.anchors:
            return "too_many_anchors"
    return None


def _enforce(state: RoomState, participant: Participant) -> Drive:
    return Drive(media.SetRights(room=state.sid, participant=participant.participant_id, rights=participant.rights()))


def _merged(before: Mapping[str, str], changes: Mapping[str, str]) -> dict[str, str]:
    merged = {**before, **changes}
    return {name: value for name, value in merged.items() if value}


def _is_too_large(name: str, metadata: str, attributes: Mapping[str, str]) -> bool:
    total = sum(len(key.encode()) + len(value.encode()) for key, value in attributes.items())
    return len(name.encode()) > MAX_NAME or len(metadata.encode()) > MAX_METADATA or total > MAX_ATTRIBUTES
