"""Messages inside the pictures (SEI): what publishers put into their video goes on in the mix, in its order.

Each message stands in the first mixed picture that is made after the one that it came with; more than fit into one
picture wait for the next. What an encoder says of itself is left out.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from rtcloud.client import sei
from rtcloud.client.sei import SeiMessage
from rtcloud.mixer.encoding import EncodedPacket

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

    def put_into(self, packet: EncodedPacket) -> EncodedPacket:
        """The mixed picture with as many messages as it may have."""
        if not self._waiting:
            return packet
        messages = [self._waiting.popleft() for _ in range(min(len(self._waiting), PER_PICTURE))]
        return replace(packet, data=sei.insert(packet.data, messages))
