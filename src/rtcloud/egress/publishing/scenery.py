"""The relay's words for what a picture looks like, turned into the mixer's: colours, render modes, images, watermarks.

Everything here is even and inside the canvas, whatever the request says. An image that could not be fetched is left
out, as the documents promise ("will not take effect"). The enumerations differ from member to member:

- ``RenderMode`` of streams: 0 cropped, 1 fitted over what lies beneath, 2 fitted over black;
- ``BackgroundRenderMode`` of a place: the same, 3 stretched, 4 as ``BackgroundCustomRender`` says: of that size in the
  middle, cropped to its shape, with round corners;
- ``BackgroundRenderMode`` of the canvas: 0 cropped, 1 fitted over black, 2 stretched.

``BackGroundColor`` of a place stands beside a fitted picture where ``BackGroundColorMode`` asks for it: bit 0 beside
the placeholder, bit 1 beside the stream. Black bars that were asked for stay black.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from rtcloud.egress.publishing.request import Layout, VideoParams, WaterMark, WaterMarkImage, WaterMarkText
from rtcloud.mixer.layout import BLACK, Colour, Rect, RenderMode, from_rgb, inside
from rtcloud.mixer.scene import Cell, Holder, Image, Overlay, Scene, Text

#: RenderMode of a stream → how it is drawn and what stands beside it
STREAM_MODES: Mapping[int, tuple[RenderMode, Colour | None]] = {
    0: (RenderMode.CROP, None),
    1: (RenderMode.FIT, None),
    2: (RenderMode.FIT, BLACK),
}
_HOLDER_MODES: Mapping[int, tuple[RenderMode, Colour | None]] = {
    **STREAM_MODES,
    3: (RenderMode.STRETCH, None),
    4: (RenderMode.CROP, None),
}
_CUSTOM_HOLDER = 4
_CANVAS_MODES = {0: RenderMode.CROP, 1: RenderMode.FIT, 2: RenderMode.STRETCH}
_BEHIND_HOLDERS, _BEHIND_STREAMS = 1, 2
_MOTIONS: Mapping[int, Literal["fixed", "random", "bouncing"]] = {0: "fixed", 1: "random", 2: "bouncing"}
_WHITE = 0xFFFFFF


class Scenery:
    """Of one request. ``images`` is the directory where its images are, by ``names``."""

    def __init__(self, video: VideoParams, images: Path, names: Mapping[str, str]) -> None:
        self.width, self.height = video.video_encode.width, video.video_encode.height
        self._images = images
        self._names = names
        self._background = parse_colour(video.background_color) or BLACK
        self._backdrop = self._image(video.background_image_url)
        self._backdrop_mode = _CANVAS_MODES[video.background_render_mode]
        if self._backdrop is not None and self._backdrop_mode is RenderMode.FIT:
            self._background = BLACK
        self._overlays = tuple(
            overlay for mark in video.water_mark_list if (overlay := self._overlay(mark)) is not None
        )

    def scene(self, cells: tuple[Cell, ...]) -> Scene:
        return Scene(self._background, self._backdrop, self._backdrop_mode, cells, self._overlays)

    def cell(self, layout: Layout, track_id: str | None) -> Cell | None:
        """A place of a custom layout; None when it has no area."""
        rect = self._inside(layout.location_x, layout.location_y, layout.image_width, layout.image_height)
        if rect is None:
            return None
        mode, bars = STREAM_MODES[layout.render_mode]
        crop = layout.custom_crop
        return Cell(
            rect,
            track_id,
            layout.z_order,
            mode,
            bars or _colour_beside(layout, _BEHIND_STREAMS),
            None if crop is None else Rect(crop.location_x, crop.location_y, crop.width, crop.height),
            self._image(layout.transparent_url) if mode is RenderMode.CROP else None,
            self._holder(layout),
        )

    def _holder(self, layout: Layout) -> Holder | None:
        image = self._image(layout.background_image_url)
        if image is None:
            return None
        mode, bars = _HOLDER_MODES[layout.background_render_mode]
        bars = bars or _colour_beside(layout, _BEHIND_HOLDERS)
        custom = layout.background_custom_render
        if layout.background_render_mode != _CUSTOM_HOLDER or custom is None:
            return Holder(image, mode, bars)
        return Holder(image, mode, bars, (custom.width, custom.height), custom.radius)

    def _overlay(self, mark: WaterMark) -> Overlay | None:
        content: Image | Text | None
        drawn: WaterMarkImage | WaterMarkText
        if mark.water_mark_type == 1 and mark.water_mark_text is not None:
            drawn = mark.water_mark_text
            content = Text(
                drawn.text,
                drawn.font_size,
                _WHITE if (colour := _number(drawn.font_color)) is None else colour,
                _number(drawn.background_color),
                drawn.font,
            )
        elif mark.water_mark_type == 0 and mark.water_mark_image is not None:
            drawn = mark.water_mark_image
            content = self._image(drawn.water_mark_url)
        else:
            return None
        rect = self._inside(drawn.location_x, drawn.location_y, drawn.water_mark_width, drawn.water_mark_height)
        if content is None or rect is None:
            return None
        return Overlay(content, rect, drawn.z_order, _MOTIONS[drawn.dynamic_pos_type])

    def _image(self, url: str) -> Image | None:
        name = self._names.get(url) if url else None
        return None if name is None else Image(str(self._images / name))

    def _inside(self, left: int, top: int, width: int, height: int) -> Rect | None:
        return inside(left, top, width, height, Rect(0, 0, self.width, self.height))


def parse_colour(text: str) -> Colour | None:
    """``0xRRGGBB``; None when it is empty."""
    value = _number(text)
    return None if value is None else from_rgb(value >> 16 & 255, value >> 8 & 255, value & 255)


def _number(text: str) -> int | None:
    return int(text, 16) if text else None


def _colour_beside(layout: Layout, bit: int) -> Colour | None:
    return parse_colour(layout.background_color) if layout.background_color_mode & bit else None
