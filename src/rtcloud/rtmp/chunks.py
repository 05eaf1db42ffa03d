"""RTMP's chunk streams: messages cut into pieces and put together again. Pure.

The reader keeps to what the peer says of its chunk size (``SET_CHUNK_SIZE``, ``ABORT`` are obeyed here and still
given out). Bounded: chunk streams, the length of a message, and the bytes of unfinished messages together.
"""

from dataclasses import dataclass, field

from rtcloud.rtmp.errors import RtmpError

SET_CHUNK_SIZE, ABORT, ACKNOWLEDGEMENT, USER_CONTROL, WINDOW_SIZE, PEER_BANDWIDTH = 1, 2, 3, 4, 5, 6
AUDIO, VIDEO, DATA, COMMAND, AGGREGATE = 8, 9, 18, 20, 22
DATA_AMF3, COMMAND_AMF3 = 15, 17  # AMF0 after a byte, in practice

FIRST_CHUNK_SIZE = 128
LARGEST_CHUNK_SIZE = 16 << 20
MOST_STREAMS = 64
_EXTENDED = 0xFFFFFF
_HEADER_BYTES = (11, 7, 3, 0)


@dataclass(frozen=True, slots=True)
class Message:
    kind: int
    data: bytes
    time_ms: int = 0  # modulo 2**32
    stream: int = 0


@dataclass(slots=True)
class _Incoming:
    """What the next header of a chunk stream leaves out, and the message under way."""

    time_ms: int = 0
    field: int = 0  # the last time or difference, as it was written
    extended: bool = False
    length: int = 0
    kind: int = 0
    stream: int = 0
    data: bytearray | None = None


class ChunkReader:
    def __init__(self, *, largest_message: int = 4 << 20, most_unfinished: int = 8 << 20) -> None:
        self._largest = largest_message
        self._most = most_unfinished
        self._size = FIRST_CHUNK_SIZE
        self._buffer = bytearray()
        self._streams: dict[int, _Incoming] = {}
        self._unfinished = 0

    def receive(self, data: bytes) -> list[Message]:
        """The messages that ``data`` completes. Raises ``RtmpError``."""
        self._buffer += data
        messages = []
        at = 0
        while (read := self._chunk(at)) is not None:
            at, message = read
            if message is not None:
                self._obey(message)
                messages.append(message)
        del self._buffer[:at]
        return messages

    def _chunk(self, at: int) -> tuple[int, Message | None] | None:
        """Where the chunk at ``at`` ends, and the message that it ends; None as long as it is not all there.

        Nothing is changed before all of it is there."""
        buffer = self._buffer
        if at >= len(buffer):
            return None
        form, name = buffer[at] >> 6, buffer[at] & 63
        at += 1
        if name < 2:  # the number follows, in one byte or two
            further = bytes(buffer[at : at + 1 + name])
            if len(further) < 1 + name:
                return None
            at += len(further)
            name = 64 + int.from_bytes(further, "little")
        known = self._streams.get(name)
        if known is None:
            if form >= 2:
                raise RtmpError("a chunk stream begins without a header")
            if len(self._streams) >= MOST_STREAMS:
                raise RtmpError("too many chunk streams")
            known = _Incoming()
        header = bytes(buffer[at : at + _HEADER_BYTES[form]])
        if len(header) < _HEADER_BYTES[form]:
            return None
        at += len(header)
        begins = known.data is None
        if form != 3 and not begins:
            raise RtmpError("a message begins inside another one")
        length = int.from_bytes(header[3:6], "big") if form < 2 else known.length
        if length > self._largest:
            raise RtmpError("message too large")
        field = int.from_bytes(header[:3], "big") if form < 3 else known.field
        extended = field == _EXTENDED if form < 3 else known.extended
        if extended:
            raw = bytes(buffer[at : at + 4])
            if len(raw) < 4:
                return None
            value = int.from_bytes(raw, "big")
            # some peers leave it out in all but the first chunk
            if form < 3 or value == known.field:
                field = value
                at += 4
        have = 0 if known.data is None else len(known.data)
        count = min(self._size, length - have)
        if len(buffer) < at + count:
            if self._unfinished + len(buffer) - at > self._most:
                raise RtmpError("too much unfinished")
            return None
        self._streams[name] = known
        if begins:
            known.time_ms = (field if form == 0 else known.time_ms + field) & 0xFFFFFFFF
            known.field, known.extended, known.length = field, extended, length
            if form < 2:
                known.kind = header[6]
            if form == 0:
                known.stream = int.from_bytes(header[7:11], "little")
            known.data = bytearray()
        assert known.data is not None
        known.data += buffer[at : at + count]
        self._unfinished += count
        if self._unfinished > self._most:
            raise RtmpError("too much unfinished")
        at += count
        if len(known.data) < length:
            return at, None
        message = Message(known.kind, bytes(known.data), known.time_ms, known.stream)
        self._unfinished -= length
        known.data = None
        return at, message

    def _obey(self, message: Message) -> None:
        if message.kind == SET_CHUNK_SIZE:
            size = int.from_bytes(message.data[:4], "big")
            if len(message.data) < 4 or not 0 < size < 1 << 31:
                raise RtmpError("no such chunk size")
            self._size = min(size, LARGEST_CHUNK_SIZE)
        elif message.kind == ABORT:
            aborted = self._streams.get(int.from_bytes(message.data[:4], "big"))
            if aborted is not None and aborted.data is not None:
                self._unfinished -= len(aborted.data)
                aborted.data = None


@dataclass(slots=True)
class _Outgoing:
    time_ms: int
    length: int
    kind: int
    stream: int


@dataclass(slots=True)
class ChunkWriter:
    size: int = FIRST_CHUNK_SIZE
    _streams: dict[int, _Outgoing] = field(default_factory=dict)

    def write(self, message: Message, name: int) -> bytes:
        """The message on the chunk stream ``name`` (2 to 63), with the shortest header that says it."""
        assert 2 <= name < 64
        time_ms, data = message.time_ms & 0xFFFFFFFF, message.data
        before = self._streams.get(name)
        if before is None or before.stream != message.stream or time_ms < before.time_ms:
            form, number = 0, time_ms
        else:
            form, number = 1, time_ms - before.time_ms
            if (before.length, before.kind) == (len(data), message.kind):
                form = 2
        self._streams[name] = _Outgoing(time_ms, len(data), message.kind, message.stream)
        out = bytearray([form << 6 | name])
        out += min(number, _EXTENDED).to_bytes(3, "big")
        if form < 2:
            out += len(data).to_bytes(3, "big") + bytes([message.kind])
        if form == 0:
            out += message.stream.to_bytes(4, "little")
        extended = number.to_bytes(4, "big") if number >= _EXTENDED else b""
        out += extended + data[: self.size]
        for at in range(self.size, len(data), self.size):
            out += bytes([3 << 6 | name]) + extended + data[at : at + self.size]
        return bytes(out)
