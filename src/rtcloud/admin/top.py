"""The live view of ``rtcloud media top``: what it shows is pure, ``watch`` is its shell around a terminal.

It redraws in place on the terminal's other screen and leaves the first as it was. Without a terminal, and with
``--once``, it prints once and ends.
"""

import contextlib
import os
import select
import shutil
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rtcloud.admin import tables

EVERY_S = 2.0
#: Key, and the column by which it sorts tracks.
SORTS = {"b": "kbit/s", "l": "loss %", "j": "jitter ms", "f": "fps", "r": "receivers", "z": "frozen ms", "u": "user"}
NAMES = {
    "bitrate": "b",
    "loss": "l",
    "jitter": "j",
    "fps": "f",
    "receivers": "r",
    "freezes": "z",
    "user": "u",
}
HELP = "b bitrate  l loss  j jitter  f fps  r receivers  z freezes  u user  q quit"
_ROOMS = 8
_HIDDEN = {"packets", "bytes", "period", "period ms", "lost in all"}
_OTHER_SCREEN, _FIRST_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _CLEAR_LINE, _CLEAR_REST = "\x1b[H", "\x1b[K", "\x1b[J"


@dataclass(frozen=True, slots=True)
class Window:
    """``lines`` None: everything is shown."""

    columns: int
    lines: int | None


def render(answer: Mapping[str, Any], sort: str, window: Window) -> str:
    """``sort`` is a key of ``SORTS``. What does not fit is cut off; tracks are cut first."""
    threads = "  ".join(f"{one['thread']}: {one['cpu %']} % {one['rooms']} rooms" for one in answer["threads"])
    packets = answer["packets"]
    lines = [
        f"rtcloud media: {len(answer['rooms'])} rooms, {len(answer['tracks'])} streams, "
        f"{answer['kbit/s sent']} kbit/s sent, packets {packets['received']} in {packets['sent']} out "
        f"{packets['dropped']} dropped",
        f"threads  {threads or '-'}",
        "",
    ]
    rooms, tracks = answer["rooms"], ordered(answer["tracks"], sort)
    shown = rooms if window.lines is None else rooms[:_ROOMS]
    lines += tables.render(shown).splitlines() if shown else ["no room is open"]
    if len(shown) < len(rooms):
        lines.append(f"… and {len(rooms) - len(shown)} rooms more")
    for rows in (tracks, ordered(answer.get("receivers", []), sort)):
        if rows:
            visible = [{name: value for name, value in row.items() if name not in _HIDDEN} for row in rows]
            lines += ["", *tables.render(visible).splitlines()]
    if window.lines is not None:
        lines = [line[: window.columns] for line in lines]
        lines = [*lines[: window.lines - 1], f"by {SORTS[sort]}   {HELP}"[: window.columns]]
    return "\n".join(lines)


def ordered(rows: list[dict[str, Any]], sort: str) -> list[dict[str, Any]]:
    """The most first; names by their letters."""
    column = SORTS[sort]
    if column == "user":
        return sorted(rows, key=lambda row: str(row.get(column)))
    return sorted(rows, key=lambda row: -(row.get(column) or 0))


def watch(ask: Callable[[], Mapping[str, Any]], sort: str) -> None:
    """Until q. What ``ask`` raises ends it, with the terminal as it was."""
    with _screen():
        while True:
            answer = ask()
            key = None
            while key not in ("", "q"):
                size = shutil.get_terminal_size()
                shown = render(answer, sort, Window(size.columns, size.lines))
                text = shown.replace("\n", f"{_CLEAR_LINE}\r\n")
                sys.stdout.write(f"{_HOME}{text}{_CLEAR_LINE}{_CLEAR_REST}")
                sys.stdout.flush()
                key = _key(EVERY_S)
                sort = key if key in SORTS else sort
            if key == "q":
                return


def _key(patience_s: float) -> str:
    """Empty: none was pressed. Read past Python's buffer, in which ``select`` would not see what was typed ahead."""
    ready, _, _ = select.select([sys.stdin], [], [], patience_s)
    return (os.read(sys.stdin.fileno(), 1).decode("latin-1") or "q") if ready else ""


@contextlib.contextmanager
def _screen() -> Iterator[None]:
    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin, termios.TCSADRAIN)  # what was typed ahead stays
        sys.stdout.write(_OTHER_SCREEN)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)
        sys.stdout.write(_FIRST_SCREEN)
        sys.stdout.flush()
