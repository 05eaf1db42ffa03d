"""RTMP's audio, video and data messages, which are FLV tags → ``SourcePacket``. Pure.

H.264, AAC and the other codecs by number, and Enhanced RTMP's by FourCC (the first track of several). Times are
unwrapped over their 32 bits and may go back. A message that makes no sense is left out and counted; so many in a row
are no FLV, and an ``RtmpError``. What metadata claim is in ``facts``; forms say only what configurations and tags do.
"""

import math
from dataclasses import dataclass, field

from rtcloud.ingest.media import Kind, SourcePacket, StreamForm
from rtcloud.rtmp import amf
from rtcloud.rtmp.chunks import AUDIO, DATA, VIDEO
from rtcloud.rtmp.errors import RtmpError

MOST_MALFORMED = 100
LONGEST_COMPOSITION_MS = 30_000
LARGEST_CONFIG = 64 << 10
MOST_FACTS = 32
LONGEST_FACT = 100

_VIDEO_BY_NUMBER = {2: "flv1", 3: "flashsv", 4: "vp6f", 5: "vp6a", 6: "flashsv2", 7: "h264", 12: "hevc"}
_VIDEO_BY_FOURCC = {b"avc1": "h264", b"hvc1": "hevc", b"av01": "av1", b"vp09": "vp9", b"vp08": "vp8"}
_AUDIO_BY_FOURCC = {
    b"mp4a": "aac", b"Opus": "opus", b".mp3": "mp3", b"ac-3": "ac3", b"ec-3": "eac3", b"fLaC": "flac"
}  # fmt: skip
_NEEDS_CONFIG = {"h264", "hevc", "aac", "flac"}
_LENGTHS = {"h264": 4, "hevc": 21}  # where a configuration has the size of the lengths before its units
_START, _FRAMES, _END, _FRAMES_X, _METADATA, _MULTITRACK, _MOD_EX = 0, 1, 2, 3, 4, 5, 7
_VIDEO_MULTITRACK = 6
_KEYFRAMES, _COMMAND_FRAME = (1, 4), 5
_AAC, _ENHANCED_AUDIO = 10, 9
_AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AAC_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8)
_SBR, _PS = 5, 29


class _MalformedError(Exception):
    """This message is of no use."""


@dataclass(slots=True)
class FlvReader:
    """``skipped`` counts what was malformed, came before its configuration, or belongs to further tracks."""

    facts: dict[str, amf.Value] = field(default_factory=dict)
    skipped: int = 0
    _in_a_row: int = 0
    _time_ms: int | None = None
    _forms: dict[Kind, StreamForm | None] = field(default_factory=lambda: {"audio": None, "video": None})

    def receive(self, kind: int, data: bytes, time_ms: int) -> list[SourcePacket]:
        """``kind`` is that of the message: 8, 9 or 18; others are none of FLV's. Raises ``RtmpError``."""
        if not data or kind not in (AUDIO, VIDEO, DATA):
            return []
        packets: list[SourcePacket] = []
        try:
            if kind == DATA:  # whose times many leave at 0
                self._learn(data)
            else:
                read = self._audio if kind == AUDIO else self._video
                packets = read(_Bytes(data), self._unwrap(time_ms) * 1000)
        except _MalformedError:
            self.skipped += 1
            self._in_a_row += 1
            if self._in_a_row >= MOST_MALFORMED:
                raise RtmpError("no FLV") from None
            return []
        self._in_a_row = 0
        return packets

    def _unwrap(self, time_ms: int) -> int:
        """The nearest to the time before that has these 32 bits."""
        if self._time_ms is None:
            self._time_ms = time_ms
        self._time_ms += (time_ms - self._time_ms + (1 << 31) & 0xFFFFFFFF) - (1 << 31)
        return self._time_ms

    def _video(self, tag: "_Bytes", time_us: int) -> list[SourcePacket]:
        head = tag.number(1)
        keyframe = head >> 4 & 7 in _KEYFRAMES
        if head & 0x80:
            return self._enhanced_video(tag, head & 15, head >> 4 & 7, time_us)
        if head >> 4 == _COMMAND_FRAME:
            return []
        codec = _VIDEO_BY_NUMBER.get(head & 15, f"flv video {head & 15}")
        if codec in _LENGTHS:
            step, composition_ms = tag.number(1), tag.signed(3)
            return self._step("video", codec, step, tag, time_us, composition_ms, keyframe)
        config = tag.take(1) if codec in ("vp6f", "vp6a") else b""
        return self._plain(StreamForm("video", codec, config), tag.rest(), time_us, keyframe)

    def _enhanced_video(self, tag: "_Bytes", step: int, frame: int, time_us: int) -> list[SourcePacket]:
        step, time_us = _modified(tag, step, time_us)
        if frame == _COMMAND_FRAME and step != _METADATA:
            return []
        found = self._track_of(tag, step, _VIDEO_MULTITRACK)
        if found is None:
            return []
        step, four_cc, tag = found
        if step == _METADATA:
            return []
        codec = _VIDEO_BY_FOURCC.get(four_cc, _shown(four_cc))
        composes = step == _FRAMES and codec in _LENGTHS
        composition_ms = tag.signed(3) if composes else 0
        return self._step("video", codec, step, tag, time_us, composition_ms, frame in _KEYFRAMES)

    def _audio(self, tag: "_Bytes", time_us: int) -> list[SourcePacket]:
        head = tag.number(1)
        number = head >> 4
        if number == _ENHANCED_AUDIO:
            step, time_us = _modified(tag, head & 15, time_us)
            found = self._track_of(tag, step, _MULTITRACK)
            if found is None:
                return []
            step, four_cc, tag = found
            codec = _AUDIO_BY_FOURCC.get(four_cc, _shown(four_cc))
            return self._step("audio", codec, step, tag, time_us, 0, True)
        if number == _AAC:
            return self._step("audio", "aac", tag.number(1), tag, time_us, 0, True)
        return self._plain(_by_number(head), tag.rest(), time_us)

    def _track_of(self, tag: "_Bytes", step: int, multitrack: int) -> "tuple[int, bytes, _Bytes] | None":
        """The step, FourCC and body of the first track; None when this message is of another one."""
        if step != multitrack:
            return step, tag.take(4), tag
        several = tag.number(1)
        how, step = several >> 4, several & 15
        four_cc = tag.take(4) if how < 2 else b""
        while True:
            if how == 2:
                four_cc = tag.take(4)
            number = tag.number(1)
            body = _Bytes(tag.rest() if how == 0 else tag.take(tag.number(3)))
            if number == 0:
                return step, four_cc, body
            if tag.is_empty:
                self.skipped += 1
                return None

    def _step(
        self, kind: Kind, codec: str, step: int, tag: "_Bytes", time_us: int, composition_ms: int, keyframe: bool
    ) -> list[SourcePacket]:
        if step == _START:
            self._configure(kind, codec, tag.rest())
        elif step == _FRAMES or (step == _FRAMES_X and kind == "video"):
            return self._frame(kind, codec, tag.rest(), time_us, composition_ms, keyframe)
        elif step == _END:
            self._forms[kind] = None
        return []

    def _configure(self, kind: Kind, codec: str, config: bytes) -> None:
        if codec in ("vp8", "vp9"):
            config = b""  # it is in the frames
        if len(config) > LARGEST_CONFIG or (codec in _NEEDS_CONFIG and len(config) <= _LENGTHS.get(codec, 0)):
            raise _MalformedError
        rate, channels = _audio_numbers(codec, config)
        self._set_form(StreamForm(kind, codec, config, rate=rate, channels=channels))

    def _set_form(self, form: StreamForm) -> StreamForm:
        """The one that is there, when it is equal."""
        before = self._forms[form.kind]
        if before is None or before != form:
            self._forms[form.kind] = before = form
        return before

    def _frame(
        self, kind: Kind, codec: str, data: bytes, time_us: int, composition_ms: int, keyframe: bool
    ) -> list[SourcePacket]:
        form = self._forms[kind]
        if form is None or form.codec != codec:
            if codec in _NEEDS_CONFIG:
                self.skipped += 1
                return []
            form = self._set_form(StreamForm(kind, codec))
        if abs(composition_ms) > LONGEST_COMPOSITION_MS or not _holds_together(form, data):
            raise _MalformedError
        if not data:
            return []
        return [SourcePacket(form, data, time_us + composition_ms * 1000, time_us, keyframe)]

    def _plain(self, form: StreamForm, data: bytes, time_us: int, keyframe: bool = True) -> list[SourcePacket]:
        """Of a codec without a configuration."""
        return [SourcePacket(self._set_form(form), data, time_us, time_us, keyframe)] if data else []

    def _learn(self, data: bytes) -> None:
        try:
            values = amf.decode(data)
        except RtmpError:
            raise _MalformedError from None
        for value in values[1:] if values[:1] == ["onMetaData"] else []:
            if isinstance(value, dict):
                self.facts = dict(list(filter(_is_fact, value.items()))[:MOST_FACTS])


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def is_empty(self) -> bool:
        return self._at >= len(self._data)

    def take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise _MalformedError
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def number(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def signed(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big", signed=True)

    def rest(self) -> bytes:
        return self.take(len(self._data) - self._at)


def _modified(tag: _Bytes, step: int, time_us: int) -> tuple[int, int]:
    """The step behind all modifiers, and the time with the nanoseconds that one of them may have."""
    while step == _MOD_EX:
        size = tag.number(1) + 1
        value = tag.take(tag.number(2) + 1 if size == 256 else size)
        modifier = tag.number(1)
        step = modifier & 15
        if modifier >> 4 == 0:
            time_us += int.from_bytes(value[:3], "big") // 1000
    return step, time_us


def _by_number(head: int) -> StreamForm:
    """Of a sound whose tags say all of it."""
    number, wide, channels = head >> 4, head & 2, 1 + (head & 1)
    rate = (5512, 11025, 22050, 44100)[head >> 2 & 3]
    match number:
        case 2 | 14:
            return StreamForm("audio", "mp3")  # the frames know better
        case 0 | 3:
            return StreamForm("audio", "pcm_s16le" if wide else "pcm_u8", rate=rate, channels=channels)
        case 1:
            return StreamForm("audio", "adpcm_swf", rate=rate, channels=channels)
        case 4 | 5:
            return StreamForm("audio", "nellymoser", rate=16000 if number == 4 else 8000, channels=1)
        case 6:
            return StreamForm("audio", "nellymoser", rate=rate, channels=channels)
        case 7 | 8:
            return StreamForm("audio", "pcm_alaw" if number == 7 else "pcm_mulaw", rate=8000, channels=channels)
        case 11:
            return StreamForm("audio", "speex", rate=16000, channels=1)
    return StreamForm("audio", f"flv audio {number}")


def _audio_numbers(codec: str, config: bytes) -> tuple[int, int]:
    """Rate and channels, 0 where the configuration does not say."""
    if codec == "opus" and config.startswith(b"OpusHead") and len(config) > 9:
        return 48000, config[9]
    return _aac_numbers(config) if codec == "aac" else (0, 0)


def _aac_numbers(config: bytes) -> tuple[int, int]:
    """Of an AudioSpecificConfig. The rate is the one that is heard where spectral band replication is announced."""
    bits, left = int.from_bytes(config[:16].ljust(16, b"\0"), "big"), 128

    def take(count: int) -> int:
        nonlocal left
        left -= count
        return bits >> left & (1 << count) - 1

    def rate() -> int:
        index = take(4)
        return take(24) if index == 15 else _AAC_RATES[index] if index < len(_AAC_RATES) else 0

    kind = take(5)
    if kind == 31:
        kind = 32 + take(6)
    heard, channels = rate(), take(4)
    if kind in (_SBR, _PS):
        heard = rate()
    if kind == _PS:
        channels = 2
    return heard, 8 if channels == 7 else channels if channels < 7 else 0


def _holds_together(form: StreamForm, data: bytes) -> bool:
    """Whether the lengths before an access unit's units are those of what follows."""
    if (place := _LENGTHS.get(form.codec)) is None:
        return True
    size = (form.config[place] & 3) + 1
    at = 0
    while at + size <= len(data):
        at += size + int.from_bytes(data[at : at + size], "big")
    return at == len(data)


def _shown(four_cc: bytes) -> str:
    text = "".join(chr(byte) if 32 < byte < 127 else "?" for byte in four_cc)
    return f"flv {text}"


def _is_fact(item: tuple[str, amf.Value]) -> bool:
    name, value = item
    if not name.isprintable() or len(name) > LONGEST_FACT:
        return False
    if isinstance(value, str):
        return value.isprintable() and len(value) <= LONGEST_FACT
    return isinstance(value, bool) or (isinstance(value, float) and math.isfinite(value))
