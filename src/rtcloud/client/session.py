"""A participant's talk with the server as a pure machine: what happened in, orders out.

It goes through joining → joined, and after a loss through resuming (new socket, same participant, ICE restart) or
rejoining (everything anew, publications announced again with the same cid) back to joined, until it is over. What the
program wants (publications, subscriptions, sizes) is kept as state, so nothing has to be queued while the socket is
gone: it is all said again. Retries wait longer each time and end after ``GIVE_UP_S``.
"""

from collections.abc import Iterator
from typing import Literal

from google.protobuf.message import DecodeError
from livekit.protocol import models, rtc

from rtcloud.client import peer
from rtcloud.client.joining import join_request
from rtcloud.client.orders import (
    AcceptAnswer,
    Accepted,
    AddTrack,
    CreateOffer,
    Finish,
    Hang,
    MakePeer,
    Open,
    Order,
    PublicationState,
    Ready,
    Refused,
    RemoveTrack,
    RequireSections,
    Send,
    Tell,
)
from rtcloud.client.roster import Roster
from rtcloud.client.types import (
    DataReceived,
    Disconnected,
    KeyframeRequested,
    Reconnected,
    Reconnecting,
    SpeakersChanged,
    TrackSubscribed,
)
from rtcloud.client.wishes import Wishes

#: From the loss to the end of all attempts to come back.
GIVE_UP_S = 60.0
#: A resume that failed this often becomes a rejoin.
MAX_RESUMES = 5
#: Waits before the first, second, … attempt; there is none once a server that was gone has answered.
BACKOFF_S = (0.0, 0.3, 0.7, 1.0, 2.0)
#: A transport that the server closed is usually explained by a leave message; so long it is waited for.
EXPLAIN_S = 1.0
#: The first message of a socket comes within this time.
ANSWER_S = 10.0

_Action = rtc.LeaveRequest.Action


class Session:
    def __init__(self, token: str, info: models.ClientInfo, *, auto_subscribe: bool = True) -> None:
        self.token = token
        self.user_id = ""
        self.room_name = ""
        self.roster = Roster()
        self.publications: dict[str, PublicationState] = {}
        self.state: Literal["new", "joining", "joined", "resuming", "over"] = "new"
        self._info = info
        self._auto_subscribe = auto_subscribe
        self._wishes = Wishes()
        self._mapped: set[str] = set()
        self._told: set[str] = set()
        self._late: set[str] = set()
        self._announced: set[str] = set()
        self._offered: dict[int, set[str]] = {}  # by request: the publications in that offer
        self._negotiated: set[str] = set()
        self._speaking: dict[str, float] = {}
        self._socket = 0
        self._attempts = 0
        self._server_is_there = False
        self._ready = False
        self._back: Literal["", "resume", "rejoin"] = ""
        self._transport_up = False
        self._answered = False
        self._ping_s = 5.0
        self._silence_s = 15.0
        self._ping_at: float | None = None
        self._silent_at: float | None = None
        self._give_up_at: float | None = None
        self._rejoin_at: float | None = None

    # time -----------------------------------------------------------------------------------------------------------

    def next_at(self) -> float | None:
        times = (self._ping_at, self._silent_at, self._give_up_at, self._rejoin_at)
        return min((at for at in times if at is not None), default=None)

    def time_passed(self, now: float) -> Iterator[Order]:
        if self._give_up_at is not None and now >= self._give_up_at:
            yield from self._finish("CONNECTION_TIMEOUT")
        elif self._rejoin_at is not None and now >= self._rejoin_at:
            yield Hang()
            yield from self._rejoin(now)
        elif self._silent_at is not None and now >= self._silent_at:
            self._silent_at = None
            yield from self.socket_lost(self._socket, now)
        elif self._ping_at is not None and now >= self._ping_at:
            self._ping_at = now + self._ping_s
            yield Send(rtc.SignalRequest(ping_req=rtc.Ping(timestamp=int(now * 1000))))

    # the socket -------------------------------------------------------------------------------------------------------

    def start(self, now: float) -> Iterator[Order]:
        """The first join. It is tried once: the caller decides whether to try again."""
        yield from self._join(now)

    def socket_lost(self, number: int, now: float) -> Iterator[Order]:
        if number != self._socket or self.state == "over":
            return
        if not self._ready:
            yield from self._finish("SIGNAL_CLOSE", "the server hung up")
        elif self.state == "joining":
            yield from self._rejoin(now)
        else:
            yield from self._resume(now)

    def socket_refused(self, number: int, status: int, message: str, now: float) -> Iterator[Order]:
        """The server answered the handshake with an HTTP error, or (``status`` 0) could not be reached."""
        if number != self._socket or self.state == "over":
            return
        if not self._ready or status in (400, 401, 403, 404):
            yield from self._finish("JOIN_FAILURE", message, status)
        else:
            yield from self.socket_lost(number, now)

    def receive(self, number: int, raw: bytes, now: float) -> Iterator[Order]:
        """One binary message of socket ``number``. One that does not decode is as good as a lost socket."""
        if number != self._socket or self.state == "over":
            return
        try:
            response = rtc.SignalResponse.FromString(raw)
        except DecodeError:
            yield Hang()
            yield from self.socket_lost(number, now)
            return
        self._silent_at = now + (self._silence_s if self.state == "joined" else ANSWER_S)
        match response.WhichOneof("message"):
            case "join":
                yield from self._joined(response.join, now)
            case "reconnect":
                yield from self._resumed(now)
            case "leave":
                yield from self._left(response.leave, now)
            case kind if kind is not None and self.state in ("joined", "resuming"):
                yield from self._handle(kind, response)
            case _:
                return

    def _handle(self, kind: str, response: rtc.SignalResponse) -> Iterator[Order]:
        match kind:
            case "answer":
                answer = response.answer
                self._mapped = set(answer.mid_to_track_id.values())
                self._told &= self._mapped
                yield AcceptAnswer(answer.id, answer.sdp, dict(answer.mid_to_track_id))
            case "update":
                for info in response.update.participants:
                    for event in self.roster.update(info):
                        yield Tell(event)
                yield from self._tell_subscribed()
            case "track_published":
                published = response.track_published
                publication = self.publications.get(published.cid)
                if publication is not None:
                    publication.track_id = published.track.sid
                    if publication.cid in self._negotiated:
                        yield Accepted(publication.cid)
            case "track_unpublished":
                for publication in list(self.publications.values()):
                    if publication.track_id == response.track_unpublished.track_sid:
                        yield from self.unpublish(publication.cid)
            case "mute":
                for publication in self.publications.values():
                    if publication.track_id == response.mute.sid:
                        publication.muted = response.mute.muted
            case "request_response":
                yield from self._refused(response.request_response)
            case "media_sections_requirement":
                needed = response.media_sections_requirement
                yield RequireSections(min(needed.num_audios, 256), min(needed.num_videos, 256))
                yield CreateOffer()
            case "speakers_changed":
                yield from self._speakers(response.speakers_changed)
            case "refresh_token":
                self.token = response.refresh_token
            case _:  # quality, codecs and the like: nothing follows from them here
                return

    # the peer connection ----------------------------------------------------------------------------------------------

    def peer_event(self, event: peer.AnyPeerEvent, now: float) -> Iterator[Order]:
        if self.state == "over":
            return
        match event:
            case peer.OfferMade():
                yield from self._offer(event, now)
            case peer.Answered():
                self._answered = True
                yield from self._negotiate(event.request)
                yield from self._tell_subscribed()
                yield from self._check_ready()
            case peer.AnswerRejected() if not self._ready:
                yield from self._finish("MEDIA_FAILURE", event.reason)
            case peer.AnswerRejected():
                yield Hang()
                yield from self._rejoin(now)
            case peer.StateChanged(state="connected"):
                self._transport_up = True
                yield from self._check_ready()
            case peer.StateChanged(state="disconnected"):
                self._transport_up = self._answered = False
                if self.state == "joined":
                    yield from self._begin_return("resume", now)
                    yield CreateOffer(restart_ice=True)
            case peer.StateChanged():
                self._transport_up = False
                yield from self._transport_failed(event.reason, now)
            case peer.DataArrived():
                yield from _data(event)
            case peer.KeyframeWanted():
                yield Tell(KeyframeRequested(event.cid))
            case _:
                return

    def _offer(self, event: peer.OfferMade, now: float) -> Iterator[Order]:
        offer = rtc.SessionDescription(type="offer", sdp=event.sdp, id=event.request)
        self._offered = {event.request: {cid for cid in self.publications if cid in event.sdp}}
        if self.state == "joined":
            yield Send(rtc.SignalRequest(offer=offer))
        elif self.state == "joining":
            request = join_request(
                self._info,
                auto_subscribe=self._auto_subscribe,
                offer=offer,
                tracks=[publication.request() for publication in self.publications.values()],
            )
            self._announced = set(self.publications)
            yield self._open(request, now)

    def _transport_failed(self, why: str, now: float) -> Iterator[Order]:
        if not self._ready:
            yield from self._finish("MEDIA_FAILURE", why)
        elif self.state == "joined":
            self._rejoin_at = now + EXPLAIN_S
        else:
            yield Hang()
            yield from self._rejoin(now)

    def _check_ready(self) -> Iterator[Order]:
        if self.state != "joined" or not (self._transport_up and self._answered):
            return
        if not self._ready:
            self._ready = True
            yield Ready()
        if self._back:
            back, self._back = self._back, ""
            self._attempts = 0
            self._give_up_at = None
            yield Tell(Reconnected(full=back == "rejoin"))

    # joining, coming back, leaving ------------------------------------------------------------------------------------

    def _join(self, now: float) -> Iterator[Order]:
        self.state = "joining"
        self._transport_up = self._answered = False
        self._mapped.clear()
        self._told.clear()
        self._late.clear()
        self._offered.clear()
        self._negotiated.clear()
        self._ping_at = self._silent_at = self._rejoin_at = None
        yield MakePeer()
        for publication in self.publications.values():
            publication.track_id = ""
            yield AddTrack(publication)
        yield CreateOffer()

    def _open(self, request: str, now: float) -> Open:
        self._socket += 1
        waits = self._attempts > 0 and not self._server_is_there
        delay = BACKOFF_S[min(self._attempts, len(BACKOFF_S)) - 1] if waits else 0.0
        self._server_is_there = False
        self._silent_at = now + delay + ANSWER_S
        return Open(self._socket, delay, self.token, request)

    def _joined(self, join: rtc.JoinResponse, now: float) -> Iterator[Order]:
        if self.state != "joining":
            yield Hang()
            yield from self._rejoin(now)
            return
        self.state = "joined"
        self.user_id = join.participant.identity
        self.room_name = join.room.name
        self._start_pinging(join.ping_interval, join.ping_timeout, now)
        for event in self.roster.replace(join.participant.sid, join.other_participants):
            yield Tell(event)
        yield from self._say_wishes()
        late = [self.publications[cid] for cid in self._late & self.publications.keys()]
        for publication in late:
            if publication.cid not in self._announced:
                yield Send(rtc.SignalRequest(add_track=publication.request()))
        if late:
            yield CreateOffer()

    def _resumed(self, now: float) -> Iterator[Order]:
        if self.state != "resuming":
            return
        self.state = "joined"
        self._answered = False
        self._start_pinging(0, 0, now)
        yield Send(self._sync_state())
        for publication in self.publications.values():
            if not publication.track_id:
                yield Send(rtc.SignalRequest(add_track=publication.request()))
            else:
                yield Send(_mute(publication))
        yield from self._say_wishes()
        yield CreateOffer(restart_ice=True)

    def _start_pinging(self, interval_s: int, timeout_s: int, now: float) -> None:
        self._ping_s = float(interval_s or self._ping_s)
        self._silence_s = float(timeout_s or self._silence_s)
        self._ping_at = now + self._ping_s
        self._silent_at = now + self._silence_s

    def _begin_return(self, how: Literal["resume", "rejoin"], now: float) -> Iterator[Order]:
        if not self._back:
            self._give_up_at = now + GIVE_UP_S
            yield Tell(Reconnecting())
        if self._back != "rejoin":
            self._back = how

    def _resume(self, now: float) -> Iterator[Order]:
        self._attempts += 1
        if self._attempts > MAX_RESUMES:
            yield from self._rejoin(now)
            return
        self.state = "resuming"
        self._ping_at = None
        yield from self._begin_return("resume", now)
        request = join_request(self._info, auto_subscribe=self._auto_subscribe, resumes=self.roster.own_id)
        yield self._open(request, now)

    def _rejoin(self, now: float) -> Iterator[Order]:
        self._attempts += 1
        yield from self._begin_return("rejoin", now)
        yield from self._join(now)

    def _left(self, leave: rtc.LeaveRequest, now: float) -> Iterator[Order]:
        reason = models.DisconnectReason.Name(leave.reason) if leave.reason in _REASONS else "UNKNOWN_REASON"
        yield Hang()
        if not self._ready or leave.action == _Action.DISCONNECT:
            yield from self._finish(reason)
        elif leave.action == _Action.RESUME and self.state == "joined":
            yield from self._resume(now)
        else:
            self._server_is_there = self.state == "resuming"  # back from a restart, it knows nobody
            yield from self._rejoin(now)

    def leave(self) -> Iterator[Order]:
        if self.state == "joined":
            reason = models.DisconnectReason.CLIENT_INITIATED
            yield Send(rtc.SignalRequest(leave=rtc.LeaveRequest(reason=reason)))
        if self.state != "over":
            yield from self._finish("CLIENT_INITIATED")

    def _finish(self, reason: str, message: str = "", status: int = 0) -> Iterator[Order]:
        self.state = "over"
        self._ping_at = self._silent_at = self._give_up_at = self._rejoin_at = None
        yield Tell(Disconnected(reason))
        yield Finish(reason, message, status)

    # what the program wants -------------------------------------------------------------------------------------------

    def publish(self, publication: PublicationState) -> Iterator[Order]:
        self.publications[publication.cid] = publication
        if self.state != "over":
            yield AddTrack(publication)
        if self.state == "joined":
            yield Send(rtc.SignalRequest(add_track=publication.request()))
            yield CreateOffer()
        elif self.state == "joining":
            self._late.add(publication.cid)  # perhaps too late for the offer under way: in the next one

    def unpublish(self, cid: str) -> Iterator[Order]:
        self._negotiated.discard(cid)
        if self.publications.pop(cid, None) is not None and self.state != "over":
            yield RemoveTrack(cid)
            if self.state == "joined":
                yield CreateOffer()

    def mute(self, cid: str, muted: bool) -> Iterator[Order]:
        publication = self.publications.get(cid)
        if publication is not None and publication.muted != muted:
            publication.muted = muted
            if self.state == "joined" and publication.track_id:
                yield Send(_mute(publication))

    def subscribe(self, track_id: str, subscribed: bool) -> Iterator[Order]:
        if not subscribed:
            self._told.discard(track_id)
        request = self._wishes.subscribe(track_id, subscribed)
        if self.state == "joined":
            yield Send(request)

    def size(self, track_id: str, enabled: bool, width: int, height: int) -> Iterator[Order]:
        request = self._wishes.size(track_id, enabled, width, height)
        if self.state == "joined":
            yield Send(request)

    def _say_wishes(self) -> Iterator[Order]:
        self._wishes.forget_others(self.roster.track_ids())
        for request in self._wishes.requests():
            yield Send(request)

    def _sync_state(self) -> rtc.SignalRequest:
        against = self._wishes.tracks(subscribed=not self._auto_subscribe)
        subscription = rtc.UpdateSubscription(track_sids=against, subscribe=not self._auto_subscribe)
        state = rtc.SyncState(subscription=subscription)
        for publication in self.publications.values():
            if publication.track_id:
                track = models.TrackInfo(sid=publication.track_id, name=publication.name, muted=publication.muted)
                state.publish_tracks.add(cid=publication.cid, track=track)
        return rtc.SignalRequest(sync_state=state)

    # smaller things ---------------------------------------------------------------------------------------------------

    def _negotiate(self, request: int) -> Iterator[Order]:
        """Publications of that offer can be sent from now on."""
        fresh = self._offered.pop(request, set()) - self._negotiated
        self._negotiated |= fresh
        for cid in sorted(fresh & self.publications.keys()):
            if self.publications[cid].track_id:
                yield Accepted(cid)

    def _tell_subscribed(self) -> Iterator[Order]:
        if not self._answered:
            return
        for track_id in sorted(self._mapped - self._told):
            track = self.roster.track(track_id)
            if track is not None:
                self._told.add(track_id)
                yield Tell(TrackSubscribed(track))

    def _refused(self, response: rtc.RequestResponse) -> Iterator[Order]:
        if response.reason == rtc.RequestResponse.Reason.OK:
            return
        cid = response.add_track.cid
        if not cid:  # a server that does not say which: the oldest that waits
            cid = next((one.cid for one in self.publications.values() if not one.track_id), "")
        if cid in self.publications:
            yield Refused(cid, response.message or rtc.RequestResponse.Reason.Name(response.reason))
            yield from self.unpublish(cid)

    def _speakers(self, changed: rtc.SpeakersChanged) -> Iterator[Order]:
        for speaker in changed.speakers:
            user_id = self.user_id if speaker.sid == self.roster.own_id else self.roster.user_of(speaker.sid)
            if user_id is not None and speaker.active:
                self._speaking[user_id] = speaker.level
            elif user_id is not None:
                self._speaking.pop(user_id, None)
        present = self.roster.participants.keys() | {self.user_id}
        self._speaking = {user_id: level for user_id, level in self._speaking.items() if user_id in present}
        yield Tell(SpeakersChanged(dict(self._speaking)))


_REASONS = models.DisconnectReason.values()


def _data(event: peer.DataArrived) -> Iterator[Order]:
    try:
        packet = models.DataPacket.FromString(event.packet)
    except DecodeError:
        return
    if packet.WhichOneof("value") == "user":
        user = packet.user
        sender = packet.participant_identity or user.participant_identity
        yield Tell(DataReceived(user.payload, sender, user.topic, event.reliable))


def _mute(publication: PublicationState) -> rtc.SignalRequest:
    return rtc.SignalRequest(mute=rtc.MuteTrackRequest(sid=publication.track_id, muted=publication.muted))
