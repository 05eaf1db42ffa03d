"""``rtcloud recording`` on a real recording: it is listed, shown and good; what is done to it afterwards is found."""

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.kit.acts import Act
from tests.kit.cloud import BUCKET, Cloud
from tests.kit.server import COMMAND, Server
from tests.kit.stage import Stage
from tests.kit.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 6500
SECONDS = 6.0


@dataclass(frozen=True)
class Recorded:
    server: Server
    task_id: str

    @property
    def folder(self) -> Path:
        return self.server.data / "files" / BUCKET / "calls" / self.task_id

    def typed(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(COMMAND), "recording", *arguments, "--data", str(self.server.data)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    def answered(self, *arguments: str, status: int = 0) -> Any:
        done = self.typed(*arguments, "--json")
        assert done.returncode == status, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """A mixed recording of two people, HLS and MP4, that has ended."""
    with Server(tmp_path_factory.mktemp("recorded") / "data") as server, Stage(server) as stage:
        for number, user in enumerate(("alice", "bob")):
            stage.enter(ROOM, user, Act(number))
        cloud = Cloud(server)
        task_id = cloud.start_recording(ROOM, width=320, height=180, fps=15)
        made = Recorded(server, task_id)
        try:
            wait_until(lambda: cloud.describe_recording(task_id).get("StorageFileList"), "media is recorded", 15)
            running = made.answered("verify", task_id[:8]) if made.folder.is_dir() else {"ok": True}
            assert running["ok"]
            time.sleep(SECONDS)
            cloud.stop_recording(task_id)

            def ended() -> bool:
                (line,) = made.answered("ls")
                return bool(line["state"] == "ended" and line["waiting"] == 0)

            wait_until(ended, "it has ended", 30, lambda: made.answered("ls"))
        except BaseException:
            print(server.tail())
            raise
        yield made


def test_it_is_listed(recorded: Recorded) -> None:
    (line,) = recorded.answered("ls")
    assert (line["task_id"], line["kind"], line["room"], line["users"]) == (
        recorded.task_id,
        "recording",
        str(ROOM),
        "mixed",
    )
    assert line["seconds"] >= SECONDS
    assert line["size"] == sum(path.stat().st_size for path in recorded.folder.iterdir())
    assert recorded.answered("ls", "--live") == []
    assert recorded.task_id in recorded.typed().stdout


def test_its_files_are_shown_with_their_directory(recorded: Recorded) -> None:
    shown = recorded.answered("show", recorded.task_id[:8], "--segments")
    assert Path(shown["directory"]) == recorded.folder.resolve()
    assert (shown["bucket"], shown["folder"]) == (BUCKET, f"calls/{recorded.task_id}")
    assert {file["name"]: file["size"] for file in shown["files"]} == {
        path.name: path.stat().st_size for path in recorded.folder.iterdir()
    }


def test_nothing_is_wrong_with_it(recorded: Recorded) -> None:
    said = recorded.answered("verify", recorded.task_id[:8])
    assert said["ok"]
    findings = [finding for each in said["recordings"] for file in each["files"] for finding in file["findings"]]
    assert findings == []
    assert recorded.typed("verify", str(recorded.folder)).stdout.endswith("files, nothing is wrong\n")


def test_a_server_is_not_needed_and_what_was_damaged_is_found(recorded: Recorded) -> None:
    recorded.server.stop()
    (line,) = recorded.answered("ls")
    assert line["task_id"] == recorded.task_id
    mp4, segment = next(recorded.folder.glob("*.mp4")), min(recorded.folder.glob("*.ts"))
    segment.write_bytes(segment.read_bytes()[:-1880])
    mp4.unlink()
    said = recorded.answered("verify", recorded.task_id, status=1)
    wrong = {
        (file["name"], finding["check"])
        for file in said["recordings"][0]["files"]
        for finding in file["findings"]
        if finding["is_fault"]
    }
    assert {(mp4.name, "missing"), (segment.name, "size")} <= wrong
