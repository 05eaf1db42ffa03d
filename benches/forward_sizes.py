"""Whether a packet costs the same in small and large rooms.

One 720p camera to 10, 50, 100 and 300 subscribers. The process costs something without any media, which few packets
share: so what one packet more costs is told as well, from one size to the next.
"""

import itertools

from benches.figures import Figure
from benches.forward import Case, serve

SIZES = (10, 50, 100, 300)
RUNS = 3


def run() -> list[Figure]:
    figures: list[Figure] = []
    loads: list[tuple[float, float]] = []  # packets a second, share of a core
    for size in SIZES:
        measured = serve(Case(f"720p → {size}", ("video",), 1, size), runs=RUNS)
        print(f"  720p → {size}: {measured}", flush=True)
        loads.append((measured.rate, measured.share))
        figures += [
            Figure("forward_sizes", f"720p → {size}, cost of a packet", 1e6 / measured.per_second, "µs"),
            Figure("forward_sizes", f"720p → {size}, delay p99", measured.delays_ms[99], "ms"),
        ]
    for (small, large), ((few, less), (many, more)) in zip(
        itertools.pairwise(SIZES), itertools.pairwise(loads), strict=True
    ):
        cost = 1e6 * (more - less) / (many - few)
        figures.append(Figure("forward_sizes", f"one packet more, {small} to {large}", cost, "µs"))
    return figures
