"""Which stream stands at which place of a mixed picture; the rules are those of ``casting``.

Preset layouts are made anew from who is there. A custom layout remembers who stands in its unnamed places.
"""

from collections.abc import Callable, Sequence

from rtcloud.egress.publishing.cast import Draft, Stream, StreamKey, User, track_key
from rtcloud.egress.publishing.request import FLOATING, GRID, Layout, LayoutParams, MixUserInfo, UserMediaStream
from rtcloud.egress.publishing.scenery import STREAM_MODES, Scenery
from rtcloud.mixer import templates
from rtcloud.mixer.scene import Cell
from rtcloud.rooms.ids import RoomRef

_Naming = Callable[[MixUserInfo], User]


def is_named(wanted: UserMediaStream | None) -> bool:
    return wanted is not None and wanted.user_info is not None and wanted.user_info.user_id != ""


def find(wanted: UserMediaStream, streams: Sequence[Stream], user_of: _Naming) -> Stream | None:
    """The named stream, sent or not; None when its user is not there."""
    if wanted.user_info is None:
        return None
    key = (*user_of(wanted.user_info), wanted.stream_type)
    return next((stream for stream in streams if stream.key == key), None)


def place_preset(
    cast: Draft, params: LayoutParams, scenery: Scenery, streams: Sequence[Stream], room: RoomRef, user_of: _Naming
) -> list[Cell]:
    """``streams`` are in the order of entry; all but the big one are of ``room``."""
    has_big = params.mix_layout_mode != GRID
    big = None
    if has_big and params.max_video_user is not None:
        big = find(params.max_video_user.user_media_stream, streams, user_of)
    holds = params.pure_audio_hold_place_mode == 1
    shown = [
        stream
        for stream in streams
        if stream.ref == room
        and (big is None or stream.key != big.key)
        and (stream.picture is not None or (holds and stream.only_sounds))
    ]
    in_order: list[Stream | None] = [*shown]
    if has_big:
        if params.mix_layout_mode == FLOATING and params.max_video_user is None and shown:
            big = shown.pop(0)
        in_order = [big, *shown]
        make = templates.floating if params.mix_layout_mode == FLOATING else templates.screen_sharing
        places = make(templates.RELAY, len(shown), scenery.width, scenery.height)
    else:
        places = templates.grid(templates.RELAY, len(shown), scenery.width, scenery.height)
    bars = None
    if params.render_mode is not None:
        mode, bars = STREAM_MODES[params.render_mode]
        places = templates.with_mode(places, mode)
    cells = []
    for place, stream in zip(places, in_order, strict=False):
        if stream is None or (picture := stream.picture) is None:
            continue  # such a place shows the background
        key = cast.show(stream, picture, place.rect, place.z)
        # All at one height, in this order: so a watermark of the default order is above them.
        cells.append(Cell(place.rect, key, 0, place.mode, bars))
    return cells


class CustomPlaces:
    """Of one task."""

    def __init__(self) -> None:
        self._standing: dict[int, StreamKey] = {}  # unnamed place → who stands there

    def place(
        self,
        cast: Draft,
        layouts: Sequence[Layout],
        scenery: Scenery,
        streams: Sequence[Stream],
        room: RoomRef,
        user_of: _Naming,
    ) -> tuple[list[Cell], set[User]]:
        """The cells, and who has a place, seen or not."""
        standing = self._fill(layouts, streams, room, user_of)
        cells = []
        for index, layout in enumerate(layouts):
            stream = standing.get(index)
            picture = None if stream is None else stream.picture
            key = None if stream is None or picture is None else track_key(stream.ref, picture.track_id)
            cell = scenery.cell(layout, key)
            if cell is None or (key is None and cell.holder is None):
                continue
            cells.append(cell)
            if stream is not None and picture is not None:
                cast.show(stream, picture, cell.rect, cell.z)
        return cells, {stream.user for stream in standing.values()}

    def _fill(
        self, layouts: Sequence[Layout], streams: Sequence[Stream], room: RoomRef, user_of: _Naming
    ) -> dict[int, Stream]:
        """Place → who stands there."""
        by_key = {stream.key: stream for stream in streams}
        standing: dict[int, Stream] = {}
        free: dict[int, Layout] = {}
        reserved: set[StreamKey] = set()
        for index, layout in enumerate(layouts):
            wanted = layout.user_media_stream
            if wanted is None or wanted.user_info is None or not wanted.user_info.user_id:
                free[index] = layout
                continue
            key = (*user_of(wanted.user_info), wanted.stream_type)
            if key in by_key and key not in reserved:
                standing[index] = by_key[key]
            reserved.add(key)
        unnamed = {stream.key: stream for stream in streams if stream.ref == room and stream.key not in reserved}
        before = {
            index: unnamed[key]
            for index, key in self._standing.items()
            if index in free and key in unnamed and _fits(free[index], unnamed[key])
        }

        def stand(index: int, stream: Stream) -> None:
            standing[index] = stream
            del free[index], unnamed[stream.key]

        # Whose video goes on, or is only muted, stays; then come the others with video, first to places where nobody
        # stood, at last to the last ones; then those who only sound: they stay where they can, and take what is left.
        for index, stream in before.items():
            if stream.tracks("video"):
                stand(index, stream)
        for stream in list(unnamed.values()):
            if stream.picture is not None:
                fitting = (index for index in sorted(free) if _fits(free[index], stream))
                place = min(
                    fitting, key=lambda index: (index in before, -index if index in before else index), default=None
                )
                if place is not None:
                    stand(place, stream)
        for index, stream in before.items():
            if index in free and stream.key in unnamed and stream.only_sounds:
                stand(index, stream)
        placed = {stream.user for stream in standing.values()}
        for stream in list(unnamed.values()):
            if stream.only_sounds and stream.user not in placed:
                place = next((index for index in sorted(free) if _fits(free[index], stream)), None)
                if place is not None:
                    stand(place, stream)
        self._standing = {
            index: stream.key for index, stream in standing.items() if not is_named(layouts[index].user_media_stream)
        }
        return standing


def _fits(layout: Layout, stream: Stream) -> bool:
    return layout.user_media_stream is None or layout.user_media_stream.stream_type == stream.kind
