"""Ports that are still free when they are used, with several tests at a time on the machine.

They are from below those that the kernel gives away by itself (to whoever connects, or asks for port 0), and each
process of a test run has a part of its own. So a server can also be away for a while and come back to its port.
"""

import itertools
import os
import random
import socket

#: From above the highest that browsers refuse (10080) to below the kernel's own.
_FIRST, _LAST = 10_240, 32_767
_PARTS = 8
_SIZE = (_LAST + 1 - _FIRST) // _PARTS


def free_port(*kinds: socket.SocketKind) -> int:
    """A port that nobody has, another one each time. ``kinds``: what it is for, if not for TCP."""
    for port in itertools.islice(_candidates, _SIZE):
        if all(_is_free(port, kind) for kind in kinds or (socket.SOCK_STREAM,)):
            return port
    raise AssertionError("no port is free")


def accepts(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody takes TCP connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _part() -> list[int]:
    """In this process's order: one that runs at the same time by itself begins elsewhere."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    first, begin = _FIRST + worker % _PARTS * _SIZE, random.SystemRandom().randrange(_SIZE)
    return [first + (begin + number) % _SIZE for number in range(_SIZE)]


_candidates = itertools.cycle(_part())
