"""FFmpeg that pushes into a room: a flash and a beep at each full second of its own, so that both can be compared."""

import signal
import subprocess
from typing import Self

from tests.kit.server import Server

FLASH_S = 0.2
BEEP_HZ = 1000
PICTURES = f"color=black:size=320x180:rate=30,drawbox=color=white:t=fill:enable='lt(mod(t,1),{FLASH_S})'"
SOUND = f"aevalsrc='0.5*sin(2*PI*{BEEP_HZ}*t)*lt(mod(t,1),{FLASH_S})':sample_rate=44100:channel_layout=stereo"
BASELINE = ("-profile:v", "baseline")
B_FRAMES = ("-profile:v", "high", "-bf", "2", "-b_strategy", "0")


class FfmpegPush:
    """``with FfmpegPush(url):`` pushes until it is stopped, or the server ends it. ``video`` are options of x264."""

    def __init__(
        self,
        url: str,
        *more: str,
        video: tuple[str, ...] = BASELINE,
        pictures: str = PICTURES,
        sound: str = SOUND,
    ) -> None:
        inputs = ["-f", "lavfi", "-i", pictures, "-f", "lavfi", "-i", sound]
        encoders = ["-c:v", "libx264", "-preset", "ultrafast", *video, "-pix_fmt", "yuv420p", "-g", "30"]
        self._command = ["ffmpeg", "-hide_banner", "-v", "info", "-nostats", "-re", *inputs, *encoders]
        self._command += ["-c:a", "aac", "-b:a", "96k", *more, "-f", "flv", url]
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._running()
        if process.poll() is None:
            process.kill()
        process.wait(10)
        if process.stderr is not None:
            process.stderr.close()

    def stop(self) -> str:
        """As a user does; what it said."""
        self._running().send_signal(signal.SIGINT)
        return self.wait()

    def wait(self, within: float = 20.0) -> str:
        """Until it ends by itself; what it said."""
        _, said = self._running().communicate(timeout=within)
        return said

    @property
    def status(self) -> int | None:
        return self._running().poll()

    def _running(self) -> subprocess.Popen[str]:
        assert self._process is not None
        return self._process


def push_url(server: Server, port: int, room: str | int, user_id: str, **fields: str) -> str:
    """The documented address; ``fields`` replace or add parameters."""
    parameters = {"sdkappid": str(server.sdk_app_id), "userid": user_id, "usersig": ""}
    if isinstance(room, int):
        parameters["use_number_room_id"] = "1"
    parameters |= fields
    parameters["usersig"] = parameters["usersig"] or server.user_sig(user_id)
    query = "&".join(f"{name}={value}" for name, value in parameters.items())
    return f"rtmp://127.0.0.1:{port}/push/{room}?{query}"
