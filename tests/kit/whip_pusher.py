"""A program that publishes by WHIP with PyAV's muxer: ``python -m tests.kit.whip_pusher URL TOKEN FOLDER COLOR``, until
its standard input ends. A process of its own: the muxer holds the interpreter's lock while it talks to the server."""

import subprocess
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

FPS, RATE, FRAME = 30, 48_000, 960


def certificate(folder: Path) -> dict[str, str]:
    """Of the curve that everybody knows: some builds of FFmpeg would make one of their own on P-224."""
    key, signed = str(folder / "key.pem"), str(folder / "cert.pem")
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command = ["openssl", "req", "-x509", *curve, "-nodes", "-subj", "/CN=whip", "-keyout", key, "-out", signed]
    subprocess.run(command, check=True, capture_output=True)
    return {"cert_file": signed, "key_file": key}


def main(url: str, token: str, folder: str, color: str) -> None:
    watching = threading.Thread(target=sys.stdin.read, daemon=True)
    watching.start()
    options = {"authorization": token, **certificate(Path(folder))}
    with av.open(url, "w", format="whip", options=options) as out:
        fast = {"profile": "baseline", "tune": "zerolatency", "preset": "ultrafast"}
        video = out.add_stream("libx264", rate=FPS, options=fast)
        video.width, video.height, video.pix_fmt, video.gop_size = 320, 240, "yuv420p", FPS
        audio = out.add_stream("libopus", rate=RATE, layout="stereo", bit_rate=96_000)
        picture = np.full((240, 320, 3), [int(color[at : at + 2], 16) for at in (1, 3, 5)], np.uint8)
        began, heard, number = time.monotonic(), 0, 0
        while watching.is_alive():
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            out.mux(video.encode(frame))
            number += 1
            while heard < number * RATE // FPS:
                wave = 8000 * np.sin(2 * np.pi * 440 * np.arange(heard, heard + FRAME) / RATE)
                sound = av.AudioFrame.from_ndarray(wave.astype(np.int16).repeat(2)[np.newaxis], "s16", "stereo")
                sound.sample_rate, sound.pts, sound.time_base = RATE, heard, Fraction(1, RATE)
                out.mux(audio.encode(sound))
                heard += FRAME
            time.sleep(max(0, began + number / FPS - time.monotonic()))


if __name__ == "__main__":
    main(*sys.argv[1:])
