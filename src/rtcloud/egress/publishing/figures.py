"""How a relay does, each second, in a file beside its journal: what ``rtcloud task ls`` shows."""

import os
import resource
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from rtcloud.clock import Clock
from rtcloud.egress.publishing.carrying import Batch
from rtcloud.tasks.protocol import FIGURES, PREVIEW, PREVIEW_REQUEST, Figures


def cpu_seconds() -> float:
    """Of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Gauge:
    """Counts between two looks."""

    def __init__(self, clock: Clock, cpu: float) -> None:
        self._clock = clock
        self._cpu = cpu
        self._looked = clock.monotonic()
        self._pictures: dict[str, int] = {}
        self._bytes = 0
        self._delay_us = 0

    def count(self, batch: Batch) -> None:
        for packet, _ in batch.packets:
            self._bytes += len(packet.data)
            if packet.kind == "video":
                self._pictures[packet.codec] = self._pictures.get(packet.codec, 0) + 1
        self._delay_us = max(self._delay_us, batch.delay_us)

    def look(self, cpu: float, inputs: int, outputs: Mapping[str, int], *, has_video: bool) -> Figures:
        """``cpu`` in seconds so far."""
        now = self._clock.monotonic()
        seconds = max(0.001, now - self._looked)
        figures = Figures(
            at_ms=self._clock.now_ms(),
            cpu=round((cpu - self._cpu) / seconds, 3),
            fps=round(max(self._pictures.values(), default=0) / seconds, 1) if has_video else None,
            bitrate=round(self._bytes * 8 / seconds),
            delay_ms=self._delay_us // 1000 if self._bytes else None,
            inputs=inputs,
            outputs=dict(outputs),
        )
        self._looked, self._cpu = now, cpu
        self._pictures.clear()
        self._bytes = self._delay_us = 0
        return figures


def statuses(by_url: Mapping[str, int]) -> dict[str, int]:
    """Addresses carry keys: only the host is shown, and which of its addresses it is when there are more."""
    shown: dict[str, int] = {}
    for url, status in by_url.items():
        host = urlsplit(url).netloc.rpartition("@")[2] or "?"
        number = sum(name.partition(" ")[0] == host for name in shown) + 1
        shown[host if number == 1 else f"{host} {number}"] = status
    return shown


def save(directory: Path, figures: Figures) -> None:
    _replace(directory / FIGURES, msgspec.json.encode(figures))


def is_preview_asked(directory: Path) -> bool:
    return (directory / PREVIEW_REQUEST).exists()


def save_preview(directory: Path, picture: bytes) -> None:
    """Without a picture there is no file, and the request is gone all the same."""
    if picture:
        _replace(directory / PREVIEW, picture)
    (directory / PREVIEW_REQUEST).unlink(missing_ok=True)


def _replace(path: Path, data: bytes) -> None:
    new = path.with_name(path.name + ".new")
    new.write_bytes(data)
    os.replace(new, path)
