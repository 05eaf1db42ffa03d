"""The rooms of a relay: its own, and every other whose people it mixes, with the same robot in each.

The relay's own room is entered once; when it is over, so is the job (``over``). Any other room is tried again and again
with growing pauses, for it may not exist yet, and what happens there must not end the relay: while it is away its
people are. Where the robot was sent out, or somebody else took its name, it stays out: coming back it would throw that
person out. It enters again once the room was left out of an update and named by a later one.

Nothing is received but what is ``wanted``. Tracks are known outside by a key that is unique over all rooms.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet

from rtcloud.aio import spawn
from rtcloud.client.joining import ConnectError
from rtcloud.client.types import ClientRoom, Disconnected, EncodedFrame
from rtcloud.egress.publishing.cast import RoomView, track_key
from rtcloud.mixer.form import KeyframeWanted, Wish
from rtcloud.robots.entering import CONNECT_WITHIN, PAUSES, STEADY, Connect, leave
from rtcloud.rooms.ids import RoomRef

#: why the robot does not come back to another room
_UNWANTED = frozenset({"PARTICIPANT_REMOVED", "DUPLICATE_IDENTITY"})

_log = logging.getLogger(__name__)


class _Place:
    """One room, whether the robot is there or not."""

    def __init__(self, ref: RoomRef, token: str) -> None:
        self.ref = ref
        self.token = token
        self.room: ClientRoom | None = None
        self.subscribed: set[str] = set()
        self.attending: asyncio.Task[None] | None = None
        self._keys: dict[str, str] = {}

    def key(self, track_id: str) -> str:
        key = self._keys.get(track_id)
        if key is None:
            key = self._keys[track_id] = track_key(self.ref, track_id)
        return key

    def published(self) -> dict[str, str]:
        """Key → track, of those there now."""
        if self.room is None:
            return {}
        tracks = [track.track_id for one in self.room.participants.values() for track in one.tracks]
        self._keys = {track_id: self.key(track_id) for track_id in tracks}
        return {key: track_id for track_id, key in self._keys.items()}


class Attending:
    """``changed`` is called whenever someone may have come, gone or changed; ``take`` with what was received; ``over``
    with the reason, once, when the relay's own room is left for good."""

    def __init__(
        self,
        connect: Connect,
        signal_url: str,
        *,
        changed: Callable[[], None],
        take: Callable[[Sequence[EncodedFrame], Callable[[str], str]], None],
        over: Callable[[str], None],
    ) -> None:
        self._connect = connect
        self._url = signal_url
        self._changed = changed
        self._take = take
        self._over = over
        self._places: dict[RoomRef, _Place] = {}
        self._tracks: dict[str, tuple[_Place, str]] = {}
        self._own: RoomRef | None = None

    async def enter(self, ref: RoomRef, token: str) -> None:
        """The relay's own room. Raises what connecting raises."""
        place = _Place(ref, token)
        self._own = ref
        async with asyncio.timeout(CONNECT_WITHIN):
            place.room = await self._connect(self._url, token)
        self._places[ref] = place
        place.attending = spawn(self._stay(place, place.room), name="relay-room")

    def attend(self, others: Mapping[RoomRef, str]) -> None:
        """The other rooms, from now on, with a token for each."""
        for ref in self._places.keys() - others.keys() - {self._own}:
            spawn(self._give_up(self._places.pop(ref)), name="relay-leave-room")
        for ref, token in others.items():
            if ref == self._own:
                continue
            if ref in self._places:
                self._places[ref].token = token
            else:
                place = self._places[ref] = _Place(ref, token)
                place.attending = spawn(self._keep_attending(place), name="relay-other-room")
        self._changed()

    def views(self) -> list[RoomView]:
        return [
            RoomView(place.ref, list(place.room.participants.values()))
            for place in self._places.values()
            if place.room is not None
        ]

    async def want(self, keys: AbstractSet[str]) -> None:
        """What is received from now on."""
        self._tracks = {}
        for place in list(self._places.values()):
            published = place.published()
            self._tracks |= {key: (place, track_id) for key, track_id in published.items()}
            wanted = {track_id for key, track_id in published.items() if key in keys}
            before, place.subscribed = place.subscribed & set(published.values()), wanted
            if place.room is not None:
                for track_id in wanted - before:
                    await place.room.subscribe(track_id)
                for track_id in before - wanted:
                    await place.room.subscribe(track_id, False)

    async def fulfil(self, wish: Wish) -> None:
        place, track_id = self._tracks.get(wish.track_id, (None, ""))
        if place is None or place.room is None:
            return
        if isinstance(wish, KeyframeWanted):
            place.room.request_keyframe(track_id)
        else:
            await place.room.set_subscription(track_id, enabled=wish.enabled, width=wish.width, height=wish.height)

    @property
    def received(self) -> int:
        """Tracks."""
        return sum(len(place.subscribed) for place in self._places.values() if place.room is not None)

    async def leave(self) -> None:
        """Every room."""
        places = list(self._places.values())
        self._places.clear()
        await asyncio.gather(*(self._give_up(place) for place in places))

    # One room -------------------------------------------------------------------------------------------------------

    async def _give_up(self, place: _Place) -> None:
        if place.attending is not None:
            place.attending.cancel()
            await asyncio.gather(place.attending, return_exceptions=True)
        if place.room is not None:
            await leave(place.room)
            place.room = None

    async def _stay(self, place: _Place, room: ClientRoom) -> None:
        reason = "FAILED"
        try:
            reason = await self._follow(place, room)
        finally:
            self._over(reason)

    async def _follow(self, place: _Place, room: ClientRoom) -> str:
        """Until the room is over; why it is."""
        receiving = spawn(self._receive(place, room), name="relay-frames")
        try:
            self._changed()
            while events := await room.events():
                self._changed()
                for event in events:
                    if isinstance(event, Disconnected):
                        return event.reason
            return "UNKNOWN_REASON"
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)

    async def _receive(self, place: _Place, room: ClientRoom) -> None:
        while frames := await room.frames():
            self._take(frames, place.key)

    async def _keep_attending(self, place: _Place) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            try:
                async with asyncio.timeout(CONNECT_WITHIN):
                    place.room = await self._connect(self._url, place.token)
            except (ConnectError, OSError, TimeoutError) as error:
                reason = str(error) or type(error).__name__
            else:
                began = loop.time()
                reason = await self._follow(place, place.room)
                place.room = None
                place.subscribed = set()
                self._changed()
                if reason in _UNWANTED:
                    _log.warning("another room of the relay is not attended any more", extra={"reason": reason})
                    return
                if loop.time() - began >= STEADY:
                    failures = 0
            _log.log(
                logging.INFO if failures else logging.WARNING,
                "another room of the relay cannot be attended",
                extra={"reason": reason, "failures": failures},
            )
            await asyncio.sleep(PAUSES[min(failures, len(PAUSES) - 1)])
            failures += 1
