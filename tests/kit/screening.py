"""A mixed recording played against what people did (``continuity``): who stands where, whose picture is of when, who is
heard, and whether the file's time is the clock's.

A picture tells when it was captured (``acts``), so a jump or a drift of the file's time shows in every live cell.
"""

import math
import statistics
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.kit import probes
from tests.kit.acts import LOOP_S, read_clock, tone_of
from tests.kit.continuity import BACKGROUND, Continuity, Look
from tests.kit.improvising import PEOPLE
from tests.kit.probes import Picture

FPS = 15
LOOKED_AT_EVERY_S = 0.19
COLOR_WITHIN = 45
#: Captured and shown at the times of two grids of 1/15 s, up to half of which a picture may be early.
CLOCK_WITHIN_S = (-0.07, 0.10)
MEAN_WITHIN_S = 0.06
BEEP_WITHIN_S = 0.08
BEEPS_MEAN_S = 0.04
HEARD_DB, SILENT_DB = -30.0, -45.0
WINDOW_S = 0.2
#: Sound is cut into packets of 20 ms, and coded in overlapping pieces.
BLUR_S = 0.03
MAX_FAULTS = 12


@dataclass
class Verdict:
    """``late``: how much later than its capture each live picture is shown. ``certain``: the share of the moments
    looked at for which only one look of the whole room would do."""

    faults: list[str] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    beeps: list[float] = field(default_factory=list)
    certain: float = 0.0

    def say(self, at: float, what: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            self.faults.append(f"{at:6.2f} {what}")


class Screening:
    """``began`` is the clock's time of the file's beginning, ``curtain`` that of the script."""

    def __init__(self, path: Path, began: float, continuity: Continuity, curtain: float) -> None:
        self._path = path
        self._began = began
        self._continuity = continuity
        self._curtain = curtain

    def judge(self) -> Verdict:
        verdict = Verdict()
        self._look(verdict)
        self._listen(verdict)
        self._watch_the_clock(verdict)
        return verdict

    def _look(self, verdict: Verdict) -> None:
        certain = looked = 0
        for at, picture in probes.pictures(self._path, LOOKED_AT_EVERY_S):
            now = self._began + at
            rooms = list(self._continuity.rooms(now))
            shown = {len(room): _Shown(picture, len(room)) for room in rooms}
            looked += 1
            certain += len(rooms) == 1
            fitting = next((room for room in rooms if shown[len(room)].shows(room, now)), None)
            if fitting is None:
                seen = "; ".join(f"as {count}: {each}" for count, each in sorted(shown.items()))
                verdict.say(now - self._curtain, f"{_wanted(rooms)} is not what is seen ({now % LOOP_S:.2f}): {seen}")
            elif len(rooms) == 1:
                verdict.late += shown[len(fitting)].lateness(fitting, now)
        verdict.certain = certain / max(1, looked)

    def _listen(self, verdict: Verdict) -> None:
        samples, rate, begin = probes.sound(self._path)
        first, length = self._began + begin, len(samples) / rate
        for index in range(math.ceil(first / WINDOW_S), int((first + length) / WINDOW_S) - 1):
            if index % round(1 / WINDOW_S) == 0:  # the beep
                continue
            at = index * WINDOW_S
            low = round((at - first) * rate)
            window = samples[low : low + round(WINDOW_S * rate)]
            for number, who in enumerate(PEOPLE):
                voice = self._continuity.voices.get(who)
                heard = voice.possible(at - BLUR_S, at + WINDOW_S + BLUR_S) if voice else {False}
                level = probes.tone_level(window, rate, tone_of(number))
                if heard == {True} and level < HEARD_DB:
                    verdict.say(at - self._curtain, f"{who} is not heard: {level:.0f} dB")
                elif heard == {False} and level > SILENT_DB:
                    verdict.say(at - self._curtain, f"{who} is heard: {level:.0f} dB")

    def _watch_the_clock(self, verdict: Verdict) -> None:
        voices = self._continuity.voices.values()
        told = [self._began + beep for beep in probes.beeps(self._path)]
        end = self._began + probes.duration(self._path)
        for second in range(math.ceil(self._began + 0.3), int(end - 0.3)):
            heard = [voice.possible(second - 0.15, second + 0.25) for voice in voices]
            near = [beep - second for beep in told if abs(beep - second) < 0.3]
            if any(len(each) > 1 for each in heard):
                continue
            speaking = heard.count(frozenset({True}))
            if speaking == 1:  # beeps of two may cancel each other
                verdict.beeps += near
                if not near:
                    verdict.say(second - self._curtain, "no beep")
            elif not speaking and near:
                verdict.say(second - self._curtain, "a beep of nobody")
        for what, measured, most, mean in (
            ("pictures", verdict.late, max(map(abs, CLOCK_WITHIN_S)), MEAN_WITHIN_S),
            ("beeps", verdict.beeps, BEEP_WITHIN_S, BEEPS_MEAN_S),
        ):
            if not measured:
                continue
            if abs(statistics.mean(measured)) > mean:
                verdict.say(0, f"{what} are late by {statistics.mean(measured):.3f} s")
            if max(map(abs, measured)) > most:
                verdict.say(0, f"one of the {what} is late by {max(measured, key=abs):.3f} s")


class _Shown:
    """One picture as so many places of a grid."""

    def __init__(self, picture: Picture, count: int) -> None:
        columns = math.ceil(math.sqrt(count)) if count else 1
        rows = 1 if count == 2 else columns
        height, width = picture.shape[:2]
        across, down = width // columns & ~1, height // rows & ~1
        cells = [
            picture[row * down : row * down + down, column * across : column * across + across]
            for row in range(rows)
            for column in range(columns)
        ]
        self._cells = [_Cell(cell) for cell in cells[:count]]
        self._rest = [_Cell(cell) for cell in cells[count:]]

    def __str__(self) -> str:
        return ", ".join(map(str, self._cells)) or "nobody"

    def shows(self, room: tuple[Look, ...], now: float) -> bool:
        free = Look(BACKGROUND)
        return all(cell.shows(look, now) for cell, look in zip(self._cells, room, strict=True)) and all(
            cell.shows(free, now) for cell in self._rest
        )

    def lateness(self, room: tuple[Look, ...], now: float) -> list[float]:
        return [_after(now, cell.count) for cell, look in zip(self._cells, room, strict=True) if look.clock == "live"]


class _Cell:
    def __init__(self, cell: Picture) -> None:
        width = cell.shape[1]
        edge = max(2, width // 30)
        margins = np.concatenate((cell[4:-4, edge : 2 * edge], cell[4:-4, -2 * edge : -edge]), axis=1)
        self._margin = np.median(margins.reshape(-1, 3), axis=0)
        self._spread = float(np.abs(cell[4:-4, 4:-4].astype(float) - self._margin).mean())
        self._count = read_clock(cell, FPS)

    @property
    def count(self) -> int:
        assert self._count is not None
        return self._count

    def __str__(self) -> str:
        color = "#{:02x}{:02x}{:02x}".format(*(round(part) for part in self._margin))
        return f"{color} {'without a clock' if self._count is None else f'at {self._count / FPS:.2f}'}"

    def shows(self, look: Look, now: float) -> bool:
        if float(np.abs(self._margin - look.color).max()) > COLOR_WITHIN:
            return False
        if look.clock is None:
            return self._spread < 10
        if self._count is None:
            return False
        if look.clock == "past":
            return True
        if look.clock == "live":
            return CLOCK_WITHIN_S[0] <= _after(now, self._count) <= CLOCK_WITHIN_S[1]
        begin, end = look.clock
        return _after(begin, self._count) <= 0.0 <= _after(end, self._count)


def _after(now: float, count: int) -> float:
    """How much later than its capture, the nearest that the clock in the picture can mean."""
    return (now - count / FPS + LOOP_S / 2) % LOOP_S - LOOP_S / 2


def _wanted(rooms: list[tuple[Look, ...]]) -> str:
    return " | ".join(
        "(" + ", ".join("#{:02x}{:02x}{:02x}".format(*look.color) + f" {look.clock or ''}" for look in room) + ")"
        for room in rooms
    )
