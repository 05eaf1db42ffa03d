"""An RTMP server's side of a connection, made of the same chunks, handshake and AMF as the publisher's."""

from rtcloud.rtmp import chunks
from rtcloud.rtmp.amf import Value, decode, encode
from rtcloud.rtmp.chunks import ChunkReader, ChunkWriter, Message
from rtcloud.rtmp.handshake import Handshake, greeting

NOISE = bytes(range(256)) * 6
Answers = dict[str, list[Value]]


class Peer:
    """Answers as scripted: command → values to send back (the transaction is put in)."""

    def __init__(self, answers: Answers | None = None) -> None:
        standard: Answers = {
            "connect": ["_result", {}, {"code": "NetConnection.Connect.Success", "level": "status"}],
            "createStream": ["_result", None, 7.0],
            "publish": ["onStatus", None, {"level": "status", "code": "NetStream.Publish.Start"}],
        }
        self.answers = standard | (answers or {})
        self.commands: list[list[Value]] = []
        self.messages: list[Message] = []
        self._handshake: Handshake | None = Handshake()
        self._reader, self._writer = ChunkReader(), ChunkWriter()

    def receive(self, data: bytes) -> bytes:
        out = b""
        if self._handshake is not None:
            rest = self._handshake.receive(data)
            if answer := self._handshake.take_answer():
                out += greeting(NOISE[:1528]) + answer
            if rest is None:
                return out
            self._handshake, data = None, rest
        for message in self._reader.receive(data):
            self.messages.append(message)
            if message.kind == chunks.COMMAND:
                command = decode(message.data)
                self.commands.append(command)
                if (answers := self.answers.get(str(command[0]))) is not None:
                    number = command[1] if answers[0] != "onStatus" else 0.0
                    out += self.say(chunks.COMMAND, encode(answers[0], number, *answers[1:]))
        return out

    def say(self, kind: int, data: bytes, stream: int = 0, time_ms: int = 0) -> bytes:
        return self._writer.write(Message(kind, data, time_ms, stream), 3)
