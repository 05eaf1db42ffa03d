"""A recording's words for what its picture looks like, turned into the mixer's: windows, backgrounds, watermarks.

Everything here is even and inside the canvas, whatever the request says. An image that could not be had is left out:
event 309 has told so, and the recording goes on without it.

**A window** shows its user's picture. Its background is ``SubBackgroundImage`` or else ``DefaultSubBackgroundImage``:
it stands beside a fitted picture and while there is none yet; without an image, ``BackGroundColor`` stands beside. When
a video stops, ``FillType`` says what stays, also until the first picture of the next one; with ``PlaceHolderMode`` 1
the image takes its place at once, and stands where a place is reserved for somebody who is not there, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtcloud.egress.recording.appearance import CHARS, IMAGE, TIMESTAMP, WaterMark
from rtcloud.egress.recording.request import RecordingRequest
from rtcloud.mixer import layout
from rtcloud.mixer.layout import BLACK, Rect, RenderMode
from rtcloud.mixer.scene import Cell, Holder, Image, Overlay, Scene, Text

RENDER_MODES = (RenderMode.STRETCH, RenderMode.CROP, RenderMode.FIT, RenderMode.SMART)
OPAQUE = 255
#: Above every window, whose ImageLayer has 64 bits.
_ABOVE = 1 << 64
_WHITE, _DARK = 0xFFFFFF, 0x000000
#: A timestamp's letters, in parts of the canvas's height and width, and their least size.
_CLOCK_HEIGHT, _CLOCK_WIDTH, _CLOCK_LEAST = 24, 22, 8
#: The timestamp's rectangle and its distance from the edges, in sizes of its letters.
_CLOCK_ACROSS, _CLOCK_DOWN, _CLOCK_MARGIN = 11, 1.5, 0.5
#: Pos → where along the width and the height.
_CLOCK_AT = ((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0), (0.5, 1), (0.5, 0.5))


@dataclass(frozen=True, slots=True)
class Shown:
    """Of one stream: ``live`` is its video, ``last`` one that stopped and whose last picture is still known. ``before``
    is what stood there until then, oldest first: other videos, or the same that had stopped. There may be several, as
    one that was switched off at once has left no picture."""

    live: str | None = None
    last: str | None = None
    before: tuple[str, ...] = ()

    @property
    def track(self) -> str | None:
        return self.live or self.last


@dataclass(frozen=True, slots=True)
class Window:
    """``image`` "" is the default one."""

    rect: Rect
    mode: RenderMode
    z: int = 0
    alpha: int = 0
    image: str = ""


class Scenery:
    """Of one request. ``images`` is the directory where its images are, by the request's ``images``."""

    def __init__(self, request: RecordingRequest, images: Path) -> None:
        video, params = request.mix_transcode_params.video_params, request.mix_layout_params
        self.width, self.height = layout.even(video.width), layout.even(video.height)
        self._names: Mapping[str, str] = request.images
        self._images = images
        self._background = layout.parse_colour(params.background_color) or BLACK
        self._backdrop = self._image(params.background_image_url)
        self._backdrop_mode = RENDER_MODES[params.background_image_render_mode]
        self._holder = self._image(params.default_sub_background_image)
        self._holds_places = params.place_holder_mode == 1
        self._keeps_last = request.record_params.fill_type == 0
        marks = (self._overlay(mark) for mark in params.water_mark_list)
        self._overlays = tuple(overlay for overlay in marks if overlay is not None)

    def scene(self, cells: tuple[Cell, ...]) -> Scene:
        return Scene(self._background, self._backdrop, self._backdrop_mode, cells, self._overlays)

    def inside(self, left: int, top: int, width: int, height: int) -> Rect | None:
        return layout.inside(left, top, width, height, Rect(0, 0, self.width, self.height))

    def cells(self, window: Window, shown: Shown | None) -> list[Cell]:
        """From the bottom up. ``shown`` None: the place is reserved for somebody who is not there."""
        opacity = OPAQUE - window.alpha
        image = self._image(window.image) or self._holder
        if opacity == 0 or (shown is None and not self._holds_places):
            return []
        bars = self._background if window.mode is RenderMode.FIT else None
        holder = None if image is None else Holder(image, window.mode, bars)
        track_id, fill = (None, None) if shown is None else self._content(shown, holder)
        if track_id is None:
            if fill is not None:
                return [Cell(window.rect, z=window.z, fill=fill, opacity=opacity)]
            return [] if holder is None else [Cell(window.rect, z=window.z, holder=holder, opacity=opacity)]
        if shown is not None and shown.before and self._goes_on(window, holder):
            return self._changing(window, track_id, shown.before, bars)
        if holder is None or window.mode is not RenderMode.FIT:
            return [Cell(window.rect, track_id, window.z, window.mode, bars, holder=holder, opacity=opacity)]
        # The image stands beside the picture, too: as a cell of its own beneath it.
        return [
            Cell(window.rect, z=window.z, holder=holder, opacity=opacity),
            Cell(window.rect, track_id, window.z, window.mode, opacity=opacity),
        ]

    def _goes_on(self, window: Window, holder: Holder | None) -> bool:
        """Whether what stood there can stay beneath a video until that covers it: not beside one that is fitted on an
        image or seen through, nor where the image stands for videos that stopped."""
        covers = window.alpha == 0 and (window.mode is not RenderMode.FIT or holder is None)
        return covers and not (self._holds_places and holder is not None)

    def _changing(self, window: Window, track_id: str, before: Sequence[str], bars: layout.Colour | None) -> list[Cell]:
        if not self._keeps_last:
            return [Cell(window.rect, track_id, window.z, window.mode, bars, fill=BLACK)]
        tracks = [*(each for each in before if each != track_id), track_id]
        return [Cell(window.rect, each, window.z, window.mode, bars) for each in tracks]

    def _content(self, shown: Shown, holder: Holder | None) -> tuple[str | None, layout.Colour | None]:
        """The track to show, or what fills the window in its place."""
        if shown.live is not None or shown.last is None:
            return shown.live, None
        if self._holds_places and holder is not None:
            return None, None
        return (shown.last, None) if self._keeps_last else (None, BLACK)

    def _overlay(self, mark: WaterMark) -> Overlay | None:
        if mark.water_mark_type == TIMESTAMP and mark.water_mark_timestamp is not None:
            return self._clock(mark.water_mark_timestamp.pos, mark.water_mark_timestamp.time_zone)
        content: Image | Text | None = None
        rect: Rect | None = None
        if mark.water_mark_type == IMAGE and (drawn := mark.water_mark_image) is not None:
            content = self._image(drawn.water_mark_url)
            rect = self.inside(drawn.left, drawn.top, drawn.width, drawn.height)
        elif mark.water_mark_type == CHARS and (words := mark.water_mark_char) is not None:
            colour, fill = rgb(words.font_color), rgb(words.background_color)
            content = Text(words.chars, words.font_size, _WHITE if colour is None else colour, fill)
            rect = self.inside(words.left, words.top, words.width, words.height)
        if content is None or rect is None:
            return None
        return Overlay(content, rect, _ABOVE)

    def _clock(self, pos: int, zone: int) -> Overlay | None:
        size = max(_CLOCK_LEAST, min(self.height // _CLOCK_HEIGHT, self.width // _CLOCK_WIDTH))
        margin = int(size * _CLOCK_MARGIN)
        width, height = layout.even(size * _CLOCK_ACROSS), layout.even(size * _CLOCK_DOWN)
        across, down = _CLOCK_AT[pos]
        left = int(margin + max(0, self.width - width - 2 * margin) * across)
        top = int(margin + max(0, self.height - height - 2 * margin) * down)
        rect = self.inside(left, top, width, height)
        clock = Text("", size, _WHITE, clock_zone=zone, outline=_DARK)
        return None if rect is None else Overlay(clock, rect, _ABOVE)

    def _image(self, url: str) -> Image | None:
        name = self._names.get(url) if url else None
        return None if name is None else Image(str(self._images / name))


def rgb(text: str) -> int | None:
    """``#RRGGBB`` or ``0xRRGGBB``; None when it is empty."""
    return int(text.removeprefix("#"), 16) if text else None
