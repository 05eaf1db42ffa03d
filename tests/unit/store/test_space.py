"""When a disk counts as full, and when it does not any more."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from rtcloud.store.space import Space


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Its free space is ``f_bavail`` KiB."""
    found = SimpleNamespace(f_bavail=1000, f_frsize=1024)
    monkeypatch.setattr(os, "statvfs", lambda _path: found)
    return found


def test_a_disk_is_full_below_its_reserve_until_a_quarter_more_is_free(disk: SimpleNamespace) -> None:
    space = Space(Path("data"), 400 << 10)
    seen = []
    for free in (400, 399, 400, 499, 500, 400, 399):
        disk.f_bavail = free
        space.look()
        seen.append(space.is_full)
    assert seen == [False, True, True, True, False, False, True]


def test_what_is_to_be_written_must_fit_beside_the_reserve(disk: SimpleNamespace) -> None:
    space = Space(Path("data"), 400 << 10)
    assert space.has(0)
    assert space.has(600 << 10)
    assert not space.has((600 << 10) + 1)
    disk.f_bavail = 100
    space.look()
    assert not space.has(0)


def test_a_disk_that_cannot_be_asked_is_as_it_was(disk: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    space = Space(Path("data"), 400 << 10)

    def fail(_path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "statvfs", fail)
    space.look()
    assert (space.free, space.is_full) == (1000 << 10, False)
