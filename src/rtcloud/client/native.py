"""The peer connection in Rust. The only module of this package that imports the native one."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Sequence

import msgspec

from rtcloud import _native
from rtcloud.client.peer import AnyPeerEvent, PeerConfig, PeerStats
from rtcloud.client.types import EncodedFrame

_EVENTS = 256
_FRAMES = 512
_events = msgspec.msgpack.Decoder(list[AnyPeerEvent])
_stats = msgspec.msgpack.Decoder(PeerStats)


def marked_video(packets: int, size: int, *, keyframe: bool, unix_us: int) -> bytes:
    """For load tests: an H.264 access unit of so many packets that say when they were sent (``PeerStats.delays``)."""
    return _native.probe_access_unit(packets, size, keyframe, unix_us)


def marked_audio(size: int, *, unix_us: int) -> bytes:
    """The same as an Opus packet."""
    return _native.probe_opus_packet(size, unix_us)


class NativePeer:
    """With ``gather_s``, and while frames come, the loop is woken at most once in that time."""

    def __init__(self, config: PeerConfig, gather_s: float = 0.0) -> None:
        self._peer = _native.Peer(msgspec.msgpack.encode(config))
        self._gather_s = gather_s
        self._loop: asyncio.AbstractEventLoop | None = None
        self._gathering: asyncio.TimerHandle | None = None
        self._frames_came = False
        self._closed = False

    def start(self, ready: Callable[[], None]) -> None:
        descriptor = self._peer.event_fd()
        loop = self._loop = asyncio.get_running_loop()

        def readable() -> None:
            with contextlib.suppress(BlockingIOError):
                os.read(descriptor, 8)
            if self._gather_s and self._frames_came:
                self._frames_came = False
                loop.remove_reader(descriptor)
                self._gathering = loop.call_later(self._gather_s, loop.add_reader, descriptor, readable)
            ready()

        loop.add_reader(descriptor, readable)

    def add_track(self, cid: str, stream: str, kind: str, codec: str) -> None:
        self._peer.add_track(cid, stream, kind, codec)

    def remove_track(self, cid: str) -> None:
        self._peer.remove_track(cid)

    def require_sections(self, audio: int, video: int) -> None:
        self._peer.require_sections(audio, video)

    def create_offer(self, restart_ice: bool) -> None:
        self._peer.create_offer(restart_ice)

    def accept_answer(self, request: int, sdp: str, mid_to_track: dict[str, str]) -> None:
        self._peer.accept_answer(request, sdp, mid_to_track)

    def write_frame(self, cid: str, data: bytes, capture_us: int) -> bool:
        return self._peer.write_frame(cid, data, capture_us)

    def send_data(self, packet: bytes, reliable: bool) -> bool:
        return self._peer.send_data(packet, reliable)

    def request_keyframe(self, track: str) -> None:
        self._peer.request_keyframe(track)

    def events(self) -> Sequence[AnyPeerEvent]:
        """All that wait."""
        events: list[AnyPeerEvent] = []
        while batch := _events.decode(self._peer.drain_events(_EVENTS)):
            events += batch
        return events

    def frames(self) -> Sequence[EncodedFrame]:
        """The next batch; more may wait when it is not empty."""
        frames = self._peer.drain_frames(_FRAMES)
        self._frames_came |= bool(frames)
        return frames

    def stats(self) -> PeerStats:
        return _stats.decode(self._peer.stats())

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._gathering is not None:
                self._gathering.cancel()
            if self._loop is not None:
                self._loop.remove_reader(self._peer.event_fd())
            self._peer.close()
