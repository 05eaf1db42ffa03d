"""Requests to the cloud API as bytes, signed by the gateway's own signer: for load, benchmarks and broken requests.

That the signer signs as the official SDKs do is proved by ``tests/vectors/signatures``.
"""

import json
import secrets
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtcloud.gateway.signing import tc3, v1

VERSION = "2019-07-22"
BOUNDARY = "58731222010402"


@dataclass(frozen=True, slots=True)
class Caller:
    """``host`` is host:port. ``service`` and ``version`` are those of the called actions."""

    secret_id: str
    secret_key: str
    host: str
    token: str = ""
    region: str = "ap-singapore"
    service: str = "trtc"
    version: str = VERSION

    def tc3(
        self,
        action: str,
        content: bytes | str | Mapping[str, Any] = b"",
        *,
        method: str = "POST",
        content_type: str = "application/json",
        query: str = "",
        changes: Mapping[str, str | None] | None = None,
        seconds: int | None = None,
    ) -> bytes:
        """A whole request. ``changes`` replace headers after signing, None drops one."""
        body = content if isinstance(content, bytes) else _text(content).encode()
        now = int(time.time()) if seconds is None else seconds
        headers: dict[str, str | None] = {
            "host": self.host,
            "content-type": content_type,
            "x-tc-action": action,
            "x-tc-version": self.version,
            "x-tc-timestamp": str(now),
            "x-tc-region": self.region,
            **({"x-tc-token": self.token} if self.token else {}),
        }
        signed = {name: value for name, value in headers.items() if value is not None}
        headers["authorization"] = tc3.sign(
            self.secret_id,
            self.secret_key,
            service=self.service,
            headers=signed,
            payload=b"" if method == "GET" else body,
            seconds=now,
            method=method,
            query=query if method == "GET" else "",
        )
        headers["content-length"] = str(len(body))
        return raw(method, f"/?{query}" if query else "/", headers | dict(changes or {}), body)

    def tc3_get(self, action: str, parameters: Mapping[str, Any]) -> bytes:
        return self.tc3(action, method="GET", content_type=FORM, query=urllib.parse.urlencode(parameters))

    def tc3_multipart(self, action: str, parameters: Mapping[str, Any]) -> bytes:
        parts = [
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in parameters.items()
        ]
        body = f"{''.join(parts)}--{BOUNDARY}--\r\n"
        return self.tc3(action, body.encode(), content_type=f"multipart/form-data; boundary={BOUNDARY}")

    def v1(
        self,
        action: str,
        parameters: Mapping[str, Any],
        *,
        method: str = "POST",
        digest: str = "HmacSHA1",
        changes: Mapping[str, str | None] | None = None,
    ) -> bytes:
        """``changes`` replace parameters after signing, None drops one."""
        given: dict[str, str | None] = {
            **{name: str(value) for name, value in parameters.items()},
            "Action": action,
            "Version": self.version,
            "Region": self.region,
            "SecretId": self.secret_id,
            "SignatureMethod": digest,
            "Timestamp": str(int(time.time())),
            "Nonce": str(1 + secrets.randbelow(2**60)),
            **({"Token": self.token} if self.token else {}),
        }
        signed = {name: value for name, value in given.items() if value is not None}
        given["Signature"] = v1.sign(signed, self.secret_key, method=method, host=self.host)
        given |= dict(changes or {})
        form = urllib.parse.urlencode({name: value for name, value in given.items() if value is not None})
        if method == "GET":
            return raw("GET", f"/?{form}", {"host": self.host}, b"")
        headers = {"host": self.host, "content-type": FORM, "content-length": str(len(form))}
        return raw("POST", "/", headers, form.encode())


FORM = "application/x-www-form-urlencoded"


def raw(method: str, target: str, headers: Mapping[str, str | None], body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value is not None)
    return f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body


def _text(content: str | Mapping[str, Any]) -> str:
    return content if isinstance(content, str) else json.dumps(content)
