"""Telling the sessions of a room about each other, together where there are many: n notices for n changes are n².

A change waits at most ``within`` for others to go with it; in a small room it waits for nothing. Who subscribes to a
track is told of its publisher before, whatever waits: a track's update always comes before the SDP that carries it.
"""

from collections.abc import Iterator

from rtcloud.rooms.commands import Command, Notify, ShowParticipants, ShowQuality, ShowSelf
from rtcloud.rooms.facts import QualityMeasured
from rtcloud.rooms.participant import Participant
from rtcloud.rooms.quality import Grade, grade
from rtcloud.rooms.state import RoomState

#: Up to so many sessions hear of each change at once.
SMALL = 16
WITHIN_MS = 200
#: Changes of quality wait this long for others to go with.
QUALITY_WITHIN_MS = 1_000


def show(state: RoomState, participant: Participant, now_ms: int) -> Iterator[Command]:
    """Something about it changed: tell itself now and the others soon."""
    participant.version += 1
    if participant.participant_id:
        yield Notify(participant.participant_id, ShowSelf(participant))
    if state.is_shown(participant):
        participant.shown = True
        state.changed[participant.participant_id] = participant
        state.gone.pop(participant.participant_id, None)
    elif participant.shown:
        hide(state, participant, participant.participant_id)
    else:
        return
    yield from _soon(state, now_ms)


def hide(state: RoomState, participant: Participant, session: str) -> None:
    """The others hear that the session is gone, if they ever heard of it."""
    state.changed.pop(session, None)
    if participant.shown:
        state.gone[session] = participant.user_id
    participant.shown = False


def gone(state: RoomState, now_ms: int) -> Iterator[Command]:
    """After ``hide``."""
    if state.gone:
        yield from _soon(state, now_ms)


def before_subscription(state: RoomState, owner: Participant) -> Iterator[Command]:
    """To everybody, with all that waits: who hears of the owner's new session must not hear later that its earlier one
    is gone."""
    if owner.participant_id in state.changed:
        yield from flush(state)


def flush(state: RoomState) -> Iterator[Command]:
    state.show_due_ms = None
    changed, left = state.changed, tuple(state.gone.items())
    state.changed, state.gone = {}, {}
    notice = ShowParticipants(tuple(changed.values()), left)
    for session, participant in tuple(state.sessions.items()):
        if session not in changed or (len(changed) > 1 and not participant.blocked):
            if changed or left:
                yield Notify(session, notice)
            continue
        # ShowSelf told it of itself, where blocked tracks are not muted ones; here it would hear otherwise
        others = tuple(other for other in changed.values() if other is not participant)
        if others or left:
            yield Notify(session, ShowParticipants(others, left))


def _soon(state: RoomState, now_ms: int) -> Iterator[Command]:
    if len(state.sessions) <= SMALL:
        yield from flush(state)
    elif state.show_due_ms is None:
        state.show_due_ms = now_ms + WITHIN_MS


def is_news(state: RoomState, fact: QualityMeasured) -> bool:
    """Whether anybody would be told."""
    participant = state.sessions.get(fact.participant_id)
    return participant is not None and (participant.quality is None or _grade(fact).livekit != participant.quality[0])


def measure(state: RoomState, participant: Participant, fact: QualityMeasured, now_ms: int) -> None:
    if not is_news(state, fact):
        return
    measured = _grade(fact)
    participant.quality = state.qualities[participant.participant_id] = (measured.livekit, measured.score)
    if state.quality_due_ms is None:
        state.quality_due_ms = now_ms + QUALITY_WITHIN_MS


def _grade(fact: QualityMeasured) -> Grade:
    return grade(max(fact.uplink_loss, fact.downlink_loss), fact.rtt_ms)


def show_qualities(state: RoomState) -> Iterator[Command]:
    changed = {
        session: quality
        for session, quality in state.qualities.items()
        if (participant := state.sessions.get(session)) is not None and state.is_shown(participant)
    }
    own = {s: q for s, q in state.qualities.items() if s in state.sessions and s not in changed}
    state.qualities.clear()
    state.quality_due_ms = None
    notice = ShowQuality(tuple((session, *quality) for session, quality in changed.items()))
    for session in tuple(state.sessions) if changed else ():
        yield Notify(session, notice)
    for session, quality in own.items():
        yield Notify(session, ShowQuality(((session, *quality),)))
