"""What a client says when it comes: the socket's address and the ``join_request`` in it. Pure."""

import base64
import gzip
import platform
from collections.abc import Iterable
from urllib.parse import quote, urlsplit, urlunsplit

from livekit.protocol import models, rtc

import rtcloud

#: Level of the protocol that this client speaks.
PROTOCOL = 16


class ConnectError(Exception):
    """The room cannot be entered. ``reason`` is livekit's DisconnectReason by name, ``status`` the HTTP status of a
    refusal (0: none), ``code`` the number that ``/v1/join`` gave (0: none)."""

    def __init__(self, reason: str, message: str = "", *, status: int = 0, code: int = 0) -> None:
        super().__init__(f"{reason}: {message}" if message else reason)
        self.reason = reason
        self.message = message
        self.status = status
        self.code = code


def client_info(device: str) -> models.ClientInfo:
    return models.ClientInfo(
        sdk=models.ClientInfo.SDK.PYTHON,
        version=rtcloud.__version__,
        protocol=PROTOCOL,
        os=platform.system().lower(),
        os_version=platform.release(),
        device_model=device,
    )


def join_request(
    info: models.ClientInfo,
    *,
    auto_subscribe: bool,
    offer: rtc.SessionDescription | None = None,
    tracks: Iterable[rtc.AddTrackRequest] = (),
    resumes: str = "",
) -> str:
    """The query parameter: base64url of a wrapped, gzipped JoinRequest. ``resumes`` is the participant's id."""
    request = rtc.JoinRequest(
        client_info=info,
        connection_settings=rtc.ConnectionSettings(auto_subscribe=auto_subscribe),
        add_track_requests=tracks,
    )
    if offer is not None:
        request.publisher_offer.CopyFrom(offer)
    if resumes:
        request.reconnect = True
        request.participant_sid = resumes
        request.reconnect_reason = models.ReconnectReason.RR_SIGNAL_DISCONNECTED
    wrapped = rtc.WrappedJoinRequest(
        compression=rtc.WrappedJoinRequest.Compression.GZIP,
        join_request=gzip.compress(request.SerializeToString(), mtime=0),
    )
    return base64.urlsafe_b64encode(wrapped.SerializeToString()).decode()


def socket_url(url: str, token: str, request: str) -> str:
    """``url`` is the server's address, with ws, wss, http or https."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    if scheme not in ("ws", "wss") or not parts.netloc:
        raise ValueError(f"not an address of a server: {url!r}")
    query = f"access_token={quote(token, safe='')}&join_request={quote(request, safe='')}"
    return urlunsplit((scheme, parts.netloc, parts.path.rstrip("/") + "/rtc/v1", query, ""))
