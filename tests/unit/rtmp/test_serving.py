"""The server against our own publisher, and against clients that are written by hand."""

import contextlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.rtmp import chunks
from rtcloud.rtmp.address import parse_address
from rtcloud.rtmp.amf import Value, decode, encode
from rtcloud.rtmp.chunks import ChunkReader, ChunkWriter, Message
from rtcloud.rtmp.connecting import Refused
from rtcloud.rtmp.errors import RtmpError
from rtcloud.rtmp.handshake import SIZE
from rtcloud.rtmp.publishing import Published, Publisher
from rtcloud.rtmp.serving import (
    LONGEST_OPENING,
    MOST_STREAMS,
    Connect,
    Ended,
    Event,
    Media,
    Publish,
    Server,
)
from tests.kit.rtmp_peer import NOISE

ADDRESS = parse_address("rtmp://rtc.example/push/room?sdkappid=14&userid=u&usersig=a*b-c_")
HELLO = b"\3" + bytes(2 * SIZE)
APP: dict[str, Value] = {"app": "push", "tcUrl": "rtmp://rtc.example/push", "flashVer": "FMLE/3.0"}


class Client:
    """Says by hand what clients say."""

    def __init__(self, about: dict[str, Value] | None = None) -> None:
        self.writer = ChunkWriter()
        self.bytes = HELLO + self.command("connect", 1.0, APP | (about or {}))

    def command(self, *values: Value, stream: int = 0) -> bytes:
        return self.say(chunks.COMMAND, encode(*values), stream=stream)

    def say(self, kind: int, data: bytes, time_ms: int = 0, stream: int = 0) -> bytes:
        return self.writer.write(Message(kind, data, time_ms, stream), 3)

    def published(self, name: str = "room?key=1") -> bytes:
        return b"".join((
            self.bytes,
            self.command("releaseStream", 2.0, None, name),
            self.command("FCPublish", 3.0, None, name),
            self.command("createStream", 4.0, None),
            self.command("publish", 5.0, None, name, "live", stream=1),
        ))  # fmt: skip


def heard(server: Server) -> list[list[Value]]:
    """The commands that it answered."""
    said = ChunkReader().receive(server.take_output()[1 + 2 * SIZE :])
    return [decode(message.data) for message in said if message.kind == chunks.COMMAND]


def run(server: Server, *pieces: bytes) -> list[Event]:
    """All events, everything being accepted."""
    events: list[Event] = []
    for piece in pieces:
        events += server.receive(piece)
        while server.waits:
            events += server.accept()
    return events


def serve(*pieces: bytes) -> tuple[Server, list[Event]]:
    server = Server(NOISE)
    return server, run(server, *pieces)


def cut(data: bytes, at: Sequence[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in at})
    return [data[begin:end] for begin, end in zip([0, *places], [*places, len(data)], strict=True)]


def test_our_publisher_is_taken_and_its_media_arrive() -> None:
    publisher, server = Publisher(ADDRESS, noise=NOISE), Server(NOISE)
    events: list[object] = []

    def talk() -> None:
        while (sent := publisher.take_output()) or server.waits:
            events.extend(run(server, sent))
            events.extend(publisher.receive(server.take_output()))

    publisher.begin()
    talk()
    expected = Publish("push", "room", {"sdkappid": "14", "userid": "u", "usersig": "a*b-c_"})
    about = Connect("push", "rtmp://rtc.example/push", "FMLE/3.0 (compatible; rtcloud)")
    assert events == [about, expected, Published()]
    assert "a*b" not in repr(expected)

    script = encode("onMetaData", {"width": 2.0})
    media = [(chunks.DATA, 0, script), (chunks.VIDEO, 40, bytes(100_000)), (chunks.AUDIO, 2**32 - 1, b"a")]
    for each in media:
        publisher.send(*each)
    publisher.finish()
    events.clear()
    talk()
    assert events == [*(Media(*each) for each in media), Ended()]


@pytest.mark.parametrize("at_connect", [True, False])
def test_a_refusal_reaches_the_publisher_with_its_code(at_connect: bool) -> None:
    publisher, server = Publisher(ADDRESS, noise=NOISE), Server(NOISE)
    publisher.begin()
    events: list[object] = []
    for _ in range(10):
        for event in server.receive(publisher.take_output()):
            if isinstance(event, Connect) and not at_connect:
                server.accept()
            else:
                server.refuse("NetStream.Publish.Denied", "the room is full")
        events += publisher.receive(server.take_output())
    assert events == [Refused("NetStream.Publish.Denied")]
    assert server.receive(bytes(100)) == []


def test_a_stream_that_was_taken_can_be_taken_away() -> None:
    client = Client()
    server, _ = serve(client.published())
    reader = ChunkReader()
    reader.receive(server.take_output()[1 + 2 * SIZE :])
    server.end("NetStream.Publish.BadName", "somebody else has it now")
    status = {"level": "error", "code": "NetStream.Publish.BadName", "description": "somebody else has it now"}
    (message,) = reader.receive(server.take_output())
    assert decode(message.data) == ["onStatus", 0.0, None, status]
    assert server.receive(client.say(chunks.AUDIO, b"a", stream=1)) == []


_FRAMES = [(chunks.VIDEO, bytes(300), 10), (chunks.AUDIO, b"abc", 12), (chunks.VIDEO, b"", 50)]


@given(st.lists(st.integers(0, 10_000), max_size=8))
def test_however_the_bytes_were_cut_events_and_answers_are_the_same(at: list[int]) -> None:
    client = Client()
    data = client.published()
    data += b"".join(client.say(kind, frame, time_ms, stream=1) for kind, frame, time_ms in _FRAMES)
    data += client.command("deleteStream", 6.0, None, 1.0)
    whole, expected = serve(data)
    assert [type(event) for event in expected] == [Connect, Publish, Media, Media, Media, Ended]
    pieces, events = serve(*cut(data, at))
    assert events == expected
    assert pieces.take_output() == whole.take_output()


@given(st.lists(st.integers(0, 10_000), max_size=4), st.lists(st.integers(0, 10_000), max_size=4))
def test_whoever_repeats_the_bytes_stands_where_the_first_one_stood(first: list[int], second: list[int]) -> None:
    client = Client()
    opening = client.published() + client.say(chunks.AUDIO, b"early", stream=1)
    opening += client.say(chunks.VIDEO, bytes(500), stream=1)
    front, job = Server(NOISE), Server(bytes(SIZE - 8))
    outputs = []
    for server, at in ((front, first), (job, second)):
        events: list[Event] = []
        for piece in cut(opening[:-200], at):
            events += server.receive(piece)
            if events and isinstance(events[-1], Connect):
                events += server.accept()
        assert [type(event) for event in events] == [Connect, Publish]
        outputs.append(server.take_output())
    assert len(outputs[0]) == len(outputs[1])
    assert outputs[0][SIZE + 1 :] == outputs[1][SIZE + 1 :]
    assert job.accept() == [Media(chunks.AUDIO, 0, b"early")]
    assert job.receive(opening[-200:]) == [Media(chunks.VIDEO, 0, bytes(500))]
    assert b"NetStream.Publish.Start" in job.take_output()


@pytest.mark.parametrize(
    ("about", "name", "expected"),
    [
        ({}, "r?a=1&b=", ("push", "r", {"a": "1", "b": ""})),
        ({"app": "push/?a=1"}, "r", ("push", "r", {"a": "1"})),
        ({"app": "push", "tcUrl": "rtmp://h/push?a=1"}, "r", ("push", "r", {"a": "1"})),
        (
            {"app": "push?a=app&b=app", "tcUrl": "rtmp://h/push?a=url&b=url&c=url"},
            "r?a=name&a=second",
            ("push", "r", {"a": "name", "b": "app", "c": "url"}),
        ),
        ({"app": "push/"}, "r%20?a=%2A", ("push", "r%20", {"a": "*"})),
        ({"app": ""}, "", ("", "", {})),
    ],
)
def test_the_query_is_found_wherever_clients_put_it(
    about: dict[str, Value], name: str, expected: tuple[str, str, dict[str, str]]
) -> None:
    _, events = serve(Client(about).published(name))
    assert events[1] == Publish(*expected)


@pytest.mark.parametrize("asked", ["fourCcList", "videoFourCcInfoMap", "capsEx"])
def test_who_asks_for_enhanced_rtmp_is_told_what_we_take(asked: str) -> None:
    abouts: list[dict[str, Value]] = [{}, {asked: 1.0}]
    for about in abouts:
        server, _ = serve(Client(about).bytes)
        ((command, number, properties, info),) = heard(server)
        assert isinstance(properties, dict)
        assert isinstance(info, dict)
        assert (command, number, info["code"]) == ("_result", 1.0, "NetConnection.Connect.Success")
        if not about:
            assert not {"fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"} & properties.keys()
            continue
        assert isinstance(codecs := properties["fourCcList"], list)
        assert {"hvc1", "av01", "vp09", "avc1"} <= {*map(str, codecs)}
        assert isinstance(sounds := properties["audioFourCcInfoMap"], dict)
        assert {"Opus", "mp4a", "ac-3"} <= sounds.keys()


@pytest.mark.parametrize(
    "last", [("FCUnpublish", 6.0, None, "room"), ("deleteStream", 6.0, None, 1.0), ("closeStream", 6.0, None)]
)
def test_a_stream_may_be_taken_back_in_three_ways(last: tuple[Value, ...]) -> None:
    client = Client()
    opening = client.published()
    stream = 1 if last[0] == "closeStream" else 0
    server, events = serve(opening, client.command(*last, stream=stream), client.say(chunks.AUDIO, b"a", stream=1))
    assert events[2:] == [Ended()]


def test_another_stream_of_the_connection_is_not_ours() -> None:
    client = Client()
    opening = client.published("a")
    further = [
        client.command("createStream", 6.0, None),
        client.command("publish", 7.0, None, "b", stream=2),
        client.say(chunks.AUDIO, b"b", stream=2),
        client.say(chunks.AUDIO, b"none"),
        client.command("deleteStream", 8.0, None, 2.0),
        client.command("closeStream", 9.0, None, stream=2),
        client.command("play", 9.0, None, "room", stream=2),
        client.say(chunks.AUDIO, b"a", stream=1),
    ]
    server, events = serve(opening, *further)
    assert events[2:] == [Media(chunks.AUDIO, 0, b"a")]
    codes = [command[3]["code"] for command in heard(server) if command[0] == "onStatus" and type(command[3]) is dict]
    assert codes == ["NetStream.Publish.Start", "NetStream.Publish.BadConnection", "NetStream.Play.Failed"]


def test_aggregates_are_taken_apart_and_the_old_format_of_values_is_read() -> None:
    client = Client()

    def tag(kind: int, time_ms: int, data: bytes) -> bytes:
        time = time_ms.to_bytes(4, "big")
        return bytes([kind]) + len(data).to_bytes(3, "big") + time[1:] + time[:1] + bytes(3) + data + bytes(4)

    aggregate = tag(9, 0x1000000, b"v") + tag(8, 0x1000005, b"a") + tag(22, 0x1000005, b"x")
    script = encode("@setDataFrame", "onMetaData", {})
    _, events = serve(
        client.published(),
        client.say(chunks.AGGREGATE, aggregate, 70, stream=1),
        client.say(chunks.DATA_AMF3, b"\0" + script, 71, stream=1),
        client.say(chunks.COMMAND_AMF3, b"\0" + encode("deleteStream", 6.0, None, 1.0)),
    )
    data = Media(18, 71, encode("onMetaData", {}))
    assert events[2:] == [Media(9, 70, b"v"), Media(8, 75, b"a"), data, Ended()]
    for broken in (aggregate[:5], aggregate[:11], tag(9, 0, b"") * 5000):
        client = Client()
        with pytest.raises(RtmpError, match="aggregate"):
            serve(client.published(), client.say(chunks.AGGREGATE, broken, stream=1))


def test_pings_are_answered_and_what_came_is_acknowledged() -> None:
    client = Client()
    server, _ = serve(client.published(), client.say(chunks.WINDOW_SIZE, (5000).to_bytes(4, "big")))
    reader = ChunkReader()
    reader.receive(server.take_output()[1 + 2 * SIZE :])
    assert server.receive(client.say(chunks.AUDIO, bytes(9000), stream=1))
    (message,) = reader.receive(server.take_output())
    assert message.kind == chunks.ACKNOWLEDGEMENT
    assert int.from_bytes(message.data, "big") > 9000
    server.receive(client.say(chunks.USER_CONTROL, bytes.fromhex("000600001234")))
    assert reader.receive(server.take_output()) == [Message(chunks.USER_CONTROL, bytes.fromhex("000700001234"))]
    pings = client.say(chunks.USER_CONTROL, bytes.fromhex("000600001234")) * 30_000
    with pytest.raises(RtmpError, match="takes no answers"):
        server.receive(pings)


def _opening(*commands: tuple[Value, ...], stream: int = 0) -> bytes:
    client = Client()
    return client.bytes + b"".join(client.command(*command, stream=stream) for command in commands)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "version"),
        (b"\6" + bytes(SIZE), "version"),
        (HELLO + Client().command("createStream", 1.0, None), "before connect"),
        (HELLO + Client().command(1.0, 2.0), "no command"),
        (HELLO + Client().command("connect", 1.0), "before connect"),
        (HELLO + Client().command("connect", 1.0, {"tcUrl": "x"}), "no name"),
        (Client({"app": "a" * 5000}).bytes, "too long"),
        (_opening(("connect", 1.0, APP)), "once more"),
        (_opening(("publish", 2.0, None, "room"), stream=1), "not created"),
        (_opening(*[("createStream", 2.0, None)] * (MOST_STREAMS + 1)), "too many streams"),
        (_opening(*[("nothing", 2.0)] * 300), "too many messages"),
        (Client().published("room?" + "&".join(f"{n}=" for n in range(40))), "too many fields"),
        (HELLO + bytes.fromhex("03" "000000" "ffffff" "14" "00000000"), "message too large"),
        (HELLO + b"\3" + bytes(LONGEST_OPENING), "too much before"),
        (HELLO + b"\xff" * 99, "without a header"),
    ],
)  # fmt: skip
def test_what_is_no_publisher_or_too_much_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(RtmpError, match=why):
        serve(data)


def test_what_comes_while_a_decision_is_awaited_is_bounded() -> None:
    client = Client()
    server = Server(NOISE)
    server.receive(client.bytes)
    for _ in range(60):
        assert server.receive(client.say(chunks.AUDIO, bytes(1000))) == []
    with pytest.raises(RtmpError, match="too much before"):
        server.receive(client.say(chunks.AUDIO, bytes(4000)))


@given(st.lists(st.binary(max_size=100), max_size=6), st.booleans())
def test_whatever_a_client_says_is_events_or_an_error(parts: list[bytes], published: bool) -> None:
    server = Server(NOISE)
    with contextlib.suppress(RtmpError):
        run(server, Client().published() if published else HELLO, *parts)
