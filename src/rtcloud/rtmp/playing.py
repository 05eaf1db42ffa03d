"""The player's side of a connection, without a socket: ``receive`` what came, send what ``take_output`` gives.

``begin`` → (handshake, connect, createStream, play) → ``Playing``, ``Media`` … → ``Ended`` when the server says that
the stream is over; or ``Refused`` with its code, before or later. A server that has nobody who publishes may say
nothing at all: how long to wait is the caller's.
"""

from dataclasses import dataclass

from rtcloud.rtmp import chunks
from rtcloud.rtmp.address import Address
from rtcloud.rtmp.amf import Value, decode, encode
from rtcloud.rtmp.chunks import Message
from rtcloud.rtmp.connecting import Client, Refused, flash_version
from rtcloud.rtmp.conversation import SET_BUFFER_LENGTH, STREAM_EOF, user_event
from rtcloud.rtmp.media import Media, extended_codecs, media_of

LARGEST_MESSAGE = 4 << 20
#: what the server sends of a file before its time
BUFFER_MS = 3000

_LIVE_OR_FILE = -2000.0
_ENDS = ("NetStream.Play.Stop", "NetStream.Play.UnpublishNotify", "NetStream.Play.Complete")
_FAILURES = ("NetStream.Play.StreamNotFound", "NetStream.Play.Failed")
_PLAY_STATUS = encode("onPlayStatus")


@dataclass(frozen=True, slots=True)
class Playing:
    """The server gives the stream, or will when somebody publishes it."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more comes."""


PlayerEvent = Playing | Media | Ended
Event = PlayerEvent | Refused


class Player(Client[PlayerEvent]):
    vital = (*Client.vital, "play")

    def __init__(self, address: Address, noise: bytes) -> None:
        super().__init__(address, noise=noise, largest_message=LARGEST_MESSAGE)
        self._playing = self._ended = False

    def _about(self) -> dict[str, Value]:
        return {
            "flashVer": flash_version("LNX 9,0,124,2"),
            "fpad": False,
            "capabilities": 15.0,
            "audioCodecs": 4071.0,  # all of them
            "videoCodecs": 252.0,
            "videoFunction": 1.0,
            **extended_codecs(),
        }

    def _open(self) -> None:
        number = self._stream.to_bytes(4, "big")
        self._command("play", None, self._address.stream, _LIVE_OR_FILE, stream=self._stream)
        self._talk.tell(SET_BUFFER_LENGTH, number + BUFFER_MS.to_bytes(4, "big"))

    def _status(self, code: Value, level: Value) -> list[Event]:
        if level == "error" or code in _FAILURES:
            return self._refuse(code)
        if code == "NetStream.Play.Start":
            return self._begin()
        return self._end() if code in _ENDS else []

    def _take(self, message: Message) -> list[Event]:
        if self._refused or self._ended:
            return []
        if user_event(message) == STREAM_EOF:
            return self._end() if message.data[2:6] == self._stream.to_bytes(4, "big") else []
        if message.stream != self._stream or not self._stream:
            return []
        media = media_of(message)
        if any(each.kind == chunks.DATA and _says_the_end(each.data) for each in media):
            return self._end()
        return [*self._begin(), *media] if media else []

    def _begin(self) -> list[Event]:
        if self._playing or self._ended:
            return []
        self._playing = True
        return [Playing()]

    def _end(self) -> list[Event]:
        """Also before anything began: then there is nothing to play."""
        if self._ended:
            return []
        self._ended = True
        return [Ended()]


def _says_the_end(data: bytes) -> bool:
    """As servers of files do."""
    if not data.startswith(_PLAY_STATUS):
        return False
    return any(isinstance(value, dict) and value.get("code") in _ENDS for value in decode(data))
