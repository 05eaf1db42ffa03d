"""The sound of a source: Opus as it is, everything else decoded, put in step with its times, made loud, and encoded.

``SoundLine`` turns decoded pieces with wobbling times into sound without holes: within a run samples follow each other,
and a lasting difference to the times (a crystal that is wrong) is followed by stretching too little to hear. A hole is
silence, an overlap is cut, a long hole is a new beginning.
"""

from collections.abc import Iterator
from typing import cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from rtcloud.ingest import fitness
from rtcloud.ingest.media import Handling, RoomPacket, SourcePacket, StreamForm
from rtcloud.mixer import audio as sound
from rtcloud.mixer.encoding import OpusEncoder
from rtcloud.mixer.timeline import RATE, Samples

#: what the encoder looks ahead, by which its sound comes late
ENCODER_DELAY_US = 6_500
BITRATES = {1: 64_000, 2: 128_000}
MAX_VOLUME = 200
#: what one may make us resample: hertz, and the seconds of a frame
RATES = (4_000, 192_000)
MAX_FRAME_S = 5
#: smoothed difference at which stretching starts and ends
SLIP_START, SLIP_END = RATE * 3 // 1000, RATE // 2000
SLIP_RATE = 0.005
STEADY = 32
#: a difference beyond this is a hole or an overlap
HOLE = RATE * 40 // 1000
MAX_HOLE = RATE
_FADE = RATE * 25 // 10_000
#: so many packets that do not decode, and nothing before: nobody can use the stream
HOPELESS = 100


class SoundLine:
    """Positions are samples at 48 kHz; what is taken begins at ``begin`` and has no hole."""

    def __init__(self, channels: int, begin: int) -> None:
        self._channels = channels
        self._blocks: list[Samples] = []
        self.begin = begin
        self.end = begin
        self._difference = 0.0
        self._slipping = False
        self._fades_in = True

    def put(self, at: int, samples: Samples) -> bool:
        """False when it does not belong here any more: a new line must begin with it."""
        ahead = at - self.end
        if ahead > MAX_HOLE or ahead < -MAX_HOLE:
            return False
        if ahead > HOLE:
            self._append(np.zeros((self._channels, ahead), np.float32))
            self._fades_in = True
            self._difference = 0.0
        elif ahead < -HOLE:
            samples = samples[:, -ahead:]
            self._difference = 0.0
        else:
            self._difference += (ahead - self._difference) / STEADY
            samples = self._slipped(samples)
        if samples.shape[1]:
            if self._fades_in:
                samples = samples.copy()
                count = min(_FADE, samples.shape[1])
                samples[:, :count] *= np.linspace(0, 1, count, dtype=np.float32)
                self._fades_in = False
            self._append(samples)
        return True

    def take(self, count: int) -> Samples | None:
        """The next so many samples, when they are there."""
        if self.end - self.begin < count:
            return None
        whole = self._blocks[0] if len(self._blocks) == 1 else np.concatenate(self._blocks, axis=1)
        self._blocks = [whole[:, count:]] if whole.shape[1] > count else []
        self.begin += count
        return whole[:, :count]

    def fill(self, count: int) -> None:
        """Silence to the end of a block of that length."""
        missing = -(self.end - self.begin) % count
        if missing:
            self._append(np.zeros((self._channels, missing), np.float32))

    def _append(self, samples: Samples) -> None:
        self._blocks.append(samples)
        self.end += samples.shape[1]

    def _slipped(self, samples: Samples) -> Samples:
        count = samples.shape[1]
        self._slipping = abs(self._difference) > (SLIP_END if self._slipping else SLIP_START)
        if not self._slipping or count < 2:
            return samples
        limit = max(1, int(count * SLIP_RATE))
        step = max(-limit, min(limit, round(self._difference)))
        self._difference -= step
        at = np.linspace(0, count - 1, count + step)
        across = np.arange(count)
        return np.stack([np.interp(at, across, channel) for channel in samples]).astype(np.float32)


class SoundTrack:
    """One source's sound. ``put`` takes packets with the shift that makes their times continuous."""

    def __init__(self, volume: int) -> None:
        self._form: StreamForm | None = None
        self._copies = False
        self._decoder: _Decoder | None = None
        self._line: SoundLine | None = None
        self._filled_to = 0
        self._encoder: OpusEncoder | None = None
        self._channels = 0
        self._gain = self._wanted_gain = 1.0
        self._volume = 100
        self._last_us: int | None = None
        self._errors = 0
        self._handling: Handling | None = None
        self.is_left_out = False
        self.is_used = False
        self.set_volume(volume)
        self._gain = self._wanted_gain

    def set_volume(self, percent: int) -> None:
        self._volume = max(0, min(MAX_VOLUME, percent))
        self._wanted_gain = self._volume / 100

    def take_handling(self) -> Handling | None:
        """What has changed since it was asked."""
        handling, self._handling = self._handling, None
        return handling

    def cut(self) -> None:
        if self._form is not None and self._decoder is not None:
            self._decoder = _Decoder(self._form)

    def put(self, packet: SourcePacket, shift_us: int) -> list[RoomPacket]:
        out: list[RoomPacket] = []
        if packet.form is not self._form and packet.form != self._form:
            out += self.flush()
            self._begin(packet.form)
        if self.is_left_out:
            return out
        if self._copies and (self._volume != 100 or not fitness.opus_ticks(packet.data)):
            self._transcode(packet.form, "volume" if self._volume != 100 else "long packets")
        time_us = packet.pts_us + shift_us
        if self._copies:
            return [*out, *self._given(packet.data, time_us)]
        return [*out, *self._sound(packet.data, time_us)]

    def flush(self) -> list[RoomPacket]:
        """What is held, filled up with silence."""
        out: list[RoomPacket] = []
        if self._decoder is not None:
            out += [packet for samples, at in self._decoder.flush() for packet in self._sounding(samples, at)]
            self.cut()
        return out + self._end_line()

    def _begin(self, form: StreamForm) -> None:
        self._form, self._decoder, self._errors, self.is_left_out = form, None, 0, False
        self._copies = form.codec == "opus" and (
            bool(fitness.opus_channels(form.config)) if form.config else form.channels <= 2
        )
        if self._copies:
            self.is_used = True
            self._handling = Handling("audio", "copied", "", _named(form), _named(form))
        else:
            self._transcode(form, "more than two channels" if form.codec == "opus" else fitness.CODEC)

    def _transcode(self, form: StreamForm, why: str) -> None:
        self._copies = False
        try:
            self._decoder = _Decoder(form)
        except (av.FFmpegError, ValueError) as error:
            self._leave_out(form, f"no decoder: {type(error).__name__}")
            return
        self._why = why

    def _leave_out(self, form: StreamForm, why: str) -> None:
        self.is_left_out, self.is_used = True, False
        self._handling = Handling("audio", "left_out", why, _named(form))

    def _given(self, data: bytes, time_us: int) -> list[RoomPacket]:
        if self._last_us is not None and time_us <= self._last_us:
            return []
        self._last_us = time_us
        return [RoomPacket("audio", "opus", data, time_us)]

    def _sound(self, data: bytes, time_us: int) -> list[RoomPacket]:
        assert self._decoder is not None
        assert self._form is not None
        errors = self._decoder.errors
        pieces = self._decoder.decode(data, time_us)
        if pieces:
            self._errors = -1
        elif self._errors >= 0 and self._decoder.errors > errors:
            self._errors += 1
            if self._errors >= HOPELESS:
                self._leave_out(self._form, "nothing that decodes")
        return [packet for samples, at in pieces for packet in self._sounding(samples, at)]

    def _sounding(self, samples: Samples, at: int) -> list[RoomPacket]:
        out: list[RoomPacket] = []
        channels = samples.shape[0]
        if channels != self._channels or self._encoder is None:
            out += self._end_line()
            self._channels = channels
            self._encoder = OpusEncoder(channels, BITRATES[channels])
            self._tell_transcoded()
        elif not self.is_used:
            self._tell_transcoded()
        if self._line is None or not self._line.put(at, samples):
            out += self._end_line()
            if 0 < self._filled_to - at <= HOLE:  # with what filled the last block up
                at = self._filled_to
            self._line = SoundLine(channels, at)
            self._line.put(at, samples)
        return out + self._encoded()

    def _tell_transcoded(self) -> None:
        assert self._form is not None
        self.is_used = True
        spread = "mono" if self._channels == 1 else "stereo"
        self._handling = Handling("audio", "transcoded", self._why, _named(self._form), f"opus 48000 Hz {spread}")

    def _end_line(self) -> list[RoomPacket]:
        if self._line is None:
            return []
        self._line.fill(sound.BLOCK)
        out, self._filled_to, self._line = self._encoded(), self._line.end, None
        return out

    def _encoded(self) -> list[RoomPacket]:
        out: list[RoomPacket] = []
        if self._line is None or self._encoder is None:
            return out
        while (samples := self._line.take(sound.BLOCK)) is not None:
            begin = self._line.begin - sound.BLOCK
            before, self._gain = self._gain, self._wanted_gain
            if not before == self._gain == 1.0:
                samples = sound.ramped(samples, before, self._gain)
            for packet in self._encoder.encode(sound.bend(samples), begin):
                out += self._given(packet.data, begin * 1_000_000 // RATE - ENCODER_DELAY_US)
        return out


class _Decoder:
    """Gives samples at 48 kHz of one or two channels, with their positions."""

    def __init__(self, form: StreamForm) -> None:
        context = cast(av.AudioCodecContext, av.CodecContext.create(form.codec, "r"))
        if form.config:
            context.extradata = form.config
        if 0 < form.rate <= RATES[1]:
            context.sample_rate = form.rate
        if form.channels in (1, 2):
            context.layout = "mono" if form.channels == 1 else "stereo"
        self._context = context
        self._resampler: AudioResampler | None = None
        self._input: tuple[str, str, int] | None = None
        self._next = 0
        self.errors = 0

    def decode(self, data: bytes, time_us: int) -> list[tuple[Samples, int]]:
        self._next = time_us * RATE // 1_000_000
        try:
            return list(self._resampled(self._context.decode(av.Packet(data))))
        except av.FFmpegError:
            self.errors += 1
            return []

    def flush(self) -> list[tuple[Samples, int]]:
        try:
            return list(self._resampled(self._context.decode(None)))
        except av.FFmpegError:
            return []

    def _resampled(self, frames: list[AudioFrame]) -> Iterator[tuple[Samples, int]]:
        for frame in frames:
            if not RATES[0] <= frame.sample_rate <= RATES[1] or frame.samples > frame.sample_rate * MAX_FRAME_S:
                self.errors += 1
                continue
            form = (frame.format.name, frame.layout.name, frame.sample_rate)
            if form != self._input or self._resampler is None:
                layout = "mono" if frame.layout.nb_channels == 1 else "stereo"
                self._resampler = AudioResampler("fltp", layout, RATE)
                self._input = form
            frame.pts = None
            for piece in self._resampler.resample(frame):
                samples = np.asarray(piece.to_ndarray(), np.float32)
                if not np.isfinite(samples).all():
                    samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0)
                at, self._next = self._next, self._next + samples.shape[1]
                yield samples, at


def _named(form: StreamForm) -> str:
    spread = {0: "", 1: " mono", 2: " stereo"}.get(form.channels, f" {form.channels} channels")
    return form.codec + (f" {form.rate} Hz" if form.rate else "") + spread
