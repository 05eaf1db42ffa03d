"""Sound: Opus packets to samples, many samples to one sum that never clips.

Everything runs at 48 kHz, Opus's own rate; the encoder resamples once if another rate is asked for.
"""

from collections.abc import Iterable
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame

from rtcloud.mixer.timeline import RATE, Samples

#: samples mixed at a time
BLOCK = RATE // 50
#: above this the limiter turns down; above the second figure samples are bent
CEILING = 0.9
KNEE = 0.95
#: how much of the missing gain comes back per block (about half a second to full)
RELEASE = 0.06


class OpusDecoder:
    """One track's decoder. Packets that do not decode are silence, never an error."""

    def __init__(self, channels: int) -> None:
        self._channels = channels
        self._context = self._open()
        self.errors = 0

    def decode(self, packet: bytes) -> Samples | None:
        if not packet:
            return None
        try:
            frames = self._context.decode(av.Packet(packet))
        except av.FFmpegError:
            self.errors += 1
            self._context = self._open()
            return None
        pieces = [_samples(frame) for frame in frames if frame.sample_rate == RATE and self._is_expected(frame)]
        if not pieces:
            return None
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces, axis=1)

    def _is_expected(self, frame: AudioFrame) -> bool:
        return frame.format.name == "fltp" and len(frame.planes) == self._channels

    def _open(self) -> av.AudioCodecContext:
        context = av.AudioCodecContext.create("opus", "r")
        context.sample_rate = RATE
        context.layout = "stereo" if self._channels == 2 else "mono"
        return context


def _samples(frame: AudioFrame) -> Samples:
    planes = [np.frombuffer(cast(Any, plane), np.float32, frame.samples) for plane in frame.planes]
    return planes[0][np.newaxis] if len(planes) == 1 else np.stack(planes)


class Limiter:
    """Turns the sum down smoothly before it is too loud and back up slowly; what is still too loud within the first
    block is bent, not cut."""

    def __init__(self) -> None:
        self._gain = 1.0

    def apply(self, samples: Samples) -> Samples:
        peak = max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))
        if not np.isfinite(peak):
            return np.zeros_like(samples)
        wanted = 1.0 if peak <= CEILING else CEILING / peak
        if wanted >= self._gain:
            wanted = min(wanted, self._gain + (1.0 - self._gain) * RELEASE + 1e-4)
        if wanted == 1.0 and self._gain == 1.0:
            return samples
        gains = np.full(samples.shape[1], wanted, np.float32)
        if wanted < self._gain:  # down within 2.5 ms, up over the whole block
            attack = min(RATE // 400, samples.shape[1])
            gains[:attack] = np.linspace(self._gain, wanted, attack, dtype=np.float32)
        else:
            gains = np.linspace(self._gain, wanted, samples.shape[1], dtype=np.float32)
        self._gain = wanted
        return bend(samples * gains)


def bend(samples: Samples) -> Samples:
    """Leaves samples up to ``KNEE`` as they are and presses the rest below 1."""
    size = np.abs(samples)
    if float(size.max(initial=0.0)) <= KNEE:
        return samples
    room = 1.0 - KNEE
    bent: Samples = np.where(size > KNEE, np.sign(samples) * (KNEE + room * np.tanh((size - KNEE) / room)), samples)
    return bent.astype(np.float32)


def add(blocks: Iterable[Samples | None], channels: int, count: int) -> Samples:
    """The sum of the blocks; silent ones are None."""
    total: Samples | None = None
    for block in blocks:
        if total is None:
            total = None if block is None else block.copy()
        elif block is not None:
            total += block
    return np.zeros((channels, count), np.float32) if total is None else total


def ramped(samples: Samples, before: float, after: float) -> Samples:
    """With the gain going from one value to the other over the block; the same twice is that gain all along."""
    if before == after:
        return samples * np.float32(after)
    louder: Samples = samples * np.linspace(before, after, samples.shape[1], dtype=np.float32)
    return louder


def power(samples: Samples) -> float:
    """The mean square; NaN or infinite for what is no sound."""
    flat = samples.ravel()
    return float(np.dot(flat, flat)) / max(1, flat.size)
