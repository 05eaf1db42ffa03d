"""The callbacks of group 3, from the reports of jobs and uploads."""

import json
from dataclasses import replace
from typing import Any

import pytest

from rtcloud.callbacks.events import Origin, RecordingEvent, Storage, is_sent
from rtcloud.egress.recording.events import RecordingKind
from rtcloud.egress.recording.telling import IMAGES, LEFTOVER_MS
from rtcloud.tasks.kinds import Reaction, Refusal
from rtcloud.tasks.lifecycle import Task, TaskFile
from rtcloud.tasks.protocol import AnyJobEvent, FileClosed, FileOpened, ImageMissing, Left, Started
from tests.kit.running_task import running_task

KIND = RecordingKind()
NOW = 1_700_000_000_000


def request(output_format: int) -> bytes:
    return json.dumps(
        {
            "SdkAppId": 1400,
            "RoomId": "77",
            "UserId": "robot",
            "RecordParams": {"RecordMode": 2, "OutputFormat": output_format},
            "StorageParams": {
                "CloudStorage": {
                    "Vendor": 0,
                    "Region": "r",
                    "Bucket": "b",
                    "AccessKey": "access",
                    "SecretKey": "secret",
                    "FileNamePrefix": ["p", "q"],
                }
            },
        }
    ).encode()


def task(output_format: int = 1) -> Task:
    return running_task("recording", request(output_format))


def closed(kind: str, name: str) -> FileClosed:
    return FileClosed(sequence=1, at_ms=NOW, name=name, kind=kind, begin_ms=NOW - 10, end_ms=NOW, size=1)


def file(kind: str, name: str) -> TaskFile:
    return TaskFile(
        task_id="T", name=name, kind=kind, attempt=0, sequence=1, user_id="", track_type="audio_video", media_id="mix",
        begin_ms=NOW - 10, end_ms=NOW, size=1, uploaded_ms=None,
    )  # fmt: skip


class Story:
    def __init__(self, output_format: int = 1) -> None:
        self.task = task(output_format)
        self.told: list[tuple[int, Any]] = []

    def _took(self, reaction: Reaction) -> None:
        self.task = replace(self.task, progress=reaction.progress)
        self.told += [(callback.type, callback.info["Payload"]) for callback in reaction.callbacks]

    def event(self, event: AnyJobEvent, attempt: int = 0) -> None:
        self._took(KIND.on_event(self.task, attempt, event))

    def uploaded(self, kind: str, name: str) -> None:
        self._took(KIND.on_uploaded(self.task, file(kind, name), NOW))

    def uploads(self, pending: dict[str, int], products: list[TaskFile], now_ms: int = NOW) -> None:
        self._took(KIND.on_uploads(self.task, pending, products, now_ms))

    @property
    def types(self) -> list[int]:
        return [kind for kind, _ in self.told]


def test_the_events_carry_the_moment_of_the_report() -> None:
    (callback,) = KIND.on_event(task(), 0, Started(sequence=1, at_ms=NOW)).callbacks
    assert callback.info["EventMsTs"] == NOW
    assert callback.info["RoomId"] == 77
    assert (callback.info["UserId"], callback.info["TaskId"]) == ("robot", "T")


def test_301_comes_once_and_306_with_each_later_attempt() -> None:
    story = Story()
    for attempt in (0, 1, 2):
        story.event(Started(sequence=1, at_ms=NOW), attempt)
    assert story.types == [301, 306, 306]


def test_a_recording_that_began_only_in_its_second_attempt_says_both() -> None:
    story = Story()
    story.event(Started(sequence=1, at_ms=NOW), 1)
    assert story.types == [301, 306]


def test_303_307_and_304_come_once_for_each_index() -> None:
    story = Story()
    story.event(FileOpened(sequence=1, at_ms=NOW, name="a.ts", kind="segment", begin_ms=NOW))
    for prefix in ("", "ha1_"):
        for _ in range(2):
            story.event(closed("segment", prefix + "a.ts"))
            story.event(closed("index", prefix + "a.m3u8"))
            story.uploaded("segment", prefix + "a.ts")
            story.uploaded("index", prefix + "a.m3u8")
    assert story.types == [303, 307, 304, 307, 304]
    assert story.told[1][1] == {
        "FileName": "a.m3u8",
        "UserId": "",
        "TrackType": "audio_video",
        "BeginTimeStamp": str(NOW - 10),
    }
    assert story.told[4][1] == {"FileList": "ha1_a.m3u8"}


def test_305_waits_for_all_hls_and_310_for_all_mp4() -> None:
    story = Story()
    story.event(closed("index", "a.m3u8"))
    product = file("mp4", "a.mp4")
    story.uploads({"segment": 1, "mp4": 1}, [product])
    assert story.types == [303, 307]
    story.uploads({"mp4": 1}, [product])
    assert story.told[-1] == (305, {"LeaveCode": 0, "Status": 0})
    story.uploads({}, [product])
    story.uploads({}, [product])
    assert story.types == [303, 307, 305, 310]
    told: dict[str, Any] = story.told[-1][1]
    assert list(told) == ["Status", "FileList", "FileMessage"]
    assert list(told["FileMessage"][0]) == [
        "FileName",
        "UserId",
        "TrackType",
        "MediaId",
        "StartTimeStamp",
        "EndTimeStamp",
    ]


def test_310_comes_for_each_single_stream_with_all_its_parts() -> None:
    story = Story()
    story.event(closed("index", "a.m3u8"))
    products = [
        replace(file("mp4", f"{user_id}_{part}.mp4"), user_id=user_id, media_id=media_id)
        for user_id, media_id in (("ann", "main"), ("ann", "aux"), ("bob", "main"))
        for part in (1, 2)
    ]
    story.uploads({}, products)
    told = [payload["FileMessage"] for kind, payload in story.told if kind == 310]
    assert [[(message["UserId"], message["MediaId"]) for message in messages] for messages in told] == [
        [("ann", "main")] * 2,
        [("ann", "aux")] * 2,
        [("bob", "main")] * 2,
    ]


def test_an_mp4_that_could_not_be_made_is_told_as_such() -> None:
    story = Story()
    story.event(closed("index", "a.m3u8"))
    story.uploads({"segment": 1}, [])
    assert 310 not in story.types
    story.uploads({}, [])
    assert story.told[-1] == (310, {"Status": 2, "FileList": [], "FileMessage": []})


def test_a_recording_of_nothing_has_no_files_to_tell_of() -> None:
    story = Story()
    story.uploads({}, [])
    assert story.types == []


def test_hls_alone_has_no_310_and_mp4_alone_no_hls_events() -> None:
    hls = Story(output_format=0)
    hls.event(closed("index", "a.m3u8"))
    hls.uploads({}, [])
    assert hls.types == [303, 307, 305]
    mp4 = Story(output_format=3)
    mp4.event(closed("segment", "a.ts"))
    mp4.event(closed("index", "a.m3u8"))
    mp4.event(closed("mp4", "a.mp4"))
    mp4.uploads({}, [file("mp4", "a.mp4")])
    assert mp4.types == [303, 310]
    assert not KIND.is_uploaded(mp4.task, "segment")
    assert KIND.is_uploaded(mp4.task, "mp4")


def test_a_store_that_refuses_for_long_makes_305_say_what_remains() -> None:
    story = Story(output_format=0)
    story.event(closed("index", "a.m3u8"))
    story._took(KIND.on_refused(story.task, "NoSuchBucket", "gone", NOW))
    story._took(KIND.on_refused(story.task, "NoSuchBucket", "gone", NOW))
    story.uploads({"index": 1}, [])
    assert story.types == [303, 307, 308]
    story.uploads({"index": 1}, [], NOW + LEFTOVER_MS)
    story.uploads({"index": 1}, [], NOW + 2 * LEFTOVER_MS)
    story.uploads({}, [], NOW + 3 * LEFTOVER_MS)
    assert story.told[2:] == [
        (308, {"Code": "NoSuchBucket", "Message": "gone"}),
        (305, {"LeaveCode": 1, "Status": 1}),
        (305, {"LeaveCode": 2, "Status": 2}),
    ]


def test_310_says_what_remains_and_comes_again_when_it_has_arrived() -> None:
    story = Story(output_format=3)
    story.event(closed("mp4", "a.mp4"))
    story._took(KIND.on_refused(story.task, "NoSuchBucket", "gone", NOW))
    products = [file("mp4", "a.mp4")]
    for now_ms in (NOW, NOW + LEFTOVER_MS, NOW + 2 * LEFTOVER_MS):
        story.uploads({"mp4": 1}, products, now_ms)
    for _ in range(2):
        story.uploads({}, products, NOW + 3 * LEFTOVER_MS)
    told = [(payload["Status"], payload["FileList"]) for kind, payload in story.told if kind == 310]
    assert told == [(1, ["a.mp4"]), (0, ["a.mp4"])]


def test_asking_the_store_is_what_303_tells_and_once() -> None:
    story = Story()
    story._took(KIND.on_probed(story.task, None, NOW))
    story.event(closed("segment", "a.ts"))
    story._took(KIND.on_probed(story.task, Refusal("AccessDenied", "no"), NOW))
    assert story.told == [(303, {"Status": 0}), (308, {"Code": "AccessDenied", "Message": "no"})]


@pytest.mark.parametrize(("leave_code", "types"), [(0, [302]), (3, [301, 302])])
def test_a_robot_that_was_never_in_the_room_failed_to_start(leave_code: int, types: list[int]) -> None:
    story = Story()
    story.event(Left(sequence=1, at_ms=NOW, leave_code=leave_code))
    assert story.types == types


def test_after_the_robot_left_a_finishing_job_tells_of_no_start() -> None:
    story = Story()
    story.task = replace(story.task, leave_code=0)
    story.event(Started(sequence=1, at_ms=NOW), 1)
    assert story.types == []


def test_a_job_never_sees_the_keys_and_files_go_under_prefix_and_task() -> None:
    params = KIND.job_params(task())
    assert b"secret" not in params
    assert b'"AccessKey":""' in params
    assert KIND.folder(task()) == ["b", "p", "q", "T"]


# event: API to object store, API to library, automatic to object store, automatic to library (the documents' page)
TABLE = {
    301: (True, True, True, True),
    302: (True, True, True, True),
    303: (True, False, True, False),
    304: (True, False, False, False),
    305: (True, False, True, False),
    306: (True, True, True, True),
    307: (True, False, False, False),
    308: (True, False, True, False),
    309: (True, True, True, True),
    310: (True, False, False, False),
    311: (False, True, True, True),
    312: (False, True, False, True),
}


@pytest.mark.parametrize("event_type", TABLE)
def test_who_gets_which_event(event_type: int) -> None:
    combinations = [(origin, storage) for origin in Origin for storage in Storage]
    assert tuple(is_sent(RecordingEvent(event_type), *each) for each in combinations) == TABLE[event_type]


def test_every_event_is_in_the_table() -> None:
    assert set(TABLE) == set(RecordingEvent)


def test_309_comes_once_for_each_picture_that_cannot_be_had() -> None:
    story = Story()
    for attempt, name in ((0, "a"), (0, "b"), (1, "a"), (1, "c")):
        story.event(ImageMissing(sequence=1, at_ms=NOW, url=f"http://x/{name}.png"), attempt)
    assert story.told == [(309, {"Url": f"http://x/{name}.png"}) for name in "abc"]
    for number in range(2 * IMAGES):
        story.event(ImageMissing(sequence=1, at_ms=NOW, url=f"http://x/{number}.png"))
    assert len(story.told) == IMAGES
