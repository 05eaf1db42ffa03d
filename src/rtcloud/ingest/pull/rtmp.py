"""A stream that an RTMP server plays, as a ``Source``: our own player over a guarded connection.

It is taken for live, whatever it is: nothing is sought. Only a server of files says its length, and then its end is the
end. A server that has no such stream may say nothing at all; one that is silent for ``SILENCE`` has broken.
"""

import asyncio
import os
import ssl
from collections.abc import Collection, Sequence

import httpcore

from rtcloud.ingest.flv import FlvReader
from rtcloud.ingest.media import Kind, SourcePacket
from rtcloud.ingest.pull.source import SourceError
from rtcloud.outgoing.dialing import AddressRefusedError, Dialer
from rtcloud.rtmp.address import AddressError, parse_address
from rtcloud.rtmp.connecting import Refused
from rtcloud.rtmp.errors import RtmpError
from rtcloud.rtmp.handshake import SIZE
from rtcloud.rtmp.media import Media
from rtcloud.rtmp.playing import Ended, Player

OPEN_WITHIN = 15.0
CONNECT_WITHIN = 5.0
SILENCE = 10.0
READ_BYTES = 64 << 10


class RtmpSource:
    is_live = True
    carries: Collection[Kind] = ("audio", "video")  # whatever the server announces

    def __init__(self, stream: httpcore.AsyncNetworkStream, player: Player) -> None:
        self._stream, self._player = stream, player
        self._reader = FlvReader()
        self._waiting: list[SourcePacket] = []
        self._has_ended = False
        self.begin_us = 0

    @property
    def is_ended(self) -> bool:
        duration = self._reader.facts.get("duration")
        return self._has_ended and isinstance(duration, float) and duration > 0

    @property
    def kinds(self) -> int:
        facts = self._reader.facts
        return sum(name in facts for name in ("videocodecid", "audiocodecid")) or 2

    async def begin(self) -> None:
        """Until the first packets are here."""
        self._player.begin()
        try:
            async with asyncio.timeout(OPEN_WITHIN):
                while not self._waiting:
                    if self._has_ended:
                        raise SourceError("the server has no such stream")
                    await self._read()
        except TimeoutError:
            raise SourceError("the server gives nothing in its time") from None
        self.begin_us = self._waiting[0].dts_us

    async def take(self) -> Sequence[SourcePacket]:
        while not self._waiting and not self._has_ended:
            await self._read()
        taken, self._waiting = self._waiting, []
        return taken

    async def close(self) -> None:
        await self._stream.aclose()

    async def _read(self) -> None:
        try:
            if out := self._player.take_output():
                await self._stream.write(out, SILENCE)
            data = await self._stream.read(READ_BYTES, SILENCE)
            if not data:
                raise SourceError("the connection ended")
            for event in self._player.receive(data):
                match event:
                    case Media():
                        self._waiting += self._reader.receive(event.kind, event.data, event.time_ms)
                    case Refused():
                        raise SourceError("the server refuses the stream")
                    case Ended():
                        self._has_ended = True
        except RtmpError:
            raise SourceError("the server does not speak RTMP") from None
        except (httpcore.ReadTimeout, httpcore.WriteTimeout):
            raise SourceError("the server has fallen silent") from None
        except (httpcore.NetworkError, OSError):
            raise SourceError("the connection broke") from None


async def open_rtmp(url: str, dialer: Dialer, ssl_context: ssl.SSLContext) -> RtmpSource:
    """Raises ``SourceError``."""
    try:
        address = parse_address(url)
    except AddressError:
        raise SourceError("the address is not valid") from None
    try:
        stream = await dialer.connect_tcp(address.host, address.port, CONNECT_WITHIN)
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        is_private = isinstance(error.__cause__, AddressRefusedError)
        raise SourceError("the address is private" if is_private else "the server cannot be reached") from None
    if address.secure:
        stream = await secured(stream, address.host, ssl_context)
    source = RtmpSource(stream, Player(address, os.urandom(SIZE - 8)))
    try:
        await source.begin()
    except BaseException:
        await source.close()
        raise
    return source


async def secured(
    stream: httpcore.AsyncNetworkStream, host: str, ssl_context: ssl.SSLContext
) -> httpcore.AsyncNetworkStream:
    """The same with TLS. Raises ``SourceError``. Whatever it raises, the stream is closed then."""
    try:
        return await stream.start_tls(ssl_context, host, CONNECT_WITHIN)
    except (httpcore.ConnectError, httpcore.ConnectTimeout, ssl.SSLError):
        await stream.aclose()
        raise SourceError("the server's certificate is not valid, or TLS fails") from None
    except BaseException:
        await stream.aclose()
        raise
