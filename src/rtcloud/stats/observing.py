"""What a room goes through, as events and samples to remember. Pure, but for telling the recorder.

The room's own records write who is there and who sends and receives what; here is told what has no such row. It is
told when it is decided: in the second in which the database fails it may tell of what did not come to be.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.measuring import Period
from rtcloud.rooms.participant import Participant, Track
from rtcloud.rooms.room import Room
from rtcloud.stats import sampling
from rtcloud.stats.events import EventId, RefusedEntry, UserEvent, mute_event, stream_of
from rtcloud.stats.recorder import Recorder
from rtcloud.stats.samples import Sample

_log = logging.getLogger(__name__)

_NAME = 64
_IS_MUTE = {
    frozenset[str](): 0,
    frozenset({"audio", "video"}): 1,
    frozenset({"audio"}): 2,
    frozenset({"video"}): 3,
}


class Observer:
    """What the rooms and the join endpoint tell. A fault of this memory is logged: it ends no call."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        #: by room and participant, what it sends, as of the newest period: it goes with its next sample
        self._sent: dict[str, dict[str, dict[str, float]]] = {}

    def handled(self, room: Room, fact: facts.Fact, ordered: Sequence[commands.Command], now_ms: int) -> None:
        """The room has handled ``fact``, and asks for what is ``ordered``."""
        try:
            for event in events_of(room, fact, ordered, now_ms):
                self._recorder.event(event)
        except Exception:
            _log.exception("what a room did could not be remembered")

    def told(self, room: Room, event: media.AnyEvent, now_ms: int) -> None:
        """The media node says something of the room."""
        try:
            self._told(room, event, now_ms)
        except Exception:
            _log.exception("what the media node says could not be remembered")

    def _told(self, room: Room, event: media.AnyEvent, now_ms: int) -> None:
        match event:
            case media.Quality():
                participant = room.sessions.get(event.participant)
                if participant is not None:
                    sent = self._sent.get(room.sid, {}).pop(event.participant, {})
                    self._recorder.sample(participant.presence, sample_of(participant, event, now_ms, sent))
            case media.TransportChanged():
                event_id = EventId.MEDIA_UP if event.state == "connected" else EventId.MEDIA_DOWN
                self._note(room, event.participant, now_ms, event_id, detail=f"{event.target} {event.state}")
            case media.DataRefused():
                self._note(room, event.participant, now_ms, EventId.DATA_REFUSED, event.count, detail=event.reason)
            case _:
                pass

    def measured(self, room: Room, period: Period, now_ms: int) -> None:
        """A period of a room is over."""
        try:
            self._measured(room, period, now_ms)
        except Exception:
            _log.exception("what the media node measured could not be remembered")

    def ended(self, room: Room) -> None:
        self._sent.pop(room.sid, None)

    def _measured(self, room: Room, period: Period, now_ms: int) -> None:
        def find(track_id: str) -> tuple[str, str] | None:
            owner, track = room.state.find(track_id)
            return None if owner is None or track is None else (owner.user_id, track.right)

        self._sent[room.sid] = sampling.sent(period, find)
        for session, peer, sample in sampling.received(period, find, now_ms):
            participant = room.sessions.get(session)
            if participant is not None:
                self._recorder.sample(participant.presence, sample, peer)

    def refused(self, ref: RoomRef, user_id: str, code: int, now_ms: int) -> None:
        """Somebody did not get into a room of an application that exists."""
        entry = RefusedEntry(ref.sdk_app_id, ref.numeric, ref.room_id[:_NAME], user_id[:_NAME], now_ms, code)
        self._recorder.refused(entry)

    def _note(
        self, room: Room, session: str, now_ms: int, event_id: EventId, param1: int = -1, *, detail: str = ""
    ) -> None:
        participant = room.sessions.get(session)
        if participant is not None:
            self._recorder.event(UserEvent(participant.presence, now_ms, event_id, param1, detail=detail))


def events_of(room: Room, fact: facts.Fact, ordered: Sequence[commands.Command], now_ms: int) -> Iterator[UserEvent]:
    match fact:
        case facts.Entered():
            yield from _came_back(room, fact, ordered, now_ms)
        case facts.SocketLost(session) if (who := room.sessions.get(session)) is not None:
            yield UserEvent(who.presence, now_ms, EventId.SIGNAL_DOWN)
        case facts.Resumed(session) if (who := room.sessions.get(session)) is not None:
            yield UserEvent(who.presence, now_ms, EventId.SIGNAL_UP)
        case facts.MediaStarted(session, track_id, codec) if (who := room.sessions.get(session)) is not None:
            if (track := who.tracks.get(track_id)) is not None:
                yield _first_sent(who, track, codec, now_ms)
                yield from _size(who, track, now_ms)
        case facts.TrackDescribed(session, track_id) if (who := room.sessions.get(session)) is not None:
            if (track := who.tracks.get(track_id)) is not None:
                yield from _size(who, track, now_ms)
        case _:
            pass
    for command in ordered:
        yield from _of_command(room, command, now_ms)


def sample_of(
    participant: Participant, event: media.Quality, now_ms: int, sent: Mapping[str, float] = MappingProxyType({})
) -> Sample:
    """Its connection and what it sends as they were measured; sizes as it says itself where nothing tells."""
    sizes: dict[str, float] = {}
    for track in participant.tracks.values():
        if track.kind == "video" and track.width and track.started and not participant.is_silenced(track):
            sizes |= {f"{track.right}_width": track.width, f"{track.right}_height": track.height}
    sizes.update(sent)
    return Sample(
        now_ms,
        uplink_loss=event.uplink_loss,
        downlink_loss=event.downlink_loss,
        rtt_ms=event.rtt_ms,
        uplink_bitrate=event.uplink_bitrate,
        downlink_bitrate=event.downlink_bitrate,
        **sizes,  # type: ignore[arg-type]  # each as its field is
    )


def _of_command(room: Room, command: commands.Command, now_ms: int) -> Iterator[UserEvent]:
    match command:
        case commands.Drive(media.MuteTrack(track=track_id, muted=muted)):
            owner, track = room.state.find(track_id)
            if owner is not None and track is not None:
                stream = track.right
                yield UserEvent(owner.presence, now_ms, mute_event(stream, muted), stream=stream_of(stream))
        case commands.RoleChanged(presence, _, role):
            yield UserEvent(presence, now_ms, EventId.ROLE_CHANGED, int(role))
        case commands.DeviceChanged(presence, device):
            yield UserEvent(presence, now_ms, EventId.ADDRESS_CHANGED, detail=device.client_address)
        case commands.UserBlocked(user_id, kinds):
            if (who := room.participants.get(user_id)) is not None:
                yield UserEvent(who.presence, now_ms, EventId.BLOCKED, _IS_MUTE[frozenset(kinds)])
        case _:
            pass


def _came_back(
    room: Room, fact: facts.Entered, ordered: Sequence[commands.Command], now_ms: int
) -> Iterator[UserEvent]:
    """In a new session, to a presence that goes on: not the entry that the presence's row tells."""
    participant = room.sessions.get(fact.participant_id)
    if participant is None or any(isinstance(one, commands.PresenceBegan) for one in ordered):
        return
    yield UserEvent(participant.presence, now_ms, EventId.ENTERED, 1)


def _first_sent(who: Participant, track: Track, codec: str, now_ms: int) -> UserEvent:
    event_id = EventId.FIRST_AUDIO_SENT if track.kind == "audio" else EventId.FIRST_VIDEO_SENT
    return UserEvent(who.presence, now_ms, event_id, stream=stream_of(track.right), detail=codec)


def _size(who: Participant, track: Track, now_ms: int) -> Iterator[UserEvent]:
    if track.kind == "video" and track.width and track.height:
        yield UserEvent(
            who.presence, now_ms, EventId.RESOLUTION, track.width, track.height, stream=stream_of(track.right)
        )
