"""Messages of the server's own to people in a room: custom commands and messages of any topic, as livekit's packets.

They come from nobody: no participant's identity is in them.
"""

from livekit.protocol import models

from rtcloud.errors import ServiceError

COMMANDS = range(1, 11)
MAX_COMMAND = 1000
MAX_MESSAGE = 15_000
TOPIC = "trtc.cmd."


def custom_command(number: int, data: bytes) -> bytes:
    """Custom command 1–10 with at most 1000 bytes, as its packet (G:2776)."""
    if number not in COMMANDS:
        raise ServiceError("InvalidParameterValue", "the number of a custom command is from 1 to 10")
    if len(data) > MAX_COMMAND:
        raise ServiceError("InvalidParameterValue", f"a custom command has at most {MAX_COMMAND} bytes")
    return _packet(f"{TOPIC}{number}", data)


def message(topic: str, data: bytes) -> bytes:
    """A message of the application's own topic."""
    if len(data) > MAX_MESSAGE or len(topic.encode()) > 256:
        raise ServiceError("InvalidParameterValue", f"a message has at most {MAX_MESSAGE} bytes, its topic 256")
    return _packet(topic, data)


def _packet(topic: str, data: bytes) -> bytes:
    return models.DataPacket(user=models.UserPacket(payload=data, topic=topic)).SerializeToString()
