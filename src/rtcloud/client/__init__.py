"""The native client: a Python program in a room. Guide: ``docs/guide/python-client.md``."""

from rtcloud.client.connecting import Connecting, connect, join
from rtcloud.client.joining import ConnectError
from rtcloud.client.peer import PeerConfig, PeerStats
from rtcloud.client.room import PublishError, Room

__all__ = ["ConnectError", "Connecting", "PeerConfig", "PeerStats", "PublishError", "Room", "connect", "join"]
