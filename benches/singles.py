"""Recording of single streams: CPU of the writing and the flushing thread for each stream of sound and 720p pictures,
and of the whole job.

For the first, encoded frames are handed over as they would arrive, one second of them after the other; joining,
receiving and the files' way to their store are left out. Everything from placing a frame to its bytes on the disk is
in. For the second the same people send into a real room; all but the uploading is in.
"""

import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from benches._singles_room import job_core
from benches.figures import Figure, median_of
from rtcloud.egress.recording.naming import FileNames
from rtcloud.egress.recording.request import RecordParams
from rtcloud.egress.recording.single_file import Place
from rtcloud.egress.recording.single_pipeline import LOOKS, PATIENCE_US, Singles, StreamKey
from tests.kit.acts import Act

PEOPLE, SECONDS, ROUNDS = 25, 12, 3
WINDOWS = 3
ACT = Act(0, width=1280, height=720, fps=30, bitrate=1_500_000)
PER_STREAM, WHOLE = 0.03, 1.0
PACKET_US = 20_000
START_US = 1_600_000_000_000_000


@dataclass(frozen=True, slots=True)
class _Frame:
    track: str
    data: bytes
    rtp_time: int
    capture_us: int
    arrival_us: int
    keyframe: bool
    contiguous: bool = True


def run() -> list[Figure]:
    figures = []
    for merged, what in ((0, "files of sound and of pictures"), (1, "merged files")):
        cores = median_of(ROUNDS, lambda merged=merged: _measure(merged))  # type: ignore[misc]
        figures += [
            Figure("singles", f"{PEOPLE} single streams, {what}", cores, "cores", WHOLE),
            Figure("singles", f"one of {PEOPLE} single streams, {what}", cores / PEOPLE, "cores", PER_STREAM),
        ]
    job, forwarding = job_core(PEOPLE, WINDOWS, ACT, merged=0)
    return [
        *figures,
        Figure("singles", f"{PEOPLE} single streams, the whole job with WebRTC", job, "cores", WHOLE),
        Figure("singles", f"{PEOPLE} single streams, the server's process beside it", forwarding, "cores"),
    ]


def _measure(merged: int) -> float:
    """Cores that the recording takes in real time."""
    moments = _moments()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(1) as flusher:
        singles = Singles(
            RecordParams(record_mode=1, av_merge=merged, output_format=1),
            lambda clock: Place(Path(folder), lambda event: None, flusher, lambda: 0, clock.to_server, True),
            FileNames(1400000001, True, "1"),
            lambda wish: None,
            lambda code, message: None,
        )
        began = time.process_time()
        singles.follow(
            {StreamKey(f"user{n}", "main"): ({f"a{n}": False}, {f"v{n}": False}) for n in range(PEOPLE)}, START_US
        )
        looked = START_US
        for frame in moments:
            for number in range(PEOPLE):
                track = f"{frame.track}{number}"
                singles.push(track, frame, frame.arrival_us)
            if frame.arrival_us - looked >= 1_000_000 // LOOKS:
                looked = frame.arrival_us
                singles.advance(looked - PATIENCE_US)
        singles.close(START_US + SECONDS * 1_000_000)
        return (time.process_time() - began) / SECONDS


def _moments() -> list[_Frame]:
    pictures, packets = ACT.pictures(), ACT.packets()
    frames = []
    for index in range(SECONDS * ACT.fps):
        at = START_US + index * 1_000_000 // ACT.fps
        data = pictures[index % len(pictures)]
        frames.append(_Frame("v", data, 0, at, at + 30_000, index % ACT.fps == 0))
    for index in range(SECONDS * 1_000_000 // PACKET_US):
        at = START_US + index * PACKET_US
        data = packets[index % len(packets)]
        frames.append(_Frame("a", data, index * 960 & 0xFFFFFFFF, at, at + 20_000, True))
    return sorted(frames, key=lambda frame: frame.arrival_us)
