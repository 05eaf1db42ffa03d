"""What GSO, padding and the hold are each worth: packets per CPU-second with all of them, and without each.

The pictures are uneven, as browsers' are; equal ones need no padding.
"""

from benches.figures import Figure
from benches.forward import Case, serve

CASES = (
    Case("720p → 100, uneven", ("video",), 1, 100, uneven=True),
    Case("6 × 6 meeting, uneven", ("video", "audio"), 6, 0, uneven=True),
)
WITHOUT = {
    "all": (),
    "no GSO": ("--no-egress-gso",),
    "no padding": ("--no-egress-padding",),
    "no hold": ("--egress-hold-ms", "0"),
}
RUNS = 3


def run() -> list[Figure]:
    figures: list[Figure] = []
    for case in CASES:
        for name, options in WITHOUT.items():
            measured = serve(case, *options, runs=RUNS)
            print(f"  {case.name}, {name}: {measured}", flush=True)
            figures += [
                Figure("forward_options", f"{case.name}, {name}", measured.per_second, "packets/CPU-s"),
                Figure("forward_options", f"{case.name}, {name}, delay p99", measured.delays_ms[99], "ms"),
            ]
    return figures
