"""How short of processor time the machine was between two moments, from what its kernel counts.

What a test's own processes, other tests and strangers want counts alike. What the hypervisor gave to other machines is
no waiting in this one's books, and is added.
"""

import os
from dataclasses import dataclass
from pathlib import Path

PROC = Path("/proc")
_TICKS = os.sysconf("SC_CLK_TCK")
_STEAL = 8  # the column of the line "cpu" of /proc/stat


@dataclass(frozen=True)
class Reading:
    at: float
    cores: int
    stolen_s: float
    #: of one minute: how many processes ran or would have liked to
    load: float
    #: in which somebody waited for a core; None where the kernel does not count it
    waited_s: float | None


def read(now: float, proc: Path = PROC) -> Reading:
    lines = (proc / "stat").read_text().splitlines()
    cpu = lines[0].split()
    return Reading(
        now,
        cores=max(1, sum(line.startswith("cpu") for line in lines) - 1),
        stolen_s=int(cpu[_STEAL]) / _TICKS if len(cpu) > _STEAL else 0.0,
        load=float((proc / "loadavg").read_text().split()[0]),
        waited_s=_waited_s(proc / "pressure" / "cpu"),
    )


def share_between(first: Reading, last: Reading) -> float:
    """Of the time in which somebody had to wait for a core, 0 to 1; without the kernel's count, what share of those who
    wanted one had none at the end."""
    passed = last.at - first.at
    if passed <= 0:
        return 0.0
    stolen = (last.stolen_s - first.stolen_s) / passed / last.cores
    if first.waited_s is None or last.waited_s is None:
        waited = 1 - last.cores / max(last.load, last.cores)
    else:
        waited = (last.waited_s - first.waited_s) / passed
    return min(1.0, max(0.0, waited + stolen))


def _waited_s(path: Path) -> float | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:  # no such file, or a kernel told not to count
        return None
    some = next((line for line in lines if line.startswith("some ")), "")
    total = next((word.removeprefix("total=") for word in some.split() if word.startswith("total=")), "")
    return int(total) / 1e6 if total.isdecimal() else None
