"""Who is in the room and what they publish, kept up to date from the server's messages. Pure.

Every difference becomes an event, also after a full reconnect: the new list is compared with the old one.
"""

from collections.abc import Iterable, Iterator

from livekit.protocol import models

from rtcloud.client.types import (
    Kind,
    Participant,
    ParticipantJoined,
    ParticipantLeft,
    RemoteTrack,
    RoomEvent,
    Source,
    TrackChanged,
    TrackPublished,
    TrackUnpublished,
)

_SOURCES: dict[int, Source] = {1: "camera", 2: "microphone", 3: "screen_share", 4: "screen_share_audio"}
_ROBOTS = (models.ParticipantInfo.Kind.EGRESS, models.ParticipantInfo.Kind.INGRESS, models.ParticipantInfo.Kind.AGENT)


class Roster:
    def __init__(self) -> None:
        self.own_id = ""
        self.participants: dict[str, Participant] = {}
        self._versions: dict[str, int] = {}

    def track(self, track_id: str) -> RemoteTrack | None:
        for participant in self.participants.values():
            for track in participant.tracks:
                if track.track_id == track_id:
                    return track
        return None

    def track_ids(self) -> set[str]:
        return {track.track_id for one in self.participants.values() for track in one.tracks}

    def user_of(self, participant_id: str) -> str | None:
        for participant in self.participants.values():
            if participant.participant_id == participant_id:
                return participant.user_id
        return None

    def replace(self, own_id: str, infos: Iterable[models.ParticipantInfo]) -> Iterator[RoomEvent]:
        """The whole list, as a join response gives it."""
        self.own_id = own_id
        listed = list(infos)
        for user_id in self.participants.keys() - {info.identity for info in listed}:
            yield from self._leave(user_id)
        self._versions.clear()
        for info in listed:
            yield from self.update(info)

    def update(self, info: models.ParticipantInfo) -> Iterator[RoomEvent]:
        if not info.sid or info.sid == self.own_id:
            return
        known = self.participants.get(info.identity)
        if info.state == models.ParticipantInfo.State.DISCONNECTED:
            if known is not None and known.participant_id == info.sid:
                yield from self._leave(info.identity)
            return
        if known is not None and known.participant_id != info.sid:
            yield from self._leave(info.identity)
            known = None
        if info.version and info.version < self._versions.get(info.sid, 0):
            return
        self._versions[info.sid] = info.version
        tracks = tuple(remote_track(info.identity, track) for track in info.tracks)
        participant = Participant(
            user_id=info.identity,
            participant_id=info.sid,
            tracks=tracks,
            joined_ms=info.joined_at_ms or info.joined_at * 1000,
            attributes=dict(info.attributes),
            robot=info.kind in _ROBOTS,
        )
        self.participants[info.identity] = participant
        if known is None:
            yield ParticipantJoined(participant)
        yield from _differences(() if known is None else known.tracks, tracks)

    def _leave(self, user_id: str) -> Iterator[RoomEvent]:
        gone = self.participants.pop(user_id)
        self._versions.pop(gone.participant_id, None)
        yield from _differences(gone.tracks, ())
        yield ParticipantLeft(user_id)


def remote_track(user_id: str, info: models.TrackInfo) -> RemoteTrack:
    kind: Kind = "video" if info.type == models.TrackType.VIDEO else "audio"
    return RemoteTrack(
        track_id=info.sid,
        user_id=user_id,
        kind=kind,
        source=_SOURCES.get(int(info.source), "unknown"),
        muted=info.muted,
        width=info.width,
        height=info.height,
        mime_type=info.mime_type,
        name=info.name,
    )


def _differences(before: tuple[RemoteTrack, ...], after: tuple[RemoteTrack, ...]) -> Iterator[RoomEvent]:
    old = {track.track_id: track for track in before}
    new = {track.track_id: track for track in after}
    for track_id, track in old.items():
        if track_id not in new:
            yield TrackUnpublished(track)
    for track_id, track in new.items():
        if track_id not in old:
            yield TrackPublished(track)
        elif old[track_id] != track:
            yield TrackChanged(track)
