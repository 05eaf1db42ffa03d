"""``rtcloud task`` as an operator uses it on a relay that runs: what it does, what it shows, and its end."""

import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.kit.acts import PALETTE, Act
from tests.kit.house import House, Relay, open_house
from tests.kit.relaying import HEIGHT, WIDTH
from tests.kit.server import COMMAND
from tests.kit.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 6400


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with open_house(tmp_path_factory.mktemp("task-commands")) as opened:
        yield opened
        assert opened.is_empty()


@pytest.fixture(scope="module")
def relay(house: House) -> Relay:
    house.stage.enter(ROOM, "alice", Act(0))
    relay = house.relay(ROOM, "shown", robot="watcher")
    house.cdn.wait_for("shown")
    return relay


def typed(house: House, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
    command = [str(COMMAND), "task", *arguments, "--data", str(house.server.data)]
    return subprocess.run(command, capture_output=True, timeout=30, cwd=cwd)


def answered(house: House, *arguments: str) -> Any:
    done = typed(house, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(house: House, *arguments: str) -> str:
    """What is said: one line."""
    done = typed(house, *arguments)
    assert (done.returncode, done.stdout, done.stderr.count(b"\n")) == (2, b"", 1)
    return done.stderr.decode().removeprefix("rtcloud: ").rstrip("\n")


def test_a_running_relay_is_listed_with_what_it_does(house: House, relay: Relay) -> None:
    def told() -> dict[str, Any] | None:
        found = next(line for line in answered(house, "ls") if line["task_id"] == relay.task_id)
        return found if found["outputs"] == "1 running" and found["fps"] and found["delay ms"] else None

    line = wait_until(told, "its job says how it does", seen=lambda: answered(house, "ls"))
    assert line is not None
    assert (line["kind"], line["room"], line["robot"], line["state"]) == ("relay", str(ROOM), "watcher", "running")
    assert line["application"] == house.server.sdk_app_id
    assert line["attempts"] == 1
    assert 0 < line["cpu"] < 2
    assert 10 < line["fps"] < 20
    assert line["kbit/s"] > 10
    assert line["delay ms"] < 2000
    table = typed(house).stdout.decode()
    assert relay.task_id in table
    assert "1 running" in table


def test_one_task_is_shown_by_the_beginning_of_its_id_and_without_the_keys_of_its_outputs(
    house: House, relay: Relay
) -> None:
    shown = answered(house, "show", relay.task_id[:8])
    assert shown["task_id"] == relay.task_id
    assert shown["outputs"] == [{"to": f"127.0.0.1:{house.cdn.port}", "status": "running"}]
    assert Path(shown["spool"]).is_dir()
    assert refused(house, "show", "no-such-task") == "there is no task 'no-such-task'"


def test_its_picture_is_written_to_a_file(house: House, relay: Relay, tmp_path: Path) -> None:
    done = typed(house, "preview", relay.task_id[:8], "-o", "now.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "now.png").read_bytes()
    assert done.stdout.decode() == f"now.png: {len(written)} bytes\n"
    with Image.open(io.BytesIO(written)) as picture:
        assert (picture.format, picture.size) == ("PNG", (WIDTH, HEIGHT))
        seen = picture.convert("RGB").getpixel((8, HEIGHT // 2))
    assert isinstance(seen, tuple)
    assert all(abs(mine - wanted) < 40 for mine, wanted in zip(seen, PALETTE[0], strict=True)), seen
    standard = typed(house, "preview", relay.task_id, "-o", "-")
    assert standard.stdout.startswith(b"\x89PNG")
    assert "No such file or directory" in refused(house, "preview", relay.task_id, "-o", str(tmp_path / "no" / "x.png"))


def test_it_is_stopped_once(house: House, relay: Relay) -> None:
    assert answered(house, "stop", relay.task_id[:8]) == {"task_id": relay.task_id, "state": "stopping"}
    wait_until(lambda: answered(house, "ls") == [], "it has ended", 20, lambda: answered(house, "ls"))
    (line,) = answered(house, "ls", "--all")
    assert (line["task_id"], line["state"], line["cpu"]) == (relay.task_id, "ended", None)
    assert refused(house, "stop", relay.task_id) == f"task {relay.task_id} has ended"
    assert "is not running (ended)" in refused(house, "preview", relay.task_id)


def test_tasks_are_listed_without_a_server_too(tmp_path: Path) -> None:
    data = tmp_path / "nothing"
    command = [str(COMMAND), "task", "ls", "--data", str(data)]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert asked.returncode == 2
    assert "not a data directory of rtcloud" in asked.stderr
