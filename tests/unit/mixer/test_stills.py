"""Pictures that do not move: what is shown of files, good and bad, and of text."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from rtcloud.mixer import stills
from rtcloud.mixer.layout import BLACK, Colour, RenderMode, from_rgb
from rtcloud.mixer.scene import Holder, Image, Text
from rtcloud.mixer.stills import Still

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)

Saved = Callable[..., Image]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    def save(picture: Pillow.Image, name: str = "a.png", **options: object) -> Image:
        picture.save(tmp_path / name, **options)  # type: ignore[arg-type]
        return Image(str(tmp_path / name))

    return save


def shown(still: Still | None, left: int, top: int) -> tuple[Colour, int]:
    """Colour and alpha of a pixel."""
    assert still is not None
    assert still.y.shape == (still.height, still.width)
    assert still.u.shape == still.v.shape == (still.height // 2, still.width // 2)
    for plane in (still.y, still.u, still.v):
        assert plane.flags.c_contiguous
        assert plane.dtype == np.uint8
    alpha = 255 if still.alpha is None else int(still.alpha[top, left])
    half = top // 2, left // 2
    return Colour(int(still.y[top, left]), int(still.u[half]), int(still.v[half])), alpha


def is_near(colour: Colour, rgb: tuple[int, int, int], tolerance: int = 2) -> bool:
    wanted = from_rgb(*rgb)
    return all(
        abs(one - other) <= tolerance
        for one, other in ((colour.y, wanted.y), (colour.u, wanted.u), (colour.v, wanted.v))
    )


def halves(width: int, height: int) -> Pillow.Image:
    """Red on the left, blue on the right."""
    picture = Pillow.new("RGB", (width, height), RED)
    picture.paste(BLUE, (width // 2, 0, width, height))
    return picture


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.bmp", "a.gif", "a.webp"])
def test_every_format_is_shown_in_its_colours(saved: Saved, name: str) -> None:
    still = stills.load(saved(halves(64, 32), name), 128, 128)
    assert still is not None
    assert (still.width, still.height, still.alpha, still.alpha_uv) == (128, 128, None, None)
    assert is_near(shown(still, 20, 64)[0], RED, 6)
    assert is_near(shown(still, 100, 64)[0], BLUE, 6)


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "I;16"])
def test_every_kind_of_png_is_shown(saved: Saved, mode: str) -> None:
    assert stills.load(
        saved(Pillow.new("L", (8, 8), 255).convert(mode) if mode != "I;16" else Pillow.new(mode, (8, 8))), 8, 8
    )


def test_the_first_picture_of_a_moving_one_is_taken(saved: Saved) -> None:
    frames = [Pillow.new("RGB", (16, 16), colour) for colour in (RED, BLUE)]
    for name in ("a.gif", "a.webp"):
        image = saved(frames[0], name, save_all=True, append_images=frames[1:])
        assert is_near(shown(stills.load(image, 16, 16), 8, 8)[0], RED, 6)


def test_a_photo_stands_upright(saved: Saved) -> None:
    exif = Pillow.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    still = stills.load(saved(halves(64, 64), "a.jpg", exif=exif), 64, 64)
    assert is_near(shown(still, 32, 10)[0], RED, 6)
    assert is_near(shown(still, 32, 54)[0], BLUE, 6)


def test_a_fitted_picture_leaves_its_sides_open_or_has_bars(saved: Saved) -> None:
    image = saved(Pillow.new("RGB", (100, 50), RED))
    still = stills.load(image, 100, 100, RenderMode.FIT)
    assert shown(still, 50, 10)[1] == 0
    assert shown(still, 50, 50) == (from_rgb(*RED), 255)
    barred = stills.load(image, 100, 100, RenderMode.FIT, BLACK)
    assert barred is not None
    assert barred.alpha is None
    assert shown(barred, 50, 10) == (BLACK, 255)
    assert shown(barred, 50, 50) == (from_rgb(*RED), 255)


def test_a_cropped_picture_shows_its_middle(saved: Saved) -> None:
    picture = Pillow.new("RGB", (300, 100), BLUE)
    picture.paste(RED, (100, 0, 200, 100))
    still = stills.load(saved(picture), 50, 50, RenderMode.CROP)
    assert is_near(shown(still, 4, 25)[0], RED, 4)
    assert is_near(shown(still, 45, 25)[0], RED, 4)


def test_what_is_half_transparent_keeps_its_colour(saved: Saved) -> None:
    picture = Pillow.new("RGBA", (64, 64), (0, 255, 0, 0))
    picture.paste((*RED, 128), (16, 16, 48, 48))
    still = stills.load(saved(picture), 96, 96)
    assert still is not None
    assert still.alpha is not None
    assert still.alpha_uv is not None
    assert shown(still, 48, 48) == (from_rgb(*RED), 128)
    edge = np.argwhere((still.alpha_uv > 8) & (still.alpha_uv < 120))
    assert len(edge)  # scaled edges: nothing of the invisible green bleeds in
    red = from_rgb(*RED)
    assert all(abs(int(still.v[y, x]) - red.v) < 16 and abs(int(still.u[y, x]) - red.u) < 16 for y, x in edge)


def test_a_round_placeholder_stands_in_the_middle(saved: Saved) -> None:
    holder = Holder(saved(Pillow.new("RGB", (50, 50), RED)), RenderMode.CROP, None, (60, 40), 20)
    still = stills.load_holder(holder, 100, 80)
    assert [shown(still, *at)[1] for at in ((10, 40), (50, 10), (21, 21), (78, 58))] == [0, 0, 0, 0]
    assert [shown(still, *at)[1] for at in ((50, 40), (24, 40), (50, 22), (76, 40))] == [255] * 4
    beside = stills.load_holder(Holder(holder.image, RenderMode.CROP, from_rgb(*BLUE), (60, 40), 20), 100, 80)
    assert is_near(shown(beside, 10, 40)[0], BLUE)
    assert is_near(shown(beside, 50, 40)[0], RED)


def test_a_mask_is_the_alpha_of_a_file_stretched(saved: Saved) -> None:
    picture = Pillow.new("RGBA", (20, 10), (0, 0, 0, 0))
    picture.paste((1, 2, 3, 200), (0, 0, 10, 10))
    mask = stills.load_mask(saved(picture), 40, 40)
    assert mask is not None
    assert (mask.alpha.shape, mask.alpha_uv.shape) == ((40, 40), (20, 20))
    assert (mask.alpha[20, 5], mask.alpha[20, 35], mask.alpha_uv[10, 2]) == (200, 0, 200)


def test_broken_files_are_nothing(saved: Saved, tmp_path: Path) -> None:
    whole = Path(saved(halves(64, 64)).path).read_bytes()
    for name, content in (("empty", b""), ("text", b"hello"), ("cut", whole[:60]), ("svg", b"<svg/>")):
        path = tmp_path / name
        path.write_bytes(content)
        assert stills.load(Image(str(path)), 16, 16) is None
        assert stills.load_mask(Image(str(path)), 16, 16) is None
    assert stills.load(Image(str(tmp_path / "absent")), 16, 16) is None
    assert stills.load(Image(str(tmp_path)), 16, 16) is None


def test_a_picture_that_is_too_large_is_not_decoded(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    image = saved(Pillow.new("1", (8192, 4096)))
    monkeypatch.setattr(Pillow.Image, "convert", lambda *_: pytest.fail("decoded"))
    assert stills.load(image, 16, 16) is None


def test_other_formats_are_not_looked_at(saved: Saved) -> None:
    assert stills.load(saved(halves(16, 16), "a.tiff"), 16, 16) is None


def test_tiny_pictures_and_places_are_shown(saved: Saved) -> None:
    for size in ((1, 1), (1, 300), (300, 1)):
        image = saved(Pillow.new("RGB", size, RED), f"{size[0]}.png")
        for mode in RenderMode:
            still = stills.load(image, 2, 2, mode)
            assert still is not None
            assert still.y.shape == (2, 2)


def test_only_so_much_is_kept(saved: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stills, "_stills", stills._Cache[Still](100_000))
    image = saved(halves(16, 16))
    first = stills.load(image, 64, 64)
    assert stills.load(image, 64, 64) is first
    for size in range(100, 120, 2):
        stills.load(image, size, size)
    assert stills.load(image, 64, 64) is not first


# Text -----------------------------------------------------------------------------------------------------------------


def ink(still: Still) -> tuple[int, int, int, int]:
    """The box of what is written: left, top, right, bottom."""
    assert still.alpha is not None
    rows, columns = np.nonzero(still.alpha > 128)
    return columns.min(), rows.min(), columns.max(), rows.max()


@pytest.mark.parametrize("words", ["hello", "你好，世界", "こんにちは", "Ünïcödé Ωλ", "mixed 你好"])
def test_text_is_written_in_its_size_and_colour(words: str) -> None:
    still = stills.render_text(Text(words, 32, colour=0xFF0000), 400, 80)
    left, top, right, bottom = ink(still)
    assert left <= 6
    assert 16 <= bottom - top <= 48
    assert abs((top + bottom) - 80) <= 4
    assert right > left + 60
    assert still.alpha is not None
    at = np.argwhere(still.alpha == 255)[0]
    assert abs(int(still.y[tuple(at)]) - from_rgb(255, 0, 0).y) <= 2


def test_text_that_is_too_long_becomes_smaller() -> None:
    still = stills.render_text(Text("a rather long text for such a place", 60), 200, 40)
    left, _, right, _ = ink(still)
    assert left <= 4
    assert 150 < right < 200
    tall = stills.render_text(Text("two\nlines", 60), 400, 40)
    _, top, _, bottom = ink(tall)
    assert bottom - top > 25
    one = stills.render_text(Text("g" * 1024, 30), 2, 2)
    assert one.y.shape == (2, 2)


def test_a_fill_covers_the_whole_place() -> None:
    still = stills.render_text(Text("", 20, fill=0x0000FF), 40, 20)
    assert still.alpha is None
    assert shown(still, 1, 1) == (from_rgb(0, 0, 255), 255)
    empty = stills.render_text(Text(" ", 20), 40, 20)
    assert empty.alpha is not None
    assert empty.alpha.max() == 0


def test_a_clock_shows_the_time_of_its_zone() -> None:
    at = 1_700_000_000_999
    assert stills.clock_text(8, at) == "2023-11-15 06:13:20"
    assert stills.clock_text(-3.5, at) == "2023-11-14 18:43:20"
    clock = Text("", 30, clock_zone=8.0)
    one, same, later = (stills.render_text(clock, 400, 40, now) for now in (at, at - 500, at + 1))
    assert np.array_equal(one.y, same.y)
    assert not np.array_equal(one.alpha, later.alpha)  # type: ignore[arg-type]


def test_without_any_font_text_is_still_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stills, "PLAIN_FONTS", ())
    monkeypatch.setattr(stills, "CJK_FONTS", ())
    stills._font.cache_clear()
    try:
        left, _, right, _ = ink(stills.render_text(Text("hello", 32), 400, 80))
    finally:
        stills._font.cache_clear()
    assert right > left + 40
