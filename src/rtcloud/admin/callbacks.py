"""``rtcloud admin callbacks``: where events go, and those that could not be delivered."""

from typing import Annotated, ClassVar

from rtcloud.admin import naming
from rtcloud.admin.command import Command, Flag, Site
from rtcloud.callbacks import outbox, parking
from rtcloud.callbacks.targets import GROUPS

GroupsFlag = Annotated[tuple[int, ...], Flag("GROUPS", "1 room, 2 media, 3 recording; comma-separated (default: all)")]
ApplicationFlag = Annotated[str | None, Flag("SDKAPPID", "of this application only")]


class CallbacksSet(Command, tag="callbacks.set", kw_only=True):
    """Send an application's events to an address."""

    example: ClassVar[str] = "callbacks set 1400000001 --url https://example.com/trtc --key 9aB3xYz0 --groups 1,3"
    application: naming.ApplicationWord
    url: Annotated[str, Flag("URL", "http or https address")]
    key: Annotated[str, Flag("KEY", "signs the events; at most 32 letters and digits")] = ""
    groups: GroupsFlag = GROUPS

    async def run(self, site: Site) -> object:
        app = naming.application(site, self.application).sdk_app_id
        await site.accounts.set_callbacks(app, url=self.url, key=self.key, groups=self.groups)
        return {"sdk_app_id": app, "url": self.url, "groups": sorted(set(self.groups))}


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
        return {"targets": [{"group": t.group, "url": t.url} for t in targets], "events": counts}


class CallbacksParked(Command, tag="callbacks.parked", kw_only=True):
    """Events whose minute of retries passed."""

    example: ClassVar[str] = "callbacks parked"
    sdk_app_id: ApplicationFlag = None

    async def run(self, site: Site) -> object:
        which = parking.Which(_application(site, self.sdk_app_id))
        return await site.database.read(lambda connection: parking.list_parked(connection, which))


class CallbacksReplay(Command, tag="callbacks.replay", kw_only=True):
    """Deliver parked events after all."""

    example: ClassVar[str] = "callbacks replay --ids 17,18"
    sdk_app_id: ApplicationFlag = None
    ids: Annotated[tuple[int, ...] | None, Flag("IDS", "these only, comma-separated")] = None

    async def run(self, site: Site) -> object:
        which, now_ms = parking.Which(_application(site, self.sdk_app_id), self.ids), site.clock.now_ms()
        count = await site.database.write(lambda connection: parking.replay(connection, now_ms, which))
        site.bus.publish(outbox.TOPIC)
        return {"replayed": count}


def _application(site: Site, given: str | None) -> int | None:
    return None if given is None else naming.application(site, given).sdk_app_id


COMMANDS = (CallbacksSet, CallbacksClear, CallbacksList, CallbacksParked, CallbacksReplay)
