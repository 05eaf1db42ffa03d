"""Mixing: the recorder's compositor, decoders and encoders beside one ``ffmpeg`` command that does the same work.

Both read the same files (H.264 720p30 and Opus per person), scale each picture into its cell of one 720p30 canvas, mix
the sound, encode H.264 (veryfast, zerolatency, one thread) and AAC, and write HLS. The figure is CPU time (user and
system) of the whole process, start-up included; medians, ours and FFmpeg's runs in turn. The whole job is measured in a
real room: the same files are published over WebRTC, and its process's CPU time per second is set against FFmpeg's.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benches._mix_room import job_core
from benches.figures import Figure

ROOT = Path(__file__).parent.parent
WIDTH, HEIGHT, FPS = 1280, 720, 30
BITRATE, AUDIO_BITRATE, GOP_SECONDS = 1_500_000, 64_000, 2
PEOPLE, SECONDS, RUNS = 4, 20, 5
BUDGET, JOB_BUDGET = 1.2, 1.4


def run(people: int = PEOPLE, seconds: int = SECONDS, runs: int = RUNS) -> list[Figure]:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise FileNotFoundError("the ffmpeg command is needed to compare with")
    with tempfile.TemporaryDirectory(prefix="rtcloud-mix-") as name:
        directory = Path(name)
        for person in range(people):
            make_person(ffmpeg, directory, person, seconds)
        ours, theirs = [], []
        for _ in range(runs):
            theirs.append(cpu_seconds(ffmpeg_command(ffmpeg, directory, people)))
            ours.append(cpu_seconds(our_command(directory, people)))
        job = job_core(directory, people, runs, WIDTH, HEIGHT, FPS)
    our_cpu, their_cpu = statistics.median(ours), statistics.median(theirs)
    what = f"{people} × 720p30 to 720p30"
    return [
        Figure("mix", f"{what}, ours", our_cpu / seconds, "core"),
        Figure("mix", f"{what}, ffmpeg", their_cpu / seconds, "core"),
        Figure("mix", f"{what}, ours to ffmpeg", our_cpu / their_cpu, "times", BUDGET),
        Figure("mix", f"{what}, whole job with WebRTC", job, "core"),
        Figure("mix", f"{what}, whole job to ffmpeg", job / (their_cpu / seconds), "times", JOB_BUDGET),
    ]


def make_person(ffmpeg: str, directory: Path, person: int, seconds: int) -> None:
    """A moving picture with some noise, as a camera has it, and a tone."""
    source = f"testsrc2=size={WIDTH}x{HEIGHT}:rate={FPS},noise=alls=8:allf=t,hue=h={person * 80}"
    sound = f"sine=frequency={300 + 110 * person}:sample_rate=48000"
    _execute(
        [ffmpeg, "-y", "-v", "error", "-f", "lavfi", "-i", source, "-t", str(seconds)]
        + ["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "baseline"]
        + ["-pix_fmt", "yuv420p", "-b:v", "1500k", "-maxrate", "1500k", "-bufsize", "1500k", "-g", "60"]
        + ["-x264-params", "aud=1", str(directory / f"{person}.h264")]
    )
    _execute(
        [ffmpeg, "-y", "-v", "error", "-f", "lavfi", "-i", sound, "-t", str(seconds)]
        + ["-c:a", "libopus", "-b:a", "32k", str(directory / f"{person}.ogg")]
    )


def ffmpeg_command(ffmpeg: str, directory: Path, people: int) -> list[str]:
    side = {1: 1, 2: 2, 4: 2, 9: 3, 16: 4}[people]
    width, height = WIDTH // side & ~1, (HEIGHT if people == 2 else HEIGHT // side) & ~1
    command = [ffmpeg, "-y", "-v", "error", "-nostdin"]
    for person in range(people):
        command += ["-threads", "1", "-r", str(FPS), "-i", str(directory / f"{person}.h264")]
    for person in range(people):
        command += ["-threads", "1", "-i", str(directory / f"{person}.ogg")]
    crop = f"crop={HEIGHT * width // height & ~1}:{HEIGHT}," if people == 2 else ""
    filters = [f"[{n}:v]{crop}scale={width}:{height}:flags=bilinear[v{n}]" for n in range(people)]
    cells = "|".join(f"{n % side * width}_{n // side * height}" for n in range(people))
    pictures = "".join(f"[v{n}]" for n in range(people))
    sounds = "".join(f"[{people + n}:a]" for n in range(people))
    stack = f"{pictures}xstack=inputs={people}:layout={cells}[v]" if people > 1 else "[v0]null[v]"
    filters += [stack, f"{sounds}amix=inputs={people}:normalize=0,aformat=channel_layouts=stereo[a]"]
    return [
        *command,
        *("-filter_complex_threads", "1", "-filter_threads", "1", "-filter_complex", ";".join(filters)),
        *("-map", "[v]", "-map", "[a]", "-r", str(FPS)),
        *("-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "main", "-threads", "1"),
        *("-b:v", str(BITRATE), "-maxrate", str(BITRATE * 3 // 2), "-bufsize", str(BITRATE * 2)),
        *("-g", str(GOP_SECONDS * FPS), "-sc_threshold", "0"),
        *("-c:a", "aac", "-b:a", str(AUDIO_BITRATE), "-ar", "48000"),
        *("-f", "hls", "-hls_time", "10", "-hls_list_size", "0", str(directory / "theirs.m3u8")),
    ]


def our_command(directory: Path, people: int) -> list[str]:
    return [sys.executable, "-m", "benches._mix_ours", str(directory), str(people)]


def cpu_seconds(command: list[str]) -> float:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    process = subprocess.Popen(command, env=os.environ | {"PYTHONPATH": paths})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"mix: {command[0]} ended with status {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def _execute(command: list[str]) -> None:
    subprocess.run(command, check=True)
