"""Single-stream recording: one writing thread for the streams of everybody, each into files of its own.

``SinglePipeline`` is driven by the event loop like the ``Pipeline`` of a mix. No picture is decoded, and none encoded
but VP8's. A stream whose user comes back goes on in the files it had.
"""

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from rtcloud.client.types import EncodedFrame, RemoteTrack
from rtcloud.clock import Clock
from rtcloud.egress.recording.hls import UNKNOWN, Report, Tracks
from rtcloud.egress.recording.naming import FileNames
from rtcloud.egress.recording.request import AudioParams, RecordParams
from rtcloud.egress.recording.single_file import Place, StreamFile
from rtcloud.egress.recording.single_stream import SingleStream, sent
from rtcloud.mixer.clocking import ServerClock, UserClock
from rtcloud.mixer.form import KeyframeWanted, MixFormat, SubscriptionWanted, Wish
from rtcloud.mixer.thread import MixingThread, Pace

PATIENCE_US = 300_000
#: looks per second of the thread
LOOKS = 20
_SUB_SOURCES = ("screen_share", "screen_share_audio")
_SOUND = AudioParams()
FORM = MixFormat(
    width=0,
    height=0,
    fps=LOOKS,
    video_bitrate=0,
    gop_seconds=1,
    sample_rate=_SOUND.sample_rate_hz,
    channels=_SOUND.channel,
    audio_bitrate=_SOUND.bit_rate,
    video=False,
    patience_us=PATIENCE_US,
    fast_audio=True,
)

MediaId = Literal["main", "aux"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StreamKey:
    user_id: str
    media_id: MediaId


#: of a stream: its audio and its video tracks, and whether each is muted
Tracked = tuple[dict[str, bool], dict[str, bool]]


class Singles:
    """All streams. Driven like a mixer, on the writing thread. ``note`` is called with what cannot be recorded,
    ``goes_on`` after each stream."""

    def __init__(
        self,
        params: RecordParams,
        place: Callable[[ServerClock], Place],
        names: FileNames,
        wish: Callable[[Wish], None],
        note: Callable[[str, str], None],
        goes_on: Callable[[], None] = lambda: None,
    ) -> None:
        self.server_clock = ServerClock()
        self._goes_on = goes_on
        self._params = params
        self._place = place(self.server_clock)
        self._names = names
        self._wish = wish
        self._note = note
        self._streams: dict[StreamKey, SingleStream] = {}
        self._active: set[StreamKey] = set()  # the others are of people who left: there may be thousands
        self._clocks: dict[str, UserClock] = {}
        self._owners: dict[str, tuple[StreamKey, bool]] = {}  # track → whose, and whether it is video
        self._numbers = itertools.count(1)
        self._noted: set[tuple[StreamKey, str]] = set()

    def follow(self, streams: Mapping[StreamKey, Tracked], at_us: int) -> None:
        """From ``at_us`` on these are sent, and nothing else."""
        owners: dict[str, tuple[StreamKey, bool]] = {}
        for key, (audio, video) in streams.items():
            owners |= {track_id: (key, False) for track_id in audio}
            owners |= {track_id: (key, True) for track_id in video}
            if key not in self._streams:
                self._streams[key] = self._open(key)
            self._clocks.setdefault(key.user_id, UserClock(PATIENCE_US))
            for track_id in video:
                if track_id not in self._owners:
                    self._wish(SubscriptionWanted(track_id, True))
        self._owners = owners
        here = {key.user_id for key in streams}
        for user_id in self._clocks.keys() - here:
            del self._clocks[user_id]
        self._active |= streams.keys()
        for key in self._active:
            self._streams[key].follow(sent(*streams.get(key, ({}, {}))), at_us)

    def push(self, track_id: str, frame: EncodedFrame, now_us: int) -> None:
        owner = self._owners.get(track_id)
        if owner is None:
            return
        key, is_video = owner
        clock = self.server_clock
        clock.observe(frame.arrival_us, now_us)
        arrival = min(now_us, clock.to_local(frame.arrival_us))
        capture = None if frame.capture_us is None else clock.to_local(frame.capture_us)
        placed = self._clocks[key.user_id].place(capture, arrival)
        stream = self._streams[key]
        if not is_video:
            stream.hear(track_id, frame, placed)
            return
        stream.see(track_id, frame, placed)
        if frame.keyframe:
            self._tell(key, stream)

    def lost(self, track_id: str) -> None:
        owner = self._owners.get(track_id)
        if owner is not None:
            self._streams[owner[0]].lost(track_id)

    def advance(self, until_us: int, *, hurry: bool = False) -> None:
        for key in list(self._active):
            stream = self._streams[key]
            stream.advance(until_us)
            self._goes_on()
            if stream.is_idle:
                self._active.discard(key)

    def close(self, end_us: int) -> None:
        for stream in self._streams.values():
            stream.close(end_us)

    def _open(self, key: StreamKey) -> SingleStream:
        sound, video = self._params.stream_type != 2, self._params.stream_type != 1
        rate = FORM.sample_rate if sound else 0
        size = UNKNOWN if video else 0
        if sound and video and self._params.av_merge:
            file = self._file(key, "audiovideo", Tracks(width=size, height=size, sample_rate=rate, channels=2))
            return SingleStream(FORM, file, file, self._want_keyframe)
        return SingleStream(
            FORM,
            self._file(key, "audio", Tracks(sample_rate=rate, channels=FORM.channels)) if sound else None,
            self._file(key, "video", Tracks(width=size, height=size)) if video else None,
            self._want_keyframe,
        )

    def _file(self, key: StreamKey, media: str, tracks: Tracks) -> StreamFile:
        names = replace(self._names, user_id=key.user_id, media_id=key.media_id, media=media)
        return StreamFile(self._place, names, tracks, next(self._numbers))

    def _want_keyframe(self, track_id: str) -> None:
        self._wish(KeyframeWanted(track_id))

    def _tell(self, key: StreamKey, stream: SingleStream) -> None:
        code = ""
        if stream.video.refused:
            code, message = "VideoNotRecorded", "a stream sends pictures that are neither H.264 nor VP8"
        elif stream.video.converts:
            code, message = "VideoConverted", "a stream sends VP8, which is encoded again as H.264"
        if code and (key, code) not in self._noted:
            self._noted.add((key, code))
            self._note(code, message)


class SinglePipeline:
    """``wish`` and ``note`` are called on the writing thread."""

    def __init__(
        self,
        params: RecordParams,
        directory: Path,
        names: FileNames,
        report: Report,
        wish: Callable[[Wish], None],
        note: Callable[[str, str], None],
        clock: Clock,
        *,
        keep: bool,
    ) -> None:
        self._flusher = ThreadPoolExecutor(1, "hls-flush")

        def place(server_clock: ServerClock) -> Place:
            return Place(directory, report, self._flusher, clock.now_ms, server_clock.to_server, keep)

        self._singles = Singles(params, place, names, wish, note, lambda: self._thread.goes_on())
        self._thread = MixingThread(self._singles, Pace(LOOKS, PATIENCE_US), clock, close=self._close)
        #: resolves when the files are closed, or with what made the thread fail
        self.done = self._thread.done

    def start(self) -> None:
        self._thread.start()

    def now_us(self) -> int:
        return self._thread.now_us()

    def put(self, frames: Sequence[EncodedFrame]) -> None:
        self._thread.put(frames)

    def follow(self, audio: Mapping[str, RemoteTrack], video: Mapping[str, RemoteTrack], at_us: int) -> None:
        """These tracks are recorded from now on."""
        streams = grouped(audio, video)
        self._thread.change(lambda singles: singles.follow(streams, at_us))

    async def stop(self, *, at_server_ms: int | None = None, drains: bool = True) -> None:
        """As of ``Pipeline``."""
        await self._thread.stop(at_server_ms=at_server_ms, drains=drains)

    async def picture(self) -> bytes:
        """Nothing is mixed: there is none."""
        return b""

    def is_healthy(self) -> bool:
        return self._thread.is_healthy()

    def _close(self, singles: Singles, end_us: int) -> None:
        singles.close(end_us)
        self._flusher.shutdown()
        if self._thread.dropped_frames:
            _log.warning("the machine was too slow", extra={"dropped_frames": self._thread.dropped_frames})


def grouped(audio: Mapping[str, RemoteTrack], video: Mapping[str, RemoteTrack]) -> dict[StreamKey, Tracked]:
    """Whose main or sub stream each track belongs to."""
    streams: dict[StreamKey, Tracked] = {}
    for index, tracks in enumerate((audio, video)):
        for track_id, track in tracks.items():
            key = StreamKey(track.user_id, "aux" if track.source in _SUB_SOURCES else "main")
            streams.setdefault(key, ({}, {}))[index][track_id] = track.muted
    return streams
