"""The documents' sentences on the preset layouts, with their lines, and what all their places have in common."""

from collections.abc import Callable
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.mixer import templates
from rtcloud.mixer.layout import Rect, RenderMode
from rtcloud.mixer.templates import (
    MIN_RECORDED_SIDE,
    MIN_SIDE,
    RECORDING,
    RELAY,
    Place,
    Rules,
    floating,
    grid,
    screen_sharing,
)

#: divides by everything the documents divide by
WIDTH, HEIGHT = 5040, 3360


def parts(place: Place) -> tuple[Fraction, Fraction]:
    """Width and height as parts of the canvas."""
    return Fraction(place.rect.width, WIDTH), Fraction(place.rect.height, HEIGHT)


# Grid -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rules", "most"), [(RELAY, 16), (RECORDING, 25)], ids=["R:981", "G:1835"])
def test_a_grid_shows_so_many(rules: Rules, most: int) -> None:
    assert len(grid(rules, 100, WIDTH, HEIGHT)) == most


@pytest.mark.parametrize(
    ("count", "columns", "rows"),
    [
        pytest.param(1, 1, 1, id="G:1836"),
        pytest.param(2, 2, 1, id="G:1838"),
        pytest.param(3, 2, 2, id="G:1841"),
        pytest.param(4, 2, 2, id="G:1841"),
        pytest.param(9, 3, 3, id="G:1843"),
        pytest.param(16, 4, 4, id="G:1845"),
        pytest.param(17, 5, 5, id="G:1847"),
        pytest.param(25, 5, 5, id="G:1847"),
    ],
)
def test_cells_of_a_grid_are_equal_parts_of_the_canvas(count: int, columns: int, rows: int) -> None:
    places = grid(RECORDING, count, WIDTH, HEIGHT)
    assert {parts(place) for place in places} == {(Fraction(1, columns), Fraction(1, rows))}
    assert {place.mode for place in places} == {RenderMode.CROP}  # R:983, R:7637


# Floating -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rules", "small"), [(RELAY, 15), (RECORDING, 24)], ids=["R:975", "G:1853"])
def test_floating_has_one_large_and_so_many_small(rules: Rules, small: int) -> None:
    places = floating(rules, 100, WIDTH, HEIGHT)
    assert len(places) == 1 + small
    assert places[0] == Place(Rect(0, 0, WIDTH, HEIGHT), 0)  # "will fill the entire screen"
    assert {place.z for place in places[1:]} == {1}  # "float above the large screen"


@pytest.mark.parametrize(
    ("small", "columns", "size", "gap"),
    [
        pytest.param(16, 4, 0.235, 0.012, id="G:1855 up to 17"),
        pytest.param(17, 5, 0.188, 0.01, id="G:1859 more than 17"),
        pytest.param(24, 5, 0.188, 0.01, id="G:1859 more than 17"),
    ],
)
def test_small_ones_float_from_the_bottom_left_row_by_row(small: int, columns: int, size: float, gap: float) -> None:
    """R:973 "arranged horizontally from the bottom left corner … up to 4 rows and 4 screens per row"."""
    places = floating(RECORDING, small, WIDTH, HEIGHT)[1:]
    for index, place in enumerate(places):
        row, column = divmod(index, columns)
        assert place.rect.width == pytest.approx(WIDTH * size, abs=2)
        assert place.rect.height == pytest.approx(HEIGHT * size, abs=2)
        assert place.rect.left == pytest.approx(WIDTH * (gap + column * (size + gap)), abs=4 * columns)
        below = HEIGHT - place.rect.top - place.rect.height
        assert below == pytest.approx(HEIGHT * (gap + row * (size + gap)), abs=4 * columns)


def test_a_relay_floats_four_to_a_row() -> None:
    places = floating(RELAY, 15, 1280, 720)[1:]
    rows = sorted({place.rect.top for place in places}, reverse=True)
    assert [sum(place.rect.top == row for place in places) for row in rows] == [4, 4, 4, 3]
    assert (places[0].rect.left, places[0].rect.top + places[0].rect.height) == (14, 712)


# Screen sharing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pictures", "small_size", "big_size"),
    [
        pytest.param(1, (5, 4), (Fraction(4, 5), 1), id="G:1868"),
        pytest.param(5, (5, 4), (Fraction(4, 5), 1), id="G:1868"),
        pytest.param(6, (7, 6), (Fraction(6, 7), 1), id="G:1871"),
        pytest.param(7, (7, 6), (Fraction(6, 7), 1), id="G:1871"),
        pytest.param(9, (9, 8), (Fraction(8, 9), 1), id="G:1874"),
        pytest.param(10, (10, 8), (Fraction(4, 5), 1), id="G:1877"),
        pytest.param(17, (10, 8), (Fraction(4, 5), 1), id="G:1877"),
        pytest.param(18, (10, 8), (Fraction(4, 5), Fraction(7, 8)), id="G:1880"),
        pytest.param(25, (10, 8), (Fraction(4, 5), Fraction(7, 8)), id="G:1880"),
    ],
)
def test_screen_sharing_has_the_documented_sizes(
    pictures: int, small_size: tuple[int, int], big_size: tuple[Fraction, Fraction]
) -> None:
    big, *small = screen_sharing(RECORDING, pictures - 1, WIDTH, HEIGHT)
    assert parts(big) == big_size
    assert (big.rect.left, big.rect.top) == (0, 0)
    assert len(small) == pictures - 1
    assert {parts(place) for place in small} <= {(Fraction(1, small_size[0]), Fraction(1, small_size[1]))}


def test_small_ones_stand_on_the_right_from_the_top_eight_to_a_column() -> None:
    """R:987 "arranged vertically on the right side, with up to two columns and 8 small screens per column"."""
    big, *small = screen_sharing(RELAY, 15, WIDTH, HEIGHT)
    columns = [[place.rect.top for place in small if place.rect.left == left] for left in (4032, 4536)]
    assert [len(column) for column in columns] == [8, 7]
    assert columns[0] == [index * HEIGHT // 8 for index in range(8)]
    assert big.rect.width == 4032


def test_what_is_more_than_seventeen_stands_below_from_the_left() -> None:
    """G:1866: 超过17个画面的主播从左下角开始依次水平排列."""
    _, *small = screen_sharing(RECORDING, 24, WIDTH, HEIGHT)
    assert [place.rect.left for place in small[16:]] == [index * WIDTH // 10 for index in range(8)]
    assert {place.rect.top for place in small[16:]} == {HEIGHT * 7 // 8}


@pytest.mark.parametrize(("rules", "small"), [(RELAY, 15), (RECORDING, 24)], ids=["R:989", "R:7692"])
def test_screen_sharing_shows_so_many(rules: Rules, small: int) -> None:
    assert len(screen_sharing(rules, 100, WIDTH, HEIGHT)) == 1 + small


def test_a_relay_scales_the_big_one_and_crops_the_small_ones() -> None:
    """R:988 "the large screen on the left side will be scaled to maintain content integrity, while the small screens on
    the right side will be cropped. The rendering method … can also be set uniformly"."""
    places = screen_sharing(RELAY, 2, WIDTH, HEIGHT)
    assert [place.mode for place in places] == [RenderMode.FIT, RenderMode.CROP, RenderMode.CROP]
    assert {place.mode for place in templates.with_mode(places, RenderMode.STRETCH)} == {RenderMode.STRETCH}
    assert templates.with_mode(places, None) == places


def test_the_big_one_may_stand_on_the_right() -> None:
    """MaxResolutionUserAlign of recordings."""
    big, *small = screen_sharing(RECORDING, 24, WIDTH, HEIGHT, big_right=True)
    assert big.rect == Rect(1008, 0, 4032, 2940)
    assert {place.rect.left for place in small[:16]} == {0, 504}
    assert [place.rect.left for place in small[16:]] == [1008 + index * 504 for index in range(8)]


# All ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [grid, floating, screen_sharing])
@pytest.mark.parametrize(("rules", "least"), [(RELAY, MIN_SIDE), (RECORDING, MIN_RECORDED_SIDE)])
@given(data=st.data(), count=st.integers(0, 30))
def test_places_are_even_inside_and_do_not_overlap(
    make: Callable[..., list[Place]], rules: Rules, least: int, count: int, data: st.DataObject
) -> None:
    sizes = st.integers(least, 1920).map(lambda size: size & ~1)
    width, height = data.draw(sizes), data.draw(sizes)
    places = make(rules, count, width, height)
    for place in places:
        rect = place.rect
        assert all(edge % 2 == 0 for edge in (rect.left, rect.top, rect.width, rect.height))
        assert min(rect.left, rect.top) >= 0
        assert min(rect.width, rect.height) >= 2
        assert rect.left + rect.width <= width
        assert rect.top + rect.height <= height
    big = [] if make is grid else places[:1]
    small = places[len(big) :]
    assert len({(place.rect.width, place.rect.height) for place in small}) <= 1
    apart = small if make is floating else places
    for index, one in enumerate(apart):
        assert all(_are_apart(one.rect, other.rect) for other in apart[index + 1 :])


def _are_apart(one: Rect, other: Rect) -> bool:
    return (
        one.left + one.width <= other.left
        or other.left + other.width <= one.left
        or one.top + one.height <= other.top
        or other.top + other.height <= one.top
    )
