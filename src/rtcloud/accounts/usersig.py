"""UserSig, the credential an application's own server gives to each of its users. Pure.

A UserSig is JSON, deflated, in a base64 of its own alphabet; its signature covers the values, not the text. The
official libraries differ in key order, spacing, compression and a trailing newline, so a verifier parses and computes
the signature again from what it expects. A UserSig that carries a ``userbuf`` is also a PrivateMapKey; the buffer is
covered by the signature and handed on as it is.

The text comes from strangers: its length and what it inflates to are bounded before anything is parsed.
"""

import base64
import binascii
import hashlib
import hmac
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

MAX_TEXT = 8 * 1024
MAX_JSON = 16 * 1024
DEFAULT_EXPIRE_S = 180 * 86_400

# The documented numbers of what is wrong with a UserSig (the client SDKs show them as error codes).
EXPIRED = 70001
EMPTY = 70002
TRUNCATED = 70003
MALFORMED = 70005
KEY_MISMATCH = 70009
USER_MISMATCH = 70013
APP_MISMATCH = 70014

_TO_STANDARD = str.maketrans("*-_", "+/=")
_TO_URL = str.maketrans("+/=", "*-_")
_LAST_MS = 2**53


class UserSigError(Exception):
    """``code`` is one of the documented numbers above; ``reason`` may be shown to the caller."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


@dataclass(frozen=True, slots=True)
class UserSig:
    """A verified UserSig."""

    user_id: str
    sdk_app_id: int
    expires_ms: int
    userbuf: bytes | None


class _Body(msgspec.Struct):
    version: str = msgspec.field(name="TLS.ver")
    identifier: str = msgspec.field(name="TLS.identifier")
    sdk_app_id: int = msgspec.field(name="TLS.sdkappid")
    time: int = msgspec.field(name="TLS.time")
    expire: int = msgspec.field(name="TLS.expire")
    sig: str = msgspec.field(name="TLS.sig")
    userbuf: str | None = msgspec.field(name="TLS.userbuf", default=None)


_decoder = msgspec.json.Decoder(_Body, strict=False)


def make_user_sig(
    sdk_app_id: int,
    secret_key: str,
    user_id: str,
    *,
    now_ms: int,
    expire_s: int = DEFAULT_EXPIRE_S,
    userbuf: bytes | None = None,
) -> str:
    """``secret_key`` is the SDKSecretKey: its text is the key, not the bytes that its hex digits spell."""
    issued = now_ms // 1000
    buffer = None if userbuf is None else base64.b64encode(userbuf).decode()
    body: dict[str, str | int] = {
        "TLS.ver": "2.0",
        "TLS.identifier": user_id,
        "TLS.sdkappid": sdk_app_id,
        "TLS.time": issued,
        "TLS.expire": expire_s,
    }
    if buffer is not None:
        body["TLS.userbuf"] = buffer
    body["TLS.sig"] = _sign(secret_key, user_id, sdk_app_id, issued, expire_s, buffer)
    packed = zlib.compress(msgspec.json.encode(body))
    return base64.b64encode(packed).decode().translate(_TO_URL)


def verify_user_sig(
    user_sig: str, *, sdk_app_id: int, secret_keys: Iterable[str], user_id: str, now_ms: int
) -> UserSig:
    """The parsed UserSig, or a ``UserSigError``; any of the keys may have signed it.

    Nothing is said about expiry before the signature is known good.
    """
    body = _parse(user_sig)
    if body.sdk_app_id != sdk_app_id:
        raise UserSigError(APP_MISMATCH, "UserSig was made for another SDKAppID")
    if body.identifier != user_id:
        raise UserSigError(USER_MISMATCH, "UserSig was made for another user")
    given = body.sig.encode("utf-8", "surrogatepass")
    signed = (_sign(key, user_id, sdk_app_id, body.time, body.expire, body.userbuf) for key in secret_keys)
    if not any(hmac.compare_digest(expected.encode(), given) for expected in signed):
        raise UserSigError(KEY_MISMATCH, "UserSig was not signed with this application's key")
    expires_ms = min((body.time + body.expire) * 1000, _LAST_MS)
    if now_ms > expires_ms:
        raise UserSigError(EXPIRED, "UserSig has expired")
    try:
        userbuf = None if body.userbuf is None else base64.b64decode(body.userbuf, validate=True)
    except (binascii.Error, ValueError):
        raise UserSigError(MALFORMED, "TLS.userbuf is not base64") from None
    return UserSig(user_id, sdk_app_id, expires_ms, userbuf)


def _parse(user_sig: str) -> _Body:
    text = user_sig.strip()
    if not text:
        raise UserSigError(EMPTY, "UserSig is empty")
    if len(text) > MAX_TEXT:
        raise UserSigError(MALFORMED, "UserSig is too long")
    try:
        packed = base64.b64decode(text.translate(_TO_STANDARD), validate=True)
    except (binascii.Error, ValueError):
        raise UserSigError(TRUNCATED, "UserSig is cut off or not base64") from None
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(packed, MAX_JSON)
    except zlib.error:
        raise UserSigError(TRUNCATED, "UserSig is cut off or not deflated") from None
    if inflater.unconsumed_tail or inflater.unused_data:
        raise UserSigError(MALFORMED, "UserSig holds more than a UserSig")
    if not inflater.eof:
        raise UserSigError(TRUNCATED, "UserSig is cut off")
    try:
        body = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise UserSigError(MALFORMED, "UserSig does not hold the documented fields") from None
    if body.version != "2.0":
        raise UserSigError(MALFORMED, "UserSig is not of version 2.0")
    return body


def _sign(secret_key: str, user_id: str, sdk_app_id: int, issued: int, expire: int, userbuf: str | None) -> str:
    text = f"TLS.identifier:{user_id}\nTLS.sdkappid:{sdk_app_id}\nTLS.time:{issued}\nTLS.expire:{expire}\n"
    if userbuf is not None:
        text += f"TLS.userbuf:{userbuf}\n"
    digest = hmac.digest(secret_key.encode(), text.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return base64.b64encode(digest).decode()
