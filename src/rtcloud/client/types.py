"""What a Python program sees of a room: participants, tracks, events, encoded frames.

``rtcloud.client.connect`` returns a ``ClientRoom``. Times are Unix microseconds on the server's clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

Kind = Literal["audio", "video"]
Source = Literal["camera", "microphone", "screen_share", "screen_share_audio", "unknown"]
Codec = Literal["h264", "vp8", "opus"]


@dataclass(frozen=True, slots=True)
class RemoteTrack:
    track_id: str
    user_id: str
    kind: Kind
    source: Source
    muted: bool
    width: int = 0  # as announced by the publisher; 0 for audio
    height: int = 0
    mime_type: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Participant:
    user_id: str
    participant_id: str
    tracks: tuple[RemoteTrack, ...] = ()
    joined_ms: int = 0
    attributes: dict[str, str] = field(default_factory=dict)
    robot: bool = False  # one of the server's own: recorders, relays, ingest


class EncodedFrame(Protocol):
    """One encoded frame: an access unit in Annex B (H.264), a VP8 frame, an Opus packet (48 kHz RTP clock)."""

    @property
    def track(self) -> str: ...
    @property
    def data(self) -> bytes: ...
    @property
    def rtp_time(self) -> int: ...
    @property
    def capture_us(self) -> int | None:
        """On the server's clock, from RTCP sender reports; None for at most the first moments of a track."""
        ...

    @property
    def arrival_us(self) -> int: ...
    @property
    def keyframe(self) -> bool: ...
    @property
    def contiguous(self) -> bool: ...


# Events, in the order they happen ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ParticipantJoined:
    participant: Participant


@dataclass(frozen=True, slots=True)
class ParticipantLeft:
    user_id: str


@dataclass(frozen=True, slots=True)
class TrackPublished:
    track: RemoteTrack


@dataclass(frozen=True, slots=True)
class TrackChanged:
    """Muted, unmuted, or a new size."""

    track: RemoteTrack


@dataclass(frozen=True, slots=True)
class TrackUnpublished:
    track: RemoteTrack


@dataclass(frozen=True, slots=True)
class TrackSubscribed:
    """Frames of it may come from now on."""

    track: RemoteTrack


@dataclass(frozen=True, slots=True)
class DataReceived:
    data: bytes
    user_id: str  # "" when the server sent it
    topic: str
    reliable: bool


@dataclass(frozen=True, slots=True)
class SpeakersChanged:
    levels: dict[str, float]  # user id → 0…1; only those speaking


@dataclass(frozen=True, slots=True)
class KeyframeRequested:
    """A subscriber needs a keyframe of this publication of ours."""

    cid: str


@dataclass(frozen=True, slots=True)
class Reconnecting:
    pass


@dataclass(frozen=True, slots=True)
class Reconnected:
    """``full``: the session was made anew; publications were published again."""

    full: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The last event. ``reason`` is livekit's DisconnectReason by name, e.g. PARTICIPANT_REMOVED, ROOM_DELETED,
    DUPLICATE_IDENTITY, CLIENT_INITIATED, STATE_MISMATCH."""

    reason: str


RoomEvent = (
    ParticipantJoined
    | ParticipantLeft
    | TrackPublished
    | TrackChanged
    | TrackUnpublished
    | TrackSubscribed
    | DataReceived
    | SpeakersChanged
    | KeyframeRequested
    | Reconnecting
    | Reconnected
    | Disconnected
)


class Publication(Protocol):
    @property
    def track_id(self) -> str: ...
    @property
    def cid(self) -> str: ...
    def write(self, data: bytes, capture_us: int) -> bool:
        """One encoded frame. False when it was dropped (not connected, or the queue is full)."""
        ...

    async def mute(self, muted: bool) -> None: ...
    async def unpublish(self) -> None: ...


class ClientRoom(Protocol):
    @property
    def user_id(self) -> str: ...
    @property
    def room_name(self) -> str: ...
    @property
    def participants(self) -> dict[str, Participant]:
        """The others, by user id, in the order they came."""
        ...

    async def events(self) -> Sequence[RoomEvent]:
        """The next batch, never empty; after ``Disconnected`` an empty one."""
        ...

    async def frames(self) -> Sequence[EncodedFrame]:
        """The next batch, never empty while connected; bounded: when the reader is slow the oldest video frames up to
        the next keyframe are dropped, then audio."""
        ...

    async def publish_audio(self, *, name: str = "", source: Source = "microphone") -> Publication: ...
    async def publish_video(
        self, *, width: int, height: int, codec: Codec = "h264", name: str = "", source: Source = "camera"
    ) -> Publication: ...
    async def subscribe(self, track_id: str, subscribed: bool = True) -> None: ...
    async def set_subscription(self, track_id: str, *, enabled: bool = True, width: int = 0, height: int = 0) -> None:
        """What is shown of a video track: the smallest layer of at least that size is sent (0: the largest)."""
        ...

    def request_keyframe(self, track_id: str) -> None: ...
    async def send_data(
        self, data: bytes, *, topic: str = "", reliable: bool = True, to: Sequence[str] = ()
    ) -> None: ...
    async def leave(self) -> None: ...
