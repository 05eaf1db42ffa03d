"""Encoded packets → FLV tags, which are what RTMP carries. The format is FFmpeg's: its muxer writes into memory.

Audio and video have a muxer each, so that either may begin, change or be missing without the other; their metadata is
put together. A key frame with other parameter sets begins a new video muxer, and thereby new headers. Per kind the
times rise strictly; ``Interleaver`` brings both kinds into one order.
"""

from collections import deque
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from typing import Literal, TypeAlias

import av
from av.container import OutputContainer

from rtcloud.mixer.encoding import TICKS, EncodedPacket, VideoCodec
from rtcloud.rtmp import amf
from rtcloud.rtmp.errors import RtmpError

Kind: TypeAlias = Literal["audio", "video", "script"]

#: how long a tag waits at most, in its own time, for one of the other kind that comes before it
LONGEST_HOLD_MS = 250

_DEMUXERS = {"h264": "h264", "h265": "hevc"}
_KINDS: dict[int, Kind] = {8: "audio", 9: "video", 18: "script"}
_FLV_HEADER, _TAG_HEADER, _TAG_TRAILER = 13, 11, 4
_MS = Fraction(1, 1000)
#: what only a file has
_OF_FILES = ("duration", "filesize")


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """Of AAC-LC."""

    sample_rate: int
    channels: int


@dataclass(frozen=True, slots=True)
class FlvTag:
    kind: Kind
    time_ms: int
    data: bytes
    keyframe: bool = False
    #: what a receiver needs before the rest of its kind: codec configuration, metadata
    is_header: bool = False


class FlvMaker:
    """One of ``video`` and ``audio`` may be None: packets of that kind are then left out, as are other codecs."""

    def __init__(self, video: VideoCodec | None, audio: AudioFormat | None) -> None:
        self._codec = video
        self._audio = None if audio is None else _AudioMuxer(audio)
        self._video: _Muxer | None = None
        self._parameters: tuple[bytes, ...] = ()
        self._last = {"audio": -1, "video": -1}
        #: of the whole, for whoever begins now
        self.headers: list[FlvTag] = []
        self._collect()

    @property
    def has_video(self) -> bool:
        return self._codec is not None

    def make(self, packet: EncodedPacket) -> list[FlvTag]:
        """The packet's tag, after new headers if it brings any. Empty for what cannot be sent (yet)."""
        headers: list[FlvTag] = []
        muxer: _Muxer | None
        if packet.kind == "audio":
            muxer = self._audio if packet.codec == "aac" else None
        else:
            if packet.codec != self._codec:
                return []
            if packet.keyframe and self._begin_video(packet.data):
                headers = [tag for tag in self.headers if tag.kind != "audio"]
            muxer = self._video
        if muxer is None:
            return []
        time_ms = max(packet.time * 1000 // TICKS, self._last[packet.kind] + 1)
        try:
            tags = muxer.mux(packet.data, time_ms, packet.keyframe)
        except av.FFmpegError:  # damaged by who made it: the next key frame begins anew
            if packet.kind == "video":
                self._video, self._parameters = None, ()
            return []
        self._last[packet.kind] = time_ms
        # FLV's own time has 31 bits, which is 24 days
        return [replace(tag, time_ms=time_ms) for tag in (*headers, *tags)]

    def _begin_video(self, keyframe: bytes) -> bool:
        """Whether there are new headers."""
        assert self._codec is not None
        parameters = parameter_sets(keyframe, self._codec)
        if not parameters or parameters == self._parameters:
            return False
        try:
            self._video = _VideoMuxer(self._codec, keyframe)
        except (av.FFmpegError, RtmpError):
            self._video, self._parameters = None, ()
            return False
        self._parameters = parameters
        self._collect()
        return True

    def _collect(self) -> None:
        muxers = [muxer for muxer in (self._video, self._audio) if muxer is not None]
        metadata = amf.Associative()
        for muxer in muxers:
            metadata |= muxer.metadata
        script = FlvTag("script", 0, amf.encode("onMetaData", metadata), is_header=True)
        self.headers = [script, *(tag for muxer in muxers for tag in muxer.headers)]


class Interleaver:
    """Tags of both kinds in the order of their times, as far as waiting ``LONGEST_HOLD_MS`` can bring that about."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[FlvTag]] = {"audio": deque(), "video": deque()}
        self._newest = 0

    def put(self, tag: FlvTag) -> list[FlvTag]:
        self._waiting["audio" if tag.kind == "audio" else "video"].append(tag)
        self._newest = max(self._newest, tag.time_ms)
        released = []
        audio, video = self._waiting["audio"], self._waiting["video"]
        while audio or video:
            first = audio if not video or (audio and audio[0].time_ms <= video[0].time_ms) else video
            if not (audio and video) and self._newest - first[0].time_ms < LONGEST_HOLD_MS:
                break
            released.append(first.popleft())
        return released

    def flush(self) -> list[FlvTag]:
        rest = sorted([*self._waiting["audio"], *self._waiting["video"]], key=lambda tag: tag.time_ms)
        for queue in self._waiting.values():
            queue.clear()
        return rest


def parameter_sets(data: bytes, codec: VideoCodec) -> tuple[bytes, ...]:
    """Those of an Annex B picture, in their order. Only what comes before the picture itself is looked at."""
    found = []
    start = data.find(b"\0\0\1")
    while start >= 0 and start + 3 < len(data):
        head = data[start + 3]
        kind = head & 31 if codec == "h264" else head >> 1 & 63
        if kind in ((1, 5) if codec == "h264" else range(32)):
            break
        following = data.find(b"\0\0\1", start + 3)
        if kind in ((7, 8) if codec == "h264" else (32, 33, 34)):
            found.append(data[start + 3 : following if following >= 0 else len(data)].rstrip(b"\0"))
        start = following
    return tuple(found)


class _Memory:
    def __init__(self) -> None:
        self._written = bytearray()

    def write(self, data: bytes) -> int:
        self._written += data
        return len(data)

    def take(self) -> bytes:
        written = bytes(self._written)
        self._written.clear()
        return written


class _Muxer:
    """One stream in a container of its own."""

    container: OutputContainer

    def __init__(self) -> None:
        self._memory = _Memory()
        options = {"flvflags": "no_duration_filesize+no_sequence_end", "flush_packets": "1"}
        self.container = av.open(self._memory, "w", format="flv", options=options)
        self.metadata: dict[str, amf.Value] = {}
        self.headers: list[FlvTag] = []

    def begin(self) -> None:
        self.container.start_encoding()
        for tag in _tags(self._memory.take()[_FLV_HEADER:]):
            if tag.kind != "script":
                self.headers.append(tag)
                continue
            for value in amf.decode(tag.data)[1:]:
                if isinstance(value, dict):
                    self.metadata |= {name: held for name, held in value.items() if name not in _OF_FILES}

    def mux(self, data: bytes, time_ms: int, keyframe: bool) -> list[FlvTag]:
        packet = av.Packet(data)
        packet.stream = self.container.streams[0]
        packet.time_base = _MS
        packet.pts = packet.dts = time_ms
        packet.is_keyframe = keyframe
        self.container.mux_one(packet)
        return _tags(self._memory.take())


class _AudioMuxer(_Muxer):
    def __init__(self, form: AudioFormat) -> None:
        super().__init__()
        stream = self.container.add_stream("aac", rate=form.sample_rate)
        stream.codec_context.layout = "stereo" if form.channels == 2 else "mono"
        self.begin()


class _VideoMuxer(_Muxer):
    def __init__(self, codec: VideoCodec, keyframe: bytes) -> None:
        super().__init__()
        with av.open(BytesIO(keyframe), format=_DEMUXERS[codec]) as template:
            stream = self.container.add_stream_from_template(template.streams.video[0])
            stream.time_base = _MS
            self.begin()


def _tags(data: bytes) -> list[FlvTag]:
    tags = []
    at = 0
    while at < len(data):
        size = int.from_bytes(data[at + 1 : at + 4], "big")
        time_ms = int.from_bytes(data[at + 4 : at + 7], "big") | data[at + 7] << 24
        body = data[at + _TAG_HEADER : at + _TAG_HEADER + size]
        kind = _KINDS[data[at]]
        is_header = _is_header(kind, body)
        keyframe = kind == "video" and not is_header and body[0] >> 4 & 7 == 1
        tags.append(FlvTag(kind, time_ms, body, keyframe, is_header))
        at += _TAG_HEADER + size + _TAG_TRAILER
    return tags


def _is_header(kind: Kind, body: bytes) -> bool:
    if kind == "audio":
        return body[1] == 0
    if kind == "video" and body[0] & 0x80:  # Enhanced RTMP: start of the sequence, metadata
        return body[0] & 15 in (0, 4)
    return kind == "script" or body[1] == 0
