"""Video that can go into a room as it is: access units made what rooms take, and whether they still are fit. Pure.

Invariant: a keyframe that is given on carries its parameter sets, whatever the source did with them.
"""

from dataclasses import dataclass, field
from typing import Protocol

from rtcloud.ingest import fitness, h264
from rtcloud.ingest.fitness import Limits
from rtcloud.ingest.media import SourcePacket, StreamForm


@dataclass(frozen=True, slots=True)
class Unit:
    """One frame as a room takes it. ``unfit`` says why it may not, and empty that it may."""

    data: bytes = field(repr=False)
    keyframe: bool
    width: int
    height: int
    unfit: str


class Reader(Protocol):
    def read(self, packet: SourcePacket) -> Unit | None:
        """None for what holds no picture, or cannot be read."""
        ...


def reader(form: StreamForm, limits: Limits) -> Reader | None:
    """None for codecs that no room takes."""
    if form.codec == "h264":
        return H264Reader(form, limits)
    return Vp8Reader(limits) if form.codec == "vp8" else None


class H264Reader:
    def __init__(self, form: StreamForm, limits: Limits) -> None:
        self._limits = limits
        self._sets: dict[tuple[int, int], bytes] = {}
        self._length_size = 0
        self._unfit = fitness.DAMAGED
        self._size = (form.width, form.height)
        if form.config.startswith(h264.START) or form.config.startswith(b"\0\0\1"):
            self._learn(h264.nal_units(form.config))
        elif form.config:
            try:
                configuration = h264.configuration(form.config)
            except ValueError:
                return
            self._length_size = configuration.length_size
            self._learn(list(configuration.sets))

    def read(self, packet: SourcePacket) -> Unit | None:
        try:
            units = h264.nal_units(packet.data, self._length_size)
        except ValueError:
            return None
        kinds = {unit[0] & 31 for unit in units}
        if not kinds & h264.SLICES:
            self._learn(units)
            return None
        if kinds & {h264.SPS, h264.PPS}:
            self._learn(units)
        keyframe = h264.IDR in kinds
        unfit = self._unfit
        if not unfit and not keyframe:
            if packet.keyframe:
                unfit = fitness.OPEN_GOP
            elif any(unit[0] & 31 == h264.SLICE and fitness.is_b_slice(unit) for unit in units):
                unfit = fitness.B_FRAMES
        given = [unit for unit in units if unit[0] & 31 not in h264.NOISE]
        if keyframe or packet.keyframe:
            given = [unit for unit in given if unit[0] & 31 not in (h264.SPS, h264.PPS)]
            given = [self._sets[key] for key in sorted(self._sets)] + given
        return Unit(h264.annex_b(given), keyframe or packet.keyframe, *self._size, unfit)

    def _learn(self, units: list[bytes]) -> None:
        for unit in units:
            kind = unit[0] & 31
            if kind not in (h264.SPS, h264.PPS) or len(unit) > h264.MAX_SET_BYTES:
                continue
            try:
                number = h264.set_number(unit)
            except ValueError:
                continue
            if (kind, number) in self._sets or len(self._sets) < h264.MAX_SETS:
                self._sets[kind, number] = unit
            if kind == h264.SPS:
                self._judge(unit)

    def _judge(self, unit: bytes) -> None:
        try:
            sequence = h264.sequence(unit)
        except ValueError:
            self._unfit = fitness.DAMAGED
            return
        self._unfit = fitness.unfit_h264(sequence, self._limits)
        self._size = (sequence.width, sequence.height)


class Vp8Reader:
    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._size = (0, 0)

    def read(self, packet: SourcePacket) -> Unit | None:
        if not packet.data:
            return None
        keyframe = not packet.data[0] & 1
        if keyframe:
            size = fitness.vp8_size(packet.data)
            if size is None:
                return None
            self._size = size
        unfit = fitness.HIDDEN if fitness.is_hidden_vp8(packet.data) else fitness.unfit_size(*self._size, self._limits)
        return Unit(packet.data, keyframe, *self._size, unfit)
