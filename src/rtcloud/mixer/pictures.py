"""The picture half of a mixer: every video track decoded while it can be seen, one picture composed of them at each
tick and encoded, with its messages.

Ticks may change their pace on the way (``reform``); their times only grow. Decoding and scaling are spread over threads
while the mixer is behind and has many tracks, as each has a decoder, a scaler and cells of its own; drawing and
encoding are not. What is still too far behind is left out.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from av.video.frame import VideoFrame

from rtcloud.client import sei
from rtcloud.client.sei import SeiMessage
from rtcloud.mixer.clocking import ServerClock
from rtcloud.mixer.compositor import CellView, Compositor, visible, wanted_size
from rtcloud.mixer.encoding import TICKS, EncodedPacket, VideoEncoder
from rtcloud.mixer.form import InputFrame, KeyframeWanted, MixCounts, MixFormat, SubscriptionWanted, Wish
from rtcloud.mixer.messages import PictureMessages, put_into
from rtcloud.mixer.scene import Cell, Scene
from rtcloud.mixer.timeline import VideoTimeline
from rtcloud.mixer.video import VideoDecoder, png

#: pictures further behind than this are not composed
SKIP_BEHIND_US = 500_000
#: behind by this, decoding is spread over threads; it costs some CPU time more
SPREAD_BEHIND_US = 80_000
#: decoding is spread over threads when each gets at least so many tracks
TRACKS_PER_THREAD = 4
THREADS = min(4, os.cpu_count() or 1)
#: keyframes that are asked for come at most this often
KEYFRAME_EVERY_US = 500_000

#: asked for each picture made: whether it is a keyframe, and its time in ms; the messages go into it
MessageSource = Callable[[bool, int], Sequence[SeiMessage]]


@dataclass(slots=True)
class _Track:
    width: int
    height: int
    decoder: VideoDecoder = field(default_factory=VideoDecoder)
    timeline: VideoTimeline[InputFrame] = field(default_factory=VideoTimeline)
    picture: VideoFrame | None = None
    changed: bool = False  # since it was painted
    late: int = 0
    due: bool = False  # whether frames of it were due at this tick
    messages: list[SeiMessage] = field(default_factory=list)  # that came with those frames


class Pictures:
    def __init__(
        self,
        form: MixFormat,
        write: Callable[[EncodedPacket], None],
        wish: Callable[[Wish], None],
        counts: MixCounts,
        messages: MessageSource | None,
    ) -> None:
        self._form = form
        self._write = write
        self._wish = wish
        self._counts = counts
        self._own_messages = messages
        self._messages = PictureMessages()
        self._tracks: dict[str, _Track] = {}
        self._pool = ThreadPoolExecutor(THREADS, "mixer-decode")  # starts threads only when they are needed
        self._compositor = Compositor(form.width, form.height)
        self._planned = Scene(self._compositor.scene.background)  # the last scene given, which may lie ahead
        self._shown: frozenset[str] = frozenset()  # of the drawn scene, not hidden
        self._wanted: frozenset[str] = frozenset()  # of the planned scene, not hidden
        self._asked: dict[str, SubscriptionWanted] = {}
        self._encoders = [VideoEncoder(codec, form) for codec in form.video_codecs]
        self._start = 0  # ticks of 1/90000 s at which the present pace began
        self._index = 0  # of the next picture, since then
        self._keyframe_at = 0  # index of the last regular keyframe
        self._keyframe_us: int | None = None  # of the last keyframe
        self._keyframe_asked = False
        self._starts_anew = False

    @property
    def position(self) -> int:
        """Of the next picture, in 1/90000 s from the output's beginning."""
        return self._start + self._index * TICKS // self._form.fps

    @property
    def position_us(self) -> int:
        return self.position * 1_000_000 // TICKS

    # What is shown ------------------------------------------------------------------------------------------------

    def add(self, track_id: str, width: int, height: int) -> None:
        known = self._tracks.get(track_id)
        if known is None:
            self._tracks[track_id] = _Track(width, height)
        else:
            known.width, known.height = width, height

    def drop(self, track_id: str) -> None:
        track = self._tracks.pop(track_id, None)
        if track is None:
            return
        self._counts.undecodable += track.decoder.errors
        self._counts.late_pictures += track.late
        self._asked.pop(track_id, None)
        for view in self._views(track_id):
            view.clear()
        self._look()

    def plan(self, scene: Scene) -> None:
        """Subscribes to what the scene will show."""
        self._planned = scene
        self._look(everything=True)

    def show(self, scene: Scene) -> None:
        """From the next picture on."""
        self._compositor.show(scene)
        cited = {cell.track_id for cell in (*scene.cells, *self._planned.cells)}
        for track_id, track in self._tracks.items():
            if track_id not in cited:
                track.picture = None
                track.decoder.reset()
        for view in self._compositor.views:
            source = self._tracks.get(view.cell.track_id or "")
            if source is None:
                view.clear()
            elif source.picture is not None and not view.has_picture:
                view.take(source.picture, (source.width, source.height))
        self._look()

    def reform(self, form: MixFormat) -> None:
        old, self._form = self._form, form
        if (old.width, old.height) != (form.width, form.height):
            scene = self._compositor.scene
            self._compositor = Compositor(form.width, form.height)
            self.show(scene)
        self._start = self._start + self._index * TICKS // old.fps
        self._index = 0
        self._starts_anew = True
        self.flush()
        self._encoders = [VideoEncoder(codec, form, self._start) for codec in form.video_codecs]

    def skip_to(self, at_us: int) -> None:
        """No picture before this moment of the output is made any more; the next one is a keyframe."""
        skipped = (at_us - self.position_us) * self._form.fps // 1_000_000
        if skipped > 0:
            self._index += skipped
            self._counts.skipped_pictures += skipped
            self._starts_anew = True

    def want_keyframe(self) -> None:
        self._keyframe_asked = True

    def in_view(self) -> frozenset[str]:
        drawn = {view.cell.track_id for view in self._compositor.views if view.has_picture}
        return self._shown & drawn

    def png(self) -> bytes:
        """The composed picture as it is."""
        return png(self._compositor.frame)

    # Frames -------------------------------------------------------------------------------------------------------

    def push(self, track_id: str, frame: InputFrame, placed_us: int) -> None:
        track = self._tracks[track_id]
        if not track.timeline.push(placed_us, len(frame.data), frame):
            track.decoder.reset()

    def lost(self, track_id: str) -> None:
        track = self._tracks.get(track_id)
        if track is not None:
            track.decoder.reset()

    def compose(self, at_us: int, clock: ServerClock, *, behind_us: int) -> bool:
        """Makes the next picture, which is shown at local time ``at_us``; False when it was skipped."""
        now_us, keyframe = self.position_us, self._is_keyframe()
        skips = behind_us > SKIP_BEHIND_US and not keyframe
        # a picture is shown at the tick nearest to it
        due_us = at_us + min(500_000 // self._form.fps, self._form.patience_us // 2)
        self._prepare(due_us, paints=not skips, spreads=behind_us > SPREAD_BEHIND_US)
        index = self._index
        self._index += 1
        if skips:
            self._counts.skipped_pictures += 1
            return False
        if keyframe:
            self._keyframe_us, self._keyframe_asked, self._starts_anew = now_us, False, False
        frame = self._compositor.draw(now_us // 1000, clock.to_server(at_us) // 1000)
        own = self._own_messages(keyframe, now_us // 1000) if self._own_messages is not None else ()
        messages = self._messages.next(own)
        for encoder in self._encoders:
            for packet in encoder.encode(frame, index, keyframe):
                self._put(packet, messages)
        return True

    def flush(self) -> None:
        for encoder in self._encoders:
            for packet in encoder.flush():
                self._put(packet, ())

    def close(self) -> None:
        self._pool.shutdown()

    def _put(self, packet: EncodedPacket, messages: Sequence[SeiMessage]) -> None:
        self._write(put_into(packet, messages))

    def _is_keyframe(self) -> bool:
        if self._starts_anew or self._index == 0:
            return True
        fps, segment = self._form.fps, self._form.segment_seconds
        if self._index % (self._form.gop_seconds * fps) == 0 or (segment and self._index % (segment * fps) == 0):
            return True
        return self._keyframe_asked and self.position_us - (self._keyframe_us or 0) >= KEYFRAME_EVERY_US

    def _prepare(self, due_us: int, *, paints: bool, spreads: bool) -> None:
        """Decodes what is due and scales what is new."""
        views: dict[str, list[CellView]] = {}
        for view in self._compositor.views:
            if view.cell.track_id in self._shown:
                views.setdefault(view.cell.track_id, []).append(view)

        def work(share: Sequence[str]) -> list[str]:
            return [track_id for track_id in share if self._advance(track_id, due_us, views.get(track_id, ()), paints)]

        tracks = list(self._tracks)
        threads = min(THREADS, len(tracks) // TRACKS_PER_THREAD) if spreads else 1
        if threads > 1:
            others = [self._pool.submit(work, tracks[index::threads]) for index in range(1, threads)]
            opened = work(tracks[::threads])
            for other in others:
                opened += other.result()
        else:
            opened = work(tracks)
        for track_id, track in self._tracks.items():
            if track.messages:
                self._messages.take(track.messages)
                track.messages.clear()
            if track.due and track.decoder.asks_keyframe(due_us):
                self._wish(KeyframeWanted(track_id))
        if opened:
            self._look()

    def _advance(self, track_id: str, due_us: int, views: Sequence[CellView], paints: bool) -> bool:
        """Whether the track has its first picture now."""
        track = self._tracks[track_id]
        frames = track.timeline.due(due_us)
        is_needed = track_id in self._shown or track_id in self._wanted
        track.due = is_needed and bool(frames)
        opens = False
        if frames and not is_needed:
            track.decoder.reset()
        for placed_us, frame in frames if is_needed else ():
            track.late += placed_us < due_us - 2_000_000 // self._form.fps
            picture = track.decoder.decode(frame)
            if track.decoder.codec == "h264":
                track.messages += sei.read(frame.data)
            if picture is not None:
                opens = opens or track.picture is None
                track.picture, track.changed = picture, True
        if paints and views and track.changed and track.picture is not None:
            for view in views:
                view.take(track.picture, (track.width, track.height))
            track.changed = False
        return opens

    # Subscriptions ------------------------------------------------------------------------------------------------

    def _look(self, *, everything: bool = False) -> None:
        """What can be seen has changed. Tracks that no scene was planned with (``everything``) are not asked for."""
        pictured = {track_id for track_id, track in self._tracks.items() if track.picture is not None}
        planned = visible(self._planned, pictured)
        self._shown = frozenset(visible(self._compositor.scene, pictured).keys() & self._tracks.keys())
        self._wanted = frozenset(planned.keys() & self._tracks.keys())
        for track_id, track in self._tracks.items():
            if everything or track_id in self._asked:
                self._subscribe(track_id, track, planned.get(track_id))

    def _subscribe(self, track_id: str, track: _Track, cell: Cell | None) -> None:
        if cell is None:
            wanted = SubscriptionWanted(track_id, False)
        else:
            wanted = SubscriptionWanted(track_id, True, *wanted_size(cell, track.width, track.height))
        if self._asked.get(track_id) != wanted:
            self._asked[track_id] = wanted
            self._wish(wanted)

    def _views(self, track_id: str) -> list[CellView]:
        return [view for view in self._compositor.views if view.cell.track_id == track_id]
