"""One participant's signalling session as a pure machine: client messages and room notices in, commands out.

A session lives as long as its participant does; sockets come and go beneath it (a resume is a new socket for the same
session). Until the room has welcomed it, client messages wait (bounded): they may arrive before the join is durable.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from livekit.protocol import rtc

from rtcloud.media import node as media
from rtcloud.rooms import facts
from rtcloud.rooms.ids import RoomRef
from rtcloud.signal import messages
from rtcloud.signal.joining import JoinAttempt

#: Of one client message; an offer with 50 sections is 60 KB.
MAX_MESSAGE = 512 * 1024
#: Messages held while the join is being written down.
MAX_EARLY = 64
#: Tracks one participant may have announced, and names in one request.
MAX_TRACKS = 32
MAX_NAMES = 512


@dataclass(frozen=True, slots=True)
class Send:
    response: rtc.SignalResponse


@dataclass(frozen=True, slots=True)
class Post:
    """A fact for the room."""

    fact: facts.Fact


@dataclass(frozen=True, slots=True)
class Drive:
    command: media.AnyCommand


@dataclass(frozen=True, slots=True)
class Hangup:
    """Close the socket after what was sent."""

    reason: str


Command = Send | Post | Drive | Hangup

_TARGETS = {0: "publisher", 1: "subscriber"}


@dataclass(slots=True)
class Session:
    ref: RoomRef
    participant_id: str
    attempt: JoinAttempt
    new_id: Callable[[str], str]
    room_sid: str = ""
    joined: bool = False
    tracks: set[str] = field(default_factory=set)
    early: list[bytes] = field(default_factory=list)

    @property
    def single(self) -> bool:
        return self.attempt.single

    # from the client ----------------------------------------------------------------------------------------------

    def receive(self, raw: bytes, now_ms: int) -> list[Command]:
        """One binary message of the socket. A malformed one ends the session."""
        if not self.joined:
            if len(self.early) >= MAX_EARLY or len(raw) + sum(map(len, self.early)) > MAX_MESSAGE:
                return self._give_up("too many messages before the join response")
            self.early.append(raw)
            return []
        if not 0 < len(raw) <= MAX_MESSAGE:
            return self._give_up("message empty or too long")
        try:
            request = rtc.SignalRequest.FromString(raw)
        except DecodeError:
            return self._give_up("not a SignalRequest")
        return list(self._handle(request, now_ms))

    def _give_up(self, reason: str) -> list[Command]:
        """The client does not speak the protocol: it leaves the room."""
        return [Send(messages.leave("protocol")), Post(facts.LeftRoom(self.participant_id)), Hangup(reason)]

    def _handle(self, request: rtc.SignalRequest, now_ms: int) -> Iterator[Command]:
        match request.WhichOneof("message"):
            case "offer":
                yield self._offer(request.offer)
            case "answer":
                answer = request.answer
                yield Drive(
                    media.Answer(room=self.room_sid, participant=self.participant_id, request=answer.id, sdp=answer.sdp)
                )
            case "trickle":
                yield from self._trickle(request.trickle)
            case "add_track":
                yield from self._add_track(request.add_track)
            case "mute":
                yield Post(facts.TrackMuted(self.participant_id, request.mute.sid, request.mute.muted))
            case "subscription":
                yield from self._subscription(request.subscription)
            case "track_setting":
                setting = request.track_setting
                yield Post(
                    facts.SubscriptionSized(
                        self.participant_id,
                        tuple(setting.track_sids[:MAX_NAMES]),
                        not setting.disabled,
                        min(setting.width, 16384),
                        min(setting.height, 16384),
                        min(setting.fps, 240),
                        setting.quality,
                    )
                )
            case "leave":
                yield Post(facts.LeftRoom(self.participant_id))
            case "ping":
                yield Send(rtc.SignalResponse(pong=now_ms))
            case "ping_req":
                pong = rtc.Pong(last_ping_timestamp=request.ping_req.timestamp, timestamp=now_ms)
                yield Send(rtc.SignalResponse(pong_resp=pong))
            case "update_metadata":
                yield self._refuse(request.update_metadata.request_id)
            case "publish_data_track_request" | "simulate" | "store_data_blob_request" | "get_data_blob_request":
                yield self._refuse(0)
            case _:  # layers, sync state and the like inform; nothing follows from them here
                return

    def _offer(self, offer: rtc.SessionDescription) -> Command:
        return Drive(
            media.Offer(
                room=self.room_sid,
                participant=self.participant_id,
                request=offer.id,
                target="single" if self.single else "publisher",
                sdp=offer.sdp,
            )
        )

    def _trickle(self, trickle: rtc.TrickleRequest) -> Iterator[Command]:
        try:
            candidate = msgspec.json.decode(trickle.candidateInit, type=_Candidate).candidate
        except (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError):
            return
        if candidate:
            yield Drive(
                media.AddCandidate(
                    room=self.room_sid,
                    participant=self.participant_id,
                    target="single" if self.single else _TARGETS.get(trickle.target, "publisher"),  # type: ignore[arg-type]
                    candidate=candidate[:1024],
                )
            )

    def _add_track(self, request: rtc.AddTrackRequest) -> Iterator[Command]:
        if len(self.tracks) >= MAX_TRACKS or not request.cid:
            yield self._refuse(0)
            return
        track = messages.track_of(request, self.new_id("TR"))
        self.tracks.add(track.track_id)
        yield Post(facts.TrackAdded(self.participant_id, track))

    def _subscription(self, update: rtc.UpdateSubscription) -> Iterator[Command]:
        track_ids = [*update.track_sids]
        for tracks in update.participant_tracks:
            track_ids.extend(tracks.track_sids)
        yield Post(facts.SubscriptionChosen(self.participant_id, tuple(track_ids[:MAX_NAMES]), update.subscribe))

    def _refuse(self, request_id: int) -> Command:
        response = rtc.RequestResponse(
            request_id=request_id,
            reason=rtc.RequestResponse.Reason.UNSUPPORTED_TYPE,
            message="this server does not offer that",
        )
        return Send(rtc.SignalResponse(request_response=response))

    # from the room ------------------------------------------------------------------------------------------------

    def tell(self, notice: facts.Notice | media.AnyEvent, now_ms: int) -> list[Command]:
        """A notice of the room or an event of the media node, as what the client gets to hear."""
        return list(self._tell(notice, now_ms))

    def _tell(self, notice: facts.Notice | media.AnyEvent, now_ms: int) -> Iterator[Command]:
        match notice:
            case facts.Welcome():
                yield from self._welcome(notice, now_ms)
            case facts.Confirm():
                yield Send(messages.reconnect_response())
                participants = [messages.participant_info(p) for p in (notice.participant, *notice.others)]
                yield Send(rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=participants)))
                if not self.single:
                    yield Drive(media.RestartIce(room=self.room_sid, participant=self.participant_id))
            case facts.ShowParticipants():
                yield Send(messages.participants(notice))
            case facts.AcceptTrack(cid, track):
                published = rtc.TrackPublishedResponse(cid=cid, track=messages.track_info(track))
                yield Send(rtc.SignalResponse(track_published=published))
            case facts.DropTrack(track_id):
                self.tracks.discard(track_id)
                yield Send(rtc.SignalResponse(track_unpublished=rtc.TrackUnpublishedResponse(track_sid=track_id)))
            case facts.TellPublisher(track_id):
                yield Send(rtc.SignalResponse(track_subscribed=rtc.TrackSubscribed(track_sid=track_id)))
            case facts.ShowQuality():
                yield Send(messages.quality(notice))
            case facts.Dismiss(cause):
                yield Send(messages.leave(cause))
                yield Hangup(cause)
            case _:
                yield from self._tell_media(notice)

    def _tell_media(self, event: Any) -> Iterator[Command]:
        match event:
            case media.Answered():
                yield Send(messages.description("answer", event.sdp, event.request, event.mid_to_track))
            case media.Offered():
                yield Send(messages.description("offer", event.sdp, event.request, event.mid_to_track))
            case media.SectionsNeeded():
                needed = rtc.MediaSectionsRequirement(num_audios=event.audio, num_videos=event.video)
                yield Send(rtc.SignalResponse(media_sections_requirement=needed))
            case media.Speakers():
                yield Send(messages.speakers(event))
            case media.SdpRejected():
                yield from self._give_up(f"unusable SDP: {event.reason}")
            case _:  # transport states: the client sees them itself
                return

    def _welcome(self, welcome: facts.Welcome, now_ms: int) -> Iterator[Command]:
        self.joined = True
        self.room_sid = welcome.sid
        yield Send(
            messages.join_response(
                self.ref,
                self.room_sid,
                welcome.created_ms,
                welcome.participant,
                welcome.others,
                single=self.single,
            )
        )
        for request in self.attempt.add_tracks[:MAX_TRACKS]:
            yield from self._add_track(request)
        if self.attempt.offer is not None:
            yield self._offer(self.attempt.offer)
        early, self.early = self.early, []
        for raw in early:
            yield from self.receive(raw, now_ms)


class _Candidate(msgspec.Struct):
    candidate: str = ""
