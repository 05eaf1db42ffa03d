"""Who asks, for which room, with which right: the paths, queries and headers of requests. Pure.

The bearer token is a UserSig, and may be a PrivateMapKey, which is one that says more.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus

from rtcloud.ice import IceServer
from rtcloud.rooms.participant import Device, TerminalType, UserType
from rtcloud.whip.problems import Problem, malformed

_BEARER = re.compile(r"bearer +([^ ]+) *", re.IGNORECASE)
_APP = re.compile(r"[1-9][0-9]{0,9}")
_PRODUCT = re.compile(r"([A-Za-z0-9._-]{1,64})(?:/([A-Za-z0-9._-]{1,64}))?")
_OBS = re.compile(r"\((OBS-Studio)/([A-Za-z0-9._-]{1,64})")
#: What a browser calls itself, the most telling name first: they all claim to be others.
_BROWSERS = ("Edg", "OPR", "Firefox", "Chrome", "Safari")
_TERMINALS = (
    ("android", TerminalType.ANDROID),
    ("iphone", TerminalType.IOS),
    ("ipad", TerminalType.IOS),
    ("windows", TerminalType.WINDOWS),
    ("linux", TerminalType.LINUX),
)


def bearer(authorization: str) -> str:
    """The token of the header. Raises Problem 401, which says what is wanted (RFC 6750, 3)."""
    found = _BEARER.fullmatch(authorization)
    if found is None:
        headers = {"WWW-Authenticate": 'Bearer realm="rtcloud"'}
        raise Problem(HTTPStatus.UNAUTHORIZED, "a bearer token is wanted: the UserSig of the user", headers=headers)
    return found[1]


def application(text: str) -> int:
    if _APP.fullmatch(text) is None:
        raise malformed("the SDKAppID is not a number")
    return int(text)


def needed(query: Mapping[str, str], name: str) -> str:
    value = query.get(name, "")
    if not value:
        raise malformed(f"{name} is missing in the query")
    return value


def codec(query: Mapping[str, str]) -> str:
    """``prefervcodec`` of the older form."""
    preferred = query.get("prefervcodec", "").lower()
    if preferred not in ("", "h264", "vp8"):
        raise malformed("prefervcodec is neither h264 nor vp8")
    return preferred


def device_of(agent: str, address: str) -> Device:
    """By the header User-Agent. OBS calls itself a browser, which it is not."""
    lowered = agent[:1024].lower()
    terminal = next((number for name, number in _TERMINALS if name in lowered), TerminalType.OTHER)
    user_type, name, version = UserType.NATIVE_SDK, "", ""
    obs, product = _OBS.search(agent[:1024]), _PRODUCT.match(agent)
    if obs is not None:
        name, version = obs[1], obs[2]
    elif agent.startswith("Mozilla/"):
        user_type = UserType.WEBRTC
        for each in _BROWSERS:
            if found := re.search(rf"{each}/([0-9.]{{1,32}})", agent[:1024]):
                name, version = each, found[1]
                break
    elif product is not None:
        name, version = product[1], product[2] or ""
    return Device(user_type, terminal, name, version, address)


def link(server: IceServer) -> str:
    """As a header's value (RFC 9725, 4.6)."""
    named = f'<{server.uri}>; rel="ice-server"'
    if not server.username:
        return named
    secret = f'username="{server.username}"; credential="{server.credential}"'
    return f'{named}; {secret}; credential-type="password"'


def matches(if_match: str, etag: str) -> bool:
    """RFC 9110, 13.1.1. Weak tags match nothing."""
    return if_match.strip() == "*" or etag in (each.strip() for each in if_match.split(","))
