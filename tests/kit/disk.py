"""A small disk of a test's own, which it can fill and empty: a tmpfs. Needs root."""

import os
import subprocess
from pathlib import Path
from typing import Self

_BLOCK = 1 << 16


class SmallDisk:
    """``with SmallDisk(path, mib) as disk:``. It lies at ``path``, which is made and taken away."""

    def __init__(self, path: Path, mib: int) -> None:
        assert os.geteuid() == 0, "disks are mounted by root only: run this test as root"
        self.path = path
        self._mib = mib
        self._ballast = path / "ballast"

    def __enter__(self) -> Self:
        self.path.mkdir()
        self._run("mount", "-t", "tmpfs", "-o", f"size={self._mib}m", "tmpfs", str(self.path))
        return self

    def __exit__(self, *_: object) -> None:
        self._run("umount", "--lazy", str(self.path))

    @property
    def free(self) -> int:
        found = os.statvfs(self.path)
        return found.f_bavail * found.f_frsize

    def fill(self, *, leave: int) -> None:
        """Until only so many bytes are free."""
        with self._ballast.open("ab") as file:
            while (wanted := self.free - leave) > 0:
                try:
                    file.write(bytes(min(wanted, _BLOCK)))
                    file.flush()
                except OSError:  # somebody else took the last of it
                    return

    def clear(self) -> None:
        self._ballast.unlink(missing_ok=True)

    @staticmethod
    def _run(*command: str) -> None:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
        assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
