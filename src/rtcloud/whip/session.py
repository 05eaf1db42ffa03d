"""One WHIP or WHEP session as a pure machine: notices of its room and the media node in, commands out.

In order: it enters, announces its tracks and waits until the room has taken each, offers, and is answered. From then on
only ICE changes. There is no socket to lose: the media node says when nothing authentic comes any more, and a session
that never connects is given up. Whatever ends it, it leaves its room, and hears so by ``Dismiss``.
"""

from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Literal

from rtcloud.media import node as media
from rtcloud.rooms import commands, facts
from rtcloud.rooms.participant import Layer, Participant, Track
from rtcloud.rooms.room import LOST_AFTER_MS
from rtcloud.signal.outputs import Drive, Post
from rtcloud.whip import sdp
from rtcloud.whip.outputs import Command, End, Reply, StartTimer, StopTimer
from rtcloud.whip.problems import Problem, unusable

Way = Literal["publish", "play"]

#: From the answer until media can flow.
CONNECT_S = 30.0
#: The largest layer of simulcast is shown as so many pixels: offers do not say, and subscribers choose by size.
_WIDTH, _HEIGHT = 1280, 720

_ENDS: dict[commands.LeaveCause, tuple[HTTPStatus, str]] = {
    "full": (HTTPStatus.FORBIDDEN, "the room is full"),
    "busy": (HTTPStatus.SERVICE_UNAVAILABLE, "the server has as much to do as it can"),
    "may_not_create": (HTTPStatus.FORBIDDEN, "the room is not open, and the key does not allow to create it"),
    "duplicate": (HTTPStatus.CONFLICT, "the user entered the room again meanwhile"),
    "removed": (HTTPStatus.FORBIDDEN, "the user was removed from the room"),
    "dismissed": (HTTPStatus.FORBIDDEN, "the room was closed"),
}
_REFUSALS: dict[commands.Refusal, str] = {
    "not_allowed": "the user may not send this kind of media",
    "too_many_tracks": "too many tracks of one participant",
}


class Session:
    """``way``: whether it publishes or plays. ``codec``: what the pictures should be, "" for the server's choice.
    ``only``: the one user whose media it plays, "" for everybody's."""

    def __init__(
        self,
        participant_id: str,
        way: Way,
        offer: sdp.Offer,
        new_id: Callable[[str], str],
        *,
        codec: str = "",
        only: str = "",
    ) -> None:
        self.participant_id = participant_id
        self.way = way
        self.offer = offer
        self.is_over = False
        self._new_id = new_id
        self._codec = codec
        self._only = only
        self._room = ""  # once welcomed
        self._announced: set[str] = set()  # tracks that the room has not taken yet, by cid
        self._chosen: set[str] = set()  # tracks of the one user
        self._next: sdp.Offer = offer  # offered, and not answered yet
        self._request = 0  # the offer that waits for its answer; 0: none does
        self._requests = 0
        self._connected = False
        self._is_silent = False

    @property
    def is_connected(self) -> bool:
        return self._connected

    @property
    def plays_all(self) -> bool:
        return self.way == "play" and not self._only

    # from HTTP ----------------------------------------------------------------------------------------------------

    def trickle(self, candidates: Iterable[str]) -> list[Command]:
        """Those that cannot be used are left out (RFC 9725, 4.3.2)."""
        return [
            Drive(
                media.AddCandidate(
                    room=self._room, participant=self.participant_id, target="single", candidate=candidate[:1024]
                )
            )
            for candidate in candidates
            if sdp.is_usable(candidate)
        ]

    def restart(self, credentials: sdp.Credentials) -> list[Command]:
        """``Reply`` says what the other side's credentials are; until then, and if it fails, all stays as it is."""
        return [self._offer(sdp.with_credentials(self.offer, credentials))]

    def leave(self) -> list[Command]:
        return [Post(facts.LeftRoom(self.participant_id))]

    def expire(self) -> list[Command]:
        """The timer ran out."""
        return [] if self._connected else self._lose()

    # from the room and the media node -----------------------------------------------------------------------------

    def tell(self, notice: commands.Notice | media.AnyEvent) -> list[Command]:
        return [] if self.is_over else list(self._tell(notice))

    def _tell(self, notice: commands.Notice | media.AnyEvent) -> Iterator[Command]:
        match notice:
            case commands.Welcome():
                self._room = notice.sid
                yield from self._choose(notice.others)
                yield from self._announce()
            case commands.ShowParticipants():
                yield from self._choose(notice.changed)
            case commands.AcceptTrack(cid):
                if cid in self._announced:
                    self._announced.discard(cid)
                    if not self._announced:
                        yield self._offer(self.offer)
            case commands.RefuseTrack(cid, why) if cid in self._announced:
                yield from self._refuse(_REFUSALS.get(why, "the room does not take this track now"))
            case commands.SilenceTrack() if not self._connected:
                yield from self._refuse("too many people speak in this room")
            case commands.Dismiss(cause):
                self.is_over = True
                status, detail = _ENDS.get(cause, (HTTPStatus.SERVICE_UNAVAILABLE, "the session was ended"))
                yield Reply(Problem(status, detail))
                yield StopTimer()
                yield End(cause)
            case media.Answered() if notice.request == self._request:
                yield from self._answered(notice.sdp)
            case media.SdpRejected() if notice.request == self._request:
                self._request = 0
                yield Reply(unusable(f"the offer cannot be used: {notice.reason}"))
                if self._requests == 1:
                    yield from self.leave()
            case media.TransportChanged():
                yield from self._transport(notice.state)
            case _:
                return

    def _answered(self, answer: str) -> Iterator[Command]:
        first, self._request = self._request == 1, 0
        direction: Literal["recvonly", "sendonly"] = "recvonly" if self.way == "publish" else "sendonly"
        try:
            finished = sdp.finish_answer(answer, self._next, direction=direction)
        except Problem as problem:
            yield Reply(problem)
            if first:
                yield from self.leave()
            return
        self.offer = self._next
        if first:
            yield StartTimer(CONNECT_S)
        yield Reply(finished)

    def _transport(self, state: str) -> Iterator[Command]:
        match state:
            case "connected":
                self._connected, self._is_silent = True, False
                yield StopTimer()
            case "disconnected":
                self._is_silent = True
            case "failed" if self._connected and not self._is_silent:
                yield from self.leave()  # DTLS was closed
            case "failed":
                yield from self._lose()

    def _announce(self) -> Iterator[Command]:
        sections = self.offer.sent if self.way == "publish" else []
        self._announced = {section.cid for section in sections}
        for section in sections:
            yield Post(facts.TrackAdded(self.participant_id, self._track(section)))
        if not sections:
            yield self._offer(self.offer)

    def _track(self, section: sdp.Section) -> Track:
        sounds = section.kind == "audio"
        layers = tuple(
            Layer(quality=max(0, 2 - place), rid=rid, width=_WIDTH >> place, height=_HEIGHT >> place, bitrate=0)
            for place, rid in enumerate(section.layers)
        )
        return Track(
            track_id=self._new_id("TR"),
            cid=section.cid,
            kind="audio" if sounds else "video",
            source="microphone" if sounds else "camera",
            stream="whip",
            codec="opus" if sounds else self._codec,
            layers=tuple(reversed(layers)) if len(layers) > 1 else (),
        )

    def _choose(self, participants: Iterable[Participant]) -> Iterator[Command]:
        """Of the one user, everything that is new."""
        found = [
            track_id
            for participant in participants
            if self._only and participant.user_id == self._only
            for track_id in participant.tracks
            if track_id not in self._chosen
        ]
        if found:
            self._chosen = {*list(self._chosen)[-32:], *found}
            yield Post(facts.SubscriptionChosen(self.participant_id, tuple(found), True))

    def _offer(self, offer: sdp.Offer) -> Drive:
        self._next = offer
        self._requests += 1
        self._request = self._requests
        return Drive(
            media.Offer(
                room=self._room,
                participant=self.participant_id,
                request=self._request,
                target="single",
                sdp=offer.text,
            )
        )

    def _refuse(self, detail: str) -> Iterator[Command]:
        yield Reply(Problem(HTTPStatus.FORBIDDEN, detail))
        yield from self.leave()

    def _lose(self) -> list[Command]:
        """Nothing was heard of the client for so long that nobody waits for it."""
        return [Post(facts.SocketLost(self.participant_id, LOST_AFTER_MS))]
