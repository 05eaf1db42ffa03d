"""What benchmarks report, and how it is printed."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Figure:
    """``budget`` is the most (or, for ``at least``, the least) that part 6 of the design asks for; None: only shown."""

    bench: str
    what: str
    value: float
    unit: str
    budget: float | None = None
    sense: Literal["at most", "at least"] = "at most"

    @property
    def met(self) -> bool:
        if self.budget is None:
            return True
        return self.value <= self.budget if self.sense == "at most" else self.value >= self.budget


def median_of(times: int, measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(times))


def percentile(values: list[float], share: float) -> float:
    """Nearest rank; ``share`` 0.95 for p95."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def table(figures: list[Figure]) -> str:
    rows = [("benchmark", "what", "figure", "budget", "")]
    for each in figures:
        budget = "" if each.budget is None else f"{each.sense} {_number(each.budget)} {each.unit}"
        verdict = "" if each.budget is None else ("met" if each.met else "MISSED")
        rows.append((each.bench, each.what, f"{_number(each.value)} {each.unit}", budget, verdict))
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"
