"""How far a pull has come, noted beside the journal each second: the next attempt goes on about there.

It lies in the directory of the attempt; those of earlier attempts lie beside it. Without one (another machine's disk)
a pull begins anew.
"""

import contextlib
import os
from pathlib import Path

import msgspec

POSITION = "position.json"


class Position(msgspec.Struct, kw_only=True, frozen=True):
    url_revision: int
    rounds: int  # played to their end
    position_ms: int  # in the round, from the beginning of the source
    began_ms: int  # the task, in Unix ms
    has_run: bool


def save(directory: Path, position: Position) -> None:
    path = directory / POSITION
    scratch = path.with_suffix(".new")
    with contextlib.suppress(OSError):
        scratch.write_bytes(msgspec.json.encode(position))
        os.replace(scratch, path)


def find(directory: Path) -> Position | None:
    """The newest of the attempts before the one in ``directory``."""
    found: list[tuple[float, Position]] = []
    for path in directory.parent.glob(f"*/{POSITION}"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            if path.parent != directory:
                found.append((path.stat().st_mtime, msgspec.json.decode(path.read_bytes(), type=Position)))
    return max(found, key=lambda one: one[0])[1] if found else None
