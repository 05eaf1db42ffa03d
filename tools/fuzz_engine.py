"""``make fuzz`` for the media engine and the native client: every target of ``crates/fuzz`` for a while.

libFuzzer finds more, and needs nightly Rust and ``cargo install cargo-fuzz``. Where one of them is not, the same
targets run over their corpora and random edits on stable Rust, and that is said. A finding ends with status 1;
libFuzzer leaves its input in ``fuzz/artifacts``.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FUZZ = ROOT / "fuzz"
KEPT = ROOT / "crates" / "fuzz" / "corpus"
MODULE = ROOT / "crates" / "fuzz" / "src" / "targets" / "mod.rs"
#: What is kept of a corpus: it lies with the sources.
MAX_FILES, MAX_BYTES = 50, 2048


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="per target")
    parser.add_argument("--keep", action="store_true", help="put some of the inputs that matter into the kept corpora")
    parser.add_argument("targets", nargs="*", help="all of them, if none is named")
    options = parser.parse_args()
    known = re.findall(r'^ {4}"(\w+)":', MODULE.read_text(), re.MULTILINE)
    if unknown := set(options.targets) - set(known):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    targets = options.targets or known
    if lacking := _lacking():
        print(f"{lacking}: random edits on stable Rust instead of libFuzzer", flush=True)
        return _run_stable(targets, options.seconds)
    program = _build()
    found = [name for name in targets if not _run(program, name, options.seconds)]
    if options.keep:
        for name in targets:
            _keep(program, name)
    if found:
        print(f"found something: {', '.join(found)}; inputs are in {FUZZ / 'artifacts'}")
    return 1 if found else 0


def _lacking() -> str:
    if shutil.which("cargo-fuzz") is None:
        return "cargo-fuzz is not installed"
    listed = subprocess.run(["cargo", "+nightly", "--version"], capture_output=True, check=False)
    return "" if listed.returncode == 0 else "there is no nightly Rust"


def _run_stable(targets: list[str], seconds: int) -> int:
    command = ["cargo", "test", "--locked", "--release", "--package", "rtcloud-fuzz", "--", "--exact", *targets]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {"FUZZ_SECONDS": str(seconds)}, check=False).returncode


def _build() -> Path:
    """Without the sanitizer of addresses: all of it is safe Rust. Arithmetic that overflows is found."""
    folder = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "fuzz"
    command = ["cargo", "+nightly", "fuzz", "build", "--fuzz-dir", ".", "--sanitizer", "none"]
    subprocess.run([*command, "--target-dir", str(folder), "engine"], cwd=FUZZ, check=True)
    return max(folder.glob("*/release/engine"), key=lambda path: path.stat().st_mtime)


def _call(program: Path, name: str, *arguments: str | Path, **environment: str) -> bool:
    environment = os.environ | {"FUZZ_TARGET": name} | environment
    return subprocess.run([program, *arguments], cwd=FUZZ, env=environment, check=False).returncode == 0


def _run(program: Path, name: str, seconds: int) -> bool:
    print(f"--- {name}", flush=True)
    corpus, kept, artifacts = FUZZ / "corpus" / name, KEPT / name, FUZZ / "artifacts" / name
    for folder in (corpus, kept, artifacts):
        folder.mkdir(parents=True, exist_ok=True)
    _call(program, name, "-runs=0", FUZZ_SEEDS=str(corpus))
    limits = (f"-max_total_time={seconds}", "-max_len=4096", "-timeout=10", "-rss_limit_mb=2048")
    return _call(program, name, *limits, "-print_final_stats=1", f"-artifact_prefix={artifacts}/", corpus, kept)


def _keep(program: Path, name: str) -> None:
    """Of the fewest inputs that reach as much, some of each size."""
    least = FUZZ / "corpus" / f"{name}.least"
    shutil.rmtree(least, ignore_errors=True)
    least.mkdir(parents=True)
    if _call(program, name, "-merge=1", f"-max_len={MAX_BYTES}", least, KEPT / name, FUZZ / "corpus" / name):
        shutil.rmtree(KEPT / name)
        (KEPT / name).mkdir()
        small = sorted((each for each in least.iterdir()), key=lambda each: (each.stat().st_size, each.name))
        for each in small[:: max(1, -(-len(small) // MAX_FILES))]:
            shutil.copy(each, KEPT / name / each.name[:12])
    shutil.rmtree(least)


if __name__ == "__main__":
    sys.exit(main())
