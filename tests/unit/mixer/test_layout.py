"""The documents' sentences on the grid, and what every rectangle must satisfy."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.mixer.layout import (
    MAX_PICTURES,
    Rect,
    RenderMode,
    fit,
    from_rgb,
    grid,
    inside,
    parse_colour,
    source_size,
)

SIZES = st.integers(32, 1920).map(lambda size: size & ~1)
SOURCES = st.integers(16, 4096).map(lambda size: size & ~1)


@pytest.mark.parametrize(
    ("people", "columns", "rows"),
    [(1, 1, 1), (2, 2, 1), (3, 2, 2), (4, 2, 2), (5, 3, 3), (9, 3, 3), (10, 4, 4), (16, 4, 4), (17, 5, 5), (25, 5, 5)],
)
def test_cells_have_the_documented_part_of_the_canvas(people: int, columns: int, rows: int) -> None:
    cells = grid(people, 1200, 1200)
    assert len(cells) == people
    assert {(cell.width, cell.height) for cell in cells} == {(1200 // columns, 1200 // rows)}
    assert cells[0] == Rect(0, 0, 1200 // columns, 1200 // rows)
    if people > columns:
        assert cells[columns] == Rect(0, 1200 // rows, 1200 // columns, 1200 // rows)


def test_two_people_stand_side_by_side_at_full_height() -> None:
    assert grid(2, 640, 360) == [Rect(0, 0, 320, 360), Rect(320, 0, 320, 360)]


def test_more_than_the_most_are_left_out_and_nobody_needs_no_cell() -> None:
    assert len(grid(40, 640, 360)) == MAX_PICTURES
    assert grid(0, 640, 360) == []


@given(st.integers(1, 25), SIZES, SIZES)
def test_cells_are_even_equal_inside_and_apart(people: int, width: int, height: int) -> None:
    cells = grid(people, width, height)
    assert len({(cell.width, cell.height) for cell in cells}) == 1
    for cell in cells:
        assert all(edge % 2 == 0 for edge in (cell.left, cell.top, cell.width, cell.height))
        assert cell.left + cell.width <= width
        assert cell.top + cell.height <= height
    for index, one in enumerate(cells):
        for other in cells[index + 1 :]:
            assert one.left + one.width <= other.left or one.top + one.height <= other.top or other.left < one.left


def test_stretching_shows_the_whole_picture_in_the_whole_cell() -> None:
    cell = Rect(100, 50, 320, 320)
    shown = fit(640, 360, cell, RenderMode.STRETCH)
    assert (shown.crop, shown.target) == (Rect(0, 0, 640, 360), cell)


def test_cropping_keeps_the_middle_and_the_shape() -> None:
    shown = fit(640, 360, Rect(0, 0, 200, 200), RenderMode.CROP)
    assert (shown.crop, shown.target) == (Rect(140, 0, 360, 360), Rect(0, 0, 200, 200))
    shown = fit(360, 640, Rect(0, 0, 200, 100), RenderMode.CROP)
    assert (shown.crop.width, shown.crop.height) == (360, 180)


def test_blank_leaves_bars_on_both_sides() -> None:
    shown = fit(640, 360, Rect(0, 0, 360, 360), RenderMode.FIT)
    assert shown.crop == Rect(0, 0, 640, 360)
    assert (shown.target.left, shown.target.width, shown.target.height) == (0, 360, 202)
    assert abs(shown.target.top * 2 + shown.target.height - 360) <= 2


def test_smart_crops_no_more_than_a_fifth() -> None:
    shown = fit(640, 360, Rect(0, 0, 100, 360), RenderMode.SMART)
    assert (shown.crop.width, shown.crop.height) == (512, 360)
    slight = fit(640, 360, Rect(0, 0, 600, 360), RenderMode.SMART)
    assert (slight.crop.width, slight.crop.height) == (600, 360)


@given(SOURCES, SOURCES, SIZES, SIZES, st.sampled_from(RenderMode))
def test_every_fit_stays_inside_source_and_cell(
    width: int, height: int, cell_width: int, cell_height: int, mode: RenderMode
) -> None:
    cell = Rect(64, 32, cell_width, cell_height)
    shown = fit(width, height, cell, mode)
    crop, target = shown.crop, shown.target
    assert crop.left >= 0
    assert crop.top >= 0
    assert crop.left + crop.width <= width
    assert crop.top + crop.height <= height
    assert cell.left <= target.left
    assert target.left + target.width <= cell.left + cell.width
    assert cell.top <= target.top
    assert target.top + target.height <= cell.top + cell.height
    assert all(size >= 2 and size % 2 == 0 for size in (crop.width, crop.height, target.width, target.height))


def test_a_source_is_asked_for_in_the_size_it_is_shown() -> None:
    assert source_size(Rect(0, 0, 320, 360), RenderMode.CROP, 1280, 720) == (640, 360)
    assert source_size(Rect(0, 0, 320, 360), RenderMode.FIT, 1280, 720) == (320, 180)
    assert source_size(Rect(0, 0, 320, 360), RenderMode.CROP, 0, 0) == (320, 360)


@pytest.mark.parametrize("text", ["", "#12345", "#GGGGGG", "FFA500", "#FFA5000", "0xFFA500"])
def test_what_is_no_colour_is_refused(text: str) -> None:
    assert parse_colour(text) is None


def test_colours_become_limited_range_yuv() -> None:
    assert parse_colour("#000000") == from_rgb(0, 0, 0)
    assert (from_rgb(0, 0, 0).y, from_rgb(255, 255, 255).y) == (16, 235)
    red = parse_colour("#ff0000")
    assert red is not None
    assert (red.y, red.u, red.v) == (81, 90, 240)


def test_a_rectangle_keeps_its_even_part_inside_the_canvas() -> None:
    canvas = Rect(0, 0, 100, 60)
    assert inside(3, 5, 20, 20, canvas) == Rect(2, 4, 20, 20)
    assert inside(90, 50, 40, 40, canvas) == Rect(90, 50, 10, 10)
    assert inside(-10, -10, 30, 30, canvas) == Rect(0, 0, 20, 20)
    for nothing in ((0, 0, 0, 40), (0, 0, 40, 1), (100, 0, 10, 10), (-20, 0, 10, 10)):
        assert inside(*nothing, canvas) is None
