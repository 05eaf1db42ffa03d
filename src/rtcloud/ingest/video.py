"""The pictures of a source: copied as long as they are fit, else decoded, brought to size, and encoded without delay.

What was copied since the last keyframe is held (bounded), so that a stream that turns out unfit (a B-frame, keyframes
too far apart) goes over to transcoding at once, without a hole: the decoder gets what is held and begins where the copy
ended.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import av

from rtcloud.ingest import copying, fitness
from rtcloud.ingest.copying import Reader
from rtcloud.ingest.fitness import Limits
from rtcloud.ingest.media import Handling, RoomPacket, SourcePacket, StreamForm
from rtcloud.ingest.transcoding import MAX_PIXELS, Transcoder
from rtcloud.robots.broadcasting import Pictures

#: a copy whose keyframes are further apart, while some are asked for, is over
FAR_APART_US = 10_000_000
#: beyond these it is given up, or over when they are more than ``FAR_APART_US``
MAX_HELD = 450
MAX_HELD_BYTES = 16 << 20
#: so many packets without a picture: nobody can use the stream
HOPELESS = 300
#: a keyframe may be long in coming
HOPELESS_WAIT = 1800
TOO_SLOW = "not all pictures, as encoding does not keep up"
#: the least distance of two pictures
TICK_US = 1_000


@dataclass(frozen=True, slots=True)
class PictureSettings:
    limits: Limits
    max_fps: int
    b_frames: Literal["transcode", "refuse"]


class PictureTrack:
    """One source's pictures. ``put`` takes packets with the shift that makes their times continuous."""

    def __init__(self, settings: PictureSettings, elapsed: Callable[[], float]) -> None:
        self._settings = settings
        self._elapsed = elapsed
        self._form: StreamForm | None = None
        self._reader: Reader | None = None
        self._transcoder: Transcoder | None = None
        self._why = ""
        self._copies = False
        self._falls_behind = False
        self._waiting = True  # for a keyframe
        self._size = (0, 0)
        self._held: deque[tuple[SourcePacket, int]] = deque()
        self._held_bytes = 0
        self._is_held = False  # everything since the last keyframe is
        self._keyframe_us: int | None = None
        self._asked = False
        self._before: tuple[int, int] | None = None  # the last packet's times
        self._last_us: int | None = None
        self._fruitless = 0
        self._handling: Handling | None = None
        self.pictures: Pictures | None = None
        self.is_refused = False
        self.is_left_out = False

    @property
    def skipped(self) -> int:
        return 0 if self._transcoder is None else self._transcoder.skipped

    def take_handling(self) -> Handling | None:
        """What has changed since it was asked."""
        handling, self._handling = self._handling, None
        return handling

    def want_keyframe(self) -> None:
        if self._transcoder is not None:
            self._transcoder.want_keyframe()
        else:
            self._asked = True

    def cut(self) -> None:
        self._waiting, self._before = True, None
        self._drop_held()
        self._keyframe_us, self._asked = None, False
        if self._transcoder is not None:
            self._transcoder.cut()

    def flush(self) -> list[RoomPacket]:
        if self._transcoder is None:
            return []
        self._waiting = True
        return self._finished(self._transcoder.flush())

    def put(self, packet: SourcePacket, shift_us: int) -> list[RoomPacket]:
        out: list[RoomPacket] = []
        if packet.form is not self._form and packet.form != self._form:
            out += self.flush()
            self._begin(packet.form)
        if self.is_refused or self.is_left_out:
            return out
        if self._reader is None:
            return [*out, *self._transcoded(packet, packet.data, shift_us)]
        unit = self._reader.read(packet)
        if unit is None:
            self._count_fruitless()
            return out
        if self._transcoder is not None:
            return [*out, *self._transcoded(packet, unit.data, shift_us, keyframe=unit.keyframe)]
        return [*out, *self._copied(packet, unit, shift_us)]

    def _begin(self, form: StreamForm) -> None:
        self._form, self._size = form, (form.width, form.height)
        self._reader = copying.reader(form, self._settings.limits)
        self._transcoder, self._copies, self._waiting, self._fruitless = None, False, True, 0
        self._falls_behind = False
        self.is_left_out = False
        self._drop_held()
        self._keyframe_us, self._asked, self._before = None, False, None
        if self._reader is None:
            self._transcode(fitness.CODEC)

    def _copied(self, packet: SourcePacket, unit: copying.Unit, shift_us: int) -> list[RoomPacket]:
        if self._waiting and not unit.keyframe:
            self._count_fruitless(HOPELESS_WAIT)
            return []
        time_us = packet.pts_us + shift_us
        self._size = (unit.width, unit.height)
        unfit = unit.unfit
        shown, decoded = self._before or (packet.pts_us, packet.dts_us)
        if not unfit and packet.pts_us < shown and packet.dts_us > decoded:
            unfit = fitness.B_FRAMES
        self._before = (packet.pts_us, packet.dts_us)
        unfit = unfit or self._too_far_apart(packet.dts_us, unit.keyframe)
        if unit.keyframe and (unit.unfit != fitness.OPEN_GOP or not self._is_held):
            self._drop_held()
            self._is_held = True
            self._keyframe_us, self._asked = packet.dts_us, False
        self._hold(packet, unit.data, shift_us)
        if unfit:
            return self._switch(unfit)
        self._waiting, self._fruitless = False, 0
        pictures = Pictures("vp8" if packet.form.codec == "vp8" else "h264", unit.width, unit.height)
        if not self._copies or pictures != self.pictures:
            self._copies, self.pictures = True, pictures
            self._handling = Handling("video", "copied", "", _named(pictures), _named(pictures))
        return [self._room_packet(unit.data, time_us, unit.keyframe)]

    def _room_packet(self, data: bytes, time_us: int, keyframe: bool) -> RoomPacket:
        assert self.pictures is not None
        if self._last_us is not None:
            time_us = max(time_us, self._last_us + TICK_US)
        self._last_us = time_us
        return RoomPacket("video", self.pictures.codec, data, time_us, keyframe)

    def _too_far_apart(self, dts_us: int, keyframe: bool) -> str:
        """Nobody who comes in may wait so long for a picture. Without what is held only a keyframe can begin anew."""
        if self._keyframe_us is None or dts_us - self._keyframe_us <= FAR_APART_US:
            return ""
        if not (self._asked or self._is_full) or not (self._is_held or keyframe):
            return ""
        return f"keyframes more than {FAR_APART_US // 1_000_000} s apart"

    def _switch(self, why: str) -> list[RoomPacket]:
        """To transcoding, from what is held on; else from what comes."""
        if why == fitness.B_FRAMES and self._settings.b_frames == "refuse":
            self.is_refused = True
            self._handling = Handling("video", "refused", why, self._source())
            self._drop_held()
            return []
        self._transcode(why)
        transcoder = self._transcoder
        if transcoder is None:
            return []
        held = list(self._held) if self._is_held else []
        self._drop_held()
        after = self._last_us
        self._waiting = not held
        made = [
            each
            for packet, shift_us in held
            for each in transcoder.put(packet.data, packet.pts_us + shift_us, packet.dts_us + shift_us, after_us=after)
        ]
        return self._finished(made)

    def _transcode(self, why: str) -> None:
        assert self._form is not None
        self._why = why
        width, height = self._size
        if width * height > MAX_PIXELS:
            return self._leave_out(f"{width}x{height} is more than is decoded")
        try:
            self._transcoder = Transcoder(
                self._form,
                self._settings.limits,
                self._settings.max_fps,
                self._elapsed,
                in_band=self._reader is not None,
            )
        except (av.FFmpegError, ValueError) as error:
            self._leave_out(f"no decoder: {type(error).__name__}")

    def _transcoded(
        self, packet: SourcePacket, data: bytes, shift_us: int, *, keyframe: bool | None = None
    ) -> list[RoomPacket]:
        transcoder = self._transcoder
        if transcoder is None:
            return []
        if self._waiting and not (packet.keyframe if keyframe is None else keyframe):
            self._count_fruitless(HOPELESS_WAIT)
            return []
        self._waiting = False
        made = transcoder.put(data, packet.pts_us + shift_us, packet.dts_us + shift_us)
        if transcoder.has_pictures:
            self._fruitless = 0
        else:
            self._count_fruitless()
        return self._finished(made)

    def _finished(self, made: list[RoomPacket]) -> list[RoomPacket]:
        transcoder = self._transcoder
        if transcoder is None:
            return []
        falls_behind = transcoder.skipped > 0 and not self._falls_behind
        if falls_behind:  # is told once: it comes and goes
            self._falls_behind, self._why = True, f"{self._why}; {TOO_SLOW}"
        if transcoder.has_changed() or falls_behind:
            self.pictures = Pictures("h264", *transcoder.size)
            assert self._form is not None
            width, height = transcoder.source_size
            source = f"{self._form.codec} {width}x{height}"
            self._handling = Handling("video", "transcoded", self._why, source, _named(self.pictures))
        return [self._room_packet(each.data, each.time_us, each.keyframe) for each in made]

    def _leave_out(self, why: str) -> None:
        self.is_left_out, self._transcoder, self.pictures = True, None, None
        self._handling = Handling("video", "left_out", why, self._source())

    def _count_fruitless(self, hopeless: int = HOPELESS) -> None:
        self._fruitless += 1
        has_pictures = self._copies or (self._transcoder is not None and self._transcoder.has_pictures)
        if self._fruitless >= hopeless and not has_pictures:
            self._leave_out("nothing that decodes")

    def _hold(self, packet: SourcePacket, data: bytes, shift_us: int) -> None:
        if not self._is_held:
            return
        if len(self._held) > MAX_HELD or self._held_bytes > MAX_HELD_BYTES:
            self._drop_held()
            return
        held = SourcePacket(packet.form, data, packet.pts_us, packet.dts_us, packet.keyframe)
        self._held.append((held, shift_us))
        self._held_bytes += len(data)

    @property
    def _is_full(self) -> bool:
        return len(self._held) >= MAX_HELD or self._held_bytes >= MAX_HELD_BYTES * 3 // 4

    def _drop_held(self) -> None:
        self._held.clear()
        self._held_bytes, self._is_held = 0, False

    def _source(self) -> str:
        assert self._form is not None
        width, height = self._size
        return f"{self._form.codec} {width}x{height}" if width > 0 and height > 0 else self._form.codec


def _named(pictures: Pictures) -> str:
    return f"{pictures.codec} {pictures.width}x{pictures.height}"
