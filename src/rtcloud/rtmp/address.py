"""``rtmp(s)://host[:port]/app[/instance]/stream?query``, taken apart as publishers do. Pure.

The query belongs to the stream's name: that is where CDNs look for their keys. Names and passwords before the host are
refused: they would be sent to nobody. The text of an ``Address`` names no application and no stream, since both may be
secret.
"""

import re
from dataclasses import dataclass, field

PORTS = {"rtmp": 1935, "rtmps": 443}
LONGEST = 2048

_URL = re.compile(r"(?P<scheme>rtmps?)://(?P<authority>[^/?#]*)/(?P<path>[^?#]*)(?P<query>\?.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")


class AddressError(ValueError):
    """The text is no address that can be published to; the message says why and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Address:
    secure: bool
    host: str  # without the brackets of IPv6
    port: int
    app: str = field(repr=False)
    stream: str = field(repr=False)  # with its query

    @property
    def place(self) -> str:
        """What may be logged."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "rtmps" if self.secure else "rtmp"
        return f"{scheme}://{host}" if self.port == PORTS[scheme] else f"{scheme}://{host}:{self.port}"

    @property
    def tc_url(self) -> str:
        return f"{self.place}/{self.app}"


def parse_address(url: str) -> Address:
    """Raises ``AddressError``."""
    if len(url) > LONGEST:
        raise AddressError(f"longer than {LONGEST} characters")
    if not url.isascii() or any(character <= " " or character == "\x7f" for character in url):
        raise AddressError("only ASCII without spaces")
    if (match := _URL.fullmatch(url)) is None:
        raise AddressError("not rtmp://host[:port]/app/stream or rtmps://…")
    if "@" in match["authority"]:
        raise AddressError("a user and a password are not supported")
    if (authority := _AUTHORITY.fullmatch(match["authority"])) is None:
        raise AddressError("no host, or not a host")
    secure = match["scheme"].lower() == "rtmps"
    port = int(authority["port"] or PORTS["rtmps" if secure else "rtmp"])
    if not 0 < port < 65536:
        raise AddressError("no such port")
    app, _, name = match["path"].rpartition("/")
    if not app.strip("/") or not name:
        raise AddressError("an application and a stream name are needed after the host")
    host = authority["host"].strip("[]").lower()
    return Address(secure, host, port, app.strip("/"), name + (match["query"] or ""))
