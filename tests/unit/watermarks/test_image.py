"""Which bytes are a picture that can be shown."""

import contextlib
import io
import struct
import zlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rtcloud.watermarks.image import FETCHED, MAX_BYTES, MAX_FETCHED_BYTES, Picture, PictureError, check_picture


def made(kind: str, size: tuple[int, int] = (40, 30), mode: str = "RGB", **options: Any) -> bytes:
    buffer = io.BytesIO()
    Image.new(mode, size).save(buffer, kind, **options)
    return buffer.getvalue()


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header says more than its data holds."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        (made("PNG", mode="RGBA"), Picture("png", 40, 30)),
        (made("PNG", mode="P"), Picture("png", 40, 30)),
        (made("JPEG"), Picture("jpeg", 40, 30)),
        (made("JPEG", progressive=True), Picture("jpeg", 40, 30)),
        (made("BMP"), Picture("bmp", 40, 30)),
        (made("PNG", (2560, 1440)), Picture("png", 2560, 1440)),
    ],
)
def test_pictures_are_taken(content: bytes, picture: Picture) -> None:
    assert check_picture(content) == picture


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is not a whole"),
        (b"<svg/>", "is not a whole"),
        (made("GIF"), "is not a whole"),
        (made("PNG")[:-40], "is not a whole"),
        (made("JPEG", (400, 400), quality=95)[:-200], "is not a whole"),
        (made("PNG", (4097, 1)), "wider or higher"),
        (made("PNG", (2561, 1440)), "more than 3686400 pixels"),
        (png_claiming(4000, 4000), "more than 3686400 pixels"),
        (png_claiming(50_000, 50_000), "pixels"),
        (png_claiming(12_000, 12_000), "pixels"),
        (png_claiming(1000, 1000), "is not a whole"),
        (b"\0" * (MAX_BYTES + 1), "more than 2097152 bytes"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)} bytes",
)
def test_other_bytes_are_refused(content: bytes, why: str) -> None:
    with pytest.raises(PictureError, match=why):
        check_picture(content)


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    """Each scan is a pass over all pixels: 2 MB of empty ones are minutes of work."""
    whole = made("JPEG", (2560, 1440), progressive=True)
    scan, end = whole.rindex(b"\xff\xda"), whole.rindex(b"\xff\xd9")
    bomb = whole[:end] + whole[scan:end] * 100_000 + whole[end:]
    assert len(bomb) < MAX_BYTES
    with pytest.raises(PictureError, match="more than 100 scans"):
        check_picture(bomb)
    assert check_picture(whole[:end] + whole[scan:end] * 20 + whole[end:]).width == 2560


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "BMP"]), st.data())
def test_broken_pictures_never_raise_anything_else(kind: str, data: st.DataObject) -> None:
    content = bytearray(made(kind))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PictureError):
        check_picture(bytes(content))


@pytest.mark.parametrize(
    ("content", "picture"),
    [
        (made("GIF", mode="P"), Picture("gif", 40, 30)),
        (made("GIF", mode="P", save_all=True, append_images=[Image.new("P", (40, 30), 1)]), Picture("gif", 40, 30)),
        (made("WEBP"), Picture("webp", 40, 30)),
        (made("WEBP", mode="RGBA", lossless=True), Picture("webp", 40, 30)),
        (made("PNG"), Picture("png", 40, 30)),
    ],
)
def test_what_is_fetched_may_be_of_more_kinds_than_what_is_uploaded(content: bytes, picture: Picture) -> None:
    assert check_picture(content, FETCHED) == picture
    if picture.format != "png":
        with pytest.raises(PictureError, match="is not a whole PNG, JPEG or BMP picture"):
            check_picture(content)


def test_what_is_fetched_may_be_larger_and_is_bounded_too() -> None:
    large = made("BMP", (1200, 700))
    assert MAX_BYTES < len(large) < MAX_FETCHED_BYTES
    assert check_picture(large, FETCHED).width == 1200
    with pytest.raises(PictureError, match="more than 5242880 bytes"):
        check_picture(bytes(MAX_FETCHED_BYTES + 1), FETCHED)


@pytest.mark.parametrize(
    ("content", "at", "sides"),
    [
        (made("GIF", mode="P"), 6, struct.pack("<HH", 65_535, 65_535)),
        (made("WEBP", lossless=True), 21, struct.pack("<I", 16_382 | 16_382 << 14)),  # 14 bits each, less one
    ],
    ids=["GIF", "WebP"],
)
def test_pictures_that_claim_to_be_huge_are_refused_before_they_are_decoded(
    content: bytes, at: int, sides: bytes
) -> None:
    with pytest.raises(PictureError, match="pixels"):
        check_picture(content[:at] + sides + content[at + len(sides) :], FETCHED)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["GIF", "WEBP"]), st.data())
def test_broken_pictures_that_are_fetched_never_raise_anything_else(kind: str, data: st.DataObject) -> None:
    content = bytearray(made(kind))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PictureError):
        check_picture(bytes(content), FETCHED)
