"""The interface to a media node, and every command and event that crosses it.

Both directions are msgpack maps tagged by ``type`` (``crates/node/src/protocol.rs`` is the other half; the contract
test encodes one of each on either side). The node owns SDP, transports, packet forwarding and data messages between
participants; the control plane owns who may do what. Ids are opaque: room ``RM_…``, participant ``PA_…``,
track ``TR_…``. Python never sees a packet.

Rights are enforced per packet by the node, whatever a client sends or asks for: a track whose publisher may not send
it is not forwarded to anybody, a subscriber gets nothing of what it may not receive, and messages of who may not send
any are dropped. Whether somebody may enter, and what it is told, remains the room's.

Order: commands of one room are carried out in the order given; events of one room come in the order they happened.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from rtcloud.media.figures import NodeStatus, ParticipantStats, SubscriptionStats, TrackStats

Kind = Literal["audio", "video"]
#: Which right a track needs; "" as its kind says. ``aux`` is a shared screen's pictures; its sound counts as audio.
Stream = Literal["", "audio", "video", "aux"]
#: Why a data message was dropped: it cannot be read; a kind or command that clients may not send; more than 64 KiB, or
#: 1000 bytes of a command; more than the sender's allowance; no right to send any; undelivered: a
#: reliable one for this participant, which takes nothing, did not fit into the 4 MiB that may wait for it.
RefusalReason = Literal["malformed", "forbidden", "too_large", "too_many", "no_right", "undelivered"]
#: Why a subscriber is sent nothing of a track.
SubscriptionRefusal = Literal["codec"]
#: Which peer connection an SDP message is about. ``single`` is the one connection of /rtc/v1.
Target = Literal["single", "publisher", "subscriber"]


#: What there is too little of.
Overload = Literal["", "cpu", "bandwidth"]


class NodeConfig(msgspec.Struct, kw_only=True):
    """``listen`` is the address (``0.0.0.0:7882``), or several with commas between them; ``[::]`` takes IPv4 too, and
    ``advertise`` the IPs put into ICE candidates (each with the port of what listens for it; never empty). ``shards`` 0
    means one per core less one, at least one."""

    listen: str
    advertise: list[str]
    shards: int = 0
    #: preferred video codecs in the answer, best first, used when the publisher named none
    video_codecs: list[str] = msgspec.field(default_factory=lambda: ["h264", "vp8", "vp9", "av1"])
    #: entries in each bounded queue (commands; the rest is derived)
    queue_size: int = 16384
    #: connections are taken too, at the same addresses (ICE over TCP, passive)
    tcp: bool = False
    #: share of a core, over 5 s, at which a shard takes nobody else, and bit/s sent at which none does; 0: no limit
    cpu_limit: float = 0.0
    bitrate_limit: int = 0
    #: packets of one size for one subscriber leave together; a picture's are padded so that they are; how long they
    #: may wait for that
    egress_gso: bool = True
    egress_padding: bool = True
    egress_hold_ms: int = 5


# Commands ---------------------------------------------------------------------------------------------------------


class Command(msgspec.Struct, tag_field="type", tag=True, kw_only=True):
    room: str


class Rights(msgspec.Struct, kw_only=True, frozen=True):
    """What a participant may do."""

    send_audio: bool = True
    send_video: bool = True
    send_screen: bool = True
    receive_audio: bool = True
    receive_video: bool = True
    receive_screen: bool = True
    data: bool = True


class AddParticipant(Command, tag="add_participant"):
    """A room comes to be with its first participant. ``identity`` is the user id that data packets will carry.

    ``fixed``, with ``single``, is for who offers once and is told nothing afterwards (WHEP): every receive section of
    its offer sends from the first answer on, with an ``a=msid`` of its own (``stream0 audio0``, ``stream0 video0``,
    ``stream1 …``). Subscriptions take free sections in the order they were made, and leave them to the next when they
    end; the sound and pictures of a publisher go together if they can. What the offer has no codec for, or rights
    forbid, is passed over. ``SectionsNeeded`` is never said, and a new offer serves for an ICE restart alone.

    ``adaptive`` participants get the pictures that their network carries. Others (recorders, relays) always get what
    they ask for."""

    participant: str
    identity: str
    single: bool  # True: /rtc/v1, one connection; False: /rtc, two
    fixed: bool = False
    adaptive: bool = True
    rights: Rights = Rights()


class SetRights(Command, tag="set_rights"):
    """All of a participant's rights from now on; the next packet is judged by them. What it published and subscribed
    stays, and goes on (video with a new key picture) when the right comes back. ``Receiving`` tells subscribers'
    side of it; a track that lacked the right from the start is not ``TrackStarted`` before it has it."""

    participant: str
    rights: Rights


class RemoveParticipant(Command, tag="remove_participant"):
    """Closes its transports (DTLS close_notify) and everything it published or subscribed."""

    participant: str


class CloseRoom(Command, tag="close_room"):
    pass


class Layer(msgspec.Struct, kw_only=True):
    """One simulcast layer as the client announced it: ``rid`` q/h/f, "" when there is only one."""

    rid: str = ""
    width: int = 0
    height: int = 0
    bitrate: int = 0  # bit/s


class PublishTrack(Command, tag="publish_track"):
    """Announces a track before the offer that carries it. ``cid`` is the second token of the offer's ``a=msid``.
    ``codec`` (lower case: h264, vp8, vp9, av1, opus, or red for Opus with redundancy) is what the publisher prefers, ""
    for the node's preference. ``layers`` of a publisher that sends one stream are those within it (SVC), by size."""

    participant: str
    track: str
    cid: str
    kind: Kind
    stream: Stream = ""
    codec: str = ""
    layers: list[Layer] = msgspec.field(default_factory=list)
    muted: bool = False


class UnpublishTrack(Command, tag="unpublish_track"):
    participant: str
    track: str


class MuteTrack(Command, tag="mute_track"):
    """While muted nothing of the track is forwarded, whatever the client sends."""

    track: str
    muted: bool


class Offer(Command, tag="offer"):
    """The client's offer (``single`` or ``publisher``). Answered by ``Answered`` or ``SdpRejected`` of the same
    ``request``. New ICE credentials in it are an ICE restart."""

    participant: str
    request: int
    target: Target
    sdp: str


class Answer(Command, tag="answer"):
    """The client's answer to ``Offered`` number ``request`` (``subscriber``); 0 from clients that do not number, for
    the open offer. A late one is ignored."""

    participant: str
    request: int
    sdp: str


class AddCandidate(Command, tag="add_candidate"):
    """A trickled candidate line (``candidate:…``). Ones that do not parse are ignored."""

    participant: str
    target: Target
    candidate: str


class RestartIce(Command, tag="restart_ice"):
    """Makes the node offer the ``subscriber`` connection again with new ICE credentials."""

    participant: str


class Subscribe(Command, tag="subscribe"):
    """Sends ``track`` of ``publisher`` to ``participant``. Toward it the stream's id is ``PA_publisher|TR_track``.
    In ``single`` mode it waits for a receive section (``SectionsNeeded``); in the other the node offers."""

    participant: str
    track: str


class Unsubscribe(Command, tag="unsubscribe"):
    participant: str
    track: str


class SetSubscription(Command, tag="set_subscription"):
    """What the subscriber wants of a track: paused, or the size it shows (0 = the largest), and how many pictures a
    second (0 = all). The forwarder takes the smallest layer that is at least that size, switching at keyframes, and
    leaves out pictures that others do not need (temporal layers) down to ``fps``."""

    participant: str
    track: str
    enabled: bool = True
    width: int = 0
    height: int = 0
    fps: int = 0


class SendData(Command, tag="send_data"):
    """A server-made livekit ``DataPacket`` (serialised) to these participants, or to all when empty."""

    participants: list[str] = msgspec.field(default_factory=list)
    reliable: bool = True
    packet: bytes = b""


# Events -----------------------------------------------------------------------------------------------------------


class Event(msgspec.Struct, tag_field="type", tag=True, kw_only=True):
    room: str


class Answered(Event, tag="answered"):
    """``sdp`` is ready to send: codecs ordered, ``a=msid`` set, unused receive sections inactive.
    ``mid_to_track`` maps every mid that carries a track toward this client (receive) and those it publishes."""

    participant: str
    request: int
    target: Target
    sdp: str
    mid_to_track: dict[str, str]


class Offered(Event, tag="offered"):
    """The node's own offer of the ``subscriber`` connection. The next one follows only after its answer."""

    participant: str
    request: int
    sdp: str
    mid_to_track: dict[str, str]


class SdpRejected(Event, tag="sdp_rejected"):
    """The offer or answer was not usable; ``reason`` holds no part of the SDP. Nothing changed."""

    participant: str
    request: int
    target: Target
    reason: str


class SectionsNeeded(Event, tag="sections_needed"):
    """Single mode: the client must re-offer with this many *additional* receive sections of each kind."""

    participant: str
    audio: int
    video: int


class TransportChanged(Event, tag="transport_changed"):
    """``connected``: ICE and DTLS are up. ``disconnected``: no consent for a few seconds (may come back).
    ``failed``: gone for good, a full reconnect is needed."""

    participant: str
    target: Target
    state: Literal["connected", "disconnected", "failed"]


class TrackStarted(Event, tag="track_started"):
    """The first media packet of a published track arrived, once per publication. ``codec`` as in PublishTrack, but
    opus whether it comes with redundancy or not."""

    participant: str
    track: str
    codec: str


class TrackEnded(Event, tag="track_ended"):
    """The publisher's offer no longer sends the track (its section went inactive): it is unpublished."""

    participant: str
    track: str


class SpeakerLevel(msgspec.Struct):
    participant: str
    level: float  # 0 silent … 1 loudest, linear
    active: bool


class Speakers(Event, tag="speakers"):
    """Changed speakers only, at most twice a second per room; one that fell silent comes once with active False."""

    speakers: list[SpeakerLevel]


class Quality(Event, tag="quality"):
    """About every 2 s per participant. Losses are fractions 0–1 over the period; ``rtt_ms`` −1 when unknown."""

    participant: str
    uplink_loss: float
    downlink_loss: float
    rtt_ms: float
    uplink_bitrate: int  # bit/s received from it
    downlink_bitrate: int  # bit/s sent to it


class DataRefused(Event, tag="data_refused"):
    """So many data messages of a participant were dropped since this was told last: at once for the first, then at
    most once a second for each reason. Custom commands (topic ``trtc.cmd.1`` … ``trtc.cmd.10``) have at most 1000
    bytes, 30 a second and 8 KiB a second, of each as much at once."""

    participant: str
    reason: RefusalReason
    count: int


class Receiving(Event, tag="receiving"):
    """What a subscriber now gets of a track: 0×0 when paused or muted. Sent on each change of layer or size."""

    participant: str
    track: str
    width: int
    height: int


class SubscriptionRefused(Event, tag="subscription_refused"):
    """A subscriber cannot decode what the track is encoded with; it gets nothing of it. Told once, when both are known,
    and again if it was sent something in between. The subscription stays: a publisher may change its codec."""

    participant: str
    track: str
    reason: SubscriptionRefusal


class Stats(Event, tag="stats"):
    """The figures of a room over about 2 s, in ``parts`` of at most 512 rows of each kind. Of what waits only the
    newest is kept: a part may be missing."""

    serial: int
    part: int
    parts: int
    period_ms: int
    tracks: list[TrackStats]
    subscriptions: list[SubscriptionStats]
    participants: list[ParticipantStats]


class SubscriptionShed(Event, tag="subscription_shed"):
    """The subscriber's network began (``shed``) or ceased to carry nothing of a track. Goes with ``Receiving`` 0×0."""

    participant: str
    publisher: str
    track: str
    shed: bool


class LayerWanted(msgspec.Struct, kw_only=True):
    rid: str
    wanted: bool


class LayersWanted(Event, tag="layers_wanted"):
    """Which layers of its track a publisher need send, of all that it announced, from small to large. A layer is wanted
    with all smaller ones as soon as somebody asks for its size, and unwanted when nobody did for 5 s; before this is
    said for the first time all are wanted. ``codec`` as in ``TrackStarted``."""

    participant: str
    track: str
    codec: str
    layers: list[LayerWanted]


class RoomFailed(Event, tag="room_failed"):
    """A panic was caught in this room's step; the room and all its transports are gone."""

    reason: str


AnyCommand = (
    AddParticipant
    | SetRights
    | RemoveParticipant
    | CloseRoom
    | PublishTrack
    | UnpublishTrack
    | MuteTrack
    | Offer
    | Answer
    | AddCandidate
    | RestartIce
    | Subscribe
    | Unsubscribe
    | SetSubscription
    | SendData
)
AnyEvent = (
    Answered
    | Offered
    | SdpRejected
    | SectionsNeeded
    | TransportChanged
    | TrackStarted
    | TrackEnded
    | Speakers
    | Quality
    | DataRefused
    | Receiving
    | SubscriptionRefused
    | Stats
    | SubscriptionShed
    | LayersWanted
    | RoomFailed
)


class QueueFullError(Exception):
    """The command queue is full: nothing was queued. The caller refuses what it was doing."""


class MediaNode(Protocol):
    """Implemented by ``media.native.NativeNode`` (Rust) and ``media.fake.FakeNode`` (tests)."""

    def send(self, *commands: AnyCommand) -> None:
        """Queue commands, all or none. Raises QueueFullError; never waits."""
        ...

    async def events(self) -> Sequence[AnyEvent]:
        """The next batch, never empty. Waits without polling. One reader only."""
        ...

    def status(self) -> NodeStatus: ...

    def overload(self, room: str) -> Overload:
        """Why nobody else may enter a room; "" when they may. A room that is not there yet may be any shard's."""
        ...

    async def close(self) -> None:
        """Stop the threads and join them; all transports are closed."""
        ...
