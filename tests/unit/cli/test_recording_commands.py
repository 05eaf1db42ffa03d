"""``rtcloud recording``: what the operator sees of recorded files, in memory and of files that lie here."""

import json
import shlex
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, insert, update

from rtcloud import cli
from rtcloud.accounts.sessions import Sessions
from rtcloud.accounts.store import Accounts
from rtcloud.admin import arguments, tables
from rtcloud.admin.command import AdminError, Site
from rtcloud.admin.commands import decode, perform
from rtcloud.egress.filing import CloudStorage
from rtcloud.egress.recording import request
from rtcloud.rooms.ids import RoomRef
from rtcloud.store import tables as tables_of_store
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import open_database
from rtcloud.store.sealing import Sealer
from rtcloud.tasks import records
from rtcloud.tasks.task import NewTask
from tests.kit.clock import NOW_MS, StillClock
from tests.kit.singles import Track

pytestmark = pytest.mark.anyio


@dataclass
class Operator:
    """Types commands of ``rtcloud recording``; they go over the wire's encoding."""

    site: Site
    sealer: Sealer
    now_ms: int = NOW_MS
    access_key: str = "AKIDOLD"

    async def keys(self, task_id: str) -> tuple[str, str]:
        """That a task has for its bucket."""
        task = await self.site.database.read(lambda connection: records.load(connection, self.sealer, task_id))
        assert task is not None
        storage = request.decode(task.params).storage_params.cloud_storage
        assert storage is not None
        return storage.access_key, storage.secret_key

    async def does(self, line: str) -> Any:
        parser = arguments.Parser(prog="rtcloud")
        arguments.add_recording_parsers(parser)
        typed = arguments.made_from(parser.parse_args(shlex.split(line)))
        answer = await perform(decode(msgspec.json.encode(typed)), self.site)
        assert tables.render(answer)
        return answer

    async def fails(self, line: str, said: str) -> None:
        with pytest.raises(AdminError, match=said):
            await self.does(line)

    async def recorded(self, task_id: str, *files: dict[str, Any], state: str = "running") -> Path:
        """A task whose files go to ``DIR/files/bucket/calls/{task_id}``, which is given."""
        asked = request.RecordingRequest(
            sdk_app_id=self.app,
            room_id="7",
            user_id="robot",
            record_params=request.RecordParams(record_mode=2),
            storage_params=request.StorageParams(
                cloud_storage=CloudStorage(
                    vendor=0,
                    region="r",
                    bucket="bucket",
                    access_key=self.access_key,
                    secret_key="hidden",
                    file_name_prefix=("calls",),
                )
            ),
        )
        new = NewTask(
            task_id=task_id,
            kind="recording",
            ref=RoomRef(self.app, True, "7"),
            user_id="robot",
            params=request.encode(asked),
            expires_ms=NOW_MS,
            now_ms=self.now_ms,
        )
        self.now_ms += 1

        def work(connection: Connection) -> None:
            records.accept(connection, self.sealer, new)
            tasks = tables_of_store.tasks
            connection.execute(update(tasks).where(tasks.c.task_id == task_id).values(state=state, attempts=1))
            for file in files:
                connection.execute(insert(tables_of_store.task_files).values(task_id=task_id, attempt=0, **file))

        await self.site.database.write(work)
        assert self.site.directory is not None
        return self.site.directory / "files" / "bucket" / "calls" / task_id

    @property
    def app(self) -> int:
        return self.site.accounts.applications()[0].sdk_app_id


def file(name: str, kind: str, begin: int = 0, end: int | None = 10_000, **more: Any) -> dict[str, Any]:
    end_ms = None if end is None else NOW_MS + end
    known = {"track_type": "audio_video", "size": 100, "uploaded_ms": NOW_MS} | more
    return {"name": name, "kind": kind, "begin_ms": NOW_MS + begin, "end_ms": end_ms, **known}


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operator]:
    database, clock, sealer = open_database(None), StillClock(), Sealer(bytes(32))
    try:
        accounts = await Accounts.load(database, sealer, clock)
        await accounts.ensure_first(NOW_MS)
        sessions = Sessions(sealer, accounts)
        site = Site(accounts, database, LocalBus(), clock, sessions, directory=tmp_path, sealer=sealer)
        yield Operator(site, sealer)
    finally:
        await database.close()


async def test_other_keys_are_given_to_a_task_and_to_those_with_the_same(operator: Operator, tmp_path: Path) -> None:
    old, new = ("AKIDOLD", "hidden"), ("AKIDNEW", "also-hidden")
    for task_id, state in (("one", "running"), ("two", "uploading"), ("ended", "ended")):
        await operator.recorded(task_id, file("a.ts", "segment"), state=state)
    operator.access_key = "AKIDOTHER"
    await operator.recorded("stranger", file("a.ts", "segment"))
    keys = tmp_path / "keys.txt"
    keys.write_text("\n".join(new))
    assert await operator.does(f"rekey one --keys {keys}") == {"changed": ["one"]}
    assert [await operator.keys(task_id) for task_id in ("one", "two", "ended")] == [new, old, old]
    await operator.recorded("three")
    operator.access_key = "AKIDOLD"
    await operator.recorded("four")
    with operator.site.bus.subscribe(records.KEYS_TOPIC) as hints:
        assert await operator.does(f"rekey two --same --keys {keys}") == {"changed": ["two", "four"]}
        assert {*await hints.wait(0)} == {"two", "four"}
    assert await operator.keys("two") == await operator.keys("four") == new
    assert (await operator.keys("stranger"))[0] == (await operator.keys("three"))[0] == "AKIDOTHER"
    await operator.fails(f"rekey ended --keys {keys}", "has ended")
    await operator.fails(f"rekey nobody --keys {keys}", "no task")


@pytest.mark.parametrize("content", ["", "one", "one\ntwo\nthree", "one\nzw\u00f6lf", f"one\n{'k' * 513}"])
async def test_what_are_no_keys_is_refused(operator: Operator, tmp_path: Path, content: str) -> None:
    await operator.recorded("one", file("a.ts", "segment"))
    keys = tmp_path / "keys.txt"
    keys.write_text(content)
    with pytest.raises((AdminError, SystemExit)):
        await operator.does(f"rekey one --keys {keys}")
    assert await operator.keys("one") == ("AKIDOLD", "hidden")


async def test_what_was_recorded_is_listed_with_what_still_waits(operator: Operator) -> None:
    assert await operator.does("") == await operator.does("ls") == []
    await operator.recorded("empty")
    await operator.recorded(
        "mixed",
        file("1400_7_1.ts", "segment"),
        file("1400_7_2.ts", "segment", 10_000, 12_500, uploaded_ms=None),
        file("kept.ts", "segment", wanted=False),
        state="ended",
    )
    await operator.recorded(
        "single", file("a.ts", "segment", user_id="a"), file("b.ts", "segment", end=None, user_id="b", size=0)
    )
    first, second = await operator.does("ls")
    assert first == {
        "task_id": "mixed",
        "kind": "recording",
        "application": operator.app,
        "room": "7",
        "state": "ended",
        "began": "2023-11-14T22:13:20Z",
        "seconds": 12,
        "users": "mixed",
        "files": 2,
        "size": 200,
        "waiting": 1,
        "why": None,
    }
    assert (second["task_id"], second["users"], second["size"]) == ("single", 2, 100)
    assert [line["task_id"] for line in await operator.does("ls --live")] == ["single"]
    assert len(await operator.does(f"ls --app {operator.app}")) == 2
    await operator.fails("ls --app 1", "application")


async def test_a_recordings_files_are_shown_with_their_place_and_no_key(operator: Operator) -> None:
    place = await operator.recorded(
        "one",
        file("1400_7.m3u8", "index", size=7),
        file("1400_7_1.ts", "segment"),
        file("1400_7__UserId_s_YQ..__UserId_e_aux.mp4", "mp4", 5, 5005, user_id="a", media_id="aux", uploaded_ms=None),
    )
    shown = await operator.does("show o")
    assert (shown["bucket"], shown["folder"], shown["directory"]) == ("bucket", "calls/one", None)
    assert (shown["seconds"], shown["size"], shown["waiting"], shown["live"]) == (10.0, 207, 1, True)
    assert shown["files"] == [
        {"name": "1400_7.m3u8", "user": None, "media": "audio_video", "seconds": 10.0, "size": 7, "stored": True},
        {
            "name": "1400_7__UserId_s_YQ..__UserId_e_aux.mp4",
            "user": "a",
            "media": "audio_video aux",
            "seconds": 5.0,
            "size": 100,
            "stored": False,
        },
    ]
    assert "hidden" not in str(shown)
    place.mkdir(parents=True)
    shown = await operator.does("show one --segments")
    assert shown["directory"] == str(place)
    assert len(shown["files"]) == 3


async def test_a_task_without_files_and_one_that_is_none_are_told_apart(operator: Operator) -> None:
    await operator.recorded("empty")
    await operator.fails("show empty", "task empty has no files of a recording")
    await operator.fails("show nothing", "there is no task 'nothing'")


# Verifying ---------------------------------------------------------------------------------------------------------


def test_a_directory_is_verified_with_every_recording_below_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        track = Track(tmp_path / name, "", "audiovideo").record(0, 1).close()
    assert cli.main(["recording", "verify", str(tmp_path)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:2] == [f"{tmp_path}/a:", f"      {track.segments[0].name}: 1.00 s, h264 160x90, aac"]
    assert said[-1] == "4 files, nothing is wrong"
    (tmp_path / "b" / track.segments[0].name).unlink()
    (tmp_path / "b" / "\x1b[2J.ts").write_bytes(b"")
    assert cli.main(["recording", "verify", str(tmp_path)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert f"FAIL  {track.index.name}: missing: {track.segments[0].name} is not there" in said
    assert "FAIL  \\x1b[2J.ts: name: recorded files are not named so" in said
    assert said[-1] == "4 files, 2 with faults"


def test_findings_are_told_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    track = Track(tmp_path, "", "audiovideo").record(0, 1)
    assert cli.main(["recording", "verify", str(tmp_path), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert said["ok"] is False
    ((index, segment),) = (each["files"] for each in said["recordings"])
    assert (index["name"], index["ok"], index["findings"][0]["check"]) == (track.index.name, False, "index")
    assert (segment["ok"], segment["findings"]) == (True, [])
    assert [stream["codec"] for stream in segment["streams"]] == ["h264", "aac"]


@pytest.mark.parametrize(
    ("what", "said"),
    [
        (lambda folder: str(folder), "there are no recorded files in it"),
        (lambda folder: str(folder / "none"), "there is no such directory"),
        (lambda folder: "3f9a", "not a data directory of rtcloud"),
    ],
)
def test_nothing_to_verify_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: Callable[[Path], str], said: str
) -> None:
    assert cli.main(["recording", "verify", what(tmp_path), "--data", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert (said in printed.err, printed.err.count("\n")) == (True, 1)


async def test_a_tasks_files_are_compared_with_its_records(
    operator: Operator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    known = [file("1400_7.m3u8", "index"), file("1400_7_20210531014551884.ts", "segment")]
    place = await operator.recorded("one", *known, state="ended")
    shown = await operator.does("show one --segments")

    def asked(*_: object) -> Any:
        return shown

    monkeypatch.setattr(cli, "_asked", asked)
    assert cli.main(["recording", "verify", "one"]) == 2
    assert "(bucket/calls/one) do not lie on this machine" in capsys.readouterr().err
    place.mkdir(parents=True)
    track = Track(place, "", "audiovideo").record(0, 1).close()
    (place / track.index.name).rename(place / "1400_7.m3u8")
    shown = await operator.does("show one --segments")
    assert cli.main(["recording", "verify", "one"]) == 1
    said = capsys.readouterr().out
    assert "FAIL  1400_7.m3u8: size: it has" in said
    assert "FAIL  1400_7_20210531014551884.ts: missing: it was stored, and is not there" in said
    assert f"note  {track.segments[0].name}: name: the task's records do not know it" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["there/is/none"], "there is no such directory"),
        (["3f9a"], "not a data directory of rtcloud"),
        ([".", "--listen", "nowhere"], "'nowhere' is not HOST:PORT"),
    ],
)
def test_nothing_to_play_is_a_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert cli.main(["recording", "play", *arguments, "--data", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert (said in printed.err, printed.err.count("\n")) == (True, 1)
