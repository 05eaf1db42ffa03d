"""Messages inside the pictures (SEI): what publishers put into their video goes on in the mix, in its order.

Each message stands in the first mixed picture that is made after the one that it came with; more than fit into one
picture wait for the next. What an encoder says of itself is left out.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rtcloud.client import sei
from rtcloud.client.sei import SeiMessage
from rtcloud.mixer.encoding import EncodedPacket, VideoCodec

#: Messages that wait for pictures; over it the oldest are forgotten.
MAX_WAITING = 256
#: Of one picture: as many as a reader takes, but for the encoder's own.
PER_PICTURE = sei.MAX_MESSAGES - 1
#: With this UUID x264 writes its settings into every stream.
X264 = bytes.fromhex("dc45e9bde6d948b7962cd820d923eeef")


class PictureMessages:
    """Of one mix."""

    def __init__(self) -> None:
        self._waiting: deque[SeiMessage] = deque(maxlen=MAX_WAITING)

    def take(self, found: Iterable[SeiMessage]) -> None:
        self._waiting.extend(message for message in found if message.uuid != X264)

    def next(self, own: Sequence[SeiMessage]) -> list[SeiMessage]:
        """What goes into the next mixed picture: the server's own messages first, then those that wait."""
        messages = [message for message in own if 0 < len(message.data) <= sei.MAX_OWN_DATA][:PER_PICTURE]
        while self._waiting and len(messages) < PER_PICTURE:
            messages.append(self._waiting.popleft())
        return messages


def put_into(packet: EncodedPacket, messages: Sequence[SeiMessage]) -> EncodedPacket:
    """``packet`` is a picture."""
    if not messages:
        return packet
    codec: VideoCodec = "h265" if packet.codec == "h265" else "h264"
    return replace(packet, data=sei.insert(packet.data, messages, codec=codec, max_data=sei.MAX_OWN_DATA))
