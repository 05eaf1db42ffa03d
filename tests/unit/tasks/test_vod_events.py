"""311 and 312, and which of all events a task really tells: by who started it and where its files go."""

import json
from dataclasses import replace
from typing import Any

import pytest

from rtcloud.callbacks.events import Origin, RecordingEvent, Storage
from rtcloud.egress.publishing.events import RelayKind
from rtcloud.egress.recording.committing import NOTHING_MADE
from rtcloud.egress.recording.events import RecordingKind
from rtcloud.egress.recording.telling import LEFTOVER_MS
from rtcloud.tasks.kinds import Reaction, Refusal, TaskKind
from rtcloud.tasks.lifecycle import TaskFile
from rtcloud.tasks.protocol import FileClosed, ImageMissing, Left, Started
from rtcloud.vod.entry import Entry, location
from tests.kit.running_task import running_task

NOW = 1_700_000_000_000
OBJECT: dict[str, Any] = {
    "CloudStorage": {"Vendor": 0, "Region": "r", "Bucket": "b", "FileNamePrefix": ["p"], "EndpointUrl": "https://s3"}
}
VOD: dict[str, Any] = {"ExpireTime": 60, "MediaType": 3, "ClassId": 7, "SessionContext": "mine"}


def recording(storage: dict[str, Any], origin: str = "api", **members: Any) -> bytes:
    request = {
        "SdkAppId": 1400, "RoomId": "77", "UserId": "robot", "Origin": origin,
        "RecordParams": {"RecordMode": 2, "OutputFormat": 1},
        "StorageParams": storage, **members,
    }  # fmt: skip
    return json.dumps(request).encode()


def vod(files_at: str = "https://here/vod", **members: Any) -> bytes:
    return recording({"CloudVod": {"TencentVod": VOD | members}}, FilesAt=files_at)


class Story:
    """A task whose kind is told what happened, as the rows of tasks would tell it."""

    def __init__(self, params: bytes, kind: TaskKind | None = None) -> None:
        self.kind: TaskKind = kind or RecordingKind()
        self.task = running_task(self.kind.name, params)
        self.told: list[tuple[int, Any]] = []
        self.entries: list[Entry] = []

    def took(self, reaction: Reaction) -> None:
        self.task = replace(self.task, progress=reaction.progress)
        self.told += [(callback.type, callback.info["Payload"]) for callback in reaction.callbacks]
        self.entries += reaction.entries

    def closed(self, kind: str, name: str) -> None:
        event = FileClosed(sequence=1, at_ms=NOW, name=name, kind=kind, begin_ms=NOW - 10, end_ms=NOW, size=1)
        self.took(self.kind.on_event(self.task, 0, event))

    def refused(self) -> None:
        self.took(self.kind.on_refused(self.task, "DiskFull", "no space is left", NOW))

    def uploads(self, files: list[TaskFile], segments: int = 0, now_ms: int = NOW) -> None:
        pending: dict[str, int] = {"segment": segments} if segments else {}
        for each in files:
            if each.uploaded_ms is None and self.kind.is_uploaded(self.task, each.kind):
                pending[each.kind] = pending.get(each.kind, 0) + 1
        self.took(self.kind.on_uploads(self.task, pending, files, now_ms))

    def of(self, event_type: int) -> list[Any]:
        return [payload for kind, payload in self.told if kind == event_type]


def file(
    name: str, *, user_id: str = "", media_id: str = "mix", track: str = "audio_video", at: int | None = 1
) -> TaskFile:
    kind = "index" if name.endswith(".m3u8") else "mp4"
    return TaskFile(
        task_id="T", name=name, kind=kind, attempt=0, sequence=1, user_id=user_id, track_type=track, media_id=media_id,
        begin_ms=NOW - 10, end_ms=NOW, size=5, uploaded_ms=at,
    )  # fmt: skip


def waiting(made: TaskFile) -> TaskFile:
    return replace(made, uploaded_ms=None)


MP4, INDEX = file("a.mp4"), file("a.m3u8")


def test_each_file_is_told_when_it_is_there_and_312_after_the_last() -> None:
    story = Story(vod())
    story.uploads([waiting(MP4), waiting(INDEX)], segments=2)
    assert story.told == []
    story.uploads([MP4, INDEX], segments=1)  # an index grows as long as segments come
    assert [each["TencentVod"]["CacheFile"] for each in story.of(311)] == ["a.mp4"]
    story.uploads([MP4, INDEX])
    story.uploads([MP4, INDEX])
    assert [kind for kind, _ in story.told] == [311, 311, 312]
    assert story.told[0][1] == {
        "Status": 0,
        "TencentVod": {
            "UserId": "",
            "TrackType": "audio_video",
            "MediaId": "mix",
            "FileId": story.entries[0].file_id,
            "VideoUrl": "https://here/vod" + location("T", "a.mp4"),
            "CacheFile": "a.mp4",
            "StartTimeStamp": NOW - 10,
            "EndTimeStamp": NOW,
        },
    }
    assert list(story.told[0][1]["TencentVod"]) == [
        "UserId", "TrackType", "MediaId", "FileId", "VideoUrl", "CacheFile", "StartTimeStamp", "EndTimeStamp",
    ]  # fmt: skip
    assert story.of(312) == [{"Status": 0}]
    assert [(entry.name, entry.expires_ms) for entry in story.entries] == [
        ("a.mp4", NOW + 60_000),
        ("a.m3u8", NOW + 60_000),
    ]
    assert story.entries[0].details["ClassId"] == 7
    assert story.entries[0].details["SessionContext"] == "mine"


def test_a_file_that_waits_for_long_is_told_with_why_and_again_when_it_arrives() -> None:
    story = Story(vod())
    late = NOW + LEFTOVER_MS
    story.uploads([waiting(MP4), waiting(INDEX)], segments=1)
    story.uploads([waiting(MP4), waiting(INDEX)], segments=1, now_ms=late)
    assert story.told == []  # slow, but nobody refuses
    story.refused()
    story.uploads([waiting(MP4), INDEX], segments=1, now_ms=late)
    story.uploads([waiting(MP4), INDEX], segments=1, now_ms=late + 1)
    about = {"UserId": "", "TrackType": "audio_video", "CacheFile": "a.mp4"}
    assert story.told == [
        (311, {"Status": 1, "Errmsg": "DiskFull: no space is left", "TencentVod": about}),
        (311, {"Status": 1, "Errmsg": "DiskFull: no space is left", "TencentVod": about | {"CacheFile": "a.m3u8"}}),
    ]
    assert story.entries == []
    story.uploads([MP4, INDEX], now_ms=late + 2)
    assert [payload["Status"] for payload in story.of(311)] == [1, 1, 0, 0]
    assert story.of(312) == [{"Status": 0}]
    assert len(story.entries) == 2


def test_streams_of_which_nothing_could_be_made_are_told_at_the_end() -> None:
    story = Story(vod(MediaType=0))
    alice, bob = (dict[str, Any](user_id=user, media_id="main") for user in ("alice", "bob"))
    indexes = [
        waiting(file("1.m3u8", track="audio", **alice)),
        waiting(file("2.m3u8", track="video", **alice)),
        waiting(file("3.m3u8", track="audio", **bob)),
    ]
    story.uploads([*indexes, file("bob.mp4", track="audio", **bob)])
    assert [(payload["Status"], payload["TencentVod"]["UserId"]) for payload in story.of(311)] == [
        (0, "bob"),
        (2, "alice"),
    ]
    assert story.of(311)[1] == {
        "Status": 2,
        "Errmsg": NOTHING_MADE,
        "TencentVod": {"UserId": "alice", "TrackType": "audio_video", "CacheFile": ""},
    }
    assert story.of(312) == [{"Status": 1}]


def test_a_stream_without_sound_owes_no_aac() -> None:
    story = Story(vod(MediaType=2))
    story.uploads([waiting(file("v.m3u8", track="video", user_id="alice", media_id="main"))])
    assert story.told == [(312, {"Status": 0})]


def test_a_recording_without_media_ends_well_and_one_whose_media_is_lost_does_not() -> None:
    empty, lost = Story(vod(MediaType=0)), Story(vod(MediaType=0))
    empty.uploads([])
    assert empty.told == [(312, {"Status": 0})]
    lost.closed("segment", "a.ts")
    lost.uploads([])
    assert [payload["Status"] for _, payload in lost.told] == [2, 1]


def test_a_relays_files_are_told_in_the_same_way() -> None:
    storage = {"McuCloudVod": {"McuTencentVod": {"ExpireTime": 0}}}
    request = {
        "SdkAppId": 1400, "RoomId": "77", "AgentParams": {"UserId": "robot"}, "FilesAt": "https://here/vod",
        "RecordParams": {"RecordFormat": ["hls"], "McuStorageParams": storage},
    }  # fmt: skip
    story = Story(json.dumps(request).encode(), RelayKind())
    story.uploads([INDEX])
    assert [kind for kind, _ in story.told] == [311, 312]
    assert story.told[0][1]["TencentVod"]["VideoUrl"] == "https://here/vod" + location("T", "a.m3u8")
    assert [(entry.name, entry.expires_ms) for entry in story.entries] == [("a.m3u8", None)]


def test_automatic_recordings_to_a_bucket_tell_of_the_files_where_they_are() -> None:
    story = Story(recording(OBJECT, "auto", FilesAt="https://s3/b"))
    story.uploads([file("a+b.mp4")])
    assert story.of(311)[0]["TencentVod"]["VideoUrl"] == "https://s3/b/p/T/a%2Bb.mp4"
    here = Story(recording(OBJECT, "auto"))
    here.uploads([MP4])
    assert here.of(311)[0]["TencentVod"]["VideoUrl"] == ""
    assert here.of(312) == story.of(312) == []
    assert here.entries == story.entries == []


#: Which events a task tells through everything that can happen to one, by who started it and where its files go.
TOLD = {
    (Origin.API, Storage.OBJECT): {301, 302, 303, 304, 305, 306, 307, 308, 309, 310},
    (Origin.AUTO, Storage.OBJECT): {301, 302, 303, 305, 306, 308, 309, 311},
    (Origin.API, Storage.VOD): {301, 302, 306, 309, 311, 312},
    (Origin.AUTO, Storage.VOD): {301, 302, 306, 309, 311, 312},
}


@pytest.mark.parametrize(("origin", "storage"), TOLD, ids=lambda each: each.value)
def test_what_a_task_tells_is_what_the_documents_give_it(origin: Origin, storage: Storage) -> None:
    where = OBJECT if storage is Storage.OBJECT else {"CloudVod": {"TencentVod": VOD}}
    story = Story(recording(where, origin.value))
    kind, took = story.kind, story.took
    took(kind.on_event(story.task, 0, Started(sequence=1, at_ms=NOW)))
    took(kind.on_event(story.task, 1, Started(sequence=1, at_ms=NOW)))
    took(kind.on_event(story.task, 0, ImageMissing(sequence=1, at_ms=NOW, url="http://x/a.png")))
    took(kind.on_probed(story.task, Refusal("AccessDenied", "no"), NOW))
    for name in ("a.ts", "a.m3u8", "a.mp4"):
        story.closed({"ts": "segment", "m3u8": "index", "mp4": "mp4"}[name[2:]], name)
    took(kind.on_uploaded(story.task, INDEX, NOW))
    took(kind.on_event(story.task, 0, Left(sequence=1, at_ms=NOW, leave_code=0)))
    story.refused()
    story.uploads([waiting(MP4), waiting(INDEX)], segments=1)
    story.uploads([waiting(MP4), waiting(INDEX)], segments=1, now_ms=NOW + LEFTOVER_MS)
    story.uploads([MP4, INDEX], now_ms=NOW + LEFTOVER_MS)
    assert {event_type for event_type, _ in story.told} == TOLD[origin, storage]
    assert {RecordingEvent(event_type) for types in TOLD.values() for event_type in types} == set(RecordingEvent)
