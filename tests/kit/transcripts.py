"""Pages whose console blocks are real: every command is run, in order, and must print what the page shows.

A block is ```` ```console ````; a line that begins with ``$ `` is a command (lines after it that begin with ``> ``
belong to it), the rest is what it prints. Ids, keys, times and tokens differ from run to run, so they are compared by
kind, and one that the page showed stands for the real one in the commands that follow. A line of ``…`` stands for any
lines. ``python -m tests.kit.transcripts PAGE…`` writes what is printed now into the pages.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.kit.server import COMMAND, ROOT, Server

_FENCE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_END = "=== that was all ==="
_ANY_LINES = "…"

#: What differs from run to run. The order matters: the longer kinds first.
_KINDS = {
    "request": r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}",
    "sdk_secret_key": r"\b[0-9a-f]{64}\b",
    "secret_id": r"\bAKID[0-9A-Za-z_-]{32,}",
    "token": r"[0-9A-Za-z*_-]{100,}={0,2}|\b[0-9A-Za-z*_-]{16}…",
    "secret_key": r"\b[0-9A-Za-z]{32}\b",
    "time": r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "uin": r"\b1000\d{8}\b",
    "sdk_app_id": r"\b14\d{8}\b",
}
_VARYING = re.compile("|".join(f"(?P<{kind}>{pattern})" for kind, pattern in _KINDS.items()))
_LONG = re.compile(r"[0-9A-Za-z*_-]{100,}={0,2}")


@dataclass
class Entry:
    command: str
    output: str


@dataclass
class Shell:
    """One bash for all commands of a page, in a directory with the server's ``data`` and the ``examples``."""

    directory: Path
    endpoint: str
    process: subprocess.Popen[str] = field(init=False)

    def __post_init__(self) -> None:
        (self.directory / "examples").symlink_to(ROOT / "examples")
        path = f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"
        self.process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.directory,
            env={**os.environ, "PATH": path, "RTCLOUD_ENDPOINT": self.endpoint, "COLUMNS": "100"},
        )

    def run(self, command: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{command}\necho '{_END}'\n")
        self.process.stdin.flush()
        printed: list[str] = []
        for line in self.process.stdout:
            if line.rstrip("\n") == _END:
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"the shell ended at {command!r}: {''.join(printed)}")

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()


@dataclass
class Page:
    """Runs one page; ``real`` holds, for each id or key of the page, what it is in this run."""

    shell: Shell
    real: dict[str, str] = field(default_factory=dict)

    def check(self, text: str) -> int:
        """How many commands were run. AssertionError at the first that prints something else than the page."""
        count = 0
        for entry in entries(text):
            printed = self._run(entry.command)
            wanted = _matched(entry.output, printed)
            assert wanted, f"$ {entry.command}\nthe page shows:\n{entry.output}\nbut it prints:\n{printed}"
            self._learn(entry.output, printed)
            count += 1
        return count

    def rewrite(self, text: str) -> str:
        """The page with what is printed now; its ids and keys stay where their kinds fit."""

        def block(match: re.Match[str]) -> str:
            return "```console\n" + "".join(self._fresh(entry) for entry in _entries(match[1])) + "```"

        return _FENCE.sub(block, text)

    def _fresh(self, entry: Entry) -> str:
        printed = self._run(entry.command)
        if not _matched(entry.output, printed):
            known = {real: shown for shown, real in self.real.items()}
            entry = Entry(entry.command, _LONG.sub(_shortened, _VARYING.sub(lambda m: known.get(m[0], m[0]), printed)))
        self._learn(entry.output, printed)
        first, *rest = entry.command.split("\n")
        return "".join([f"$ {first}\n", *(f"> {line}\n" for line in rest), entry.output])

    def _run(self, command: str) -> str:
        return self.shell.run(_VARYING.sub(lambda match: self.real.get(match[0], match[0]), command))

    def _learn(self, shown: str, printed: str) -> None:
        if _ANY_LINES in shown.splitlines():
            return
        for page, real in zip(_VARYING.finditer(shown), _VARYING.finditer(printed), strict=True):
            if page.lastgroup not in ("time", "request", "token"):
                before = self.real.setdefault(page[0], real[0])
                assert before == real[0], f"the page says {page[0]} of two things: {before} and {real[0]}"


def entries(text: str) -> Iterator[Entry]:
    for match in _FENCE.finditer(text):
        yield from _entries(match[1])


def _entries(block: str) -> list[Entry]:
    found: list[Entry] = []
    for line in block.splitlines(keepends=True):
        if line.startswith("$ "):
            found.append(Entry(line[2:].rstrip("\n"), ""))
        elif line.startswith("> ") and not found[-1].output:
            found[-1].command += "\n" + line[2:].rstrip("\n")
        else:
            found[-1].output += line
    return found


def _matched(shown: str, printed: str) -> bool:
    pieces = [re.escape(_masked(piece)) for piece in re.split(rf"^{_ANY_LINES}\n", shown, flags=re.MULTILINE)]
    return re.fullmatch("(?:.*\n)*?".join(pieces), _masked(printed)) is not None


def _masked(text: str) -> str:
    return _VARYING.sub(lambda match: f"<{match.lastgroup}>", text)


def _shortened(match: re.Match[str]) -> str:
    return match[0][:16] + "…"


def on_fresh_server(work: Callable[[Page], None]) -> None:
    with tempfile.TemporaryDirectory() as directory, Server(Path(directory) / "data") as server:
        shell = Shell(Path(directory), server.url)
        try:
            work(Page(shell))
        finally:
            shell.close()


def main() -> int:
    parser = argparse.ArgumentParser(description="Write what the commands of pages print now into them.")
    parser.add_argument("pages", type=Path, nargs="+")
    for path in parser.parse_args().pages:
        on_fresh_server(lambda page, path=path: path.write_text(page.rewrite(path.read_text())) and None)  # type: ignore[misc]
    return 0


if __name__ == "__main__":
    sys.exit(main())
