"""The server's side of a publisher's connection, without a socket: ``receive`` what came, send what ``take_output``
gives.

(handshake) → ``Connect`` → ``accept`` → ``Publish`` → ``accept`` → ``Media`` … → ``Ended``. After ``Connect`` and after
``Publish`` nothing further is read until ``accept`` or ``refuse``; ``accept`` gives the events of what came meanwhile.
Up to the second ``accept`` the answers depend on the bytes and on these calls alone, however the bytes were cut:
whoever repeats both stands where the first one stood, and may go on. One stream per connection; players are turned
away.

Bounded: 64 KiB and a few hundred messages before the stream is accepted, 4 MiB per message afterwards, unsent answers.
"""

from collections import deque
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from rtcloud.rtmp import chunks
from rtcloud.rtmp.amf import Value
from rtcloud.rtmp.chunks import Message
from rtcloud.rtmp.conversation import NAME, STREAM_BEGIN, WINDOW, Conversation, values_of
from rtcloud.rtmp.errors import RtmpError
from rtcloud.rtmp.media import CAPABILITIES, extended_codecs, media_of
from rtcloud.rtmp.media import Media as Media

#: FFmpeg's publisher takes it for its own messages too
CHUNK_SIZE = 1 << 16
LARGEST_MESSAGE = 4 << 20
LONGEST_OPENING = 64 << 10
MOST_OPENING_MESSAGES = 256
_OPENING_PIECE = 1 << 10
MOST_UNSENT = 256 << 10
MOST_STREAMS = 8
LONGEST_TEXT = 4096
MOST_QUERY_FIELDS = 32

_PLAYERS_COMMANDS = ("play", "play2")


@dataclass(frozen=True, slots=True)
class Connect:
    app: str = field(repr=False)  # without its query
    tc_url: str = field(repr=False)
    client: str  # what it says that it is; printable and bounded


@dataclass(frozen=True, slots=True)
class Publish:
    """``query`` is put together of those after the stream's name, the application and in tcUrl; the first of these that
    has a field counts."""

    app: str = field(repr=False)
    name: str = field(repr=False)  # without its query
    query: dict[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ended:
    """The client took its stream back."""


Event = Connect | Publish | Media | Ended


@dataclass(slots=True)
class _Asked:
    """What waits for ``accept`` or ``refuse``."""

    command: str
    transaction: float
    stream: int = 0
    extended: bool = False


class Server:
    """``noise`` are 1528 random bytes; only the greeting has them."""

    def __init__(self, noise: bytes) -> None:
        self._talk = Conversation(noise, speaks_first=False, largest_message=LARGEST_MESSAGE, most_unsent=MOST_UNSENT)
        self._received = self._messages = 0
        self._held: deque[Message] = deque()
        self._asked: _Asked | None = None
        self._connect: Connect | None = None
        self._places = ("", "")  # what of the application and of tcUrl may have a query
        self._streams: set[int] = set()
        self._published: int | None = None
        self._over = False

    @property
    def waits(self) -> bool:
        """For ``accept`` or ``refuse``."""
        return self._asked is not None

    @property
    def has_output(self) -> bool:
        return self._talk.has_output

    def take_output(self) -> bytes:
        return self._talk.take_output()

    def receive(self, data: bytes) -> list[Event]:
        """Raises ``RtmpError`` when the peer speaks something else, or too much. After ``Ended`` nothing is read."""
        if self._over:
            return []
        if self._published is None:
            self._received += len(data)
            if self._received > LONGEST_OPENING:
                raise RtmpError("too much before a stream")
        if (rest := self._talk.shake(data)) is None:
            return []
        if self._published is not None:
            return self._take_all(self._talk.read(rest))
        for at in range(0, len(rest), _OPENING_PIECE):  # a message may be of one byte
            messages = self._talk.read(rest[at : at + _OPENING_PIECE])
            self._messages += len(messages)
            if self._messages > MOST_OPENING_MESSAGES:
                raise RtmpError("too many messages before a stream")
            self._held += messages
        return self._go_on()

    def accept(self) -> list[Event]:
        """Take what was asked for last; what had come behind it follows."""
        asked = self._taken()
        if asked.command == "connect":
            self._welcome(asked)
        else:
            self._published = asked.stream
            self._talk.tell(STREAM_BEGIN, asked.stream.to_bytes(4, "big"))
            self._status(asked.stream, "status", "NetStream.Publish.Start", "the stream is published")
        return self._go_on()

    def refuse(self, code: str, description: str) -> None:
        """Say so; the connection is to be closed once ``take_output`` is sent."""
        asked = self._taken()
        self._over = True
        self._held.clear()
        if asked.command == "connect":
            self._talk.command("_error", asked.transaction, None, _info("error", code, description))
        else:
            self._status(asked.stream, "error", code, description)

    def end(self, code: str, description: str) -> None:
        """Take an accepted stream away from the client: what it shows as the reason."""
        if self._published is not None and not self._over:
            self._status(self._published, "error", code, description)
        self._over = True
        self._held.clear()

    def _taken(self) -> _Asked:
        asked, self._asked = self._asked, None
        assert asked is not None, "nothing was asked for"
        return asked

    def _go_on(self) -> list[Event]:
        events: list[Event] = []
        while self._held and self._asked is None:
            events += self._take(self._held.popleft())
        return events

    def _take_all(self, messages: list[Message]) -> list[Event]:
        events: list[Event] = []
        for message in messages:
            events += self._take(message)
        self._talk.acknowledge()
        return events

    def _take(self, message: Message) -> list[Event]:
        if self._over:
            return []
        if message.kind in (chunks.COMMAND, chunks.COMMAND_AMF3):
            event = self._commanded(values_of(message), message.stream)
            return [] if event is None else [event]
        if message.stream == self._published:  # not None: there is no such message
            return list(media_of(message))
        self._talk.obey(message)
        return []

    def _commanded(self, values: list[Value], stream: int) -> Event | None:
        match values:
            case ["connect", float() as transaction, dict() as about, *_]:
                return self._connecting(transaction, about)
            case [str() as command, float() as transaction, *rest] if self._connect is not None:
                return self._called(command, transaction, rest, stream)
            case [str(), float(), *_]:
                raise RtmpError("a command before connect")
        raise RtmpError("no command")

    def _connecting(self, transaction: float, about: dict[str, Value]) -> Connect:
        if self._connect is not None:
            raise RtmpError("connect once more")
        app, tc_url = _text(about.get("app")), _text(about.get("tcUrl", ""))
        self._places = (app, tc_url)
        client = "".join(filter(str.isprintable, _text(about.get("flashVer", ""))[:100]))
        self._connect = Connect(app.partition("?")[0].strip("/"), tc_url, client)
        extended = any(name in about for name in ("fourCcList", "videoFourCcInfoMap", "audioFourCcInfoMap", "capsEx"))
        self._asked = _Asked("connect", transaction, extended=extended)
        return self._connect

    def _called(self, command: str, transaction: float, rest: list[Value], stream: int) -> Event | None:
        match command:
            case "releaseStream" | "FCPublish":
                self._talk.command("_result", transaction, None, None)
            case "createStream":
                if len(self._streams) >= MOST_STREAMS:
                    raise RtmpError("too many streams")
                self._streams.add(len(self._streams) + 1)
                self._talk.command("_result", transaction, None, float(len(self._streams)))
            case "publish":
                return self._publishing(transaction, rest, stream)
            case "FCUnpublish" | "closeStream" | "deleteStream" if self._published is not None:
                return self._ending(command, rest, stream)
            case _ if command in _PLAYERS_COMMANDS:
                self._status(stream, "error", "NetStream.Play.Failed", "streams are published here, not played")
        return None

    def _publishing(self, transaction: float, rest: list[Value], stream: int) -> Publish | None:
        assert self._connect is not None
        if stream not in self._streams:
            raise RtmpError("publish on a stream that was not created")
        if self._published is not None:
            self._status(stream, "error", "NetStream.Publish.BadConnection", "one stream per connection")
            return None
        name, _, query = _text(rest[1] if len(rest) > 1 else None).partition("?")
        app, tc_url = self._places
        fields = _fields(tc_url.partition("?")[2]) | _fields(app.partition("?")[2]) | _fields(query)
        self._asked = _Asked("publish", transaction, stream)
        return Publish(self._connect.app, name, fields)

    def _ending(self, command: str, rest: list[Value], stream: int) -> Ended | None:
        ended = stream == self._published
        if command == "deleteStream":
            ended = len(rest) > 1 and rest[1] == self._published
        elif command == "FCUnpublish":  # on the connection itself, with the name
            ended = True
        if not ended:
            return None
        assert self._published is not None
        self._status(self._published, "status", "NetStream.Unpublish.Success", "the stream has ended")
        self._over = True
        return Ended()

    def _welcome(self, asked: _Asked) -> None:
        self._talk.control(chunks.WINDOW_SIZE, WINDOW.to_bytes(4, "big"))
        self._talk.control(chunks.PEER_BANDWIDTH, WINDOW.to_bytes(4, "big") + b"\2")
        self._talk.set_chunk_size(CHUNK_SIZE)
        about: dict[str, Value] = {"fmsVer": f"FMS/3,0,1,123 ({NAME})", "capabilities": 31.0}
        if asked.extended:
            about |= extended_codecs() | {"capsEx": CAPABILITIES}
        info = _info("status", "NetConnection.Connect.Success", "connected") | {"objectEncoding": 0.0}
        self._talk.command("_result", asked.transaction, about, info)

    def _status(self, stream: int, level: str, code: str, description: str) -> None:
        self._talk.command("onStatus", 0.0, None, _info(level, code, description), stream=stream)


def _info(level: str, code: str, description: str) -> dict[str, Value]:
    return {"level": level, "code": code, "description": description}


def _text(value: Value) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        raise RtmpError("no name, or too long")
    return value


def _fields(query: str) -> dict[str, str]:
    """The first of each name."""
    try:
        found = parse_qsl(query, keep_blank_values=True, max_num_fields=MOST_QUERY_FIELDS, errors="replace")
    except ValueError:
        raise RtmpError("too many fields in a query") from None
    return dict(reversed(found))
