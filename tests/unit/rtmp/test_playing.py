"""The player against the scripted server."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.rtmp import chunks
from rtcloud.rtmp.address import parse_address
from rtcloud.rtmp.amf import encode
from rtcloud.rtmp.chunks import Message
from rtcloud.rtmp.connecting import Refused
from rtcloud.rtmp.errors import RtmpError
from rtcloud.rtmp.media import Media
from rtcloud.rtmp.playing import BUFFER_MS, Ended, Event, Player, Playing
from tests.kit.rtmp_peer import NOISE, Answers, Peer

ADDRESS = parse_address("rtmp://cdn.example/live/x?key=1")
STREAM = 7
STARTED: Answers = {"play": ["onStatus", None, {"level": "status", "code": "NetStream.Play.Start"}]}


def talk(player: Player, peer: Peer, data: bytes = b"") -> list[Event]:
    events = player.receive(data)
    while sent := player.take_output():
        events += player.receive(peer.receive(sent))
    return events


def played(answers: Answers | None = None) -> tuple[Player, Peer, list[Event]]:
    player, peer = Player(ADDRESS, NOISE), Peer(STARTED if answers is None else answers)
    player.begin()
    return player, peer, talk(player, peer)


def status(peer: Peer, code: str, level: str = "status") -> bytes:
    return peer.say(chunks.COMMAND, encode("onStatus", 0.0, None, {"level": level, "code": code}), STREAM)


def test_a_stream_is_played_under_its_name_with_its_key() -> None:
    player, peer, events = played()
    assert events == [Playing()]
    assert [command[0] for command in peer.commands] == ["connect", "createStream", "play"]
    about = peer.commands[0][2]
    assert isinstance(about, dict)
    assert (about["app"], about["tcUrl"]) == ("live", "rtmp://cdn.example/live")
    assert isinstance(codecs := about["fourCcList"], list)
    assert "hvc1" in codecs
    assert peer.commands[-1][3:] == ["x?key=1", -2000.0]
    buffer = bytes.fromhex("0003") + STREAM.to_bytes(4, "big") + BUFFER_MS.to_bytes(4, "big")
    assert peer.messages[-1] == Message(chunks.USER_CONTROL, buffer)

    sent = [Media(9, 0xFFFFFFFF, bytes(9000)), Media(8, 5, b"a"), Media(18, 5, encode("onMetaData", {}))]
    data = b"".join(peer.say(each.kind, each.data, STREAM, each.time_ms) for each in sent)
    assert talk(player, peer, data + peer.say(8, b"of another stream", STREAM + 1)) == sent
    assert talk(player, peer, status(peer, "NetStream.Play.InsufficientBW", "warning")) == []


def test_media_say_that_it_plays_where_the_server_does_not() -> None:
    player, peer, events = played({})
    assert events == []
    media = peer.say(8, b"a", STREAM) + status(peer, "NetStream.Play.Start") + peer.say(8, b"b", STREAM)
    assert talk(player, peer, media) == [Playing(), Media(8, 0, b"a"), Media(8, 0, b"b")]


@pytest.mark.parametrize(
    "code", ["NetStream.Play.Stop", "NetStream.Play.UnpublishNotify", "NetStream.Play.Complete", "", "end of file"]
)
def test_the_end_is_said_once_however_the_server_says_it(code: str) -> None:
    player, peer, _ = played()
    others = peer.say(chunks.USER_CONTROL, bytes.fromhex("000100000009"))
    others += peer.say(chunks.DATA, encode("onPlayStatus", {"code": "NetStream.Play.Switch"}), STREAM)
    assert [type(event) for event in talk(player, peer, others)] == [Media]
    if code == "end of file":
        end = peer.say(chunks.USER_CONTROL, bytes.fromhex("0001") + STREAM.to_bytes(4, "big"))
    elif code:
        end = status(peer, code)
    else:
        end = peer.say(chunks.DATA, encode("onPlayStatus", {"code": "NetStream.Play.Complete"}), STREAM)
    stop = status(peer, "NetStream.Play.Stop")
    assert talk(player, peer, end + stop + peer.say(8, b"late", STREAM)) == [Ended()]


REJECTED, FAILED = "NetConnection.Connect.Rejected", "NetStream.Play.Failed"
NOT_FOUND = "NetStream.Play.StreamNotFound"
REFUSED: list[tuple[Answers, str]] = [
    ({"connect": ["_error", None, {"level": "error", "code": REJECTED, "ex": {"code": 302.0}}]}, REJECTED),
    ({"createStream": ["_error", None]}, ""),
    ({"play": ["_error", None, {"code": FAILED}]}, FAILED),
    ({"play": ["onStatus", None, {"level": "error", "code": NOT_FOUND}]}, NOT_FOUND),
    ({"play": ["onStatus", None, {"level": "status", "code": NOT_FOUND}]}, NOT_FOUND),
]


@pytest.mark.parametrize(("answers", "code"), REFUSED)
def test_a_refusal_carries_the_servers_code_and_nothing_follows(answers: Answers, code: str) -> None:
    player, peer, events = played(answers)
    assert events == [Refused(code)]
    assert talk(player, peer, status(peer, "NetStream.Play.Start") + peer.say(8, b"a", STREAM)) == []


def test_a_stream_may_fail_later() -> None:
    player, peer, _ = played()
    assert talk(player, peer, status(peer, "NetStream.Play.Failed", "error")) == [Refused("NetStream.Play.Failed")]


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=6))
def test_however_the_bytes_were_cut_events_are_the_same(cuts: list[int]) -> None:
    player, peer, _ = played()
    frames = [Media(9, 40 * turn, bytes(50 * turn)) for turn in range(30)]
    data = b"".join(peer.say(each.kind, each.data, STREAM, each.time_ms) for each in frames)
    events: list[Event] = []
    at = turn = 0
    while at < len(data):
        events += player.receive(data[at : at + cuts[turn % len(cuts)]])
        at, turn = at + cuts[turn % len(cuts)], turn + 1
    assert events == frames


@given(st.lists(st.binary(max_size=100), max_size=6))
def test_whatever_a_server_says_is_events_or_an_error(parts: list[bytes]) -> None:
    player, _, _ = played()
    with contextlib.suppress(RtmpError):
        for part in parts:
            player.receive(part)
