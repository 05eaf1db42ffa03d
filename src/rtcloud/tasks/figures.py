"""What a job tells the operator: how it does, each second, in a file beside its journal (``rtcloud task
ls``), and its picture when that is asked for there (``rtcloud task preview``).

Nothing of this may harm what the job is for: a disk that is full, or a picture that cannot be made, is passed over.
"""

import asyncio
import contextlib
import logging
import os
import resource
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from rtcloud.clock import Clock
from rtcloud.tasks.protocol import FIGURES, PREVIEW, PREVIEW_REQUEST, Figures

TELL_EVERY = 1.0
LOOK_EVERY = 0.2

_log = logging.getLogger(__name__)


async def tell(directory: Path, look: Callable[[], Figures]) -> None:
    """For ever."""
    while True:
        await asyncio.sleep(TELL_EVERY)
        with contextlib.suppress(OSError):
            await asyncio.to_thread(save, directory, look())


async def show(directory: Path, picture: Callable[[], Awaitable[bytes]]) -> None:
    """For ever. An empty picture is none."""
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if not is_preview_asked(directory):
            continue
        made = b""
        try:
            made = await picture()
        except Exception:
            _log.exception("the picture cannot be shown")
        with contextlib.suppress(OSError):
            await asyncio.to_thread(save_preview, directory, made)


def cpu_seconds() -> float:
    """Of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Packet(Protocol):
    @property
    def kind(self) -> str: ...
    @property
    def codec(self) -> str: ...
    @property
    def data(self) -> bytes: ...


class Gauge:
    """Counts between two looks. ``count`` may be called by any thread."""

    def __init__(self, clock: Clock, cpu: float) -> None:
        self._clock = clock
        self._cpu = cpu
        self._lock = threading.Lock()
        self._looked = clock.monotonic()
        self._pictures: dict[str, int] = {}
        self._bytes = 0
        self._delay_us = 0

    def count(self, packets: Iterable[Packet], delay_us: int) -> None:
        """``delay_us``: how long ago the newest one's moment was when it was ready."""
        with self._lock:
            for packet in packets:
                self._bytes += len(packet.data)
                if packet.kind == "video":
                    self._pictures[packet.codec] = self._pictures.get(packet.codec, 0) + 1
            self._delay_us = max(self._delay_us, delay_us)

    def look(self, cpu: float, inputs: int, outputs: Mapping[str, int], *, has_video: bool) -> Figures:
        """``cpu`` in seconds so far."""
        now = self._clock.monotonic()
        seconds = max(0.001, now - self._looked)
        with self._lock:
            pictures, size, delay_us = max(self._pictures.values(), default=0), self._bytes, self._delay_us
            self._pictures.clear()
            self._bytes = self._delay_us = 0
        figures = Figures(
            at_ms=self._clock.now_ms(),
            cpu=round((cpu - self._cpu) / seconds, 3),
            fps=round(pictures / seconds, 1) if has_video else None,
            bitrate=round(size * 8 / seconds),
            delay_ms=delay_us // 1000 if size else None,
            inputs=inputs,
            outputs=dict(outputs),
        )
        self._looked, self._cpu = now, cpu
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
