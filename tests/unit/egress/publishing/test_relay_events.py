"""What a relay tells: each address has a story with an end, whatever dies in between; its files as a recording's."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from rtcloud.egress.publishing.events import RelayKind
from rtcloud.egress.publishing.request import FEEDBACK, RelayRequest, decode, encode, feedback_mark
from rtcloud.rooms.ids import RoomRef
from rtcloud.tasks.attempts import is_sound
from rtcloud.tasks.kinds import Reaction, Refusal
from rtcloud.tasks.lifecycle import Task, TaskFile
from rtcloud.tasks.protocol import AnyJobEvent, Ended, FileClosed, Left, Noted, OutputChanged, Started
from tests.kit.running_task import running_task

KIND = RelayKind()
NOW = 1_700_000_000_000
ONE, TWO = "rtmp://one.example/live/a?key=k", "rtmp://two.example/live/b"
STORAGE = {"Vendor": 0, "Region": "r", "Bucket": "bucket", "SecretKey": "topsecret", "FileNamePrefix": ["pre"]}


def request(**members: Any) -> bytes:
    given = {
        "SdkAppId": 1400,
        "RoomId": "77",
        "AgentParams": {"UserId": "robot"},
        "AudioParams": {},
        "PublishCdnParams": [{"PublishCdnUrl": ONE}, {"PublishCdnUrl": TWO}],
    }
    return encode(msgspec.convert(given | members, RelayRequest))


def recorded(*formats: str) -> dict[str, Any]:
    return {"RecordParams": {"RecordFormat": formats, "McuStorageParams": {"CloudStorage": STORAGE}}}


def task(params: bytes) -> Task:
    return running_task("relay", params)


class Story:
    def __init__(self, **members: Any) -> None:
        self.task = task(request(**members))
        self.told: list[tuple[int, Any]] = []

    def _took(self, reaction: Reaction) -> None:
        self.task = replace(self.task, progress=reaction.progress)
        self.told += [(callback.type, callback.info["Payload"]) for callback in reaction.callbacks]

    def event(self, event: AnyJobEvent, attempt: int = 0) -> None:
        self._took(KIND.on_event(self.task, attempt, event))
        if isinstance(event, Left):
            self.task = replace(self.task, leave_code=event.leave_code)

    def status(self, *statuses: int, url: str = ONE, attempt: int = 0) -> None:
        for status in statuses:
            self.event(OutputChanged(sequence=1, at_ms=NOW, url=url, status=status), attempt)

    def left(self, leave_code: int = 0) -> None:
        self.event(Left(sequence=1, at_ms=NOW, leave_code=leave_code))

    def uploads(self, pending: dict[str, int], products: list[TaskFile]) -> None:
        self._took(KIND.on_uploads(self.task, pending, products, NOW))

    def statuses(self, url: str = ONE) -> list[int]:
        return [info["Status"] for kind, info in self.told if kind == 401 and info["Url"] == url]

    @property
    def types(self) -> list[int]:
        return [kind for kind, _ in self.told]


def closed(kind: str, name: str) -> FileClosed:
    return FileClosed(sequence=1, at_ms=NOW, name=name, kind=kind, begin_ms=NOW - 10, end_ms=NOW, size=1)


def product(name: str) -> TaskFile:
    return TaskFile(
        task_id="T", name=name, kind="mp4", attempt=0, sequence=1, user_id="", track_type="audio_video",
        media_id="mix", begin_ms=NOW - 10, end_ms=NOW, size=1, uploaded_ms=None,
    )  # fmt: skip


def test_each_report_of_an_address_is_told_with_its_moment() -> None:
    event = OutputChanged(sequence=1, at_ms=NOW, url=ONE, status=4, code=7, message="reset by the peer")
    (told,) = KIND.on_event(task(request()), 0, event).callbacks
    assert (told.group, told.type) == (4, 401)
    assert told.info == {
        "RoomId": 77,
        "RoomType": 0,
        "EventMsTs": NOW,
        "UserId": "robot",
        "TaskId": "T",
        "Payload": {"Url": ONE, "Status": 4, "ErrorCode": 7, "ErrorMsg": "reset by the peer"},
    }


def test_a_status_that_is_reported_again_is_told_again() -> None:
    story = Story()
    story.status(1, 1, 1, 2, 3, 3, 2, 5, 0)
    assert story.statuses() == [1, 1, 1, 2, 3, 3, 2, 5, 0]


def test_what_ran_before_its_job_died_recovers() -> None:
    story = Story()
    story.status(1, 2)
    story.status(1, url=TWO)
    story.event(Started(sequence=1, at_ms=NOW), 1)
    story.status(1, 1, 2, attempt=1)
    story.status(1, 2, url=TWO, attempt=1)
    assert story.statuses() == [1, 2, 3, 3, 2]
    assert story.statuses(TWO) == [1, 1, 2]


def test_an_address_that_was_given_up_begins_anew() -> None:
    story = Story()
    story.status(1, 2, 3, 4, 0)
    story.status(1, 2)
    assert story.statuses() == [1, 2, 3, 4, 0, 1, 2]


def test_a_job_that_died_between_failure_and_end_leaves_no_story_open() -> None:
    story = Story()
    story.status(1, 4)
    story.event(Started(sequence=1, at_ms=NOW), 1)
    story.status(1, attempt=1)
    assert story.statuses() == [1, 4, 0, 1]


def test_addresses_removed_while_no_job_ran_end_with_the_next() -> None:
    story = Story()
    story.status(1, 2)
    story.status(1, 2, url=TWO)
    story.task = replace(story.task, params=request(PublishCdnParams=[{"PublishCdnUrl": TWO}]))
    story.event(Started(sequence=1, at_ms=NOW), 1)
    assert story.statuses() == [1, 2, 5, 0]
    assert story.statuses(TWO) == [1, 2]


def test_every_story_ends_when_the_robot_has_left() -> None:
    for leave_code in (0, 1, 2, 3, 99):
        story = Story()
        story.status(1, 2)
        story.status(1, url=TWO)
        story.left(leave_code)
        assert story.statuses() == [1, 2, 5, 0]
        assert story.statuses(TWO) == [1, 0]


def test_an_end_that_was_told_is_not_told_again() -> None:
    story = Story()
    story.status(1, 2, 5, 0)
    story.left()
    story.status(5, 0)
    story.status(2)
    assert story.statuses() == [1, 2, 5, 0]
    assert story.types == [401] * 4


def test_a_relay_that_is_not_recorded_has_no_files() -> None:
    story = Story()
    story.event(Started(sequence=1, at_ms=NOW))
    story.left()
    story.event(Ended(sequence=1, at_ms=NOW))
    story.uploads({}, [])
    assert story.told == []
    assert not KIND.needs_finish(story.task, {"segment": 3})
    assert not KIND.is_uploaded(story.task, "segment")


def test_a_recorded_relay_tells_of_its_files_as_a_recording_does() -> None:
    story = Story(**recorded("mp4", "hls"))
    story.event(Started(sequence=1, at_ms=NOW))
    story.status(1, 2)
    story.event(closed("segment", "a.ts"))
    story.event(closed("index", "a.m3u8"))
    story.left()
    story.uploads({}, [product("a.mp4")])
    assert story.types == [301, 401, 401, 303, 307, 401, 401, 302, 305, 310]
    assert KIND.is_uploaded(story.task, "segment")
    assert KIND.needs_finish(story.task, {"segment": 1})
    assert not KIND.needs_finish(story.task, {})
    assert KIND.folder(story.task) == ["bucket", "pre", "T"]


def test_segments_stay_where_only_a_whole_file_is_wanted() -> None:
    for wanted in ("mp4", "aac"):
        story = Story(**recorded(wanted))
        story.event(Started(sequence=1, at_ms=NOW))
        story.event(closed("segment", "a.ts"))
        story.event(closed("index", "a.m3u8"))
        story.event(closed("mp4", f"a.{wanted}"))
        story.left()
        story.uploads({}, [product(f"a.{wanted}")])
        assert story.types == [301, 303, 302, 310]
        assert not KIND.is_uploaded(story.task, "segment")
        assert KIND.is_uploaded(story.task, "mp4")
        assert KIND.needs_finish(story.task, {"segment": 1})


def test_the_job_is_admitted_to_every_room_that_the_mix_takes_users_from_and_feeds() -> None:
    params = request(
        AudioParams={
            "SubscribeAudioList": [
                {"UserInfo": {"UserId": "here", "RoomId": "77"}},
                {"UserInfo": {"UserId": "there", "RoomId": "other", "RoomIdType": 1}},
                {"UserInfo": {"UserId": "too", "RoomId": "other", "RoomIdType": 1}},
            ]
        },
        FeedBackRoomParams=[{"RoomId": "88", "UserId": "feeder"}],
    )
    there, feeder = KIND.passes(task(params))
    assert (there.ref, there.user_id, there.attributes) == (RoomRef(1400, False, "other"), "robot", {})
    assert (feeder.ref, feeder.user_id) == (RoomRef(1400, True, "88"), "feeder")
    assert feeder.attributes[FEEDBACK] == feedback_mark("T")


def test_a_recording_that_ends_before_its_relay_is_told_once_and_without_the_store_being_at_fault() -> None:
    given = replace(task(request(**recorded("hls"))), leave_code=None)
    failed = Noted(at_ms=NOW, code="RecordingFailed", message="the files cannot be written: No space left on device")
    reaction = KIND.on_event(given, 0, failed)
    (told,) = reaction.callbacks
    assert told.info["Payload"] == {"Code": failed.code, "Message": failed.message}
    given = replace(given, progress=reaction.progress)
    assert KIND.trouble(given.progress) is None
    assert not KIND.on_event(given, 1, failed).callbacks
    assert not KIND.on_event(task(request()), 0, failed).callbacks


def test_nobody_in_a_room_learns_a_tasks_id_which_opens_its_files() -> None:
    (feeder,) = KIND.passes(task(request(FeedBackRoomParams=[{"RoomId": "88", "UserId": "feeder"}])))
    assert "T" not in json.dumps(dict(feeder.attributes))


def test_a_job_never_sees_the_keys() -> None:
    assert b"topsecret" not in KIND.job_params(task(request(**recorded("hls"))))
    assert decode(KIND.job_params(task(request()))) == decode(request())


def test_the_files_of_a_relay_go_where_a_recordings_would() -> None:
    bucket = KIND.bucket(task(request(**recorded("hls"))))
    assert bucket is not None
    assert (bucket.name, bucket.vendor, bucket.region, bucket.secret_key) == ("bucket", "cos", "r", "topsecret")
    assert KIND.bucket(task(request())) is None


def test_a_store_that_does_not_take_a_relays_files_is_told_of() -> None:
    story = Story(**recorded("hls"))
    story._took(KIND.on_probed(story.task, Refusal("AccessDenied", "no"), NOW))
    assert story.told == [(303, {"Status": 1}), (308, {"Code": "AccessDenied", "Message": "no"})]


def test_recovering_an_attempt_without_files_does_nothing(tmp_path: Path) -> None:
    KIND.recover(tmp_path, NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_report_that_cannot_be_of_an_address_is_not_believed() -> None:
    good = OutputChanged(sequence=1, at_ms=NOW, url=ONE, status=5)
    assert is_sound(good)
    for change in ({"url": ""}, {"url": "x" * 3000}, {"url": "a\nb"}, {"status": 6}, {"status": -1}, {"code": -1}):
        assert not is_sound(msgspec.structs.replace(good, **change))
