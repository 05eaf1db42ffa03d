"""The picture being composed, and drawing on it no more than what changed.

A canvas holds what was drawn last. Told the layers from the bottom up, it draws those that changed and whatever lies
above them; what lies beneath is only drawn again where a layer moved, vanished or can be seen through.

Invariant: after ``draw`` the canvas looks as if everything had been drawn from nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from av.video.frame import VideoFrame

from rtcloud.mixer.layout import Colour, Rect
from rtcloud.mixer.video import Plane, planes

Wide = npt.NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Opaque:
    """Three planes in the size of their layer."""

    planes: Sequence[Plane]


@dataclass(frozen=True, slots=True)
class Blended:
    """Planes that can be seen through: already multiplied by their alpha, and what is left of what lies beneath."""

    weighted: Sequence[Wide]
    beneath: Sequence[Wide]


Content = Colour | Opaque | Blended


def blended(picture: Sequence[Plane], alpha: Plane, chroma_alpha: Plane) -> Blended:
    """``alpha`` has the size of the first plane, ``chroma_alpha`` of the others; 255 hides what lies beneath."""
    shares = [alpha.astype(np.uint16), chroma_alpha.astype(np.uint16)]
    shares.append(shares[1])
    rests = [255 - share for share in shares[:2]]
    rests.append(rests[1])
    return Blended([plane * share for plane, share in zip(picture, shares, strict=True)], rests)


@dataclass(slots=True, eq=False)
class Layer:
    """``rect`` is even and has the content's size. Whoever changes one of the two says so by ``changed``."""

    rect: Rect
    content: Content
    changed: bool = True

    @property
    def is_opaque(self) -> bool:
        return not isinstance(self.content, Blended)


class Canvas:
    """``frame`` is handed to the encoder, which copies it before it returns."""

    def __init__(self, width: int, height: int) -> None:
        self.frame = VideoFrame(width, height, "yuv420p")
        self.whole = Rect(0, 0, width, height)
        self._planes = planes(self.frame)
        self._drawn: dict[Layer, Rect] = {}
        self._spoilt = True

    def spoil(self) -> None:
        """Nothing of what was drawn counts any more: layers have come into another order."""
        self._spoilt = True

    def draw(self, layers: Sequence[Layer]) -> None:
        """``layers`` from the bottom up; the lowest covers the whole canvas."""
        fresh = self._damage(layers)
        drawn: dict[Layer, Rect] = {}
        for layer in layers:
            rect = drawn[layer] = layer.rect
            if layer.changed and layer.is_opaque:
                inside = common(rect, self.whole)
                if inside is not None:
                    self._paint(layer, inside)
                    fresh = [piece for each in fresh for piece in without(each, inside)]
                    fresh.append(inside)
            elif fresh:
                for each in fresh:
                    inside = common(each, rect)
                    if inside is not None:
                        self._paint(layer, inside)
            layer.changed = False
        self._drawn = drawn
        self._spoilt = False

    def _damage(self, layers: Sequence[Layer]) -> list[Rect]:
        """Where everything has to be drawn from the bottom up, in pieces that do not overlap."""
        if self._spoilt:
            return [self.whole]
        damage: list[Rect] = []
        left = self._drawn
        for layer in layers:
            before = left.pop(layer, None)
            if before is not None and before != layer.rect:
                damage.append(before)
            if (layer.changed or before is None) and not layer.is_opaque:
                damage.append(layer.rect)
            elif before is None:
                layer.changed = True
        damage.extend(left.values())
        pieces: list[Rect] = []
        for rect in damage:
            inside = common(rect, self.whole)
            if inside is not None:
                pieces += uncovered(inside, pieces)
        return pieces

    def _paint(self, layer: Layer, part: Rect) -> None:
        """Draws the ``part`` of the canvas that lies inside the layer."""
        content = layer.content
        left, top = part.left - layer.rect.left, part.top - layer.rect.top
        for index, plane in enumerate(self._planes):
            half = 1 if index else 0
            target = plane[
                part.top >> half : part.top + part.height >> half, part.left >> half : part.left + part.width >> half
            ]
            if isinstance(content, Colour):
                target.fill((content.y, content.u, content.v)[index])
                continue
            window = (
                slice(top >> half, (top >> half) + target.shape[0]),
                slice(left >> half, (left >> half) + target.shape[1]),
            )
            if isinstance(content, Opaque):
                target[:] = content.planes[index][window]
            else:
                target[:] = _over(content.weighted[index][window], content.beneath[index][window], target)


def _over(weighted: Wide, share: Wide, beneath: Plane) -> Any:
    """Exact division by 255 with rounding: all or nothing of a picture stays exactly itself."""
    total = share * beneath
    total += weighted
    total += 128
    total += total >> 8
    total >>= 8
    return total


# Rectangles -----------------------------------------------------------------------------------------------------------


def common(one: Rect, other: Rect) -> Rect | None:
    left, top = max(one.left, other.left), max(one.top, other.top)
    width = min(one.left + one.width, other.left + other.width) - left
    height = min(one.top + one.height, other.top + other.height) - top
    return Rect(left, top, width, height) if width > 0 and height > 0 else None


def without(rect: Rect, hole: Rect) -> list[Rect]:
    """What is left of ``rect``: at most four pieces that do not overlap."""
    inner = common(rect, hole)
    if inner is None:
        return [rect]
    right, bottom = rect.left + rect.width, rect.top + rect.height
    inner_right, inner_bottom = inner.left + inner.width, inner.top + inner.height
    pieces = [
        Rect(rect.left, rect.top, rect.width, inner.top - rect.top),
        Rect(rect.left, inner_bottom, rect.width, bottom - inner_bottom),
        Rect(rect.left, inner.top, inner.left - rect.left, inner.height),
        Rect(inner_right, inner.top, right - inner_right, inner.height),
    ]
    return [piece for piece in pieces if piece.width > 0 and piece.height > 0]


def uncovered(rect: Rect, covers: Iterable[Rect]) -> list[Rect]:
    """What of ``rect`` no cover hides."""
    pieces = [rect]
    for cover in covers:
        if not pieces:
            break
        pieces = [left for piece in pieces for left in without(piece, cover)]
    return pieces
