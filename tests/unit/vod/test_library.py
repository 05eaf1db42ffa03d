"""The media library as a stranger meets it: what is given out, what is not, what goes when."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, insert
from starlette.applications import Starlette

from rtcloud import http
from rtcloud.aio import spawn
from rtcloud.rooms.ids import RoomRef
from rtcloud.store import tables
from rtcloud.store.database import Database, open_database
from rtcloud.store.sealing import Sealer
from rtcloud.tasks import records
from rtcloud.tasks.task import NewTask
from rtcloud.vod import serving, store
from rtcloud.vod.entry import Entry, access_key, expiry_ms, file_id, is_segment_of, location
from rtcloud.vod.library import Library
from tests.kit.clock import NOW_MS, StillClock
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio

TASK = "TaskId-of-a-recording.."
REF = RoomRef(1400, True, "77")
SEGMENTS = ("1400_77_20260102030405678.ts", "1400_77_20260102030415678.ts")
MP4 = Entry(
    task_id=TASK, name="1400_77.mp4", ref=REF, begin_ms=1, end_ms=2001, size=10, arrived_ms=NOW_MS,
    details={"ClassId": 2**64 - 1, "SessionContext": "mine"},
)  # fmt: skip
INDEX = replace(MP4, name="1400_77.m3u8", size=7)


class House:
    """A library with an MP4, an index, its segments, and a file that is none of theirs."""

    def __init__(self, database: Database, media: Path) -> None:
        self.database = database
        self.media = media
        self.clock = StillClock()
        self.library = Library(database, media, self.clock)
        transport = httpx.ASGITransport(app=Starlette(routes=serving.routes(self.library)))
        self.client = httpx.AsyncClient(transport=transport, base_url="http://library")

    @property
    def folder(self) -> Path:
        return self.media / TASK

    async def fill(self, *entries: Entry) -> None:
        self.folder.mkdir(parents=True)
        for name in (MP4.name, INDEX.name, *SEGMENTS, "1400_77_notes.ts", "secret.txt"):
            (self.folder / name).write_bytes(b"0123456789")

        def work(connection: Connection) -> None:
            records.accept(connection, Sealer(bytes(32)), NewTask(TASK, "recording", REF, "r", b"", 2**50, 1))
            for name in SEGMENTS:
                values = {"kind": "segment", "attempt": 0, "track_type": "audio_video", "begin_ms": 1, "size": 10}
                connection.execute(insert(tables.task_files).values(task_id=TASK, name=name, **values))
            for entry in entries:
                store.add(connection, entry)
                store.add(connection, entry)  # the same step again

        await self.database.write(work)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(f"/vod{path}", headers=headers)

    def listed(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    database = open_database(None)
    made = House(database, tmp_path / "media")
    yield made
    await made.client.aclose()
    await database.close()


async def test_a_file_is_given_with_its_type_to_every_page_and_in_ranges(house: House) -> None:
    await house.fill(MP4, INDEX)
    for entry, kind in ((MP4, "video/mp4"), (INDEX, "application/vnd.apple.mpegurl")):
        answer = await house.get(location(TASK, entry.name))
        assert (answer.status_code, answer.content) == (200, b"0123456789")
        assert answer.headers["content-type"] == kind
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.headers["x-content-type-options"] == "nosniff"
    at = location(TASK, INDEX.name).rpartition("/")[0]
    segment = await house.get(f"{at}/{SEGMENTS[0]}")
    assert (segment.status_code, segment.headers["content-type"]) == (200, "video/mp2t")
    part = await house.get(location(TASK, MP4.name), range="bytes=2-4")
    assert (part.status_code, part.content, part.headers["content-range"]) == (206, b"234", "bytes 2-4/10")
    assert (await house.get(location(TASK, MP4.name), range="bytes=20-")).status_code == 416
    many = await house.get(location(TASK, MP4.name), range="bytes=" + ",".join(f"{n}-{n}" for n in range(0, 10, 2)))
    assert (many.status_code, many.content) == (200, b"0123456789")
    head = await house.client.head(f"/vod{location(TASK, MP4.name)}")
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "10")
    assert (await house.client.post(f"/vod{location(TASK, MP4.name)}")).status_code == 405


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "/{id}", "/{id}/{key}", "/{id}/{key}/", "/{id}/{other}/1400_77.mp4", "/{id}//1400_77.mp4",
        "/{id}/{short}/1400_77.mp4", "/{id}/{key}/1400_77.m3u8", "/{id}/{key}/1400_77_20260102030405678.ts",
        "/{id}/{key}/secret.txt", "/{id}/{key}/1400_77_notes.ts", "/{id}/{key}/..%2f1400_77.mp4",
        "/{id}/{key}/%2e%2e/1400_77.mp4", "/{id}/{key}/1400_77.mp4%00", "/{id}/%ff/1400_77.mp4",
        "/1000000000000000000/{key}/1400_77.mp4", "/{id}/{blank}/1400_77.mp4", "/%00/{key}/1400_77.mp4",
        "/{index}/{key}/1400_77.mp4", "/{index}/{index_key}/1400_77_notes.ts", "/{index}/{index_key}/1400_77.mp4",
        "/{index}/{index_key}/1400_77_20260102030405678.ts.bak", "/{index}/{index_key}/1400_77_20991231235959999.ts",
        "/{index}/{index_key}/1400_77_..%2f..%2f..%2fx.ts", "/{id}/{key}/" + "x" * 4000,
    ],
)  # fmt: skip
async def test_whatever_else_is_asked_is_not_there(house: House, path: str) -> None:
    await house.fill(MP4, INDEX)
    asked = path.format(
        id=MP4.file_id, key=MP4.key, other=INDEX.key, short=MP4.key[:-1], blank=access_key("", MP4.file_id),
        index=INDEX.file_id, index_key=INDEX.key,
    )  # fmt: skip
    answer = await house.get(asked)
    assert answer.status_code == 404, answer.text
    assert b"0123456789" not in answer.content


async def test_a_link_in_the_place_of_a_file_is_not_followed(house: House, tmp_path: Path) -> None:
    await house.fill(MP4)
    (tmp_path / "outside").write_text("private")
    (house.folder / MP4.name).unlink()
    (house.folder / MP4.name).symlink_to(tmp_path / "outside")
    assert (await house.get(location(TASK, MP4.name))).status_code == 404


async def test_what_has_expired_is_not_there_and_goes_with_the_next_sweep(house: House) -> None:
    await house.fill(replace(MP4, expires_ms=NOW_MS + 2000), replace(INDEX, expires_ms=NOW_MS + 1000))
    assert await house.library.sweep() == 0
    house.clock.ms += 1000
    assert (await house.get(location(TASK, INDEX.name))).status_code == 404
    assert (await house.get(location(TASK, MP4.name))).status_code == 200
    assert await house.library.sweep() == 1
    assert house.listed() == [MP4.name, "1400_77_notes.ts", "secret.txt"]
    house.clock.ms += 1000
    for name in ("1400_77_notes.ts", "secret.txt"):
        (house.folder / name).unlink()
    assert await house.library.sweep() == 1
    assert not house.folder.exists()
    assert await house.database.read(lambda c: store.entries(c)) == []


async def test_what_cannot_be_removed_stays_listed_and_holds_nothing_up(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.fill(replace(MP4, expires_ms=NOW_MS), replace(INDEX, expires_ms=NOW_MS))
    unlink = Path.unlink

    def refuse(path: Path, missing_ok: bool = False) -> None:
        if path.name == MP4.name:
            raise PermissionError(path)
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refuse)
    assert await house.library.sweep() == 1
    assert [entry.name for entry in await house.database.read(lambda c: store.entries(c))] == [MP4.name]
    monkeypatch.undo()
    assert await house.library.sweep() == 1


async def test_a_file_that_went_before_its_row_did_is_no_fault(house: House) -> None:
    """The server died between the two."""
    await house.fill(replace(INDEX, expires_ms=NOW_MS))
    (house.folder / INDEX.name).unlink()
    assert await house.library.sweep() == 1
    assert SEGMENTS[0] not in house.listed()


async def receive_nothing() -> dict[str, Any]:
    await asyncio.sleep(60)
    raise AssertionError("nobody waits so long")


async def test_who_reads_a_file_when_it_goes_reads_it_to_its_end(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await house.fill(MP4)
    monkeypatch.setattr(serving._Reading, "chunk_size", 1)
    got: list[bytes] = []

    async def send(message: dict[str, object]) -> None:
        if message["type"] == "http.response.body":
            got.append(bytes(message["body"]))  # type: ignore[call-overload]
            if len(got) == 1:
                await house.library.remove([MP4])

    path = f"/vod{location(TASK, MP4.name)}"
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    app = Starlette(routes=serving.routes(house.library))
    await app(scope, receive_nothing, send)  # type: ignore[arg-type]
    assert b"".join(got) == b"0123456789"
    assert not (house.folder / MP4.name).exists()


async def test_too_many_readers_and_those_that_stand_still_are_let_go(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    await house.fill(MP4)
    monkeypatch.setattr(serving, "MOST_READERS", 1)
    monkeypatch.setattr(serving, "STALL_SECONDS", 0.2)
    app = Starlette(routes=serving.routes(house.library))
    path = f"/vod{location(TASK, MP4.name)}"
    scope = {"type": "http", "method": "GET", "path": path, "headers": [], "query_string": b""}
    stands = asyncio.Event()

    async def stand_still(message: dict[str, object]) -> None:
        stands.set()
        await asyncio.sleep(60)

    first = asyncio.ensure_future(app(scope, receive_nothing, stand_still))  # type: ignore[arg-type]
    await stands.wait()
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://library") as client:
        assert (await client.get(path)).status_code == 503
        await first
        assert (await client.get(path)).status_code == 200


async def test_the_connection_of_who_stands_still_is_ended(
    house: House, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await house.fill(MP4)
    (house.folder / MP4.name).write_bytes(bytes(16 << 20))
    monkeypatch.setattr(serving, "STALL_SECONDS", 0.3)
    listener = http.bind("127.0.0.1", 0)
    server = http.make_server(Starlette(routes=serving.routes(house.library)))
    running = spawn(server.serve(sockets=[listener]), name="server")
    reader, writer = await asyncio.open_connection(*listener.getsockname())
    writer.write(f"GET /vod{location(TASK, MP4.name)} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")

    async def is_let_go() -> bool:
        return not server.server_state.connections

    await eventually(is_let_go, "its connection is gone", within=10)
    writer.transport.abort()
    server.should_exit = True
    await running
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_an_index_weighs_what_its_segments_weigh(house: House) -> None:
    await house.fill(MP4, INDEX)
    found = await house.database.read(lambda c: store.entries(c, sdk_app_id=1400))
    assert {entry.name: entry.size for entry in found} == {MP4.name: 10, INDEX.name: 27}
    assert found[0].details == MP4.details
    assert await house.database.read(lambda c: store.entries(c, sdk_app_id=1)) == []
    assert len(await house.database.read(lambda c: store.entries(c, task="TaskId-of"))) == 2
    assert await house.database.read(lambda c: store.entries(c, task="TaskId_of%")) == []


@given(st.text(max_size=40), st.text(max_size=80))
def test_ids_are_of_the_documented_form_and_repeatable(task_id: str, name: str) -> None:
    task_id, name = (text.encode(errors="replace").decode() for text in (task_id, name))
    number = file_id(task_id, name)
    assert number == file_id(task_id, name)
    assert len(number) == 19
    assert number.isdigit()
    assert int(number) < 2**63
    assert len(access_key(task_id, name)) == 32
    assert number not in access_key(task_id, name)
    assert location(task_id, name).count("/") == 3
    assert file_id(task_id, name + "x") != number
    assert access_key(task_id + "x", name) != access_key(task_id, name)


def test_expiry_is_a_moment_that_the_database_can_hold() -> None:
    assert expiry_ms(NOW_MS, 0) is None
    assert expiry_ms(NOW_MS, 60) == NOW_MS + 60_000
    assert expiry_ms(NOW_MS, 2**64 - 1) == 2**53


def test_segments_belong_to_the_index_of_their_series() -> None:
    assert is_segment_of("ha1_1400_77.m3u8", "ha1_1400_77_20260102030405678.ts")
    for name in (
        "1400_77_20260102030405678.ts",
        "ha1_1400_77__UserId_s_x__UserId_e_main_video_20260102030405678.ts",
        "ha1_1400_77_2026010203040567.ts",
        "ha1_1400_77_20260102030405678.ts\n",
        "ha1_1400_77_20260102030405678.mp4",
    ):
        assert not is_segment_of("ha1_1400_77.m3u8", name)
