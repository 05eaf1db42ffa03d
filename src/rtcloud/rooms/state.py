"""The state of one room, and the few questions that all its parts ask of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from rtcloud.rooms.participant import Kind, Participant, Role, Track
from rtcloud.rooms.scenes import CALL, Rules


@dataclass(slots=True)
class RoomState:
    """``sid`` is the media node's and the database's name of this life of the room."""

    sid: str
    created_ms: int
    rules: Rules = CALL
    metadata: str = ""
    participants: dict[str, Participant] = field(default_factory=dict)  # by user id, in order of entry
    sessions: dict[str, Participant] = field(default_factory=dict)  # by participant id
    publishers: dict[str, Participant] = field(default_factory=dict)  # by track id
    #: what SetUserBlocked took from users, also from absent ones
    blocked: dict[str, frozenset[Kind]] = field(default_factory=dict)
    begun: bool = False
    destroyed: bool = False
    #: when an empty room goes, Unix ms
    empty_deadline_ms: int | None = None
    # Changes that the sessions have not been told yet (``showing``), and when they will be.
    changed: dict[str, Participant] = field(default_factory=dict)  # by participant id
    gone: dict[str, str] = field(default_factory=dict)  # participant id → user id
    show_due_ms: int | None = None
    qualities: dict[str, tuple[int, float]] = field(default_factory=dict)
    quality_due_ms: int | None = None

    # Those whose time may run out, in the order in which that was said: in a large room they are few.
    awaited: dict[str, None] = field(default_factory=dict)  # by user id

    def waiting(self) -> tuple[Participant, ...]:
        """Those who are given up, or their publications, when nothing comes of them."""
        found = tuple(
            who
            for user_id in self.awaited
            if (who := self.participants.get(user_id)) is not None
            and (who.lost_deadline_ms is not None or who.return_deadline_ms is not None)
        )
        self.awaited = dict.fromkeys(who.user_id for who in found)
        return found

    def find(self, track_id: str) -> tuple[Participant | None, Track | None]:
        owner = self.publishers.get(track_id)
        return (owner, owner.tracks[track_id]) if owner is not None else (None, None)

    def is_shown(self, participant: Participant) -> bool:
        """Whether the others hear of it: an audience is not announced to everybody."""
        if participant.hidden or not participant.participant_id:
            return False
        return participant.role == Role.ANCHOR or not self.rules.has_audience

    def others(self, than: Participant) -> tuple[Participant, ...]:
        """Those who are shown to it."""
        return tuple(p for p in self.participants.values() if p is not than and self.is_shown(p))

    def count(self, role: Role) -> int:
        """Robots are no people: they take no place."""
        return sum(p.role == role and not p.robot for p in self.participants.values())

    def speakers(self) -> Iterator[Participant]:
        """Those whose microphone is open."""
        for participant in self.participants.values():
            if not participant.robot and any(not track.muted for track in participant.tracks_of("audio")):
                yield participant
