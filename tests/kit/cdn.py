"""A CDN on this machine to push to: ``Cdn`` is nginx with its RTMP module, as ``rtcloud dev cdn`` configures it;
``Listener`` takes one stream by FFmpeg's own RTMP server, also H.265 in Enhanced RTMP, which Debian's nginx cannot.
"""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO
from xml.etree import ElementTree

import av

from rtcloud.dev import cdn
from rtcloud.dev.origin import Origin
from tests.kit.ports import accepts, free_port
from tests.kit.waiting import wait_until

STOP_SECONDS = 10


@dataclass(frozen=True)
class Airing:
    """A stream that is pushed now, as nginx sees it. ``since_ms`` is how long."""

    name: str
    video: str  # codec, "" without
    audio: str
    width: int
    height: int
    bytes_in: int
    since_ms: int
    players: int


class Cdn:
    """``with Cdn(directory) as cdn`` runs; ``kill`` and ``start`` keep its ports."""

    def __init__(self, directory: Path | None = None) -> None:
        self._stack = contextlib.ExitStack()
        if directory is None:
            directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cdn-")))
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        rtmp, http = free_port(), free_port()
        self.origin = Origin(f"127.0.0.1:{rtmp}", f"127.0.0.1:{http}", directory)
        self.port = rtmp
        self._process: subprocess.Popen[bytes] | None = None
        self._log = directory / "nginx.log"
        self._pulled = 0

    def __enter__(self) -> "Cdn":
        cdn.lay_out(self.origin)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        self._stack.close()

    def start(self) -> None:
        assert self._process is None, "it runs already"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*cdn.nginx(), "-c", str(self.directory / "nginx.conf")], stderr=log, start_new_session=True
            )
        wait_until(lambda: accepts(self.port), "the CDN accepts connections", seen=self._log.read_text)

    def kill(self) -> None:
        """At once, with every connection; nothing when it does not run."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
            wait_until(lambda: not accepts(self.port), "the CDN is gone")

    def pause(self) -> None:
        """It takes nothing any more, but keeps its connections, until ``resume``."""
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.killpg(self._process.pid, signal.SIGCONT)

    def url(self, name: str) -> str:
        """Where ``name`` is pushed to and played from."""
        return self.origin.push_address(name)

    def streams(self) -> dict[str, Airing]:
        """What is pushed now, by name. Audio and video are known once their headers came."""
        with urllib.request.urlopen(self.origin.stat_address, timeout=5) as answer:
            found = ElementTree.fromstring(answer.read())
        airings = (_airing(each) for each in found.iter("stream") if each.find("publishing") is not None)
        return {airing.name: airing for airing in airings}

    def wait_for(self, name: str, within: float = 20) -> Airing:
        """Until ``name`` is pushed and its media are known."""

        def known() -> Airing | None:
            airing = self.streams().get(name)
            return airing if airing is not None and (airing.video or airing.audio) else None

        airing = wait_until(known, f"{name} is pushed", within, seen=self.streams)
        assert airing is not None
        return airing

    def pull(self, name: str, seconds: float) -> Path:
        """Record so much of it as a player gets it, from a keyframe on."""
        with self.pulling(name, seconds) as (path, process):
            assert process.wait(seconds + 30) == 0, _said(process)
        return path

    @contextlib.contextmanager
    def pulling(self, name: str, seconds: float = 600) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
        """A recording under way (its first pictures are in the file), which ends with the block: complete then."""
        self._pulled += 1
        path = self.directory / f"{name}-{self._pulled}.flv"
        quick = [
            "-analyzeduration",
            "2200000",
        ]  # a keyframe comes within that; not five seconds for what might come besides
        command = ["ffmpeg", "-v", "error", *quick, "-rtmp_live", "live", "-i", self.url(name), "-t", str(seconds)]
        process = subprocess.Popen(
            [*command, "-c", "copy", "-flush_packets", "1", "-y", str(path)],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with _ended(process):
            wait_until(lambda: process.poll() is not None or _has_media(path), f"{name} can be played", within=20)
            yield path, process
            if process.poll() is None and process.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    process.stdin.write("q")
                    process.stdin.flush()
                process.wait(STOP_SECONDS)


class Listener:
    """Takes the one stream that is pushed to ``url`` and writes it, packet by packet, to ``path`` (Matroska). Complete
    after ``wait``, when the pusher went away, or after the block."""

    def __init__(self, path: Path, name: str = "one") -> None:
        self.path = path
        self.port = free_port()
        self.url = f"rtmp://127.0.0.1:{self.port}/live/{name}"
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Listener":
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.kit.cdn", self.url, str(self.path)],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wait_until(lambda: _is_bound(self.port), "the listener listens")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        with _ended(self._process):
            self._process.wait(STOP_SECONDS)

    def wait(self, within: float = 30) -> Path:
        """Until the pusher went away."""
        assert self._process is not None
        status = self._process.wait(within)
        assert status == 0, _said(self._process, self._process.stdout)
        return self.path


def listen(url: str, path: Path) -> None:
    """In a process of its own: FFmpeg's server takes one publisher and ends with it, or at SIGINT."""
    asked: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _frame: asked.append(number))
    with av.open(url, options={"listen": "1"}) as source, av.open(str(path), "w", format="matroska") as target:
        copies = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        with contextlib.suppress(av.FFmpegError):  # how a connection ends that was not said to end
            for packet in source.demux():
                if asked:
                    break
                if packet.dts is None:
                    continue
                packet.stream = copies[packet.stream.index]
                target.mux(packet)


def _airing(stream: ElementTree.Element) -> Airing:
    def number(path: str) -> int:
        return int(stream.findtext(path) or 0)

    return Airing(
        name=stream.findtext("name") or "",
        video=stream.findtext("meta/video/codec") or "",
        audio=stream.findtext("meta/audio/codec") or "",
        width=number("meta/video/width"),
        height=number("meta/video/height"),
        bytes_in=number("bytes_in"),
        since_ms=number("time"),
        players=max(0, number("nclients") - 1),
    )


def _has_media(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 2000


def _is_bound(port: int) -> bool:
    """Without connecting: the listener takes one connection only."""
    wanted = f"0100007F:{port:04X}"
    return any(line.split()[1] == wanted for line in Path("/proc/net/tcp").read_text().splitlines()[1:])


@contextlib.contextmanager
def _ended(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()


def _said(process: subprocess.Popen[str], pipe: IO[str] | None = None) -> str:
    pipe = pipe or process.stderr
    return "" if pipe is None else pipe.read()[-2000:]


if __name__ == "__main__":
    listen(sys.argv[1], Path(sys.argv[2]))
