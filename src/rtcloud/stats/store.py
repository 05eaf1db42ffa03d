"""The rows of what happened: written in batches, by functions that are each a part of one transaction."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import Connection, insert
from sqlalchemy.dialects.sqlite import insert as upsert

from rtcloud.stats.buffer import Key
from rtcloud.stats.events import RefusedEntry, UserEvent
from rtcloud.store.tables import quality_minutes, refused_entries, user_events

_DETAIL = 64

_new_minute = upsert(quality_minutes)
_MINUTE = _new_minute.on_conflict_do_update(
    index_elements=[quality_minutes.c.minute, quality_minutes.c.presence, quality_minutes.c.peer],
    set_={"samples": _new_minute.excluded.samples},
)


def write_events(connection: Connection, events: Sequence[UserEvent]) -> None:
    rows = [
        {
            "presence": event.presence,
            "at_ms": event.at_ms,
            "event_id": int(event.event_id),
            "param1": event.param1,
            "param2": event.param2,
            "stream": int(event.stream),
            "peer": event.peer,
            "detail": event.detail[:_DETAIL],
        }
        for event in events
    ]
    connection.execute(insert(user_events), rows)


def write_minutes(connection: Connection, minutes: Sequence[tuple[Key, bytes]]) -> None:
    """A minute that is there already is replaced: it has grown."""
    rows = [
        {"minute": minute, "presence": presence, "peer": peer, "samples": samples}
        for (minute, presence, peer), samples in minutes
    ]
    connection.execute(_MINUTE, rows)


def write_refusals(connection: Connection, entries: Sequence[RefusedEntry]) -> None:
    connection.execute(insert(refused_entries), [asdict(entry) for entry in entries])
