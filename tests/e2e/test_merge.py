"""``rtcloud merge`` on the files of a real single-stream recording: who muted and came back is one file, in sync."""

import json
import statistics
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rtcloud.egress.recording.naming import encode_id
from rtcloud.recordings.folder import read_folder
from tests.kit import probes
from tests.kit.acts import FLASH, PALETTE, Act
from tests.kit.cloud import BUCKET, Cloud
from tests.kit.probes import Region
from tests.kit.server import COMMAND, Server
from tests.kit.stage import Stage
from tests.kit.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 6600
EDGE = Region(0.01, 0.2, 0.06, 0.8)


@dataclass(frozen=True)
class Recorded:
    folder: Path
    data: Path
    task_id: str
    muted: tuple[float, float]  # Unix seconds between which alice was silent

    def typed(self, *arguments: str) -> Any:
        done = subprocess.run([str(COMMAND), *arguments, "--json"], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    data = tmp_path_factory.mktemp("merge") / "data"
    with Server(data) as server, Stage(server) as stage:
        cloud = Cloud(server)
        alice = stage.enter(ROOM, "alice", Act(0, flash=True))
        stage.enter(ROOM, "bob", Act(1, picture=False))
        task_id = cloud.start_recording(ROOM, output_format=0, RecordMode=1)
        folder = server.data / "files" / BUCKET / "calls" / task_id
        try:
            wait_until(
                lambda: len(cloud.describe_recording(task_id).get("StorageFileList") or ()) >= 3, "it records", 20
            )
            time.sleep(4)
            muted = time.time()
            alice.mute("audio")
            time.sleep(3)
            alice.mute("audio", False)
            muted_until = time.time()
            time.sleep(4)
            cloud.stop_recording(task_id)
            wait_until(
                lambda: (
                    len(found := list(folder.glob("*.m3u8"))) >= 3 and all("ENDLIST" in p.read_text() for p in found)
                ),
                "all files are there",
                30,
                lambda: sorted(path.name for path in folder.iterdir()) if folder.is_dir() else [],
            )
        except BaseException:
            print(server.tail())
            raise
        yield Recorded(folder, server.data, task_id, (muted, muted_until))


def begin_ms(recorded: Recorded, user: str) -> int:
    names = [file.name for file in read_folder(recorded.folder).of("segment")]
    return min(name.begin_ms for name in names if name.user == encode_id(user) and name.begin_ms is not None)


def test_nothing_is_wrong_with_the_single_streams(recorded: Recorded) -> None:
    said = recorded.typed("recording", "verify", str(recorded.folder))
    assert said["ok"]


def test_everybody_becomes_one_file(recorded: Recorded) -> None:
    files = {Path(file["file"]).name: file for file in recorded.typed("merge", "-f", str(recorded.folder))["files"]}
    alice, bob = sorted(files, key=lambda name: name.endswith(".m4a"))
    assert alice.startswith(f"{encode_id('alice')}_")
    assert alice.endswith("_av.mp4")
    assert bob.startswith(f"{encode_id('bob')}_")
    assert bob.endswith(".m4a")
    for name in files:
        path = recorded.folder / name
        assert probes.decode_all(path) == ""
        assert 11 < probes.duration(path) < 25
    assert recorded.typed("recording", "verify", str(recorded.folder))["ok"], "merged files are known"


def test_picture_and_sound_are_together_and_a_mute_is_silence(recorded: Recorded) -> None:
    made = recorded.typed("merge", "-f", str(recorded.folder), "-m", "1", "-p", "30", "-r", "640", "360")["files"]
    (path,) = (Path(file["file"]) for file in made if file["file"].endswith("_av.mp4"))
    video = next(stream for stream in probes.ffprobe(path)["streams"] if stream["codec_type"] == "video")
    assert (video["width"], video["height"], video["avg_frame_rate"]) == (640, 360, "30/1")
    for at, picture in probes.pictures(path, every_s=1)[2:-2]:
        seen = probes.mean_color(picture, EDGE)
        assert all(abs(mine - wanted) < 40 for mine, wanted in zip(seen, PALETTE[0], strict=True)), f"{seen} at {at}"
    heard = probes.beeps(path)
    apart = probes.offsets(heard, probes.flashes(path, FLASH))
    assert len(apart) >= 5
    assert abs(statistics.mean(apart)) < 0.040, apart
    assert max(map(abs, apart)) < 0.080, apart
    begin_s = begin_ms(recorded, "alice") / 1000
    first, last = (moment - begin_s for moment in recorded.muted)
    samples, rate, start = probes.sound(path)
    quiet = samples[round((first + 0.5 - start) * rate) : round((last - 0.5 - start) * rate)]
    assert abs(quiet).max() < 0.001
