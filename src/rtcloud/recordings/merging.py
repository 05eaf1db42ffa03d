"""Merges the files of single-stream recordings in a directory: one user's sound and pictures become an MP4.

What to make is ``sections.plan``'s; here it is decoded, brought to one frame rate and one size, and encoded. Time is
kept: whatever was recorded at one moment is heard and seen at one moment, and where a user sent nothing there is
silence and black. A file appears under its name only when it is complete; memory does not grow with its length.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import PictureType, VideoFrame

from rtcloud.egress.recording.recovery import measure_ms
from rtcloud.mixer import layout
from rtcloud.mixer.encoding import TICKS
from rtcloud.mixer.layout import Rect, RenderMode
from rtcloud.mixer.timeline import RATE, Samples
from rtcloud.mixer.video import Scaler, planes
from rtcloud.recordings.folder import Folder, open_index
from rtcloud.recordings.reading import Faults, PictureReader, SoundReader, picture_size
from rtcloud.recordings.sections import Choice, Piece, Plan, Section, plan

AUDIO_BITRATE = 96_000
#: of one file: no recording is that long, but one wrong name puts decades between two segments
LONGEST_SECONDS = 30 * 86_400
#: seconds between keyframes
GOP_SECONDS = 2


@dataclass(frozen=True, slots=True)
class Merged:
    path: Path
    seconds: float
    size: tuple[int, int] | None  # of its pictures


@dataclass(frozen=True, slots=True)
class Outcome:
    files: list[Merged]
    faults: list[str]  # what could not be read and is missing from them


def merge(folder: Folder, choice: Choice, made: Callable[[Merged], None] = lambda _: None) -> Outcome:
    """Blocking, about as long as encoding what is merged takes. ``made`` hears of each file. Raises OSError when a file
    cannot be written."""
    faults = Faults()
    files = []
    for each in plan(pieces(folder, faults), choice):
        if each.seconds > LONGEST_SECONDS:
            days = f"{each.seconds / 86_400:.0f} days"
            faults.append(f"{each.name}: it would be {days} long: is a segment named wrongly? Try -s, or -m 0")
            continue
        merged = _make(each, choice, folder.path, faults)
        files.append(merged)
        made(merged)
    return Outcome(files, list(faults))


def pieces(folder: Folder, faults: list[str]) -> list[Piece]:
    """The segments of single streams. An index says how long each is; one that no index names is measured."""
    lengths: dict[str, float] = {}
    for file in folder.of("index"):
        try:
            lengths |= {entry.name: entry.seconds for entry in open_index(file).entries}
        except OSError as error:
            faults.append(f"{file.path}: {error.strerror}")
    found = []
    for file in folder.of("segment"):
        name = file.name
        if not name.user or name.begin_ms is None:
            continue
        length_ms = round(lengths.get(name.text, 0) * 1000) or measure_ms(file.path)
        if length_ms <= 0:
            faults.append(f"{file.path}: there is nothing in it that can be played")
            continue
        found.append(
            Piece(
                user=name.user,
                stream=f"{name.sdk_app_id}_{name.room}",
                media_id=name.media_id,
                media=_media(name.media, str(file.path)),
                begin_ms=name.begin_ms,
                end_ms=name.begin_ms + length_ms,
                path=str(file.path),
                stamp=file.path.stem.rpartition("_")[2],
            )
        )
    return found


def _media(said: str, path: str) -> str:
    """What goes by the name of both may hold sound only, while the camera is off."""
    return "audio" if said == "audio_video" and picture_size(path) == (0, 0) else said


def _make(wanted: Plan, choice: Choice, directory: Path, faults: Faults) -> Merged:
    seen = [piece for section in wanted.sections for piece in section.pictures]
    size = (choice.size or _largest(seen)) if seen else None
    path = directory / wanted.name
    draft = directory / f".{wanted.name}.part"
    try:
        with _Output(draft, size, choice.frame_rate, has_sound=wanted.has_sound) as output:
            for begin_ms, end_ms in wanted.spans:
                sections = [each for each in wanted.sections if begin_ms <= each.begin_ms < end_ms]
                output.append(sections, begin_ms, end_ms, faults)
            seconds = output.seconds
        with draft.open("rb") as file:
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()
    return Merged(path, seconds, size)


def _largest(seen: Iterable[Piece]) -> tuple[int, int]:
    width, height = max((picture_size(piece.path) for piece in seen), key=lambda size: size[0] * size[1])
    return layout.even(width), layout.even(height)


class _Output:
    """The file being made: spans of the clock one after the other, each as long as on the clock to the next picture."""

    def __init__(self, path: Path, size: tuple[int, int] | None, fps: int, *, has_sound: bool) -> None:
        self._fps = fps
        form = "mp4" if size is not None else "ipod"  # which is what .m4a is
        self._container = av.open(str(path), "w", format=form, options={"movflags": "+faststart"})
        self._video: Any = None
        if size is not None:
            self._video = self._container.add_stream("libx264", rate=fps)
            self._video.width, self._video.height = size
            self._video.pix_fmt = "yuv420p"
            self._video.codec_context.time_base = Fraction(1, fps)
            self._video.codec_context.gop_size = GOP_SECONDS * fps
            self._video.codec_context.thread_count = 0  # as many as there are cores
            self._video.options = {"preset": "veryfast", "crf": "23"}
            self._canvas = _Canvas(*size)
        self._audio: Any = None
        if has_sound:
            self._audio = self._container.add_stream("aac", rate=RATE, layout="stereo")
            self._audio.bit_rate = AUDIO_BITRATE
        self._pictures = 0  # written so far
        self._samples = 0
        self._ticks = 0  # of the clock, all spans together

    def __enter__(self) -> "_Output":
        return self

    def __exit__(self, *_exception: object) -> None:
        try:
            for stream in filter(None, (self._video, self._audio)):
                self._container.mux(stream.encode(None))
        finally:
            self._container.close()

    @property
    def seconds(self) -> float:
        return self._ticks / TICKS

    def append(self, sections: Sequence[Section], begin_ms: int, end_ms: int, faults: Faults) -> None:
        sounds = [SoundReader(row, begin_ms, faults) for row in _rows(sections)]
        seen = [piece for section in sections for piece in section.pictures]
        pictures = PictureReader(seen, begin_ms, faults)
        start = self._ticks
        self._ticks += (end_ms - begin_ms) * TICKS // 1000
        for number, until in self._steps():
            if self._video is not None:
                shown = pictures.at(number * TICKS // self._fps - start)
                self._show(self._canvas.draw(shown), number)
            if self._audio is not None:
                self._sound(_mixed(sounds, until - self._samples))

    def _steps(self) -> Iterator[tuple[int, int]]:
        """Numbers of the pictures of what was appended, each with the sample up to which sound goes with it."""
        while self._pictures * TICKS < self._ticks * self._fps:
            number = self._pictures
            self._pictures += 1
            yield number, min(self._pictures * RATE // self._fps, self._ticks * RATE // TICKS)

    def _show(self, picture: VideoFrame, number: int) -> None:
        picture.pts, picture.time_base = number, Fraction(1, self._fps)
        picture.pict_type = PictureType.NONE
        self._container.mux(self._video.encode(picture))

    def _sound(self, samples: Samples) -> None:
        if samples.shape[1] == 0:
            return
        frame = AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, self._samples, Fraction(1, RATE)
        self._samples += samples.shape[1]
        self._container.mux(self._audio.encode(frame))


class _Canvas:
    """Whole pictures in the middle of black."""

    def __init__(self, width: int, height: int) -> None:
        self._cell = Rect(0, 0, width, height)
        self._scaler = Scaler()
        self._last: VideoFrame | None = None
        self._drawn = self._black()

    def draw(self, picture: VideoFrame | None) -> VideoFrame:
        if picture is self._last:
            return self._drawn
        self._last = picture
        if picture is None:
            self._drawn = self._black()
            return self._drawn
        fit = layout.fit(picture.width, picture.height, self._cell, RenderMode.FIT)
        scaled = self._scaler.scale(picture, fit)
        if fit.target == self._cell:
            self._drawn = scaled
            return scaled
        self._drawn = self._black()
        for index, (target, source) in enumerate(zip(planes(self._drawn), planes(scaled), strict=True)):
            half = 1 if index else 0
            top, left = fit.target.top >> half, fit.target.left >> half
            target[top : top + source.shape[0], left : left + source.shape[1]] = source
        return self._drawn

    def _black(self) -> VideoFrame:
        frame = VideoFrame(self._cell.width, self._cell.height, "yuv420p")
        colour = layout.BLACK
        for plane, value in zip(planes(frame), (colour.y, colour.u, colour.v), strict=True):
            plane[:] = value
        return frame


def _rows(sections: Iterable[Section]) -> list[list[Piece]]:
    """Pieces that follow one another, each row of one stream."""
    rows: dict[str, list[Piece]] = defaultdict(list)
    for section in sections:
        for piece in section.sounds:
            rows[piece.media_id].append(piece)
    return list(rows.values())


def _mixed(sounds: Sequence[SoundReader], count: int) -> Samples:
    if len(sounds) == 1:
        return sounds[0].read(count)
    mixed: Samples = np.zeros((2, count), np.float32)
    for sound in sounds:
        mixed += sound.read(count)
    return cast(Samples, mixed.clip(-1, 1))
