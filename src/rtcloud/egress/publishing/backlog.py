"""What waits to be sent on one connection. Pure: tags in, tags of the connection's own time out.

A connection begins with the headers and a key frame at time 0; with sound alone when no picture came within
``PATIENCE_MS`` (a camera may be off). When more waits than ``MOST_MS`` or ``MOST_BYTES`` all of it is dropped and the
stream goes on likewise, its times where they would have been.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from rtcloud.egress.publishing.flv import FlvTag

MOST_MS = 6_000
MOST_BYTES = 8 << 20
PATIENCE_MS = 1_000


class Backlog:
    def __init__(self, headers: Callable[[], Sequence[FlvTag]], *, has_video: bool) -> None:
        self._headers = headers
        self._has_video = has_video
        self._tags: deque[FlvTag] = deque()
        self._origin: int | None = None
        self._waiting_since: int | None = None
        self._begun = self._with_picture = False
        self._bytes = 0
        self.dropped = 0

    @property
    def waiting_ms(self) -> int:
        return self._tags[-1].time_ms - self._tags[0].time_ms if self._tags else 0

    def put(self, tag: FlvTag) -> bool:
        """False: a key frame is needed, for this was too much."""
        if tag.is_header:
            # the others are sent when the picture begins
            if self._with_picture:
                self._append(tag)
        elif tag.kind == "video":
            self._put_picture(tag)
        elif self._begun or self._may_begin_without(tag):
            self._append(tag)
        if self._bytes <= MOST_BYTES and self.waiting_ms <= MOST_MS:
            return True
        self.dropped += sum(not waiting.is_header for waiting in self._tags)
        self._tags.clear()
        self._bytes = 0
        self._begun = self._with_picture = False
        self._waiting_since = None
        return False

    def take(self, least_bytes: int) -> list[FlvTag]:
        """The next ones, until they are so many bytes or there are no more."""
        taken: list[FlvTag] = []
        size = 0
        while self._tags and size < least_bytes:
            tag = self._tags.popleft()
            size += len(tag.data)
            taken.append(tag)
        self._bytes -= size
        return taken

    def _put_picture(self, tag: FlvTag) -> None:
        if not self._with_picture:
            if not tag.keyframe:
                return
            self._with_picture = True
            if self._begun:
                self._append_headers(tag.time_ms, but="audio")
            else:
                self._begin(tag.time_ms)
        self._append(tag)

    def _may_begin_without(self, tag: FlvTag) -> bool:
        if self._has_video:
            if self._waiting_since is None:
                self._waiting_since = tag.time_ms
            if tag.time_ms - self._waiting_since < PATIENCE_MS:
                return False
        self._begin(tag.time_ms)
        return True

    def _begin(self, time_ms: int) -> None:
        self._begun = True
        if self._origin is None:
            self._origin = time_ms
        self._append_headers(time_ms)

    def _append_headers(self, time_ms: int, but: str = "") -> None:
        for header in self._headers():
            if header.kind != but:
                self._append(replace(header, time_ms=time_ms))

    def _append(self, tag: FlvTag) -> None:
        assert self._origin is not None
        self._tags.append(replace(tag, time_ms=max(0, tag.time_ms - self._origin)))
        self._bytes += len(tag.data)
