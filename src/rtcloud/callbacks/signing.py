"""The Sign header: base64(HMAC-SHA256(key, body)) over exactly the bytes that are sent."""

import base64
import hashlib
import hmac


def sign(key: str, body: bytes) -> str:
    return base64.b64encode(hmac.digest(key.encode(), body, hashlib.sha256)).decode()


def is_signed(key: str, body: bytes, signature: str) -> bool:
    """For receivers: whether ``signature`` is that of ``body``."""
    return hmac.compare_digest(sign(key, body).encode(), signature.encode())
