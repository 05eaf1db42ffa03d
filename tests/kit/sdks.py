"""The official SDKs of other languages: programs of theirs that make the calls they are given as JSON."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
JAVA_CLASSES = ROOT / "target" / "interop-java"


def node_command() -> list[str]:
    return [_found("node"), str(ROOT / "tests" / "interop" / "node" / "calls.mjs")]


def java_command() -> list[str]:
    assert (JAVA_CLASSES / "Calls.class").exists(), "the Java program is not built: run `make setup`"
    classes = f"{JAVA_CLASSES}:{JAVA_CLASSES}/*"
    # A short life on a shared machine: one compiler, the simplest collector, an answer even without a locale.
    options = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-Dfile.encoding=UTF-8"]
    return [_found("java"), *options, "-cp", classes, "Calls"]


def run_calls(command: list[str], calls: list[dict[str, Any]], within_s: float = 60) -> list[dict[str, Any]]:
    """One outcome for each call: ``{"response": …}`` or ``{"error": {"code", "message", "request_id"}}``."""
    given = json.dumps({"calls": calls})
    done = subprocess.run(command, input=given, capture_output=True, text=True, timeout=within_s)
    assert done.returncode == 0, done.stderr
    outcomes = json.loads(done.stdout)
    assert len(outcomes) == len(calls)
    return list(outcomes)


def _found(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, f"{program} was not found: run `make setup`"
    return path
