"""Pulled sources, through the whole job but for the room: what comes out tells by its pictures and tones what was
played, and when."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from rtcloud.ingest.pull import demuxing, job
from rtcloud.ingest.pull.opening import Guard
from rtcloud.ingest.pull.request import PLAYED_OUT, SOURCE_GONE
from rtcloud.outgoing.dialing import Dialer
from rtcloud.tasks.protocol import FIGURES, Figures
from tests.kit.acts import PALETTE
from tests.kit.cdn import Cdn
from tests.kit.certificates import write_certificate
from tests.kit.footage import FPS, RATE, hz_of, write
from tests.kit.ingested import level, loudest_hz
from tests.kit.media_server import Fault, Site
from tests.kit.pulled import Pulling, Samples, Shown, pulling
from tests.kit.rtsp import Rtsp
from tests.kit.waiting import eventually, wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

SECONDS = 2
FRAME_S = 1 / FPS


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("footage")
    for name in ("a.mp4", "a.mov", "a.mkv", "a.flv", "a.ts"):
        write(directory / name, SECONDS)
    write(directory / "faststart.mp4", SECONDS, options={"movflags": "faststart"})
    write(directory / "b-frames.mp4", SECONDS, b_frames=2)
    write(directory / "vp8.mkv", SECONDS, video="libvpx", audio="libopus")
    write(directory / "a.m4a", SECONDS, video=None, format="ipod")
    write(directory / "a.mp3", SECONDS, video=None, audio="libmp3lame")
    write(directory / "other.mp4", 8, number=2)
    write(directory / "long.mp4", 16)
    write(directory / "long.flv", 8)
    key = directory / "key"
    key.write_bytes(bytes(range(16)))
    (directory / "key.txt").write_text(f"../key\n{key}\n")
    segments = {
        "mpegts": ("%d.ts", {}),
        "fmp4": ("%d.m4s", {"hls_segment_type": "fmp4"}),
        "parts": ("all.m4s", {"hls_segment_type": "fmp4", "hls_flags": "single_file"}),
        "encrypted": ("%d.ts", {"hls_key_info_file": str(directory / "key.txt")}),
    }
    for kind, (name, special) in segments.items():
        (directory / kind).mkdir()
        options = {"hls_time": "1", "hls_playlist_type": "vod", **special}
        options["hls_segment_filename"] = str(directory / kind / name)
        write(directory / kind / "a.m3u8", SECONDS, format="hls", options=options)
    master = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=500000,RESOLUTION=320x180\nmpegts/a.m3u8\n"
    master += "#EXT-X-STREAM-INF:BANDWIDTH=9000000,RESOLUTION=3840x2160\nnone.m3u8\n"
    (directory / "master.m3u8").write_text(master)
    return directory


@pytest.fixture
def site(files: Path) -> Iterator[Site]:
    with Site(files) as made:
        yield made


def counts(shown: list[Shown]) -> list[int | None]:
    return [picture.count for picture in shown]


def assert_in_time(shown: list[Shown]) -> None:
    """Each picture was written when it was due, as far as a busy machine can."""
    late = sorted(picture.written_s - picture.at_s for picture in shown)
    assert late[0] >= -0.002
    assert late[len(late) // 2] < 0.1


def second_of(samples: Samples, begin_s: float, at_s: float) -> Samples:
    """The middle of a second that begins at that moment."""
    at = round((at_s - begin_s + 0.3) * RATE)
    return samples[at : at + RATE * 4 // 10]


def assert_whole(
    pull: Pulling, *, video: str | None = "h264 320x180", audio: bool = True, seconds: int = SECONDS
) -> None:
    """It was played from its beginning to its end, sound and pictures in step."""
    begin = 0.0
    if video is not None:
        assert video in pull.stage.published
        shown = pull.stage.pictures()
        assert counts(shown)[: seconds * FPS - 2] == [number % 60 for number in range(seconds * FPS - 2)]
        assert_in_time(shown)
        steps = [later.at_s - earlier.at_s for earlier, later in zip(shown, shown[1:], strict=False)]
        assert max(abs(step - FRAME_S) for step in steps) < 0.005
        begin = shown[0].at_s
    if audio:
        samples, sound_begin = pull.stage.sound()
        begin = begin or sound_begin
        for second in range(seconds):
            heard = loudest_hz(second_of(samples, sound_begin, begin + second))
            assert abs(heard - hz_of(second)) < 10, (second, heard)
        assert max(pull.stage.gaps("audio")) < 0.03


TABLE = {
    **{name: {} for name in ("a.mp4", "a.mov", "a.mkv", "a.flv", "a.ts", "faststart.mp4", "b-frames.mp4")},
    "vp8.mkv": {"video": "vp8 320x180"},
    "a.m4a": {"video": None},
    "a.mp3": {"video": None},
    "mpegts/a.m3u8": {},
    "fmp4/a.m3u8": {},
    "parts/a.m3u8": {},
    "encrypted/a.m3u8": {},
    "master.m3u8": {},
    "moved.mp4": {},
    "moved.m3u8": {},
}


async def test_every_format_over_http(site: Site, tmp_path: Path) -> None:
    """Several at once: each is a job."""
    site.faults["moved.mp4"] = Fault(redirect=site.url("a.mp4"))
    site.faults["moved.m3u8"] = Fault(redirect="/mpegts/a.m3u8?key=1")  # its segments lie beside where it is

    async def play(name: str, looks: Any) -> None:
        async with pulling(tmp_path / name.replace("/", "-"), site.url(name)) as pull:
            assert await pull.ended() == PLAYED_OUT
        try:
            assert pull.told == ["running"]
            assert_whole(pull, **looks)
        except AssertionError as error:
            raise AssertionError(f"{name}: {pull.shell.events}") from error

    names = list(TABLE.items())
    for at in range(0, len(names), 5):
        await asyncio.gather(*(play(name, looks) for name, looks in names[at : at + 5]))


async def test_https_is_verified_also_where_a_playlist_leads(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted, foreign = (tmp_path / name for name in ("trusted", "foreign"))
    for each in (trusted, foreign):
        each.mkdir()
    ours = write_certificate(trusted, 1)
    context = ssl.create_default_context(cafile=str(ours[0]))
    monkeypatch.setattr(job, "Guard", lambda dialer: Guard(dialer, context))
    with (
        Site(files, certificate=ours) as site,
        Site(files, certificate=write_certificate(foreign, 2)) as other,
    ):
        lead = f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1,\n{other.url('mpegts/0.ts')}\n#EXT-X-ENDLIST\n"
        (files / "leads.m3u8").write_text(lead)
        for name in ("a.mp4", "mpegts/a.m3u8"):
            async with pulling(tmp_path / name.replace("/", "-"), site.url(name)) as pull:
                await pull.wait_for("running")
        for url in (other.url("a.mp4"), site.url("leads.m3u8")):
            async with pulling(tmp_path / f"bad-{url[-6:]}", url) as pull:
                await pull.wait_for("failed")
                assert "certificate" in str(pull.shell.events[-2:] + pull.shell.events[:3])
        assert not [path for path, _ in other.requests]


async def test_rounds_join_and_the_first_begins_where_it_was_asked_for(site: Site, tmp_path: Path) -> None:
    async with (
        pulling(tmp_path / "a", site.url("a.mp4"), repeat_num=2, seek_second=1) as pull,
        pulling(tmp_path / "b", site.url("b-frames.mp4"), repeat_num=2) as reordered,
    ):
        assert await pull.ended() == PLAYED_OUT
        assert await reordered.ended() == PLAYED_OUT
    assert len(pull.stage.stills) == len(reordered.stage.stills) == 1  # those in the room had time to subscribe
    assert counts(reordered.stage.pictures()) == [*range(2 * FPS)] * 2
    assert max(reordered.stage.gaps("video")) <= FRAME_S + 0.06
    assert max(reordered.stage.gaps("audio")) <= 0.02 + 0.06
    shown = pull.stage.pictures()
    assert counts(shown) == [*range(FPS, 2 * FPS), *range(2 * FPS)]
    assert max(pull.stage.gaps("video")) <= FRAME_S + 0.06
    assert max(pull.stage.gaps("audio")) <= 0.02 + 0.06
    samples, begin = pull.stage.sound()
    heard = [loudest_hz(second_of(samples, begin, shown[0].at_s + second)) for second in range(3)]
    assert [round(hz / 10) for hz in heard] == [round(hz_of(second) / 10) for second in (1, 0, 1)]
    assert [path for path, _ in site.requests].count("a.mp4") <= 6


async def test_pause_volume_and_another_address_while_it_plays(site: Site, tmp_path: Path) -> None:
    async with pulling(tmp_path, site.url("long.mp4")) as pull:
        await pull.wait_for_pictures(2 * FPS)
        pull.update(volume=25)
        await asyncio.sleep(1)
        pull.update(is_pause=True)
        await asyncio.sleep(0.3)
        paused = len(pull.stage.written["video"]), len(pull.stage.written["audio"])
        await asyncio.sleep(1)
        assert (len(pull.stage.written["video"]), len(pull.stage.written["audio"])) == paused
        assert pull.stage.is_open
        pull.update(is_pause=False, volume=0)
        await asyncio.sleep(1)
        site.faults["other.mp4"] = Fault(status=503, lasts=1)
        pull.update(stream_url=site.url("other.mp4"), url_revision=1, volume=100)
        await pull.wait_for_pictures(paused[0] + 3 * FPS)
    shown = pull.stage.pictures()
    pause = max(range(1, len(shown)), key=lambda index: shown[index].at_s - shown[index - 1].at_s)
    assert shown[pause].at_s - shown[pause - 1].at_s > 1
    switch = next(index for index, picture in enumerate(shown) if _is_of(picture, 2))
    before = shown[:switch]
    assert counts(before) == [number % 60 for number in range(len(before))]
    assert counts(shown[switch:]) == [number % 60 for number in range(len(shown) - switch)]
    # the old one was seen while the new one could not be had
    assert pull.told == ["running", "failed", "again", "running"]
    assert shown[switch].at_s - shown[switch - 1].at_s < 0.5
    samples, begin = pull.stage.sound()
    pauses = shown[pause - 1].at_s

    def loudness(at_s: float) -> float:
        at = round((at_s - begin) * RATE)
        return level(samples[at : at + RATE // 5])

    full, quarter, silence, other = (
        loudness(moment) for moment in (shown[FPS].at_s, pauses - 0.5, shown[switch].at_s - 0.4, shown[-1].at_s - 0.4)
    )
    assert 0.2 < quarter / full < 0.3
    assert silence < 0.01
    assert abs(other / full - 1) < 0.2


def _is_of(picture: Shown, number: int) -> bool:
    return max(abs(a - b) for a, b in zip(picture.color, PALETTE[number], strict=True)) < 40


async def test_a_file_whose_server_dies_goes_on_where_it_was(site: Site, tmp_path: Path) -> None:
    site.faults["long.mp4"] = Fault(rate=(site.directory / "long.mp4").stat().st_size // 5)
    async with pulling(tmp_path, site.url("long.mp4")) as pull:
        await pull.wait_for_pictures(FPS)
        site.stop()
        await pull.wait_for("failed")
        await asyncio.sleep(0.5)
        site.start()
        await pull.wait_for_pictures(7 * FPS, within=25)
    shown = pull.stage.pictures()
    assert counts(shown) == [number % 60 for number in range(len(shown))]
    assert pull.told[0] == "running"
    assert pull.told[-1] == "running"
    assert pull.told.count("failed") == 1


async def test_what_cannot_be_had_is_given_up_and_told(site: Site, tmp_path: Path) -> None:
    """From the start, and as another address while something plays, which ends meanwhile."""
    began = time.monotonic()
    async with (
        pulling(tmp_path / "first", site.url("nothing.mp4")) as first,
        pulling(tmp_path / "other", site.url("a.mp4")) as other,
    ):
        await other.wait_for_pictures(1)
        other.update(stream_url=site.url("nothing.mp4"), url_revision=1)
        assert await first.ended() == SOURCE_GONE
        assert 4 <= time.monotonic() - began < 8
        assert await other.ended() == SOURCE_GONE
    assert first.told == ["failed", "again"] * 3
    assert other.told == ["running", *["failed", "again"] * 3]
    assert counts(other.stage.pictures()) == [*range(SECONDS * FPS)]
    assert not first.stage.is_open
    assert "127.0.0.1" not in str(first.shell.events)


async def shows(pull: Pulling, kinds: set[str]) -> None:
    """The operator sees such streams."""
    figures = pull.shell.directory / FIGURES

    async def seen() -> bool:
        read = await asyncio.to_thread(lambda: figures.read_bytes() if figures.exists() else b"")
        return bool(read) and set(msgspec.json.decode(read, type=Figures).streams) == kinds

    await eventually(seen, f"{kinds} are shown")


async def test_another_address_may_have_less_to_see(site: Site, tmp_path: Path) -> None:
    async with pulling(tmp_path, site.url("long.mp4"), repeat_num=3) as pull:
        await pull.wait_for_pictures(FPS)
        await shows(pull, {"video", "audio"})
        pull.update(stream_url=site.url("a.mp3"), url_revision=1)
        await shows(pull, {"audio"})
        assert await pull.ended() == PLAYED_OUT
    assert pull.stage.published == ["h264 320x180", "opus", "no video"] or (
        pull.stage.published == ["opus", "h264 320x180", "no video"]
    )


async def test_the_next_attempt_goes_on_where_the_last_one_was(site: Site, tmp_path: Path) -> None:
    async with pulling(tmp_path, site.url("long.mp4")) as first:
        await first.wait_for_pictures(3 * FPS)
        first.shell.instructions.put_nowait(None)
        assert await first.ended() is None
    async with pulling(tmp_path, site.url("long.mp4"), attempt=1) as second:
        await second.wait_for_pictures(FPS)
    last, next_ = first.stage.pictures()[-1].count, second.stage.pictures()[0].count
    assert last is not None
    assert next_ is not None
    assert -2 <= (last - next_ + FPS) % 60 - FPS <= 2 * FPS


@contextlib.contextmanager
def looping(file: Path, *target: str) -> Iterator[None]:
    """FFmpeg plays it for ever, in real time, to there."""
    command = ["ffmpeg", "-v", "error", "-re", "-stream_loop", "-1", "-i", str(file), "-c", "copy", *target]
    process = subprocess.Popen(command)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def test_live_streams_over_rtmp_rtsp_and_hls(files: Path, tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    playlist = tmp_path / "live" / "a.m3u8"
    segments = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "3", "-hls_flags", "delete_segments"]

    async def play(name: str, url: str) -> Pulling:
        async with pulling(tmp_path / name, url) as pull:
            await pull.wait_for_pictures(2 * FPS)
            if name == "rtmp":
                pull.update(is_pause=True)
                await asyncio.sleep(2)
                pull.update(is_pause=False)
            await pull.wait_for_pictures(5 * FPS, within=20)
        return pull

    with (
        Cdn(tmp_path / "cdn") as cdn,
        Rtsp(files / "long.flv", tmp_path) as rtsp,
        looping(files / "long.flv", "-f", "flv", cdn.url("x")),
        looping(files / "long.flv", *segments, str(playlist)),
        Site(tmp_path / "live") as site,
        Site(files, ranges=False, sized=False) as stream,
    ):
        await asyncio.to_thread(cdn.wait_for, "x")
        await asyncio.to_thread(wait_until, lambda: playlist.exists() and "2.ts" in playlist.read_text(), "segments")
        urls = {"rtmp": cdn.url("x"), "rtsp": rtsp.url, "hls": site.url("a.m3u8"), "flv": stream.url("long.flv")}
        pulls = await asyncio.gather(*(play(name, url) for name, url in urls.items()))
    for name, pull in zip(urls, pulls, strict=True):
        shown = pull.stage.pictures()
        gaps = [later.at_s - earlier.at_s for earlier, later in zip(shown, shown[1:], strict=False)]
        assert [gap > 1 for gap in gaps].count(True) == (1 if name == "rtmp" else 0), (name, gaps)
        for earlier, later in zip(shown, shown[1:], strict=False):
            # what came while it stood is left out: it goes on live
            assert earlier.count is not None
            assert later.count is not None
            ahead = later.count - earlier.count - (later.at_s - earlier.at_s) * FPS
            assert -FPS <= (ahead + 30) % 60 - 30 <= FPS, (name, earlier, later)
        assert pull.told == ["running"], (name, pull.shell.events)
        assert_in_time(shown)


async def test_a_live_playlist_that_is_finished_is_played_out(files: Path, tmp_path: Path) -> None:
    (tmp_path / "live").mkdir()
    playlist = tmp_path / "live" / "a.m3u8"
    with (
        looping(files / "long.flv", "-t", "6", "-f", "hls", "-hls_time", "1", "-hls_list_size", "0", str(playlist)),
        Site(tmp_path / "live") as site,
    ):
        await asyncio.to_thread(wait_until, lambda: playlist.exists() and "1.ts" in playlist.read_text(), "segments")
        async with pulling(tmp_path, site.url("a.m3u8"), repeat_num=-1) as pull:
            assert await pull.ended() == PLAYED_OUT
    assert pull.told == ["running"]
    assert pull.stage.pictures()[-1].count == (6 * FPS - 1) % 60


async def test_a_live_stream_that_dies_and_returns(files: Path, tmp_path: Path) -> None:
    with Cdn(tmp_path / "cdn") as cdn:
        target = "-f", "flv", cdn.url("x")
        async with contextlib.AsyncExitStack() as held:
            with looping(files / "long.flv", *target):
                await asyncio.to_thread(cdn.wait_for, "x")
                pull = await held.enter_async_context(pulling(tmp_path, cdn.url("x")))
                await pull.wait_for_pictures(FPS)
            await pull.wait_for("failed")
            with looping(files / "long.flv", *target):
                await pull.wait_for_pictures(len(pull.stage.written["video"]) + 2 * FPS, within=30)
            assert [pull.told[0], pull.told.count("failed")] == ["running", 1]
            assert pull.told.index("again") < len(pull.told) - 1 - pull.told[::-1].index("running")


BAD = {
    "a redirect without end": ("redirects", "too many redirects"),
    "a head of gigabytes": ("large-head", "too large a head"),
    "a file that is no media": ("text.txt", "no media|cannot be read"),
    "a playlist that names a file": ("file.m3u8", "not HTTP"),
    "a playlist of playlists without end": ("self.m3u8", ""),
    "a redirect to another protocol": ("inside", "not HTTP"),
    "a file of files": ("concat.mp4", "no media|cannot be read"),
    "a byte now and then": ("slow.mp4", "too little in its time"),
    "a beginning of gigabytes": ("large.mp4", "its beginning is too large"),
}


async def test_bad_sources_end_the_attempt_soon_and_in_words_that_name_no_address(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demuxing, "OPEN_WITHIN", 2.0)
    monkeypatch.setattr(demuxing, "OPEN_BYTES", 4 << 20)
    bad = tmp_path / "bad"
    bad.mkdir()
    (bad / "text.txt").write_text("hello\n" * 100_000)
    (bad / "file.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n")
    (bad / "self.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nself.m3u8\n#EXT-X-ENDLIST\n")
    (bad / "concat.mp4").write_text("ffconcat version 1.0\nfile /etc/hosts\n")
    for name in ("large-head", "slow.mp4"):
        (bad / name).write_bytes((files / "a.mp4").read_bytes())
    with Site(bad) as site:
        site.faults["redirects"] = Fault(redirect=site.url("redirects"))
        site.faults["inside"] = Fault(redirect="gopher://127.0.0.1/")
        site.faults["slow.mp4"] = Fault(rate=20)
        with (bad / "large.mp4").open("wb") as large:
            large.write(bytes.fromhex("00000018667479706d703432000000006d70343269736f6d"))
            large.write(bytes.fromhex("000000016d6f6f760000000200000000"))
            for _ in range(6):
                large.write(
                    (1 << 20).to_bytes(4, "big") + b"udta" + (b"\0\0\0\x10abcd12345678" * (1 << 16))[: (1 << 20) - 8]
                )
            large.truncate(6 << 30)
        site.faults["large-head"] = Fault(head=5 << 30)
        for what, (name, words) in BAD.items():
            async with pulling(tmp_path / name, site.url(name)) as pull:
                await pull.wait_for("failed", within=20)
                said = [str(event) for event in pull.shell.events if "failed" in str(event)]
                assert any(word in said[0] for word in words.split("|")), (what, said)
                assert "127.0.0.1" not in said[0]

    async def none_demuxes() -> bool:
        return not any(thread.name == "pull-demux" for thread in threading.enumerate())

    await eventually(none_demuxes, "all threads have ended")


async def test_private_addresses_are_refused(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "Guard", lambda _dialer: Guard(Dialer(allow_private=False)))
    for url in (site.url("a.mp4"), f"rtmp://127.0.0.1:{site.port}/a/b", f"rtsp://127.0.0.1:{site.port}/a"):
        async with pulling(tmp_path / url[:4], url) as pull:
            await pull.wait_for("failed")
            assert "the address is private" in str(pull.shell.events)
    assert not site.requests


async def test_a_redirect_of_rtsp_is_not_followed(files: Path, tmp_path: Path) -> None:
    with (
        Rtsp(files / "long.flv", tmp_path) as target,
        Rtsp(files / "long.flv", tmp_path, redirect=target.url) as rtsp,
    ):
        async with pulling(tmp_path / "pull", rtsp.url) as pull:
            await pull.wait_for("failed", within=30)
        assert not target.requests


async def test_a_fault_of_ours_ends_the_attempt_and_says_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise LookupError("a fault")

    monkeypatch.setattr(job, "open_source", broken)
    async with pulling(tmp_path, "http://127.0.0.1:9/") as pull:
        with pytest.raises(LookupError):
            await pull.ended()
    assert pull.leave_code is None
