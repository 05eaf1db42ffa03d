"""``rtcloud merge``: what it prints, and its exit status (0 done, 1 something could not be read, 2 a mistake)."""

import json
import sys
from pathlib import Path

from rtcloud.errors import ConfigError
from rtcloud.recordings.folder import Folder, read_folder
from rtcloud.recordings.merging import Merged, merge
from rtcloud.recordings.sections import Choice

#: of what is asked for by ``-r``
SIDES = (16, 4096)


def run_merge(directory: Path, choice: Choice, *, as_json: bool) -> int:
    folder = _opened(directory)
    if choice.size is not None and not all(SIDES[0] <= side <= SIDES[1] for side in choice.size):
        raise ConfigError(f"-r: width and height are from {SIDES[0]} to {SIDES[1]}")

    def say(made: Merged) -> None:
        if not as_json:
            size = "" if made.size is None else f", {made.size[0]}x{made.size[1]}"
            print(f"{made.path}: {made.seconds:.1f} s{size}", flush=True)

    try:
        outcome = merge(folder, choice, say)
    except OSError as error:
        raise ConfigError(f"{error.filename or directory}: {error.strerror or error}") from error
    if not outcome.files:
        outcome.faults.append(f"{directory}: there are no segments of single-stream recordings to merge")
    if as_json:
        files = [{"file": str(made.path), "seconds": made.seconds, "size": made.size} for made in outcome.files]
        print(json.dumps({"files": files, "faults": outcome.faults}, indent=2, ensure_ascii=False))
    for fault in outcome.faults:
        print(f"rtcloud: {fault}", file=sys.stderr)
    return 1 if outcome.faults else 0


def _opened(directory: Path) -> Folder:
    try:
        return read_folder(directory)
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror or error}") from error
