"""Why a session is over, and why it does not get what it asked for, in the protocol's words. Pure."""

from collections.abc import Mapping
from typing import Any

from livekit.protocol import models, rtc

from rtcloud.rooms.commands import LeaveCause, Refusal

_Action = rtc.LeaveRequest.Action
_Reason = models.DisconnectReason
_LEAVES: Mapping[LeaveCause, tuple[Any, Any]] = {
    "left": (_Reason.CLIENT_INITIATED, _Action.DISCONNECT),
    "duplicate": (_Reason.DUPLICATE_IDENTITY, _Action.DISCONNECT),
    "removed": (_Reason.PARTICIPANT_REMOVED, _Action.DISCONNECT),
    "dismissed": (_Reason.ROOM_DELETED, _Action.DISCONNECT),
    "key_expired": (_Reason.PARTICIPANT_REMOVED, _Action.DISCONNECT),
    "full": (_Reason.JOIN_FAILURE, _Action.DISCONNECT),
    "busy": (_Reason.JOIN_FAILURE, _Action.DISCONNECT),
    "may_not_create": (_Reason.JOIN_FAILURE, _Action.DISCONNECT),
    "timed_out": (_Reason.CONNECTION_TIMEOUT, _Action.RECONNECT),
    "failed": (_Reason.MEDIA_FAILURE, _Action.RECONNECT),
    "shutdown": (_Reason.SERVER_SHUTDOWN, _Action.RECONNECT),
    "unknown_session": (_Reason.STATE_MISMATCH, _Action.RECONNECT),
    "overload": (_Reason.SIGNAL_CLOSE, _Action.RESUME),
    "protocol": (_Reason.STATE_MISMATCH, _Action.DISCONNECT),
}


def leave(cause: LeaveCause) -> rtc.SignalResponse:
    reason, action = _LEAVES[cause]
    request = rtc.LeaveRequest(reason=reason, action=action, can_reconnect=action != _Action.DISCONNECT)
    return rtc.SignalResponse(leave=request)


_RequestReason = rtc.RequestResponse.Reason
_REFUSALS: Mapping[Refusal, tuple[Any, str]] = {
    "not_allowed": (_RequestReason.NOT_ALLOWED, "not allowed"),
    "screen_taken": (_RequestReason.LIMIT_EXCEEDED, "-102016: another user shares the screen of this room"),
    "too_many_speakers": (_RequestReason.LIMIT_EXCEEDED, "too many people speak in this room"),
    "too_many_anchors": (_RequestReason.LIMIT_EXCEEDED, "too many anchors in this room"),
    "too_many_tracks": (_RequestReason.LIMIT_EXCEEDED, "too many tracks of one participant"),
    "too_large": (_RequestReason.LIMIT_EXCEEDED, "metadata or attributes are too large"),
    "too_often": (_RequestReason.LIMIT_EXCEEDED, "too many changes a second"),
    "invalid": (_RequestReason.INVALID_REQUEST, "not a value that is known"),
    "bad_key": (_RequestReason.NOT_ALLOWED, "-100006: the PrivateMapKey is not good for this user and room"),
}


def refusal(request_id: int, why: Refusal, *, cid: str = "", track_id: str = "") -> rtc.SignalResponse:
    reason, message = _REFUSALS[why]
    response = rtc.RequestResponse(request_id=request_id, reason=reason, message=message)
    if cid:
        response.add_track.cid = cid
    if track_id:
        response.mute.sid = track_id
    return rtc.SignalResponse(request_response=response)


def unsupported(data_track: rtc.PublishDataTrackRequest | None = None) -> rtc.SignalResponse:
    """A client that is told which data track it was gives it up at once; of other requests it waits for nothing."""
    response = rtc.RequestResponse(reason=_RequestReason.UNSUPPORTED_TYPE, message="this server does not offer that")
    if data_track is not None:
        response.publish_data_track.CopyFrom(data_track)
    return rtc.SignalResponse(request_response=response)


def undecodable(track_id: str) -> rtc.SignalResponse:
    """The client has no codec for a track that it subscribed."""
    response = rtc.SubscriptionResponse(track_sid=track_id, err=models.SubscriptionError.SE_CODEC_UNSUPPORTED)
    return rtc.SignalResponse(subscription_response=response)


def granted(request_id: int) -> rtc.SignalResponse:
    return rtc.SignalResponse(request_response=rtc.RequestResponse(request_id=request_id, reason=_RequestReason.OK))
