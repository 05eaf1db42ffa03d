"""Whatever happens to a room, in whatever order: a witness (tests/kit/witness.py) finds nothing wrong."""

import random
from collections.abc import Iterator

import pytest

from rtcloud.rooms import facts, showing
from rtcloud.rooms.entering import RETURN_WITHIN_MS
from rtcloud.rooms.participant import Device, Kind, Participant, Permission, Role, Source, Track
from rtcloud.rooms.room import Room
from rtcloud.rooms.scenes import Limits, rules_of
from tests.kit.witness import Witness

LIMITS = Limits(call_users=6, call_speakers=1, live_audience=3, live_anchors=3, live_empty_ms=20_000)
USERS = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi")
SOURCES: tuple[Source, ...] = ("camera", "microphone", "screen_share", "screen_share_audio", "unknown", "microphone")
SEQUENCES, LENGTH = 1000, 60


class Happenings:
    """A room and what befalls it, from one seed."""

    def __init__(self, seed: int, scene: str) -> None:
        self.dice = random.Random(seed)
        self.now_ms = 1_000_000
        self.room = Room("RM", self.now_ms, rules_of(scene, LIMITS))
        self.witness = Witness(self.room.state.rules)
        self.sessions: list[str] = ["nobody"]  # all there ever were
        self.tracks: list[tuple[str, str]] = [("nobody", "nothing")]

    def run(self) -> None:
        for fact in self.story():
            self.happen(fact)
        self.happen(facts.RoomDismissed())
        assert self.witness.destroyed == self.witness.created
        assert self.room.deadline() is None
        assert not self.room.sessions
        for fact in self.story():
            assert self.room.handle(fact, self.now_ms) == []

    def happen(self, fact: facts.Fact) -> None:
        again = isinstance(fact, facts.Entered) and fact.user_id in self.room.participants
        said = self.room.handle(fact, self.now_ms)
        if again and isinstance(fact, facts.Entered) and fact.participant_id in self.room.sessions:
            self.witness.came_again(fact.user_id, self.now_ms + RETURN_WITHIN_MS)
        self.witness.watch(fact, said, self.now_ms)

    def story(self) -> Iterator[facts.Fact]:
        for _ in range(LENGTH):
            if self.dice.random() < 0.3:
                yield from self.pass_time()
            if self.dice.random() < 0.01 and self.witness.created and not self.room.destroyed:
                self.restart()
            yield self.one()

    def pass_time(self) -> Iterator[facts.Fact]:
        end = self.now_ms + self.dice.choice((1, 100, 200, 1000, 9_000, 30_000, 100_000))
        while (deadline := self.room.deadline()) is not None and deadline <= end:
            assert deadline >= self.now_ms, "a deadline in the past"
            self.now_ms = deadline
            yield facts.TimePassed()
            after = self.room.deadline()
            assert after is None or after > self.now_ms, "a deadline that nothing came of"
        self.now_ms = end

    def restart(self) -> None:
        state = self.room.state
        found = [
            Participant(p.presence, "", p.user_id, p.role, p.device, p.joined_ms, robot=p.robot, sending=set(p.sending))
            for p in self.room.participants.values()
        ]
        self.room = Room("RM", state.created_ms, state.rules)
        self.room.restore(found, self.now_ms, blocked=state.blocked, metadata=state.metadata)
        self.witness.restart()

    def one(self) -> facts.Fact:
        dice, session = self.dice, self.dice.choice(self.sessions[-8:])
        owner, track_id = dice.choice(self.tracks[-8:])
        match dice.randrange(24):
            case 0 | 1 | 2 | 3:
                return self.entered()
            case 4 | 5 | 6:
                return self.track_added()
            case 7 | 8 | 9:
                return facts.MediaStarted(owner, track_id, dice.choice(("", "h264", "opus")))
            case 10 | 11:
                return facts.TrackMuted(owner, track_id, dice.random() < 0.5)
            case 12:
                return facts.TrackRemoved(owner, track_id)
            case 13:
                return facts.RoleChosen(session, dice.choice((Role.ANCHOR, Role.AUDIENCE)))
            case 14:
                return facts.KeyReplaced(session, self.permission())
            case 15:
                kinds: tuple[frozenset[Kind], ...] = (frozenset(), frozenset({"audio"}), frozenset({"audio", "video"}))
                return facts.UserBlockedSet(dice.choice(USERS), dice.choice(kinds))
            case 16:
                return facts.SocketLost(session)
            case 17:
                return facts.Resumed(session)
            case 18:
                tracks = tuple(track for _, track in dice.choices(self.tracks, k=3))
                return facts.SubscriptionChosen(session, tracks, dice.random() < 0.5)
            case 19:
                return facts.AudienceChosen(session, self.audience())
            case 20:
                return facts.ProfileChanged(session, 1, metadata=str(dice.random()))
            case 21:
                return dice.choice(
                    (facts.Receiving(session, track_id, 640, 360), facts.QualityMeasured(session, 0, 0, 9))
                )
            case 22:
                return facts.SubscriptionSized(session, (track_id,), True, 320, 180, 30)
            case _:
                return dice.choice((facts.LeftRoom(session), *self.rarely()))

    def rarely(self) -> tuple[facts.Fact, ...]:
        if self.dice.random() > 0.2:
            return ()
        removed = facts.UsersRemoved(tuple(self.dice.choices(USERS, k=2)))
        return (removed, facts.KeyExpired(self.dice.choice(self.sessions)), facts.MediaFailed(), facts.RoomDismissed())

    def entered(self) -> facts.Entered:
        dice = self.dice
        user_id, session = dice.choice(USERS), f"PA_{len(self.sessions)}"
        self.sessions.append(session)
        return facts.Entered(
            session,
            user_id,
            dice.choice((Role.ANCHOR, Role.ANCHOR, Role.AUDIENCE)),
            Device(),
            True,
            auto_subscribe=dice.random() < 0.8,
            permission=self.permission(),
            robot=user_id == "heidi",
            hidden=user_id == "grace",
            may_create=dice.random() < 0.9,
        )

    def track_added(self) -> facts.TrackAdded:
        dice, session, track_id = self.dice, self.dice.choice(self.sessions[-8:]), f"TR_{len(self.tracks)}"
        source = dice.choice(SOURCES)
        kind: Kind = "audio" if source in ("microphone", "screen_share_audio") else "video"
        self.tracks.append((session, track_id))
        return facts.TrackAdded(session, Track(track_id, "cid", kind, source, muted=dice.random() < 0.2))

    def permission(self) -> Permission:
        dice = self.dice
        if dice.random() < 0.7:
            return Permission()
        return Permission(
            publish=dice.random() < 0.8,
            subscribe=dice.random() < 0.8,
            sources=tuple(dice.sample(SOURCES[:4], dice.randrange(4))),
            received=tuple(dice.sample(SOURCES[:4], dice.randrange(4))),
        )

    def audience(self) -> dict[str, frozenset[str] | None] | None:
        dice = self.dice
        if dice.random() < 0.3:
            return None
        some = frozenset(track for _, track in dice.choices(self.tracks, k=2))
        return {user: dice.choice((None, some)) for user in dice.sample(USERS, 4)}


@pytest.mark.parametrize("small", [showing.SMALL, 2])
@pytest.mark.parametrize("scene", ["rtc", "live"])
def test_whatever_happens_the_room_keeps_its_word(scene: str, small: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(showing, "SMALL", small)  # with 2, changes wait for others as in big rooms
    for seed in range(SEQUENCES):
        try:
            Happenings(seed, scene).run()
        except Exception as error:
            raise AssertionError(f"seed {seed}, scene {scene}, small {small}: {error}") from error
