"""``python -m benches._ingest_clock FORMAT URL [NAME=VALUE…]`` sends pictures that say when they were drawn, as the
test page's do, and a tone: by RTMP (flv) or WHIP. ``bf=2`` makes B-frames; other names are the muxer's options."""

import sys
import time
from fractions import Fraction

import av
import numpy as np

BITS, COLUMNS, BLOCK = 24, 6, 180  # as tests/page/src/TimePicture.ts, three times as large
ROWS = BITS // COLUMNS
FPS, RATE = 30, 48_000


def draw(unix_ms: int) -> av.VideoFrame:
    """Brightness alone: black and white blocks, the lowest bit first."""
    bits = np.array([(unix_ms >> bit) & 1 for bit in range(BITS)], np.uint8).reshape(ROWS, COLUMNS)
    luma = np.kron(bits * 219 + 16, np.ones((BLOCK, BLOCK), np.uint8))
    grey = np.full((luma.shape[0] // 2, luma.shape[1]), 128, np.uint8)
    return av.VideoFrame.from_ndarray(np.vstack([luma, grey]), format="yuv420p")


def main(format_name: str, url: str, *settings: str) -> None:
    options = dict(each.split("=", 1) for each in settings)
    b_frames = options.pop("bf", "0")
    encoder = {"preset": "veryfast", "profile": "main" if b_frames != "0" else "baseline", "bf": b_frames}
    encoder |= {"rc-lookahead": "0", "sync-lookahead": "0", "x264-params": "sliced-threads=1:b-adapt=0"}
    with av.open(url, "w", format=format_name, options=options) as out:
        video = out.add_stream("libx264", rate=FPS, options=encoder)
        video.width, video.height, video.pix_fmt = COLUMNS * BLOCK, ROWS * BLOCK, "yuv420p"
        video.gop_size, video.bit_rate = FPS, 1_500_000
        name, layout, size = ("libopus", "s16", 960) if format_name == "whip" else ("aac", "fltp", 1024)
        audio = out.add_stream(name, rate=RATE, layout="stereo", format=layout, bit_rate=96_000)
        began, heard, number = time.time(), 0, 0
        while True:
            picture = draw(round(time.time() * 1000) % 2**BITS)
            picture.pts, picture.time_base = number, Fraction(1, FPS)
            out.mux(video.encode(picture))
            number += 1
            while heard < number * RATE // FPS:
                wave = 0.2 * np.sin(2 * np.pi * 440 * np.arange(heard, heard + size) / RATE)
                packed = (wave * 32767).astype(np.int16).repeat(2)[np.newaxis]
                planar = np.stack([wave, wave]).astype(np.float32)
                sound = av.AudioFrame.from_ndarray(packed if layout == "s16" else planar, layout, "stereo")
                sound.sample_rate, sound.pts, sound.time_base = RATE, heard, Fraction(1, RATE)
                out.mux(audio.encode(sound))
                heard += size
            time.sleep(max(0.0, began + number / FPS - time.time()))


if __name__ == "__main__":
    main(*sys.argv[1:])
