"""What a relay writes into its pictures: where everyone is and how loud (layout SEI), and a text of the user's own.

The layout's JSON has exactly the documented members in the documented order. Only people whose picture is really there
are in it. Each kind comes with the first picture, then once per interval (kept over the whole output: a late one does
not delay those after it), and with every keyframe where the request wants that.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Protocol

import msgspec

from rtcloud.client.sei import SeiMessage
from rtcloud.egress.publishing.cast import Region
from rtcloud.egress.publishing.request import LayoutVolume, PassThrough, SeiParams

_WITH_UUID = 5


class _Canvas(msgspec.Struct, frozen=True):
    w: int
    h: int


class _Region(msgspec.Struct, frozen=True):
    uid: str
    zorder: int
    volume: int
    x: int
    y: int
    w: int
    h: int


class _Layout(msgspec.Struct, frozen=True):
    app_data: str
    canvas: _Canvas
    regions: list[_Region]
    ver: str
    ts: int


class _Content(Protocol):
    def __call__(self) -> SeiMessage: ...


class _Schedule:
    """When one kind of message is due."""

    def __init__(self, interval_ms: int, follows_keyframes: bool) -> None:
        self._interval_ms = max(0, interval_ms)
        self._follows_keyframes = follows_keyframes
        self._next_ms = 0

    def is_due(self, keyframe: bool, time_ms: int) -> bool:
        if time_ms >= self._next_ms:
            self._next_ms += self._interval_ms
            if self._next_ms <= time_ms:  # the output paused, or pictures are rarer than the interval
                self._next_ms = time_ms + self._interval_ms
            return True
        return keyframe and self._follows_keyframes


class RelayMessages:
    """The mixer's ``messages``. ``regions`` is set from each plan; ``levels`` (loudness by user, 0 to 100) and
    ``in_view`` (tracks whose picture is drawn) are the mixer's; ``now`` is Unix time in seconds."""

    def __init__(
        self,
        params: SeiParams,
        width: int,
        height: int,
        *,
        levels: Callable[[], Mapping[str, int]],
        in_view: Callable[[], Set[str]],
        now: Callable[[], float],
    ) -> None:
        self.regions: tuple[Region, ...] = ()
        self._canvas = _Canvas(width, height)
        self._levels = levels
        self._in_view = in_view
        self._now = now
        self._kinds: list[tuple[_Schedule, _Content]] = []
        self.update(params)

    def update(self, params: SeiParams) -> None:
        """Other wishes from the next picture on."""
        self._kinds = []
        if (layout := params.layout_volume) is not None:
            self._kinds.append((_schedule(layout), lambda: self._layout(layout)))
        if (own := params.pass_through) is not None:
            message = pass_through(own)
            self._kinds.append((_schedule(own), lambda: message))

    def resize(self, width: int, height: int) -> None:
        self._canvas = _Canvas(width, height)

    def __call__(self, keyframe: bool, time_ms: int) -> Sequence[SeiMessage]:
        return [content() for schedule, content in self._kinds if schedule.is_due(keyframe, time_ms)]

    def _layout(self, params: LayoutVolume) -> SeiMessage:
        levels, in_view = self._levels(), self._in_view()
        regions = [
            _Region(
                region.user_id,
                region.z,
                max(0, min(100, levels.get(region.user_id, 0))),
                region.rect.left,
                region.rect.top,
                region.rect.width,
                region.rect.height,
            )
            for region in self.regions
            if region.track_key in in_view
        ]
        layout = _Layout(params.app_data, self._canvas, regions, "1.0", int(self._now()))
        return SeiMessage(msgspec.json.encode(layout), params.payload_type)


def pass_through(params: PassThrough) -> SeiMessage:
    uuid = bytes.fromhex(params.payload_uuid) if params.payload_type == _WITH_UUID else b""
    return SeiMessage(params.payload_content.encode(), params.payload_type, uuid)


def _schedule(params: LayoutVolume | PassThrough) -> _Schedule:
    return _Schedule(params.interval, params.follow_idr == 1)
