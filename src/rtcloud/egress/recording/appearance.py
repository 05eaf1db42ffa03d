"""What a mixed recording looks like: MixLayoutParams as accepted, with the documented defaults filled in.

A whole of its own, since ModifyCloudRecording replaces all of it. Units and enumerations differ from the relay's. Texts
may be empty, which is their default.
"""

import msgspec

#: MixLayoutMode
FLOATING, SCREEN_SHARING, GRID, CUSTOM = 1, 2, 3, 4
#: MediaId of a place
MAIN, AUX = 0, 1
#: WaterMarkType
IMAGE, CHARS, TIMESTAMP = 0, 1, 2


class _Part(msgspec.Struct, frozen=True, rename="pascal", omit_defaults=True):
    pass


class MixLayout(_Part, frozen=True, kw_only=True):
    """A place of a custom layout, in pixels of the canvas."""

    top: int
    left: int
    width: int
    height: int
    user_id: str = ""  # "": whoever comes next
    alpha: int = 0  # 0 opaque, 255 not to be seen
    render_mode: int = 1
    media_id: int = MAIN
    image_layer: int = 0  # higher ones cover lower ones
    sub_background_image: str = ""


class WaterMarkImage(_Part, frozen=True, kw_only=True):
    water_mark_url: str
    top: int
    left: int
    width: int
    height: int


class WaterMarkChar(_Part, frozen=True, kw_only=True):
    top: int
    left: int
    width: int
    height: int
    chars: str
    font_size: int = 14  # pixels
    font_color: str = "#FFFFFF"  # "#RRGGBB" or "0xRRGGBB"
    background_color: str = msgspec.field(default="", name="BackGroundColor")  # "": transparent


class WaterMarkTimestamp(_Part, frozen=True, kw_only=True):
    pos: int  # 0 top left, 1 top right, 2 bottom left, 3 bottom right, 4 top, 5 bottom, 6 centre
    time_zone: int = 8  # hours east of UTC


class WaterMark(_Part, frozen=True, kw_only=True):
    """One of the three, as ``water_mark_type`` says; the others mean nothing."""

    water_mark_type: int = IMAGE
    water_mark_image: WaterMarkImage | None = None
    water_mark_char: WaterMarkChar | None = None
    water_mark_timestamp: WaterMarkTimestamp | None = None


class MixLayoutParams(_Part, frozen=True, kw_only=True):
    """Render modes: 0 stretch, 1 crop, 2 fit over the window's background, 3 crop at most 20 %, the rest stretched."""

    mix_layout_mode: int = GRID
    mix_layout_list: tuple[MixLayout, ...] = ()  # of a custom layout only
    background_color: str = msgspec.field(default="#000000", name="BackGroundColor")  # "#RRGGBB"
    max_resolution_user_id: str = ""  # of floating and screen sharing
    media_id: int = MAIN  # of that user
    background_image_url: str = ""
    place_holder_mode: int = 0  # 1: images of windows also stand where somebody is missing, and for stopped videos
    background_image_render_mode: int = 1
    default_sub_background_image: str = ""
    water_mark_list: tuple[WaterMark, ...] = ()
    render_mode: int = 1  # of template layouts
    max_resolution_user_align: int = 0  # of screen sharing: 1 puts the big picture on the right
    pure_audio_disable_layout: bool = False  # true: people without video take no place in a template

    @property
    def is_custom(self) -> bool:
        return self.mix_layout_mode == CUSTOM

    @property
    def pictures(self) -> tuple[str, ...]:
        """The address of each picture that is needed, once."""
        named = [self.background_image_url, self.default_sub_background_image]
        if self.is_custom:
            named += [place.sub_background_image for place in self.mix_layout_list]
        for mark in self.water_mark_list:
            if mark.water_mark_type == IMAGE and mark.water_mark_image is not None:
                named.append(mark.water_mark_image.water_mark_url)
        return tuple(dict.fromkeys(url for url in named if url))
