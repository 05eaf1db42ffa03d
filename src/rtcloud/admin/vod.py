"""``rtcloud admin vod``, and ``rtcloud vod``: what is in the media library, and taking something out of it."""

from typing import Annotated, ClassVar

from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, FailedError, Flag, Site, Word, iso
from rtcloud.vod import store
from rtcloud.vod.entry import ADDRESS, DIRECTORY, Entry, location
from rtcloud.vod.library import Library

FileWord = Annotated[str, Word("FILEID", "the file's FileId, as callback 311 tells it")]


class VodList(Command, tag="vod.list", kw_only=True):
    """What is in the media library, the newest last: whose, how long, how large, until when."""

    example: ClassVar[str] = "vod"
    app: Annotated[str | None, Flag("SDKAPPID", "of this application only")] = None
    task: Annotated[str, Flag("TASK", "of tasks whose ids begin so only")] = ""

    async def run(self, site: Site) -> object:
        app = None if self.app is None else naming.application(site, self.app).sdk_app_id
        found = await site.database.read(lambda c: store.entries(c, sdk_app_id=app, task=self.task))
        return [_line(entry) for entry in found]


class VodShow(Command, tag="vod.show", kw_only=True):
    """One file of the media library: whose it is, where it lies, what its request said of it.

    Who has its ``url`` may watch. Without a running server only the end of it is known."""

    example: ClassVar[str] = "vod show 5285890784246869930"
    file: FileWord

    async def run(self, site: Site) -> object:
        entry = await _find(site, self.file)
        path = None if site.directory is None else entry.path(site.directory / DIRECTORY, entry.name)
        return {
            **_line(entry),
            "user": entry.user_id or None,
            "media": entry.track_type if entry.media_id == "mix" else f"{entry.track_type} {entry.media_id}",
            "began": iso(entry.begin_ms),
            "url": (site.library_url or ADDRESS) + location(entry.task_id, entry.name),
            "path": None if path is None else str(path),
            "there": None if path is None else path.is_file(),
            **entry.details,
        }


class VodRemove(Command, tag="vod.remove", kw_only=True):
    """Take a file out of the media library: an index goes with its segments. It cannot be brought back."""

    example: ClassVar[str] = "vod remove 5285890784246869930"
    file: FileWord

    async def run(self, site: Site) -> object:
        entry = await _find(site, self.file)
        if site.directory is None:
            raise AdminError("there is no data directory here")
        if not await Library(site.database, site.directory / DIRECTORY, site.clock).remove([entry]):
            raise FailedError(f"the file of {entry.file_id} cannot be removed")
        return {"file_id": entry.file_id, "name": entry.name, "state": "removed"}


async def _find(site: Site, file_id: str) -> Entry:
    entry = await site.database.read(lambda connection: store.find(connection, file_id))
    if entry is None:
        raise AdminError(f"there is no file {file_id} in the media library")
    return entry


def _line(entry: Entry) -> dict[str, object]:
    return {
        "file_id": entry.file_id,
        "name": entry.name,
        "application": entry.ref.sdk_app_id,
        "room": entry.ref.room_id,
        "task_id": entry.task_id,
        "seconds": round((entry.end_ms - entry.begin_ms) / 1000, 3),
        "size": entry.size,
        "arrived": iso(entry.arrived_ms),
        "expires": "never" if entry.expires_ms is None else iso(entry.expires_ms),
    }


COMMANDS = (VodList, VodShow, VodRemove)
