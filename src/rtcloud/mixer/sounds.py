"""The sound half of a mixer: every audio track decoded, weighed and added up, block after block.

Each track has a gain that is changed within one block without a click, and each user a loudness, as heard in the mix
over the last moments.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from rtcloud.mixer import audio
from rtcloud.mixer.encoding import AacEncoder, EncodedPacket, OpusEncoder
from rtcloud.mixer.form import InputFrame, MixCounts, MixFormat
from rtcloud.mixer.timeline import RATE, AudioTimeline, Samples

BLOCK_US = audio.BLOCK * 1_000_000 // RATE
#: blocks over which loudness is measured: 200 ms
LEVEL_BLOCKS = 10
#: what counts as loudness 0; full scale is 100
FLOOR_DB = -60.0
#: gains above this are not given
MAX_GAIN = 4.0


@dataclass(slots=True)
class _Track:
    user_id: str
    decoder: audio.OpusDecoder
    timeline: AudioTimeline
    gain: float
    wanted_gain: float
    powers: deque[float] = field(default_factory=lambda: deque(maxlen=LEVEL_BLOCKS))


class Sounds:
    def __init__(self, form: MixFormat, write: Callable[[EncodedPacket], None], counts: MixCounts) -> None:
        self._form = form
        self._write = write
        self._counts = counts
        self._tracks: dict[str, _Track] = {}
        self._limiter = audio.Limiter()
        self._encoders = _encoders(form)
        self._block = 0

    @property
    def position_us(self) -> int:
        """Where the next block begins, from the output's beginning."""
        return self._block * BLOCK_US

    def reform(self, form: MixFormat) -> None:
        """Another bitrate is for codecs that come anew: a running encoder's frames must not tear."""
        running = {encoder.codec: encoder for encoder in self._encoders}
        self._encoders = [running.get(encoder.codec, encoder) for encoder in _encoders(form)]
        self._form = form

    def add(self, track_id: str, user_id: str, gain: float) -> None:
        if track_id not in self._tracks:
            channels = self._form.channels
            gain = _bounded(gain)
            decoder, timeline = audio.OpusDecoder(channels), AudioTimeline(channels)
            self._tracks[track_id] = _Track(user_id, decoder, timeline, gain, gain)

    def set_gain(self, track_id: str, gain: float) -> None:
        track = self._tracks.get(track_id)
        if track is not None:
            track.wanted_gain = _bounded(gain)

    def drop(self, track_id: str) -> None:
        track = self._tracks.pop(track_id, None)
        if track is not None:
            self._counts.undecodable += track.decoder.errors
            self._counts.late_sounds += track.timeline.late
            self._counts.sound_jumps += track.timeline.jumps

    def push(self, track_id: str, frame: InputFrame, at_us: int, *, is_exact: bool) -> None:
        """``at_us`` is the frame's time from the output's beginning."""
        track = self._tracks[track_id]
        samples = track.decoder.decode(frame.data)
        if samples is not None:
            track.timeline.push(at_us * RATE // 1_000_000, frame.rtp_time, samples, is_exact=is_exact)

    def mix(self) -> None:
        """The next block."""
        start = self._block * audio.BLOCK
        self._block += 1
        blocks = [self._read(track, start) for track in self._tracks.values()]
        total = self._limiter.apply(audio.add(blocks, self._form.channels, audio.BLOCK))
        for encoder in self._encoders:
            for packet in encoder.encode(total, start):
                self._write(packet)

    def skip_to(self, at_us: int) -> None:
        """Nothing before this moment of the output is made any more."""
        self._block = max(self._block, at_us // BLOCK_US)

    def levels(self) -> dict[str, int]:
        """0 to 100 for each user: the loudest of the tracks."""
        levels: dict[str, int] = {}
        for track in self._tracks.values():
            power = sum(track.powers) / LEVEL_BLOCKS
            levels[track.user_id] = max(levels.get(track.user_id, 0), loudness(power))
        return levels

    def flush(self) -> None:
        for encoder in self._encoders:
            for packet in encoder.flush():
                self._write(packet)

    def _read(self, track: _Track, start: int) -> Samples | None:
        samples = track.timeline.read(start, audio.BLOCK)
        gain, track.gain = track.gain, track.wanted_gain
        if samples is not None and not gain == track.gain == 1.0:
            samples = audio.ramped(samples, gain, track.gain)
        track.powers.append(0.0 if samples is None else audio.power(samples))
        return samples


def loudness(power: float) -> int:
    """Mean square of samples (full scale 1) to 0…100, in steps of equal loudness."""
    if not power > 0.0:
        return 0
    return round(max(0.0, min(100.0, 100 * (1 - 10 * math.log10(power) / FLOOR_DB))))


def _bounded(gain: float) -> float:
    return max(0.0, min(MAX_GAIN, gain)) if np.isfinite(gain) else 1.0


def _encoders(form: MixFormat) -> list[AacEncoder | OpusEncoder]:
    encoders: list[AacEncoder | OpusEncoder] = []
    if "aac" in form.audio_codecs:
        encoders.append(AacEncoder(form.sample_rate, form.channels, form.audio_bitrate, fast=form.fast_audio))
    if "opus" in form.audio_codecs:
        encoders.append(OpusEncoder(form.channels, form.audio_bitrate))
    return encoders
