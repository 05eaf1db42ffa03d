"""A round of deaths: people in a room, recordings of it, and what dies by plan, until every recording has ended.

What must be true afterwards is for the test to say: ``Played`` has what it needs to know.
"""

import contextlib
import functools
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.kit.acts import Act
from tests.kit.cloud import BUCKET, Cloud
from tests.kit.deaths import Ask, Death, Plan
from tests.kit.receiver import Received
from tests.kit.site import Fallen, Site
from tests.kit.stage import Person, Stage
from tests.kit.waiting import wait_until
from tests.kit.workers import holder, job_of

ALICE, BOB = Act(0, flash=True), Act(3, picture=False)
#: that the robot's first media needs, and the next one's after a death …
START_S = 5.0
#: … with another worker
TAKEN_OVER_S = 15.0


@dataclass
class Played:
    """What a test needs to know of a round that is over."""

    plan: Plan
    site: Site
    room: int
    task_ids: list[str]
    created: float = 0.0
    deleted: float = 0.0  # when that was asked for …
    stopped: float = 0.0  # … and when it had been answered
    fallen: list[Fallen] = field(default_factory=list)
    #: of each task, as DescribeCloudRecording told: (status, file names), each once; "" when it is not found
    described: dict[str, list[tuple[str, tuple[str, ...]]]] = field(default_factory=dict)
    people: list[Person] = field(default_factory=list)

    def events(self, task_id: str) -> list[Received]:
        """Of one task, as a receiver that knows repetitions sees them: one that comes again is the same."""
        seen: dict[str, Received] = {}
        for event in list(self.site.receiver.received):
            if event.info.get("TaskId") == task_id:
                seen.setdefault(repr((event.type, event.info)), event)
        return list(seen.values())

    def of(self, task_id: str, event_type: int) -> list[dict[str, Any]]:
        return [event.payload for event in self.events(task_id) if event.type == event_type]

    def folder(self, task_id: str) -> Path:
        return self.site.data / "files" / BUCKET / "calls" / task_id


class Round:
    def __init__(self, site: Site, plan: Plan, room: int) -> None:
        self._site = site
        self._plan = plan
        self._cloud = Cloud(site.server)
        self._played = Played(plan, site, room, [])
        self._is_over = threading.Event()
        self._asking = threading.Lock()

    def play(self) -> Played:
        """Until every task has ended."""
        played, plan = self._played, self._plan
        with Stage(self._site.server) as stage:
            played.people += stage.enter_all(played.room, {"alice": ALICE, "bob": BOB})
            played.created = time.time()
            for number, ask in enumerate(plan.asks):
                played.task_ids.append(self._create(number, ask))
            asking = threading.Thread(target=self._keep_asking, daemon=True)
            asking.start()
            for death in plan.deaths:
                if death.moment in ("create", "recording", "again"):
                    self._die(death)
            self._record()
            played.deleted = time.time()
            for task_id in played.task_ids:
                self._cloud.stop_recording(task_id)
            played.stopped = time.time()
            for death in plan.deaths:
                if death.moment in ("making", "delete"):
                    self._die(death)
            for task_id in played.task_ids:
                wait_until(functools.partial(self._has_ended, task_id), "the task's end", 60, self._seen)
            self._is_over.set()
            asking.join()
        return played

    def _create(self, number: int, ask: Ask) -> str:
        return self._cloud.start_recording(
            self._played.room,
            robot=f"recorder-{number}",
            width=ALICE.width,
            height=ALICE.height,
            fps=ALICE.fps,
            output_format=ask.form,
            layout={"MixLayoutMode": 3, "PureAudioDisableLayout": True},
            RecordMode=1 if ask.single else 2,
            AvMerge=int(ask.merged),
            MaxIdleTime=60,
        )

    def _die(self, death: Death) -> None:
        played = self._played
        if death.moment in ("recording", "again"):
            wait_until(self._is_recording, "every task records", 30, self._seen)
        if death.moment == "making":
            wait_until(self._is_making, "a file is made", 20, self._seen)
        if death.moment == "create" and death.ends_job:
            wait_until(lambda: all(map(self._job, played.task_ids)), "a job", 15, self._seen)
        time.sleep(death.after_s)
        before = [len(played.of(task_id, 306)) for task_id in played.task_ids]
        had_jobs = [self._job(task_id) for task_id in played.task_ids]
        fallen = self._site.strike(death, played.task_ids)
        played.fallen.append(fallen)
        if death.moment in ("making", "delete") or (death.victim == "server" and self._site.workers):
            return
        for task_id, count, had_job in zip(played.task_ids, before, had_jobs, strict=True):
            if had_job:
                wait_until(
                    functools.partial(self._moved, task_id, count),
                    f"306 after the death of {death.victim}",
                    40,
                    self._seen,
                )
        fallen.heirs += [holder(self._site.data, task_id) for task_id in played.task_ids]

    def _moved(self, task_id: str, times: int) -> bool:
        return len(self._played.of(task_id, 306)) > times

    def _record(self) -> None:
        """Long enough for people to be back."""
        wait_until(self._is_recording, "every task records", 30, self._seen)
        last = max((fallen.back for fallen in self._played.fallen), default=0.0)
        time.sleep(max(self._plan.rest_s, last + START_S + 1 - time.time()))

    def _is_recording(self) -> bool:
        """Media of the last attempt of each task is on disk."""
        return all(
            any(path.stat().st_size for path in self._last(task_id, "*.ts")) for task_id in self._played.task_ids
        )

    def _is_making(self) -> bool:
        """Or has made; or there is nothing to make."""
        if any(fallen.death.moment == "making" for fallen in self._played.fallen):
            return True
        return all(
            not ask.extension
            or any(self._last(task_id, f"*{ask.extension}*"))
            or any(self._played.folder(task_id).glob(f"*.{ask.extension}"))
            for task_id, ask in zip(self._played.task_ids, self._plan.asks, strict=True)
        )

    def _last(self, task_id: str, pattern: str) -> list[Path]:
        try:
            attempts = sorted((self._site.data / "spool" / task_id).glob("[0-9]*"), key=lambda path: int(path.name))
            return list(attempts[-1].glob(pattern)) if attempts else []
        except FileNotFoundError:  # it was stored and is taken away, while we look
            return []

    def _job(self, task_id: str) -> int | None:
        return job_of(self._site.data, task_id)

    def _keep_asking(self) -> None:
        """What DescribeCloudRecording says, all the time; a server that is dead says nothing."""
        while not self._is_over.wait(0.2):
            for task_id in self._played.task_ids:
                with contextlib.suppress(_NoAnswerError):
                    self._ask(task_id)

    def _ask(self, task_id: str) -> str:
        """The status, noted in the order of asking."""
        with self._asking:
            said = self._describe(task_id)
            known = self._played.described.setdefault(task_id, [])
            if not known or known[-1] != said:
                known.append(said)
        return said[0]

    def _describe(self, task_id: str) -> tuple[str, tuple[str, ...]]:
        try:
            answer = self._cloud.describe_recording(task_id)
        except TencentCloudSDKException as error:
            if "ResourceNotFound" in str(error.get_code()):
                return "", ()
            raise _NoAnswerError from error
        except Exception as error:
            raise _NoAnswerError from error
        return answer["Status"], tuple(file["FileName"] for file in answer["StorageFileList"])

    def _has_ended(self, task_id: str) -> bool:
        try:
            return self._ask(task_id) == ""
        except _NoAnswerError:
            return False

    def _seen(self) -> object:
        played = self._played
        told = {task_id: [event.type for event in played.events(task_id)] for task_id in played.task_ids}
        return self._plan, told, played.described


class _NoAnswerError(Exception):
    """The server is dead, or just comes."""


def together(rounds: list[Round]) -> list[Played]:
    """Side by side; the first failure is raised when all are over."""
    found: dict[int, Played] = {}
    failed: list[BaseException] = []

    def run(number: int, one: Round) -> None:
        try:
            found[number] = one.play()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=each) for each in enumerate(rounds)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return [found[number] for number in range(len(rounds))]
