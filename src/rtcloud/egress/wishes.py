"""What a mixer wishes of its rooms, in its order, until there is time for it. On the event loop."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rtcloud.mixer.form import Wish  # with the codecs, which a server has no use for

#: of tracks; over it the oldest is forgotten, as decoders ask again
MAX_WISHES = 1_000


class Wishes:
    def __init__(self) -> None:
        self._waiting: asyncio.Queue[Wish] = asyncio.Queue(MAX_WISHES)

    def put(self, wish: "Wish") -> None:
        if self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(wish)

    async def next(self) -> "Wish":
        return await self._waiting.get()
