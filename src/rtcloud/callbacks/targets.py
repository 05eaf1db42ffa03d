"""Where an application's callbacks go: one address and one key for each event group. Addresses set here are trusted.

The key is optional, at most 32 letters and digits (as the documents have it); without one no Sign header is sent.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, select

from rtcloud.store.sealing import Sealer
from rtcloud.store.tables import callback_targets

GROUPS = (1, 2, 3)
PURPOSE = "callback key"
_KEY = re.compile(r"[0-9A-Za-z]{0,32}")
_URL_CHARACTERS = 2048


class TargetError(ValueError):
    """The address, key or group cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Target:
    sdk_app_id: int
    group: int
    url: str


def set_targets(
    connection: Connection, sealer: Sealer, sdk_app_id: int, *, url: str, key: str = "", groups: Iterable[int] = GROUPS
) -> None:
    """Send ``groups`` of the application to ``url`` from now on; other groups stay as they are."""
    check_url(url)
    if _KEY.fullmatch(key) is None:
        raise TargetError("key: at most 32 letters and digits")
    wanted = set(groups)
    if not wanted or not wanted <= set(GROUPS):
        raise TargetError(f"groups: one or more of {', '.join(map(str, GROUPS))}")
    remove_targets(connection, sdk_app_id, groups=wanted)
    sealed = sealer.seal(key.encode(), purpose=PURPOSE)
    for group in sorted(wanted):
        values = {"sdk_app_id": sdk_app_id, "event_group": group, "url": url, "key_sealed": sealed}
        connection.execute(insert(callback_targets).values(values))


def remove_targets(connection: Connection, sdk_app_id: int, *, groups: Iterable[int] = GROUPS) -> None:
    connection.execute(
        delete(callback_targets).where(
            callback_targets.c.sdk_app_id == sdk_app_id, callback_targets.c.event_group.in_(list(groups))
        )
    )


def list_targets(connection: Connection, sdk_app_id: int | None = None) -> list[Target]:
    statement = select(callback_targets.c.sdk_app_id, callback_targets.c.event_group, callback_targets.c.url)
    if sdk_app_id is not None:
        statement = statement.where(callback_targets.c.sdk_app_id == sdk_app_id)
    return [Target(*row) for row in connection.execute(statement.order_by("sdk_app_id", "event_group"))]


def check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or len(url) > _URL_CHARACTERS or not url.isprintable() or " " in url:
        raise TargetError("url: an http or https address with a host")
