"""Who is recorded, who has a place in the picture, and when nobody is there: pure rules over who is in the room.

A place belongs to a person's main stream (camera and microphone) or sub stream (screen), in the order of entry, main
before sub. People who send only sound keep a place, unless the request says otherwise. While a person's video stops,
the place shows its last picture or the background, as ``FillType`` says.

Someone counts as an anchor from the first thing they publish until they leave the room: an anchor who for the moment
sends nothing does not let the recording run idle.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from rtcloud.client.types import Participant, RemoteTrack
from rtcloud.egress.recording.request import RecordingRequest
from rtcloud.mixer import layout
from rtcloud.mixer.layout import MAX_PICTURES, RenderMode
from rtcloud.mixer.scene import Cell, Scene

RENDER_MODES = (RenderMode.STRETCH, RenderMode.CROP, RenderMode.FIT, RenderMode.SMART)
#: people whose streams one recording takes
MAX_PEOPLE = 25
_SUB_SOURCES = ("screen_share", "screen_share_audio")


@dataclass(frozen=True, slots=True)
class Plan:
    """``places`` are video tracks in layout order, None for a place without picture; ``audio`` and ``video`` are the
    tracks to receive; ``kept`` are ended tracks whose last picture still stands."""

    places: tuple[str | None, ...] = ()
    audio: dict[str, RemoteTrack] = field(default_factory=dict)
    video: dict[str, RemoteTrack] = field(default_factory=dict)
    kept: frozenset[str] = frozenset()
    has_anchor: bool = False


class Roster:
    """Remembers what a single look into the room does not show: who has published, and what a place showed last."""

    def __init__(self, request: RecordingRequest) -> None:
        self._request = request
        self._anchors: set[str] = set()  # participant ids
        self._shown: dict[tuple[str, str], str] = {}  # (participant id, stream) → video track

    def plan(self, participants: Iterable[Participant]) -> Plan:
        """``participants`` are the others in the order they came."""
        present = list(participants)
        ids = {participant.participant_id for participant in present}
        self._anchors &= ids
        self._anchors |= {participant.participant_id for participant in present if participant.tracks}
        publishing = [participant for participant in present if participant.tracks][:MAX_PEOPLE]
        audio: dict[str, RemoteTrack] = {}
        video: dict[str, RemoteTrack] = {}
        places: list[str | None] = []
        shown: dict[tuple[str, str], str] = {}
        for participant in publishing:
            for stream in ("main", "sub"):
                heard, seen, is_there = self._streams(participant, stream)
                audio.update((track.track_id, track) for track in heard)
                video.update((track.track_id, track) for track in seen)
                if is_there and len(places) < MAX_PICTURES:
                    key = (participant.participant_id, stream)
                    track_id = self._picture(key, seen)
                    places.append(track_id)
                    if track_id is not None:
                        shown[key] = track_id
        self._shown = shown
        kept = frozenset(shown.values()) - video.keys()
        return Plan(tuple(places), audio, video, kept, bool(self._anchors))

    def _streams(self, participant: Participant, stream: str) -> tuple[list[RemoteTrack], list[RemoteTrack], bool]:
        """Sound and video to receive of one stream, and whether it has a place."""
        params = self._request.record_params
        if not (params.wants_main if stream == "main" else params.wants_sub):
            return [], [], False
        tracks = [track for track in participant.tracks if (track.source in _SUB_SOURCES) == (stream == "sub")]
        chosen = params.subscribe_stream_user_ids
        heard = [track for track in tracks if track.kind == "audio" and chosen.wants_audio(participant.user_id)]
        seen = [track for track in tracks if track.kind == "video" and chosen.wants_video(participant.user_id)]
        has_place = bool(seen)
        if stream == "main" and not self._request.mix_layout_params.pure_audio_disable_layout:
            has_place = bool(seen or heard)
        if params.stream_type == 1:
            seen, has_place = [], False
        if params.stream_type == 2:
            heard = []
        return heard, seen, has_place

    def _picture(self, key: tuple[str, str], tracks: list[RemoteTrack]) -> str | None:
        live = [track for track in tracks if not track.muted]
        if live:
            return live[-1].track_id
        if self._request.record_params.fill_type == 0:
            return tracks[-1].track_id if tracks else self._shown.get(key)
        return None


def grid_scene(request: RecordingRequest, places: Sequence[str | None]) -> Scene:
    """The grid with these places, None for one without a picture."""
    video, picture = request.mix_transcode_params.video_params, request.mix_layout_params
    places = places[:MAX_PICTURES]
    rects = layout.grid(len(places), layout.even(video.width), layout.even(video.height))
    mode = RENDER_MODES[picture.render_mode]
    cells = [Cell(rect, track_id, mode=mode) for rect, track_id in zip(rects, places, strict=True) if track_id]
    return Scene(layout.parse_colour(picture.background_color) or layout.BLACK, cells=tuple(cells))
