"""What the guides tell people to type, run as it stands there."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

from tests.kit.server import COMMAND, ROOT


def block(page: str, heading: str, language: str) -> str:
    """The first block of that language below a heading of ``docs/guide``."""
    text = (ROOT / "docs/guide" / page).read_text()
    section = re.split(rf"^## {re.escape(heading)}$", text, maxsplit=1, flags=re.MULTILINE)[1].split("\n## ")[0]
    found = re.search(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)
    assert found is not None, f"{page}, {heading}: no {language}"
    return found[1]


class Typed:
    """``with Typed(command, folder):`` in a shell, in a folder where the server's is ``data``, until it is stopped."""

    def __init__(self, command: str | list[str], folder: Path) -> None:
        path = f"{COMMAND.parent}:{os.environ['PATH']}"
        self._said = folder / "said"
        typed = ["bash", "-eu", "-c", command] if isinstance(command, str) else command
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                ["env", "--default-signal=INT", *typed],  # a shell that runs tests in the background ignores it
                cwd=folder,
                env={**os.environ, "PATH": path},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    @classmethod
    def python(cls, text: str, folder: Path, *arguments: str) -> Self:
        script = folder / "printed.py"
        script.write_text(text)
        return cls([sys.executable, str(script), *arguments], folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10)

    def stop(self, within: float = 20.0) -> int:
        """As Ctrl-C does; the exit status."""
        os.killpg(self._process.pid, signal.SIGINT)
        return self._process.wait(within)

    @property
    def said(self) -> str:
        return self._said.read_text(errors="replace")[-3000:]
