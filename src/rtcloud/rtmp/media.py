"""Messages that carry media, as both a server of publishers and a player get them. Pure."""

from dataclasses import dataclass, field

from rtcloud.rtmp import chunks
from rtcloud.rtmp.amf import Value, encode
from rtcloud.rtmp.chunks import Message
from rtcloud.rtmp.errors import RtmpError

#: What Enhanced RTMP may bring; without it H.264, AAC and a few others by number.
VIDEO_CODECS = ("av01", "vp09", "vp08", "hvc1", "avc1")
AUDIO_CODECS = ("Opus", "mp4a", ".mp3", "ac-3", "ec-3", "fLaC")
#: modifiers of a packet, nanoseconds among them
CAPABILITIES = 4.0 + 8.0

MOST_AGGREGATED = 4096
_CAN_DECODE = 1.0
_KINDS = (chunks.AUDIO, chunks.VIDEO, chunks.DATA)
_SET_DATA_FRAME = encode("@setDataFrame")
_TAG_HEADER, _TAG_TRAILER = 11, 4


@dataclass(frozen=True, slots=True)
class Media:
    """``kind`` is that of the message: 8 audio, 9 video, 18 data in the form of an FLV script tag."""

    kind: int
    time_ms: int  # modulo 2**32
    data: bytes = field(repr=False)


def extended_codecs() -> dict[str, Value]:
    """What connect says of them, from either side."""
    return {
        "fourCcList": list(VIDEO_CODECS),
        "videoFourCcInfoMap": dict.fromkeys(VIDEO_CODECS, _CAN_DECODE),
        "audioFourCcInfoMap": dict.fromkeys(AUDIO_CODECS, _CAN_DECODE),
    }


def media_of(message: Message) -> list[Media]:
    """Empty for messages of other kinds."""
    match message.kind:
        case chunks.AUDIO | chunks.VIDEO:
            return [Media(message.kind, message.time_ms, message.data)]
        case chunks.DATA:
            return [Media(chunks.DATA, message.time_ms, message.data.removeprefix(_SET_DATA_FRAME))]
        case chunks.DATA_AMF3:
            return [Media(chunks.DATA, message.time_ms, message.data[1:].removeprefix(_SET_DATA_FRAME))]
        case chunks.AGGREGATE:
            return _taken_apart(message)
    return []


def _taken_apart(message: Message) -> list[Media]:
    """FLV tags, whose times count from that of the message."""
    media: list[Media] = []
    data, at, first = message.data, 0, None
    while at < len(data):
        header = data[at : at + _TAG_HEADER]
        size = int.from_bytes(header[1:4], "big")
        body = data[at + _TAG_HEADER : at + _TAG_HEADER + size]
        if len(header) < _TAG_HEADER or len(body) < size:
            raise RtmpError("aggregate cut off")
        if len(media) >= MOST_AGGREGATED:
            raise RtmpError("aggregate too large")
        time_ms = header[7] << 24 | int.from_bytes(header[4:7], "big")
        first = time_ms if first is None else first
        if header[0] in _KINDS:
            media.append(Media(header[0], (message.time_ms + time_ms - first) & 0xFFFFFFFF, body))
        at += _TAG_HEADER + size + _TAG_TRAILER
    return media
