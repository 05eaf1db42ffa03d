"""Calls on bad networks, in simulated time: what a viewer has at each loss, round trip and rate, in ``docs/netem.md``.

The engine's own core, a publisher as browsers are and a receiver by libwebrtc's rules (``crates/sfu/tests/world``),
an emulated network between them; ``crates/sfu/examples/netem.rs`` makes the calls, far faster than real time. Each
cell is three calls with other seeds: times are medians, shares are means, flaps are the worst.
"""

import itertools
import statistics
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from benches.figures import Figure

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs/netem.md"
PROGRAM = ("cargo", "run", "--quiet", "--locked", "--profile", "quick", "-p", "rtcloud-sfu", "--example", "netem")
SEEDS = (1, 2, 3)
STEADY_S = 40
LOSSES = (0, 2, 5, 10, 20, 30, 50)
ROUND_TRIPS = (20, 100, 300)
RATES = (0, 1_000_000, 300_000)
NO_PICTURE = "–"


@dataclass(frozen=True)
class Cell:
    side: str
    loss: int
    rtt: int
    rate: int = 0
    run: int = 1

    def line(self, seed: int) -> str:
        return f"{self.side} {self.loss / 100} {self.run} {self.rtt} {self.rate} {STEADY_S} {seed}"


MATRIX = [Cell("down", loss, rtt, rate) for rate, rtt, loss in itertools.product(RATES, ROUND_TRIPS, LOSSES)]
BURSTS = [Cell("down", loss, rtt, run=4) for rtt, loss in itertools.product((20, 100), (2, 5, 10))]
UPLINK = [Cell("up", loss, rtt) for rtt, loss in itertools.product((20, 100, 300), (2, 10, 20))]


class Had:
    """What the viewers of a cell's calls had."""

    def __init__(self, calls: list[dict[str, str]]) -> None:
        self._calls = calls

    def mean(self, name: str) -> float:
        return statistics.fmean(float(call[name]) for call in self._calls)

    def worst(self, name: str) -> float:
        return max(float(call[name]) for call in self._calls)

    def seconds(self, name: str) -> float | None:
        """The median; None when it did not come to that in most calls."""
        times = [float(call[name]) / 1000 if call[name] != "-" else float("inf") for call in self._calls]
        middle = statistics.median(times)
        return None if middle == float("inf") else middle


def call(cells: Iterable[Cell]) -> dict[Cell, Had]:
    asked = {cell.line(seed): cell for cell in cells for seed in SEEDS}
    done = subprocess.run(
        PROGRAM, input="\n".join(asked), capture_output=True, text=True, timeout=1800, cwd=ROOT, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the calls failed\n{done.stderr[-4000:]}")
    found: dict[Cell, list[dict[str, str]]] = {}
    for line in done.stdout.splitlines():
        words = line.split()
        cell = asked[" ".join(words[:7])]
        found.setdefault(cell, []).append(dict(word.split("=", 1) for word in words[7:]))
    return {cell: Had(calls) for cell, calls in found.items()}


def run() -> list[Figure]:
    had = call([*MATRIX, *BURSTS, *UPLINK])
    DOCUMENT.write_text(document(had))
    middle = had[Cell("down", 10, 100)]
    open_cells = [cell for cell in MATRIX if not cell.rate and cell.loss <= 10]
    figures = [
        Figure("netem", "10 % loss, 100 ms: frozen", 100 * middle.mean("freeze_ratio"), "%", 2),
        *[
            Figure("netem", f"30 % loss, {rtt} ms: sound in time", 100 * sound, "%", 98, "at least")
            for rtt in (20, 100)
            for sound in [had[Cell("down", 30, rtt)].mean("sound")]
        ],
        Figure("netem", "most flaps in 10 s, any steady link", max(had[cell].worst("flaps") for cell in MATRIX), "", 1),
        Figure(
            "netem", "sound in time, worst up to 10 % loss", 100 * min(had[c].mean("sound") for c in open_cells), "%"
        ),
    ]
    for rate, height in ((1_000_000, 360), (300_000, 180)):
        shown = had[Cell("down", 0, 100, rate)]
        what = f"{rate // 1000} kb/s, no loss, 100 ms"
        figures += [
            Figure("netem", f"{what}: frozen", 100 * shown.mean("freeze_ratio"), "%"),
            Figure("netem", f"{what}: picture", shown.mean("height"), "lines", height, "at least"),
        ]
    return figures


def document(had: dict[Cell, Had]) -> str:
    parts = [HEAD]
    for rate in RATES:
        parts.append(f"## {limit(rate)[0].upper()}{limit(rate)[1:]}\n")
        parts.append(table(had, [cell for cell in MATRIX if cell.rate == rate]))
    parts += ["## Losses in bursts of four, no limit\n", table(had, BURSTS)]
    parts += ["## The publisher's network loses, no limit\n", UPLINK_HEAD, table(had, UPLINK)]
    return "\n".join(parts)


def limit(rate: int) -> str:
    return f"{rate / 1000:,.0f} kb/s" if rate else "no limit of the rate"


def table(had: dict[Cell, Had], cells: list[Cell]) -> str:
    rows = [
        "| RTT | loss | first picture | frozen | pictures/s | lines | sound | settled | flaps | back | as before |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in cells:
        each = had[cell]
        rows.append(
            f"| {cell.rtt} ms | {cell.loss} % | {time(each, 'first_ms')} | {100 * each.mean('freeze_ratio'):.1f} % "
            f"| {each.mean('fps'):.1f} | {each.mean('height'):.0f} | {100 * each.mean('sound'):.1f} % "
            f"| {time(each, 'settled_ms')} | {each.worst('flaps'):.0f} | {time(each, 'recovered_ms')} "
            f"| {time(each, 'as_before_ms')} |"
        )
    return "\n".join(rows) + "\n"


def time(each: Had, name: str) -> str:
    seconds = each.seconds(name)
    return NO_PICTURE if seconds is None else f"{seconds:.2f} s"


HEAD = """# Bad networks

Written by `make bench ARGS=netem`; not edited by hand.

A viewer on a bad network watches a camera of three layers (180p 150 kb/s, 360p 500 kb/s, 720p 1.7 Mb/s) and hears a
microphone, in simulated time: the engine's own core, with real DTLS and SRTP, and an emulated network by seed. Toward
the viewer datagrams are lost at random; a limit has a queue of at most 300 ms before it; ± 2 ms of jitter. The viewer
follows libwebrtc's rules: what is lost is asked for each 100 ms, at most ten times; a key picture is asked for when
nothing could be decoded for 3 s; pictures play with the delay that 99 % of the last 300 needed, at most 1 s; sound
has RED and, where it was negotiated, is asked for again. Signalling takes no time here. Each line is three calls of
40 s, then 5 s without any network, then 20 s more.

- **first picture**: from joining to the first picture shown: ICE, DTLS, the key picture and its repair.
- **frozen**: share of the time from the first picture on in freezes as W3C's `freezeCount` has them (nothing new for
  max(3 × mean interval, mean + 150 ms)).
- **pictures/s**, **lines**: shown per second and how high they were, from 10 s after the first one.
- **sound**: packets that came, or a copy of which came, within 200 ms and a round trip of the quickest.
- **settled**: from the first picture to the last change of layer: when the estimate had come to rest.
- **flaps**: most changes of direction (up after down, down after up) within 10 s once settled.
- **back**, **as before**: from the end of the outage to the next picture, and to the layer there was before.

Where three tenths or half are lost beside a limit, repeats take a third of what the link carries and more, and what is
left changes from second to second: there nobody goes up sooner than 15 s after going down.

What misses, and why: what the link carries is not known before the first key picture and the first probe, which fill a
narrow link's queue: finding out and draining it is the freeze at the beginning. 300 kb/s carry 180p and sound with its
redundancy just so: from 10 % of loss on the picture is shed at times. At 300 ms a second loss of the same packet costs
another round trip, which the playout delay does not cover. What the publisher's network loses is asked for no further
back than 100 packets, and viewers wait 3 s before they ask for a key picture.
"""

UPLINK_HEAD = """The viewer's network is good; the publisher repeats what the server asks for.
"""
