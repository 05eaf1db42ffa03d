"""``make bench``: runs every benchmark and prints one table of figures beside their budgets.

A benchmark is a module here with ``run() -> list[Figure]``; names on the command line choose some. Figures are CPU time
or ratios to a reference measured in the same run; a missed budget is a line in the table, explained in
``docs/performance.md``, and no failure: only a benchmark that breaks ends with status 1.
"""

import importlib
import sys
import time
import traceback
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent)]

from benches.figures import Figure, table  # noqa: E402  # the folder is not installed

SUPPORT = {"run", "figures", "load"}


def main(names: list[str]) -> int:
    folder = Path(__file__).parent
    known = sorted(path.stem for path in folder.glob("*.py") if path.stem not in SUPPORT and path.stem[0] != "_")
    chosen = names or known
    if unknown := set(chosen) - set(known):
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    broken: list[str] = []
    for name in chosen:
        began = time.monotonic()
        print(f"{name} …", flush=True)
        try:
            measured = importlib.import_module(f"benches.{name}").run()
        except Exception:
            traceback.print_exc()
            broken.append(name)
            continue
        figures += measured
        print(f"{name} took {time.monotonic() - began:.0f} s", flush=True)
    print()
    print(table(figures))
    if broken:
        print(f"\nbroken: {', '.join(broken)}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
