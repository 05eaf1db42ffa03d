"""The page of recordings: what it lists, and that it gives out recorded files and nothing else."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from rtcloud.egress.recording.naming import encode_id
from rtcloud.recordings.page import application
from tests.kit.singles import Track

pytestmark = pytest.mark.anyio

SECRET = "s3cret"


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=application(tmp_path.resolve(), SECRET))
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as opened:
        yield opened


async def test_recordings_below_the_directory_are_listed_with_whose_they_are(
    tmp_path: Path, client: httpx.AsyncClient
) -> None:
    assert "None yet." in (await client.get(f"/{SECRET}/")).text
    folder = tmp_path / "calls" / "<b>task</b>"
    folder.mkdir(parents=True)
    user = "<script>alert(1)</script>"
    track = Track(folder, user).record(0, 1).close()
    (folder / f"{encode_id(user)}_20210531014551884.m4a").write_bytes(b"merged")
    (folder / "notes.txt").write_text("private")
    answer = await client.get(f"/{SECRET}/")
    assert "script-src 'nonce-" in answer.headers["content-security-policy"]
    page = answer.text
    assert "calls/&lt;b&gt;task&lt;/b&gt;" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, main audio, HLS" in page
    assert ", merged, 0.0 MB" in page
    assert "<b>" not in page
    assert "alert(1)<" not in page
    assert "notes" not in page
    assert track.segments[0].name not in page
    assert 'data-src="files/calls/%3Cb%3Etask%3C/b%3E/1400123456_12345__' in page


async def test_a_recorded_file_is_given_with_its_type_and_in_ranges(tmp_path: Path, client: httpx.AsyncClient) -> None:
    track = Track(tmp_path, "").record(0, 1).close()
    index = await client.get(f"/{SECRET}/files/{track.index.name}")
    assert (index.status_code, index.headers["content-type"]) == (200, "application/vnd.apple.mpegurl")
    assert index.text == track.index.read_text()
    part = await client.get(f"/{SECRET}/files/{track.segments[0].name}", headers={"Range": "bytes=0-187"})
    assert (part.status_code, part.headers["content-type"], len(part.content)) == (206, "video/mp2t", 188)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/files/1400_7.mp4",
        "/wrong/",
        f"/{SECRET}/files/notes.txt",
        f"/{SECRET}/files/",
        f"/{SECRET}/files/..%2F1400_8.mp4",
        f"/{SECRET}/files/%2Fetc%2Fpasswd",
        f"/{SECRET}/files/1400_9.mp4",
        f"/{SECRET}/files/1400_10.mp4",
        f"/{SECRET}/files/x%00.mp4",
        f"/{SECRET}/files/{'1' * 5000}.mp4",
    ],
)
async def test_nothing_else_is_given_out(tmp_path: Path, path: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "1400_7.mp4").write_bytes(b"one")
    (root / "notes.txt").write_text("private")
    (tmp_path / "1400_8.mp4").write_bytes(b"outside")
    (root / "1400_9.mp4").symlink_to(tmp_path / "1400_8.mp4")
    (root / "1400_10.mp4").symlink_to(root / "notes.txt")
    transport = httpx.ASGITransport(app=application(root.resolve(), SECRET))
    async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
        assert (await client.get(path)).status_code == 404
        assert (await client.get(f"/{SECRET}/files/1400_7.mp4")).content == b"one"
