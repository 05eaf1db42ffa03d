"""``rtcloud admin recordings``, and ``rtcloud recording``: what was recorded, its files, and where they lie."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar

from sqlalchemy import Connection

from rtcloud.admin import naming
from rtcloud.admin.command import AdminError, Command, Flag, Site, iso
from rtcloud.admin.tasks import TaskWord
from rtcloud.egress.filing import LIBRARY
from rtcloud.egress.publishing.events import RelayKind
from rtcloud.egress.recording.events import RecordingKind
from rtcloud.store.objects import FILES, Bucket, safe_key
from rtcloud.store.sealing import Sealer, SealError
from rtcloud.tasks import listing, recorded, records
from rtcloud.tasks.kinds import TaskKind, Trouble
from rtcloud.tasks.recorded import KnownFile, Recording
from rtcloud.vod.entry import DIRECTORY

KEY_CHARACTERS = 512  # as in requests
_KINDS: dict[str, TaskKind] = {kind.name: kind for kind in (RecordingKind(), RelayKind())}


def _read_keys(text: str) -> tuple[str, str]:
    """Arguments are seen by everybody on the machine; files and standard input are not."""
    try:
        lines = sys.stdin.readlines() if text == "-" else Path(text).read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None
    keys = [line.strip() for line in lines if line.strip()]
    if len(keys) != 2:
        raise argparse.ArgumentTypeError(f"{text}: must be two lines, the access key and the secret key")
    return keys[0], keys[1]


class RecordingsList(Command, tag="recordings.list", kw_only=True):
    """What was recorded, oldest first: how long, by which task, how many of its files still wait, and for what.

    Recordings of relays are listed, too. A task is listed as soon as it has a file."""

    example: ClassVar[str] = "recordings"
    live: Annotated[bool, Flag("", "only tasks that have not ended")] = False
    app: Annotated[str | None, Flag("SDKAPPID", "of this application only")] = None

    async def run(self, site: Site) -> object:
        app = None if self.app is None else naming.application(site, self.app).sdk_app_id
        found = await site.database.read(lambda c: recorded.recordings(c, ended=not self.live, sdk_app_id=app))
        return [_line(each) for each in found]


class RecordingsShow(Command, tag="recordings.show", kw_only=True):
    """The files of one recording, and where they lie."""

    example: ClassVar[str] = "recordings show 3f9a"
    task: TaskWord
    segments: Annotated[bool, Flag("", "the segments, too")] = False

    async def run(self, site: Site) -> object:
        try:
            row = await site.database.read(lambda connection: listing.find(connection, self.task))
        except listing.TaskChoiceError as error:
            raise AdminError(str(error)) from error
        known = await site.database.read(lambda connection: recorded.files(connection, row.task_id))
        if not known:
            raise AdminError(f"task {row.task_id} has no files of a recording")
        progress = await site.database.read(lambda connection: recorded.progress(connection, row.task_id))
        trouble = _trouble(row.kind, progress)
        bucket, folder = await _place(site, row.task_id)
        kept = DIRECTORY if bucket == LIBRARY else FILES
        local = None if site.directory is None or not folder else site.directory / kept / safe_key(folder)
        return {
            "task_id": row.task_id,
            "kind": row.kind,
            "application": row.ref.sdk_app_id,
            "room": row.ref.room_id,
            "state": row.state,
            "live": row.is_live,
            "began": iso(min(file.begin_ms for file in known)),
            "seconds": round(_seconds(min(f.begin_ms for f in known), max(f.end_ms or f.begin_ms for f in known)), 3),
            "size": sum(file.size for file in known),
            "waiting": sum(not file.is_stored for file in known),
            "trouble": None if trouble is None else f"{trouble.code}: {trouble.message}",
            "trouble_since": None if trouble is None else iso(trouble.since_ms),
            "bucket": "media library" if bucket == LIBRARY else None if bucket is None else bucket.name,
            "folder": "/".join(folder if bucket == LIBRARY else folder[1:]) or None,
            "directory": None if local is None or not local.is_dir() else str(local),
            "files": [_file(file) for file in known if self.segments or file.kind != "segment"],
        }


class RecordingsRekey(Command, tag="recordings.rekey", kw_only=True):
    """Give the bucket of a task other keys than its request's, while its files still wait or are still made.

    What the store refused is tried again at once. The keys are kept sealed, as the request's are."""

    example: ClassVar[str] = "recordings rekey 3f9a --keys keys.txt"
    task: TaskWord
    keys: Annotated[
        tuple[str, str],
        Flag("FILE", "a file of two lines, the access key and the secret key (-: standard input)", parse=_read_keys),
    ]
    same: Annotated[bool, Flag("", "also the application's other tasks with that very bucket and the same keys")] = (
        False
    )

    async def run(self, site: Site) -> object:
        sealer = site.sealer
        if sealer is None:
            raise AdminError("there is no data directory here")
        if not all(0 < len(key) <= KEY_CHARACTERS and key.isascii() and key.isprintable() for key in self.keys):
            raise AdminError(f"a key has 1 to {KEY_CHARACTERS} printable ASCII characters")
        try:
            changed = await site.database.write(lambda connection: self._replace(connection, sealer))
        except (listing.TaskChoiceError, SealError) as error:
            raise AdminError(str(error)) from error
        for task_id in changed:
            site.bus.publish(records.KEYS_TOPIC, task_id)
        return {"changed": changed}

    def _replace(self, connection: Connection, sealer: Sealer) -> list[str]:
        row = listing.find(connection, self.task)
        tasks = [task for task in records.live(connection, sealer, row.ref.sdk_app_id) if task.kind in _KINDS]
        buckets = {task.task_id: _KINDS[task.kind].bucket(task) for task in tasks}
        meant = buckets.get(row.task_id)
        if meant is None or not meant.access_key:
            raise AdminError(f"task {row.task_id} has ended, or its files need no keys")
        chosen = [t for t in tasks if t.task_id == row.task_id or (self.same and buckets[t.task_id] == meant)]
        for task in chosen:
            records.replace_keys(connection, sealer, _KINDS[task.kind], task, *self.keys)
        return [task.task_id for task in chosen]


async def _place(site: Site, task_id: str) -> tuple[Bucket | None, Sequence[str]]:
    """The bucket, and the parts of the key; nothing when it cannot be known here."""
    sealer = site.sealer
    if sealer is None:
        return None, ()
    try:
        task = await site.database.read(lambda connection: records.load(connection, sealer, task_id))
    except SealError as error:
        raise AdminError(str(error)) from error
    if task is None or task.kind not in _KINDS:
        return None, ()
    return _KINDS[task.kind].bucket(task), _KINDS[task.kind].folder(task)


def _line(each: Recording) -> dict[str, object]:
    trouble = _trouble(each.kind, each.progress)
    return {
        "task_id": each.task_id,
        "kind": each.kind,
        "application": each.ref.sdk_app_id,
        "room": each.ref.room_id,
        "state": each.state,
        "began": iso(each.begin_ms),
        "seconds": round(_seconds(each.begin_ms, each.end_ms)),
        "users": each.users or "mixed",
        "files": each.files,
        "size": each.size,
        "waiting": each.waiting,
        "why": None if trouble is None else trouble.code,
    }


def _trouble(kind: str, progress: str) -> Trouble | None:
    return _KINDS[kind].trouble(progress) if kind in _KINDS else None


def _file(file: KnownFile) -> dict[str, object]:
    return {
        "name": file.name,
        "user": file.user_id or None,
        "media": f"{file.track_type} {file.media_id}" if file.user_id else file.track_type,
        "seconds": None if file.end_ms is None else round(_seconds(file.begin_ms, file.end_ms), 3),
        "size": file.size,
        "stored": file.is_stored,
    }


def _seconds(begin_ms: int, end_ms: int) -> float:
    return (end_ms - begin_ms) / 1000


COMMANDS = (RecordingsList, RecordingsShow, RecordingsRekey)
