"""The mixer: tracks in, one H.264 and one AAC stream out, driven by the caller's time.

It reads no clock, and every call is done when it returns. ``push`` takes frames as they come; ``advance(until)``
composes and encodes everything up to that moment of local time, which the caller keeps behind the real one by as long
as it waits for late frames. Changes of the arrangement take effect at the moment they are given for, like media, so a
picture disappears in the recording when its sender left the room.

Invariants: output times are continuous from the origin, the placed time of the first frame ever pushed; one frame per
tick unless the caller is in a hurry; an audio block never waits for a track.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

from av.video.frame import VideoFrame

from rtcloud.client import sei
from rtcloud.client.sei import SeiMessage
from rtcloud.mixer import audio, layout
from rtcloud.mixer.clocking import ServerClock, UserClock
from rtcloud.mixer.encoding import AacEncoder, EncodedPacket, H264Encoder
from rtcloud.mixer.layout import Colour, Fit, Rect, RenderMode
from rtcloud.mixer.messages import PictureMessages
from rtcloud.mixer.timeline import RATE, AudioTimeline, VideoTimeline
from rtcloud.mixer.video import Canvas, Encoded, Scaler, VideoDecoder

#: in a hurry, pictures further behind than this are not composed
SKIP_BEHIND_US = 500_000
#: decoding is spread over threads when each gets at least so many tracks
TRACKS_PER_THREAD = 4
THREADS = min(4, os.cpu_count() or 1)
BLOCK_US = audio.BLOCK * 1_000_000 // RATE


class InputFrame(Encoded, Protocol):
    """``client.types.EncodedFrame``, as far as the mixer reads it."""

    @property
    def rtp_time(self) -> int: ...
    @property
    def capture_us(self) -> int | None: ...
    @property
    def arrival_us(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MixFormat:
    """Width and height are even. A keyframe stands every ``gop_seconds``, and at each ``segment_seconds`` so that files
    can be cut there."""

    width: int
    height: int
    fps: int
    video_bitrate: int
    gop_seconds: int
    sample_rate: int
    channels: int
    audio_bitrate: int
    background: Colour = layout.BLACK
    render_mode: RenderMode = RenderMode.CROP
    video: bool = True
    audio: bool = True
    patience_us: int = 300_000
    segment_seconds: int = 10


@dataclass(frozen=True, slots=True)
class KeyframeWanted:
    track_id: str


@dataclass(frozen=True, slots=True)
class SubscriptionWanted:
    """The size at which a video track is shown; not enabled when it is not."""

    track_id: str
    enabled: bool
    width: int = 0
    height: int = 0


Wish = KeyframeWanted | SubscriptionWanted


@dataclass(slots=True)
class MixCounts:
    """What went wrong since the beginning, all tracks together."""

    skipped_pictures: int = 0  # not composed, in a hurry
    undecodable: int = 0  # packets and frames
    late_sounds: int = 0  # packets that came after their moment
    late_pictures: int = 0  # frames that came after their moment: shown, but too late
    sound_jumps: int = 0  # runs of packets that had to be placed anew


@dataclass(slots=True)
class _AudioTrack:
    clock: UserClock
    decoder: audio.OpusDecoder
    timeline: AudioTimeline


@dataclass(slots=True)
class _VideoTrack:
    clock: UserClock
    width: int
    height: int
    decoder: VideoDecoder = field(default_factory=VideoDecoder)
    timeline: VideoTimeline[InputFrame] = field(default_factory=VideoTimeline)
    scaler: Scaler = field(default_factory=Scaler)
    picture: VideoFrame | None = None
    changed: bool = False
    late: int = 0
    due: bool = False  # whether frames of it were due at this tick
    messages: list[SeiMessage] = field(default_factory=list)  # that came with those frames
    fit: Fit | None = None


class Mixer:
    def __init__(self, form: MixFormat, write: Callable[[EncodedPacket], None], wish: Callable[[Wish], None]) -> None:
        self._form = form
        self._write = write
        self._wish = wish
        self.server_clock = ServerClock()
        self._users: dict[str, UserClock] = {}
        self._owners: dict[str, str] = {}
        self._audio: dict[str, _AudioTrack] = {}
        self._video: dict[str, _VideoTrack] = {}
        self._changes: deque[tuple[int, Callable[[], None]]] = deque()
        self._wanted: set[str] = set()
        self._cells: dict[str, Rect] = {}
        self._asked: dict[str, SubscriptionWanted] = {}
        self._origin_us: int | None = None
        self._pool = ThreadPoolExecutor(THREADS, "mixer-decode")  # starts threads only when they are needed
        self._tick = 0
        self._block = 0
        self._limiter = audio.Limiter()
        self._messages = PictureMessages()
        self._counts = MixCounts()
        gop = min(form.gop_seconds, form.segment_seconds) * form.fps
        self._keyframe_ticks = (form.gop_seconds * form.fps, form.segment_seconds * form.fps)
        self._canvas = Canvas(form.width, form.height, form.background) if form.video else None
        self._h264 = H264Encoder(form.width, form.height, form.fps, form.video_bitrate, gop) if form.video else None
        self._aac = AacEncoder(form.sample_rate, form.channels, form.audio_bitrate) if form.audio else None

    # Input --------------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> MixCounts:
        """Tracks are counted when they end; complete after ``finish``."""
        return self._counts

    @property
    def origin_us(self) -> int | None:
        """Local time of the output's time 0; None before the first media."""
        return self._origin_us

    def add_audio(self, track_id: str, user_id: str) -> None:
        if self._form.audio and track_id not in self._audio:
            channels = self._form.channels
            self._audio[track_id] = _AudioTrack(
                self._user_clock(track_id, user_id), audio.OpusDecoder(channels), AudioTimeline(channels)
            )

    def add_video(self, track_id: str, user_id: str, width: int, height: int) -> None:
        """``width`` and ``height`` are as announced, 0 when unknown."""
        if not self._form.video:
            return
        known = self._video.get(track_id)
        if known is None:
            self._video[track_id] = _VideoTrack(self._user_clock(track_id, user_id), width, height)
        else:
            known.width, known.height = width, height

    def remove(self, track_id: str, at_us: int) -> None:
        """The track ended at ``at_us``; what it sent before is still mixed."""
        self._at(at_us, lambda: self._drop(track_id))

    def arrange(self, places: Sequence[str | None], at_us: int) -> None:
        """From ``at_us`` on the grid has these places: a video track each, or None for a person without picture."""
        places = list(places[: layout.MAX_PICTURES])
        rects = layout.grid(len(places), self._form.width, self._form.height)
        cells = {track: rect for track, rect in zip(places, rects, strict=True) if track in self._video and track}
        self._wanted = set(cells)
        for track_id, track in self._video.items():
            self._subscribe(track_id, track, cells.get(track_id))
        self._at(at_us, lambda: self._rearrange(cells))

    def push(self, track_id: str, frame: InputFrame, now_us: int) -> None:
        """A frame that was received at local time ``now_us``. Frames of unknown tracks are ignored."""
        track = self._audio.get(track_id) or self._video.get(track_id)
        if track is None:
            return
        self.server_clock.observe(frame.arrival_us, now_us)
        arrival = min(now_us, self.server_clock.to_local(frame.arrival_us))
        capture = None if frame.capture_us is None else self.server_clock.to_local(frame.capture_us)
        placed = track.clock.place(capture, arrival)
        if self._origin_us is None:
            self._origin_us = placed
        if isinstance(track, _AudioTrack):
            samples = track.decoder.decode(frame.data)
            if samples is not None:
                at = (placed - self._origin_us) * RATE // 1_000_000
                track.timeline.push(at, frame.rtp_time, samples, is_exact=capture is not None)
        elif not track.timeline.push(placed, len(frame.data), frame):
            track.decoder.reset()

    def lost(self, track_id: str) -> None:
        """Frames of the track were dropped before they came here."""
        if track_id in self._video:
            self._video[track_id].decoder.reset()

    # Output -------------------------------------------------------------------------------------------------------

    def advance(self, until_us: int, *, hurry: bool = False) -> None:
        """Compose and encode everything before ``until_us``. In a ``hurry`` pictures that are far behind are left
        out; the time runs on without them."""
        if self._origin_us is None:
            return
        while True:
            picture_us = self._picture_us() if self._h264 else None
            block_us = self._block_us() if self._aac else None
            if block_us is not None and (picture_us is None or block_us <= picture_us):
                if block_us + BLOCK_US > until_us:
                    return
                self._apply_changes(block_us)
                self._mix_block()
            elif picture_us is not None and picture_us < until_us:
                self._apply_changes(picture_us)
                self._compose(picture_us, skip=hurry and until_us - picture_us > SKIP_BEHIND_US)
            else:
                return

    def finish(self, end_us: int) -> int:
        """Advance to ``end_us``, flush the encoders, give up all tracks; the length of the output in ticks of 1/90000
        s."""
        self.advance(end_us)
        for track_id in list(self._owners):
            self._drop(track_id)
        if self._origin_us is None:
            self._pool.shutdown()
            return 0
        for encoder in (self._h264, self._aac):
            for packet in encoder.flush() if encoder else ():
                self._write(packet)
        self._pool.shutdown()
        picture_end = self._tick * 90_000 // self._form.fps if self._h264 else 0
        sound_end = self._block * audio.BLOCK * 90_000 // RATE if self._aac else 0
        return max(picture_end, sound_end)

    def _picture_us(self) -> int:
        return (self._origin_us or 0) + self._tick * 1_000_000 // self._form.fps

    def _block_us(self) -> int:
        return (self._origin_us or 0) + self._block * BLOCK_US

    def _mix_block(self) -> None:
        assert self._aac is not None
        start = self._block * audio.BLOCK
        blocks = [track.timeline.read(start, audio.BLOCK) for track in self._audio.values()]
        total = self._limiter.apply(audio.add(blocks, self._form.channels, audio.BLOCK))
        self._block += 1
        for packet in self._aac.encode(total, start):
            self._write(packet)

    def _compose(self, at_us: int, *, skip: bool) -> None:
        assert self._h264 is not None
        assert self._canvas is not None
        tick = self._tick
        self._tick += 1
        keyframe = any(tick % interval == 0 for interval in self._keyframe_ticks)
        skip = skip and not keyframe
        # a picture is shown at the tick nearest to it
        self._prepare(at_us + min(500_000 // self._form.fps, self._form.patience_us // 2), self._canvas, paint=not skip)
        if skip:
            self._counts.skipped_pictures += 1
            return
        for packet in self._h264.encode(self._canvas.frame, tick, keyframe):
            self._write(self._messages.put_into(packet))

    def _prepare(self, due_us: int, canvas: Canvas, *, paint: bool) -> None:
        """Decodes what is due and paints what changed; many tracks on several threads, as each has a decoder, a
        scaler and a cell of its own."""

        def work(share: list[str]) -> None:
            for track_id in share:
                track, cell = self._video[track_id], self._cells.get(track_id)
                self._decode(track_id, track, due_us)
                if paint and cell is not None:
                    self._paint(canvas, track, cell)

        tracks = list(self._video)
        threads = min(THREADS, len(tracks) // TRACKS_PER_THREAD)
        if threads > 1:
            others = [self._pool.submit(work, tracks[index::threads]) for index in range(1, threads)]
            work(tracks[::threads])
            for other in others:
                other.result()
        else:
            work(tracks)
        for track_id, track in self._video.items():
            if track.messages:
                self._messages.take(track.messages)
                track.messages.clear()
            if track.due and track.decoder.asks_keyframe(due_us):
                self._wish(KeyframeWanted(track_id))

    def _decode(self, track_id: str, track: _VideoTrack, due_us: int) -> None:
        frames = track.timeline.due(due_us)
        is_shown = track_id in self._wanted or track_id in self._cells
        track.due = is_shown and bool(frames)
        if not is_shown and frames:
            track.decoder.reset()
        for placed_us, frame in frames if is_shown else ():
            track.late += placed_us < due_us - 2_000_000 // self._form.fps
            picture = track.decoder.decode(frame)
            if track.decoder.codec == "h264":
                track.messages += sei.read(frame.data)
            if picture is not None:
                track.picture, track.changed = picture, True

    def _paint(self, canvas: Canvas, track: _VideoTrack, cell: Rect) -> None:
        if track.picture is None or not track.changed:
            return
        shown = layout.fit(track.picture.width, track.picture.height, cell, self._form.render_mode)
        if track.fit is not None and track.fit.target != shown.target:
            canvas.clear(cell)
        canvas.paint(shown.target, track.scaler.scale(track.picture, shown))
        track.fit = shown
        track.changed = False

    # Arrangement --------------------------------------------------------------------------------------------------

    def _at(self, at_us: int, change: Callable[[], None]) -> None:
        if self._origin_us is None:  # what is true at the beginning need not wait for its moment
            change()
            return
        if self._changes:
            at_us = max(at_us, self._changes[-1][0])
        self._changes.append((at_us, change))

    def _apply_changes(self, now_us: int) -> None:
        while self._changes and self._changes[0][0] <= now_us:
            self._changes.popleft()[1]()

    def _rearrange(self, cells: dict[str, Rect]) -> None:
        self._cells = {track_id: cell for track_id, cell in cells.items() if track_id in self._video}
        if self._canvas is not None:
            self._canvas.clear(Rect(0, 0, self._form.width, self._form.height))
        for track_id, track in self._video.items():
            track.fit = None
            if track_id in self._cells:
                track.changed = track.picture is not None
            elif track_id not in self._wanted:
                track.picture = None
                track.decoder.reset()

    def _subscribe(self, track_id: str, track: _VideoTrack, cell: Rect | None) -> None:
        if cell is None:
            wanted = SubscriptionWanted(track_id, False)
        else:
            size = layout.source_size(cell, self._form.render_mode, track.width, track.height)
            wanted = SubscriptionWanted(track_id, True, *size)
        if self._asked.get(track_id) != wanted:
            self._asked[track_id] = wanted
            self._wish(wanted)

    def _drop(self, track_id: str) -> None:
        self._count(self._audio.pop(track_id, None), self._video.pop(track_id, None))
        self._cells.pop(track_id, None)
        self._asked.pop(track_id, None)
        user_id = self._owners.pop(track_id, None)
        if user_id is not None and user_id not in self._owners.values():
            self._users.pop(user_id, None)

    def _count(self, sound: _AudioTrack | None, picture: _VideoTrack | None) -> None:
        """Takes over what an ended track has counted."""
        if sound is not None:
            self._counts.undecodable += sound.decoder.errors
            self._counts.late_sounds += sound.timeline.late
            self._counts.sound_jumps += sound.timeline.jumps
        if picture is not None:
            self._counts.undecodable += picture.decoder.errors
            self._counts.late_pictures += picture.late

    def _user_clock(self, track_id: str, user_id: str) -> UserClock:
        self._owners[track_id] = user_id
        return self._users.setdefault(user_id, UserClock(self._form.patience_us))
