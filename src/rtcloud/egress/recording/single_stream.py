"""One person's main or sub stream: its sound decoded and encoded as AAC, its pictures untouched, into their files.

Sound and pictures lie in files of their own, or in one (``merged``). A file runs while what it holds is being sent:
from the first media to the moment of the mute or the leaving, and again from the next media on. While it runs, sound
that is missing is silence; a merged file has sound (or silence) as long as anything of the stream is sent.

Driven like a mixer, on the writing thread: frames come with their placed times (local), ``advance`` does everything
before a moment. Sound and pictures of a merged file are written in the order of their times.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rtcloud.egress.passing import Unit
from rtcloud.egress.recording.hls import SEGMENT_SECONDS
from rtcloud.egress.recording.single_file import StreamFile
from rtcloud.egress.recording.single_video import StreamVideo
from rtcloud.mixer.encoding import EncodedPacket
from rtcloud.mixer.form import InputFrame, MixCounts, MixFormat
from rtcloud.mixer.sounds import BLOCK_US, Sounds

#: sound that is silent so long, unmuted, has stopped: what comes later begins anew
SOUND_STOPS_US = 15_000_000
#: pictures further apart than this do not continue each other
PICTURES_STOP_US = 5_000_000


@dataclass(frozen=True, slots=True)
class Sent:
    """What of the stream is sent at the moment. ``audio`` are its tracks, ``video`` its last one or None; ``heard`` and
    ``seen`` whether they are not muted."""

    audio: frozenset[str] = frozenset()
    video: str | None = None
    heard: bool = False
    seen: bool = False


class _Run:
    """Sound without a break."""

    def __init__(self, form: MixFormat, begin_us: int, write: Callable[[EncodedPacket, int], None]) -> None:
        self.begin_us = self.last_us = begin_us
        self.sounds = Sounds(form, lambda packet: write(packet, begin_us), MixCounts())

    @property
    def at_us(self) -> int:
        return self.begin_us + self.sounds.position_us


class SingleStream:
    """``sound_file`` and ``video_file`` are the same for a merged stream; None where that medium is not recorded."""

    def __init__(
        self,
        form: MixFormat,
        sound_file: StreamFile | None,
        video_file: StreamFile | None,
        want_keyframe: Callable[[str], None],
    ) -> None:
        self._form = form
        self._sound_file = sound_file
        self._video_file = video_file
        self._is_merged = sound_file is not None and sound_file is video_file
        self._want_keyframe = want_keyframe
        self._sent = Sent()
        self._run: _Run | None = None
        self._run_ends_us: int | None = None
        self._leaving: list[tuple[int, str]] = []  # audio tracks that ended
        self.video = StreamVideo()
        self._video_ends_us: int | None = None
        self._is_showing = False
        self._shown_us = 0  # the last picture

    @property
    def is_idle(self) -> bool:
        """Nothing is sent, and all that was is written."""
        return self._sent == Sent() and self._run is None and not self._is_showing

    # Input ----------------------------------------------------------------------------------------------------------

    def follow(self, sent: Sent, at_us: int) -> None:
        """From ``at_us`` on this is sent."""
        before, self._sent = self._sent, sent
        if sent.video != before.video:
            for unit in self.video.due(at_us + 1):
                self._show(unit)
            self.video.restart()
        self._leaving += [(at_us, track_id) for track_id in before.audio - sent.audio]
        if self._run is not None:
            for track_id in sent.audio:
                self._run.sounds.add(track_id, "", 1.0)
            self._run_ends_us = None if self._sounds_on else (self._run_ends_us or at_us)
        if self._is_showing:
            self._video_ends_us = None if sent.seen else (self._video_ends_us or at_us)
        elif self._video_file is not None:
            self._video_file.expect_video(sent.seen and not self.video.refused)

    def hear(self, track_id: str, frame: InputFrame, placed_us: int) -> None:
        if self._sound_file is None or track_id not in self._sent.audio:
            return
        if self._run is None:
            if not self._sent.heard:
                return
            self._begin(placed_us)
        assert self._run is not None
        self._run.last_us = max(self._run.last_us, placed_us)
        self._run.sounds.push(track_id, frame, placed_us - self._run.begin_us, is_exact=frame.capture_us is not None)

    def see(self, track_id: str, frame: InputFrame, placed_us: int) -> None:
        if self._video_file is None or track_id != self._sent.video:
            return
        if not (self._sent.seen or self._is_showing):
            return
        if self.video.push(frame, placed_us) and self._is_merged and self._run is None:
            self._begin(placed_us)

    def lost(self, track_id: str) -> None:
        if track_id == self._sent.video:
            self.video.lost()

    # Output ---------------------------------------------------------------------------------------------------------

    def advance(self, until_us: int) -> None:
        if self._run is not None:
            self._sound_until(self._run, until_us)
        self._show_until(until_us)
        if self._is_showing and self._video_ends_us is not None and until_us >= self._video_ends_us:
            self._stop_showing(self._video_ends_us)
        self._ask(until_us)

    def close(self, end_us: int) -> None:
        self.advance(end_us)
        if self._run is not None:
            self._run.sounds.flush()
            self._run = None
        for file in {id(file): file for file in (self._sound_file, self._video_file) if file is not None}.values():
            file.close(end_us)

    # Sound ----------------------------------------------------------------------------------------------------------

    @property
    def _sounds_on(self) -> bool:
        return self._sent.heard or (self._is_merged and self._sent.seen)

    def _begin(self, at_us: int) -> None:
        assert self._sound_file is not None
        self._run = _Run(self._form, at_us, self._sound_file.audio)
        self._run_ends_us = None if self._sounds_on else at_us
        self._leaving = []
        for track_id in self._sent.audio:
            self._run.sounds.add(track_id, "", 1.0)

    def _sound_until(self, run: _Run, until_us: int) -> None:
        limit_us = until_us if self._run_ends_us is None else min(until_us, self._run_ends_us)
        while run.at_us + BLOCK_US <= limit_us:
            while self._leaving and self._leaving[0][0] <= run.at_us:
                run.sounds.drop(self._leaving.pop(0)[1])
            if self._is_merged:
                self._show_until(run.at_us)
            run.sounds.mix()
        is_silent = not self._is_merged and until_us - run.last_us > SOUND_STOPS_US
        if is_silent or (self._run_ends_us is not None and until_us >= self._run_ends_us):
            run.sounds.flush()
            end_us = run.at_us if self._run_ends_us is None else self._run_ends_us
            self._run, self._run_ends_us = None, None
            if self._is_merged:
                self._show_until(end_us)
            if self._sound_file is not None:
                self._sound_file.pause(end_us)

    # Pictures -------------------------------------------------------------------------------------------------------

    def _show_until(self, until_us: int) -> None:
        for unit in self.video.due(until_us):
            self._show(unit)

    def _show(self, unit: Unit) -> None:
        file = self._video_file
        assert file is not None
        if self._is_showing and unit.keyframe and unit.placed_us - self._shown_us > PICTURES_STOP_US:
            self._stop_showing(self._shown_us, restart=False)
        if not self._is_showing:
            self._is_showing = True
            self._video_ends_us = None if self._sent.seen else unit.placed_us
            file.expect_video(True)
        self._shown_us = unit.placed_us
        size = self.video.size(unit)
        if size is not None:
            file.resize(size, unit.placed_us)
        file.video(unit.data, unit.placed_us, keyframe=unit.keyframe)

    def _stop_showing(self, at_us: int, *, restart: bool = True) -> None:
        """A merged file that goes on has its next segment without pictures."""
        self._is_showing, self._video_ends_us = False, None
        if restart:
            self.video.restart()
        file = self._video_file
        assert file is not None
        if self._is_merged:
            file.expect_video(False)
        else:
            file.pause(at_us)

    def _ask(self, now_us: int) -> None:
        """For a keyframe where one is missing, and where a segment could end."""
        if self._sent.video is None or not self._sent.seen or self._video_file is None:
            return
        opened_us = self._video_file.opened_us
        wanted = opened_us is not None and self._is_showing and now_us - opened_us >= SEGMENT_SECONDS * 1_000_000
        if self.video.asks(now_us, wanted=wanted):
            self._want_keyframe(self._sent.video)


def sent(audio: Mapping[str, bool], video: Mapping[str, bool]) -> Sent:
    """Of tracks and whether each is muted: the newest video that is not muted, or else the newest."""
    live = [track_id for track_id, muted in video.items() if not muted]
    tracks = live or list(video)
    return Sent(frozenset(audio), tracks[-1] if tracks else None, not all(audio.values()), bool(live))
