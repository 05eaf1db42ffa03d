"""Where an application's callbacks go: for each event group one address, one key, and the event types that are wanted.

The key is optional, at most 32 letters and digits (as the documents have it); without one no Sign header is sent. An
address is trusted when the operator set it; one that came in an API request may only lie in the public Internet. A
change holds for events that are pending, too. Which types are wanted counts at the moment an event happens.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import Connection, delete, insert, select

from rtcloud.callbacks.events import (
    GROUP_INGEST,
    GROUP_MEDIA,
    GROUP_RECORDING,
    GROUP_RELAY,
    GROUP_ROOM,
    IngestEvent,
    RecordingEvent,
    RelayEvent,
    RoomEvent,
)
from rtcloud.callbacks.parking import park_unaddressed
from rtcloud.store.sealing import Sealer
from rtcloud.store.tables import callback_targets

GROUPS = (1, 2, 3, 4, 7)
EVENTS: Mapping[int, frozenset[int]] = {
    GROUP_ROOM: frozenset(event for event in RoomEvent if event < RoomEvent.START_VIDEO),
    GROUP_MEDIA: frozenset(event for event in RoomEvent if event >= RoomEvent.START_VIDEO),
    GROUP_RECORDING: frozenset(RecordingEvent),
    GROUP_RELAY: frozenset(RelayEvent),
    GROUP_INGEST: frozenset(IngestEvent),
}
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
    trusted: bool = True
    events: tuple[int, ...] | None = None  # None: all of the group


def set_targets(
    connection: Connection,
    sealer: Sealer,
    sdk_app_id: int,
    *,
    url: str,
    key: str = "",
    groups: Iterable[int] = GROUPS,
    events: Iterable[int] | None = None,
    trusted: bool = True,
) -> None:
    """Send ``groups`` of the application to ``url`` from now on; other groups stay as they are. Of ``events`` each
    group takes those that are its own; None: all."""
    check_url(url)
    if _KEY.fullmatch(key) is None:
        raise TargetError("key: at most 32 letters and digits")
    wanted = set(groups)
    if not wanted or not wanted <= set(GROUPS):
        raise TargetError(f"groups: one or more of {', '.join(map(str, GROUPS))}")
    chosen = _chosen(wanted, events)
    _delete(connection, sdk_app_id, wanted)
    values = {
        "sdk_app_id": sdk_app_id,
        "url": url,
        "key_sealed": sealer.seal(key.encode(), purpose=PURPOSE),
        "trusted": trusted,
    }
    for group in sorted(wanted):
        of_group = {"event_group": group, "events": chosen[group]}
        connection.execute(insert(callback_targets).values(values | of_group))


def remove_targets(connection: Connection, sdk_app_id: int, *, groups: Iterable[int] = GROUPS) -> None:
    """What is still pending for them is parked."""
    _delete(connection, sdk_app_id, groups)
    park_unaddressed(connection)


def list_targets(connection: Connection, sdk_app_id: int | None = None) -> list[Target]:
    columns = callback_targets.c
    statement = select(columns.sdk_app_id, columns.event_group, columns.url, columns.trusted, columns.events)
    if sdk_app_id is not None:
        statement = statement.where(columns.sdk_app_id == sdk_app_id)
    rows = connection.execute(statement.order_by(columns.sdk_app_id, columns.event_group))
    return [Target(app, group, url, trusted, _parse(events)) for app, group, url, trusted, events in rows]


def check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or len(url) > _URL_CHARACTERS or not url.isprintable() or " " in url:
        raise TargetError("url: an http or https address with a host")


def _chosen(groups: set[int], events: Iterable[int] | None) -> dict[int, str | None]:
    """Of each group, the types as the table holds them."""
    if events is None:
        return dict.fromkeys(groups)
    wanted = sorted(set(events))
    if unknown := [event for event in wanted if all(event not in EVENTS[group] for group in groups)]:
        raise TargetError(f"events: {', '.join(map(str, unknown))} in none of the groups")
    chosen: dict[int, str | None] = {}
    for group in sorted(groups):
        mine = [str(event) for event in wanted if event in EVENTS[group]]
        if not mine:
            raise TargetError(f"events: none of group {group}")
        chosen[group] = f",{','.join(mine)},"
    return chosen


def _parse(events: str | None) -> tuple[int, ...] | None:
    return None if events is None else tuple(int(event) for event in events.strip(",").split(","))


def _delete(connection: Connection, sdk_app_id: int, groups: Iterable[int]) -> None:
    connection.execute(
        delete(callback_targets).where(
            callback_targets.c.sdk_app_id == sdk_app_id, callback_targets.c.event_group.in_(list(groups))
        )
    )
