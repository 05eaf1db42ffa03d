"""``rtcloud admin vod``: what is listed, shown and removed, with and without a running server."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from rtcloud.admin.command import AdminError, FailedError, Site
from rtcloud.admin.vod import VodList, VodRemove, VodShow
from rtcloud.rooms.ids import RoomRef
from rtcloud.store.database import open_database
from rtcloud.store.sealing import Sealer
from rtcloud.tasks import records
from rtcloud.tasks.task import NewTask
from rtcloud.vod import store
from rtcloud.vod.entry import Entry, location
from tests.kit.clock import NOW_MS, StillClock

pytestmark = pytest.mark.anyio

REF = RoomRef(1400, True, "77")
ENTRY = Entry(
    task_id="T..", name="a.mp4", ref=REF, user_id="alice", media_id="main", begin_ms=NOW_MS, end_ms=NOW_MS + 1500,
    size=4, arrived_ms=NOW_MS, expires_ms=NOW_MS + 1000, details={"ClassId": 7, "SessionContext": "mine"},
)  # fmt: skip


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    database, unused = open_database(None), None
    folder = tmp_path / "media" / "T.."
    folder.mkdir(parents=True)
    (folder / "a.mp4").write_bytes(b"film")

    def fill(connection: Connection) -> None:
        records.accept(connection, Sealer(bytes(32)), NewTask("T..", "recording", REF, "r", b"", 2**50, 1))
        store.add(connection, ENTRY)

    await database.write(fill)
    parts: Any = unused
    yield Site(parts, database, parts, StillClock(), parts, directory=tmp_path, library_url="https://here/vod")
    await database.close()


async def test_a_file_is_listed_and_shown_with_what_its_request_said(site: Site, tmp_path: Path) -> None:
    listed: Any = await VodList().run(site)
    (line,) = listed
    assert (line["file_id"], line["room"], line["seconds"], line["size"]) == (ENTRY.file_id, "77", 1.5, 4)
    assert (line["arrived"], line["expires"]) == ("2023-11-14T22:13:20Z", "2023-11-14T22:13:21Z")
    assert await VodList(task="T").run(site) == [line]
    assert await VodList(task="U").run(site) == []
    shown: Any = await VodShow(file=ENTRY.file_id).run(site)
    assert shown["url"] == "https://here/vod" + location("T..", "a.mp4")
    assert (shown["user"], shown["media"], shown["there"]) == ("alice", "audio_video main", True)
    assert (shown["path"], shown["ClassId"]) == (str(tmp_path / "media" / "T.." / "a.mp4"), 7)
    alone: Any = await VodShow(file=ENTRY.file_id).run(replace(site, library_url=""))
    assert alone["url"] == "/vod" + location("T..", "a.mp4")


async def test_a_removed_file_is_gone_with_its_folder(site: Site, tmp_path: Path) -> None:
    await VodRemove(file=ENTRY.file_id).run(site)
    assert not (tmp_path / "media" / "T..").exists()
    for command in (VodShow(file=ENTRY.file_id), VodRemove(file=ENTRY.file_id), VodShow(file="' OR 1=1")):
        with pytest.raises(AdminError, match="there is no file"):
            await command.run(site)


async def test_what_cannot_be_removed_is_said(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(path)

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(FailedError, match="cannot be removed"):
        await VodRemove(file=ENTRY.file_id).run(site)
    listed: Any = await VodList().run(site)
    assert len(listed) == 1
