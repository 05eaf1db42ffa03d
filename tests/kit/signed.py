"""Signed API calls made by hand, straight into the gateway's ASGI face, at a fixed time."""

import hashlib
import hmac
import json
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

from tests.kit.api import Api

NOW_MS = 1_700_000_000_000


class StillClock:
    def __init__(self) -> None:
        self.ms = NOW_MS

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


class Answer:
    def __init__(self, messages: list[MutableMapping[str, Any]], read: int) -> None:
        start, body = messages
        self.status = start["status"]
        self.headers = dict(start["headers"])
        self.response = json.loads(body["body"])["Response"]
        self.read = read

    @property
    def code(self) -> str:
        return str(self.response.get("Error", {}).get("Code", ""))

    @property
    def closes(self) -> bool:
        return self.headers.get(b"connection") == b"close"


async def call(
    api: Api,
    body: bytes | list[bytes] = b"{}",
    *,
    action: str = "RemoveUser",
    method: str = "POST",
    sign: bytes | None = None,
    **changes: str | None,
) -> Answer:
    """``changes`` replaces headers (None: absent). A list is a body in parts; ``sign`` is what the signature covers."""
    parts = [body] if isinstance(body, bytes) else body
    headers: dict[str, str | None] = {
        "content-type": "application/json",
        "host": "localhost",
        "x-tc-action": action,
        "x-tc-version": "2019-07-22",
        "x-tc-region": "ap-guangzhou",
        "x-tc-timestamp": str(NOW_MS // 1000),
    }
    headers["authorization"] = sign_for(api, headers, b"".join(parts) if sign is None else sign)
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    sent: list[MutableMapping[str, Any]] = []
    waiting = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1} for index, part in enumerate(parts)
    ]
    total = len(waiting)

    async def receive() -> MutableMapping[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers.items() if value is not None]
    await api.gateway({"type": "http", "method": method, "headers": raw, "query_string": b""}, receive, send)
    return Answer(sent, total - len(waiting))


def sign_for(api: Api, headers: dict[str, str | None], body: bytes) -> str:
    seconds = int(headers["x-tc-timestamp"] or 0)
    date = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")
    canonical = f"POST\n/\n\ncontent-type:{headers['content-type']}\nhost:{headers['host']}\n\ncontent-type;host\n"
    digest = hashlib.sha256((canonical + hashlib.sha256(body).hexdigest()).encode()).hexdigest()
    text = f"TC3-HMAC-SHA256\n{seconds}\n{date}/trtc/tc3_request\n{digest}"
    key = f"TC3{api.credentials.secret_key}".encode()
    for part in (date, "trtc", "tc3_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    return (
        f"TC3-HMAC-SHA256 Credential={api.credentials.secret_id}/{date}/trtc/tc3_request, "
        f"SignedHeaders=content-type;host, Signature={signature}"
    )
