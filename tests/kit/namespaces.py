"""A network namespace with one link to this machine, and a test that can cut it: what runs inside loses its network as
if the cable were pulled. Needs root and ``ip`` (Debian's iproute2).
"""

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Self

#: From the block for tests of networks (RFC 2544): no network that anybody is in.
_NETWORK = "198.18"


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=10)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


class Namespace:
    """``with Namespace() as away:``. ``outside`` is this machine's address on the link, ``inside`` the other end's."""

    def __init__(self) -> None:
        assert shutil.which("ip"), "`ip` was not found: run `make setup`, or install iproute2"
        assert os.geteuid() == 0, "network namespaces are made by root only: run this test as root"
        number = secrets.randbelow(2**14)
        subnet = f"{_NETWORK}.{number // 64}.{number % 64 * 4}"
        self.outside, self.inside = (f"{subnet.rpartition('.')[0]}.{number % 64 * 4 + host}" for host in (1, 2))
        self.name = f"rtc-{number}"
        self._link = f"rtc{number}o"
        self._inner = f"rtc{number}i"

    def __enter__(self) -> Self:
        ip("netns", "add", self.name)
        try:
            ip("link", "add", self._link, "type", "veth", "peer", "name", self._inner)
            ip("link", "set", self._inner, "netns", self.name)
            ip("address", "add", f"{self.outside}/30", "dev", self._link)
            ip("link", "set", self._link, "up")
            ip("-n", self.name, "address", "add", f"{self.inside}/30", "dev", self._inner)
            ip("-n", self.name, "link", "set", self._inner, "up")
            ip("-n", self.name, "link", "set", "lo", "up")
            ip("-n", self.name, "route", "add", "default", "via", self.outside)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        ip("netns", "delete", self.name)  # with its end of the link goes the other

    def cut(self) -> None:
        """Nothing passes any more; nobody is told."""
        ip("link", "set", self._link, "down")

    def mend(self) -> None:
        ip("link", "set", self._link, "up")

    def move(self) -> None:
        """What runs inside is in another network from now on, with another address; the old one is gone at once."""
        network = f"198.19.{self.inside.split('.', 2)[2].rpartition('.')[0]}"
        last = int(self.inside.rpartition(".")[2])
        outside, inside = f"{network}.{last - 1}", f"{network}.{last}"
        ip("address", "add", f"{outside}/30", "dev", self._link)
        ip("-n", self.name, "address", "add", f"{inside}/30", "dev", self._inner)
        ip("-n", self.name, "address", "delete", f"{self.inside}/30", "dev", self._inner)
        ip("-n", self.name, "route", "replace", "default", "via", outside)
        self.inside = inside

    def command(self, *words: str) -> list[str]:
        """A command line that runs inside."""
        return ["ip", "netns", "exec", self.name, *words]

    def wrapper(self, folder: Path, program: str) -> Path:
        """A program that runs another one inside, with whatever it is given."""
        script = folder / f"{self.name}.sh"
        script.write_text(f'#!/bin/sh\nexec ip netns exec {self.name} "{program}" "$@"\n')
        script.chmod(0o755)
        return script
