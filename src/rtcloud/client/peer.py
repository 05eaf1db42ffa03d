"""The peer connection as the session and the room see it: its configuration, what it reports, what it can do.

``native.py`` implements it over the Rust module; tests have a fake. The structs are the msgpack that crosses
(``crates/client/src/protocol.rs`` is the other half).
"""

from collections.abc import Callable, Sequence
from typing import Literal, Protocol

import msgspec

from rtcloud.client.types import EncodedFrame


class PeerConfig(msgspec.Struct, kw_only=True):
    """``hold_ms``: how long frames of a track wait for its first sender report, that is for capture times.
    ``count_only``: media is counted and measured, not handed out (load generators)."""

    audio_sections: int = 3
    video_sections: int = 3
    hold_ms: int = 1000
    count_only: bool = False
    max_frames: int = 4096
    max_bytes: int = 64 << 20


class PeerEvent(msgspec.Struct, tag_field="type", tag=True, kw_only=True):
    pass


class OfferMade(PeerEvent, tag="offer"):
    request: int
    sdp: str


class Answered(PeerEvent, tag="answered"):
    request: int


class AnswerRejected(PeerEvent, tag="answer_rejected"):
    """The session needs a new connection."""

    request: int
    reason: str


class StateChanged(PeerEvent, tag="state"):
    """``disconnected`` may come back, ``failed`` is for good."""

    state: Literal["connected", "disconnected", "failed"]
    reason: str = ""


class ChannelsOpen(PeerEvent, tag="channels_open"):
    pass


class DataArrived(PeerEvent, tag="data"):
    """A livekit ``DataPacket``, serialised."""

    packet: bytes
    reliable: bool


class KeyframeWanted(PeerEvent, tag="keyframe_requested"):
    cid: str


AnyPeerEvent = OfferMade | Answered | AnswerRejected | StateChanged | ChannelsOpen | DataArrived | KeyframeWanted


class PeerStats(msgspec.Struct, kw_only=True):
    """Counters since the peer was made. ``delays``: histogram of marked packets (``delay_percentile_us``)."""

    packets_received: int = 0
    bytes_received: int = 0
    frames_received: int = 0
    gaps: int = 0
    frames_dropped: int = 0
    data_dropped: int = 0
    frames_sent: int = 0
    frames_refused: int = 0
    datagrams_sent: int = 0
    datagrams_received: int = 0
    keyframes_requested: int = 0
    delays: list[int] = msgspec.field(default_factory=list)


def delay_percentile_us(delays: Sequence[int], fraction: float) -> float:
    """Of a histogram with 16 buckets per octave; 0 when it is empty."""
    wanted, seen = fraction * sum(delays), 0
    for bucket, count in enumerate(delays):
        seen += count
        if count and seen >= wanted:
            return float(2 ** (bucket // 16) * (1 + (bucket % 16) / 16))
    return 0.0


class Peer(Protocol):
    """Every call returns at once. After ``close`` nothing more is reported."""

    def start(self, ready: Callable[[], None]) -> None:
        """``ready`` is called on the event loop whenever events or frames wait."""
        ...

    def add_track(self, cid: str, stream: str, kind: str, codec: str) -> None: ...
    def remove_track(self, cid: str) -> None: ...
    def require_sections(self, audio: int, video: int) -> None: ...
    def create_offer(self, restart_ice: bool) -> None: ...
    def accept_answer(self, request: int, sdp: str, mid_to_track: dict[str, str]) -> None: ...
    def write_frame(self, cid: str, data: bytes, capture_us: int) -> bool: ...
    def send_data(self, packet: bytes, reliable: bool) -> bool: ...
    def request_keyframe(self, track: str) -> None: ...
    def events(self) -> Sequence[AnyPeerEvent]: ...
    def frames(self) -> Sequence[EncodedFrame]: ...
    def stats(self) -> PeerStats: ...
    def close(self) -> None: ...
