"""What the session asks of the shell around it, and the record of a publication."""

from dataclasses import dataclass, field

from livekit.protocol import models, rtc

from rtcloud.client.types import Codec, Kind, RoomEvent, Source

_SOURCES = {
    "camera": models.TrackSource.CAMERA,
    "microphone": models.TrackSource.MICROPHONE,
    "screen_share": models.TrackSource.SCREEN_SHARE,
    "screen_share_audio": models.TrackSource.SCREEN_SHARE_AUDIO,
    "unknown": models.TrackSource.UNKNOWN,
}


@dataclass(slots=True)
class PublicationState:
    """``track_id`` is empty until the server accepted it, and changes with a full reconnect."""

    cid: str
    kind: Kind
    source: Source
    codec: Codec
    name: str = ""
    width: int = 0
    height: int = 0
    muted: bool = False
    track_id: str = ""

    def request(self) -> rtc.AddTrackRequest:
        video = self.kind == "video"
        request = rtc.AddTrackRequest(
            cid=self.cid,
            name=self.name,
            type=models.TrackType.VIDEO if video else models.TrackType.AUDIO,
            source=_SOURCES[self.source],
            width=self.width,
            height=self.height,
            muted=self.muted,
            stream=self.source,
        )
        if video:
            request.layers.add(quality=models.VideoQuality.HIGH, width=self.width, height=self.height)
            request.simulcast_codecs.add(codec=self.codec, cid=self.cid)
        return request


@dataclass(frozen=True, slots=True)
class Send:
    request: rtc.SignalRequest


@dataclass(frozen=True, slots=True)
class Open:
    """Open socket ``number`` after the delay, in place of the one before."""

    number: int
    delay_s: float
    token: str
    join_request: str


@dataclass(frozen=True, slots=True)
class Hang:
    """Close the socket; its end is not a loss."""


@dataclass(frozen=True, slots=True)
class MakePeer:
    """In place of the one before, which is closed."""


@dataclass(frozen=True, slots=True)
class AddTrack:
    publication: PublicationState


@dataclass(frozen=True, slots=True)
class RemoveTrack:
    cid: str


@dataclass(frozen=True, slots=True)
class RequireSections:
    audio: int
    video: int


@dataclass(frozen=True, slots=True)
class CreateOffer:
    restart_ice: bool = False


@dataclass(frozen=True, slots=True)
class AcceptAnswer:
    request: int
    sdp: str
    mid_to_track: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tell:
    event: RoomEvent


@dataclass(frozen=True, slots=True)
class Ready:
    """Joined for the first time, transport included."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server took the publication, its ``track_id`` is set, and frames can be sent."""

    cid: str


@dataclass(frozen=True, slots=True)
class Refused:
    cid: str
    reason: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The session is over; nothing follows. ``status`` is that of an HTTP refusal, or 0."""

    reason: str
    message: str = ""
    status: int = 0


Order = (
    Send
    | Open
    | Hang
    | MakePeer
    | AddTrack
    | RemoveTrack
    | RequireSections
    | CreateOffer
    | AcceptAnswer
    | Tell
    | Ready
    | Accepted
    | Refused
    | Finish
)
