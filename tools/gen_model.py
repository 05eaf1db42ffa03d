"""Writes src/rtcloud/apimodel/model.json: the supplied model of spec/ with its extras, and the models of ours.

``--check`` writes nothing and exits 1 when the file is not what would be written.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SPEC = ROOT / "spec"
SUPPLIED = "trtc-2019-07-22"
OURS = ("console", "cam-2019-01-16", "sts-2018-08-13")
TARGET = ROOT / "src" / "rtcloud" / "apimodel" / "model.json"


def generate() -> str:
    supplied = json.loads((SPEC / f"{SUPPLIED}.json").read_text("utf-8"))
    supplied["rules"] = {}
    for path in sorted((SPEC / f"{SUPPLIED}.extras").glob("*.json")):
        extras: dict[str, Any] = json.loads(path.read_text("utf-8"))
        rules = extras.pop("rules", {})
        if twice := rules.keys() & supplied["rules"].keys():
            raise SystemExit(f"{path.name}: {', '.join(sorted(twice))} have a rule in another file, too")
        supplied["rules"].update(rules)
        supplied.update((key, value) for key, value in extras.items() if key != "about")
    models = [supplied]
    for name in OURS:
        own = json.loads((SPEC / f"{name}.json").read_text("utf-8"))
        own.pop("about", None)
        models.append(own | {"common_error_codes": supplied["common_error_codes"]})
    return json.dumps({"models": models}, ensure_ascii=False, separators=(",", ":"), sort_keys=True) + "\n"


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
