"""A scene drawn: each thing in its place and over what lies beneath it, and nothing decoded that nobody sees."""

from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from av.video.frame import VideoFrame

from rtcloud.mixer import layout, stills
from rtcloud.mixer.compositor import CellView, Compositor, placed, prepare, visible, wanted_size
from rtcloud.mixer.layout import Colour, Rect, RenderMode
from rtcloud.mixer.scene import Cell, Holder, Image, Overlay, Scene, Text
from rtcloud.mixer.video import planes

WIDTH, HEIGHT = 320, 180
WHOLE = Rect(0, 0, WIDTH, HEIGHT)
GREY = Colour(50, 128, 128)


def picture(luma: int, width: int = 160, height: int = 90) -> VideoFrame:
    frame = VideoFrame(width, height, "yuv420p")
    for plane, value in zip(planes(frame), (luma, 128, 128), strict=True):
        plane.fill(value)
    return frame


def quarters(width: int = 320, height: int = 180) -> VideoFrame:
    """Luma 40 and 80 above, 120 and 160 below."""
    frame = picture(0, width, height)
    luma = planes(frame)[0]
    for index in range(4):
        top, left = index // 2 * height // 2, index % 2 * width // 2
        luma[top : top + height // 2, left : left + width // 2] = 40 * (index + 1)
    return frame


class Stage:
    def __init__(self, *cells: Cell, **parts: Any) -> None:
        self.compositor = Compositor(WIDTH, HEIGHT)
        self.compositor.show(Scene(GREY, cells=cells, **parts))

    def take(self, track_id: str, frame: VideoFrame, announced: tuple[int, int] = (0, 0)) -> None:
        for view in self.compositor.views:
            if view.cell.track_id == track_id:
                view.take(frame, announced)

    def luma(self, now_ms: int = 0, clock_ms: int = 0) -> Any:
        return planes(self.compositor.draw(now_ms, clock_ms))[0].copy()


def image(directory: Path, name: str, pixels: Any) -> Image:
    path = directory / name
    PIL.Image.fromarray(np.asarray(pixels, np.uint8)).save(path)
    return Image(str(path))


def plain(directory: Path, value: int, alpha: int = 255, size: tuple[int, int] = (20, 20)) -> Image:
    pixels = np.full((size[1], size[0], 4), value, np.uint8)
    pixels[:, :, 3] = alpha
    return image(directory, f"{value}-{alpha}.png", pixels)


def near(value: Any, wanted: int) -> bool:
    return abs(int(value) - wanted) <= 2


def test_higher_cells_lie_over_lower_ones_whatever_their_order() -> None:
    small = Rect(100, 60, 80, 40)
    stage = Stage(Cell(small, "top", z=5), Cell(WHOLE, "big", z=1), Cell(Rect(120, 70, 20, 20), "mid", z=3))
    for name, value in (("mid", 200), ("big", 100), ("top", 150)):
        stage.take(name, picture(value))
    luma = stage.luma()
    assert near(luma[10, 10], 100)
    assert near(luma[80, 130], 150)
    stage.take("big", picture(110))
    luma = stage.luma()
    assert near(luma[10, 10], 110)
    assert near(luma[80, 130], 150)


def test_a_fitted_picture_has_bars_of_their_colour_or_of_what_lies_beneath() -> None:
    for bars, wanted in ((None, 100), (Colour(30, 128, 128), 30)):
        stage = Stage(Cell(WHOLE, "below"), Cell(Rect(0, 0, 160, 180), "a", 1, RenderMode.FIT, bars))
        stage.take("below", picture(100))
        stage.take("a", picture(200))
        luma = stage.luma()
        assert near(luma[90, 80], 200)
        assert near(luma[10, 80], wanted)
        assert near(luma[10, 300], 100)


def test_a_cut_is_taken_from_the_source_however_large_it_comes() -> None:
    for size in ((320, 180), (160, 90)):
        stage = Stage(Cell(WHOLE, "a", mode=RenderMode.STRETCH, crop=Rect(160, 0, 160, 90)))
        stage.take("a", quarters(*size), (320, 180))
        luma = stage.luma()
        assert near(luma.min(), 80)
        assert near(luma.max(), 80)


def test_a_cut_is_bounded_by_the_picture() -> None:
    stage = Stage(Cell(WHOLE, "a", mode=RenderMode.STRETCH, crop=Rect(240, 100, 5000, 5000)))
    stage.take("a", quarters())
    assert near(stage.luma()[90, 160], 160)
    stage.take("a", picture(33, 16, 16))
    assert near(stage.luma()[90, 160], 33)


@pytest.mark.parametrize("mode", list(RenderMode))
@pytest.mark.parametrize("size", [(1, 1), (1, 359), (4, 2303), (4095, 2), (3, 5)])
@pytest.mark.parametrize("cell", [(2, 1080), (1920, 2), (64, 2), (2, 2)])
def test_pictures_of_absurd_shapes_are_shown_or_left_out(
    mode: RenderMode, size: tuple[int, int], cell: tuple[int, int]
) -> None:
    for cut in (None, Rect(1000, 1000, 50, 50), Rect(0, 0, 1, 1)):
        CellView(Cell(Rect(0, 0, *cell), "a", mode=mode, crop=cut)).take(picture(100, *size), (640, 360))


def test_backdrop_holders_and_a_mask_are_drawn(tmp_path: Path) -> None:
    gradient = np.zeros((90, 160, 4), np.uint8)
    gradient[:, 80:, 3] = 255
    mask = image(tmp_path, "mask.png", gradient)
    white = plain(tmp_path, 255)
    left, right = layout.grid(2, WIDTH, HEIGHT)
    stage = Stage(
        Cell(left, "masked", mask=mask),
        Cell(right, None, holder=Holder(white)),
        backdrop=plain(tmp_path, 0),
    )
    stage.take("masked", picture(150))
    luma = stage.luma()
    assert near(luma[90, 20], 16)
    assert near(luma[90, 140], 150)
    assert near(luma[90, 300], 235)


def test_images_that_were_prepared_need_not_be_read_when_they_are_drawn(tmp_path: Path) -> None:
    cell = Rect(0, 0, 160, 90)
    scene = Scene(
        GREY,
        backdrop=plain(tmp_path, 235),
        cells=(
            Cell(cell, holder=Holder(plain(tmp_path, 16)), mask=plain(tmp_path, 100, alpha=90)),
            Cell(Rect(160, 0, 160, 90), holder=Holder(plain(tmp_path, 60), size=(40, 40), radius=8)),
        ),
        overlays=(Overlay(plain(tmp_path, 200, alpha=128), Rect(40, 100, 60, 40)), Overlay(Text("text", 20), cell)),
    )
    prepare(scene, WIDTH, HEIGHT)
    expected = Compositor(WIDTH, HEIGHT)
    expected.show(scene)
    wanted = expected.draw(0, 0).to_ndarray()
    for path in tmp_path.iterdir():
        path.unlink()
    stills._decoded.cache_clear()
    drawn = Compositor(WIDTH, HEIGHT)
    drawn.show(scene)
    assert (drawn.draw(0, 0).to_ndarray() == wanted).all()
    stills._stills._made.clear()
    drawn.show(scene)
    assert (drawn.draw(0, 0).to_ndarray() != wanted).any()


def test_a_holder_gives_way_to_the_picture_and_comes_back(tmp_path: Path) -> None:
    stage = Stage(Cell(WHOLE, "a", holder=Holder(plain(tmp_path, 255))))
    assert near(stage.luma()[90, 160], 235)
    stage.take("a", picture(100))
    assert near(stage.luma()[90, 160], 100)
    stage.compositor.views[0].clear()
    assert near(stage.luma()[90, 160], 235)


def test_a_broken_image_is_left_out(tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG rubbish")
    one = Image(str(broken))
    stage = Stage(Cell(WHOLE, None, holder=Holder(one)), backdrop=one, overlays=(Overlay(one, Rect(0, 0, 20, 20)),))
    assert (stage.luma() == GREY.y).all()


def test_a_watermark_can_be_seen_through_and_lies_over_cells_of_its_height(tmp_path: Path) -> None:
    mark = Overlay(plain(tmp_path, 255, alpha=128), Rect(10, 10, 40, 20), z=2)
    stage = Stage(Cell(WHOLE, "a", z=2), overlays=(mark,))
    for _ in range(3):  # blended with what lies beneath, never with itself
        stage.take("a", picture(100))
        luma = stage.luma()
        assert near(luma[20, 20], 100 + (235 - 100) * 128 // 255)
        assert near(luma[60, 60], 100)


def test_a_moving_watermark_leaves_nothing_behind(tmp_path: Path) -> None:
    for motion in ("random", "bouncing"):
        mark = Overlay(plain(tmp_path, 255), Rect(10, 10, 40, 20), motion=motion)
        stage = Stage(overlays=(mark,))
        places = set()
        for now_ms in range(0, 5000, 100):
            luma = stage.luma(now_ms)
            assert int((luma > 200).sum()) == 40 * 20
            places.add(tuple(np.argwhere(luma > 200)[0]))
        assert len(places) == (5 if motion == "random" else len(places))
        assert len(places) > 3


def test_a_moving_watermark_stays_on_the_canvas_and_begins_in_its_place() -> None:
    mark = Overlay(Image("x"), Rect(100, 50, 60, 30), motion="bouncing")
    assert placed(mark, 0, 0, WHOLE) == mark.rect
    for motion in ("bouncing", "random"):
        moving = Overlay(Image("x"), Rect(100, 50, 60, 30), motion=motion)
        for now_ms in range(0, 60_000, 33):
            rect = placed(moving, 3, now_ms, WHOLE)
            assert rect.left % 2 == rect.top % 2 == 0
            assert 0 <= rect.left <= WIDTH - 60
            assert 0 <= rect.top <= HEIGHT - 30
    full = Overlay(Image("x"), WHOLE, motion="bouncing")
    assert placed(full, 0, 12_345, WHOLE) == WHOLE


def test_a_clock_shows_the_second(tmp_path: Path) -> None:
    clock = Overlay(Text("", 20, clock_zone=8, fill=0x000000), Rect(0, 0, 300, 40))
    stage = Stage(overlays=(clock,))
    first, same, next_second = (stage.luma(0, clock_ms) for clock_ms in (1_000, 1_900, 2_000))
    assert (first == same).all()
    assert (first != next_second).any()


def test_cells_that_stay_keep_their_pictures_in_another_scene() -> None:
    left, right = layout.grid(2, WIDTH, HEIGHT)
    stage = Stage(Cell(left, "a"), Cell(right, "b"))
    stage.take("a", picture(100))
    stage.take("b", picture(200))
    stage.luma()
    stage.compositor.show(Scene(GREY, cells=(Cell(left, "a", z=3, bars=layout.BLACK), Cell(WHOLE, "b"))))
    luma = stage.luma()
    assert near(luma[90, 80], 100)
    assert near(luma[90, 240], GREY.y)


@pytest.mark.parametrize("above", [{}, {"mode": RenderMode.STRETCH}, {"mode": RenderMode.FIT, "bars": layout.BLACK}])
def test_what_is_wholly_covered_is_not_seen(above: dict[str, Any]) -> None:
    left, right = layout.grid(2, WIDTH, HEIGHT)
    scene = Scene(GREY, cells=(Cell(WHOLE, "hidden"), Cell(left, "a", 1, **above), Cell(right, "b", 1, **above)))
    assert set(visible(scene, {"a", "b"})) == {"a", "b"}
    assert set(visible(scene, {"a"})) == {"a", "b", "hidden"}


def test_what_can_be_seen_through_hides_nothing() -> None:
    for above in (Cell(WHOLE, "a", 1, RenderMode.FIT), Cell(WHOLE, "a", 1, mask=Image("x")), Cell(WHOLE, None, 1)):
        assert "below" in visible(Scene(GREY, cells=(Cell(WHOLE, "below"), above)), {"a", "below"})


def test_a_source_with_a_cut_is_wanted_so_large_that_the_cut_fills_the_cell() -> None:
    cell = Cell(Rect(0, 0, 160, 90), "a", crop=Rect(0, 0, 640, 360))
    assert wanted_size(cell, 1280, 720) == (320, 180)
    assert wanted_size(Cell(Rect(0, 0, 160, 90), "a", crop=Rect(0, 0, 80, 44)), 1280, 720) == (1280, 720)
    assert wanted_size(cell, 0, 0) == (160, 90)


def test_a_cell_may_be_seen_through_with_all_that_it_shows(tmp_path: Path) -> None:
    half = Cell(Rect(0, 0, 160, 90), "a", mode=RenderMode.FIT, bars=Colour(250, 128, 128), opacity=102)
    held = Cell(Rect(160, 0, 160, 90), holder=Holder(plain(tmp_path, 255)), opacity=102)
    filled = Cell(Rect(0, 90, 160, 90), fill=Colour(200, 128, 128), opacity=102)
    stage = Stage(half, held, filled)
    stage.take("a", picture(150, 80, 90))
    luma = stage.luma()
    assert luma[45, 80] == pytest.approx(50 * 0.6 + 150 * 0.4, abs=1)
    assert luma[45, 10] == pytest.approx(50 * 0.6 + 250 * 0.4, abs=1)
    assert luma[45, 240] == pytest.approx(50 * 0.6 + 235 * 0.4, abs=2)
    assert luma[135, 80] == pytest.approx(50 * 0.6 + 200 * 0.4, abs=1)
    assert luma[135, 240] == 50


def test_a_transparent_cell_hides_nothing() -> None:
    below = Cell(WHOLE, "below")
    for opacity, seen in ((255, {"above"}), (100, {"above", "below"}), (0, {"below"})):
        scene = Scene(GREY, cells=(below, Cell(WHOLE, "above", 1, opacity=opacity)))
        assert visible(scene, {"above", "below"}).keys() == seen


def test_a_fill_stands_while_there_is_neither_picture_nor_holder() -> None:
    stage = Stage(Cell(WHOLE, "a", fill=layout.BLACK))
    assert stage.luma()[90, 160] == 16
    stage.take("a", picture(150))
    assert stage.luma()[90, 160] == 150
    stage.compositor.show(Scene(GREY, cells=(Cell(WHOLE, None, fill=layout.BLACK),)))
    assert stage.luma()[90, 160] == 16


def test_outlined_text_can_be_read_on_its_own_colour() -> None:
    white = Colour(235, 128, 128)
    words = Text("12:34", 40, outline=0)
    stage = Stage()
    stage.compositor.show(Scene(white, overlays=(Overlay(words, Rect(0, 0, 160, 60)),)))
    assert stage.luma().min() < 60
