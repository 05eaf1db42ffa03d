"""Mixing: our decoders, compositor and encoders beside one ``ffmpeg`` command that does the same work.

Both read the same files (H.264 720p30 and Opus per person), scale each picture into its cell of one canvas, mix the
sound, encode H.264 (veryfast, zerolatency, one thread) and AAC, and write nothing. The figure is CPU time (user and
system) of a whole process per second of media, a short run's taken off a long one's, so that start-up counts for
neither; medians, ours and FFmpeg's runs in turn. Two more rows: the same mix fed with simulcast layers of its cells'
size, as a room gives them, beside FFmpeg on the large pictures; and the whole job in a real room, where the same files
are published over WebRTC.

``python -m benches.mix --people 1 4 --outputs 720p 1080p --seconds 20 --runs 5`` measures other cases.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benches._mix_room import job_core
from benches.figures import Figure, table

ROOT = Path(__file__).parent.parent
WIDTH, HEIGHT, FPS = 1280, 720, 30
AUDIO_BITRATE, GOP_SECONDS = 64_000, 2
#: people there are files of; more are these again
FACES = 4
SECONDS, SHORT_SECONDS, RUNS = 10, 2, 3
BUDGET, JOB_BUDGET, LAYERS_BUDGET = 1.1, 1.3, 0.65


@dataclass(frozen=True, slots=True)
class Case:
    people: int
    width: int
    height: int

    @property
    def bitrate(self) -> int:
        return 1_500_000 if self.height <= 720 else 3_000_000

    @property
    def side(self) -> int:
        return {1: 1, 4: 2, 9: 3, 16: 4}[self.people]

    @property
    def cell(self) -> tuple[int, int]:
        return self.width // self.side & ~1, self.height // self.side & ~1

    def __str__(self) -> str:
        return f"{self.people} × 720p30 to {self.height}p30"


OUTPUTS = {"720p": (1280, 720), "1080p": (1920, 1080)}
CASES = (*(Case(people, *OUTPUTS["720p"]) for people in (1, 4, 9, 16)), Case(4, *OUTPUTS["1080p"]))
LAYERS_CASE = Case(16, *OUTPUTS["720p"])
JOB_CASE = Case(4, *OUTPUTS["720p"])


def run(
    cases: Sequence[Case] = CASES, seconds: int = SECONDS, runs: int = RUNS, *, with_job: bool = True
) -> list[Figure]:
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        raise FileNotFoundError("the ffmpeg command is needed to compare with")
    with tempfile.TemporaryDirectory(prefix="rtcloud-mix-") as name:
        material = Material(ffmpeg, Path(name), seconds, runs)
        figures = [figure for case in cases for figure in material.compare(case)]
        if with_job:
            case, theirs = JOB_CASE, material.theirs[JOB_CASE]
            job = job_core(material.people(WIDTH, HEIGHT), case.people, 3, WIDTH, HEIGHT, FPS)
            figures += [
                Figure("mix", f"{case}, whole job with WebRTC", job, "core"),
                Figure("mix", f"{case}, whole job to ffmpeg", job / theirs, "times", JOB_BUDGET),
            ]
    return figures


class Material:
    """The files, and what was measured with them."""

    def __init__(self, ffmpeg: str, directory: Path, seconds: int, runs: int) -> None:
        self._ffmpeg = ffmpeg
        self._directory = directory
        self._seconds = seconds
        self._runs = runs
        self.theirs: dict[Case, float] = {}

    def people(self, width: int, height: int) -> Path:
        folder = self._directory / f"{width}x{height}"
        if not folder.exists():
            folder.mkdir()
            for person in range(FACES):
                make_person(self._ffmpeg, folder, person, self._seconds, width, height)
        return folder

    def compare(self, case: Case) -> list[Figure]:
        large = self.people(WIDTH, HEIGHT)
        commands = {
            "theirs": lambda seconds: ffmpeg_command(self._ffmpeg, large, case, seconds),
            "ours": lambda seconds: our_command(large, case, seconds),
        }
        if case == LAYERS_CASE:
            small = self.people(*case.cell)
            commands["layers"] = lambda seconds: our_command(small, case, seconds)
        spent: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(self._runs):
            for name, command in commands.items():
                long, short = cpu_seconds(command(self._seconds)), cpu_seconds(command(SHORT_SECONDS))
                spent[name].append((long - short) / (self._seconds - SHORT_SECONDS))
        cores = {name: statistics.median(values) for name, values in spent.items()}
        self.theirs[case] = theirs = cores["theirs"]
        figures = [
            Figure("mix", f"{case}, ffmpeg", theirs, "core"),
            Figure("mix", f"{case}, ours", cores["ours"], "core"),
            Figure("mix", f"{case}, ours to ffmpeg", cores["ours"] / theirs, "times", BUDGET),
        ]
        if "layers" in cores:
            what = f"{case}, ours from layers of {'×'.join(map(str, case.cell))} to ffmpeg from 720p"
            figures.append(Figure("mix", what, cores["layers"] / theirs, "times", LAYERS_BUDGET))
        return figures


def make_person(ffmpeg: str, directory: Path, person: int, seconds: int, width: int, height: int) -> None:
    """A moving picture with some noise, as a camera has it, and a tone."""
    source = f"testsrc2=size={WIDTH}x{HEIGHT}:rate={FPS},noise=alls=8:allf=t,hue=h={person * 80}"
    sound = f"sine=frequency={300 + 110 * person}:sample_rate=48000"
    bitrate = "1500k" if height >= 720 else "200k"
    _execute(
        [ffmpeg, "-y", "-v", "error", "-f", "lavfi", "-i", source, "-t", str(seconds), "-s", f"{width}x{height}"]
        + ["-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "baseline"]
        + ["-pix_fmt", "yuv420p", "-b:v", bitrate, "-maxrate", bitrate, "-bufsize", bitrate, "-g", "60"]
        + ["-x264-params", "aud=1", str(directory / f"{person}.h264")]
    )
    _execute(
        [ffmpeg, "-y", "-v", "error", "-f", "lavfi", "-i", sound, "-t", str(seconds)]
        + ["-c:a", "libopus", "-b:a", "32k", str(directory / f"{person}.ogg")]
    )


def ffmpeg_command(ffmpeg: str, directory: Path, case: Case, seconds: int) -> list[str]:
    people, (width, height) = case.people, case.cell
    command = [ffmpeg, "-y", "-v", "error", "-nostdin"]
    for person in range(people):
        command += ["-threads", "1", "-r", str(FPS), "-i", str(directory / f"{person % FACES}.h264")]
    for person in range(people):
        command += ["-threads", "1", "-i", str(directory / f"{person % FACES}.ogg")]
    filters = [f"[{n}:v]scale={width}:{height}:flags=bilinear[v{n}]" for n in range(people)]
    cells = "|".join(f"{n % case.side * width}_{n // case.side * height}" for n in range(people))
    pictures = "".join(f"[v{n}]" for n in range(people))
    sounds = "".join(f"[{people + n}:a]" for n in range(people))
    whole = f",pad={case.width}:{case.height}" if width * case.side < case.width else ""
    stack = f"{pictures}xstack=inputs={people}:layout={cells}{whole}[v]" if people > 1 else "[v0]null[v]"
    filters += [stack, f"{sounds}amix=inputs={people}:normalize=0,aformat=channel_layouts=stereo[a]"]
    return [
        *command,
        *("-filter_complex_threads", "1", "-filter_threads", "1", "-filter_complex", ";".join(filters)),
        *("-map", "[v]", "-map", "[a]", "-r", str(FPS), "-t", str(seconds)),
        *("-c:v", "libx264", "-preset", "veryfast", "-tune", "zerolatency", "-profile:v", "main", "-threads", "1"),
        *("-b:v", str(case.bitrate), "-maxrate", str(case.bitrate * 3 // 2), "-bufsize", str(case.bitrate * 2)),
        *("-g", str(GOP_SECONDS * FPS), "-sc_threshold", "0"),
        *("-c:a", "aac", "-b:a", str(AUDIO_BITRATE), "-ar", "48000"),
        *("-f", "null", "-"),
    ]


def our_command(directory: Path, case: Case, seconds: int) -> list[str]:
    numbers = (case.people, case.width, case.height, seconds)
    return [sys.executable, "-m", "benches._mix_ours", str(directory), *map(str, numbers)]


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


def main() -> None:
    parser = argparse.ArgumentParser(description="CPU time of mixing beside FFmpeg's.")
    parser.add_argument("--people", type=int, nargs="+", choices=(1, 4, 9, 16), default=[1, 4, 9, 16])
    parser.add_argument("--outputs", nargs="+", choices=tuple(OUTPUTS), default=list(OUTPUTS))
    parser.add_argument("--seconds", type=int, default=SECONDS, help="of media in a long run")
    parser.add_argument("--runs", type=int, default=RUNS)
    wanted = parser.parse_args()
    cases = [Case(people, *OUTPUTS[output]) for output in wanted.outputs for people in wanted.people]
    print(table(run(cases, max(wanted.seconds, SHORT_SECONDS + 2), wanted.runs, with_job=False)))


if __name__ == "__main__":
    main()
