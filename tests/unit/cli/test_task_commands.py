"""``rtcloud task``: what the operator sees of tasks and their jobs, in memory."""

import asyncio
import base64
import shlex
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from sqlalchemy import Connection, update

from rtcloud.accounts.sessions import Sessions
from rtcloud.accounts.store import Accounts
from rtcloud.admin import arguments, tables
from rtcloud.admin.command import AdminError, Site
from rtcloud.admin.commands import decode, perform
from rtcloud.ingest.pull.request import IngestRequest, encode
from rtcloud.rooms.ids import AUTO_RECORDER, RoomRef
from rtcloud.store import tables as tables_of_store
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import open_database
from rtcloud.store.sealing import Sealer
from rtcloud.tasks import listing, records
from rtcloud.tasks.protocol import FIGURES, PREVIEW, PREVIEW_REQUEST, Figures
from rtcloud.tasks.task import NewTask
from rtcloud.whip.sessions import Publisher
from tests.kit.clock import NOW_MS, StillClock

pytestmark = pytest.mark.anyio

ROWS = tables_of_store.tasks


class Operator:
    """Types commands of ``rtcloud task``; they go over the wire's encoding."""

    def __init__(self, site: Site, clock: StillClock, sealer: Sealer) -> None:
        assert site.directory is not None
        self.site = site
        self.clock = clock
        self.sealer = sealer
        self.spool = site.directory / "spool"
        self.app = site.accounts.applications()[0].sdk_app_id
        self._parser = arguments.Parser(prog="rtcloud")
        arguments.add_task_parsers(self._parser)
        self._ingest = arguments.Parser(prog="rtcloud ingest")
        arguments.add_ingest_parsers(self._ingest)

    async def does(self, line: str) -> Any:
        """Those of ``rtcloud ingest`` begin with that word."""
        noun, _, rest = line.partition(" ")
        parser, words = (self._ingest, rest) if noun == "ingest" else (self._parser, line)
        typed = arguments.made_from(parser.parse_args(shlex.split(words)))
        answer = await perform(decode(msgspec.json.encode(typed)), self.site)
        assert tables.render(answer)
        return answer

    async def fails(self, line: str, said: str) -> None:
        with pytest.raises(AdminError, match=said):
            await self.does(line)

    async def task(
        self,
        task_id: str,
        state: str = "running",
        *,
        room: str = "7",
        robot: str = "robot",
        kind: str = "relay",
        params: bytes = b"{}",
    ) -> Path:
        """The directory of its only attempt."""
        new = NewTask(
            task_id=task_id,
            kind=kind,
            ref=RoomRef(self.app, True, room),
            user_id=robot,
            params=params,
            expires_ms=NOW_MS,
            now_ms=self.clock.ms,
        )
        self.clock.ms += 1

        def work(connection: Connection) -> None:
            records.accept(connection, self.sealer, new)
            connection.execute(update(ROWS).where(ROWS.c.task_id == task_id).values(state=state, attempts=1))

        await self.site.database.write(work)
        directory = self.spool / task_id / "0"
        directory.mkdir(parents=True)
        return directory

    def said(self, directory: Path, **figures: Any) -> None:
        (directory / FIGURES).write_bytes(msgspec.json.encode(Figures(at_ms=self.clock.ms, **figures)))


@pytest.fixture
async def operator(tmp_path: Path) -> AsyncIterator[Operator]:
    database, clock, sealer = open_database(None), StillClock(), Sealer(bytes(32))
    try:
        accounts = await Accounts.load(database, sealer, clock)
        await accounts.ensure_first(NOW_MS)
        site = Site(
            accounts, database, LocalBus(), clock, Sessions(sealer, accounts), directory=tmp_path, sealer=sealer
        )
        yield Operator(site, clock, sealer)
    finally:
        await database.close()


async def test_tasks_are_listed_with_what_their_jobs_say_and_without_keys(operator: Operator) -> None:
    assert await operator.does("") == await operator.does("ls") == []
    directory = await operator.task("first")
    operator.said(
        directory,
        cpu=0.456,
        fps=14.96,
        bitrate=1_234_567,
        delay_ms=321,
        inputs=3,
        outputs={"rtmp://cdn.example:1935/live/a?key=hidden": 2, "rtmps://other.example/hidden": 3, "room 9": 2},
    )
    (line,) = await operator.does("ls")
    assert line == {
        "task_id": "first",
        "kind": "relay",
        "by": "api",
        "application": operator.app,
        "room": "7",
        "robot": "robot",
        "state": "running",
        "since": "2023-11-14T22:13:20Z",
        "attempts": 1,
        "cpu": 0.46,
        "fps": 15.0,
        "kbit/s": 1235,
        "delay ms": 321,
        "streams": "",
        "outputs": "2 running, 1 recovering",
    }
    shown = await operator.does("show first")
    assert shown["outputs"] == [
        {"to": "rtmp://cdn.example:1935/…", "status": "running"},
        {"to": "rtmps://other.example/…", "status": "recovering"},
        {"to": "room 9", "status": "running"},
    ]
    assert shown["inputs"] == 3
    assert "hidden" not in str(shown)


async def test_automatic_recordings_are_told_from_those_that_somebody_asked_for(operator: Operator) -> None:
    await operator.task("asked")
    await operator.task("by itself", robot=AUTO_RECORDER)
    assert [line["by"] for line in await operator.does("ls")] == ["api", "auto"]


async def test_ended_tasks_and_other_applications_are_shown_on_request(operator: Operator) -> None:
    await operator.task("old", "ended")
    await operator.task("new")
    assert [line["task_id"] for line in await operator.does("ls")] == ["new"]
    assert [line["task_id"] for line in await operator.does("ls --all")] == ["old", "new"]
    assert len(await operator.does(f"ls --all --app {operator.app}")) == 2
    await operator.fails("ls --app 1", "application")


@pytest.mark.parametrize("content", [b"", b"{", b'{"at_ms": 1, "cpu": 1}', b'{"at_ms": "x"}', b"[" * 100_000])
async def test_figures_that_are_old_or_broken_are_none(operator: Operator, content: bytes) -> None:
    directory = await operator.task("first")
    (directory / FIGURES).write_bytes(content)
    (line,) = await operator.does("ls")
    assert (line["cpu"], line["outputs"]) == (None, "")


async def test_the_beginning_of_an_id_is_enough_while_one_task_has_it(operator: Operator) -> None:
    await operator.task("abc1", "ended")
    await operator.task("abc2")
    await operator.task("ABD_")
    await operator.task("abx%")
    assert (await operator.does("show abc"))["task_id"] == "abc2"  # the one that has not ended
    assert (await operator.does("show abc1"))["task_id"] == "abc1"
    assert (await operator.does("show A"))["task_id"] == "ABD_"
    await operator.fails("show ab", "2 tasks begin with 'ab'")
    await operator.fails("show a%", "there is no task 'a%'")
    await operator.fails("show ABDx", "there is no task")
    await operator.fails("show ''", "begin with")


async def test_a_task_is_stopped_once(operator: Operator) -> None:
    await operator.task("first")
    await operator.task("old", "ended")
    with operator.site.bus.subscribe(records.TOPIC) as heard:
        assert await operator.does("stop first") == {"task_id": "first", "state": "stopping"}
        assert await heard.wait(0) == ["first"]
    assert (await operator.does("show first"))["state"] == "stopping"
    await operator.fails("stop old", "task old has ended")


async def test_a_preview_is_asked_of_the_job_and_what_lay_there_before_is_not_taken(operator: Operator) -> None:
    directory = await operator.task("first")
    (directory / PREVIEW).write_bytes(b"old")

    async def answer() -> None:
        while not (directory / PREVIEW_REQUEST).exists():
            await asyncio.sleep(0.001)
        (directory / "new").write_bytes(b"picture")
        (directory / "new").replace(directory / PREVIEW)
        (directory / PREVIEW_REQUEST).unlink()

    answered, _ = await asyncio.gather(operator.does("preview first"), answer())
    assert base64.b64decode(answered["picture"]) == b"picture"


async def test_a_preview_that_cannot_be_had_says_why_and_takes_its_request_back(
    operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = await operator.task("silent")
    monkeypatch.setattr(listing, "_POLL_SECONDS", 0)
    clock = operator.clock
    sleep = asyncio.sleep

    async def pass_time(_seconds: float) -> None:
        clock.ms += 1000
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", pass_time)
    await operator.fails("preview silent", "gave no picture within 5 s")
    assert not (directory / PREVIEW_REQUEST).exists()
    await operator.task("waiting", "accepted")
    await operator.fails("preview waiting", r"is not running \(accepted\)")
    directory.rmdir()
    await operator.fails("preview silent", "has no directory here")


async def test_what_comes_in_is_listed_with_its_source_and_what_becomes_of_it(operator: Operator) -> None:
    assert await operator.does("ingest") == []
    url = "https://user:hidden@media.example:8443/hidden.mp4?key=hidden"
    request = IngestRequest(sdk_app_id=operator.app, room_id="7", user_id="film", stream_url=url)
    directory = await operator.task("pulled", robot="film", kind="ingest", params=encode(request))
    streams = {"video": "h264 1280x720, transcoded: B-frames", "audio": "opus 48000 Hz stereo, copied"}
    operator.said(directory, cpu=0.3, fps=25, bitrate=2_000_000, delay_ms=180, streams=streams)
    await operator.task("pushed", robot="obs", kind="push", params=b'{"ticket":"hidden"}')
    await operator.task("relay")
    pulled, pushed = await operator.does("ingest ls")
    assert pulled == {
        "task_id": "pulled",
        "kind": "ingest",
        "application": operator.app,
        "room": "7",
        "user": "film",
        "from": "https://media.example:8443",
        "state": "running",
        "since": "2023-11-14T22:13:20Z",
        "video": "h264 1280x720, transcoded: B-frames",
        "audio": "opus 48000 Hz stereo, copied",
        "fps": 25,
        "kbit/s": 2000,
        "delay ms": 180,
        "cpu": 0.3,
    }
    assert (pushed["kind"], pushed["user"], pushed["from"], pushed["video"]) == ("push", "obs", "rtmp push", "")
    assert [line["by"] for line in await operator.does("ls")] == ["api", "client", "api"]
    assert (await operator.does("ls"))[0]["streams"] == "; ".join(streams.values())
    shown = await operator.does("show pulled")
    assert {one["kind"]: one["handling"] for one in shown["streams"]} == streams
    assert "hidden" not in str([pulled, pushed, shown, await operator.does("ls")])


async def test_what_comes_in_is_stopped_and_nothing_else(operator: Operator) -> None:
    await operator.task("pushed", kind="push")
    await operator.task("mixed")
    assert await operator.does("ingest stop pus") == {"task_id": "pushed", "state": "stopping"}
    await operator.fails("ingest stop mixed", "task mixed is a relay: rtcloud task stop")
    await operator.fails("ingest stop nobody", "there is no task 'nobody'")
    assert {line["task_id"]: line["state"] for line in await operator.does("ls")} == {
        "pushed": "stopping",
        "mixed": "running",
    }


async def test_who_publishes_by_whip_is_listed_behind_the_tasks(operator: Operator) -> None:
    await operator.task("pushed", kind="push")
    ref = RoomRef(operator.app, False, "lobby")
    found = [Publisher(ref, "obs", NOW_MS, True, frozenset({"video"}))]
    found += [Publisher(RoomRef(operator.app + 1, True, "8"), "other", NOW_MS, False, frozenset({"audio"}))]
    operator.site = replace(operator.site, publishers=lambda: found)
    _, obs, other = await operator.does("ingest")
    assert (obs["kind"], obs["user"], obs["room"], obs["state"]) == ("whip", "obs", "lobby", "running")
    assert (obs["task_id"], obs["from"], obs["video"], obs["audio"]) == ("", "whip", "as it comes", "")
    assert (other["state"], other["audio"]) == ("connecting", "as it comes")
    assert [line["user"] for line in await operator.does(f"ingest ls --app {operator.app}")] == ["robot", "obs"]
