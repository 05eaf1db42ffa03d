"""People in processes of their own, who can so be frozen and killed, and who do one thing after the other as told.

What they play was encoded before and stands where it would be had it begun with the epoch: a flash, a beep and a
keyframe at every whole second of the clock. A person who may not send pictures for a moment goes on with a keyframe, as
encoders do.
"""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

from rtcloud.client import connect, native
from rtcloud.client.types import ClientRoom, Publication, Reconnected

Source = Literal["microphone", "camera", "screen_share"]

#: A device that captures on while it sleeps is behind by no more than this.
BEHIND_S = 0.25
WITHIN_S = 60.0

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__, native.__name__])


@dataclass(frozen=True)
class Loop:
    """Encoded units, of whole seconds together. ``width`` 0 is sound."""

    units: list[bytes]
    per_second: int
    width: int = 0
    height: int = 0
    codec: Literal["h264", "vp8"] = "h264"


@dataclass(frozen=True)
class Order:
    """``sever``, alone without a ``source``: its connections to the server die, all but the one for media; done when
    it is back."""

    kind: Literal["publish", "unpublish", "mute", "unmute", "replace", "sever"]
    source: Source | None = None
    loop: Loop | None = None


class Actor:
    """In the room when it is made. Orders return when they were carried out, with what went wrong as AssertionError."""

    def __init__(self, url: str, token: str, *, hurried: bool) -> None:
        self._pipe, theirs = _processes.Pipe()
        self._process = _processes.Process(target=_perform, args=(theirs, url, token, hurried), daemon=True)
        self._process.start()
        theirs.close()
        self._hear()

    def do(self, order: Order) -> None:
        self._pipe.send(order)
        self._hear()

    def leave(self) -> None:
        self._pipe.send(None)
        self._hear()
        self._process.join(WITHIN_S)
        self._pipe.close()

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def die(self) -> None:
        self._process.kill()
        self._process.join(WITHIN_S)
        self._pipe.close()

    def _signal(self, number: signal.Signals) -> None:
        assert self._process.pid is not None
        os.kill(self._process.pid, number)

    def _hear(self) -> None:
        assert self._pipe.poll(WITHIN_S), "somebody does not answer"
        try:
            fault = self._pipe.recv()
        except EOFError:
            fault = "somebody's process ended"
        assert not fault, fault


# in the actor's process ---------------------------------------------------------------------------------------------


@dataclass
class _Channel:
    """``next`` takes the loop's place at the next whole second."""

    publication: Publication
    loop: Loop
    next: Loop | None = None
    task: "asyncio.Task[None] | None" = field(default=None)


@dataclass
class _Stage:
    room: ClientRoom
    hurried: bool
    channels: dict[Source, _Channel] = field(default_factory=dict)
    is_back: asyncio.Event = field(default_factory=asyncio.Event)


def _perform(pipe: "Connection[str, Order | None]", url: str, token: str, hurried: bool) -> None:
    asyncio.run(_live(pipe, url, token, hurried))


async def _live(pipe: "Connection[str, Order | None]", url: str, token: str, hurried: bool) -> None:
    loop = asyncio.get_running_loop()
    try:
        room: ClientRoom = await connect(url, token, auto_subscribe=False)
    except Exception as error:
        pipe.send(repr(error))
        return
    with contextlib.suppress(BrokenPipeError):  # nobody waits any more, and no order comes
        pipe.send("")
    stage = _Stage(room, hurried)
    watching = asyncio.create_task(_read(stage))
    with contextlib.suppress(EOFError, ConnectionError):
        while (order := await loop.run_in_executor(None, pipe.recv)) is not None:
            try:
                await _carry_out(stage, order)
            except Exception as error:
                pipe.send(repr(error))
            else:
                pipe.send("")
    for channel in stage.channels.values():
        assert channel.task is not None
        channel.task.cancel()
    watching.cancel()
    await room.leave()
    with contextlib.suppress(OSError):
        pipe.send("")


async def _read(stage: _Stage) -> None:
    while events := await stage.room.events():
        if any(isinstance(event, Reconnected) for event in events):
            stage.is_back.set()


async def _carry_out(stage: _Stage, order: Order) -> None:
    room, channels, source, loop = stage.room, stage.channels, order.source, order.loop
    if source is None:
        stage.is_back.clear()
        _sever()
        await asyncio.wait_for(stage.is_back.wait(), WITHIN_S)
    elif order.kind == "publish":
        assert loop is not None
        if loop.width:
            publication = await room.publish_video(
                width=loop.width, height=loop.height, codec=loop.codec, source=source
            )
        else:
            publication = await room.publish_audio()
        channel = channels[source] = _Channel(publication, loop)
        channel.task = asyncio.create_task(_play(channel, stage.hurried))
    elif order.kind == "unpublish":
        channel = channels.pop(source)
        assert channel.task is not None
        channel.task.cancel()
        await channel.publication.unpublish()
    elif order.kind == "replace":
        channels[source].next = loop
    else:
        await channels[source].publication.mute(order.kind == "mute")


def _sever() -> None:
    """As seen from outside: the streams of this process end."""
    for descriptor in list(Path("/proc/self/fd").iterdir()):
        if not descriptor.is_socket():
            continue
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(descriptor.name))) as found:
            if found.family == socket.AF_INET and found.type == socket.SOCK_STREAM:
                found.shutdown(socket.SHUT_RDWR)


async def _play(channel: _Channel, hurried: bool) -> None:
    """The true time of capture goes with each unit. What cannot be sent is not sent later."""
    count = int(time.time() * channel.loop.per_second) + 1
    needs_keyframe = is_video = channel.loop.width > 0
    while True:
        fps = channel.loop.per_second
        if not hurried and time.time() - count / fps > BEHIND_S:
            count = int(time.time() * fps) + 1
            needs_keyframe = is_video
        await asyncio.sleep(max(0.0, count / fps - time.time()))
        if count % fps == 0:
            needs_keyframe = False
            if channel.next is not None:
                channel.loop, channel.next = channel.next, None
        if not needs_keyframe:
            units = channel.loop.units
            sent = channel.publication.write(units[count % len(units)], round(count / fps * 1e6))
            needs_keyframe = is_video and not sent
        count += 1
