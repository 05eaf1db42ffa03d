"""Lock files must not name the host they were made from, and must fit what they lock.

A lock that names a mirror works on one network only; npm writes such addresses by default.
"""

import json
import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index"


def main() -> int:
    problems = [*_python(), *_node(), *_rust()]
    for problem in problems:
        print(f"locks: {problem}", file=sys.stderr)
    return 1 if problems else 0


def _python() -> list[str]:
    text = (ROOT / "requirements.lock").read_text()
    found = [f"requirements.lock names an address: {line.strip()}" for line in text.splitlines() if "://" in line]
    locked = {_canonical(name) for name in re.findall(r"^([A-Za-z0-9._-]+)==", text, re.MULTILINE)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    for requirement in wanted:
        match = re.match(r"[A-Za-z0-9._-]+", requirement)
        if match and _canonical(match[0]) not in locked:
            found.append(f"requirements.lock lacks {match[0]}")
    return found


def _node() -> list[str]:
    lock = json.loads((ROOT / "package-lock.json").read_text())
    return [
        f"package-lock.json names an address for {name}"
        for name, entry in lock["packages"].items()
        if "://" in entry.get("resolved", "")
    ]


def _rust() -> list[str]:
    found = []
    locks = {name: tomllib.loads((ROOT / name).read_text())["package"] for name in ("Cargo.lock", "fuzz/Cargo.lock")}
    for name, packages in locks.items():
        found += [
            f"{name} takes {package['name']} from {package['source']}"
            for package in packages
            if package.get("source", CRATES_IO) != CRATES_IO
        ]
    # The fuzz targets are a workspace of their own, which nobody builds who changes what they link.
    for package in locks["fuzz/Cargo.lock"]:
        manifest = ROOT / "crates" / package["name"].removeprefix("rtcloud-") / "Cargo.toml"
        if "source" in package or not manifest.exists():
            continue
        locked = {dependency.split()[0] for dependency in package.get("dependencies", [])}
        if not tomllib.loads(manifest.read_text()).get("dependencies", {}).keys() <= locked:
            found.append(f"fuzz/Cargo.lock is older than {package['name']}: run `cargo metadata` in fuzz/")
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
