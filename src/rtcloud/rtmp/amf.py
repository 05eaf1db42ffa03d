"""AMF0, the values of RTMP's commands. Pure.

Numbers are floats, objects and associative arrays dicts, ``null`` and ``undefined`` None. References are refused: they
can make a value endless. Depth and count are bounded; sizes are bounded by the message.
"""

import struct
from collections.abc import Iterable
from typing import TypeAlias

from rtcloud.rtmp.errors import RtmpError

DEEPEST = 8
MOST_VALUES = 4096

Value: TypeAlias = "float | bool | str | None | dict[str, Value] | list[Value]"


class Associative(dict[str, Value]):
    """A dict that is written as an associative array, which is how metadata is sent."""


def encode(*values: Value) -> bytes:
    out = bytearray()
    for value in values:
        _write(out, value)
    return bytes(out)


def decode(data: bytes) -> list[Value]:
    """All values of ``data``. Raises ``RtmpError``."""
    reader = _Reader(data)
    values = []
    while reader.at < len(data):
        values.append(reader.value(0))
    return values


def _write(out: bytearray, value: Value) -> None:
    if value is None:
        out += b"\x05"
    elif isinstance(value, bool):
        out += b"\x01" + bytes([value])
    elif isinstance(value, float):
        out += b"\x00" + struct.pack(">d", value)
    elif isinstance(value, str):
        raw = value.encode()
        out += b"\x02" + struct.pack(">H", len(raw)) if len(raw) < 65536 else b"\x0c" + struct.pack(">I", len(raw))
        out += raw
    elif isinstance(value, dict):
        out += b"\x08" + struct.pack(">I", len(value)) if isinstance(value, Associative) else b"\x03"
        _write_members(out, value.items())
    else:
        out += b"\x0a" + struct.pack(">I", len(value))
        for item in value:
            _write(out, item)


def _write_members(out: bytearray, members: Iterable[tuple[str, Value]]) -> None:
    for name, member in members:
        raw = name.encode()
        out += struct.pack(">H", len(raw)) + raw
        _write(out, member)
    out += b"\x00\x00\x09"


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0
        self._values = 0

    def value(self, depth: int) -> Value:
        self._values += 1
        if depth > DEEPEST or self._values > MOST_VALUES:
            raise RtmpError("AMF value too deep or too large")
        match self._take(1)[0]:
            case 0x00:
                return self._number()
            case 0x01:
                return self._take(1) != b"\x00"
            case 0x02:
                return self._text(2)
            case 0x03:
                return self._members(depth)
            case 0x05 | 0x06 | 0x0D:  # null, undefined, unsupported
                return None
            case 0x08:
                self._take(4)  # a count that nobody keeps to
                return Associative(self._members(depth))
            case 0x0A:
                count = int.from_bytes(self._take(4), "big")
                if count > MOST_VALUES:
                    raise RtmpError("AMF array too large")
                return [self.value(depth + 1) for _ in range(count)]
            case 0x0B:
                moment = self._number()
                self._take(2)  # time zone, always 0
                return moment
            case 0x0C | 0x0F:  # long string, XML
                return self._text(4)
            case 0x10:
                self._text(2)  # the class
                return self._members(depth)
            case kind:
                raise RtmpError(f"AMF type {kind}")

    def _members(self, depth: int) -> dict[str, Value]:
        found: dict[str, Value] = {}
        while True:
            name = self._text(2)
            if self._data[self.at : self.at + 1] == b"\x09":
                self.at += 1
                return found
            found[name] = self.value(depth + 1)

    def _number(self) -> float:
        number: float = struct.unpack(">d", self._take(8))[0]
        return number

    def _text(self, length_bytes: int) -> str:
        return self._take(int.from_bytes(self._take(length_bytes), "big")).decode("utf-8", "replace")

    def _take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._data):
            raise RtmpError("AMF value cut off")
        taken = self._data[self.at : end]
        self.at = end
        return taken
