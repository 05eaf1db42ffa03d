"""The preset layouts as the documents describe them: which places there are for so many pictures. Pure geometry.

Relay and recording share the shapes and differ in numbers and in what is cropped, which ``RELAY`` and ``RECORDING``
hold as data. The relay's documents name no sizes for small pictures: they are the recording's.

Places come in the order in which they are taken: the big one first, whether or not somebody is in it. Edges are even,
nothing leaves the canvas, small places are all of one size and do not overlap; up to two pixels per row and column of
them may stay background for it. Canvases have at least ``MIN_SIDE`` pixels on each side.
"""

from dataclasses import dataclass, replace

from rtcloud.mixer import layout
from rtcloud.mixer.layout import Rect, RenderMode, even

MIN_SIDE = 16
MIN_RECORDED_SIDE = 20


@dataclass(frozen=True, slots=True)
class Place:
    """``z`` is 0, and 1 for what floats above. ``mode`` holds unless the request sets another for all."""

    rect: Rect
    z: int = 0
    mode: RenderMode = RenderMode.CROP


@dataclass(frozen=True, slots=True)
class Floating:
    """Up to ``pictures`` (the big one is one of them): small ones ``columns`` to a row; ``size`` and ``gap`` are parts
    of the canvas's width and height."""

    pictures: int
    columns: int
    size: float
    gap: float


@dataclass(frozen=True, slots=True)
class Sharing:
    """Up to ``pictures``: small ones are ``1 / across`` by ``1 / down`` of the canvas, in ``columns`` of ``down`` each,
    and below the big one when ``beneath``."""

    pictures: int
    across: int
    down: int
    columns: int
    beneath: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    pictures: int
    floating: tuple[Floating, ...]
    sharing: tuple[Sharing, ...]
    big_mode: RenderMode  # of screen sharing
    small_mode: RenderMode = RenderMode.CROP


_SHARING = (Sharing(5, 5, 4, 1), Sharing(7, 7, 6, 1), Sharing(9, 9, 8, 1), Sharing(17, 10, 8, 2))

RELAY = Rules(
    pictures=16,
    floating=(Floating(16, 4, 0.235, 0.012),),
    sharing=_SHARING,
    # "scaled to maintain content integrity, while the small screens on the right side will be cropped"
    big_mode=RenderMode.FIT,
)
RECORDING = Rules(
    pictures=25,
    floating=(Floating(17, 4, 0.235, 0.012), Floating(25, 5, 0.188, 0.01)),
    sharing=(*_SHARING, Sharing(25, 10, 8, 2, beneath=True)),
    big_mode=RenderMode.CROP,
)


def grid(rules: Rules, count: int, width: int, height: int) -> list[Place]:
    """Places for ``count`` pictures of equal rank, in reading order."""
    return [Place(rect, mode=rules.small_mode) for rect in layout.grid(min(count, rules.pictures), width, height)]


def floating(rules: Rules, small: int, width: int, height: int) -> list[Place]:
    """The big place over the whole canvas, then ``small`` ones: from the bottom left to the right, row above row."""
    small = min(small, rules.pictures - 1)
    rule = next(rule for rule in rules.floating if small + 1 <= rule.pictures)
    cell_width, cell_height = even(width * rule.size), even(height * rule.size)
    gap_x, gap_y = int(width * rule.gap) & ~1, int(height * rule.gap) & ~1
    places = [Place(Rect(0, 0, width, height), mode=rules.small_mode)]
    for index in range(small):
        row, column = divmod(index, rule.columns)
        left = gap_x + column * (cell_width + gap_x)
        top = height - (row + 1) * (cell_height + gap_y)
        places.append(Place(Rect(left, top, cell_width, cell_height), 1, rules.small_mode))
    return places


def screen_sharing(rules: Rules, small: int, width: int, height: int, *, big_right: bool = False) -> list[Place]:
    """The big place on the left (or right), then ``small`` ones beside it: from the top down, column after column;
    those for whom there is no room stand beneath the big one, from the left."""
    small = min(small, rules.pictures - 1)
    rule = next(rule for rule in rules.sharing if small + 1 <= rule.pictures)
    cell_width, cell_height = even(width / rule.across), even(height / rule.down)
    big_width = width - rule.columns * cell_width
    big_height = (rule.down - 1) * cell_height if rule.beneath else height
    big_left = width - big_width if big_right else 0
    places = [Place(Rect(big_left, 0, big_width, big_height), mode=rules.big_mode)]
    beside = rule.columns * rule.down
    for index in range(small):
        if index < beside:
            column, row = divmod(index, rule.down)
            left = column * cell_width + (0 if big_right else big_width)
            top = row * cell_height
        else:
            left, top = big_left + (index - beside) * cell_width, big_height
        places.append(Place(Rect(left, top, cell_width, cell_height), mode=rules.small_mode))
    return places


def with_mode(places: list[Place], mode: RenderMode | None) -> list[Place]:
    """All places drawn in one way; None leaves each its own."""
    return places if mode is None else [replace(place, mode=mode) for place in places]
