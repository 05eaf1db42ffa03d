"""A door on this machine to one pinned address, for FFmpeg's RTSP: it dials a loopback port, and only that address is
reached.

FFmpeg would follow a redirect by itself, past the guard, so a server that answers with one is cut off. FFmpeg reads
what is no RTSP generously: lines that end in a line feed alone, statuses of any form. So nothing of a head goes on
before all of it was understood, and what goes on is written anew, in the one form that both sides read alike.
"""

import asyncio
import contextlib
import re
from typing import Self

import httpcore

from rtcloud.aio import spawn

HEAD_BYTES = 64 << 10
CHUNK = 64 << 10

#: FFmpeg does not skip the body of a smaller one, but reads it as a head
SMALLEST_PACKET = 8
LARGEST_BODY = 1 << 20

_ANSWER = re.compile(rb"RTSP/1\.[01] ([1-5][0-9]{2})(?: .*)?")
_REQUEST = re.compile(rb"([A-Z_]{3,16}) [!-~]{1,1000} RTSP/1\.[01]")
_FIELD = re.compile(rb"([A-Za-z0-9_-]{1,100}):[ \t]*([\t\x20-\x7e\x80-\xff]*)")
_NUMBER = re.compile(rb"[0-9]{1,7}")


class CutError(Exception):
    """The server says something that must not reach the client."""


class Watch:
    """Looks through what an RTSP server sends, and says what of it goes on to the client. Pure."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._passing = 0  # bytes of media, or of a body
        self._dropping = 0

    def look(self, data: bytes) -> bytes:
        """Raises ``CutError``."""
        self._buffer += data
        out = bytearray()
        while self._buffer:
            if self._dropping:
                self._dropping -= len(self._take(self._dropping))
            elif self._passing:
                passed = self._take(self._passing)
                self._passing -= len(passed)
                out += passed
            elif self._buffer[0] == ord("$"):
                if len(self._buffer) < 4:
                    break
                size = int.from_bytes(self._buffer[2:4], "big")
                if size < SMALLEST_PACKET:
                    self._dropping = 4 + size
                else:
                    self._passing = 4 + size
            elif self._buffer[0] in b"\r\n":  # behind a body whose length was told too small
                self._dropping = 1
            elif (head := self._head()) is not None:
                out += head
            else:
                break
        return bytes(out)

    def _take(self, most: int) -> bytes:
        taken = bytes(self._buffer[:most])
        del self._buffer[:most]
        return taken

    def _head(self) -> bytes | None:
        """The next one, written anew; None when it is not whole."""
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or end > HEAD_BYTES:
            if len(self._buffer) > HEAD_BYTES:
                raise CutError("too large a head")
            if b"\n\n" in self._buffer:
                raise CutError("lines of another form")
            return None
        first, *rest = self._take(end + 4)[:-4].split(b"\r\n")
        answer, request = _ANSWER.fullmatch(first), _REQUEST.fullmatch(first)
        if (answer is not None and answer[1].startswith(b"3")) or (request is not None and request[1] == b"REDIRECT"):
            raise CutError("a redirect")
        if answer is None and request is None:
            raise CutError("no RTSP")
        lines, lengths = [first], set[bytes]()
        for line in rest:
            field = _FIELD.fullmatch(line)
            if field is None:
                raise CutError("a head that cannot be read")
            if field[1].lower() == b"content-length":
                lengths.add(field[2].rstrip())
            lines.append(field[1] + b": " + field[2])
        if lengths:
            length = lengths.pop()
            if lengths or _NUMBER.fullmatch(length) is None or int(length) > LARGEST_BODY:
                raise CutError("a head without a clear length")
            self._passing = int(length)
        return b"\r\n".join([*lines, b"", b""])


class Forwarder:
    """``async with Forwarder(stream) as forwarder``: one connection to ``forwarder.port`` goes on over ``stream``,
    which is closed in the end, also when it cannot begin."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._server: asyncio.Server | None = None
        self._is_taken = False
        self._serving: set[asyncio.Task[None]] = set()
        self.port = 0
        self.cut = ""  # why, if it was

    async def __aenter__(self) -> Self:
        try:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        except BaseException:
            await self._stream.aclose()
            raise
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        await self._stream.aclose()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_taken:
            writer.close()
            return
        self._is_taken = True
        ways = [spawn(self._there(reader), name="rtsp there"), spawn(self._back(writer), name="rtsp back")]
        self._serving.update(ways)
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            writer.close()

    async def _there(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError, httpcore.NetworkError, httpcore.TimeoutException):
            while data := await reader.read(CHUNK):
                await self._stream.write(data, 10.0)

    async def _back(self, writer: asyncio.StreamWriter) -> None:
        watch = Watch()
        with contextlib.suppress(OSError, httpcore.NetworkError, httpcore.TimeoutException):
            try:
                while data := await self._stream.read(CHUNK):
                    writer.write(watch.look(data))
                    await writer.drain()
            except CutError as error:
                self.cut = str(error)
