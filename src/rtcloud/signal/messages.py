"""Our notions in the protocol's messages, and back. Pure; it alone, with ``answers``, knows both vocabularies."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from livekit.protocol import models, rtc

import rtcloud
from rtcloud.ice import IceServer
from rtcloud.media import node as media
from rtcloud.rooms import commands
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Layer, Participant, Role, Source, Track

#: Clients look into the server's version to choose features; this is the protocol's level that we serve.
PROTOCOL = 16
SERVER_VERSION = "1.11.0"
#: The client pings every 10 s and gives the socket up after 20 s without an answer.
PING_INTERVAL_S = 10
PING_TIMEOUT_S = 20

_CODECS = ("video/H264", "video/VP8", "video/VP9", "video/AV1", "audio/opus")

_QUALITIES = (("q", models.VideoQuality.LOW), ("h", models.VideoQuality.MEDIUM), ("f", models.VideoQuality.HIGH))

_SOURCES: Mapping[Source, Any] = {
    "unknown": models.TrackSource.UNKNOWN,
    "camera": models.TrackSource.CAMERA,
    "microphone": models.TrackSource.MICROPHONE,
    "screen_share": models.TrackSource.SCREEN_SHARE,
    "screen_share_audio": models.TrackSource.SCREEN_SHARE_AUDIO,
}
_NAMED: tuple[Source, ...] = ("camera", "microphone", "screen_share", "screen_share_audio")
_SOURCE_NAMES: Mapping[int, Source] = {int(number): name for name, number in _SOURCES.items()}


def room_info(ref: RoomRef, sid: str, created_ms: int, participants: int, metadata: str = "") -> models.Room:
    """The name is the room id's text; whether it is a number is in the metadata, until the application sets another
    (docs/protocol.md)."""
    room_id = {"roomId": int(ref.room_id)} if ref.numeric else {"strRoomId": ref.room_id}
    return models.Room(
        sid=sid,
        name=ref.room_id,
        creation_time=created_ms // 1000,
        creation_time_ms=created_ms,
        num_participants=participants,
        metadata=metadata or msgspec.json.encode(room_id).decode(),
        enabled_codecs=[models.Codec(mime=mime) for mime in _CODECS],
    )


#: Attributes whose names begin so are the server's.
RESERVED = "trtc."
#: Those that it sets; clients choose a role and hand over a key by the first two (docs/protocol.md).
ROLE = "trtc.role"
PRIVATE_MAP_KEY = "trtc.privateMapKey"
BLOCKED = "trtc.blocked"
_ROLE_NAMES = {Role.ANCHOR: "anchor", Role.AUDIENCE: "audience"}


def participant_info(participant: Participant, *, own: bool = False) -> models.ParticipantInfo:
    """``own``: as the participant itself is told, its tracks as it muted them; others see blocked ones as muted."""
    permission = participant.permission
    allowed = [_SOURCES[name] for name in _NAMED if permission.publishes(name)]
    attributes = {**participant.attributes, ROLE: _ROLE_NAMES[participant.role]}
    if participant.blocked:
        attributes[BLOCKED] = ",".join(sorted(participant.blocked))
    return models.ParticipantInfo(
        sid=participant.participant_id,
        identity=participant.user_id,
        state=models.ParticipantInfo.State.ACTIVE,
        tracks=[
            track_info(track, muted=track.muted if own else participant.is_silenced(track))
            for track in participant.tracks.values()
        ],
        metadata=participant.metadata,
        joined_at=participant.joined_ms // 1000,
        joined_at_ms=participant.joined_ms,
        name=participant.name,
        version=participant.version,
        permission=models.ParticipantPermission(
            can_subscribe=permission.subscribe,
            can_publish=participant.can_publish and bool(allowed),
            can_publish_data=participant.can_send_data,
            can_publish_sources=allowed if len(allowed) < len(_NAMED) else [],
            can_update_metadata=permission.update_metadata,
            hidden=participant.hidden,
        ),
        is_publisher=participant.role == Role.ANCHOR,
        kind=models.ParticipantInfo.Kind.EGRESS if participant.robot else models.ParticipantInfo.Kind.STANDARD,
        attributes=attributes,
    )


def gone(participant_id: str, user_id: str) -> models.ParticipantInfo:
    return models.ParticipantInfo(sid=participant_id, identity=user_id, state=models.ParticipantInfo.State.DISCONNECTED)


def track_info(track: Track, *, muted: bool | None = None) -> models.TrackInfo:
    mime = f"{track.kind}/{_mime_name(track.codec)}" if track.codec else ""
    layers = [
        models.VideoLayer(
            quality=layer.quality,  # type: ignore[arg-type]  # an open enum
            width=layer.width,
            height=layer.height,
            bitrate=layer.bitrate,
            ssrc=layer.ssrc,
            rid=layer.rid,
        )
        for layer in track.layers
    ]
    info = models.TrackInfo(
        sid=track.track_id,
        type=models.TrackType.AUDIO if track.kind == "audio" else models.TrackType.VIDEO,
        name=track.name,
        muted=track.muted if muted is None else muted,
        width=track.width,
        height=track.height,
        simulcast=len(layers) > 1,
        disable_dtx=track.disable_dtx,
        source=_SOURCES[track.source],
        layers=layers,
        mime_type=mime,
        stereo=track.stereo,
        disable_red=track.disable_red,
        encryption=track.encryption,  # type: ignore[arg-type]  # an open enum
        stream=track.stream,
        audio_features=track.features,  # type: ignore[arg-type]  # an open enum
    )
    if mime and track.kind == "video":
        info.codecs.append(models.SimulcastCodecInfo(mime_type=mime, cid=track.cid, layers=layers))
    return info


def track_of(request: rtc.AddTrackRequest, track_id: str) -> Track:
    """A client's announcement as a track. Counts and lengths are cut to what makes sense."""
    video = request.type == models.TrackType.VIDEO
    codec = request.simulcast_codecs[0].codec if request.simulcast_codecs else ""
    announced = list(request.layers) or [
        layer for simulcast in request.simulcast_codecs[:1] for layer in simulcast.layers
    ]
    layers = tuple(
        Layer(
            quality=layer.quality,
            rid=layer.rid[:16] or _RIDS.get(layer.quality, ""),
            width=layer.width,
            height=layer.height,
            bitrate=layer.bitrate,
            ssrc=layer.ssrc,
        )
        for layer in announced[:4]
    )
    return Track(
        track_id=track_id,
        cid=request.cid[:256],
        kind="video" if video else "audio",
        source=_source_of(request, video=video),
        name=request.name[:256],
        stream=request.stream[:256],
        muted=request.muted,
        width=min(request.width, 16384),
        height=min(request.height, 16384),
        codec=_codec_name(codec) if video else "opus",
        layers=layers if video else (),
        stereo=request.stereo,
        disable_dtx=request.disable_dtx,
        disable_red=request.disable_red,
        encryption=request.encryption,
    )


def _source_of(request: rtc.AddTrackRequest, *, video: bool) -> Source:
    """As named, unless it is of the other kind: rights go by it."""
    source = _SOURCE_NAMES.get(request.source, "unknown")
    return source if (source in ("camera", "screen_share")) == video else "unknown"


_RIDS = {0: "q", 1: "h", 2: "f"}


def join_response(
    ref: RoomRef, welcome: commands.Welcome, servers: Iterable[IceServer] = (), *, single: bool
) -> rtc.SignalResponse:
    participant = welcome.participant
    shown = [participant_info(other) for other in welcome.others]
    response = rtc.JoinResponse(
        room=room_info(ref, welcome.sid, welcome.created_ms, welcome.present, welcome.metadata),
        participant=participant_info(participant, own=True),
        other_participants=shown,
        server_version=SERVER_VERSION,
        subscriber_primary=not single,
        ice_servers=_ice_servers(servers),
        ping_interval=PING_INTERVAL_S,
        ping_timeout=PING_TIMEOUT_S,
        server_info=server_info(),
        enabled_publish_codecs=[models.Codec(mime=mime) for mime in _CODECS],
        fast_publish=participant.can_publish,
    )
    return rtc.SignalResponse(join=response)


def server_info() -> models.ServerInfo:
    return models.ServerInfo(
        edition=models.ServerInfo.Edition.Standard,
        version=SERVER_VERSION,
        protocol=PROTOCOL,
        node_id=f"rtcloud-{rtcloud.__version__}",
    )


def reconnect_response(servers: Iterable[IceServer] = ()) -> rtc.SignalResponse:
    response = rtc.ReconnectResponse(server_info=server_info(), ice_servers=_ice_servers(servers))
    return rtc.SignalResponse(reconnect=response)


def _ice_servers(servers: Iterable[IceServer]) -> list[rtc.ICEServer]:
    return [rtc.ICEServer(urls=[s.uri], username=s.username, credential=s.credential) for s in servers]


def description(kind: str, sdp: str, request: int, mid_to_track: Mapping[str, str]) -> rtc.SignalResponse:
    """``kind``: answer or offer."""
    session = rtc.SessionDescription(type=kind, sdp=sdp, id=request, mid_to_track_id=dict(mid_to_track))
    return rtc.SignalResponse(answer=session) if kind == "answer" else rtc.SignalResponse(offer=session)


class Shared:
    """The message of a notice that goes to a whole room, made once: the room delivers one notice to all its sessions,
    one right after the other. Only the last one is kept."""

    def __init__(self, make: Callable[[Any], rtc.SignalResponse]) -> None:
        self._make = make
        self._last: tuple[object, rtc.SignalResponse] | None = None

    def __call__(self, notice: object) -> rtc.SignalResponse:
        if self._last is None or self._last[0] is not notice:
            self._last = (notice, self._make(notice))
        return self._last[1]


def _participants(notice: commands.ShowParticipants) -> rtc.SignalResponse:
    # first who is gone: clients know people by identity, and one of the changed may be a new session of the same
    shown = [gone(*one) for one in notice.gone]
    shown += [participant_info(p) for p in notice.changed if p.participant_id]
    return rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=shown))


def _speakers(event: media.Speakers) -> rtc.SignalResponse:
    changed = [
        models.SpeakerInfo(sid=speaker.participant, level=speaker.level, active=speaker.active)
        for speaker in event.speakers
    ]
    return rtc.SignalResponse(speakers_changed=rtc.SpeakersChanged(speakers=changed))


def _quality(notice: commands.ShowQuality) -> rtc.SignalResponse:
    updates = [
        rtc.ConnectionQualityInfo(participant_sid=participant, quality=level, score=score)  # type: ignore[arg-type]
        for participant, level, score in notice.qualities
    ]
    return rtc.SignalResponse(connection_quality=rtc.ConnectionQualityUpdate(updates=updates))


participants = Shared(_participants)


def stream_state(event: media.SubscriptionShed) -> rtc.SignalResponse:
    """Whether the subscriber's network carries a track."""
    state = rtc.StreamState.PAUSED if event.shed else rtc.StreamState.ACTIVE
    info = rtc.StreamStateInfo(participant_sid=event.publisher, track_sid=event.track, state=state)
    return rtc.SignalResponse(stream_state_update=rtc.StreamStateUpdate(stream_states=[info]))


def wanted_qualities(event: media.LayersWanted) -> rtc.SignalResponse:
    """What a publisher need send. Layers are named q, h and f, or count from the smallest on. The only layer is known
    to clients as the lowest quality, and to some as the highest: it is all three."""
    wanted = {layer.rid or _QUALITIES[min(n, 2)][0]: layer.wanted for n, layer in enumerate(event.layers)}
    if len(wanted) == 1:
        wanted = dict.fromkeys("qhf", *wanted.values())
    qualities = [rtc.SubscribedQuality(quality=quality, enabled=wanted.get(rid, False)) for rid, quality in _QUALITIES]
    update = rtc.SubscribedQualityUpdate(
        track_sid=event.track,
        subscribed_qualities=qualities,
        subscribed_codecs=[rtc.SubscribedCodec(codec=event.codec, qualities=qualities)],
    )
    return rtc.SignalResponse(subscribed_quality_update=update)


speakers = Shared(_speakers)
quality = Shared(_quality)


def _codec_name(codec: str) -> str:
    name = codec.lower().removeprefix("video/")
    return name if name in ("h264", "vp8", "vp9", "av1") else ""


def _mime_name(codec: str) -> str:
    return codec.upper() if codec != "opus" else codec
