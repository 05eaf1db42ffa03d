"""What is really in a media file: streams, durations, pixels, tones, and how far picture and sound are apart."""

import json
import math
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.container
import numpy as np
import numpy.typing as npt

BEEP_HZ = 3000  # the test page beeps and flashes (top sixth of its picture turns white) at one moment each second
Samples = npt.NDArray[np.float32]
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Region:
    """A part of the picture, as fractions of its width and height."""

    left: float
    top: float
    right: float
    bottom: float

    def of(self, picture: Picture) -> Picture:
        height, width = picture.shape[:2]
        rows = slice(int(self.top * height), max(int(self.bottom * height), int(self.top * height) + 1))
        columns = slice(int(self.left * width), max(int(self.right * width), int(self.left * width) + 1))
        return picture[rows, columns]


@dataclass(frozen=True)
class Span:
    """A part of a file, in seconds of its own time."""

    begin: float = 0.0
    end: float = math.inf


WHOLE = Span()


def ffprobe(path: Path) -> dict[str, Any]:
    """Format and streams as the ffprobe command sees them; its complaints are failures."""
    command = ["ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"ffprobe {path}: {done.stderr}"
    assert not done.stderr.strip(), f"ffprobe {path}: {done.stderr}"
    found = json.loads(done.stdout)
    assert isinstance(found, dict)
    return found


def duration(path: Path) -> float:
    return float(ffprobe(path)["format"]["duration"])


def codecs(path: Path) -> dict[str, str]:
    """codec_type → codec_name."""
    return {stream["codec_type"]: stream["codec_name"] for stream in ffprobe(path)["streams"]}


def decode_all(path: Path) -> str:
    """Plays everything with the ffmpeg command, first to last; what it complained about."""
    # In the file's own time base: at a frame rate that was guessed over gaps, frames of one moment would collide.
    # Pictures may begin long after the sound.
    patience = ["-analyzeduration", "300M", "-probesize", "100M"]
    command = ["ffmpeg", "-v", "warning", "-xerror", *patience, "-i", str(path), "-enc_time_base", "-1"]
    command += ["-f", "null", "-"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"ffmpeg {path}: {done.stderr}"
    return done.stderr.strip()


def cut(path: Path, begin_s: float, length_s: float, to: Path) -> Path:
    """That part of the file, encoded anew so that it begins exactly there."""
    span = ["-ss", f"{begin_s:.3f}", "-t", f"{length_s:.3f}"]
    command = ["ffmpeg", "-v", "error", "-y", *span, "-i", str(path), "-preset", "ultrafast", str(to)]
    subprocess.run(command, check=True, timeout=300)
    return to


def pictures(path: Path, every_s: float = 0.0, span: Span = WHOLE) -> list[tuple[float, Picture]]:
    """(seconds, RGB) of the video's frames, at least ``every_s`` apart."""
    found: list[tuple[float, Picture]] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in _decoded(container, stream, span):
            at = float((frame.pts or 0) * (frame.time_base or Fraction(1)))
            if not found or at - found[-1][0] >= every_s:
                found.append((at, frame.to_ndarray(format="rgb24")))
    return found


def picture_at(path: Path, second: float) -> Picture:
    nearest: Picture | None = None
    with av.open(str(path)) as container:
        for frame in container.decode(container.streams.video[0]):
            nearest = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            if float((frame.pts or 0) * (frame.time_base or Fraction(1))) >= second:
                break
    assert nearest is not None, f"{path} has no picture"
    return nearest


def mean_color(picture: Picture, region: Region) -> tuple[int, int, int]:
    red, green, blue = region.of(picture).reshape(-1, 3).mean(axis=0)
    return int(red), int(green), int(blue)


def sound(path: Path, span: Span = WHOLE) -> tuple[Samples, int, float]:
    """Mono samples, their rate, and the second at which they begin."""
    parts: list[Samples] = []
    begin: float | None = None
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate = stream.rate or 48_000
        resampler = av.AudioResampler(format="flt", layout="mono", rate=rate)
        for frame in _decoded(container, stream, span):
            if begin is None:
                begin = float((frame.pts or 0) * (frame.time_base or Fraction(1)))
            parts.extend(each.to_ndarray().reshape(-1).astype(np.float32) for each in resampler.resample(frame))
    return np.concatenate(parts), rate, begin or 0.0


def tone_level(samples: Samples, rate: int, hz: float) -> float:
    """Decibels of the strongest spectral line within 15 Hz, relative to a full-scale sine."""
    window = np.hanning(len(samples))
    spectrum = np.abs(np.fft.rfft(samples * window)) / (window.sum() / 2)
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate)
    around = spectrum[(frequencies > hz - 15) & (frequencies < hz + 15)]
    return float(20 * np.log10(around.max() + 1e-12))


def _decoded(container: Any, stream: Any, span: Span) -> Iterator[Any]:
    """The frames within a span; what lies long before it is not decoded."""
    if span.begin > 0:
        container.seek(int(span.begin / stream.time_base), stream=stream)
    for frame in container.decode(stream):
        at = float((frame.pts or 0) * (frame.time_base or Fraction(1)))
        if at >= span.end:
            return
        if at >= span.begin:
            yield frame


def beeps(path: Path, span: Span = WHOLE, quiet_s: float = 0.3) -> list[float]:
    """When the loud 3 kHz beeps begin, in seconds of the file's own time; each after so much without one."""
    samples, rate, begin = sound(path, span)
    step = rate // 200  # 5 ms
    phase = 2 * np.pi * BEEP_HZ * np.arange(step) / rate
    wave = np.exp(-1j * phase)
    blocks = samples[: len(samples) // step * step].reshape(-1, step)
    level = np.abs(blocks @ wave) * 2 / step
    return _rising(level, 0.2 * float(level.max()), lambda index: begin + index * step / rate, gap=round(quiet_s * 200))


def flashes(path: Path, region: Region, span: Span = WHOLE) -> list[float]:
    """When the region turns from dark to white, in seconds of the file's own time."""
    seen = [(at, float(region.of(picture).mean())) for at, picture in pictures(path, span=span)]
    level = np.array([each for _, each in seen])
    return _rising(level, 128.0, lambda index: seen[index][0], gap=5)


def offsets(first: list[float], second: list[float], within: float = 0.4) -> list[float]:
    """For each time of ``first`` how much later its partner in ``second`` is."""
    found = []
    for each in first:
        nearest = min(second, key=lambda other: abs(other - each), default=None)
        if nearest is not None and abs(nearest - each) <= within:
            found.append(nearest - each)
    return found


def _rising(level: npt.NDArray[Any], threshold: float, when: Any, gap: int) -> list[float]:
    """Where the level crosses the threshold upward after being below it for ``gap`` entries."""
    found: list[float] = []
    below = gap
    for index, value in enumerate(level):
        if value < threshold:
            below += 1
        else:
            if below >= gap and index > 0:
                found.append(float(when(index)))
            below = 0
    return found
