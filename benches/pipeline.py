"""What a stream that comes in costs before the room: copied pictures, AAC to Opus, and pictures encoded anew beside one
``ffmpeg`` command that does the same.

CPU time (user and system) of a whole process per second of media, a short run's taken off a long one's, so that
start-up counts for neither; medians, ours and FFmpeg's runs in turn.
"""

import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benches.figures import Figure, table
from benches.mix import cpu_seconds

WIDTH, HEIGHT, FPS, BITRATE = 1280, 720, 30, 2_073_600
SECONDS, SHORT_SECONDS, RUNS = 20, 4, 3
COPY_BUDGET, TRANSCODE_BUDGET = 0.03, 1.1


def run() -> list[Figure]:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise FileNotFoundError("the ffmpeg command is needed to compare with")
    with tempfile.TemporaryDirectory(prefix="rtcloud-pipeline-") as name:
        plain, with_b_frames = Path(name) / "plain.flv", Path(name) / "b.flv"
        make(ffmpeg, plain, "baseline")
        make(ffmpeg, with_b_frames, "high")
        commands = {
            "copied": lambda seconds: ours(plain, "video", seconds),
            "sound": lambda seconds: ours(plain, "audio", seconds),
            "anew": lambda seconds: ours(with_b_frames, "video", seconds),
            "theirs": lambda seconds: theirs(ffmpeg, with_b_frames, seconds),
        }
        spent: dict[str, list[float]] = {each: [] for each in commands}
        for _ in range(RUNS):
            for each, command in commands.items():
                long, short = cpu_seconds(command(SECONDS)), cpu_seconds(command(SHORT_SECONDS))
                spent[each].append((long - short) / (SECONDS - SHORT_SECONDS))
    cores = {each: statistics.median(values) for each, values in spent.items()}
    return [
        Figure("pipeline", "720p30 copied", cores["copied"], "core", COPY_BUDGET),
        Figure("pipeline", "AAC to Opus, 48 kHz stereo", cores["sound"], "core"),
        Figure("pipeline", "720p30 with B-frames, encoded anew", cores["anew"], "core"),
        Figure(
            "pipeline",
            "720p30 with B-frames, ours to ffmpeg",
            cores["anew"] / cores["theirs"],
            "times",
            TRANSCODE_BUDGET,
        ),
    ]


def make(ffmpeg: str, path: Path, profile: str) -> None:
    """A moving picture with some noise, as a camera has it, and a tone."""
    source = f"testsrc2=size={WIDTH}x{HEIGHT}:rate={FPS},noise=alls=8:allf=t"
    subprocess.run(
        [ffmpeg, "-y", "-v", "error", "-f", "lavfi", "-i", source]
        + ["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000", "-t", str(SECONDS)]
        + ["-c:v", "libx264", "-preset", "veryfast", "-profile:v", profile, "-pix_fmt", "yuv420p"]
        + ["-b:v", "2500k", "-maxrate", "2500k", "-bufsize", "2500k", "-g", "60"]
        + ["-c:a", "aac", "-b:a", "128k", "-ac", "2", str(path)],
        check=True,
    )


def ours(path: Path, kind: str, seconds: int) -> list[str]:
    return [sys.executable, "-m", "benches._pipeline_ours", str(path), kind, str(seconds)]


def theirs(ffmpeg: str, path: Path, seconds: int) -> list[str]:
    return [
        *(ffmpeg, "-y", "-v", "error", "-nostdin", "-threads", "1", "-i", str(path), "-t", str(seconds), "-an"),
        *("-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "baseline", "-threads", "1"),
        *("-b:v", str(BITRATE), "-maxrate", str(BITRATE * 3 // 2), "-bufsize", str(BITRATE * 2)),
        *("-g", str(2 * FPS), "-sc_threshold", "0", "-f", "null", "-"),
    ]


if __name__ == "__main__":
    print(table(run()))
