"""What both ends of a connection do alike, without a socket: handshake, chunks, pings, windows, commands.

Answers to the peer lie in ``take_output`` until they are sent; a peer that asks for more without reading any is given
up. Acknowledgements depend on how the bytes came, all else on the bytes alone.
"""

from rtcloud.rtmp import chunks
from rtcloud.rtmp.amf import Value, decode, encode
from rtcloud.rtmp.chunks import ChunkReader, ChunkWriter, Message
from rtcloud.rtmp.errors import RtmpError
from rtcloud.rtmp.handshake import SIZE, Handshake, greeting

NAME = "rtcloud"
WINDOW = 2_500_000
STREAM_BEGIN, STREAM_EOF, SET_BUFFER_LENGTH, PING_REQUEST, PING_RESPONSE = 0, 1, 3, 6, 7
MOST_UNSENT = 2 << 20
CONTROL, COMMANDS, STREAM = 2, 3, 4  # our chunk streams


class Conversation:
    def __init__(
        self, noise: bytes, *, speaks_first: bool, largest_message: int, most_unsent: int = MOST_UNSENT
    ) -> None:
        self._noise = noise[: SIZE - 8]
        self._speaks_first = speaks_first
        self._handshake: Handshake | None = Handshake()
        self._reader = ChunkReader(largest_message=largest_message, most_unfinished=2 * largest_message)
        self._writer = ChunkWriter()
        self._most_unsent = most_unsent
        self._out = bytearray()
        self._received = self._acknowledged = self._window = 0

    def begin(self) -> None:
        """The first word of the end that speaks first."""
        self._out += greeting(self._noise)

    @property
    def has_output(self) -> bool:
        return bool(self._out)

    def take_output(self) -> bytes:
        out = bytes(self._out)
        self._out.clear()
        return out

    def shake(self, data: bytes) -> bytes | None:
        """What of ``data`` is after the handshake; None as long as there is none after it."""
        self._received += len(data)
        if self._handshake is None:
            return data
        rest = self._handshake.receive(data)
        if answer := self._handshake.take_answer():
            if not self._speaks_first:
                self._out += greeting(self._noise)
            self._out += answer
        if rest is not None:
            self._handshake = None
        return rest

    def read(self, data: bytes) -> list[Message]:
        return self._reader.receive(data)

    def obey(self, message: Message) -> None:
        """Do what protocol control asks for; nothing for other messages."""
        if message.kind == chunks.WINDOW_SIZE and len(message.data) >= 4:
            self._window = int.from_bytes(message.data[:4], "big")
        elif message.kind == chunks.PEER_BANDWIDTH:
            self.control(chunks.WINDOW_SIZE, WINDOW.to_bytes(4, "big"))
        elif message.kind == chunks.USER_CONTROL and user_event(message) == PING_REQUEST:
            self.tell(PING_RESPONSE, message.data[2:6])

    def acknowledge(self) -> None:
        """Say what came, if that is due."""
        if self._window and self._received - self._acknowledged >= self._window:
            self._acknowledged = self._received
            self.control(chunks.ACKNOWLEDGEMENT, (self._received & 0xFFFFFFFF).to_bytes(4, "big"))

    def set_chunk_size(self, size: int) -> None:
        self.control(chunks.SET_CHUNK_SIZE, size.to_bytes(4, "big"))
        self._writer.size = size

    def command(self, *values: Value, stream: int = 0) -> None:
        self._answer(Message(chunks.COMMAND, encode(*values), 0, stream), STREAM if stream else COMMANDS)

    def control(self, kind: int, data: bytes) -> None:
        self._answer(Message(kind, data), CONTROL)

    def tell(self, event: int, data: bytes) -> None:
        """A message of user control."""
        self.control(chunks.USER_CONTROL, event.to_bytes(2, "big") + data)

    def write(self, message: Message, name: int) -> None:
        """On the chunk stream ``name``, however much lies unsent."""
        self._out += self._writer.write(message, name)

    def _answer(self, message: Message, name: int) -> None:
        if len(self._out) > self._most_unsent:
            raise RtmpError("the peer asks and takes no answers")
        self.write(message, name)


def user_event(message: Message) -> int:
    """-1 when it is none."""
    data = message.data
    return int.from_bytes(data[:2], "big") if message.kind == chunks.USER_CONTROL and len(data) >= 2 else -1


def values_of(message: Message) -> list[Value]:
    """Those of a command: its name, its number, its arguments. Empty for other messages."""
    if message.kind == chunks.COMMAND:
        return decode(message.data)
    return decode(message.data[1:]) if message.kind == chunks.COMMAND_AMF3 else []
