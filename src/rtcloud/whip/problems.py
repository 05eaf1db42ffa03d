"""Why a request is refused, as HTTP says it (RFC 9457). Pure."""

from collections.abc import Mapping
from http import HTTPStatus


class Problem(Exception):
    """``status`` is HTTP's; ``detail`` may be shown to the caller and holds nothing of what it sent; ``code`` is the
    documented number of what is wrong with a UserSig, a PrivateMapKey or a room, 0 for others."""

    def __init__(
        self, status: HTTPStatus, detail: str, *, code: int = 0, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code = code
        self.headers = dict(headers or {})

    def body(self) -> dict[str, object]:
        body: dict[str, object] = {"title": self.status.phrase, "status": int(self.status), "detail": self.detail}
        return body | {"code": self.code} if self.code else body


def malformed(detail: str) -> Problem:
    return Problem(HTTPStatus.BAD_REQUEST, detail)


def unusable(detail: str) -> Problem:
    """Understood, and nothing that is done here."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def unavailable(detail: str, retry_after_s: int = 5) -> Problem:
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, headers={"Retry-After": str(retry_after_s)})
