"""What the past comes to: who was there when, and how much a robot received when. Pure."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest

from rtcloud.stats.events import Stay, Stretch


@dataclass(frozen=True, slots=True)
class Scale:
    """``users`` are (room, user) pairs seen in the step that ends at ``at_ms``; ``rooms`` those with a user."""

    at_ms: int
    users: int
    rooms: int


@dataclass(frozen=True, slots=True)
class Received:
    """From ``started_ms`` to ``stopped_ms`` (None: still) pictures of together ``area`` pixels came in, and sound or
    not."""

    started_ms: int
    stopped_ms: int | None
    area: int
    audio: bool


def scale(stays: Iterable[Stay], from_ms: int, to_ms: int, step_ms: int) -> list[Scale]:
    """One point for each step of the range. Who comes back within a step counts once."""
    steps = -(-(to_ms - from_ms) // step_ms)
    users: defaultdict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    rooms: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for stay in stays:
        first = max(0, (stay.joined_ms - from_ms) // step_ms)
        last = steps - 1 if stay.left_ms is None else min(steps - 1, (stay.left_ms - from_ms) // step_ms)
        if first <= last:
            users[stay.room, stay.user_id].append((first, last))
            rooms[stay.room].append((first, last))
    present, open_rooms = _count(users.values(), steps), _count(rooms.values(), steps)
    return [Scale(from_ms + (step + 1) * step_ms, present[step], open_rooms[step]) for step in range(steps)]


def received_areas(stretches: Iterable[Stretch]) -> list[Received]:
    """What one presence received, as a line of steps without gaps between equal ones."""
    changes: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)  # at: (area, sounds)
    for one in stretches:
        change = (0, 1) if one.kind == "audio" else (one.width * one.height, 0)
        changes[one.started_ms].append(change)
        if one.stopped_ms is not None:
            changes[one.stopped_ms].append((-change[0], -change[1]))
    steps: list[Received] = []
    area = sounds = 0
    times = sorted(changes)
    for at_ms, until_ms in zip_longest(times, times[1:]):
        area += sum(change[0] for change in changes[at_ms])
        sounds += sum(change[1] for change in changes[at_ms])
        if not area and not sounds:
            continue
        before = steps[-1] if steps else None
        if before is not None and (before.stopped_ms, before.area, before.audio) == (at_ms, area, sounds > 0):
            steps[-1] = Received(before.started_ms, until_ms, area, before.audio)
        else:
            steps.append(Received(at_ms, until_ms, area, sounds > 0))
    return steps


def _count(spans: Iterable[list[tuple[int, int]]], steps: int) -> list[int]:
    """How many have a span over each step; the spans of one may overlap."""
    differences = [0] * (steps + 1)
    for mine in spans:
        covered = -1
        for first, last in sorted(mine):
            first = max(first, covered + 1)
            if first <= last:
                differences[first] += 1
                differences[last + 1] -= 1
                covered = last
    total, counts = 0, []
    for change in differences[:steps]:
        total += change
        counts.append(total)
    return counts
