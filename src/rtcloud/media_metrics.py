"""What /metrics tells of media beyond counters of the node: how the figures of tracks and subscriptions spread.

No label is a room or a user, and bounds are fixed: the number of series never depends on who is there.
"""

from rtcloud import operations
from rtcloud.rooms.measuring import Measurements
from rtcloud.rooms.service import RoomService

_SPREADS = {
    "track_bitrate": "Bits per second of streams that come in, over two seconds",
    "track_loss": "Share of packets of streams that come in that were never there",
    "track_jitter_ms": "Interarrival jitter of streams that come in",
    "track_fps": "Pictures per second of streams that come in",
    "subscription_bitrate": "Bits per second of a track to one receiver",
    "subscription_loss": "Share of packets that a receiver lost, before repair",
    "subscription_jitter_ms": "Interarrival jitter at receivers",
    "subscription_rtt_ms": "Round trip to receivers",
    "estimate": "Bits per second that a connection is believed to take",
}
_TOTALS = {
    "track_freezes": "How often a stream that came in stood still",
    "track_frozen_ms": "For how long",
    "track_nacks": "Packets that publishers were asked for again",
    "track_plis": "Key pictures that publishers were asked for",
    "subscription_freezes": "How often a receiver could not go on without a key picture",
    "subscription_frozen_ms": "For how long",
    "subscription_nacks": "Packets that receivers asked for again",
    "subscription_plis": "Key pictures that receivers asked for",
    "subscription_resent": "Packets that were repeated",
}


def figures(measured: Measurements) -> operations.Figures:
    flowing, received = measured.layers()
    counted = {f"media_{name}": (_TOTALS[name], True, float(count)) for name, count in measured.totals.items()}
    return counted | {
        "media_layers_flowing": ("Streams that come in, each simulcast layer by itself", False, float(flowing)),
        "media_layers_received": ("Those of them that somebody gets", False, float(received)),
    }


def spreads(measured: Measurements) -> operations.Spreads:
    return {
        f"media_{name}": (_SPREADS[name], spread.buckets, spread.total) for name, spread in measured.spreads.items()
    }


def threads(rooms: RoomService) -> operations.Labelled:
    """There are no more of them than cores."""
    shards = rooms.media_status().shards
    cpu = {str(number): shard.cpu for number, shard in enumerate(shards)}
    return {"media_shard_cpu": ("Share of a core that a thread of media takes, over 5 s", "shard", cpu)}
