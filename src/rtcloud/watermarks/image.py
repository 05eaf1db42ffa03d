"""Whether some bytes are a picture that a mixer can show. Pure, but slow: call it off the event loop.

The bytes come from strangers. Size and sides are bounded before a pixel is decoded; then every pixel is, so that a
picture that is cut off or broken is refused now and not when somebody records. Of what moves, the first picture is
looked at, and shown.
"""

import io
from dataclasses import dataclass

from PIL import Image

MAX_BYTES = 2 * 1024 * 1024
MAX_FETCHED_BYTES = 5 * 1024 * 1024
MAX_SIDE = 4096
MAX_PIXELS = 2560 * 1440
#: Of a progressive JPEG, each of which is a pass over all pixels, however few bytes it has. Encoders make ten.
MAX_SCANS = 100

_START_OF_SCAN = b"\xff\xda"  # in a scan's own bytes 0xff is followed by 0


class PictureError(ValueError):
    """The bytes are no picture we can show; the message says why."""


@dataclass(frozen=True, slots=True)
class Picture:
    format: str  # png, jpeg, bmp; gif, webp
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Accepted:
    """``formats``: what Pillow may try, and our word for each."""

    max_bytes: int
    formats: dict[str, str]
    names: str


#: Of a watermark that an application uploads.
UPLOADED = Accepted(MAX_BYTES, {"PNG": "png", "JPEG": "jpeg", "BMP": "bmp"}, "PNG, JPEG or BMP")
#: Of a picture that a request names by its address.
FETCHED = Accepted(MAX_FETCHED_BYTES, UPLOADED.formats | {"GIF": "gif", "WEBP": "webp"}, "PNG, JPEG, BMP, GIF or WebP")


def check_picture(content: bytes, accepted: Accepted = UPLOADED) -> Picture:
    """Decodes all of it. Raises ``PictureError``."""
    if len(content) > accepted.max_bytes:
        raise PictureError(f"has more than {accepted.max_bytes} bytes")
    try:
        with Image.open(io.BytesIO(content), formats=tuple(accepted.formats)) as image:
            picture = Picture(accepted.formats[image.format or ""], image.width, image.height)
            _check_sides(picture)
            if picture.format == "jpeg" and content.count(_START_OF_SCAN) > MAX_SCANS:
                raise PictureError(f"has more than {MAX_SCANS} scans")
            image.load()
    except PictureError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(f"has more than {MAX_PIXELS} pixels") from None
    except Exception:  # Pillow's decoders raise whatever broken bytes lead to
        raise PictureError(f"is not a whole {accepted.names} picture") from None
    return picture


def _check_sides(picture: Picture) -> None:
    if picture.width > MAX_SIDE or picture.height > MAX_SIDE:
        raise PictureError(f"is wider or higher than {MAX_SIDE} pixels")
    if picture.width * picture.height > MAX_PIXELS:
        raise PictureError(f"has more than {MAX_PIXELS} pixels")
