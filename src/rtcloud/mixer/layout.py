"""Where each picture goes: pure geometry, in whole even pixels.

A YUV 4:2:0 canvas has one chroma sample per 2×2 pixels, so every rectangle here has even edges. All cells of a template
have the same size (a promise of the documents); up to two pixels per row or column may stay background for it.
"""

import re
from dataclasses import dataclass
from enum import Enum

#: pictures in one grid; more people are heard but not seen
MAX_PICTURES = 25
#: what ``SMART`` may cut away of the width or height
SMART_CROP = 0.2


@dataclass(frozen=True, slots=True)
class Rect:
    left: int
    top: int
    width: int
    height: int


class RenderMode(Enum):
    """What to do when a picture and its rectangle differ in shape."""

    STRETCH = "stretch"
    CROP = "crop"  # fill the rectangle, cut what is too much, centred
    FIT = "fit"  # all of it, centred
    SMART = "smart"  # cut at most a fifth, stretch the rest


@dataclass(frozen=True, slots=True)
class Fit:
    """``crop`` of the source is scaled to ``target`` inside the cell (relative to the canvas)."""

    crop: Rect
    target: Rect


@dataclass(frozen=True, slots=True)
class Colour:
    """A colour as BT.601 limited-range Y, U, V, which is what 4:2:0 video of people is."""

    y: int
    u: int
    v: int


def grid_columns(count: int) -> tuple[int, int]:
    """Columns and rows of the grid for ``count`` pictures."""
    if count <= 1:
        return 1, 1
    if count == 2:
        return 2, 1
    for side in (2, 3, 4):
        if count <= side * side:
            return side, side
    return 5, 5


def grid(count: int, width: int, height: int) -> list[Rect]:
    """Cells in reading order, from the top left; at most ``MAX_PICTURES``."""
    count = min(count, MAX_PICTURES)
    columns, rows = grid_columns(count)
    cell_width, cell_height = even(width // columns), even(height // rows)
    return [
        Rect(index % columns * cell_width, index // columns * cell_height, cell_width, cell_height)
        for index in range(count)
    ]


def fit(source_width: int, source_height: int, cell: Rect, mode: RenderMode) -> Fit:
    """How a picture of this size is shown in ``cell``. Sizes are positive."""
    whole = Rect(0, 0, source_width, source_height)
    if mode is RenderMode.STRETCH or source_width * cell.height == source_height * cell.width:
        return Fit(whole, cell)
    if mode is RenderMode.FIT:
        return Fit(whole, _inscribed(source_width, source_height, cell))
    crop_width = min(source_width, source_height * cell.width / cell.height)
    crop_height = min(source_height, source_width * cell.height / cell.width)
    if mode is RenderMode.SMART:
        crop_width = max(crop_width, source_width * (1 - SMART_CROP))
        crop_height = max(crop_height, source_height * (1 - SMART_CROP))
    return Fit(_centred(whole, crop_width, crop_height), cell)


def source_size(cell: Rect, mode: RenderMode, source_width: int, source_height: int) -> tuple[int, int]:
    """The size a source of this shape should have so that no pixel of ``cell`` is made up; the cell's own size while
    the shape is unknown."""
    if source_width <= 0 or source_height <= 0:
        return cell.width, cell.height
    shown = fit(source_width, source_height, cell, mode)
    scale = max(shown.target.width / shown.crop.width, shown.target.height / shown.crop.height)
    return round(source_width * scale), round(source_height * scale)


def parse_colour(text: str) -> Colour | None:
    """``#RRGGBB``; None when it is not one."""
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", text):
        return None
    return from_rgb(*(int(text[index : index + 2], 16) for index in (1, 3, 5)))


def inside(left: int, top: int, width: int, height: int, canvas: Rect) -> Rect | None:
    """The even part of such a rectangle that lies in the canvas; None when there is nothing of it."""
    right, bottom = min(left + width, canvas.width) & ~1, min(top + height, canvas.height) & ~1
    left, top = max(left, 0) & ~1, max(top, 0) & ~1
    return Rect(left, top, right - left, bottom - top) if right > left and bottom > top else None


#: Of red, green and blue (0 to 255): what is added first, then the shares of each, for Y, U and V
RGB_TO_YUV = (
    (16, 65.481 / 255, 128.553 / 255, 24.966 / 255),
    (128, -37.797 / 255, -74.203 / 255, 112.0 / 255),
    (128, 112.0 / 255, -93.786 / 255, -18.214 / 255),
)


def from_rgb(red: int, green: int, blue: int) -> Colour:
    return Colour(*(round(base + r * red + g * green + b * blue) for base, r, g, b in RGB_TO_YUV))


BLACK = from_rgb(0, 0, 0)


def even(value: float) -> int:
    """The even number at or below ``value``, at least 2."""
    return max(2, int(value) & ~1)


def _inscribed(width: int, height: int, cell: Rect) -> Rect:
    scale = min(cell.width / width, cell.height / height)
    # rounding to the nearest even pixel may not leave the cell, whose size is even
    inner_width = min(cell.width, even(width * scale + 1))
    inner_height = min(cell.height, even(height * scale + 1))
    return _centred(cell, inner_width, inner_height)


def _centred(outer: Rect, width: float, height: float) -> Rect:
    inner_width, inner_height = min(outer.width, even(width)), min(outer.height, even(height))
    return Rect(
        outer.left + ((outer.width - inner_width) // 2 & ~1),
        outer.top + ((outer.height - inner_height) // 2 & ~1),
        inner_width,
        inner_height,
    )
