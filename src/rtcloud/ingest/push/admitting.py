"""What an RTMP client asks for when it publishes: who it is, and which room it means. Pure.

``rtmp://HOST/push/{room}?sdkappid=…&userid=…&usersig=…``: the application is ``push``, the rest is the stream's name.
Whether the credentials are good is asked elsewhere; here is only what has the wrong form.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args
from urllib.parse import unquote

APP = "push"
FORM = "push/ROOM?sdkappid=…&userid=…&usersig=…"

#: How a client is told. What each means to people is in docs/guide/rtmp.md.
BAD_APP = "NetConnection.Connect.InvalidApp"
BAD_NAME = "NetStream.Publish.BadName"
DENIED = "NetStream.Publish.Denied"
REJECTED = "NetStream.Publish.Rejected"

#: For the operator's metrics.
Why = Literal[
    "bad_application",  # of RTMP: the path does not begin with push
    "bad_address",  # the room, the user or a parameter has not the documented form
    "unknown_application",  # no such SDKAppID
    "bad_signature",  # usersig: wrong, expired, of somebody else
    "not_allowed",  # the privateMapKey or the application does not allow it
    "room_full",
    "too_often",  # one user, in a minute
    "busy",  # no machine has room for it, or the server stops
    "too_many",  # connections
    "too_slow",
    "not_rtmp",
]
WHYS: tuple[Why, ...] = get_args(Why)


class PushRefusedError(Exception):
    """``code`` is RTMP's, ``words`` are for people; neither repeats a secret."""

    def __init__(self, why: Why, code: str, words: str) -> None:
        super().__init__(words)
        self.why: Why = why
        self.code = code
        self.words = words


@dataclass(frozen=True, slots=True)
class Wish:
    sdk_app_id: int
    user_id: str
    user_sig: str = field(repr=False)
    room: str
    numeric: bool
    scene: str  # rtc or live, if the room is to be opened; "": as the application has it


def read_wish(name: str, query: Mapping[str, str]) -> Wish:
    """Raises PushRefusedError."""
    said = {key.lower(): value for key, value in query.items()}
    for needed in ("sdkappid", "userid", "usersig"):
        if not said.get(needed):
            raise _bad(f"{needed} is missing: {FORM}")
    number = said["sdkappid"]
    if not _is_number(number):
        raise _bad("sdkappid is not a number")
    kind, scene = said.get("use_number_room_id", "0"), said.get("scene", "")
    if kind not in ("0", "1"):
        raise _bad("use_number_room_id is neither 0 nor 1")
    if scene not in ("", "rtc", "live"):
        raise _bad("scene is neither rtc nor live")
    room, numeric = unquote(name).strip("/"), kind == "1"
    if not room:
        raise _bad(f"the room is missing: {FORM}")
    if numeric:
        if not _is_number(room):
            raise _bad("the room is not a number, as use_number_room_id=1 says")
        room = str(int(room))
    return Wish(int(number), said["userid"], said["usersig"], room, numeric, scene)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 10


def _bad(words: str) -> PushRefusedError:
    return PushRefusedError("bad_address", BAD_NAME, words)
