"""Reading H.264 as far as a copy needs it: NAL units, what a sequence parameter set promises, what a slice is. Pure.

Everything here comes from strangers: what cannot be read is a ``ValueError``, and nothing is believed beyond its bytes.
"""

from dataclasses import dataclass

SLICE, IDR, SEI, SPS, PPS, DELIMITER, END_OF_SEQUENCE, END_OF_STREAM, FILLER = 1, 5, 6, 7, 8, 9, 10, 11, 12
SLICES = frozenset(range(1, 6))
#: what says nothing to a receiver of RTP
NOISE = frozenset({DELIMITER, END_OF_SEQUENCE, END_OF_STREAM, FILLER})
START = b"\0\0\0\1"

#: profiles whose parameter sets have a chroma format
_HIGH = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_EXTENDED_SAR = 255
_SARS = (
    *((0, 1), (1, 1), (12, 11), (10, 11), (16, 11), (40, 33), (24, 11), (20, 11), (32, 11)),
    *((80, 33), (18, 11), (15, 11), (64, 33), (160, 99), (4, 3), (3, 2), (2, 1)),
)
#: more than this is no stream
_MAX_UNITS = 4096
MAX_SETS = 32
MAX_SET_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Configuration:
    """An avcC: how long the length before each NAL unit is, and the parameter sets."""

    length_size: int
    sets: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """What a sequence parameter set says. ``reorder`` is None when it does not say how pictures are reordered."""

    profile: int
    chroma: int  # 1: 4:2:0
    depth: int
    frames_only: bool
    poc_type: int
    width: int
    height: int
    sar: tuple[int, int]
    reorder: int | None


def configuration(data: bytes) -> Configuration:
    if len(data) < 7 or data[0] != 1:
        raise ValueError("no avcC")
    sets: list[bytes] = []
    at = 5
    for mask in (31, 255):
        if at >= len(data):
            raise ValueError("avcC is cut off")
        count = data[at] & mask
        at += 1
        for _ in range(count):
            size = int.from_bytes(data[at : at + 2], "big")
            unit = data[at + 2 : at + 2 + size]
            if len(unit) != size or len(sets) >= MAX_SETS:
                raise ValueError("avcC is cut off")
            if unit:
                sets.append(unit)
            at += 2 + size
    return Configuration((data[4] & 3) + 1, tuple(sets))


def nal_units(data: bytes, length_size: int = 0) -> list[bytes]:
    """Of one access unit: with lengths before them, or in Annex B (0)."""
    if not length_size:
        parts = data.split(b"\0\0\1", _MAX_UNITS)[1:]
        return [unit for part in parts if (unit := part.rstrip(b"\0"))]
    units: list[bytes] = []
    at = 0
    while at + length_size <= len(data) and len(units) < _MAX_UNITS:
        size = int.from_bytes(data[at : at + length_size], "big")
        at += length_size
        if at + size > len(data):
            raise ValueError("a NAL unit is cut off")
        if size:
            units.append(data[at : at + size])
        at += size
    return units


def annex_b(units: list[bytes]) -> bytes:
    return b"".join(START + unit for unit in units)


def set_number(unit: bytes) -> int:
    """The number by which an SPS or PPS is referred to."""
    return _Bits(unit[4 if unit[0] & 31 == SPS else 1 :][:8]).unsigned()


def slice_kind(unit: bytes) -> int:
    """0 P, 1 B, 2 I, 3 SP, 4 SI."""
    bits = _Bits(unit[1:16])
    bits.unsigned()  # first_mb_in_slice
    return bits.unsigned() % 5


def sequence(unit: bytes) -> Sequence:
    """Of an SPS, its NAL header included."""
    if len(unit) < 5 or unit[0] & 31 != SPS:
        raise ValueError("no SPS")
    bits = _Bits(unit[1:1024].replace(b"\0\0\3", b"\0\0"))
    profile = bits.take(8)
    bits.take(16)  # constraints, level
    bits.unsigned()
    chroma, depth, separate = 1, 8, 0
    if profile in _HIGH:
        chroma = bits.unsigned()
        separate = bits.take(1) if chroma == 3 else 0
        depth = 8 + max(bits.unsigned(), bits.unsigned())
        bits.take(1)
        if bits.take(1):
            _skip_scaling(bits, 8 if chroma != 3 else 12)
    bits.unsigned()  # log2_max_frame_num
    poc_type = bits.unsigned()
    if poc_type == 0:
        bits.unsigned()
    elif poc_type == 1:
        bits.take(1)
        bits.unsigned(), bits.unsigned()
        for _ in range(_at_most(bits.unsigned(), 255)):
            bits.unsigned()
    bits.unsigned()  # max_num_ref_frames
    bits.take(1)
    across, down = bits.unsigned() + 1, bits.unsigned() + 1
    frames_only = bits.take(1)
    if not frames_only:
        bits.take(1)
    bits.take(1)
    left = right = top = bottom = 0
    if bits.take(1):
        left, right, top, bottom = (bits.unsigned() for _ in range(4))
    unit_x = 2 if chroma in (1, 2) and not separate else 1
    unit_y = (2 if chroma == 1 and not separate else 1) * (2 - frames_only)
    width = across * 16 - unit_x * (left + right)
    height = down * 16 * (2 - frames_only) - unit_y * (top + bottom)
    if not (0 < width <= 16_384 and 0 < height <= 16_384):
        raise ValueError("no size for a picture")
    sar, reorder = _usability(bits) if bits.take(1) else ((1, 1), None)
    return Sequence(profile, chroma, depth, bool(frames_only), poc_type, width, height, sar, reorder)


class _Bits:
    """Reads bits, most significant first; behind the end is a ``ValueError``."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = len(data) * 8

    def take(self, count: int) -> int:
        if count > self._left:
            raise ValueError("cut off")
        self._left -= count
        return self._value >> self._left & (1 << count) - 1

    def unsigned(self) -> int:
        """Exp-Golomb."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > 32:
                raise ValueError("no number")
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        number = self.unsigned()
        return (number + 1) // 2 if number & 1 else -(number // 2)


def _at_most(number: int, limit: int) -> int:
    if number > limit:
        raise ValueError("too many")
    return number


def _skip_scaling(bits: _Bits, lists: int) -> None:
    for index in range(lists):
        if not bits.take(1):
            continue
        last = following = 8
        for _ in range(16 if index < 6 else 64):
            if following:
                following = (last + bits.signed()) & 255
            last = following or last


def _usability(bits: _Bits) -> tuple[tuple[int, int], int | None]:
    """The VUI: the pixels' shape, and how many pictures may wait for others."""
    sar = (1, 1)
    if bits.take(1):
        idc = bits.take(8)
        if idc == _EXTENDED_SAR:
            sar = (bits.take(16), bits.take(16))
        elif idc < len(_SARS):
            sar = _SARS[idc]
        if not (sar[0] and sar[1]):
            sar = (1, 1)
    if bits.take(1):
        bits.take(1)
    if bits.take(1):
        bits.take(4)
        if bits.take(1):
            bits.take(24)
    if bits.take(1):
        bits.unsigned(), bits.unsigned()
    if bits.take(1):
        bits.take(32), bits.take(32), bits.take(1)
    hrd = 0
    for _ in range(2):
        if bits.take(1):
            hrd = 1
            count = _at_most(bits.unsigned(), 31) + 1
            bits.take(8)
            for _ in range(count):
                bits.unsigned(), bits.unsigned(), bits.take(1)
            bits.take(20)
    if hrd:
        bits.take(1)
    bits.take(1)
    if not bits.take(1):
        return sar, None
    bits.take(1)
    for _ in range(4):
        bits.unsigned()
    return sar, bits.unsigned()
