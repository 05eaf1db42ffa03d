"""What the program wants of remote tracks: kept as state, so that it can be said again after a loss. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from livekit.protocol import rtc


@dataclass(slots=True)
class _Wish:
    """``subscribed`` None: as the room does by itself. ``sized``: enabled, width, height."""

    subscribed: bool | None = None
    sized: tuple[bool, int, int] | None = None


class Wishes:
    def __init__(self) -> None:
        self._wishes: dict[str, _Wish] = {}

    def subscribe(self, track_id: str, subscribed: bool) -> rtc.SignalRequest:
        self._wishes.setdefault(track_id, _Wish()).subscribed = subscribed
        return _subscription([track_id], subscribed)

    def size(self, track_id: str, enabled: bool, width: int, height: int) -> rtc.SignalRequest:
        self._wishes.setdefault(track_id, _Wish()).sized = (enabled, width, height)
        return _setting(track_id, enabled, width, height)

    def tracks(self, *, subscribed: bool) -> list[str]:
        """Those for which the program asked to be (un)subscribed."""
        return [track_id for track_id, wish in self._wishes.items() if wish.subscribed is subscribed]

    def forget_others(self, present: set[str]) -> None:
        self._wishes = {track_id: wish for track_id, wish in self._wishes.items() if track_id in present}

    def requests(self) -> Iterator[rtc.SignalRequest]:
        """All of it, for a session that was made anew."""
        for subscribed in (True, False):
            if track_ids := self.tracks(subscribed=subscribed):
                yield _subscription(track_ids, subscribed)
        for track_id, wish in self._wishes.items():
            if wish.sized is not None:
                yield _setting(track_id, *wish.sized)


def _subscription(track_ids: list[str], subscribed: bool) -> rtc.SignalRequest:
    return rtc.SignalRequest(subscription=rtc.UpdateSubscription(track_sids=track_ids, subscribe=subscribed))


def _setting(track_id: str, enabled: bool, width: int, height: int) -> rtc.SignalRequest:
    setting = rtc.UpdateTrackSettings(track_sids=[track_id], disabled=not enabled, width=width, height=height)
    return rtc.SignalRequest(track_setting=setting)
