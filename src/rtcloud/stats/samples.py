"""Quality samples and how they are kept: a minute of one stream as a few hundred bytes. Pure.

A packed minute is one byte that says how (0 plain, 1 deflated) and a msgpack map from column number to a list: the
first value, then differences; nil is "not known". Column 0 holds the times, in tenths of a second within the minute.
Column numbers are never used for anything else; a reader leaves out the ones it does not know, and a column that
nothing was known of takes no byte. Bitrates are kept to 1 %: on a logarithmic scale a difference is one byte.
"""

import math
import zlib
from array import array
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from operator import attrgetter, sub
from typing import NamedTuple

import msgspec

MINUTE_MS = 60_000
#: Samples of one stream in one minute; twice the documented rate.
MOST_PER_MINUTE = 60

_TICK_MS = 100
_TIMES = 0
_UNKNOWN = -1
_MOST = 2**31 - 1
_PLAIN, _DEFLATED = b"\x00", b"\x01"


@dataclass(frozen=True, slots=True)
class Sample:
    """One measure, over the two seconds before ``at_ms``; None where it is not known. Losses are fractions 0–1,
    bitrates bit/s; ``stalled`` is the time without sound or with a standing picture.

    Without a peer it is the user's connection and what the user sends; with one, what the user receives from it.
    ``video`` is the camera's picture, ``aux`` the screen's."""

    at_ms: int
    uplink_loss: float | None = None
    downlink_loss: float | None = None
    rtt_ms: float | None = None
    jitter_ms: float | None = None
    uplink_bitrate: int | None = None
    downlink_bitrate: int | None = None
    audio_loss: float | None = None
    audio_bitrate: int | None = None
    audio_stalled_ms: int | None = None
    video_loss: float | None = None
    video_bitrate: int | None = None
    video_stalled_ms: int | None = None
    video_fps: float | None = None
    video_width: int | None = None
    video_height: int | None = None
    aux_loss: float | None = None
    aux_bitrate: int | None = None
    aux_stalled_ms: int | None = None
    aux_fps: float | None = None
    aux_width: int | None = None
    aux_height: int | None = None


class _Scale(NamedTuple):
    """How a value becomes a whole number, and what that is read as."""

    encode: Callable[[float], int]
    decode: Callable[[int], float]


_PLAIN_NUMBERS = _Scale(lambda value: int(value + 0.5) if value < _MOST else _MOST, lambda kept: kept)
_FRACTIONS = _Scale(lambda value: int(value * 1000 + 0.5) if value < 1000 else 1_000_000, lambda kept: kept / 1000)
_BITRATES = _Scale(
    lambda value: int(math.log1p(value if value < _MOST else _MOST) * 50 + 0.5),
    lambda kept: round(math.expm1(min(kept / 50, 50))),
)


def _scale(name: str) -> _Scale:
    return _FRACTIONS if name.endswith("_loss") else _BITRATES if name.endswith("_bitrate") else _PLAIN_NUMBERS


#: (number, field, scale) of each column; the number is a field's place in ``Sample``: new fields go to the end.
COLUMNS = tuple((number, one.name, _scale(one.name)) for number, one in enumerate(fields(Sample)) if number)
#: of a sample, in the order of the columns
_values = attrgetter(*(name for _, name, _ in COLUMNS))


@dataclass(slots=True)
class Minute:
    """Samples of one stream within one minute, being collected. ``number`` is that of the minute since 1970."""

    number: int
    ticks: "array[int]" = field(default_factory=lambda: array("H"))
    columns: "dict[int, array[int]]" = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ticks)

    def add(self, sample: Sample) -> bool:
        """False: there are too many already."""
        count = len(self.ticks)
        if count >= MOST_PER_MINUTE:
            return False
        self.ticks.append((sample.at_ms - self.number * MINUTE_MS) // _TICK_MS)
        for (number, _, scale), value in zip(COLUMNS, _values(sample), strict=True):
            if value is None or not value >= 0:  # also what is not a number
                continue
            column = self.columns.get(number)
            if column is None:
                column = self.columns[number] = array("i", [_UNKNOWN]) * count
            column.append(scale.encode(value))
        for column in self.columns.values():
            if len(column) == count:
                column.append(_UNKNOWN)
        return True

    def pack(self) -> bytes:
        body = {_TIMES: _differences(self.ticks)}
        body.update((number, _differences(column)) for number, column in self.columns.items())
        plain = msgspec.msgpack.encode(body)
        deflated = zlib.compress(plain, 1)
        return _DEFLATED + deflated if len(deflated) < len(plain) else _PLAIN + plain


def minute_of(at_ms: int) -> int:
    return at_ms // MINUTE_MS


def unpack(number: int, packed: bytes) -> list[Sample]:
    """The samples of a packed minute, in the order they were taken. ValueError: it is not one."""
    kind, rest = packed[:1], packed[1:]
    if kind == _DEFLATED:
        try:
            rest = zlib.decompress(rest)
        except zlib.error as error:
            raise ValueError("not a packed minute") from error
    elif kind != _PLAIN:
        raise ValueError("not a packed minute")
    body = msgspec.msgpack.decode(rest, type=dict[int, list[int | None]])  # its errors are ValueErrors
    times = [number * MINUTE_MS + (tick or 0) * _TICK_MS for tick in _sums(body.get(_TIMES, []))]
    values: dict[str, list[float | None]] = {}
    for column, name, scale in COLUMNS:
        if column in body:
            values[name] = [None if kept is None else scale.decode(kept) for kept in _sums(body[column])]
    return [
        Sample(at_ms, **{name: column[index] for name, column in values.items() if index < len(column)})  # type: ignore[arg-type]  # each as it was given
        for index, at_ms in enumerate(times)
    ]


def _differences(values: "array[int]") -> list[int | None]:
    if _UNKNOWN not in values:
        return [*values[:1], *map(sub, values[1:], values)]
    before, out = 0, list[int | None]()
    for value in values:
        if value == _UNKNOWN:
            out.append(None)
        else:
            out.append(value - before)
            before = value
    return out


def _sums(steps: Iterable[int | None]) -> list[int | None]:
    total, out = 0, list[int | None]()
    for step in steps:
        if step is None:
            out.append(None)
        else:
            total += step
            out.append(total)
    return out
