"""``rtcloud dev cdn``: what is pushed there is played there, and nothing is left behind."""

import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kit.cdn import Cdn, Listener
from tests.kit.ports import free_port
from tests.kit.server import COMMAND
from tests.kit.waiting import wait_until

pytestmark = pytest.mark.e2e


@contextmanager
def pushed(url: str, *, seconds: int = 60) -> Iterator[subprocess.Popen[bytes]]:
    """A small picture and a tone, in real time."""
    process = subprocess.Popen(
        ["ffmpeg", "-v", "quiet", "-re", "-f", "lavfi", "-i", "testsrc2=s=160x120:r=10", "-f", "lavfi", "-i", "sine"]
        + ["-t", str(seconds), "-c:v", "libx264", "-preset", "ultrafast", "-g", "10", "-pix_fmt", "yuv420p"]
        + ["-c:a", "aac", "-f", "flv", url],
        stdin=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def codecs(path: Path) -> list[str]:
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_a_stream_pushed_to_the_command_is_played_by_rtmp_and_hls(tmp_path: Path) -> None:
    rtmp, http = free_port(), free_port()
    command = [str(COMMAND), "dev", "cdn", "--listen", f"127.0.0.1:{rtmp}", "--http", f"127.0.0.1:{http}"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == f"rtcloud dev cdn ready rtmp://127.0.0.1:{rtmp}/live/\n"
            assert (
                "<title>rtcloud dev cdn"
                in urllib.request.urlopen(f"http://127.0.0.1:{http}/", timeout=5).read().decode()
            )
            with pushed(f"rtmp://127.0.0.1:{rtmp}/live/one"):
                wait_until(lambda: played_by_hls(http, "one"), "HLS is there", within=20)
                recording = tmp_path / "played.flv"
                pull = ["ffmpeg", "-v", "error", "-i", f"rtmp://127.0.0.1:{rtmp}/live/one", "-t", "1", "-c", "copy"]
                subprocess.run([*pull, str(recording)], check=True, timeout=30)
            assert codecs(recording) == ["h264", "aac"]
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 0
    assert list(tmp_path.iterdir()) == [recording]
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(f"http://127.0.0.1:{http}/", timeout=5)


def played_by_hls(http: int, name: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{http}/hls/{name}.m3u8", timeout=5) as answer:
            return re.search(r"^one-\d+\.ts$", answer.read().decode(), re.MULTILINE) is not None
    except urllib.error.HTTPError:
        return False


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--listen", "here"], "listen: 'here' is not HOST:PORT"),
        (["--http", "127.0.0.1:0"], "http: port 0 cannot be pushed to"),
    ],
)
def test_an_address_that_is_none_is_one_line(arguments: list[str], said: str) -> None:
    asked = subprocess.run([str(COMMAND), "dev", "cdn", *arguments], capture_output=True, text=True, timeout=30)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert asked.stderr.startswith(f"rtcloud: {said}")
    assert asked.stderr.count("\n") == 1


def test_a_port_in_use_is_one_line(tmp_path: Path) -> None:
    http = free_port()
    with Cdn(tmp_path) as cdn:
        taken = [str(COMMAND), "dev", "cdn", "--listen", cdn.origin.rtmp, "--http", f"127.0.0.1:{http}"]
        asked = subprocess.run(taken, capture_output=True, text=True, timeout=30)
        assert (asked.returncode, asked.stderr) == (2, f"rtcloud: listen: {cdn.origin.rtmp}: Address already in use\n")


def test_the_cdn_of_tests_dies_and_comes_back_on_its_ports(tmp_path: Path) -> None:
    with Cdn(tmp_path) as cdn:
        with pushed(cdn.url("one")) as pusher:
            airing = cdn.wait_for("one")
            assert (airing.video, airing.audio, airing.width, airing.height) == ("H264", "AAC", 160, 120)
            assert codecs(cdn.pull("one", 1)) == ["h264", "aac"]
            cdn.kill()
            pusher.wait(10)
        cdn.start()
        assert cdn.streams() == {}
        with pushed(cdn.url("one")):
            cdn.wait_for("one")
            with cdn.pulling("one") as (path, _):
                assert path.stat().st_size > 0
            assert codecs(path) == ["h264", "aac"]


def test_the_listener_of_tests_writes_what_is_pushed_to_it(tmp_path: Path) -> None:
    with Listener(tmp_path / "heard.mkv") as listener, pushed(listener.url, seconds=2):
        assert codecs(listener.wait()) == ["h264", "aac"]
