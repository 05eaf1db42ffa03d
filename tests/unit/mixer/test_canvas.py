"""However little is drawn again, the canvas looks as if everything had been drawn from nothing."""

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from rtcloud.mixer.canvas import Canvas, Layer, Opaque, blended, common, uncovered, without
from rtcloud.mixer.layout import Colour, Rect
from rtcloud.mixer.video import planes

WIDTH, HEIGHT = 64, 48


@st.composite
def rects(draw: st.DrawFn) -> Rect:
    left = draw(st.integers(0, WIDTH // 2 - 1)) * 2
    top = draw(st.integers(0, HEIGHT // 2 - 1)) * 2
    width = draw(st.integers(1, (WIDTH - left) // 2)) * 2
    height = draw(st.integers(1, (HEIGHT - top) // 2)) * 2
    return Rect(left, top, width, height)


def pixels(rect: Rect, seed: int) -> list[Any]:
    dice = np.random.default_rng(seed)
    shapes = [(rect.height, rect.width), *[(rect.height // 2, rect.width // 2)] * 2]
    return [dice.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def content(rect: Rect, kind: int, seed: int) -> Any:
    picture = pixels(rect, seed)
    if kind == 0:
        return Colour(*(int(plane[0, 0]) for plane in picture))
    if kind == 1:
        return Opaque(picture)
    alpha = pixels(rect, seed + 1)
    return blended(picture, alpha[0], alpha[1])


def seen(canvas: Canvas) -> list[bytes]:
    return [plane.tobytes() for plane in planes(canvas.frame)]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_drawing_what_changed_is_the_same_as_drawing_everything(data: st.DataObject) -> None:
    canvas = Canvas(WIDTH, HEIGHT)
    whole = Rect(0, 0, WIDTH, HEIGHT)
    kinds = st.integers(0, 2)
    layers = [Layer(whole, Colour(10, 20, 30))]
    for number in range(data.draw(st.integers(0, 5))):
        rect = data.draw(rects())
        layers.append(Layer(rect, content(rect, data.draw(kinds), number)))
    for step in range(4):
        canvas.draw(layers)
        fresh = Canvas(WIDTH, HEIGHT)
        fresh.draw([Layer(layer.rect, layer.content) for layer in layers])
        assert seen(canvas) == seen(fresh)
        for layer in layers[1:]:
            deed = data.draw(st.sampled_from(["nothing", "change", "move"]))
            if deed != "nothing":
                rect = layer.rect if deed == "change" else data.draw(rects())
                layer.rect, layer.content, layer.changed = rect, content(rect, data.draw(kinds), 100 + step), True
        if len(layers) > 1 and data.draw(st.booleans()):
            layers.remove(data.draw(st.sampled_from(layers[1:])))


@given(rects(), st.lists(rects(), max_size=6))
def test_what_is_not_covered_is_cut_into_pieces_that_do_not_overlap(rect: Rect, covers: list[Rect]) -> None:
    count = np.zeros((HEIGHT, WIDTH), int)
    for piece in uncovered(rect, covers):
        count[piece.top : piece.top + piece.height, piece.left : piece.left + piece.width] += 1
    wanted = np.zeros((HEIGHT, WIDTH), int)
    wanted[rect.top : rect.top + rect.height, rect.left : rect.left + rect.width] = 1
    for cover in covers:
        wanted[cover.top : cover.top + cover.height, cover.left : cover.left + cover.width] = 0
    assert (count == wanted).all()


def test_rectangles_that_only_touch_have_nothing_in_common() -> None:
    assert common(Rect(0, 0, 4, 4), Rect(4, 0, 4, 4)) is None
    assert without(Rect(0, 0, 4, 4), Rect(4, 0, 4, 4)) == [Rect(0, 0, 4, 4)]


def test_all_or_nothing_of_a_picture_stays_exactly_itself() -> None:
    canvas, whole = Canvas(WIDTH, HEIGHT), Rect(0, 0, WIDTH, HEIGHT)
    below, above = pixels(whole, 1), pixels(whole, 2)
    alpha = [np.zeros_like(plane) for plane in above]
    for plane in alpha:
        plane[:, plane.shape[1] // 2 :] = 255
    canvas.draw([Layer(whole, Opaque(below)), Layer(whole, blended(above, alpha[0], alpha[1]))])
    for got, under, over in zip(planes(canvas.frame), below, above, strict=True):
        half = got.shape[1] // 2
        assert (got[:, :half] == under[:, :half]).all()
        assert (got[:, half:] == over[:, half:]).all()


def test_only_what_changed_is_drawn_again() -> None:
    canvas, whole = Canvas(WIDTH, HEIGHT), Rect(0, 0, WIDTH, HEIGHT)
    still = Layer(Rect(0, 0, 32, 48), Colour(1, 1, 1))
    moving = Layer(Rect(32, 0, 32, 48), Colour(2, 2, 2))
    layers = [Layer(whole, Colour(0, 0, 0)), still, moving]
    canvas.draw(layers)
    luma = planes(canvas.frame)[0]
    luma[:] = 99
    moving.content, moving.changed = Colour(3, 3, 3), True
    canvas.draw(layers)
    assert (luma[:, :32] == 99).all()
    assert (luma[:, 32:] == 3).all()
