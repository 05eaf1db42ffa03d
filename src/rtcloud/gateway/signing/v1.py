"""Signature v1, HmacSHA1 or HmacSHA256 over all parameters of a GET or form request. Pure.

The signed text is method, host and the parameters sorted by name, each with its value as it was before URL encoding;
only ``Signature`` is left out. HmacSHA256 is used when ``SignatureMethod`` says exactly that, HmacSHA1 otherwise. What
was signed once may not come again within the time window: ``replays``.
"""

import base64
import binascii
import hmac
from collections.abc import Mapping

from rtcloud.gateway.signing.faults import failure

SHA256 = "HmacSHA256"


def verify(parameters: Mapping[str, str], secret_key: str, *, method: str, host: str) -> bytes:
    """The verified signature. ``parameters`` are decoded, ``Signature`` among them; ``host`` is the header's value."""
    given = _decoded(parameters["Signature"])
    digest = digest_name(parameters)
    if given is not None:
        source = source_string(method, host, parameters)
        if hmac.compare_digest(signature(secret_key, source, digest), given):
            return given
        # The Python and Java SDKs sign an underscore in a name as a dot.
        if any("_" in name for name in parameters):
            dotted = {name.replace("_", "."): value for name, value in parameters.items()}
            if hmac.compare_digest(signature(secret_key, source_string(method, host, dotted), digest), given):
                return given
    raise failure("the signature does not match the request")


def sign(parameters: Mapping[str, str], secret_key: str, *, method: str, host: str) -> str:
    """The value of ``Signature``, not yet URL-encoded."""
    made = signature(secret_key, source_string(method, host, parameters), digest_name(parameters))
    return base64.b64encode(made).decode()


def digest_name(parameters: Mapping[str, str]) -> str:
    return "sha256" if parameters.get("SignatureMethod") == SHA256 else "sha1"


def source_string(method: str, host: str, parameters: Mapping[str, str]) -> str:
    pairs = [f"{name}={parameters[name]}" for name in sorted(parameters) if name != "Signature"]
    return f"{method}{host}/?{'&'.join(pairs)}"


def signature(secret_key: str, source: str, digest: str) -> bytes:
    return hmac.digest(secret_key.encode(), source.encode("utf-8", "surrogatepass"), digest)


def _decoded(text: str) -> bytes | None:
    """None if it is not Base64. The documents' own Node example leaves ``+`` unencoded, which then reads as a space."""
    try:
        return base64.b64decode(text.replace(" ", "+"), validate=True)
    except (binascii.Error, ValueError):
        return None
