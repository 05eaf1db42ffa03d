"""Sound and pictures of a row of segments, on one clock, decoded as they are asked for.

A segment's first packet stands at the moment that its name tells. Where segments follow one another without a seam,
their own times go on, so that a name's rounding to milliseconds is never heard; sound then also keeps its decoder,
which needs the frame before. What does not decode is left out and noted in ``faults``.
"""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.video.frame import VideoFrame

from rtcloud.mixer.encoding import TICKS
from rtcloud.mixer.timeline import RATE, Samples
from rtcloud.recordings.sections import Piece

#: how far the times of two segments may be apart that are one stretch
SEAM_TICKS = TICKS // 50
#: how long a picture stays where the next segment is late
HOLD_TICKS = TICKS
MAX_FAULTS = 100


class Faults(list[str]):
    def note(self, piece: Piece, error: Exception) -> None:
        if len(self) < MAX_FAULTS:
            self.append(f"{piece.path}: {getattr(error, 'strerror', None) or error}")


class SoundReader:
    """Stereo at 48 kHz; silence where there is nothing."""

    def __init__(self, pieces: Sequence[Piece], origin_ms: int, faults: Faults) -> None:
        self._chunks = _sounds(pieces, origin_ms, faults)
        self._position = 0  # of what is read next, since the origin
        self._kept: tuple[int, Samples] | None = None  # read too far

    def read(self, count: int) -> Samples:
        out = np.zeros((2, count), np.float32)
        end = self._position + count
        while True:
            chunk = self._kept or next(self._chunks, None)
            self._kept = None
            if chunk is None:
                break
            start, samples = chunk
            if start < self._position:
                samples, start = samples[:, self._position - start :], self._position
            taken = min(samples.shape[1], max(0, end - start))
            if taken:
                out[:, start - self._position : start - self._position + taken] = samples[:, :taken]
            if taken < samples.shape[1]:
                self._kept = start + taken, samples[:, taken:]
                break
        self._position = end
        return out


class PictureReader:
    def __init__(self, pieces: Sequence[Piece], origin_ms: int, faults: Faults) -> None:
        self._pictures = _pictures(pieces, origin_ms, faults)
        self._next = next(self._pictures, None)
        self._shown: tuple[int, int, VideoFrame] | None = None

    def at(self, ticks: int) -> VideoFrame | None:
        """What is seen at a moment since the origin; the moments go forward. None: nothing."""
        while self._next is not None and self._next[0] <= ticks:
            self._shown = self._next
            self._next = next(self._pictures, None)
        if self._shown is None or ticks >= self._shown[1]:
            return None
        return self._shown[2]


def picture_size(path: str) -> tuple[int, int]:
    """(0, 0) when there is no picture in it."""
    try:
        with av.open(path, format="mpegts") as container:
            context = container.streams.video[0].codec_context
            return context.width, context.height
    except (av.FFmpegError, OSError, IndexError):
        return 0, 0


def _sounds(pieces: Sequence[Piece], origin_ms: int, faults: Faults) -> Iterator[tuple[int, Samples]]:
    """(position, samples); a chunk begins where the last one ended, or later."""
    decoder: _SoundDecoder | None = None
    offset: int | None = None
    position = 0
    for piece in pieces:
        try:
            with av.open(piece.path, format="mpegts") as container:
                stream = next(iter(container.streams.audio), None)
                if stream is None:
                    continue
                placed = _offset(container, piece, origin_ms)
                if offset is None or abs(placed - offset) > SEAM_TICKS:
                    offset, decoder = placed, None
                for packet in container.demux(stream):
                    if packet.size == 0 or packet.pts is None or packet.time_base is None:
                        continue
                    if decoder is None or not decoder.continues(stream):
                        decoder = _SoundDecoder(stream)
                    start = (int(packet.pts * packet.time_base * TICKS) + offset) * RATE // TICKS
                    try:
                        samples = decoder.decode(packet)
                    except av.FFmpegError as error:
                        faults.note(piece, error)
                        decoder = None
                        continue
                    if samples.shape[1] == 0:
                        continue
                    if abs(start - position) > SEAM_TICKS * RATE // TICKS:
                        position = max(position, start)
                    yield position, samples
                    position += samples.shape[1]
        except (av.FFmpegError, OSError) as error:
            faults.note(piece, error)


class _SoundDecoder:
    def __init__(self, stream: Any) -> None:
        self._form = _form(stream)
        self._context = cast(av.AudioCodecContext, av.CodecContext.create(stream.codec_context.name, "r"))
        self._resampler = AudioResampler("fltp", "stereo", RATE)

    def continues(self, stream: Any) -> bool:
        return _form(stream) == self._form

    def decode(self, packet: "av.Packet[Any]") -> Samples:
        parts: list[Samples] = [np.zeros((2, 0), np.float32)]
        for frame in self._context.decode(av.Packet(bytes(packet))):
            frame.pts = None
            parts += [cast(Samples, each.to_ndarray()) for each in self._resampler.resample(frame)]
        return np.concatenate(parts, axis=1)


def _form(stream: Any) -> tuple[str, int, int]:
    context = stream.codec_context
    return context.name, context.sample_rate, context.channels


def _pictures(pieces: Sequence[Piece], origin_ms: int, faults: Faults) -> Iterator[tuple[int, int, VideoFrame]]:
    """(begin, end, picture): the end matters where no other picture follows."""
    for piece in pieces:
        end = (piece.end_ms - origin_ms) * TICKS // 1000 + HOLD_TICKS
        try:
            with av.open(piece.path, format="mpegts") as container:
                stream = next(iter(container.streams.video), None)
                if stream is None:
                    continue
                offset = _offset(container, piece, origin_ms)
                for packet in container.demux(stream):
                    try:
                        frames = packet.decode()
                    except av.FFmpegError as error:
                        faults.note(piece, error)
                        continue
                    for frame in frames:
                        if frame.pts is not None and frame.time_base is not None:
                            yield int(frame.pts * frame.time_base * TICKS) + offset, end, frame
        except (av.FFmpegError, OSError) as error:
            faults.note(piece, error)


def _offset(container: Any, piece: Piece, origin_ms: int) -> int:
    """What brings the segment's own times onto the clock that begins at ``origin_ms``."""
    starts = [
        int(each.start_time * each.time_base * TICKS) for each in container.streams if each.start_time is not None
    ]
    return (piece.begin_ms - origin_ms) * TICKS // 1000 - min(starts, default=0)
