"""Signed API calls straight into the gateway's ASGI face, at a fixed time."""

import json
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlencode

from rtcloud.gateway.signing import tc3, v1
from tests.kit.api import Api
from tests.kit.clock import NOW_MS as NOW_MS
from tests.kit.clock import StillClock as StillClock

FORM = "application/x-www-form-urlencoded"


class Answer:
    def __init__(self, messages: list[MutableMapping[str, Any]], read: int) -> None:
        start, body = messages
        self.status = start["status"]
        self.headers = dict(start["headers"])
        self.size = len(body["body"])
        self.response = json.loads(body["body"])["Response"]
        self.read = read

    @property
    def code(self) -> str:
        return str(self.response.get("Error", {}).get("Code", ""))

    @property
    def message(self) -> str:
        return str(self.response.get("Error", {}).get("Message", ""))

    @property
    def closes(self) -> bool:
        return self.headers.get(b"connection") == b"close"


async def call(
    api: Api,
    body: bytes | list[bytes] = b"{}",
    *,
    action: str = "RemoveUser",
    method: str = "POST",
    query: str = "",
    service: str = "trtc",
    keys: tuple[str, str] | None = None,
    sign: bytes | None = None,
    client: str = "192.0.2.1",
    content_type: str = "application/json",
    **changes: str | None,
) -> Answer:
    """By TC3. ``changes`` replaces headers after signing (None: absent). A list is a body in parts; ``sign`` is what
    the signature covers; ``keys`` are SecretId and SecretKey."""
    parts = [body] if isinstance(body, bytes) else body
    headers: dict[str, str | None] = {
        "content-type": content_type,
        "host": "localhost",
        "x-tc-action": action,
        "x-tc-version": "2019-07-22",
        "x-tc-region": "ap-guangzhou",
        "x-tc-timestamp": str(NOW_MS // 1000),
    }
    payload = b"" if method == "GET" else b"".join(parts) if sign is None else sign
    headers["authorization"] = sign_for(api, headers, payload, method=method, query=query, service=service, keys=keys)
    headers.update({name.replace("_", "-"): value for name, value in changes.items()})
    return await send(api, method, query.encode("latin-1"), headers, parts, client=client)


async def call_v1(
    api: Api,
    parameters: Mapping[str, object],
    *,
    action: str = "RemoveUser",
    method: str = "GET",
    keys: tuple[str, str] | None = None,
    digest: str = "HmacSHA1",
    content_type: str | None = None,
    **changes: str | None,
) -> Answer:
    """By signature v1. ``changes`` replaces parameters after signing (None: absent)."""
    form = sign_v1(api, parameters, action=action, method=method, keys=keys, digest=digest, **changes)
    headers: dict[str, str | None] = {"host": "localhost", "content-type": content_type}
    if method == "GET":
        return await send(api, "GET", form, headers, [b""])
    return await send(api, "POST", b"", headers | {"content-type": content_type or FORM}, [form])


def sign_v1(
    api: Api,
    parameters: Mapping[str, object],
    *,
    action: str = "RemoveUser",
    method: str = "GET",
    keys: tuple[str, str] | None = None,
    digest: str = "HmacSHA1",
    **changes: str | None,
) -> bytes:
    secret_id, secret_key = keys or (api.credentials.secret_id, api.credentials.secret_key)
    given: dict[str, str | None] = {
        "Action": action,
        "Version": "2019-07-22",
        "Region": "ap-guangzhou",
        "Timestamp": str(NOW_MS // 1000),
        "Nonce": "7",
        "SecretId": secret_id,
        "SignatureMethod": digest,
        **{name: None if value is None else str(value) for name, value in parameters.items()},
    }
    signed = {name: value for name, value in given.items() if value is not None}
    given["Signature"] = v1.sign(signed, secret_key, method=method, host="localhost")
    given.update(changes)
    return urlencode({name: value for name, value in given.items() if value is not None}).encode()


async def send(
    api: Api,
    method: str,
    query: bytes,
    headers: Mapping[str, str | None],
    parts: list[bytes],
    *,
    client: str = "192.0.2.1",
) -> Answer:
    sent: list[MutableMapping[str, Any]] = []
    waiting = [
        {"type": "http.request", "body": part, "more_body": index < len(parts) - 1} for index, part in enumerate(parts)
    ]
    total = len(waiting)

    async def receive() -> MutableMapping[str, Any]:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def take(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items() if value is not None]
    scope = {"type": "http", "method": method, "headers": raw, "query_string": query, "client": (client, 1)}
    await api.gateway(scope, receive, take)
    return Answer(sent, total - len(waiting))


def sign_for(
    api: Api,
    headers: Mapping[str, str | None],
    payload: bytes,
    *,
    method: str = "POST",
    query: str = "",
    service: str = "trtc",
    keys: tuple[str, str] | None = None,
) -> str:
    secret_id, secret_key = keys or (api.credentials.secret_id, api.credentials.secret_key)
    return tc3.sign(
        secret_id,
        secret_key,
        service=service,
        headers={name: value for name, value in headers.items() if value is not None},
        payload=payload,
        seconds=int(headers["x-tc-timestamp"] or 0),
        method=method,
        query=query,
    )
