"""Our side of the mixing benchmark: the mixer without rooms, fed from files at full speed."""

import sys
from dataclasses import dataclass
from pathlib import Path

import av

from benches.mix import AUDIO_BITRATE, FACES, FPS, GOP_SECONDS, Case
from rtcloud.mixer import layout
from rtcloud.mixer.mixing import Mixer, MixFormat
from rtcloud.mixer.scene import Cell, Scene

STEP_US = 1_000_000 // FPS


@dataclass(frozen=True, slots=True)
class FileFrame:
    data: bytes
    rtp_time: int
    capture_us: int
    arrival_us: int
    keyframe: bool
    contiguous: bool = True


def main() -> None:
    directory = Path(sys.argv[1])
    people, width, height, seconds = map(int, sys.argv[2:])
    case = Case(people, width, height)
    form = MixFormat(
        width=width,
        height=height,
        fps=FPS,
        video_bitrate=case.bitrate,
        gop_seconds=GOP_SECONDS,
        sample_rate=48_000,
        channels=2,
        audio_bitrate=AUDIO_BITRATE,
    )
    mixer = Mixer(form, lambda packet: None, lambda wish: None)
    videos, sounds = [], []
    for person in range(people):
        mixer.add_video(f"v{person}", str(person), 1280, 720)
        mixer.add_audio(f"a{person}", str(person))
        videos.append(av.open(str(directory / f"{person % FACES}.h264"), format="h264").demux(video=0))
        sounds.append(av.open(str(directory / f"{person % FACES}.ogg")).demux(audio=0))
    cells = [Cell(rect, f"v{person}") for person, rect in enumerate(layout.grid(people, width, height))]
    mixer.show(Scene(layout.BLACK, cells=tuple(cells)), 0)
    now, block, ended = 0, 0, False
    while not ended and now < seconds * 1_000_000:
        for person, video in enumerate(videos):
            packet = next(video, None)
            if packet is None or packet.size == 0:
                ended = True
                break
            mixer.push(f"v{person}", FileFrame(bytes(packet), now * 9 // 100, now, now, packet.is_keyframe), now)
        while block * 20_000 <= now:
            for person, sound in enumerate(sounds):
                packet = next(sound, None)
                if packet is not None and packet.size:
                    at = block * 20_000
                    mixer.push(f"a{person}", FileFrame(bytes(packet), block * 960, at, at, True), at)
            block += 1
        now += STEP_US
        mixer.advance(now - form.patience_us)
    mixer.finish(now)


if __name__ == "__main__":
    main()
