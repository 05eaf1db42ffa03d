"""Who is recorded, who has a place in the picture, and when nobody is there: pure rules over who is in the room.

**Streams.** A person has two, main (camera and microphone) and sub (the screen and its sound), main before sub, in the
order of entry. At most ``MAX_STREAMS`` are recorded: those that are already, then others as they come. Robots that feed
a mix back are not, unless ``SubscribeAbility`` says so.

**Places.** People who send only sound keep a place, unless the request says otherwise. Templates are arranged anew from
who is there; the big place of floating and screen sharing is the named stream's and empty without it, unnamed it is the
first stream's (floating) or nobody's (screen sharing). In a custom layout a named place waits for its stream, one
without a name takes the next stream of its kind and keeps it until that ends. Who has no place is heard all the same.

Someone counts as an anchor from the first thing they publish until they leave the room: an anchor who for the moment
sends nothing does not let the recording run idle.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rtcloud.client.types import Participant, RemoteTrack
from rtcloud.egress.publishing.request import FEEDBACK
from rtcloud.egress.recording.appearance import AUX, FLOATING, GRID, MAIN, MixLayout
from rtcloud.egress.recording.request import RecordingRequest
from rtcloud.egress.recording.scenery import RENDER_MODES, Scenery, Shown, Window
from rtcloud.mixer import templates
from rtcloud.mixer.layout import BLACK
from rtcloud.mixer.scene import Cell, Scene
from rtcloud.mixer.templates import RECORDING

#: streams that one recording takes
MAX_STREAMS = 25
#: of one stream, earlier videos whose picture may still have to stand for a later one's
MAX_BEFORE = 2
_SUB_SOURCES = ("screen_share", "screen_share_audio")

#: participant id, and MAIN or AUX
StreamKey = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """``places`` are the tracks that stand in layout order, None for a place without picture; ``audio`` and ``video``
    are the tracks to receive; ``kept`` are ended tracks whose last picture still stands."""

    scene: Scene = Scene(BLACK)
    places: tuple[str | None, ...] = ()
    audio: dict[str, RemoteTrack] = field(default_factory=dict)
    video: dict[str, RemoteTrack] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    has_anchor: bool = False


@dataclass(frozen=True, slots=True)
class _Stream:
    """What one person sends of one kind that is recorded. ``shown`` None: it has no place."""

    key: StreamKey
    user_id: str
    heard: Sequence[RemoteTrack]
    seen: Sequence[RemoteTrack]
    shown: Shown | None

    @property
    def kind(self) -> int:
        return self.key[1]

    @property
    def name(self) -> tuple[str, int]:
        return self.user_id, self.kind


class Roster:
    """Remembers what a single look into the room does not show: who has published, whose streams are recorded, what a
    place showed last and who stands in unnamed places. ``images`` is the directory of the request's images."""

    def __init__(self, request: RecordingRequest, images: Path = Path()) -> None:
        self._images = images
        self._anchors: set[str] = set()  # participant ids
        self._taken: frozenset[StreamKey] = frozenset()
        self._showed: dict[StreamKey, Shown] = {}
        self._standing: dict[int, StreamKey] = {}  # unnamed place → who stands there
        self.update(request)

    def update(self, request: RecordingRequest) -> None:
        """Another request from now on. What is remembered stays, so that those who remain keep their places."""
        self._request = request
        self._scenery = Scenery(request, self._images)

    def plan(self, participants: Iterable[Participant]) -> Plan:
        """``participants`` are the others in the order they came."""
        present = [participant for participant in participants if self._may_take_part(participant)]
        ids = {participant.participant_id for participant in present}
        self._anchors &= ids
        self._anchors |= {participant.participant_id for participant in present if participant.tracks}
        streams = self._streams(present)
        audio = {track.track_id: track for stream in streams for track in stream.heard}
        video = {track.track_id: track for stream in streams for track in stream.seen}
        cells, places = self._arrange([stream for stream in streams if stream.shown is not None])
        standing = {cell.track_id for cell in cells if cell.track_id is not None}
        kept = frozenset(standing - video.keys())
        scene = self._scenery.scene(tuple(cells))
        return Plan(scene, tuple(places), audio, video, kept, bool(self._anchors))

    # Who is recorded ------------------------------------------------------------------------------------------------

    def _may_take_part(self, participant: Participant) -> bool:
        is_feedback = participant.robot and FEEDBACK in participant.attributes
        return not is_feedback or self._request.record_params.subscribe_ability == 1

    def _streams(self, present: Sequence[Participant]) -> list[_Stream]:
        found = [self._stream(participant, kind) for participant in present for kind in (MAIN, AUX)]
        sent = [stream for stream in found if stream.heard or stream.seen]
        first = sorted(sent, key=lambda stream: stream.key not in self._taken)[:MAX_STREAMS]
        self._taken = frozenset(stream.key for stream in first)
        taken = [stream for stream in sent if stream.key in self._taken]
        self._showed = {stream.key: stream.shown for stream in taken if stream.shown is not None}
        return taken

    def _stream(self, participant: Participant, kind: int) -> _Stream:
        params = self._request.record_params
        key = participant.participant_id, kind
        if not (params.wants_main if kind == MAIN else params.wants_sub):
            return _Stream(key, participant.user_id, (), (), None)
        tracks = [track for track in participant.tracks if (track.source in _SUB_SOURCES) == (kind == AUX)]
        chosen = params.subscribe_stream_user_ids
        heard = [track for track in tracks if track.kind == "audio" and chosen.wants_audio(participant.user_id)]
        seen = [track for track in tracks if track.kind == "video" and chosen.wants_video(participant.user_id)]
        has_place = bool(seen) or (kind == MAIN and bool(heard) and self._sound_has_place)
        if params.stream_type == 1:
            seen, has_place = [], False
        if params.stream_type == 2:
            heard = []
        shown = self._shown(key, seen, chosen.wants_video(participant.user_id)) if has_place else None
        return _Stream(key, participant.user_id, heard, seen, shown)

    @property
    def _sound_has_place(self) -> bool:
        params = self._request.mix_layout_params
        return params.is_custom or not params.pure_audio_disable_layout

    def _shown(self, key: StreamKey, tracks: Sequence[RemoteTrack], is_wanted: bool) -> Shown:
        """``is_wanted``: a last picture may stand, too."""
        showed = self._showed.get(key, Shown())
        now = tuple(dict.fromkeys((*showed.before, *((showed.track,) if showed.track is not None else ()))))
        live = [track.track_id for track in tracks if not track.muted]
        if live:
            return Shown(live[-1], before=showed.before if showed.live == live[-1] else now[-MAX_BEFORE:])
        last = tracks[-1].track_id if tracks else showed.track if is_wanted else None
        return Shown(last=last, before=showed.before if showed.track == last else now[-MAX_BEFORE:])

    # Who stands where -----------------------------------------------------------------------------------------------

    def _arrange(self, streams: Sequence[_Stream]) -> tuple[list[Cell], list[str | None]]:
        params = self._request.mix_layout_params
        if not self._request.has_picture:
            return [], []
        placed = self._custom(streams) if params.is_custom else self._template(streams)
        cells: list[Cell] = []
        places: list[str | None] = []
        for window, stream in placed:
            drawn = self._scenery.cells(window, None if stream is None else stream.shown)
            cells += drawn
            places.append(next((cell.track_id for cell in reversed(drawn) if cell.track_id is not None), None))
        return cells, places

    def _template(self, streams: Sequence[_Stream]) -> list[tuple[Window, _Stream | None]]:
        params, scenery = self._request.mix_layout_params, self._scenery
        mode = RENDER_MODES[params.render_mode]
        if params.mix_layout_mode == GRID:
            in_order: list[_Stream | None] = [*streams]
            places = templates.grid(RECORDING, len(streams), scenery.width, scenery.height)
        else:
            big = self._big(streams)
            small = [stream for stream in streams if stream is not big]
            in_order = [big, *small]
            if params.mix_layout_mode == FLOATING:
                places = templates.floating(RECORDING, len(small), scenery.width, scenery.height)
            else:
                big_right = params.max_resolution_user_align == 1
                places = templates.screen_sharing(
                    RECORDING, len(small), scenery.width, scenery.height, big_right=big_right
                )
        return [(Window(place.rect, mode, place.z), stream) for place, stream in zip(places, in_order, strict=False)]

    def _big(self, streams: Sequence[_Stream]) -> _Stream | None:
        params = self._request.mix_layout_params
        if params.max_resolution_user_id:
            wanted = params.max_resolution_user_id, params.media_id
            return next((stream for stream in streams if stream.name == wanted), None)
        return streams[0] if streams and params.mix_layout_mode == FLOATING else None

    def _custom(self, streams: Sequence[_Stream]) -> list[tuple[Window, _Stream | None]]:
        listed = self._request.mix_layout_params.mix_layout_list
        windows = {
            index: Window(
                rect, RENDER_MODES[place.render_mode], place.image_layer, place.alpha, place.sub_background_image
            )
            for index, place in enumerate(listed)
            if (rect := self._scenery.inside(place.left, place.top, place.width, place.height)) is not None
        }
        standing = self._fill({index: listed[index] for index in windows}, streams)
        return [(window, standing.get(index)) for index, window in windows.items()]

    def _fill(self, listed: Mapping[int, MixLayout], streams: Sequence[_Stream]) -> dict[int, _Stream]:
        """Place → who stands there."""
        by_name = {stream.name: stream for stream in streams}
        named = {index: (place.user_id, place.media_id) for index, place in listed.items() if place.user_id}
        standing = {index: by_name[name] for index, name in named.items() if name in by_name}
        waiting = {stream.key: stream for stream in streams if stream.name not in named.values()}
        free = {index: place.media_id for index, place in listed.items() if index not in named}
        for index, key in self._standing.items():
            if key in waiting and free.get(index) == waiting[key].kind:
                standing[index] = waiting.pop(key)
                del free[index]
        for stream in waiting.values():
            place = next((index for index, kind in free.items() if kind == stream.kind), None)
            if place is not None:
                standing[place] = stream
                del free[place]
        self._standing = {index: stream.key for index, stream in standing.items() if index not in named}
        return standing
