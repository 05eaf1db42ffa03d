"""SEI messages in H.264 and H.265: a publisher's own data inside its video, in step with the pictures.

``insert`` puts messages into an encoded frame before it is written, ``read`` takes them from a frame received; the
server forwards frames as they are, so messages come in the order of the frames and are recorded with them. Frames are
access units in Annex B. A message is user data with a type of its own (243 unless another is given) or, with type 5,
under a UUID. Pure; any bytes are read without an error, and no more than a frame's head is looked at.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

#: What messages are sent as unless something else is said.
CUSTOM = 243
#: User data under a UUID.
UNREGISTERED = 5
#: Types that may be used beside it; 244 is the server's.
CUSTOM_TYPES = frozenset(range(100, 255)) - {244}
#: Bytes of one message.
MAX_DATA = 1000
#: Bytes of one message that the server makes itself.
MAX_OWN_DATA = 32 * 1024
#: Messages that are put into, or read from, one frame.
MAX_MESSAGES = 32
UUID_SIZE = 16

Codec = Literal["h264", "h265"]

_START = b"\x00\x00\x01"
_ZEROS = re.compile(b"\x00\x00(?=[\x00-\x03])")
#: Units before a frame's first picture; more is not a frame.
_MAX_UNITS = 64
#: Bytes of one unit that are looked at.
_MAX_UNIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class _Units:
    """How a codec marks its units: ``head`` begins one of messages."""

    shift: int
    bits: int
    messages: int
    pictures: range
    head: bytes

    def kind(self, first: int) -> int:
        return first >> self.shift & self.bits


_CODECS: dict[Codec, _Units] = {
    "h264": _Units(0, 31, 6, range(1, 6), b"\x06"),
    "h265": _Units(1, 63, 39, range(0, 32), b"\x4e\x01"),
}


@dataclass(frozen=True, slots=True)
class SeiMessage:
    """``uuid`` has 16 bytes with type 5, none otherwise."""

    data: bytes
    payload_type: int = CUSTOM
    uuid: bytes = b""


def insert(frame: bytes, messages: Iterable[SeiMessage], *, codec: Codec = "h264", max_data: int = MAX_DATA) -> bytes:
    """The frame with the messages before its first picture. ValueError for a message that cannot be sent, and for a
    frame without a picture."""
    marks = _CODECS[codec]
    units = [_unit(message, marks, max_data) for message in messages]
    if not units:
        return frame
    if len(units) > MAX_MESSAGES:
        raise ValueError(f"at most {MAX_MESSAGES} messages in a frame")
    for start, first, _ in _units(frame, marks):
        if marks.kind(frame[first]) in marks.pictures:
            return b"".join((frame[:start], *units, frame[start:]))
    raise ValueError(f"not a frame of {codec}: there is no picture in it")


def read(frame: bytes, *, codec: Codec = "h264") -> list[SeiMessage]:
    """The user's messages in a frame, in their order. What is broken is left out."""
    marks = _CODECS[codec]
    messages: list[SeiMessage] = []
    for _, first, end in _units(frame, marks):
        kind = marks.kind(frame[first])
        if kind in marks.pictures:
            break
        if kind == marks.messages:
            begin = first + len(marks.head)
            messages += _read_unit(_unescape(frame[begin : min(end, begin + _MAX_UNIT)]))
    return messages[:MAX_MESSAGES]


def _units(frame: bytes, marks: _Units) -> Iterator[tuple[int, int, int]]:
    """Of each unit where its start code begins, where it begins, and where it ends."""
    at = frame.find(_START)
    for _ in range(_MAX_UNITS):
        first = at + len(_START)
        if at < 0 or first >= len(frame):
            return
        # A unit's head is all that matters unless it holds messages: a picture's end need not be looked for.
        following = -1 if marks.kind(frame[first]) in marks.pictures else frame.find(_START, first)
        # A zero before a start code belongs to it.
        start = at - 1 if at > 0 and frame[at - 1] == 0 else at
        end = len(frame) if following < 0 else following
        yield start, first, end
        at = following


def _unit(message: SeiMessage, marks: _Units, max_data: int) -> bytes:
    if len(message.data) > max_data:
        raise ValueError(f"a message has at most {max_data} bytes")
    if not message.data:
        raise ValueError("a message has at least one byte")
    if message.payload_type == UNREGISTERED:
        if len(message.uuid) != UUID_SIZE:
            raise ValueError(f"a message of type {UNREGISTERED} has a UUID of {UUID_SIZE} bytes")
    elif message.payload_type not in CUSTOM_TYPES:
        raise ValueError(f"not a type of user messages: {message.payload_type}")
    elif message.uuid:
        raise ValueError(f"only a message of type {UNREGISTERED} has a UUID")
    payload = message.uuid + message.data
    content = _number(message.payload_type) + _number(len(payload)) + payload + b"\x80"
    return b"\x00" + _START + marks.head + _escape(content)


def _number(value: int) -> bytes:
    return b"\xff" * (value // 255) + bytes([value % 255])


def _read_unit(content: bytes) -> Iterator[SeiMessage]:
    # The last byte that is not zero holds the bit that ends the unit.
    content = content.rstrip(b"\x00")[:-1]
    at = 0
    while at < len(content):
        kind, at = _read_number(content, at)
        size, at = _read_number(content, at)
        payload = content[at : at + size]
        at += size
        if at > len(content):
            return
        if kind == UNREGISTERED and size > UUID_SIZE:
            yield SeiMessage(payload[UUID_SIZE:], kind, payload[:UUID_SIZE])
        elif kind in CUSTOM_TYPES and size:
            yield SeiMessage(payload, kind)


def _read_number(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    while at < len(content) and content[at] == 255:
        value += 255
        at += 1
    # What ends within a number has no content either.
    return (value + content[at], at + 1) if at < len(content) else (value, len(content) + 1)


def _escape(content: bytes) -> bytes:
    """No start code within: after two zeros a byte of 0 to 3 is preceded by a 3."""
    return _ZEROS.sub(b"\x00\x00\x03", content)


def _unescape(content: bytes) -> bytes:
    parts: list[bytes] = []
    begin = 0
    while (at := content.find(b"\x00\x00\x03", begin)) >= 0:
        parts.append(content[begin : at + 2])
        begin = at + 3
    return b"".join((*parts, content[begin:]))
