"""The publisher's side of a connection, without a socket: ``receive`` what came, send what ``take_output`` gives.

``begin`` → (handshake, connect, createStream, publish) → ``Published``, or ``Refused`` with the server's code. After
``Published`` messages may be sent; ``finish`` takes the stream back. Nothing is sent before it was asked for, so the
caller decides how much may lie in ``take_output``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from rtcloud.rtmp import chunks
from rtcloud.rtmp.address import Address
from rtcloud.rtmp.amf import Value, decode, encode
from rtcloud.rtmp.chunks import ChunkReader, ChunkWriter, Message
from rtcloud.rtmp.errors import RtmpError
from rtcloud.rtmp.handshake import SIZE, Handshake, greeting

#: of the media that we send: a megabyte's key frame is then a few hundred pieces
CHUNK_SIZE = 4096
WINDOW = 2_500_000
NAME = "rtcloud"
PING_REQUEST, PING_RESPONSE = 6, 7
#: Answers that lie here unsent: a peer that asks for more without reading any is given up.
MOST_UNSENT = 2 << 20
_CONTROL, _COMMANDS, _STREAM, _AUDIO, _VIDEO = 2, 3, 4, 5, 6  # our chunk streams

#: The server's code when it cannot take a codec that we announced.
UNSUPPORTED_CODEC = "NetStream.Publish.UnsupportedCodec"


@dataclass(frozen=True, slots=True)
class Published:
    """The server takes the stream."""


@dataclass(frozen=True, slots=True)
class Refused:
    """It does not, or does no longer. ``code`` is the server's, or empty; printable and bounded."""

    code: str


Event = Published | Refused


class Publisher:
    """``codecs`` are the FourCCs of Enhanced RTMP that will be sent (``hvc1``); H.264 and AAC need none."""

    def __init__(self, address: Address, *, noise: bytes, codecs: Sequence[str] = ()) -> None:
        self._address = address
        self._codecs = list(codecs)
        self._handshake: Handshake | None = Handshake()
        self._reader = ChunkReader(largest_message=1 << 20, most_unfinished=2 << 20)
        self._writer = ChunkWriter()
        self._noise = noise[: SIZE - 8]
        self._out = bytearray()
        self._transaction = 0
        self._asked: dict[int, str] = {}
        self._stream = 0
        self._published = False
        self._refused = False
        self._received = self._acknowledged = 0
        self._window = 0

    @property
    def published(self) -> bool:
        return self._published and not self._refused

    def begin(self) -> None:
        self._out += greeting(self._noise)

    def take_output(self) -> bytes:
        out = bytes(self._out)
        self._out.clear()
        return out

    def receive(self, data: bytes) -> list[Event]:
        """Raises ``RtmpError`` when the peer speaks something else."""
        self._received += len(data)
        if self._handshake is not None:
            rest = self._handshake.receive(data)
            self._out += self._handshake.take_answer()
            if rest is None:
                return []
            self._handshake = None
            self._connect()
            data = rest
        events = []
        for message in self._reader.receive(data):
            if (event := self._take(message)) is not None:
                events.append(event)
        if self._window and self._received - self._acknowledged >= self._window:
            self._acknowledged = self._received
            self._control(chunks.ACKNOWLEDGEMENT, (self._received & 0xFFFFFFFF).to_bytes(4, "big"))
        return events

    def send(self, kind: int, time_ms: int, data: bytes) -> None:
        """A message of audio, video or data (metadata in the form of an FLV script tag)."""
        assert self._published
        if kind == chunks.DATA:
            data = encode("@setDataFrame") + data
        name = {chunks.AUDIO: _AUDIO, chunks.VIDEO: _VIDEO}.get(kind, _STREAM)
        self._out += self._writer.write(Message(kind, data, time_ms, self._stream), name)

    def finish(self) -> None:
        """Say that the stream ends; the connection may be closed once that is sent."""
        if self._published and not self._refused:
            self._command("FCUnpublish", None, self._address.stream)
            self._command("deleteStream", None, float(self._stream))
        self._published = False

    def _connect(self) -> None:
        self._control(chunks.SET_CHUNK_SIZE, CHUNK_SIZE.to_bytes(4, "big"))
        self._writer.size = CHUNK_SIZE
        about: dict[str, Value] = {
            "app": self._address.app,
            "type": "nonprivate",
            "flashVer": f"FMLE/3.0 (compatible; {NAME})",
            "tcUrl": self._address.tc_url,
        }
        if self._codecs:
            about["fourCcList"] = list(self._codecs)
        self._command("connect", about)

    def _take(self, message: Message) -> Event | None:
        if message.kind == chunks.COMMAND:
            return self._answered(decode(message.data))
        if message.kind == chunks.WINDOW_SIZE and len(message.data) >= 4:
            self._window = int.from_bytes(message.data[:4], "big")
        elif message.kind == chunks.PEER_BANDWIDTH:
            self._control(chunks.WINDOW_SIZE, WINDOW.to_bytes(4, "big"))
        elif message.kind == chunks.USER_CONTROL and message.data[:2] == PING_REQUEST.to_bytes(2, "big"):
            self._control(chunks.USER_CONTROL, PING_RESPONSE.to_bytes(2, "big") + message.data[2:6])
        return None

    def _answered(self, values: list[Value]) -> Event | None:
        match values:
            case ["_result", float() as transaction, *rest]:
                return self._succeeded(self._asked.pop(_whole(transaction), ""), rest)
            case ["_error", float() as transaction, *rest]:
                if self._asked.pop(_whole(transaction), "") in ("connect", "createStream", "publish"):
                    return self._refuse(_info(rest).get("code"))
            case ["onStatus", float(), *rest]:
                info = _info(rest)
                if info.get("code") == "NetStream.Publish.Start" and self._stream:
                    if not self._published:
                        self._published = True
                        return Published()
                elif info.get("level") == "error":
                    return self._refuse(info.get("code"))
            case ["close", *_]:
                return self._refuse("NetConnection.Connect.Closed")
        return None

    def _succeeded(self, asked: str, rest: list[Value]) -> Event | None:
        if asked == "connect":
            if not _carries(rest, self._codecs):
                return self._refuse(UNSUPPORTED_CODEC)
            self._control(chunks.WINDOW_SIZE, WINDOW.to_bytes(4, "big"))
            self._command("releaseStream", None, self._address.stream)
            self._command("FCPublish", None, self._address.stream)
            self._command("createStream", None)
        elif asked == "createStream":
            if len(rest) < 2 or not isinstance(rest[1], float) or not 0 < rest[1] < 1 << 32:
                raise RtmpError("no stream was created")
            self._stream = int(rest[1])
            self._command("publish", None, self._address.stream, "live", stream=self._stream)
        return None

    def _refuse(self, code: Value) -> Event | None:
        if self._refused:
            return None
        self._refused = True
        text = code if isinstance(code, str) else ""
        return Refused("".join(filter(str.isprintable, text[:100])))

    def _command(self, command: str, *values: Value, stream: int = 0) -> None:
        self._transaction += 1
        self._asked[self._transaction] = command
        data = encode(command, float(self._transaction), *values)
        self._out += self._writer.write(Message(chunks.COMMAND, data, 0, stream), _STREAM if stream else _COMMANDS)

    def _control(self, kind: int, data: bytes) -> None:
        if len(self._out) > MOST_UNSENT:
            raise RtmpError("the peer asks and takes no answers")
        self._out += self._writer.write(Message(kind, data), _CONTROL)


def _whole(number: float) -> int:
    return int(number) if abs(number) < 1 << 53 else -1  # not a number compares false


def _info(rest: list[Value]) -> dict[str, Value]:
    """The object that says what happened: after the command object, sometimes in its place."""
    return next((value for value in reversed(rest[:2]) if isinstance(value, dict)), {})


def _carries(rest: list[Value], codecs: list[str]) -> bool:
    """Whether the server, if it says which codecs of Enhanced RTMP it takes, takes ours."""
    for value in rest[:2]:
        if isinstance(value, dict) and isinstance(taken := value.get("fourCcList"), list):
            return "*" in taken or all(codec in taken for codec in codecs)
    return True
