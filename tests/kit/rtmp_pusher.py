"""A client that pushes by RTMP, made of the publisher that relays use."""

import asyncio
import os
import ssl
from collections.abc import Sequence
from typing import Self

from rtcloud.rtmp.address import parse_address
from rtcloud.rtmp.connecting import Refused
from rtcloud.rtmp.handshake import SIZE
from rtcloud.rtmp.publishing import Published, Publisher


class Pusher:
    """``open`` gives ``Published``, ``Refused``, or None when the server hung up without a word."""

    def __init__(self, publisher: Publisher, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.publisher = publisher
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, url: str, tls: ssl.SSLContext | None = None) -> Self:
        address = parse_address(url)
        reader, writer = await asyncio.open_connection(address.host, address.port, ssl=tls)
        return cls(Publisher(address, noise=os.urandom(SIZE - 8)), reader, writer)

    async def open(self, within: float = 20.0) -> Published | Refused | None:
        self.publisher.begin()
        return await self._next(within)

    async def end(self, within: float = 20.0) -> Refused | None:
        """Waits for the server's last word."""
        event = await self._next(within)
        assert not isinstance(event, Published)
        return event

    async def send(self, messages: Sequence[tuple[int, int, bytes]]) -> None:
        """kind, milliseconds, data"""
        for kind, time_ms, data in messages:
            self.publisher.send(kind, time_ms, data)
        await self._flush()

    async def say(self, data: bytes) -> None:
        """As it is, RTMP or not."""
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
        await asyncio.gather(self._writer.wait_closed(), return_exceptions=True)

    async def _next(self, within: float) -> Published | Refused | None:
        async with asyncio.timeout(within):
            while True:
                await self._flush()
                try:
                    data = await self._reader.read(65_536)
                except ConnectionError:
                    return None
                if not data:
                    return None
                if events := self.publisher.receive(data):
                    return events[0]

    async def _flush(self) -> None:
        if out := self.publisher.take_output():
            self._writer.write(out)
            await self._writer.drain()
