"""What a client asks for when it opens the socket: the query of /rtc/v1 and of /rtc, parsed into one value. Pure.

/rtc/v1 carries a ``join_request``: base64url of a WrappedJoinRequest whose content may be gzipped. /rtc carries plain
parameters. Sizes are bounded before anything is decoded.
"""

import base64
import binascii
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from google.protobuf.message import DecodeError
from livekit.protocol import models, rtc

from rtcloud.rooms.participant import Device, TerminalType, UserType

_SDKS = {value.name: value.number for value in models.ClientInfo.DESCRIPTOR.enum_types_by_name["SDK"].values}

#: Of the decoded join request. An offer with every codec is 25 KB.
MAX_JOIN_REQUEST = 256 * 1024


class JoinRequestError(ValueError):
    """The query is not one of the protocol; the message says which part."""


@dataclass(frozen=True, slots=True)
class JoinAttempt:
    """``participant_id`` is set when an earlier session is to be resumed."""

    single: bool
    client: models.ClientInfo
    auto_subscribe: bool = True
    participant_id: str = ""
    metadata: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    add_tracks: tuple[rtc.AddTrackRequest, ...] = ()
    offer: rtc.SessionDescription | None = None

    @property
    def resumes(self) -> bool:
        return bool(self.participant_id)


def parse_v1(query: Mapping[str, str]) -> JoinAttempt:
    """The query of /rtc/v1: one peer connection, the first offer may come along."""
    request = rtc.JoinRequest()
    if encoded := query.get("join_request", ""):
        try:
            request.ParseFromString(_unwrap(encoded))
        except DecodeError as error:
            raise JoinRequestError("join_request is not a JoinRequest") from error
    settings = request.connection_settings
    return JoinAttempt(
        single=True,
        client=request.client_info,
        auto_subscribe=settings.auto_subscribe if request.HasField("connection_settings") else True,
        participant_id=request.participant_sid if request.reconnect else "",
        metadata=request.metadata,
        attributes=dict(request.participant_attributes),
        add_tracks=tuple(request.add_track_requests),
        offer=request.publisher_offer if request.publisher_offer.sdp else None,
    )


def parse_v0(query: Mapping[str, str]) -> JoinAttempt:
    """The query of /rtc: two peer connections, everything in plain parameters."""
    client = models.ClientInfo(
        version=query.get("version", ""),
        os=query.get("os", ""),
        os_version=query.get("os_version", ""),
        device_model=query.get("device_model", ""),
        browser=query.get("browser", ""),
        browser_version=query.get("browser_version", ""),
        network=query.get("network", ""),
    )
    client.sdk = _SDKS.get(query.get("sdk", "").upper(), 0)  # type: ignore[assignment]  # an open enum
    if query.get("protocol", "").isdecimal():
        client.protocol = min(int(query["protocol"][:4]), 1000)
    reconnect = query.get("reconnect", "") in ("1", "true")
    return JoinAttempt(
        single=False,
        client=client,
        auto_subscribe=query.get("auto_subscribe", "1") in ("1", "true"),
        participant_id=query.get("sid", "") if reconnect else "",
    )


def device_of(client: models.ClientInfo, address: str, *, robot: bool) -> Device:
    """TerminalType and UserType come from what the client says of itself; robots are Linux and native."""
    if robot:
        return Device(UserType.NATIVE_SDK, TerminalType.LINUX, "robot", client.version, address)
    browser = client.sdk == models.ClientInfo.SDK.JS
    terminals = {
        "windows": TerminalType.WINDOWS,
        "android": TerminalType.ANDROID,
        "ios": TerminalType.IOS,
        "linux": TerminalType.LINUX,
    }
    return Device(
        user_type=UserType.WEBRTC if browser else UserType.NATIVE_SDK,
        terminal_type=terminals.get(client.os.lower(), TerminalType.OTHER),
        device_type=client.device_model or client.browser,
        sdk_version=client.version,
        client_address=address,
    )


def _unwrap(encoded: str) -> bytes:
    if len(encoded) > MAX_JOIN_REQUEST:
        raise JoinRequestError("join_request is too long")
    padded = encoded + "=" * (-len(encoded) % 4)
    try:
        raw = base64.b64decode(padded.replace("-", "+").replace("_", "/"), validate=True)
        wrapped = rtc.WrappedJoinRequest.FromString(raw)
    except (binascii.Error, ValueError, DecodeError) as error:
        raise JoinRequestError("join_request is not base64url of a WrappedJoinRequest") from error
    if wrapped.compression == rtc.WrappedJoinRequest.Compression.NONE:
        return wrapped.join_request
    if wrapped.compression != rtc.WrappedJoinRequest.Compression.GZIP:
        raise JoinRequestError("join_request has an unknown compression")
    inflate = zlib.decompressobj(wbits=31)
    try:
        content = inflate.decompress(wrapped.join_request, MAX_JOIN_REQUEST)
    except zlib.error as error:
        raise JoinRequestError("join_request is not gzip") from error
    if not inflate.eof:
        raise JoinRequestError("join_request is cut short or too long")
    return content
