"""What every object store does, and that no key leaves the local one's root."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.store.objects import LocalObjects, MemoryObjects, Objects, StorageError, safe_key, safe_segment
from tests.kit.disk import SmallDisk

pytestmark = pytest.mark.contract

KEY = ["bucket-1250000000", "prefix1", "中 文", "task==..", "ha1_1400_77_20330531094551825.ts"]
HOSTILE = [
    "..",
    ".",
    "",
    "../../etc",
    "/",
    "a/b",
    "a\\b",
    "nul\0",
    "x" * 1000,
    "é" * 500,
    "\ud800",
    "#1",
    "%2e%2e",
    "\n",
]


@pytest.fixture(params=["local", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> Objects:
    return LocalObjects(tmp_path / "files") if request.param == "local" else MemoryObjects()


async def read(objects: Objects, key: Sequence[str]) -> bytes:
    if isinstance(objects, MemoryObjects):
        return await objects.read(key)
    assert isinstance(objects, LocalObjects)
    return objects.path(key).read_bytes()


def test_what_was_put_is_there_and_can_be_replaced(objects: Objects, tmp_path: Path) -> None:
    async def scenario() -> None:
        source = tmp_path / "source"
        for content in (b"first", b"second, longer", b""):
            source.write_bytes(content)
            await objects.put(KEY, source)
            assert await read(objects, KEY) == content

    asyncio.run(scenario())


def test_a_large_file_arrives_whole(objects: Objects, tmp_path: Path) -> None:
    async def scenario() -> None:
        source, content = tmp_path / "source", bytes(range(256)) * 60_000
        source.write_bytes(content)
        await objects.put(KEY, source)
        assert await read(objects, KEY) == content

    asyncio.run(scenario())


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_separate_objects_inside_the_store(objects: Objects, tmp_path: Path, name: str) -> None:
    async def scenario() -> None:
        source = tmp_path / "source"
        source.write_bytes(b"x")
        await objects.put([name, name, "task", name], source)
        assert await read(objects, [name, name, "task", name]) == b"x"

    asyncio.run(scenario())
    outside = {path.name for path in tmp_path.iterdir()} - {"files", "source"}
    assert outside == set()


def test_a_missing_source_is_a_storage_error(objects: Objects, tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        asyncio.run(objects.put(KEY, tmp_path / "absent"))


def test_an_unwritable_store_is_a_storage_error_in_one_line(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path / "files")
    (tmp_path / "files" / KEY[0]).write_bytes(b"a file where a folder should be")
    source = tmp_path / "source"
    source.write_bytes(b"x")
    with pytest.raises(StorageError) as caught:
        asyncio.run(objects.put(KEY, source))
    assert "\n" not in caught.value.message
    assert len(caught.value.message) <= 500


def test_drafts_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    objects = LocalObjects(tmp_path / "files")
    source = tmp_path / "source"
    source.write_bytes(b"x")
    objects.path(KEY).parent.mkdir(parents=True)
    objects.path(KEY).with_name(KEY[-1] + "#1").write_bytes(b"half")
    asyncio.run(objects.put(KEY, source))
    assert [path.name for path in objects.path(KEY).parent.iterdir()] == [KEY[-1]]


def test_usual_names_stay_as_they_are() -> None:
    assert safe_key(KEY) == "/".join(KEY)


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_key_is_always_as_many_plain_segments(segments: list[str]) -> None:
    parts = safe_key(segments).split("/")
    assert len(parts) == len(segments)
    for part in parts:
        assert part not in ("", ".", "..")
        assert "\0" not in part
        assert len(part.encode()) <= 250


@given(st.text(alphabet="./%\\\0ab", max_size=6), st.text(alphabet="./\\\0ab", max_size=6))
def test_names_without_escapes_stay_distinct(one: str, other: str) -> None:
    if "%" not in one and one != other:
        assert safe_segment(one) != safe_segment(other)


def test_a_disk_that_is_full_is_told_and_keeps_nothing_of_the_file(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(bytes(2 << 20))
    with SmallDisk(tmp_path / "disk", 1) as disk:
        objects, free = LocalObjects(disk.path / "files"), disk.free
        for _ in range(2):
            with pytest.raises(StorageError) as caught:
                asyncio.run(objects.put(KEY, source))
            assert caught.value.code == "DiskFull"
        assert free - disk.free < 64 << 10  # directories
        source.write_bytes(b"small")
        asyncio.run(objects.put(KEY, source))
        assert objects.path(KEY).read_bytes() == b"small"
