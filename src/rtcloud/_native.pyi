"""The Rust half (``crates/media-py``). Only ``media/native.py`` and ``client/native.py`` import this."""

from typing import Literal, final

__all__ = ["Frame", "Node", "Peer", "__version__", "probe_access_unit", "probe_opus_packet", "protocol_samples"]

__version__: str

@final
class Node:
    """A running media node: shard threads and sockets. Commands and events are msgpack (``media/node.py``)."""

    def __new__(cls, config: bytes) -> Node:
        """``config``: msgpack of ``NodeConfig``. Raises OSError (address in use…) or ValueError."""

    def event_fd(self) -> int:
        """An eventfd that becomes readable when events wait. Read it (8 bytes) before draining."""

    def send(self, commands: bytes) -> bool:
        """``commands``: msgpack list of commands. False when the queue is full (nothing queued). ValueError when
        they do not decode. Never waits."""

    def drain(self, max: int) -> bytes:
        """msgpack list of at most ``max`` events; empty list when there are none. Never waits."""

    def drain_logs(self, max: int) -> list[tuple[int, str, str]]:
        """(Python logging level, target, message) of at most ``max`` waiting log records."""

    def overload(self, room: str) -> Literal["", "cpu", "bandwidth"]:
        """Why nobody else may enter a room; that of an unknown one may be any shard's."""

    def status(self) -> bytes:
        """msgpack of ``NodeStatus``."""

    def close(self) -> None:
        """Stops and joins the threads, GIL released. May be called twice."""

def protocol_samples() -> bytes:
    """msgpack of ``[one of each event, one of each command]`` for the contract test."""

@final
class Frame:
    """One encoded frame received (an access unit in Annex B for H.264; one Opus packet)."""

    @property
    def track(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def rtp_time(self) -> int: ...
    @property
    def capture_us(self) -> int | None:
        """When it was captured, on the server's Unix clock, from RTCP sender reports. None until one came."""
    @property
    def arrival_us(self) -> int: ...
    @property
    def keyframe(self) -> bool: ...
    @property
    def contiguous(self) -> bool:
        """False: something before it was lost for good."""

@final
class Peer:
    """A participant's peer connection for a Python program (/rtc/v1: it always offers). Its socket and timers live in
    one Rust thread shared by all peers of the process."""

    def __new__(cls, config: bytes) -> Peer:
        """``config``: msgpack of ``client.native.PeerConfig``."""

    def event_fd(self) -> int: ...
    def add_track(self, cid: str, stream: str, kind: str, codec: str) -> None:
        """A send section whose ``a=msid`` is ``stream cid``; in the next offer."""

    def remove_track(self, cid: str) -> None: ...
    def require_sections(self, audio: int, video: int) -> None:
        """That many more receive sections in the next offer."""

    def create_offer(self, restart_ice: bool) -> None:
        """Comes back as an ``offer`` event."""

    def accept_answer(self, request: int, sdp: str, mid_to_track: dict[str, str]) -> None: ...
    def write_frame(self, cid: str, data: bytes, capture_us: int) -> bool:
        """Packetise and send. ``capture_us``: Unix µs, monotonic per track; audio and video of one program share the
        clock. False: not connected or the queue is full (the frame is dropped)."""

    def send_data(self, packet: bytes, reliable: bool) -> bool:
        """A serialised livekit ``DataPacket``. False when there is no open channel or its buffer is full."""

    def request_keyframe(self, track: str) -> None: ...
    def drain_events(self, max: int) -> bytes:
        """msgpack list of ``client.native.PeerEvent``."""

    def drain_frames(self, max: int) -> list[Frame]: ...
    def stats(self) -> bytes:
        """msgpack of ``client.native.PeerStats``."""

    def close(self) -> None: ...

def probe_access_unit(packets: int, size: int, keyframe: bool, unix_us: int) -> bytes:
    """For load tests: an H.264 access unit of ``packets`` NAL units whose packets say when they were sent."""

def probe_opus_packet(size: int, unix_us: int) -> bytes:
    """For load tests: an Opus packet that says when it was sent."""
