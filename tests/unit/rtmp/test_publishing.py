"""The publisher against a small server that is made of the same chunks, handshake and AMF."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.rtmp import chunks
from rtcloud.rtmp.address import parse_address
from rtcloud.rtmp.amf import Value, decode, encode
from rtcloud.rtmp.chunks import Message
from rtcloud.rtmp.connecting import Refused
from rtcloud.rtmp.errors import RtmpError
from rtcloud.rtmp.handshake import Handshake
from rtcloud.rtmp.publishing import Event, Published, Publisher
from tests.kit.rtmp_peer import NOISE, Answers, Peer

ADDRESS = parse_address("rtmp://cdn.example/live/x?key=1")


def talk(publisher: Publisher, peer: Peer, data: bytes = b"") -> list[Event]:
    events = publisher.receive(data)
    while sent := publisher.take_output():
        events += publisher.receive(peer.receive(sent))
    return events


def published(answers: Answers | None = None, codecs: tuple[str, ...] = ()) -> tuple[Publisher, Peer, list[Event]]:
    publisher, peer = Publisher(ADDRESS, noise=NOISE, codecs=codecs), Peer(answers or {})
    publisher.begin()
    return publisher, peer, talk(publisher, peer)


def test_a_stream_is_published_under_its_name_with_its_key() -> None:
    publisher, peer, events = published()
    assert events == [Published()]
    assert [command[0] for command in peer.commands] == [
        "connect",
        "releaseStream",
        "FCPublish",
        "createStream",
        "publish",
    ]
    about = peer.commands[0][2]
    assert isinstance(about, dict)
    assert (about["app"], about["tcUrl"], about["type"]) == ("live", "rtmp://cdn.example/live", "nonprivate")
    assert "fourCcList" not in about
    assert peer.commands[-1][3:] == ["x?key=1", "live"]
    assert peer.messages[-1].stream == 7

    publisher.send(chunks.DATA, 0, encode("onMetaData", {"width": 2.0}))
    publisher.send(chunks.VIDEO, 40, bytes(10_000))
    publisher.send(chunks.AUDIO, 40, b"a")
    publisher.finish()
    talk(publisher, peer)
    kinds = [(message.kind, message.time_ms, len(message.data)) for message in peer.messages[-4:-2]]
    assert kinds == [(chunks.VIDEO, 40, 10_000), (chunks.AUDIO, 40, 1)]
    assert decode(peer.messages[-5].data) == ["@setDataFrame", "onMetaData", {"width": 2.0}]
    assert [command[0] for command in peer.commands[-2:]] == ["FCUnpublish", "deleteStream"]
    assert peer.commands[-1][3] == 7.0


REFUSED: list[tuple[Answers, str]] = [
    (
        {"connect": ["_error", None, {"level": "error", "code": "NetConnection.Connect.Rejected"}]},
        "NetConnection.Connect.Rejected",
    ),
    ({"connect": ["_error", None, None]}, ""),
    ({"createStream": ["_error", None]}, ""),
    (
        {"publish": ["onStatus", None, {"level": "error", "code": "NetStream.Publish.BadName"}]},
        "NetStream.Publish.BadName",
    ),
    ({"publish": ["onStatus", None, {"level": "error", "code": "a\x00" * 99}]}, "a" * 50),
]


@pytest.mark.parametrize(("answers", "code"), REFUSED)
def test_a_refusal_carries_the_servers_code(answers: Answers, code: str) -> None:
    publisher, _, events = published(answers)
    assert events == [Refused(code)]
    assert not publisher.published


def test_a_stream_may_be_taken_away_later() -> None:
    publisher, peer, _ = published()
    gone = encode("onStatus", 0.0, None, {"level": "error", "code": "NetStream.Publish.Denied"})
    assert talk(publisher, peer, peer.say(chunks.COMMAND, gone)) == [Refused("NetStream.Publish.Denied")]


@pytest.mark.parametrize(
    ("taken", "expected"),
    [(["hvc1"], Published()), (["*"], Published()), (["av01"], Refused("NetStream.Publish.UnsupportedCodec"))],
)
def test_a_server_that_names_its_codecs_must_take_ours(taken: list[Value], expected: Event) -> None:
    _, peer, events = published({"connect": ["_result", {"fourCcList": taken}, {"level": "status"}]}, ("hvc1",))
    assert events == [expected]
    about = peer.commands[0][2]
    assert isinstance(about, dict)
    assert about["fourCcList"] == ["hvc1"]


def test_pings_are_answered_and_what_came_is_acknowledged() -> None:
    publisher, peer, _ = published()
    talk(publisher, peer, peer.say(chunks.USER_CONTROL, bytes.fromhex("000600001234")))
    assert peer.messages[-1] == Message(chunks.USER_CONTROL, bytes.fromhex("000700001234"))
    talk(publisher, peer, peer.say(chunks.WINDOW_SIZE, (5000).to_bytes(4, "big")))
    before = len(peer.messages)
    talk(publisher, peer, peer.say(chunks.DATA, bytes(5000)))
    assert [message.kind for message in peer.messages[before:]] == [chunks.ACKNOWLEDGEMENT]
    assert int.from_bytes(peer.messages[-1].data, "big") > 5000
    talk(publisher, peer, peer.say(chunks.PEER_BANDWIDTH, (5000).to_bytes(4, "big") + b"\2"))
    assert peer.messages[-1].kind == chunks.WINDOW_SIZE


def test_a_peer_that_asks_without_reading_is_given_up() -> None:
    publisher, peer, _ = published()
    pings = peer.say(chunks.USER_CONTROL, bytes.fromhex("000600001234")) * 1000
    for _ in range(100):
        publisher.receive(pings)
    with pytest.raises(RtmpError, match="takes no answers"):
        publisher.receive(pings * 200)


def test_what_speaks_no_rtmp_is_an_error() -> None:
    publisher = Publisher(ADDRESS, noise=NOISE)
    with pytest.raises(RtmpError, match="version"):
        publisher.receive(b"HTTP/1.1 400 Bad Request\r\n")


def test_a_greeting_with_digests_is_answered_plainly() -> None:
    handshake = Handshake()
    complex_greeting = b"\x03" + bytes.fromhex("0000000180000702") + NOISE[:1528]
    for at in range(0, len(complex_greeting), 100):
        assert handshake.receive(complex_greeting[at : at + 100]) is None
    assert handshake.take_answer() == complex_greeting[1:]
    assert handshake.take_answer() == b""
    assert handshake.receive(bytes(1536) + b"rest") == b"rest"


@given(st.lists(st.binary(max_size=100), max_size=6))
def test_whatever_a_server_says_is_events_or_an_error(parts: list[bytes]) -> None:
    publisher, _, _ = published()
    with contextlib.suppress(RtmpError):
        for part in parts:
            publisher.receive(part)
