"""Writes docs/rtcloud.example.toml: every configuration key, its default and what it is.

``--check`` writes nothing and exits 1 when the file is not what would be written.
"""

import sys
from pathlib import Path

from rtcloud.config import example

TARGET = Path(__file__).parent.parent / "docs" / "rtcloud.example.toml"


def main() -> int:
    text = example()
    if "--check" in sys.argv[1:]:
        if not TARGET.exists() or TARGET.read_text("utf-8") != text:
            print(f"{TARGET.name} is out of date: run make gen", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
