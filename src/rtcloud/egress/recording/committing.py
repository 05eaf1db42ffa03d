"""Files that play on their own, told one by one: 311 for each when it is in its place, 312 at the end of all. Pure.

Which tasks are told of so is the table's matter (``callbacks.events``): those whose files go to the media library,
where each file told of is an entry, and automatic recordings to a bucket, whose files are where they are. HLS is told
of when all of it is there, which is after the end, never while it grows. A file that waits for long is told with Status
1, and with 0 when it has arrived; a stream of which nothing could be made is told with 2.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec

from rtcloud.egress.filing import Filing, TencentVod
from rtcloud.tasks.lifecycle import Task, TaskFile
from rtcloud.vod.entry import Entry, expiry_ms, file_id, location

HLS = ("segment", "index")
DONE, LEFT_OVER, FAILED = 0, 1, 2  # Status of 311
STOPPED_WELL, STOPPED_ILL = 0, 1  # of 312
NOTHING_MADE = "no file could be made of what was recorded"


class Commitments(msgspec.Struct, omit_defaults=True):
    """What was told."""

    recorded: bool = False  # a file was closed
    refusal: str = ""  # the store's last words
    committed: list[str] = []  # names, with Status 0
    late: list[str] = []  # with Status 1
    finished: bool = False  # 312


@dataclass(slots=True)
class Committed:
    told: list[Mapping[str, Any]] = field(default_factory=list)  # payloads of 311
    entries: list[Entry] = field(default_factory=list)
    stop: int | None = None  # Status of 312


def commit(
    task: Task, filing: Filing, done: Commitments, pending: Mapping[str, int], files: Sequence[TaskFile], is_late: bool,
    now_ms: int,
) -> Committed:  # fmt: skip
    """No more files will be reported; ``files`` are all indexes and products. ``is_late``: what is still here waits for
    long. ``done`` notes what the result tells."""
    found = Committed()
    has_hls = not any(pending.get(kind) for kind in HLS)
    for file in files:
        if not _plays(filing, file) or file.name in done.committed:
            continue
        if has_hls if file.kind == "index" else file.uploaded_ms is not None:
            done.committed.append(file.name)
            found.told.append({"Status": DONE, "TencentVod": _described(task, filing, file)})
            if isinstance(filing.storage, TencentVod):
                found.entries.append(_entry(task, filing.storage, file, now_ms))
        elif is_late and file.name not in done.late:
            done.late.append(file.name)
            found.told.append(_ill(LEFT_OVER, done.refusal, file.user_id, file.track_type, file.name))
    if not any(pending.values()) and not done.finished:
        done.finished = True
        unmade = list(_unmade(filing, done, files))
        found.told += [_ill(FAILED, NOTHING_MADE, user_id, track_type, "") for user_id, track_type in unmade]
        found.stop = STOPPED_ILL if unmade else STOPPED_WELL
    return found


def _plays(filing: Filing, file: TaskFile) -> bool:
    return filing.keeps_hls if file.kind == "index" else bool(filing.extension)


def _unmade(filing: Filing, done: Commitments, files: Sequence[TaskFile]) -> Iterator[tuple[str, str]]:
    """User and kind of track of the streams that have media and no file that was to be made of it."""
    made = {(file.user_id, file.media_id) for file in files if file.kind not in HLS}
    tracks: dict[tuple[str, str], set[str]] = {}
    for file in files:
        if file.kind == "index":
            tracks.setdefault((file.user_id, file.media_id), set()).update(file.track_type.split("_"))
    if not tracks and done.recorded and not made:
        tracks = {("", "mix"): {"audio", "video"}}
    for stream, kinds in tracks.items():
        is_wanted = filing.extension == "mp4" or (filing.extension == "aac" and "audio" in kinds)
        if is_wanted and stream not in made:
            yield stream[0], "audio" if filing.extension == "aac" else "_".join(sorted(kinds))


def _described(task: Task, filing: Filing, file: TaskFile) -> Mapping[str, Any]:
    if isinstance(filing.storage, TencentVod):
        url = filing.address + location(task.task_id, file.name)
    else:
        key = "/".join(quote(each, safe="") for each in (*filing.folder(task.task_id)[1:], file.name))
        url = f"{filing.address}/{key}" if filing.address else ""
    return {
        "UserId": file.user_id,
        "TrackType": file.track_type,
        "MediaId": file.media_id,
        "FileId": file_id(task.task_id, file.name),
        "VideoUrl": url,
        "CacheFile": file.name,
        "StartTimeStamp": file.begin_ms,
        "EndTimeStamp": file.end_ms,
    }


def _ill(status: int, message: str, user_id: str, track_type: str, name: str) -> Mapping[str, Any]:
    about = {"UserId": user_id, "TrackType": track_type, "CacheFile": name}
    return {"Status": status, "Errmsg": message, "TencentVod": about}


def _entry(task: Task, vod: TencentVod, file: TaskFile, now_ms: int) -> Entry:
    return Entry(
        task_id=task.task_id,
        name=file.name,
        ref=task.ref,
        user_id=file.user_id,
        media_id=file.media_id,
        track_type=file.track_type,
        begin_ms=file.begin_ms,
        end_ms=file.end_ms or file.begin_ms,
        size=file.size,
        arrived_ms=now_ms,
        expires_ms=expiry_ms(now_ms, vod.expire_time),
        details={
            "Procedure": vod.procedure,
            "ClassId": vod.class_id,
            "SubAppId": vod.sub_app_id,
            "StorageRegion": vod.storage_region,
            "SessionContext": vod.session_context,
            "SourceContext": vod.source_context,
        },
    )
