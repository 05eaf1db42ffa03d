"""Draws a scene: which layers it has at this moment, and what each of them holds.

Every picture is scaled once, straight into the size it is shown in, and kept so until the next one comes; a layer above
that changes does not make it be scaled again. A track is only worth decoding while its cell can be seen: ``visible``
says which are.

Calls are not thread-safe but for ``CellView.take``, which concerns its own cell only: cells may be scaled in parallel.
"""

import random
from collections.abc import Container
from dataclasses import replace

import av
import numpy as np
from av.video.frame import VideoFrame

from rtcloud.mixer import layout, stills
from rtcloud.mixer.canvas import Canvas, Content, Layer, Opaque, blended, uncovered
from rtcloud.mixer.layout import Colour, Fit, Rect, RenderMode
from rtcloud.mixer.scene import Cell, Overlay, Scene, Text
from rtcloud.mixer.stills import Mask, Still
from rtcloud.mixer.video import Plane, Scaler, planes

#: how long a bouncing overlay takes across its free way, each direction with a time of its own
BOUNCE_MS = (11_000, 7_000)
OPAQUE = 255


class Compositor:
    def __init__(self, width: int, height: int) -> None:
        self._canvas = Canvas(width, height)
        self._scene = Scene(layout.BLACK)
        self._views: list[CellView] = []
        self._overlays: list[_OverlayView] = []
        self._below: list[Layer] = []
        self.show(self._scene)

    @property
    def frame(self) -> VideoFrame:
        """As ``draw`` left it."""
        return self._canvas.frame

    @property
    def scene(self) -> Scene:
        return self._scene

    @property
    def views(self) -> list["CellView"]:
        return self._views

    def show(self, scene: Scene) -> None:
        """From the next ``draw`` on. Cells that stay as they are keep their pictures."""
        kept = {view.key: view for view in self._views}
        self._views = [_reused(cell, kept) for cell in scene.cells]
        self._overlays = [_OverlayView(overlay, index) for index, overlay in enumerate(scene.overlays)]
        self._scene = scene
        whole = self._canvas.whole
        self._below = [Layer(whole, scene.background)]
        if scene.backdrop is not None:
            self._below += _still_layers(whole, stills.load(scene.backdrop, *_size(whole), scene.backdrop_mode))
        self._canvas.spoil()

    def draw(self, now_ms: int, clock_ms: int) -> VideoFrame:
        """``now_ms`` counts from the output's beginning and moves what moves, ``clock_ms`` is the time of day."""
        drawn: list[tuple[int, list[Layer]]] = [(view.cell.z, view.layers()) for view in self._views]
        for overlay in self._overlays:
            drawn.append((overlay.overlay.z, overlay.layers(now_ms, clock_ms, self._canvas.whole)))
        drawn.sort(key=lambda each: each[0])
        self._canvas.draw([*self._below, *(layer for _, layers in drawn for layer in layers)])
        return self._canvas.frame


def prepare(scene: Scene, width: int, height: int) -> None:
    """Reads and scales the images of a scene for a canvas of this size. Whoever does so beforehand, on another thread,
    spares the mixing thread up to a second in which no picture would be made."""
    if scene.backdrop is not None:
        stills.load(scene.backdrop, width, height, scene.backdrop_mode)
    for cell in scene.cells:
        if cell.mask is not None:
            stills.load_mask(cell.mask, *_size(cell.rect))
        if cell.holder is not None:
            stills.load_holder(cell.holder, *_size(cell.rect))
    for overlay in scene.overlays:
        if not isinstance(overlay.content, Text):
            stills.load(overlay.content, *_size(overlay.rect))


def visible(scene: Scene, has_picture: Container[str]) -> dict[str, Cell]:
    """The tracks of the scene that can be seen, with the largest of their cells. A cell hides what is wholly beneath
    it, or beneath it and others, when it has a picture that leaves nothing open."""
    seen: dict[str, Cell] = {}
    covers: list[Rect] = []
    for cell in reversed(sorted(scene.cells, key=lambda cell: cell.z)):
        if cell.track_id is None or cell.opacity == 0 or not uncovered(cell.rect, covers):
            continue
        other = seen.get(cell.track_id)
        if other is None or other.rect.width * other.rect.height < cell.rect.width * cell.rect.height:
            seen[cell.track_id] = cell
        is_full = cell.opacity == OPAQUE and (cell.mode is not RenderMode.FIT or cell.bars is not None)
        if cell.mask is None and is_full and cell.track_id in has_picture:
            covers.append(cell.rect)
    return seen


def wanted_size(cell: Cell, width: int, height: int) -> tuple[int, int]:
    """The size that a source of this (announced) size should be sent in, so that no pixel of the cell is made up."""
    if cell.crop is None or width <= 0 or height <= 0:
        return layout.source_size(cell.rect, cell.mode, width, height)
    crop = _bounded(cell.crop, width, height)
    crop_width, _ = layout.source_size(cell.rect, cell.mode, crop.width, crop.height)
    scale = min(1.0, crop_width / crop.width)
    return round(width * scale), round(height * scale)


class CellView:
    """One cell with what it shows. The picture goes on being shown until another one or ``clear``."""

    def __init__(self, cell: Cell) -> None:
        self.cell = cell
        self._scaler = Scaler()
        self._picture: Layer | None = None
        self._layers: list[Layer] | None = None
        self._mask: Mask | None = stills.load_mask(cell.mask, *_size(cell.rect)) if cell.mask is not None else None

    @property
    def key(self) -> object:
        """Cells alike in this differ at most in what lies around and beneath the picture."""
        return _key(self.cell)

    @property
    def has_picture(self) -> bool:
        return self._picture is not None

    def become(self, cell: Cell) -> None:
        """Goes on as a cell with the same ``key``."""
        if cell != self.cell:
            self.cell = cell
            self._layers = None

    def take(self, picture: VideoFrame, announced: tuple[int, int] = (0, 0)) -> None:
        """``announced`` is the size that the cell's ``crop`` is meant for, whichever size comes. A picture that FFmpeg
        does not scale so (some pixels wide, and stretched a thousandfold) is left out."""
        shown = _fitted(picture, self.cell, announced)
        try:
            scaled = self._scaler.scale(picture, shown)
        except av.FFmpegError:
            return
        content = self._content(scaled, shown.target)
        if self._picture is not None and self._picture.rect == shown.target:
            self._picture.content = content
            self._picture.changed = True
        else:
            self._picture = Layer(shown.target, content)
            self._layers = None

    def clear(self) -> None:
        """Back to the holder."""
        if self._picture is not None:
            self._picture = None
            self._layers = None

    def layers(self) -> list[Layer]:
        if self._layers is None:
            self._layers = self._arranged()
        return self._layers

    def _arranged(self) -> list[Layer]:
        cell = self.cell
        if self._picture is not None:
            if cell.bars is None:
                return [self._picture]
            bars = uncovered(cell.rect, [self._picture.rect])
            return [*(_plain(bar, cell.bars, cell.opacity) for bar in bars), self._picture]
        still = stills.load_holder(cell.holder, *_size(cell.rect)) if cell.holder is not None else None
        if still is not None:
            return _still_layers(cell.rect, still, cell.opacity)
        return [] if cell.fill is None else [_plain(cell.rect, cell.fill, cell.opacity)]

    def _content(self, scaled: VideoFrame, target: Rect) -> Content:
        picture = planes(scaled)
        opacity = self.cell.opacity
        if self._mask is None:
            return Opaque(picture) if opacity == OPAQUE else blended(picture, *_evenly(target, opacity))
        left, top = target.left - self.cell.rect.left, target.top - self.cell.rect.top
        alpha = self._mask.alpha[top : top + target.height, left : left + target.width]
        half = self._mask.alpha_uv[top >> 1 : top + target.height >> 1, left >> 1 : left + target.width >> 1]
        return blended(picture, _thinned(alpha, opacity), _thinned(half, opacity))


class _OverlayView:
    def __init__(self, overlay: Overlay, number: int) -> None:
        self.overlay = overlay
        self._number = number
        self._layer: Layer | None = None
        self._second: int | None = None

    def layers(self, now_ms: int, clock_ms: int, canvas: Rect) -> list[Layer]:
        content, rect = self.overlay.content, self.overlay.rect
        ticks = isinstance(content, Text) and content.clock_zone is not None
        second = clock_ms // 1000 if ticks else 0
        if second != self._second:
            self._second = second
            still = (
                stills.render_text(content, *_size(rect), clock_ms)
                if isinstance(content, Text)
                else stills.load(content, *_size(rect))
            )
            self._layer = Layer(rect, _still_content(still)) if still is not None else None
        if self._layer is None:
            return []
        place = placed(self.overlay, self._number, now_ms, canvas)
        if place != self._layer.rect:
            self._layer.rect = place
            self._layer.changed = True
        return [self._layer]


def placed(overlay: Overlay, number: int, now_ms: int, canvas: Rect) -> Rect:
    """Where the overlay is at this time: a pure function of it, so that nothing need be remembered."""
    free = max(0, canvas.width - overlay.rect.width), max(0, canvas.height - overlay.rect.height)
    if overlay.motion == "random":
        dice = random.Random(now_ms // 1000 * 64 + number)
        left, top = (dice.randint(0, way) for way in free)
    elif overlay.motion == "bouncing":
        begin = overlay.rect.left, overlay.rect.top
        left, top = (_bounced(at, way, now_ms, ms) for at, way, ms in zip(begin, free, BOUNCE_MS, strict=True))
    else:
        return overlay.rect
    return replace(overlay.rect, left=left & ~1, top=top & ~1)


def _bounced(begin: int, way: int, now_ms: int, way_ms: int) -> int:
    """There and back over ``way`` pixels, from ``begin`` on."""
    if way == 0:
        return 0
    at = (begin + way * now_ms // way_ms) % (2 * way)
    return at if at <= way else 2 * way - at


def _fitted(picture: VideoFrame, cell: Cell, announced: tuple[int, int]) -> Fit:
    if cell.crop is None:
        return layout.fit(picture.width, picture.height, cell.rect, cell.mode)
    wide, high = (picture.width / announced[0], picture.height / announced[1]) if all(announced) else (1.0, 1.0)
    crop = cell.crop
    crop = Rect(int(crop.left * wide), int(crop.top * high), int(crop.width * wide), int(crop.height * high))
    crop = _bounded(crop, picture.width, picture.height)
    inner = layout.fit(crop.width, crop.height, cell.rect, cell.mode)
    source = replace(inner.crop, left=crop.left + inner.crop.left, top=crop.top + inner.crop.top)
    return Fit(source, inner.target)


def _bounded(crop: Rect, width: int, height: int) -> Rect:
    """The even part of ``crop`` that lies in a picture of this size; at least one chroma sample."""
    left, top = min(crop.left, width - 2) & ~1, min(crop.top, height - 2) & ~1
    inner_width, inner_height = min(crop.width, width - left), min(crop.height, height - top)
    return Rect(max(0, left), max(0, top), layout.even(inner_width), layout.even(inner_height))


def _key(cell: Cell) -> Cell:
    return replace(cell, z=0, bars=None, holder=None, fill=None)


def _reused(cell: Cell, kept: dict[object, CellView]) -> CellView:
    view = kept.pop(_key(cell), None)
    if view is None:
        return CellView(cell)
    view.become(cell)
    return view


def _still_layers(rect: Rect, still: Still | None, opacity: int = OPAQUE) -> list[Layer]:
    return [] if still is None else [Layer(rect, _still_content(still, opacity))]


def _still_content(still: Still, opacity: int = OPAQUE) -> Content:
    picture = (still.y, still.u, still.v)
    if still.alpha is not None and still.alpha_uv is not None:
        return blended(picture, _thinned(still.alpha, opacity), _thinned(still.alpha_uv, opacity))
    if opacity == OPAQUE:
        return Opaque(picture)
    return blended(picture, *_evenly(Rect(0, 0, still.width, still.height), opacity))


def _plain(rect: Rect, colour: Colour, opacity: int) -> Layer:
    if opacity == OPAQUE:
        return Layer(rect, colour)
    alpha, half = _evenly(rect, opacity)
    picture = [np.full_like(plane, part) for plane, part in ((alpha, colour.y), (half, colour.u), (half, colour.v))]
    return Layer(rect, blended(picture, alpha, half))


def _evenly(rect: Rect, opacity: int) -> tuple[Plane, Plane]:
    """Alpha of the same value everywhere, for each pixel and for each 2×2."""
    alpha = np.full((rect.height, rect.width), opacity, np.uint8)
    return alpha, alpha[::2, ::2]


def _thinned(alpha: Plane, opacity: int) -> Plane:
    if opacity == OPAQUE:
        return alpha
    return (alpha.astype(np.uint16) * opacity // OPAQUE).astype(np.uint8)


def _size(rect: Rect) -> tuple[int, int]:
    return rect.width, rect.height
