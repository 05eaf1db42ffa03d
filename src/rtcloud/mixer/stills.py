"""Pictures that do not move, ready to be drawn: watermarks, placeholders, backgrounds, masks and text.

Files come from users: they were checked when they were fetched, and are not trusted here either. A file that cannot be
shown gives None, never an error, and nothing is decoded that has more than ``MAX_PIXELS``. What comes out has the size
that was asked for, in the canvas's own form (BT.601, limited range, 4:2:0), with alpha where something shines through.

Files are named after their content, so what was made of one is kept by its path, as much as ``CACHE_BYTES`` hold. Any
thread may call: one that finds nothing makes it, at worst twice.
"""

import re
import threading
import warnings
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image as Pillow
from PIL import ImageChops, ImageDraw, ImageFont, ImageOps

from rtcloud.mixer.layout import RGB_TO_YUV, Colour, Rect, RenderMode, fit
from rtcloud.mixer.scene import Holder, Image, Text

Plane = npt.NDArray[np.uint8]
_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
MAX_PIXELS = 4096 * 4096
CACHE_BYTES = 64 << 20

_FONTS = "/usr/share/fonts"
#: The first that is there is taken: for text in Latin, Greek, Cyrillic, Arabic …
PLAIN_FONTS = (f"{_FONTS}/truetype/dejavu/DejaVuSans.ttf", f"{_FONTS}/truetype/liberation/LiberationSans-Regular.ttf")
#: … and for text with anything Chinese, Japanese or Korean. SourceHanSans and Noto Sans CJK are one design.
CJK_FONTS = (
    f"{_FONTS}/opentype/noto/NotoSansCJK-Regular.ttc",
    f"{_FONTS}/opentype/source-han-sans/SourceHanSans-Regular.ttc",
    f"{_FONTS}/truetype/wqy/wqy-zenhei.ttc",
    f"{_FONTS}/truetype/droid/DroidSansFallbackFull.ttf",
)
#: In Noto's collection: Simplified Chinese.
_SIMPLIFIED = 2
_CJK = re.compile(
    "[\u1100-\u11ff\u2e80-\ua4cf\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef]|[\U00020000-\U0003ffff]"
)
MAX_FONT_SIZE = 1024
OUTLINE = 1  # pixels
_SMOOTH = 4  # times as many pixels where a round edge is drawn


@dataclass(frozen=True, slots=True)
class Still:
    """Planes of an even ``width`` by ``height``: ``y`` of each pixel, ``u`` and ``v`` of each 2×2. ``alpha`` (255
    opaque) goes with ``y``, ``alpha_uv`` with the others; both are None when everything is opaque."""

    width: int
    height: int
    y: Plane
    u: Plane
    v: Plane
    alpha: Plane | None = None
    alpha_uv: Plane | None = None


@dataclass(frozen=True, slots=True)
class Mask:
    """Alpha for a picture of this size, as in ``Still``."""

    alpha: Plane
    alpha_uv: Plane


def load(
    image: Image, width: int, height: int, mode: RenderMode = RenderMode.STRETCH, bars: Colour | None = None
) -> Still | None:
    """The file in a rectangle of this even size. What lies beside a fitted picture, or shines through, is ``bars``, or
    transparent."""
    return load_holder(Holder(image, mode, bars), width, height)


def load_holder(holder: Holder, width: int, height: int) -> Still | None:
    """What a cell of this even size shows while it has no picture."""

    def make() -> Still | None:
        source = _decoded(holder.image.path)
        return None if source is None else _to_still(_placed(source, holder, width, height), holder.bars)

    return _stills.take((holder, width, height), make)


def load_mask(image: Image, width: int, height: int) -> Mask | None:
    """The file's alpha, stretched over a rectangle of this even size."""

    def make() -> Mask | None:
        source = _decoded(image.path)
        if source is None:
            return None
        alpha = _resized(source.getchannel("A"), (width, height))
        return Mask(_plane(alpha), _plane(alpha.reduce(2)))

    return _masks.take((image, width, height), make)


def render_text(text: Text, width: int, height: int, now_ms: int = 0) -> Still:
    """The text at the left, in the middle of the height, made smaller where it does not fit. ``now_ms`` is Unix time,
    for a clock."""
    words = clock_text(text.clock_zone, now_ms) if text.clock_zone is not None else text.text
    canvas = Pillow.new("RGBA", (width, height), (*_rgb(text.colour), 0))
    if text.fill is not None:
        canvas = Pillow.new("RGBA", (width, height), (*_rgb(text.fill), 255))
    if words.strip():
        ink = Pillow.new("L", (width, height), 0)
        drawing = ImageDraw.Draw(ink)
        font, box = _fitting(drawing, words, text, width, height)
        # Whatever the font says of its letters' height: their ink stands in the middle.
        at = (-box[0], (height - box[3] - box[1]) / 2)
        drawing.multiline_text(at, words, fill=255, font=font)
        if text.outline is not None:
            canvas = Pillow.alpha_composite(canvas, _outlined(words, at, font, text.outline, canvas.size))
        colour = Pillow.new("RGBA", (width, height), (*_rgb(text.colour), 255))
        colour.putalpha(ink)
        canvas = Pillow.alpha_composite(canvas, colour)
    return _to_still(canvas, None)


def clock_text(zone: float, now_ms: int) -> str:
    """``zone`` is in hours east of UTC."""
    there = timezone(timedelta(hours=max(-23.0, min(23.0, zone))))
    return datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(there).strftime("%Y-%m-%d %H:%M:%S")


def _outlined(words: str, at: tuple[float, float], font: _Font, colour: int, size: tuple[int, int]) -> Pillow.Image:
    ink = Pillow.new("L", size, 0)
    ImageDraw.Draw(ink).multiline_text(at, words, fill=255, font=font, stroke_width=OUTLINE)
    outline = Pillow.new("RGBA", size, (*_rgb(colour), 255))
    outline.putalpha(ink)
    return outline


# Decoding -------------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)
def _decoded(path: str) -> Pillow.Image | None:
    """The first picture of the file, upright, with alpha."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of oddities in files, which are not ours
            with Pillow.open(path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    return None
                return ImageOps.exif_transpose(image).convert("RGBA")
    except Exception:  # a decoder raises nearly anything on a broken file
        return None


def _placed(source: Pillow.Image, holder: Holder, width: int, height: int) -> Pillow.Image:
    inner = Rect(0, 0, width, height)
    if holder.size is not None:
        wide, high = min(holder.size[0], width), min(holder.size[1], height)
        inner = Rect((width - wide) // 2, (height - high) // 2, wide, high)
    shown = fit(source.width, source.height, inner, holder.mode)
    crop, target = shown.crop, shown.target
    picture = _resized(
        source, (target.width, target.height), (crop.left, crop.top, crop.left + crop.width, crop.top + crop.height)
    )
    if holder.radius > 0:
        picture.putalpha(ImageChops.multiply(picture.getchannel("A"), _rounded(picture.size, holder.radius)))
    if picture.size == (width, height):
        return picture
    canvas = Pillow.new("RGBA", (width, height), (0, 0, 0, 0))
    canvas.paste(picture, (target.left, target.top))
    return canvas


def _resized(source: Pillow.Image, size: tuple[int, int], box: tuple[int, int, int, int] | None = None) -> Pillow.Image:
    box = box and (box[0], box[1], min(box[2], source.width), min(box[3], source.height))
    if source.mode != "RGBA":
        return source.resize(size, Pillow.Resampling.BILINEAR, box)
    # Scaled with its colours multiplied by alpha: what is transparent has a colour that may not bleed in.
    return source.convert("RGBa").resize(size, Pillow.Resampling.BILINEAR, box).convert("RGBA")


def _rounded(size: tuple[int, int], radius: int) -> Pillow.Image:
    radius = min(radius, min(size) // 2)
    large = Pillow.new("L", (size[0] * _SMOOTH, size[1] * _SMOOTH), 0)
    ImageDraw.Draw(large).rounded_rectangle(
        (0, 0, large.width - 1, large.height - 1), radius=radius * _SMOOTH, fill=255
    )
    return large.resize(size, Pillow.Resampling.BOX)


# Colours --------------------------------------------------------------------------------------------------------------


def _to_still(picture: Pillow.Image, bars: Colour | None) -> Still:
    """Of RGBA with even sides. All of it in Pillow's own code: a large background must not hold up the pictures."""
    alpha = picture.getchannel("A")
    is_opaque = alpha.getextrema()[0] == 255
    # With colours multiplied by alpha: of four pixels the colour of those that are seen.
    half = picture.reduce(2) if is_opaque else picture.convert("RGBa").reduce(2).convert("RGBA")
    y = _component(picture, 0)
    u, v = _component(half, 1), _component(half, 2)
    if is_opaque:
        return Still(picture.width, picture.height, _plane(y), _plane(u), _plane(v))
    alpha_uv = half.getchannel("A")
    if bars is None:
        return Still(picture.width, picture.height, _plane(y), _plane(u), _plane(v), _plane(alpha), _plane(alpha_uv))
    y = Pillow.composite(y, Pillow.new("L", y.size, bars.y), alpha)
    u = Pillow.composite(u, Pillow.new("L", u.size, bars.u), alpha_uv)
    v = Pillow.composite(v, Pillow.new("L", v.size, bars.v), alpha_uv)
    return Still(picture.width, picture.height, _plane(y), _plane(u), _plane(v))


def _component(picture: Pillow.Image, index: int) -> Pillow.Image:
    base, red, green, blue = RGB_TO_YUV[index]
    return picture.convert("RGB").convert("L", (red, green, blue, base))


def _plane(channel: Pillow.Image) -> Plane:
    return np.array(channel, dtype=np.uint8)


def _rgb(colour: int) -> tuple[int, int, int]:
    return colour >> 16 & 255, colour >> 8 & 255, colour & 255


# Text -----------------------------------------------------------------------------------------------------------------


def _fitting(
    drawing: ImageDraw.ImageDraw, words: str, text: Text, width: int, height: int
) -> tuple[_Font, tuple[float, float, float, float]]:
    size = max(1, min(text.size, MAX_FONT_SIZE))
    while True:
        font = _font(_needs_cjk(words, text.font), size)
        box = drawing.multiline_textbbox((0, 0), words, font=font)
        share = min(1.0, width / max(1.0, box[2] - box[0]), height / max(1.0, box[3] - box[1]))
        if share >= 1 or size == 1:
            return font, box
        size = max(1, min(size - 1, int(size * share)))


def _needs_cjk(words: str, font: str) -> bool:
    return font == "SourceHanSans" or _CJK.search(words) is not None


@lru_cache(maxsize=32)
def _font(cjk: bool, size: int) -> _Font:
    for path in (*CJK_FONTS, *PLAIN_FONTS) if cjk else (*PLAIN_FONTS, *CJK_FONTS):
        if not Path(path).is_file():
            continue
        for index in (_SIMPLIFIED, 0) if path.endswith(".ttc") else (0,):
            try:
                return ImageFont.truetype(path, size, index)
            except OSError:
                continue
    return ImageFont.load_default(size)


# What was made before ------------------------------------------------------------------------------------------------

_Made = TypeVar("_Made", Still, Mask)


class _Cache(Generic[_Made]):
    """The last used ones, as much as fits."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._made: OrderedDict[Hashable, _Made | None] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def take(self, key: Hashable, make: Callable[[], _Made | None]) -> _Made | None:
        with self._lock:
            if key in self._made:
                self._made.move_to_end(key)
                return self._made[key]
        made = make()
        with self._lock:
            if key in self._made:
                return self._made[key]
            self._made[key] = made
            self._size += _size(made)
            while self._size > self._budget and len(self._made) > 1:
                self._size -= _size(self._made.popitem(last=False)[1])
        return made


def _size(made: Still | Mask | None) -> int:
    """What is broken counts as well: names of such files may not pile up."""
    if made is None:
        return 1024
    planes = (
        (made.y, made.u, made.v, made.alpha, made.alpha_uv) if isinstance(made, Still) else (made.alpha, made.alpha_uv)
    )
    return 1024 + sum(plane.nbytes for plane in planes if plane is not None)


_stills = _Cache[Still](CACHE_BYTES)
_masks = _Cache[Mask](CACHE_BYTES // 4)
