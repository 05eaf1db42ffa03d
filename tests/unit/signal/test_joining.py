import base64
import gzip

import pytest
from livekit.protocol import models, rtc

from rtcloud.rooms.participant import TerminalType, UserType
from rtcloud.signal import joining


def wrapped(content: bytes, compression: int) -> dict[str, str]:
    request = rtc.WrappedJoinRequest(compression=compression, join_request=content)  # type: ignore[arg-type]
    return {"join_request": base64.urlsafe_b64encode(request.SerializeToString()).decode()}


JOIN = rtc.JoinRequest(
    client_info=models.ClientInfo(sdk="JS", os="linux", version="2.23.0", browser="chrome"),
    connection_settings=rtc.ConnectionSettings(auto_subscribe=True),
    publisher_offer=rtc.SessionDescription(type="offer", sdp="v=0", id=7),
)


@pytest.mark.parametrize("compression", [0, 1])
def test_a_join_request_is_unwrapped(compression: int) -> None:
    content = JOIN.SerializeToString()
    attempt = joining.parse_v1(wrapped(gzip.compress(content) if compression else content, compression))
    assert attempt.single
    assert attempt.offer is not None
    assert attempt.offer.id == 7
    assert not attempt.resumes


@pytest.mark.parametrize(
    "query",
    [
        {"join_request": "%%%"},
        {"join_request": "A" * (joining.MAX_JOIN_REQUEST + 1)},
        wrapped(b"\x1f\x8b broken", 1),
        wrapped(gzip.compress(b"\0" * 10_000_000), 1),
        wrapped(gzip.compress(JOIN.SerializeToString())[:-9], 1),
        wrapped(b"\xff\xff\xff\xff", 0),
        wrapped(b"", 9),
    ],
)
def test_a_broken_join_request_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(joining.JoinRequestError):
        joining.parse_v1(query)


def test_plain_parameters_of_older_clients() -> None:
    attempt = joining.parse_v0(
        {"sdk": "python", "version": "1.2.0", "os": "linux", "reconnect": "1", "sid": "PA_1", "auto_subscribe": "0"}
    )
    assert attempt.participant_id == "PA_1"
    assert not attempt.auto_subscribe
    assert attempt.client.sdk == models.ClientInfo.SDK.PYTHON


def test_terminal_and_user_type_follow_from_the_client() -> None:
    browser = joining.device_of(JOIN.client_info, "192.0.2.7", robot=False)
    assert (browser.user_type, browser.terminal_type) == (UserType.WEBRTC, TerminalType.LINUX)
    phone = joining.device_of(models.ClientInfo(sdk="SWIFT", os="iOS"), "", robot=False)
    assert (phone.user_type, phone.terminal_type) == (UserType.NATIVE_SDK, TerminalType.IOS)
    robot = joining.device_of(JOIN.client_info, "", robot=True)
    assert (robot.user_type, robot.terminal_type) == (UserType.NATIVE_SDK, TerminalType.LINUX)
