"""Writes src/rtcloud/apimodel/model.json: the supplied model of spec/ with the rules of the extras beside it.

``--check`` writes nothing and exits 1 when the file is not what would be written.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MODEL = ROOT / "spec" / "trtc-2019-07-22.json"
EXTRAS = ROOT / "spec" / "trtc-2019-07-22.extras.json"
TARGET = ROOT / "src" / "rtcloud" / "apimodel" / "model.json"


def generate() -> str:
    model = json.loads(MODEL.read_text("utf-8"))
    extras = json.loads(EXTRAS.read_text("utf-8"))
    model["rules"] = extras["rules"]
    model["common_error_codes"] = extras["common_error_codes"]
    return json.dumps(model, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n"


def main() -> int:
    text = generate()
    if "--check" in sys.argv[1:]:
        if not TARGET.exists() or TARGET.read_text("utf-8") != text:
            print(f"{TARGET.relative_to(ROOT)} is out of date: run `make gen`", file=sys.stderr)
            return 1
        return 0
    TARGET.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
