"""A real server with what a customer of it would have: two applications, a user whose policy allows one and denies the
other, temporary credentials, a role. Everything is made with the documented commands.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.kit.cloud import Cloud
from tests.kit.server import Server

CONFIG = 'roles = ["api", "signal", "media", "sender"]\n[limits]\n"*" = 0\n'
ROLE = "operator"


@dataclass(frozen=True, slots=True)
class Keys:
    secret_id: str
    secret_key: str
    token: str = ""


@dataclass(frozen=True, slots=True)
class Tenant:
    """``restricted`` may do everything in ``allowed`` and nothing in ``denied``; ``temporary`` too, for a while."""

    server: Server
    owner: Keys
    restricted: Keys
    temporary: Keys
    allowed: int
    denied: int
    task_id: str  # a recording in ``allowed``, not begun: there is no worker
    role_arn: str

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    def policy(self) -> dict[str, Any]:
        """Everything in ``allowed``, nothing in ``denied``."""
        return _policy(self.server.credentials["account_uin"], self.denied)


@contextmanager
def open_tenant(folder: Path) -> Iterator[Tenant]:
    config = folder / "rtcloud.toml"
    config.write_text(CONFIG)
    with Server(folder / "data", "--config", str(config)) as server:
        yield _furnish(server, folder)
        assert server.alive, "the server died"


def _furnish(server: Server, folder: Path) -> Tenant:
    known = server.credentials
    second = _admin(server, "applications", "create", "second")
    document = folder / "policy.json"
    document.write_text(json.dumps(_policy(known["account_uin"], second["sdk_app_id"])))
    _admin(server, "users", "create", "clerk")
    _admin(server, "policies", "create", "first-only", "--document", str(document))
    _admin(server, "policies", "attach", "first-only", "--user", "clerk")
    pair = _admin(server, "keys", "create", "clerk")
    session = _admin(server, "token", "clerk", "--duration", "1800")
    _admin(server, "roles", "create", ROLE, "--trust", "clerk")
    _admin(server, "policies", "attach", "QcloudTRTCReadonlyAccess", "--role", ROLE)
    cloud = Cloud(server)
    return Tenant(
        server,
        Keys(known["secret_id"], known["secret_key"]),
        Keys(pair["secret_id"], pair["secret_key"]),
        Keys(session["secret_id"], session["secret_key"], session["token"]),
        server.sdk_app_id,
        second["sdk_app_id"],
        cloud.start_recording(7),
        f"qcs::cam::uin/{known['account_uin']}:roleName/{ROLE}",
    )


def _admin(server: Server, *arguments: str) -> dict[str, Any]:
    answer = json.loads(server.admin(*arguments, "--json") or "{}")
    assert isinstance(answer, dict), answer
    return answer


def _policy(account_uin: str, denied: int) -> dict[str, Any]:
    every = f"qcs::trtc::uin/{account_uin}:sdkappid/*"
    return {
        "version": "2.0",
        "statement": [
            {"effect": "allow", "action": ["name/trtc:*"], "resource": [every]},
            {"effect": "deny", "action": ["name/trtc:*"], "resource": [every.replace("*", str(denied))]},
        ],
    }
