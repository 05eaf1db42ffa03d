"""What must be seen and heard at each moment of a mixed recording in the grid layout, told from what people really did
and when; nothing is taken from the product.

Somebody's place at a moment is a set of looks, one of which must be there: mostly one, and several while a change
spreads (the word of it, a keyframe to begin with). ``None`` stands for no place at all.

Who publishes has a place, in the order of entry, the screen after the camera. A picture stops with its last one when
its sender falls silent; when the camera is off, FillType says what stays until there is another: the last picture, or
black. Where nothing has been shown yet there is the background.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

from tests.kit.acts import PALETTE
from tests.kit.improvising import Step

BACKGROUND = (96, 96, 96)
BLACK = (0, 0, 0)
Color = tuple[int, int, int]

#: Clocks are read to a picture: nothing is seen or heard earlier than it happened by more than this.
EARLY_S = 0.08
#: Until everybody in a room knows, a busy machine included.
SPREAD_S = 0.4
#: A track that is new to the recorder: asked for with its first packet, and then negotiated.
OPEN_S = 0.6
#: The recorder waits so long for what is late.
PATIENCE_S = 0.3
KEYFRAME_S = 1.0
#: What was sent just before somebody vanished need not arrive.
LAST_S = 0.2

T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """A step, carried out between two moments of the clock."""

    step: Step
    began: float
    ended: float


@dataclass(frozen=True)
class Look:
    """``clock``: ``live`` follows the time, ``past`` catches up with it, two times are those between which the last
    picture was captured, None is no picture."""

    color: Color
    clock: Literal["live", "past"] | tuple[float, float] | None = None


Looks = frozenset[Look | None]
NOWHERE: Looks = frozenset({None})
EMPTY: Looks = frozenset({Look(BACKGROUND)})
OFF: Looks = frozenset({Look(BLACK)})


@dataclass(frozen=True)
class _Entry(Generic[T]):
    begin: float
    sure: float
    until: float
    values: frozenset[T]


class Course(Generic[T]):
    """What can be true over time: each entry may be from ``begin`` on, and is from ``sure`` on; one that passes is not
    after ``until``."""

    def __init__(self, first: Iterable[T]) -> None:
        self._entries: list[_Entry[T]] = [_Entry(-math.inf, -math.inf, math.inf, frozenset(first))]

    def add(self, begin: float, sure: float, values: Iterable[T], until: float = math.inf) -> None:
        self._entries.append(_Entry(begin, max(sure, self._entries[-1].sure), until, frozenset(values)))

    def possible(self, begin: float, end: float | None = None) -> frozenset[T]:
        """All that can be true at a moment, or at some moment between two."""
        until = begin if end is None else end
        first = max(index for index, entry in enumerate(self._entries) if entry.sure <= begin)
        listed = self._entries[first : first + 1]
        listed += [entry for entry in self._entries[first + 1 :] if entry.begin <= until and begin <= entry.until]
        return frozenset().union(*(entry.values for entry in listed))


@dataclass
class _Stream:
    """Camera with microphone, or a screen. ``shown`` is the number of what is published as video, if anything is."""

    looks: Course[Look | None] = field(default_factory=lambda: Course(NOWHERE))
    sounds: bool = False
    shown: int | None = None
    muted: bool = False

    @property
    def is_live(self) -> bool:
        return self.shown is not None and not self.muted


@dataclass
class _Session:
    main: _Stream = field(default_factory=_Stream)
    screen: _Stream = field(default_factory=_Stream)

    @property
    def streams(self) -> tuple[_Stream, _Stream]:
        return self.main, self.screen


class Continuity:
    """``voices``: of each person, whether it is heard."""

    def __init__(self, log: Iterable[Done], fill_type: int) -> None:
        self.voices: dict[str, Course[bool]] = {}
        self._fill_type = fill_type
        self._sessions: list[_Session] = []
        self._current: dict[str, _Session] = {}
        self._heard: dict[str, bool] = {}  # whose microphone is open
        for done in log:
            self._take(done)

    def rooms(self, at: float) -> Iterator[tuple[Look, ...]]:
        """Every sequence of places that can stand there at this moment."""
        streams = [stream for session in self._sessions for stream in session.streams]
        possible = [stream.looks.possible(at) for stream in streams]
        for looks in itertools.product(*possible):
            yield tuple(look for look in looks if look is not None)

    def _take(self, done: Done) -> None:
        step, began, ended = done.step, done.began, done.ended
        voice = self.voices.setdefault(step.who, Course([False]))
        if step.action == "enter":
            self._end(step.who, began, ended)
            self._current[step.who] = _Session()
            self._sessions.append(self._current[step.who])
            return
        session = self._current[step.who]
        if step.action in ("leave", "die", "freeze"):
            voice.add(began - EARLY_S, ended + EARLY_S, [False])
        if step.action == "leave":
            self._end(step.who, began, ended)
        elif step.action in ("die", "freeze"):
            for stream in session.streams:
                if stream.is_live:
                    stream.looks.add(began - EARLY_S, ended + SPREAD_S, _stills(stream, began, ended))
        elif step.action == "sever":
            self._sever(session, voice, self._heard.get(step.who, False), began, ended)
        elif step.action == "thaw":
            self._thaw(session, voice, self._heard.get(step.who, False), began, ended)
        elif step.source == "microphone":
            self._speak(done, session.main, voice)
        else:
            self._show(done, session.screen if step.source == "screen_share" else session.main)

    def _end(self, who: str, began: float, ended: float) -> None:
        self._heard[who] = False
        if (session := self._current.pop(who, None)) is not None:
            for stream in session.streams:
                last = stream.looks.possible(began, ended)
                stream.looks.add(began - EARLY_S, ended + SPREAD_S, {*_stopped(last, began, ended), *last})
                stream.looks.add(began - EARLY_S, ended + SPREAD_S, NOWHERE)

    def _sever(self, session: _Session, voice: Course[bool], is_heard: bool, began: float, ended: float) -> None:
        """Media may stop until the connection is there again."""
        if is_heard:
            voice.add(began - EARLY_S, ended + SPREAD_S, [False])
            voice.add(began - EARLY_S, ended + SPREAD_S, [True])
        for stream in session.streams:
            if stream.is_live:
                stream.looks.add(began - EARLY_S, _keyframe(ended), _stills(stream, began, ended))
                stream.looks.add(began - EARLY_S, _keyframe(ended), _live(stream))

    def _thaw(self, session: _Session, voice: Course[bool], is_heard: bool, began: float, ended: float) -> None:
        """What was captured shortly before is still in time."""
        if is_heard:
            voice.add(began - PATIENCE_S - EARLY_S, ended + SPREAD_S, [True])
        for stream in session.streams:
            if stream.is_live:
                begin, sure = began - PATIENCE_S - EARLY_S, _keyframe(ended)
                # All that was captured comes at once, and is seen while it comes.
                past = [Look(look.color, "past") for look in _live(stream) if look is not None]
                stream.looks.add(begin, sure, past, until=ended + SPREAD_S)
                stream.looks.add(begin, sure, _live(stream))

    def _speak(self, done: Done, stream: _Stream, voice: Course[bool]) -> None:
        action, began, ended = done.step.action, done.began, done.ended
        speaks = action in ("publish", "unmute")
        self._heard[done.step.who] = speaks
        if speaks:
            voice.add(began - EARLY_S, ended + (OPEN_S if action == "publish" else SPREAD_S), [True])
        else:
            voice.add(began - EARLY_S, ended + EARLY_S, [False])
        if action in ("publish", "unpublish"):
            stream.sounds = action == "publish"
            if stream.shown is None:
                stream.looks.add(began - EARLY_S, ended + SPREAD_S, EMPTY if stream.sounds else NOWHERE)

    def _show(self, done: Done, stream: _Stream) -> None:
        step, began, ended = done.step, done.began, done.ended
        begin, sure = began - EARLY_S, ended + SPREAD_S
        if step.action in ("unpublish", "mute"):
            last = _stills(stream, began, ended)
            stays = last if self._fill_type == 0 else OFF
            if step.action == "mute":
                stream.muted = True
            else:
                stream.shown, stream.muted = None, False
                stays = stays if stream.sounds else NOWHERE
            stream.looks.add(begin, sure, last)
            stream.looks.add(begin, sure, stays)
            return
        if step.act is not None:
            stream.shown = step.act.number
        stream.muted = False
        if step.action != "replace":
            stream.looks.add(begin, sure, self._until_seen(stream, began, ended))
        stream.looks.add(math.ceil(began) - EARLY_S, _keyframe(ended), _live(stream))

    def _until_seen(self, stream: _Stream, began: float, ended: float) -> Looks:
        """What stands in a place whose next video has sent nothing yet: what stood there, and in a new place nothing.
        One that was given up just now may be the same place still."""
        before = stream.looks.possible(ended)
        if None not in before:
            return _stills(stream, began, ended)
        off = OFF if self._fill_type == 1 and before != NOWHERE else frozenset()
        return EMPTY | _stills(stream, began, ended) | off


def _keyframe(ended: float) -> float:
    """When a picture is seen for sure: people send a keyframe each second, and the first may come before its track is
    asked for."""
    return math.ceil(ended) + KEYFRAME_S + SPREAD_S


def _live(stream: _Stream) -> Looks:
    assert stream.shown is not None
    return frozenset({Look(PALETTE[stream.shown], "live")})


def _stills(stream: _Stream, began: float, ended: float) -> Looks:
    """What of the stream's pictures stays when it stops."""
    return _stopped(stream.looks.possible(began, ended) - {None}, began, ended) or EMPTY


def _stopped(looks: Looks, began: float, ended: float) -> Looks:
    captured = began - LAST_S, ended + EARLY_S
    return frozenset(Look(look.color, captured) if look and look.clock == "live" else look for look in looks)
