"""``/vod/{FileId}/{key}/{name}``: what VideoUrl names, and the segments of an index beside it.

Whatever is not given out is 404 in the same words. One range is answered as players want it; several are not, for one
request must not ask for a million of them. A reader that takes nothing for ``STALL_SECONDS`` is let go, and
``MOST_READERS`` read at once.
"""

import asyncio
import logging
import os
import stat
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Message, Receive, Scope, Send

from rtcloud.http import ABORT
from rtcloud.store.objects import CONTENT_TYPES
from rtcloud.vod.entry import ADDRESS
from rtcloud.vod.library import Library

MOST_READERS = 2000
STALL_SECONDS = 60.0
_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "Accept-Ranges, Content-Length, Content-Range",
    "Cache-Control": "no-cache",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

_log = logging.getLogger(__name__)


def routes(library: Library) -> list[BaseRoute]:
    reading = asyncio.Semaphore(MOST_READERS)

    async def stored(request: Request) -> Response:
        asked = request.path_params
        path = await library.locate(asked["file_id"], asked["key"], asked["name"])
        found = None if path is None else await asyncio.to_thread(_plain_file, path)
        if path is None or found is None:
            library.counters.refused += 1
            return PlainTextResponse("there is no such file\n", 404, headers=_HEADERS)
        if reading.locked():
            library.counters.refused += 1
            return PlainTextResponse("too many are reading\n", 503, headers=_HEADERS | {"Retry-After": "5"})
        library.counters.served += 1
        media_type = CONTENT_TYPES.get(path.suffix, "application/octet-stream")
        return _Reading(reading, path, stat_result=found, media_type=media_type, headers=_HEADERS)

    return [Route(ADDRESS + "/{file_id}/{key}/{name}", stored, methods=["GET"])]


class _Reading(FileResponse):
    def __init__(
        self, reading: asyncio.Semaphore, path: Path, *, stat_result: os.stat_result, media_type: str,
        headers: dict[str, str],
    ) -> None:  # fmt: skip
        super().__init__(path, stat_result=stat_result, media_type=media_type, headers=headers)
        self._reading = reading

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_soon(message: Message) -> None:
            async with asyncio.timeout(STALL_SECONDS):
                await send(message)

        headers = [each for each in scope["headers"] if each[0] != b"range" or b"," not in each[1]]
        async with self._reading:
            try:
                await super().__call__({**scope, "headers": headers}, receive, send_soon)
            except TimeoutError:
                _log.info("a reader of the media library stood still and was let go")
                if abort := scope.get("extensions", {}).get(ABORT):
                    abort()  # closing would wait for the reader
                    while (await receive())["type"] != "http.disconnect":
                        pass


def _plain_file(path: Path) -> os.stat_result | None:
    try:
        found = path.lstat()
    except (OSError, ValueError):  # a name too long, or with a zero byte
        return None
    return found if stat.S_ISREG(found.st_mode) else None
