"""``rtcloud admin callbacks``: where events go, and those that could not be delivered."""

import argparse
import sys
from datetime import UTC, datetime
from typing import Annotated, ClassVar

from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Flag, Site, iso
from rtcloud.callbacks import outbox, parking
from rtcloud.callbacks.targets import GROUPS

GroupsFlag = Annotated[
    tuple[int, ...], Flag("GROUPS", "1 room, 2 media, 3 recording, 4 relay, 7 ingest; comma-separated (default: all)")
]
ApplicationFlag = Annotated[str | None, Flag("SDKAPPID", "of this application only")]


def _moment(text: str) -> int:
    """Unix milliseconds."""
    try:
        if text.isascii() and text.isdigit():
            return int(text) * 1000
        moment = datetime.fromisoformat(text)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 2026-11-21T08:00:00Z") from None


def _key(text: str) -> str:
    """Arguments are seen by everybody on the machine; standard input is not."""
    return sys.stdin.readline().strip() if text == "-" else text


class CallbacksSet(Command, tag="callbacks.set", kw_only=True):
    """Send an application's events to an address."""

    example: ClassVar[str] = "callbacks set 1400000001 --url https://example.com/trtc --key 9aB3xYz0 --groups 1,3"
    application: naming.ApplicationWord
    url: Annotated[str, Flag("URL", "http or https address")]
    key: Annotated[
        str, Flag("KEY", "signs the events; at most 32 letters and digits (-: read it from standard input)", parse=_key)
    ] = ""
    groups: GroupsFlag = GROUPS
    events: Annotated[tuple[int, ...] | None, Flag("EVENTS", "these types only, e.g. 103,104 (default: all)")] = None

    async def run(self, site: Site) -> object:
        app = naming.application(site, self.application).sdk_app_id
        await site.accounts.set_callbacks(
            app, url=self.url, key=self.key, groups=self.groups, events=self.events or None
        )
        answer = {"sdk_app_id": app, "url": self.url, "groups": sorted(set(self.groups))}
        return answer | ({"events": sorted(set(self.events))} if self.events else {})


class CallbacksClear(Command, tag="callbacks.clear", kw_only=True):
    """Send an application's events to nobody."""

    example: ClassVar[str] = "callbacks clear 1400000001 --groups 3"
    application: naming.ApplicationWord
    groups: GroupsFlag = GROUPS

    async def run(self, site: Site) -> object:
        app = naming.application(site, self.application).sdk_app_id
        await site.accounts.clear_callbacks(app, groups=self.groups)
        return {"sdk_app_id": app, "groups": sorted(set(self.groups))}


class CallbacksList(Command, tag="callbacks.list", kw_only=True):
    """Where an application's events go, and how many wait or are parked."""

    example: ClassVar[str] = "callbacks list 1400000001"
    application: naming.ApplicationWord

    async def run(self, site: Site) -> object:
        app = naming.application(site, self.application).sdk_app_id
        targets = await site.accounts.callbacks(app)
        counts = await site.database.read(lambda connection: outbox.count_by_state(connection, app))
        shown = [{"group": t.group, "url": t.url, "events": t.events or "all"} for t in targets]
        return {"targets": shown, "events": counts}


class OfParked(Command, kw_only=True):
    """Which of the parked events: all, or those that every flag fits."""

    sdk_app_id: ApplicationFlag = None
    ids: Annotated[tuple[int, ...] | None, Flag("IDS", "these only, comma-separated")] = None
    types: Annotated[tuple[int, ...] | None, Flag("TYPES", "of these event types only, e.g. 103,104")] = None
    since: Annotated[int | None, Flag("TIME", "from then on: 2026-11-21T08:00:00Z or Unix seconds", _moment)] = None
    until: Annotated[int | None, Flag("TIME", "before then", _moment)] = None

    def which(self, site: Site) -> parking.Which:
        return parking.Which(
            _application(site, self.sdk_app_id),
            self.ids,
            event_types=self.types,
            from_ms=self.since,
            to_ms=self.until,
        )


class CallbacksParked(OfParked, tag="callbacks.parked", kw_only=True):
    """Events whose minute of retries passed, oldest first, a thousand at a time."""

    example: ClassVar[str] = "callbacks parked --since 2026-11-21T08:00:00Z --types 103,104"
    after: Annotated[int, Flag("ID", "those that follow this one")] = 0

    async def run(self, site: Site) -> object:
        which, after = self.which(site), self.after
        found = await site.database.read(lambda connection: parking.list_parked(connection, which, after_id=after))
        return [_row(one) for one in found]


class CallbacksReplay(OfParked, tag="callbacks.replay", kw_only=True):
    """Deliver parked events after all, those of one room in their order."""

    example: ClassVar[str] = "callbacks replay --since 2026-11-21T08:00:00Z --until 2026-11-21T09:00:00Z"

    async def run(self, site: Site) -> object:
        which, now_ms = self.which(site), site.clock.now_ms()
        count = await site.database.write(lambda connection: parking.replay(connection, now_ms, which))
        site.bus.publish(outbox.TOPIC)
        return {"replayed": count}


class CallbacksPurge(OfParked, tag="callbacks.purge", kw_only=True):
    """Forget parked events for good; without a flag nothing is forgotten."""

    example: ClassVar[str] = "callbacks purge --until 2026-10-01T00:00:00Z"

    async def run(self, site: Site) -> object:
        if self.changes_nothing():
            raise AdminError("say which events: --until, --ids, --types or --sdk-app-id")
        which = self.which(site)
        return {"purged": await site.database.write(lambda connection: parking.purge(connection, which))}


def _row(event: parking.Parked) -> dict[str, object]:
    return {
        "id": event.id,
        "sdk_app_id": event.sdk_app_id,
        "room": event.ordering,
        "group": event.event_group,
        "type": event.event_type,
        "info": event.event_info,
        "time": iso(event.created_ms),
        "attempts": event.attempts,
        "error": event.last_error,
    }


def _application(site: Site, given: str | None) -> int | None:
    return None if given is None else naming.application(site, given).sdk_app_id


COMMANDS = (CallbacksSet, CallbacksClear, CallbacksList, CallbacksParked, CallbacksReplay, CallbacksPurge)
