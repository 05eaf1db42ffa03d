"""How much slower than alone a program runs here: tests of figures in seconds are also run on machines that have other
things to do, and must not take that for a fault."""

import statistics
import threading
import time
from typing import Self

_EVERY_S = 0.5
_WORK_S = 0.02


class Slowness:
    """Works for a moment twice a second, and looks how long it takes."""

    def __init__(self) -> None:
        self._samples: list[tuple[float, float]] = []  # Unix seconds, times as long as alone
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def over(self, begin: float, end: float) -> float:
        """The mean between two moments (Unix seconds), at least 1."""
        found = [slower for at, slower in list(self._samples) if begin - _EVERY_S <= at <= end + _EVERY_S]
        return max(1.0, statistics.fmean(found)) if found else 1.0

    def _sample(self) -> None:
        while not self._is_over.wait(_EVERY_S):
            began, cpu = time.monotonic(), time.thread_time()
            while time.thread_time() - cpu < _WORK_S:
                pass
            self._samples.append((time.time(), (time.monotonic() - began) / _WORK_S))
