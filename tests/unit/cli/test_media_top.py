"""The live view of ``rtcloud media top``: what it shows, sorts and cuts, and how a terminal is left."""

import json
import os
import pty
import select
import termios
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtcloud.admin import socket, top
from rtcloud.admin.command import AdminError
from rtcloud.admin.media import MediaTop
from rtcloud.cli import main

LEFT = "\x1b[?25h\x1b[?1049l"


def stream(user: str, rate: float, loss: float = 0.0) -> dict[str, Any]:
    return {"room": "7", "user": user, "track": "video", "kbit/s": rate, "loss %": loss, "packets": 1, "period": 3}


def answer(*tracks: dict[str, Any], rooms: int = 1) -> dict[str, Any]:
    return {
        "packets": {"received": 5, "sent": 6, "dropped": 0},
        "kbit/s sent": 12,
        "threads": [{"thread": 0, "cpu %": 12.5, "rooms": rooms, "people": 2}],
        "rooms": [{"application": 14, "room": str(number), "people": 2} for number in range(rooms)],
        "tracks": list(tracks),
    }


def test_everything_is_shown_where_nothing_limits_it() -> None:
    shown = top.render(answer(stream("alice", 1.0), stream("bob", 2.0), rooms=20), "b", top.Window(0, None))
    lines = shown.splitlines()
    assert "0: 12.5 % 20 rooms" in lines[1]
    assert lines.index(next(line for line in lines if "bob" in line)) < lines.index(
        next(line for line in lines if "alice" in line)
    )
    assert "PERIOD" not in shown
    assert sum(line.startswith("14 ") for line in lines) == 20


def test_tracks_are_sorted_by_what_is_asked_for() -> None:
    rows = [stream("bob", 2.0, 0.1), stream("alice", 1.0, 9.0)]
    assert [row["user"] for row in top.ordered(rows, "l")] == ["alice", "bob"]
    assert [row["user"] for row in top.ordered(rows, "b")] == ["bob", "alice"]
    assert [row["user"] for row in top.ordered(rows, "u")] == ["alice", "bob"]
    assert len(top.ordered(rows, "f")) == 2, "what is not known of a track comes last"
    assert set(top.NAMES.values()) == set(top.SORTS)


def test_it_keeps_within_the_terminal() -> None:
    full = answer(*(stream(f"user{number}", number) for number in range(100)), rooms=30)
    lines = top.render(full, "b", top.Window(40, 24)).splitlines()
    assert len(lines) == 24
    assert max(map(len, lines)) <= 40
    assert "… and 22 rooms more" in lines
    assert lines[-1].startswith("by kbit/s   b bitrate")


def test_names_of_strangers_do_not_move_the_cursor() -> None:
    assert "\x1b" not in top.render(answer(stream("\x1b[2Jmallory", 1)), "b", top.Window(80, None))


def test_without_a_terminal_it_prints_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = []

    def ask(_directory: Path, command: object) -> object:
        asked.append(command)
        return answer(stream("alice", 1))

    monkeypatch.setattr(socket, "ask", ask)
    assert main(["media", "top", "--room", "7"]) == 0
    assert "alice" in capsys.readouterr().out
    assert main(["media", "top", "--json", "--receivers"]) == 0
    assert json.loads(capsys.readouterr().out) == answer(stream("alice", 1))
    assert asked == [MediaTop(room="7"), MediaTop(receivers=True)]


def test_keys_sort_and_end_it_and_the_terminal_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = seen_in_a_terminal(monkeypatch, lambda: answer(stream("alice", 1)), b"lq")
    assert shown.startswith("\x1b[?1049h\x1b[?25l")
    assert "by kbit/s" in shown
    assert "by loss %" in shown
    assert shown.endswith(LEFT)


def test_a_server_that_ends_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone() -> dict[str, Any]:
        raise AdminError("gone")

    with pytest.raises(AdminError, match="gone"):
        seen_in_a_terminal(monkeypatch, gone, b"")


def seen_in_a_terminal(monkeypatch: pytest.MonkeyPatch, ask: Callable[[], dict[str, Any]], keys: bytes) -> str:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "r+b", buffering=0) as raw, os.fdopen(ours, "r+b", buffering=0) as master:
        before = termios.tcgetattr(raw)
        with open(raw.fileno(), closefd=False) as stdin, open(raw.fileno(), "w", closefd=False) as stdout:
            monkeypatch.setattr("sys.stdin", stdin)
            monkeypatch.setattr("sys.stdout", stdout)
            master.write(keys)
            top.watch(ask, "b")
            stdout.flush()
        assert termios.tcgetattr(raw) == before
        return read_to_the_end(master.fileno()).removeprefix(keys.decode())


def read_to_the_end(terminal: int) -> str:
    """The system hands on what was written in pieces, some of them a little later."""
    shown = b""
    while not shown.endswith(LEFT.encode()):
        readable, _, _ = select.select([terminal], [], [], 10)
        assert readable, shown
        shown += os.read(terminal, 65536)
    return shown.decode()
