"""One participant's signalling session as a pure machine: client messages and room notices in, commands out.

A session lives as long as its participant does; sockets come and go beneath it (a resume is a new socket for the same
session). Until the room has welcomed it, client messages wait (bounded): they may arrive before the join is durable.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from google.protobuf.message import DecodeError
from livekit.protocol import rtc

from rtcloud.ice import IceServer, IceServers
from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Participant
from rtcloud.signal import answers, messages
from rtcloud.signal.admission import Admission
from rtcloud.signal.joining import JoinAttempt
from rtcloud.signal.outputs import Command, Drive, Hangup, Post, Send
from rtcloud.signal.profile import ProfileRequests

#: Of one client message; an offer with 50 sections is 60 KB.
MAX_MESSAGE = 512 * 1024
#: Messages held while the join is being written down.
MAX_EARLY = 64
#: Tracks one participant may have announced, and names in one request.
MAX_TRACKS = 32
MAX_NAMES = 512
#: How long a token of a connected session is good; a new one is sent at half of it, and when its role changes.
TOKEN_LIFE_S = 600


_TARGETS = {0: "publisher", 1: "subscriber"}


@dataclass(slots=True)
class Session:
    ref: RoomRef
    participant_id: str
    attempt: JoinAttempt
    new_id: Callable[[str], str]
    admission: Admission
    ice_servers: IceServers = IceServers()
    room_sid: str = ""
    created_ms: int = 0
    joined: bool = False
    tracks: set[str] = field(default_factory=set)
    early: list[bytes] = field(default_factory=list)
    #: user ids of the sessions it knows, for requests that name sessions
    users: dict[str, str] = field(default_factory=dict)
    profile: ProfileRequests = field(init=False)

    def __post_init__(self) -> None:
        self.profile = ProfileRequests(self.participant_id, self.admission)

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
        return [Send(answers.leave("protocol")), Post(facts.LeftRoom(self.participant_id)), Hangup(reason)]

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
                for asked in self.profile.ask(request.update_metadata, now_ms):
                    yield Send(asked) if isinstance(asked, rtc.SignalResponse) else Post(asked)
            case "subscription_permission":
                yield Post(self._audience(request.subscription_permission))
            case "update_audio_track":
                audio = request.update_audio_track
                features = tuple(audio.features[:16])
                yield Post(facts.TrackDescribed(self.participant_id, audio.track_sid, features=features))
            case "update_video_track":
                video = request.update_video_track
                width, height = min(video.width, 16384), min(video.height, 16384)
                yield Post(facts.TrackDescribed(self.participant_id, video.track_sid, width, height))
            case "publish_data_track_request":
                yield Send(answers.unsupported(request.publish_data_track_request))
            case "simulate" | "store_data_blob_request" | "get_data_blob_request":
                yield Send(answers.unsupported())
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
            yield Send(answers.refusal(0, "too_many_tracks" if request.cid else "invalid", cid=request.cid[:256]))
            return
        track = messages.track_of(request, self.new_id("TR"))
        self.tracks.add(track.track_id)
        yield Post(facts.TrackAdded(self.participant_id, track))

    def _subscription(self, update: rtc.UpdateSubscription) -> Iterator[Command]:
        track_ids = [*update.track_sids]
        for tracks in update.participant_tracks:
            track_ids.extend(tracks.track_sids)
        yield Post(facts.SubscriptionChosen(self.participant_id, tuple(track_ids[:MAX_NAMES]), update.subscribe))

    def _audience(self, permission: rtc.SubscriptionPermission) -> facts.AudienceChosen:
        if permission.all_participants:
            return facts.AudienceChosen(self.participant_id, None)
        audience: dict[str, frozenset[str] | None] = {}
        for one in permission.track_permissions[:MAX_NAMES]:
            user_id = one.participant_identity or self.users.get(one.participant_sid, "")
            if user_id:
                audience[user_id] = None if one.all_tracks else frozenset(one.track_sids[:MAX_TRACKS])
        return facts.AudienceChosen(self.participant_id, audience)

    # from the room ------------------------------------------------------------------------------------------------

    def tell(self, notice: commands.Notice | media.AnyEvent, now_ms: int) -> list[Command]:
        """A notice of the room or an event of the media node, as what the client gets to hear."""
        return list(self._tell(notice, now_ms))

    def _tell(self, notice: commands.Notice | media.AnyEvent, now_ms: int) -> Iterator[Command]:
        match notice:
            case commands.Welcome():
                yield from self._welcome(notice, now_ms)
            case commands.Confirm():
                yield Send(messages.reconnect_response(self._given(now_ms)))
                self._know(notice.others)
                participants = [self.profile.own(notice.participant), *map(messages.participant_info, notice.others)]
                yield Send(rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=participants)))
                if not self.single:
                    yield Drive(media.RestartIce(room=self.room_sid, participant=self.participant_id))
            case commands.ShowParticipants():
                self._know(notice.changed)
                for session, _ in notice.gone:
                    self.users.pop(session, None)
                yield Send(messages.participants(notice))
            case commands.ShowSelf(participant):
                own = self.profile.own(participant)
                yield Send(rtc.SignalResponse(update=rtc.ParticipantUpdate(participants=[own])))
                if self.admission.take_role(participant.role):
                    token = self.admission.token(now_ms, TOKEN_LIFE_S * 1000)
                    if token is not None:
                        yield Send(rtc.SignalResponse(refresh_token=token))
            case commands.ShowRoom(metadata, present):
                room = messages.room_info(self.ref, self.room_sid, self.created_ms, present, metadata)
                yield Send(rtc.SignalResponse(room_update=rtc.RoomUpdate(room=room)))
            case commands.Grant() | commands.Refuse():
                answer = self.profile.answer(notice)
                if answer is not None:
                    yield Send(answer)
            case commands.RefuseTrack(cid, why):
                yield Send(answers.refusal(0, why, cid=cid))
            case commands.SilenceTrack(track_id):
                yield Send(rtc.SignalResponse(mute=rtc.MuteTrackRequest(sid=track_id, muted=True)))
                yield Send(answers.refusal(0, "too_many_speakers", track_id=track_id))
            case commands.ShowAdmission(publisher, track_id, admitted):
                update = rtc.SubscriptionPermissionUpdate(
                    participant_sid=publisher, track_sid=track_id, allowed=admitted
                )
                yield Send(rtc.SignalResponse(subscription_permission_update=update))
            case commands.AcceptTrack(cid, track):
                published = rtc.TrackPublishedResponse(cid=cid, track=messages.track_info(track))
                yield Send(rtc.SignalResponse(track_published=published))
            case commands.DropTrack(track_id):
                self.tracks.discard(track_id)
                yield Send(rtc.SignalResponse(track_unpublished=rtc.TrackUnpublishedResponse(track_sid=track_id)))
            case commands.TellPublisher(track_id):
                yield Send(rtc.SignalResponse(track_subscribed=rtc.TrackSubscribed(track_sid=track_id)))
            case commands.ShowQuality():
                yield Send(messages.quality(notice))
            case commands.Dismiss(cause):
                yield Send(answers.leave(cause))
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
            case media.SubscriptionRefused(track=track_id):
                yield Send(answers.undecodable(track_id))
            case media.SubscriptionShed():
                yield Send(messages.stream_state(event))
            case media.LayersWanted():
                yield Send(messages.wanted_qualities(event))
            case media.SdpRejected():
                yield from self._give_up(f"unusable SDP: {event.reason}")
            case _:  # transport states: the client sees them itself
                return

    def _welcome(self, welcome: commands.Welcome, now_ms: int) -> Iterator[Command]:
        self.joined = True
        self.room_sid, self.created_ms = welcome.sid, welcome.created_ms
        self._know(welcome.others)
        yield Send(messages.join_response(self.ref, welcome, self._given(now_ms), single=self.single))
        for request in self.attempt.add_tracks[:MAX_TRACKS]:
            yield from self._add_track(request)
        if self.attempt.offer is not None:
            yield self._offer(self.attempt.offer)
        early, self.early = self.early, []
        for raw in early:
            yield from self.receive(raw, now_ms)

    def _given(self, now_ms: int) -> tuple[IceServer, ...]:
        return self.ice_servers.given(self.admission.grant.user_id, now_ms)

    def _know(self, participants: Iterable[Participant]) -> None:
        self.users.update((p.participant_id, p.user_id) for p in participants)


class _Candidate(msgspec.Struct):
    candidate: str = ""
