"""People on a stage: native clients that come into rooms and play their acts, in a thread of their own.

They cost next to nothing, since what they send was encoded before; tests go on meanwhile as ordinary functions.
"""

import asyncio
import contextlib
import functools
import math
import threading
import time
from collections.abc import Coroutine, Sequence
from typing import Any, Self, TypeVar

from rtcloud.client import connect
from rtcloud.client.types import ClientRoom, Disconnected, Publication, Reconnected
from tests.kit.acts import PACKETS_PER_SECOND, Act
from tests.kit.server import Server

T = TypeVar("T")


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """Runs in one thread for all stages of the process, as programs have it."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return loop


class Person:
    def __init__(self, stage: "Stage", user_id: str, act: Act, room: ClientRoom) -> None:
        self.user_id = user_id
        self.act = act
        self.left = ""  # why, once the room was lost
        self.returned: list[float] = []  # Unix seconds at which a lost connection was back
        self._stage = stage
        self._room = room
        self._publications: dict[str, Publication] = {}  # video and audio, and screen and screen_audio
        self._playing: dict[str, asyncio.Task[None]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    async def _begin(self) -> None:
        self._tasks += [asyncio.create_task(self._watch()), asyncio.create_task(self._ignore())]
        await self._publish(self.act)

    async def _publish(self, act: Act) -> None:
        if act.picture:
            kind, source = ("screen", "screen_share") if act.screen else ("video", "camera")
            self._publications[kind] = await self._room.publish_video(
                width=act.width,
                height=act.height,
                codec=act.codec,
                source=source,  # type: ignore[arg-type]
            )
            self._play(kind, act.pictures(), act.fps, act.ppm)
        if act.sound and act.screen and not act.picture:
            self._publications["screen_audio"] = await self._room.publish_audio(source="screen_share_audio")
            self._play("screen_audio", act.packets(), PACKETS_PER_SECOND, act.ppm)
        elif act.sound:
            self._publications["audio"] = await self._room.publish_audio()
            self._play("audio", act.packets(), PACKETS_PER_SECOND, act.ppm)

    def _play(self, kind: str, units: list[bytes], per_second: int, ppm: float) -> None:
        if (before := self._playing.pop(kind, None)) is not None:
            before.cancel()
        # Everybody's loops begin with a whole second of the clock: flashes and beeps of all fall together.
        began_s = float(math.ceil(time.time()))
        playing = asyncio.create_task(_play(self._publications[kind], units, per_second, began_s, ppm))
        self._playing[kind] = playing
        self._tasks.append(playing)

    def share(self, act: Act) -> None:
        """Publishes more; of an act with ``screen`` and without ``picture`` it is the sound of the screen."""
        self._stage.run(self._publish(act))

    def stop(self, kind: str) -> None:
        """Publishes this no more."""

        async def stopped() -> None:
            self._playing.pop(kind).cancel()
            await self._publications.pop(kind).unpublish()

        self._stage.run(stopped())

    def turn(self, act: Act) -> None:
        """With the next second the camera goes on with the pictures of this act, which may be of another size."""
        units = act.pictures()

        async def turned() -> None:
            # Awake between the last picture of this second and the first of the next.
            await asyncio.sleep((1 - 0.5 / act.fps - time.time() % 1) % 1)
            self._play("video", units, act.fps, act.ppm)

        self._stage.run(turned())

    def leave(self) -> None:
        self._stage.run(self._leave())

    def mute(self, kind: str, muted: bool = True) -> None:
        self._stage.run(self._publications[kind].mute(muted))

    def say(self, data: bytes, topic: str = "") -> None:
        self._stage.run(self._room.send_data(data, topic=topic))

    async def _leave(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._room.leave()

    async def _watch(self) -> None:
        while events := await self._room.events():
            for event in events:
                if isinstance(event, Disconnected):
                    self.left = event.reason
                elif isinstance(event, Reconnected):
                    self.returned.append(time.time())

    async def _ignore(self) -> None:
        while await self._room.frames():
            pass


class Stage:
    """``with Stage(server) as stage:``; who is still there at the end leaves."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._loop = _loop()
        self.people: list[Person] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for person in self.people:
            with contextlib.suppress(Exception):  # a dead server is no reason to stay
                person.leave()

    def enter(self, room: int | str, user_id: str, act: Act) -> Person:
        """In the room and publishing when it returns."""
        return self.enter_all(room, {user_id: act})[0]

    def enter_all(self, room: int | str, acts: dict[str, Act]) -> Sequence[Person]:
        """One after the other: the order is that of entry."""
        for act in acts.values():
            _ = act.pictures() if act.picture else None, act.packets() if act.sound else None
        entered = [self._enter(room, user_id, act) for user_id, act in acts.items()]
        self.people += entered
        return entered

    def _enter(self, room: int | str, user_id: str, act: Act) -> Person:
        ticket = self._server.ticket(user_id, room)

        async def enter() -> Person:
            joined = await connect(ticket["url"], ticket["token"], auto_subscribe=False)
            person = Person(self, user_id, act, joined)
            await person._begin()
            return person

        return self.run(enter())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


async def _play(publication: Publication, units: list[bytes], per_second: int, began_s: float, ppm: float) -> None:
    """Each unit when a crystal that runs ``ppm`` faster says so, with the true time at which it does. The loop stands
    where it would be if it had begun with the epoch."""
    first = int(began_s) * per_second
    count = 0
    while True:
        at_s = began_s + count / per_second / (1 + ppm / 1e6)
        await asyncio.sleep(max(0.0, at_s - time.time()))
        publication.write(units[(first + count) % len(units)], round(at_s * 1e6))
        count += 1
