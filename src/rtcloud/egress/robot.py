"""The robot of a job in a room: how it comes, how it goes, and with which documented code a task is left for good."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from rtcloud.client.types import ClientRoom

if TYPE_CHECKING:
    from rtcloud.mixer.form import Wish  # with the codecs, which a server has no use for

Connect = Callable[[str, str], Awaitable[ClientRoom]]

CONNECT_WITHIN = 15.0
LEAVE_WITHIN = 2.0
#: leave code: nobody was there
IDLE = 99
#: of a robot that was sent away for good, by the reason
LEAVE_CODES = {"PARTICIPANT_REMOVED": 1, "ROOM_DELETED": 2, "DUPLICATE_IDENTITY": 101}
#: media is waited for longer than this anyway; gathered it costs a fraction
GATHER_S = 0.04
#: of tracks; over it the oldest is forgotten, as decoders ask again
MAX_WISHES = 1_000

_log = logging.getLogger(__name__)


def native_connect(*, auto_subscribe: bool) -> Connect:
    from rtcloud.client import connect  # loads the engine, which a test with rooms of its own does without

    def connecting(url: str, token: str) -> Awaitable[ClientRoom]:
        return connect(url, token, auto_subscribe=auto_subscribe, gather_s=GATHER_S)

    return connecting


class Wishes:
    """What a mixer wishes of its rooms, in its order, until there is time for it. On the event loop."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Wish] = asyncio.Queue(MAX_WISHES)

    def put(self, wish: "Wish") -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(wish)

    async def next(self) -> "Wish":
        return await self._waiting.get()


async def leave(room: ClientRoom) -> None:
    """Bounded, and never raises."""
    try:
        await asyncio.wait_for(room.leave(), LEAVE_WITHIN)
    except Exception:
        _log.warning("leaving the room failed", exc_info=True)
