"""One stream to many addresses: made into FLV once, pushed by each on its own. Everything on the event loop.

A thread that makes packets hands them over with ``loop.call_soon_threadsafe``; ``want_keyframe`` is called on the loop.
"""

import asyncio
import random
import ssl
from collections.abc import Callable, Iterable

from rtcloud.aio import spawn
from rtcloud.clock import Clock
from rtcloud.egress.publishing.flv import AudioFormat, FlvMaker, FlvTag, Interleaver
from rtcloud.egress.publishing.pushing import Pusher, PushFigures, Source, Timing
from rtcloud.egress.publishing.statuses import Fault
from rtcloud.mixer.encoding import EncodedPacket, VideoCodec
from rtcloud.outgoing.dialing import Dialer
from rtcloud.tasks.protocol import OutputChanged

_FOURCC = {"h265": "hvc1"}


class Outputs:
    """``resumes``: an earlier attempt of the task pushed to the addresses that are set first."""

    def __init__(
        self,
        video: VideoCodec | None,
        audio: AudioFormat | None,
        dialer: Dialer,
        report: Callable[[OutputChanged], None],
        clock: Clock,
        want_keyframe: Callable[[], None],
        *,
        resumes: bool = False,
        chance: random.Random | None = None,
        timing: Timing | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._audio, self._want_keyframe = audio, want_keyframe
        self._compose(video)
        self._dialer, self._report, self._clock = dialer, report, clock
        self._resumes = resumes
        self._chance, self._timing, self._ssl_context = chance, timing, ssl_context
        self._pushers: dict[str, Pusher] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}

    @property
    def figures(self) -> dict[str, PushFigures]:
        return {url: pusher.figures for url, pusher in self._pushers.items()}

    def set_urls(self, urls: Iterable[str], *, retry: bool = False) -> None:
        """Push to these and no others. What was given up stays so, unless ``retry``."""
        wanted = dict.fromkeys(urls)
        for url, pusher in list(self._pushers.items()):
            if url not in wanted or (retry and pusher.has_ended):
                self._leave(url, self._pushers.pop(url))
        for url in wanted:
            if url not in self._pushers:
                self._pushers[url] = self._begin(url)
        self._resumes = False

    def carry(self, video: VideoCodec | None) -> None:
        """Pictures come in this codec from now on. Servers agree on a codec when a push begins: another one ends every
        push and begins it anew."""
        if video == self._video:
            return
        self._send(self._order.flush())
        self._compose(video)
        for url, pusher in list(self._pushers.items()):
            if not pusher.has_ended:
                self._leave(url, pusher)
                self._pushers[url] = self._begin(url)

    def put(self, packet: EncodedPacket) -> None:
        for made in self._maker.make(packet):
            self._send(self._order.put(made))

    def refuse(self, fault: Fault, detail: str = "") -> None:
        """What would be pushed cannot be: every address fails, until it is set again with ``retry``."""
        for pusher in self._pushers.values():
            pusher.refuse(fault, detail)

    def cut(self) -> None:
        """End all at once without a word: another attempt of the task goes on with them."""
        for pusher in self._pushers.values():
            pusher.cut()
        self._pushers.clear()

    async def close(self) -> None:
        """All at once, each within its time; then nothing is pushed any more."""
        self._send(self._order.flush())
        self.set_urls(())
        if self._leaving:
            await asyncio.wait(set(self._leaving.values()))

    def _compose(self, video: VideoCodec | None) -> None:
        self._video = video
        maker = self._maker = FlvMaker(video, self._audio)
        self._order = Interleaver()
        codecs = tuple(_FOURCC[codec] for codec in (video,) if codec in _FOURCC)
        self._source = Source(lambda: maker.headers, video is not None, codecs, self._want_keyframe)

    def _send(self, tags: list[FlvTag]) -> None:
        for tag in tags:
            for pusher in self._pushers.values():
                pusher.put(tag)

    def _begin(self, url: str) -> Pusher:
        pusher = Pusher(
            url,
            self._source,
            self._dialer,
            self._report,
            self._clock,
            resumes=self._resumes,
            chance=self._chance,
            timing=self._timing,
            ssl_context=self._ssl_context,
        )
        pusher.start(after=self._leaving.get(url))
        return pusher

    def _leave(self, url: str, pusher: Pusher) -> None:
        leaving = spawn(pusher.close(), name="push end")
        self._leaving[url] = leaving

        def left(task: asyncio.Task[None]) -> None:
            if self._leaving.get(url) is task:
                del self._leaving[url]

        leaving.add_done_callback(left)
