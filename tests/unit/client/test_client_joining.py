import base64
import gzip
from urllib.parse import parse_qs, urlsplit

import pytest
from livekit.protocol import models, rtc

from rtcloud.client.joining import client_info, join_request, socket_url
from rtcloud.signal import joining as server_side


def test_server_reads_what_the_client_says() -> None:
    offer = rtc.SessionDescription(type="offer", sdp="v=0", id=1)
    track = rtc.AddTrackRequest(cid="cam", type=models.TrackType.VIDEO)
    request = join_request(client_info("rtcloud-native"), auto_subscribe=False, offer=offer, tracks=[track])
    attempt = server_side.parse_v1({"join_request": request})
    assert attempt.single
    assert not attempt.auto_subscribe
    assert not attempt.resumes
    assert attempt.offer == offer
    assert [one.cid for one in attempt.add_tracks] == ["cam"]
    assert (attempt.client.sdk, attempt.client.device_model) == (models.ClientInfo.SDK.PYTHON, "rtcloud-native")


def test_resume_names_the_participant() -> None:
    request = join_request(client_info("x"), auto_subscribe=True, resumes="PA_1")
    assert server_side.parse_v1({"join_request": request}).participant_id == "PA_1"


def test_request_is_gzip_inside_base64url() -> None:
    wrapped = rtc.WrappedJoinRequest.FromString(
        base64.urlsafe_b64decode(join_request(client_info("x"), auto_subscribe=True))
    )
    assert wrapped.compression == rtc.WrappedJoinRequest.Compression.GZIP
    assert rtc.JoinRequest.FromString(gzip.decompress(wrapped.join_request)).connection_settings.auto_subscribe


@pytest.mark.parametrize(
    ("given", "opened"),
    [
        ("http://h:1", "ws://h:1/rtc/v1"),
        ("https://h", "wss://h/rtc/v1"),
        ("ws://h:1/", "ws://h:1/rtc/v1"),
        ("wss://h/base", "wss://h/base/rtc/v1"),
    ],
)
def test_address_of_the_socket(given: str, opened: str) -> None:
    parts = urlsplit(socket_url(given, "a+b", "c="))
    assert f"{parts.scheme}://{parts.netloc}{parts.path}" == opened
    assert parse_qs(parts.query) == {"access_token": ["a+b"], "join_request": ["c="]}


@pytest.mark.parametrize("given", ["", "h:1", "ftp://h", "ws://"])
def test_other_addresses_are_refused(given: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        socket_url(given, "t", "r")
