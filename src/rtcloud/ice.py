"""STUN and TURN servers that clients are told of, with credentials that hold for a while. Pure.

Credentials are those of coturn's ``use-auth-secret``: the user name says until when they hold, and a password that only
who knows the secret can make goes with it. So the TURN server needs no list of users, and what a client was given is of
no use later.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass, field

#: What a user name may not hold: it separates, or would end a quoted string of a header.
_ODD = re.compile(r"[^A-Za-z0-9._@+-]")


@dataclass(frozen=True, slots=True)
class IceServer:
    uri: str
    username: str = ""
    credential: str = field(default="", repr=False)


def parsed(setting: str) -> IceServer:
    """``URI`` or ``URI USER CREDENTIAL`` of the configuration."""
    uri, *secret = setting.split(" ")
    return IceServer(uri, *secret)


@dataclass(frozen=True, slots=True)
class IceServers:
    """``fixed`` are told as they are; for ``turn_urls`` each user gets credentials for ``turn_ttl`` seconds."""

    fixed: tuple[IceServer, ...] = ()
    turn_urls: tuple[str, ...] = ()
    turn_secret: str = field(default="", repr=False)
    turn_ttl: int = 86_400

    def given(self, user_id: str, now_ms: int) -> tuple[IceServer, ...]:
        """Those that a user is told of now."""
        if not self.turn_urls:
            return self.fixed
        username = f"{now_ms // 1000 + self.turn_ttl}:{_ODD.sub('_', user_id)}"
        mac = hmac.digest(self.turn_secret.encode(), username.encode(), hashlib.sha1)
        credential = base64.b64encode(mac).decode()
        return (*self.fixed, *(IceServer(uri, username, credential) for uri in self.turn_urls))
