"""Headers and queries as they come from strangers."""

import pytest

from rtcloud.rooms.participant import TerminalType, UserType
from rtcloud.whip import admitting
from rtcloud.whip.problems import Problem

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "user_type", "terminal", "name", "version"),
    [
        (f"{WINDOWS} Chrome/126.0.0.0 Safari/537.36", UserType.WEBRTC, TerminalType.WINDOWS, "Chrome", "126.0.0.0"),
        (f"{WINDOWS} Chrome/126.0.0.0 Edg/126.1", UserType.WEBRTC, TerminalType.WINDOWS, "Edg", "126.1"),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/1.2", UserType.WEBRTC, TerminalType.ANDROID, "Chrome", "1.2"),
        ("Mozilla/5.0 (iPhone) Version/17 Safari/604.1", UserType.WEBRTC, TerminalType.IOS, "Safari", "604.1"),
        (
            "Mozilla/5.0 (OBS-Studio/30.2.3; Windows x86_64; en-US)",
            UserType.NATIVE_SDK,
            TerminalType.WINDOWS,
            "OBS-Studio",
            "30.2.3",
        ),
        ("Lavf/62.12.102", UserType.NATIVE_SDK, TerminalType.OTHER, "Lavf", "62.12.102"),
        ("GStreamer", UserType.NATIVE_SDK, TerminalType.OTHER, "GStreamer", ""),
        ("", UserType.NATIVE_SDK, TerminalType.OTHER, "", ""),
        ("\N{SNOWMAN}" * 9000, UserType.NATIVE_SDK, TerminalType.OTHER, "", ""),
    ],
)
def test_the_device_is_told_by_the_user_agent(
    agent: str, user_type: UserType, terminal: TerminalType, name: str, version: str
) -> None:
    device = admitting.device_of(agent, "192.0.2.1")
    assert (device.user_type, device.terminal_type) == (user_type, terminal)
    assert (device.device_type, device.sdk_version, device.client_address) == (name, version, "192.0.2.1")


@pytest.mark.parametrize(
    ("given", "good"),
    [("*", True), (' "a" ', True), ('"b", "a"', True), ('W/"a"', False), ('"b"', False), ("a", False), ("", False)],
)
def test_entity_tags_are_compared_strongly(given: str, good: bool) -> None:
    assert admitting.matches(given, '"a"') is good


@pytest.mark.parametrize("text", ["0", "01", "abc", "12345678901", "-1", "１"])
def test_an_application_is_a_plain_number(text: str) -> None:
    with pytest.raises(Problem):
        admitting.application(text)
