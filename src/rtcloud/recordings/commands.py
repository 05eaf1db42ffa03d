"""``rtcloud merge`` and ``rtcloud recording verify``: what they print, and their exit status.

0: done, nothing is wrong; 1: something could not be read, or is wrong; 2: a mistake of whoever typed it.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rtcloud.errors import ConfigError
from rtcloud.recordings.folder import Folder, folders, read_folder
from rtcloud.recordings.merging import Merged, merge
from rtcloud.recordings.playing import PlayedStream
from rtcloud.recordings.sections import Choice
from rtcloud.recordings.verifying import Report, Result, Said, verify

#: of what is asked for by ``-r``
SIDES = (16, 4096)


def run_merge(directory: Path, choice: Choice, *, as_json: bool) -> int:
    folder = _opened(directory)
    if choice.size is not None and not all(SIDES[0] <= side <= SIDES[1] for side in choice.size):
        raise ConfigError(f"-r: width and height are from {SIDES[0]} to {SIDES[1]}")

    def say(made: Merged) -> None:
        if not as_json:
            size = "" if made.size is None else f", {made.size[0]}x{made.size[1]}"
            print(f"{made.path}: {made.seconds:.1f} s{size}", flush=True)

    try:
        outcome = merge(folder, choice, say)
    except OSError as error:
        raise ConfigError(f"{error.filename or directory}: {error.strerror or error}") from error
    if not outcome.files:
        outcome.faults.append(f"{directory}: there are no segments of single-stream recordings to merge")
    if as_json:
        files = [{"file": str(made.path), "seconds": made.seconds, "size": made.size} for made in outcome.files]
        print(json.dumps({"files": files, "faults": outcome.faults}, indent=2, ensure_ascii=False))
    for fault in outcome.faults:
        print(f"rtcloud: {fault}", file=sys.stderr)
    return 1 if outcome.faults else 0


def run_verify(directory: Path, *, as_json: bool) -> int:
    """Every directory of recorded files that lies in it."""
    try:
        found = list(folders(directory))
    except OSError as error:
        raise ConfigError(f"{error.filename or directory}: {error.strerror or error}") from error
    if not found:
        raise ConfigError(f"{directory}: there are no recorded files in it")
    reports = [_verified(folder, None, is_running=False, as_json=as_json) for folder in found]
    return _concluded(reports, as_json=as_json)


def run_verify_task(shown: Mapping[str, Any], *, as_json: bool) -> int:
    """``shown`` is what ``recordings show`` says of the task, segments too."""
    directory = local_directory(shown)
    said = {file["name"]: Said(file["size"], file["stored"]) for file in shown["files"]}
    folder = _opened(directory)
    return _concluded([_verified(folder, said, is_running=shown["live"], as_json=as_json)], as_json=as_json)


def local_directory(shown: Mapping[str, Any]) -> Path:
    if shown["directory"] is None:
        where = "/".join(filter(None, (shown["bucket"], shown["folder"]))) or "bucket unknown"
        raise ConfigError(f"the files of task {shown['task_id']} ({where}) do not lie on this machine")
    return Path(shown["directory"])


def _verified(folder: Folder, said: Mapping[str, Said] | None, *, is_running: bool, as_json: bool) -> Report:
    if not as_json:
        print(f"{printable(str(folder.path))}:", flush=True)
    try:
        report = verify(folder, said, is_running=is_running, told=_ignore if as_json else _tell)
    except OSError as error:
        raise ConfigError(f"{error.filename or folder.path}: {error.strerror or error}") from error
    if not as_json:
        for result in report.results:
            for finding in result.findings:
                word = "FAIL" if finding.is_fault else "note"
                print(f"{word}  {printable(finding.file)}: {finding.check}: {printable(finding.message)}")
    return report


def _concluded(reports: Sequence[Report], *, as_json: bool) -> int:
    good = all(report.is_good for report in reports)
    if as_json:
        told = [
            {"directory": str(report.place), "files": [_plain(each) for each in report.results]} for report in reports
        ]
        print(json.dumps({"ok": good, "recordings": told}, indent=2, ensure_ascii=False))
    else:
        results = [result for report in reports for result in report.results]
        wrong = sum(not result.is_good for result in results)
        print(f"{len(results)} files, {f'{wrong} with faults' if wrong else 'nothing is wrong'}")
    return 0 if good else 1


def _tell(result: Result) -> None:
    played = result.played
    if played is not None and played.streams:
        streams = ", ".join(_stream(stream) for stream in played.streams)
        print(f"      {printable(result.name)}: {played.seconds:.2f} s, {streams}", flush=True)


def _ignore(_result: Result) -> None:
    pass


def _stream(stream: PlayedStream) -> str:
    return " ".join((stream.codec, *(f"{width}x{height}" for width, height in stream.sizes)))


def _plain(result: Result) -> dict[str, object]:
    played = result.played
    return {
        "name": result.name,
        "size": result.size,
        "ok": result.is_good,
        "seconds": None if played is None else round(played.seconds, 3),
        "streams": [] if played is None else [asdict(stream) for stream in played.streams],
        "findings": [asdict(finding) for finding in result.findings],
    }


def printable(text: str) -> str:
    """File names may come from elsewhere: nothing in them moves the terminal's cursor."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _opened(directory: Path) -> Folder:
    try:
        return read_folder(directory)
    except OSError as error:
        raise ConfigError(f"{directory}: {error.strerror or error}") from error
