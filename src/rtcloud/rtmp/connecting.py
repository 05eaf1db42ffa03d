"""What every client of an RTMP server does before its stream is there: greet, connect, create a stream. Pure.

``Publisher`` and ``Player`` go on from there. Redirects are not followed: they are refusals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from rtcloud.rtmp import chunks
from rtcloud.rtmp.address import Address
from rtcloud.rtmp.amf import Value
from rtcloud.rtmp.chunks import Message
from rtcloud.rtmp.conversation import NAME, WINDOW, Conversation, values_of
from rtcloud.rtmp.errors import RtmpError

#: of what we send: a megabyte's key frame is then a few hundred pieces
CHUNK_SIZE = 4096

#: The server's code when it cannot take a codec that we announced.
UNSUPPORTED_CODEC = "NetStream.Publish.UnsupportedCodec"


@dataclass(frozen=True, slots=True)
class Refused:
    """The server does not take or give the stream, or does no longer. ``code`` is its own, or empty; printable and
    bounded."""

    code: str


EventT = TypeVar("EventT")


class Client(Generic[EventT]):
    """``codecs`` are the FourCCs of Enhanced RTMP that we send or take; H.264 and AAC need none."""

    #: Those that are refusals when the server says that they failed.
    vital: tuple[str, ...] = ("connect", "createStream")

    def __init__(
        self,
        address: Address,
        *,
        noise: bytes,
        largest_message: int,
        codecs: Sequence[str] = (),
    ) -> None:
        self._address = address
        self._codecs = list(codecs)
        self._talk = Conversation(noise, speaks_first=True, largest_message=largest_message)
        self._transaction = 0
        self._asked: dict[int, str] = {}
        self._stream = 0
        self._refused = False

    def begin(self) -> None:
        self._talk.begin()

    def take_output(self) -> bytes:
        return self._talk.take_output()

    def receive(self, data: bytes) -> list[EventT | Refused]:
        """Raises ``RtmpError`` when the peer speaks something else."""
        if (rest := self._talk.shake(data)) is None:
            return []
        if not self._transaction:
            self._connect()
        events: list[EventT | Refused] = []
        for message in self._talk.read(rest):
            if message.kind in (chunks.COMMAND, chunks.COMMAND_AMF3):
                events += self._answered(values_of(message))
            else:
                self._talk.obey(message)
                events += self._take(message)
        self._talk.acknowledge()
        return events

    def _about(self) -> dict[str, Value]:
        """What connect says besides the address."""
        return {}

    def _open(self) -> None:
        """The stream was created: ask for what it is for."""
        raise NotImplementedError

    def _create(self) -> None:
        """Connected: ask for a stream."""
        self._command("createStream", None)

    def _status(self, code: Value, level: Value) -> list[EventT | Refused]:
        raise NotImplementedError

    def _take(self, message: Message) -> Sequence[EventT | Refused]:
        """Anything but commands."""
        return ()

    def _connect(self) -> None:
        self._talk.set_chunk_size(CHUNK_SIZE)
        about: dict[str, Value] = {"app": self._address.app, "tcUrl": self._address.tc_url, **self._about()}
        if self._codecs:
            about["fourCcList"] = list(self._codecs)
        self._command("connect", about)

    def _answered(self, values: list[Value]) -> list[EventT | Refused]:
        match values:
            case ["_result", float() as transaction, *rest]:
                return self._succeeded(self._asked.pop(_whole(transaction), ""), rest)
            case ["_error", float() as transaction, *rest]:
                if self._asked.pop(_whole(transaction), "") in self.vital:
                    return self._refuse(_info(rest).get("code"))
            case ["onStatus", float(), *rest] if not self._refused:
                info = _info(rest)
                return self._status(info.get("code"), info.get("level"))
            case ["close", *_]:
                return self._refuse("NetConnection.Connect.Closed")
        return []

    def _succeeded(self, asked: str, rest: list[Value]) -> list[EventT | Refused]:
        if asked == "connect":
            if not _carries(rest, self._codecs):
                return self._refuse(UNSUPPORTED_CODEC)
            self._talk.control(chunks.WINDOW_SIZE, WINDOW.to_bytes(4, "big"))
            self._create()
        elif asked == "createStream":
            if len(rest) < 2 or not isinstance(rest[1], float) or not 0 < rest[1] < 1 << 32:
                raise RtmpError("no stream was created")
            self._stream = int(rest[1])
            self._open()
        return []

    def _refuse(self, code: Value) -> list[EventT | Refused]:
        if self._refused:
            return []
        self._refused = True
        text = code if isinstance(code, str) else ""
        return [Refused("".join(filter(str.isprintable, text[:100])))]

    def _command(self, command: str, *values: Value, stream: int = 0) -> None:
        self._transaction += 1
        self._asked[self._transaction] = command
        self._talk.command(command, float(self._transaction), *values, stream=stream)


def flash_version(kind: str) -> str:
    return f"{kind} (compatible; {NAME})"


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
