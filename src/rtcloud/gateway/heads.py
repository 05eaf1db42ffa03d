"""The head of a request, apart from any server: what its method and content type say about how it is signed. Pure.

The documents pair them: TC3 with GET, JSON and multipart; v1 with GET and form bodies. HTTP's own faults that the
documents name are found here, before anything else is looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rtcloud.errors import ServiceError
from rtcloud.gateway.signing.faults import invalid

MAX_HEADERS = 256
MAX_QUERY = 32 * 1024
MAX_BODY = 10 * 1024 * 1024
MAX_V1_BODY = 1024 * 1024

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

Method = Literal["TC3", "v1"]


@dataclass(frozen=True, slots=True)
class Head:
    """``headers`` by lower-case name, the bytes of each as Latin-1; ``address`` is the client's. ``is_crowded``: there
    are too many headers, and none was looked at."""

    method: str
    query: bytes
    headers: Mapping[str, str]
    address: str = ""
    is_crowded: bool = False

    @property
    def content_type(self) -> str:
        return self.headers.get("content-type", "")

    @property
    def media_type(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()


def signature_method(head: Head) -> Method:
    """How the request must be signed. An Authorization header decides, whatever parameters there are."""
    if head.is_crowded:
        raise ServiceError("InvalidRequest", f"a request may have at most {MAX_HEADERS} headers")
    method, kind = head.method, head.media_type
    if method not in ("GET", "POST"):
        raise ServiceError("UnsupportedProtocol", f"{method[:16]!a} requests are not supported: use GET or POST")
    if method == "GET" and len(head.query) > MAX_QUERY:
        raise too_large(MAX_QUERY, "a GET request")
    if head.headers.get("authorization"):
        allowed = (FORM,) if method == "GET" else (JSON, MULTIPART)
        if kind not in allowed:
            wanted = " or ".join(allowed)
            raise ServiceError(
                "UnsupportedProtocol",
                f"Content-Type of a {method} request signed with TC3-HMAC-SHA256 must be {wanted}",
            )
        return "TC3"
    if method == "GET" or kind == FORM:
        return "v1"
    if kind in (JSON, MULTIPART, ""):
        raise invalid("the Authorization header is missing: such requests are signed with TC3-HMAC-SHA256")
    raise ServiceError("UnsupportedProtocol", f"Content-Type must be {JSON}, {FORM} or {MULTIPART}")


def too_large(limit: int, what: str = "a request") -> ServiceError:
    size = f"{limit // 1024 // 1024} MB" if limit >= 1024 * 1024 else f"{limit // 1024} KB"
    return ServiceError("RequestSizeLimitExceeded", f"{what} may have at most {size}")
