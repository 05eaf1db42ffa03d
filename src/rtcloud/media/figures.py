"""Figures that a media node tells: of the streams of a room over a period, and of itself.

msgpack maps with the same fields as in ``crates/node/src/protocol.rs`` and ``crates/sfu/src/stats.rs``.
"""

import msgspec


class TrackStats(msgspec.Struct, kw_only=True):
    """One stream that comes in (a track, or a simulcast layer of it) over a period. Bytes and bitrates are those of
    payloads, as browsers count them. ``loss`` is what never came, ``raw_loss`` what did not come in its turn (before
    repair). It froze when no whole picture came for three intervals and for 150 ms longer than one, while somebody
    was to get it; sound stops where more than 170 ms are missing."""

    participant: str
    track: str
    rid: str
    codec: str
    flowing: bool  # something came
    receivers: int  # who gets this stream
    bitrate: int
    bytes: int
    packets: int
    loss: float
    raw_loss: float
    jitter_ms: float  # RFC 3550
    rtt_ms: float  # -1 unknown
    fps: float
    width: int  # as its pictures say; as announced where they do not
    height: int
    freezes: int
    frozen_ms: int
    nacks: int  # packets asked for again
    plis: int  # key pictures asked for


class SubscriptionStats(msgspec.Struct, kw_only=True):
    """What one participant was sent of a track over a period. Where a room has more than 1024 subscriptions, those of
    one participant are added up (``subscriptions``, no ``track``): of losses and times the worst is told. ``loss`` is
    that of the newest report, before repair; ``lost`` the client's own count. The client froze from its request for a
    key picture until one was sent."""

    participant: str
    track: str
    subscriptions: int
    rid: str
    bitrate: int
    bytes: int
    packets: int
    loss: float
    lost: int
    jitter_ms: float
    rtt_ms: float
    fps: float
    width: int
    height: int
    freezes: int
    frozen_ms: int
    nacks: int
    plis: int
    resent: int


class ParticipantStats(msgspec.Struct, kw_only=True):
    participant: str
    estimate: int  # bit/s that its connection is believed to take, 0 unknown


class ShardStatus(msgspec.Struct, kw_only=True):
    """A thread that drives rooms, now."""

    cpu: float = 0.0  # of a core, over 5 s
    rooms: int = 0
    participants: int = 0
    over: bool = False  # above the limit: it takes nobody else


class NodeStatus(msgspec.Struct, kw_only=True):
    """Counters since the start, for /metrics."""

    rooms: int
    participants: int
    packets_received: int
    packets_sent: int
    bytes_received: int
    bytes_sent: int
    packets_dropped: int  # for whatever reason, ours included
    commands_refused: int
    rooms_failed: int
    threads_cpu_ms: int
    #: what was dropped, by reason: ``packet_`` stranger, oversize, flood (one source beyond its share), queue_full,
    #: refused (not understood by its transport), unsent (ours, the system did not take it); ``data_`` and each
    #: ``RefusalReason``. Connections that were ended: ``connection_`` full (there are too many), unproven (no valid
    #: check came), malformed, silent, slow
    refused: dict[str, int] = msgspec.field(default_factory=dict)
    connections: int = 0  # of clients now, over TCP
    bitrate_sent: int = 0  # bit/s over 5 s
    bitrate_over: bool = False  # above the limit
    shards: list[ShardStatus] = msgspec.field(default_factory=list)
