"""Takes one RTMP stream and says how long ago each of its pictures was captured: a process of its own.

``python -m benches._relay_receipt URL SECONDS FPS LEFT TOP RIGHT BOTTOM``: where in the picture, in pixels, the person
with the clock is (``tests.kit.acts``). Prints ``ready``, then a JSON list of milliseconds.
"""

import json
import sys
import time

import av

from tests.kit.acts import LOOP_S, read_clock
from tests.kit.aired import Box


def main(url: str, seconds: float, fps: int, box: Box) -> None:
    delays: list[float] = []
    print("ready", flush=True)
    # What a player does to be quick; the first packets are read while it still finds out what comes.
    options = {"listen": "1", "fflags": "nobuffer", "probesize": "5000", "analyzeduration": "0"}
    with av.open(url, options=options) as source:
        began = time.monotonic()
        for packet in source.demux(video=0):
            received = time.time()
            lasted = time.monotonic() - began
            if lasted > seconds:
                break
            for frame in packet.decode():
                count = read_clock(box.of(frame.to_ndarray(format="rgb24")), fps)
                if count is not None and lasted > 3:
                    delays.append((received - count / fps) % LOOP_S * 1000)
    print(json.dumps(delays), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), Box(*map(int, sys.argv[4:8])))
