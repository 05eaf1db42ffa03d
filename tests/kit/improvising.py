"""What a few people in a room do, made up from a seed: the same seed is the same script, on every machine.

They mute and unmute, come and go, change cameras (another colour, size, codec) and the size of one camera's picture,
share screens, and lose their network: for a moment (``freeze`` to ``thaw``), only the connection for words (``sever``),
or for good (``die``), after which some come back. Nobody is asked for what cannot be done at that moment.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from tests.kit.acts import Act, Codec

Source = Literal["microphone", "camera", "screen_share"]
Action = Literal[
    "enter", "leave", "publish", "unpublish", "mute", "unmute", "replace", "freeze", "thaw", "sever", "die"
]

LENGTH_S = 15.0
#: Between a step and the next, of all together.
PAUSES_S = (0.3, 2.3)
FREEZES_S = (0.5, 3.0)
LONG_FREEZES_S = (4.0, 7.0)
AWAY_S = (0.4, 3.0)
SIZES = ((320, 180), (160, 120), (426, 240))
CODECS: tuple[Codec, ...] = ("h264", "h264", "vp8")
PEOPLE = ("anna", "ben", "cara")


@dataclass(frozen=True)
class Step:
    """``act`` is what is published, or shown in place of what was."""

    at: float
    who: str
    action: Action
    source: Source | None = None
    act: Act | None = None

    def __str__(self) -> str:
        shown = f" {self.act.number}: {self.act.width}x{self.act.height} {self.act.codec}" if self.act else ""
        return f"{self.at:6.2f} {self.who} {self.action} {self.source or ''}{shown}"


@dataclass(frozen=True)
class Script:
    """``hurried`` are those whose device, once its network is back, sends what it captured meanwhile; that of the
    others has forgotten it."""

    seed: int
    steps: tuple[Step, ...]
    fill_type: int
    hurried: frozenset[str]

    def __str__(self) -> str:
        head = f"seed {self.seed}: FillType {self.fill_type}, hurried: {', '.join(sorted(self.hurried)) or 'nobody'}"
        return "\n".join([head, *map(str, self.steps)])


def improvise(seed: int) -> Script:
    dice = random.Random(seed)
    fill_type = dice.randint(0, 1)
    names = PEOPLE[: dice.choice((1, 2, 2, 3, 3))]
    sharing: set[str] = set()
    people = [_Person(number, user_id, dice, sharing) for number, user_id in enumerate(names)]
    hurried = frozenset(person.user_id for person in people if dice.random() < 0.5)
    steps: list[Step] = []
    at = 0.0
    for person in people:
        steps += person.enter(at)
        at += dice.uniform(*PAUSES_S)
    while at < LENGTH_S:
        able = [person for person in people if person.busy_until <= at]
        if able:
            steps += dice.choice(able).improvise(at)
        at += dice.uniform(*PAUSES_S)
    return Script(seed, tuple(sorted(steps, key=lambda step: step.at)), fill_type, hurried)


@dataclass
class _Person:
    """What somebody does next. ``published``: whether it is muted. ``sharing``: who shares a screen, of all, which only
    one may; who died still does, for the others, until it is back."""

    number: int
    user_id: str
    dice: random.Random
    sharing: set[str]
    present: bool = False
    may_return: bool = True
    busy_until: float = 0.0
    published: dict[Source, bool] = field(default_factory=dict)
    camera: int = 0
    codec: Codec = "h264"  # of the camera; it stays while the camera is published

    def improvise(self, at: float) -> Iterator[Step]:
        if not self.present:
            if self.may_return:
                yield from self.enter(at)
            return
        acts = [self._toggle] * 4 + [self._publish] * 2 + [self._unpublish] * 2 + [self._switch] * 2
        acts += [self._resize, self._freeze, self._freeze, self._sever, self._leave, self._die]
        self.dice.shuffle(acts)
        for act in acts:
            steps = list(act(at))
            if steps:
                yield from steps
                return

    def enter(self, at: float) -> Iterator[Step]:
        self.present = True
        self.sharing.discard(self.user_id)
        yield self._step(at, "enter")
        sources: tuple[Source, ...] = ("microphone", "camera")
        for source in self.dice.choice((sources, sources, sources, sources[:1], sources[1:])):
            yield self._open(at, source)

    def _toggle(self, at: float) -> Iterator[Step]:
        if self.published:
            source = self.dice.choice(sorted(self.published))
            self.published[source] = not self.published[source]
            yield self._step(at, "mute" if self.published[source] else "unmute", source)

    def _publish(self, at: float) -> Iterator[Step]:
        sources: tuple[Source, ...] = ("microphone", "camera", *(() if self.sharing else ("screen_share",)))
        absent = [each for each in sources if each not in self.published]
        if absent:
            yield self._open(at, self.dice.choice(absent))

    def _unpublish(self, at: float) -> Iterator[Step]:
        if self.published:
            yield self._close(at, self.dice.choice(sorted(self.published)))

    def _switch(self, at: float) -> Iterator[Step]:
        """To another camera, which takes a moment."""
        if "camera" in self.published:
            yield self._close(at, "camera")
            self.camera = 1 - self.camera
            self.busy_until = at + self.dice.choice((0.0, self.dice.uniform(0.1, 1.2)))
            yield self._open(self.busy_until, "camera")

    def _resize(self, at: float) -> Iterator[Step]:
        """As a sender whose network got worse does, and one whose phone was turned."""
        if self.published.get("camera") is False:
            yield self._step(at, "replace", "camera", self._picture("camera", self.codec))

    def _freeze(self, at: float) -> Iterator[Step]:
        self.busy_until = at + self.dice.uniform(*self.dice.choice((FREEZES_S, FREEZES_S, LONG_FREEZES_S)))
        yield self._step(at, "freeze")
        yield self._step(self.busy_until, "thaw")

    def _sever(self, at: float) -> Iterator[Step]:
        yield self._step(at, "sever")

    def _leave(self, at: float) -> Iterator[Step]:
        self._vanish(at)
        self.sharing.discard(self.user_id)
        yield self._step(at, "leave")

    def _die(self, at: float) -> Iterator[Step]:
        self._vanish(at)
        self.may_return = self.dice.random() < 0.7
        yield self._step(at, "die")

    def _vanish(self, at: float) -> None:
        self.present = False
        self.published.clear()
        self.busy_until = at + self.dice.uniform(*AWAY_S)

    def _open(self, at: float, source: Source) -> Step:
        self.published[source] = False
        if source == "microphone":
            return self._step(at, "publish", source, Act(self.number, picture=False, flash=True))
        codec = self.dice.choice(CODECS)
        if source == "camera":
            self.codec = codec
        else:
            self.sharing.add(self.user_id)
        return self._step(at, "publish", source, self._picture(source, codec))

    def _close(self, at: float, source: Source) -> Step:
        del self.published[source]
        if source == "screen_share":
            self.sharing.discard(self.user_id)
        return self._step(at, "unpublish", source)

    def _picture(self, source: Source, codec: Codec) -> Act:
        """Cameras and screens have colours of their own, people have tones."""
        width, height = self.dice.choice(SIZES)
        screen = source == "screen_share"
        number = self.number + 3 * (2 if screen else self.camera)
        return Act(number, width, height, sound=False, screen=screen, codec=codec)

    def _step(self, at: float, action: Action, source: Source | None = None, act: Act | None = None) -> Step:
        return Step(at, self.user_id, action, source, act)
