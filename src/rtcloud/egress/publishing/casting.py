"""Who is heard and who is seen where in a relay: pure rules over who is in the rooms.

**Streams.** A person has two, main (camera, microphone) and aux (screen and its sound), each with a place of its own,
main first. A muted video is no picture. Unnamed places and preset layouts take people of the main room; people of other
rooms take part only when the request names them.

**Preset layouts** show streams in the order of entry, again at every change. Who sends only sound takes no place unless
``PureAudioHoldPlaceMode`` says so. The big place is the named stream's and empty without it; unnamed, floating gives it
to the first stream, screen sharing to nobody.

**Custom layouts**: a named place waits for its stream, an unnamed one keeps its stream until that ends, and no stream
is shown twice. "When the preset positions are full, no other users' screens and sounds will be mixed": without an audio
list those are heard who have a place, so with only named places only those named. People without video take the places
that are left (the placeholder stands there), and give them up to people with video.

**Sound**: the audio list if there is one, with its volumes; otherwise everyone of the main room, but for custom
layouts. The blocklist wins. At most ``MAX_SOUNDS`` tracks are mixed: those that are already, then unmuted ones
in the order of entry, then muted ones, so that somebody who unmutes is heard from the first word.

**Robots that feed a mix back** into a room are not mixed by relays that feed back themselves; others mix them when the
request names them, or when none of the rooms behind that robot's mix is one of this relay's. A relay's own never are.

Someone counts as an anchor from the first thing they publish until they leave.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from rtcloud.client.types import Participant, RemoteTrack
from rtcloud.egress.publishing.cast import AUX, MAIN, Cast, Draft, Region, RoomView, Stream, TrackKey, User, track_key
from rtcloud.egress.publishing.placing import CustomPlaces, find, is_named, place_preset
from rtcloud.egress.publishing.request import (
    CUSTOM,
    FEEDBACK,
    FEEDBACK_ROOMS,
    MixUserInfo,
    RelayRequest,
    feedback_mark,
)
from rtcloud.egress.publishing.scenery import Scenery
from rtcloud.mixer.scene import Cell
from rtcloud.rooms.ids import RoomRef

__all__ = ["Cast", "Casting", "Region", "RoomView", "TrackKey", "track_key"]

MAX_SOUNDS = 16


class Casting:
    """Remembers what a look into the rooms does not show: who has published, who stands in which unnamed place, and
    whose sound is mixed. ``images`` is the directory of the request's images, ``task_id`` is of this relay."""

    def __init__(self, request: RelayRequest, images: Path, task_id: str) -> None:
        self._images = images
        self._mark = feedback_mark(task_id)
        self._anchors: set[str] = set()  # participant ids
        self._custom = CustomPlaces()
        self._heard: frozenset[TrackKey] = frozenset()
        self.update(request)

    def update(self, request: RelayRequest) -> None:
        """Another request from now on. What is remembered stays, so that those who remain keep their places."""
        self._request = request
        video = request.video_params
        self._scenery = None if video is None else Scenery(video, self._images, request.images)
        self._named = frozenset(self._user(info) for info in request.named)
        audio = request.audio_params
        self._gains: Mapping[User, float] = {}
        self._blocked: frozenset[User] = frozenset()
        if audio is not None:
            self._gains = {self._user(one.user_info): one.sound_level / 100 for one in audio.subscribe_audio_list}
            self._blocked = frozenset(self._user(one.user_info) for one in audio.un_subscribe_audio_list)
        self._is_closed = self._is_for_named_only()

    def plan(self, rooms: Sequence[RoomView]) -> Cast:
        people = [
            (room.ref, participant)
            for room in sorted(rooms, key=lambda room: room.ref != self._request.ref)
            for participant in room.participants
            if self._may_take_part(room.ref, participant)
        ]
        present = [participant for room in rooms for participant in room.participants]
        self._anchors &= {participant.participant_id for participant in present}
        self._anchors |= {participant.participant_id for participant in present if participant.tracks}
        has_anchor = any(participant.participant_id in self._anchors for _, participant in people)
        senders = [(ref, participant) for ref, participant in people if participant.tracks]
        streams = [Stream(ref, participant, kind) for ref, participant in senders for kind in (MAIN, AUX)]
        if self._request.is_single:
            return self._single(streams, has_anchor)
        return self._mixed(streams, has_anchor)

    # Who takes part ---------------------------------------------------------------------------------------------------

    def _user(self, info: MixUserInfo) -> User:
        return self._request.ref_of(info), info.user_id

    def _may_take_part(self, ref: RoomRef, participant: Participant) -> bool:
        user = ref, participant.user_id
        if user not in self._named and (ref != self._request.ref or self._is_closed):
            return False
        feeding = participant.attributes.get(FEEDBACK) if participant.robot else None
        if feeding is None:
            return user not in self._blocked or self._request.video_params is not None
        if feeding == self._mark or self._request.feed_back_room_params:
            return False
        return user in self._named or self._is_foreign(participant.attributes.get(FEEDBACK_ROOMS, ""))

    def _is_for_named_only(self) -> bool:
        if self._request.is_single:
            return True
        video = self._request.video_params
        if video is None:
            return bool(self._gains)
        layout = video.layout_params
        places = layout.mix_layout_list
        return (
            layout.mix_layout_mode == CUSTOM
            and bool(places)
            and all(is_named(place.user_media_stream) for place in places)
        )

    def _is_foreign(self, rooms: str) -> bool:
        try:
            behind = msgspec.json.decode(rooms, type=list[str])
        except msgspec.DecodeError:
            return False
        return not {ref.ordering for ref in self._request.refs} & set(behind)

    # What is sent -----------------------------------------------------------------------------------------------------

    def _single(self, streams: list[Stream], has_anchor: bool) -> Cast:
        params = self._request.single_subscribe_params
        wanted = None
        if params is not None:
            wanted = find(params.user_media_stream, streams, self._user)
        cast = Draft()
        if wanted is not None:
            if self._request.video_params is not None and wanted.picture is not None:
                cast.see(wanted, wanted.picture)
            if self._request.audio_params is not None:
                main = Stream(wanted.ref, wanted.participant, MAIN)
                # a screen without sound of its own is shown with its owner's voice
                for track in wanted.tracks("audio") or main.tracks("audio"):
                    cast.hear(wanted.ref, track, 1.0)
        return cast.done(None, has_anchor)

    def _mixed(self, streams: list[Stream], has_anchor: bool) -> Cast:
        cast = Draft()
        placed: set[User] | None = None
        cells: list[Cell] = []
        video = self._request.video_params
        if video is not None and self._scenery is not None:
            layout = video.layout_params
            surroundings = self._scenery, streams, self._request.ref, self._user
            if layout.mix_layout_mode != CUSTOM:
                cells = place_preset(cast, layout, *surroundings)
            elif layout.mix_layout_list:
                cells, placed = self._custom.place(cast, layout.mix_layout_list, *surroundings)
        if self._request.audio_params is not None:
            self._hear(cast, streams, placed)
        scene = None if self._scenery is None else self._scenery.scene(tuple(cells))
        return cast.done(scene, has_anchor)

    def _hear(self, cast: Draft, streams: list[Stream], placed: set[User] | None) -> None:
        tracks: list[tuple[Stream, RemoteTrack]] = []
        for stream in streams:
            if stream.user in self._blocked:
                continue
            listed = self._gains or placed
            if listed is None or stream.user in listed:
                tracks += [(stream, track) for track in stream.tracks("audio")]
        tracks.sort(key=lambda one: (one[1].muted, track_key(one[0].ref, one[1].track_id) not in self._heard))
        for stream, track in tracks[:MAX_SOUNDS]:
            cast.hear(stream.ref, track, self._gains.get(stream.user, 1.0))
        self._heard = frozenset(cast.audio)
