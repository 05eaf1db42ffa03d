"""An accepted push: what its task's row holds (sealed) and its job gets. There is no other source for it than the
connection that asked, so it is of use once."""

from typing import Literal

import msgspec

from rtcloud.ingest.media import Kind

KIND = "push"

#: Leave codes of a push that ended by itself, beside the documented ones of robots (``robots.entering``).
CLIENT_GONE = 120  # the connection ended, or nothing came over it any more
NOT_ADMITTED = 121  # by the room, after the server had let it in
UNUSABLE = 112  # as of a pull: nothing in it can be made fit for a room
SERVER_STOPPED = 3  # documented: the server took the robot out


class PushRequest(msgspec.Struct, frozen=True, kw_only=True):
    token: str  # lets the user into the room: with the rights that its own credentials gave
    desk: str  # the Unix socket where the connection waits
    ticket: str  # for the connection; good once
    kinds: tuple[Kind, ...] = ("audio", "video")  # what the user may send
    b_frames: Literal["transcode", "refuse"] = "transcode"

    def __repr__(self) -> str:
        return "PushRequest()"  # both its texts are secret


def encode(request: PushRequest) -> bytes:
    return msgspec.json.encode(request)


def decode(data: bytes) -> PushRequest:
    return msgspec.json.decode(data, type=PushRequest)
