"""The media node in Rust, behind the interface of ``media.node``.

The engine's threads never take the GIL. They write an eventfd, which the loop watches; one call then takes a batch of
events, and another what the engine has logged since. Closing joins the threads in an executor.
"""

import asyncio
import logging
import os
from collections.abc import Sequence

import msgspec

from rtcloud import __version__, _native
from rtcloud.media.figures import NodeStatus
from rtcloud.media.node import AnyCommand, AnyEvent, NodeConfig, Overload, QueueFullError

if _native.__version__ != __version__:
    raise ImportError(f"rtcloud {__version__} cannot use the engine of {_native.__version__}: build it again")

#: Events taken at a time, and log records.
_BATCH = 1024
_LOG_BATCH = 256
#: How often logs are looked for when no events come.
_LOG_INTERVAL = 1.0


class NativeNode:
    """Implements ``MediaNode``. Made inside a running loop, which it belongs to from then on."""

    def __init__(self, config: NodeConfig) -> None:
        """Raises OSError when the address cannot be used and ValueError for a bad value."""
        self._node = _native.Node(msgspec.msgpack.encode(config))
        self._encoder = msgspec.msgpack.Encoder()
        self._events = msgspec.msgpack.Decoder(list[AnyEvent])
        self._status = msgspec.msgpack.Decoder(NodeStatus)
        self._last_status: NodeStatus | None = None
        self._fd = self._node.event_fd()
        self._loop = asyncio.get_running_loop()
        self._waiting = asyncio.Event()
        self._loop.add_reader(self._fd, self._on_readable)
        self._log_timer = self._loop.call_later(_LOG_INTERVAL, self._on_log_timer)
        self._closed = False

    def _on_readable(self) -> None:
        os.read(self._fd, 8)
        self._waiting.set()

    def _on_log_timer(self) -> None:
        self._take_logs()
        self._log_timer = self._loop.call_later(_LOG_INTERVAL, self._on_log_timer)

    def _take_logs(self) -> None:
        for level, target, message in self._node.drain_logs(_LOG_BATCH):
            logging.getLogger(target.replace("::", ".")).log(level, "%s", message)

    def send(self, *commands: AnyCommand) -> None:
        if not self._node.send(self._encoder.encode(commands)):
            raise QueueFullError

    async def events(self) -> Sequence[AnyEvent]:
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            if self._closed:
                raise RuntimeError("the media node is closed")
            events = self._events.decode(self._node.drain(_BATCH))
            if len(events) == _BATCH:
                self._waiting.set()
            if events:
                return events

    def status(self) -> NodeStatus:
        if self._last_status is not None:
            return self._last_status
        return self._status.decode(self._node.status())

    def overload(self, room: str) -> Overload:
        return "" if self._closed else self._node.overload(room)

    async def close(self) -> None:
        if self._closed:
            return
        self._last_status = self.status()
        self._closed = True
        self._loop.remove_reader(self._fd)
        self._log_timer.cancel()
        await self._loop.run_in_executor(None, self._node.close)
        self._take_logs()
        self._waiting.set()
