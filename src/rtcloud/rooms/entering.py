"""Coming and going: who gets in, sessions that take over, presences that end, rooms that go with the last.

A presence that was begun is ended exactly once; its end closes its publications (callback 104 alone).
"""

from collections.abc import Iterator

from rtcloud.callbacks.events import ExitReason
from rtcloud.media import node as media
from rtcloud.rooms import facts, publishing, showing, subscribing
from rtcloud.rooms.commands import (
    Command,
    DeviceChanged,
    Dismiss,
    Drive,
    LeaveCause,
    Notify,
    PresenceBegan,
    PresenceEnded,
    RoleChanged,
    RoomCreated,
    RoomDestroyed,
    ShowQuality,
    Welcome,
)
from rtcloud.rooms.participant import NOTHING_BLOCKED, Participant, Role
from rtcloud.rooms.state import RoomState

#: A user who came back in a new session has this long to publish again what it was sending.
RETURN_WITHIN_MS = 10_000


def refusal(state: RoomState, user_id: str, role: Role, *, robot: bool, may_create: bool) -> LeaveCause | None:
    """Why somebody would not get in now."""
    if not state.begun and not may_create:
        return "may_not_create"
    return "full" if not robot and _is_full(state, state.participants.get(user_id), role) else None


def enter(state: RoomState, fact: facts.Entered, now_ms: int) -> Iterator[Command]:
    cause = refusal(state, fact.user_id, fact.role, robot=fact.robot, may_create=fact.may_create)
    if cause is not None:
        yield Notify(fact.participant_id, Dismiss(cause))
        state.destroyed = not state.begun  # nothing came of it
        return
    earlier = state.participants.get(fact.user_id)
    if earlier is not None:
        yield from end_session(state, earlier, "duplicate", now_ms)
    participant = _participant(state, fact, earlier, now_ms)
    if participant.return_deadline_ms is not None:
        state.awaited[fact.user_id] = None
    if not state.begun:
        state.begun = True
        yield RoomCreated(fact.user_id)
    if earlier is None:
        yield PresenceBegan(participant.presence, fact.user_id, fact.role, fact.device)
    else:
        if fact.role == Role.AUDIENCE:
            yield from publishing.stop_absent(participant)
        if earlier.role != fact.role:
            yield RoleChanged(participant.presence, fact.user_id, fact.role)
        if earlier.device != fact.device:
            yield DeviceChanged(participant.presence, fact.device)
    state.empty_deadline_ms = None
    state.participants[fact.user_id] = participant
    state.sessions[fact.participant_id] = participant
    yield Drive(
        media.AddParticipant(
            room=state.sid,
            participant=fact.participant_id,
            identity=fact.user_id,
            single=fact.single,
            rights=participant.rights(),
            fixed=fact.fixed,
            adaptive=not participant.robot,
        )
    )
    others = state.others(participant)
    present = len(state.sessions)
    yield Notify(
        fact.participant_id, Welcome(state.sid, participant, others, state.created_ms, state.metadata, present)
    )
    known = tuple((other.participant_id, *other.quality) for other in others if other.quality is not None)
    if known:
        yield Notify(fact.participant_id, ShowQuality(known))
    yield from showing.show(state, participant, now_ms)
    yield from subscribing.welcome(state, participant)


def _is_full(state: RoomState, present: Participant | None, role: Role) -> bool:
    """``present``: the user itself, who is in already and keeps its place."""
    rules, anchors, audience = state.rules, state.count(Role.ANCHOR), state.count(Role.AUDIENCE)
    if not rules.has_audience:
        return present is None and _has_reached(anchors + audience, rules.anchors)
    if present is None and rules.anchors and rules.audience and anchors + audience >= rules.anchors + rules.audience:
        return True  # whoever becomes audience finds a place there, but all together they are so many
    if present is not None and present.role == role:
        return False
    if role == Role.ANCHOR:
        return _has_reached(anchors, rules.anchors)
    return _has_reached(audience, rules.audience)


def _has_reached(number: int, limit: int) -> bool:
    return limit > 0 and number >= limit


def _participant(state: RoomState, fact: facts.Entered, earlier: Participant | None, now_ms: int) -> Participant:
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
        hidden=fact.hidden,
        auto_subscribe=fact.auto_subscribe,
        blocked=state.blocked.get(fact.user_id, NOTHING_BLOCKED),
        sending=earlier.sending if earlier is not None else set(),
    )
    if participant.sending:
        participant.return_deadline_ms = now_ms + RETURN_WITHIN_MS
    return participant


def end_session(state: RoomState, participant: Participant, cause: LeaveCause, now_ms: int) -> Iterator[Command]:
    """The session is over; the presence may go on."""
    session = participant.participant_id
    if not session:  # restored from the database, not yet back
        return
    for track in tuple(participant.tracks.values()):
        yield from publishing.forget(state, participant, track)
    yield from subscribing.end_all(state, participant)
    state.sessions.pop(session, None)
    showing.hide(state, participant, session)
    participant.participant_id = ""
    yield Drive(media.RemoveParticipant(room=state.sid, participant=session))
    yield Notify(session, Dismiss(cause))
    yield from showing.gone(state, now_ms)


def end(
    state: RoomState, participant: Participant, reason: ExitReason, cause: LeaveCause, now_ms: int
) -> Iterator[Command]:
    yield from end_session(state, participant, cause, now_ms)
    del state.participants[participant.user_id]
    yield PresenceEnded(participant.presence, participant.user_id, participant.role, reason)
    if not state.participants and participant.role == Role.AUDIENCE and state.rules.empty_ms:
        state.empty_deadline_ms = now_ms + state.rules.empty_ms


def end_all(state: RoomState, reason: ExitReason, cause: LeaveCause, now_ms: int) -> Iterator[Command]:
    for participant in tuple(state.participants.values()):
        yield from end(state, participant, reason, cause, now_ms)
    state.empty_deadline_ms = None
    yield from destroy_if_empty(state, now_ms)


def destroy_if_empty(state: RoomState, now_ms: int) -> Iterator[Command]:
    if state.participants or not state.begun:
        return
    if state.empty_deadline_ms is not None and now_ms < state.empty_deadline_ms:
        return
    state.destroyed = True
    yield Drive(media.CloseRoom(room=state.sid))
    yield RoomDestroyed()
