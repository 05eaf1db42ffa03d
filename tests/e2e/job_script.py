"""A job for the tests of the supervisor: speaks the protocol, does what ``JOB_SCRIPT`` says, records nothing.

Words are done in order; ``0:`` and the like before a word limits it to that attempt.
"""

import contextlib
import fcntl
import json
import os
import select
import sys
import threading
import time
from pathlib import Path

order = json.loads(sys.stdin.buffer.readline())
attempt, spool = order["attempt"], Path(order["spool"])
lock = (spool / "job.lock").open("ab")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
journal = (spool / "journal.jsonl").open("ab")
state = {"sequence": 0, "beating": True}
sending = threading.Lock()


def now() -> int:
    return time.time_ns() // 1_000_000


def raw(data: bytes) -> None:
    with sending:
        view = memoryview(data)
        while view:
            view = view[os.write(3, view) :]


def send(event: dict[str, object], *, journal_only: bool = False) -> None:
    state["sequence"] += 1
    line = json.dumps({"sequence": state["sequence"], "at_ms": now()} | event).encode() + b"\n"
    journal.write(line)
    journal.flush()
    if not journal_only:
        raw(line)


def file(kind: str, name: str, *, journal_only: bool = False) -> None:
    prefix = f"ha{attempt}_" if attempt and kind != "mp4" else ""
    (spool / (prefix + name)).write_bytes(f"{kind} {attempt}".encode())
    closed = {"type": "file_closed", "name": prefix + name, "kind": kind, "begin_ms": 1000, "end_ms": 2000, "size": 9}
    send(closed, journal_only=journal_only)


def beat() -> None:
    with contextlib.suppress(BrokenPipeError):
        while state["beating"]:
            raw(json.dumps({"type": "heartbeat", "at_ms": now()}).encode() + b"\n")
            time.sleep(0.05)


def wait_for_stop() -> None:
    """Until Stop; at EOF the job goes at once."""
    while line := sys.stdin.buffer.readline():
        instruction = json.loads(line)
        (spool / "instructions").open("a").write(instruction["type"] + "\n")
        if instruction["type"] == "update":
            (spool / "update.json").write_text(json.dumps(instruction))
        if instruction["type"] == "stop":
            state["leave_code"] = instruction.get("leave_code", 0)
            return
    file("segment", "last.ts")
    sys.exit(0)


threading.Thread(target=beat, daemon=True).start()
for word in os.environ["JOB_SCRIPT"].split():
    only, _, act = word.rpartition(":")
    if only and int(only) != attempt:
        continue
    if order.get("finish") and act not in ("mp4", "end"):
        continue
    match act:
        case "start":
            send({"type": "started"})
        case "segment":
            file("segment", "a.ts")
        case "index":
            file("index", "a.m3u8")
        case "mp4":
            file("mp4", "a.mp4")
        case "hidden":  # in the journal only, as when the worker died before it read the pipe
            file("segment", "hidden.ts", journal_only=True)
        case "order":
            (spool / "order.json").write_text(json.dumps(order))
        case "connecting" | "pushing":
            status = 1 if act == "connecting" else 2
            send({"type": "output_changed", "url": "rtmp://cdn/live/x", "status": status})
        case "stop?":
            wait_for_stop()
        case "left":
            send({"type": "left", "leave_code": state.get("leave_code", 0)})
        case "kicked":
            send({"type": "left", "leave_code": 1})
        case "end":
            send({"type": "ended"})
            break
        case "die":
            os.kill(os.getpid(), 9)
        case "silent":
            state["beating"] = False
            time.sleep(60)
        case "garbage":
            raw(b"\x00\xff{]\n")
            time.sleep(60)
        case "long":
            raw(b"x" * 1_000_000)
            time.sleep(60)
        case "escape":
            send({"type": "file_closed", "name": "../../../etc/passwd", "kind": "segment",
                  "begin_ms": 0, "end_ms": 1, "size": 1})  # fmt: skip
            time.sleep(60)
        case "deaf":
            select.select([], [], [], 60)
        case "grandchild":  # keeps the pipe open after our death
            if os.fork() == 0:
                state["beating"] = False
                time.sleep(60)
                os._exit(0)
state["beating"] = False
