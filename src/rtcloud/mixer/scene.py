"""What the mixed picture consists of at one time: pure values that say where everything is and how it is drawn.

A ``Scene`` is made by whoever knows the request and the people (``egress.recording``, ``egress.publishing``); the
mixer draws it. Everything is drawn from the background up in the order of ``z``; at equal ``z`` cells come before
overlays, and each in the order of its tuple. Rectangles are in pixels of the canvas, even on every edge, inside it.
"""

from dataclasses import dataclass
from typing import Literal

from rtcloud.mixer.layout import Colour, Rect, RenderMode


@dataclass(frozen=True, slots=True)
class Image:
    """A checked picture file: PNG, JPEG, BMP, or the first picture of a GIF or WebP."""

    path: str


@dataclass(frozen=True, slots=True)
class Text:
    """``size`` in pixels; ``colour`` and ``fill`` are 0xRRGGBB, no fill is transparent. With ``clock_zone`` (hours east
    of UTC) the time of the picture, ``YYYY-MM-DD hh:mm:ss``, stands in place of ``text``. ``outline`` is the colour
    around the letters."""

    text: str
    size: int
    colour: int = 0xFFFFFF
    fill: int | None = None
    font: str = ""
    clock_zone: float | None = None
    outline: int | None = None


@dataclass(frozen=True, slots=True)
class Holder:
    """What a cell shows while it has no picture. ``size`` draws it centred in that size with round corners instead of
    over the whole cell; ``bars`` is what lies beside a fitted one (None: what is beneath the cell)."""

    image: Image
    mode: RenderMode = RenderMode.STRETCH
    bars: Colour | None = None
    size: tuple[int, int] | None = None
    radius: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """One place. ``track_id`` None (or a track without a picture yet) shows the holder, without one the ``fill``, and
    without that nothing.

    ``crop`` is cut from the source before it is fitted, in its pixels, and is bounded by them. ``mask`` is an image
    whose alpha, stretched over the rectangle, becomes the picture's. ``opacity`` is of all that the cell shows: 255
    hides what is beneath, 0 is not to be seen.
    """

    rect: Rect
    track_id: str | None = None
    z: int = 0
    mode: RenderMode = RenderMode.CROP
    bars: Colour | None = None
    crop: Rect | None = None
    mask: Image | None = None
    holder: Holder | None = None
    fill: Colour | None = None
    opacity: int = 255


@dataclass(frozen=True, slots=True)
class Overlay:
    """A watermark. ``random`` moves to another place each second, ``bouncing`` a little with each picture."""

    content: Image | Text
    rect: Rect
    z: int = 0
    motion: Literal["fixed", "random", "bouncing"] = "fixed"


@dataclass(frozen=True, slots=True)
class Scene:
    background: Colour
    backdrop: Image | None = None
    backdrop_mode: RenderMode = RenderMode.STRETCH
    cells: tuple[Cell, ...] = ()
    overlays: tuple[Overlay, ...] = ()
