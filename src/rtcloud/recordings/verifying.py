"""Verifies the recorded files of a directory: plays each through the decoders and puts ``checking`` to work. Blocking.

Beside what the files themselves say, a directory may hold checksums (``SHA256SUMS``, as ``sha256sum`` writes it), and
whoever knows the task may say how large each file must be (``Said``).
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rtcloud.recordings import checking
from rtcloud.recordings.checking import Checked, Finding
from rtcloud.recordings.folder import Folder, open_index
from rtcloud.recordings.index import Index
from rtcloud.recordings.names import FileName
from rtcloud.recordings.playing import Played, is_ready_to_stream, play

SUMS = "SHA256SUMS"
#: what ``rtcloud merge`` puts beside the recorded files
_MERGED = re.compile(r"[A-Za-z0-9+\-]+\.{0,2}_\d{17}(_av\.mp4|\.m4a)")
_SUM = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_MAX_SUMS_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Said:
    """What the task's records say of a file."""

    size: int
    is_stored: bool  # else it is still to be uploaded


@dataclass(slots=True)
class Result:
    """Of one file."""

    name: str
    size: int
    played: Played | None = None  # not of an index
    findings: list[Finding] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not any(finding.is_fault for finding in self.findings)


@dataclass(slots=True)
class Report:
    place: Path
    results: list[Result]

    @property
    def is_good(self) -> bool:
        return all(result.is_good for result in self.results)


def verify(
    folder: Folder,
    said: Mapping[str, Said] | None = None,
    *,
    is_running: bool = False,
    told: Callable[[Result], None] = lambda _: None,
) -> Report:
    """``is_running``: the recording goes on, so the ends of its files need not be there. ``told`` hears of each file as
    soon as it was played; findings that need all files come with the report. Raises OSError."""
    results = {file.name.text: Result(file.name.text, file.size) for file in folder.files}
    indexes: dict[FileName, Index] = {}
    checked: list[Checked] = []
    for file in folder.files:
        result = results[file.name.text]
        if file.name.kind == "index":
            indexes[file.name] = open_index(file)
            continue
        result.played = play(file.path)
        checked.append(Checked(file.name, result.played))
        result.findings += checking.check_played(checked[-1])
        if file.name.extension == "mp4" and not is_ready_to_stream(file.path):
            result.findings.append(Finding(result.name, "index", "its table of contents stands behind its media"))
        told(result)
    for name in folder.others:
        if (other := _other(folder, name)) is not None:
            results[name] = other
    segments = {each.name.text: each for each in checked if each.name.kind == "segment"}
    findings: list[Finding] = []
    for index_name, index in indexes.items():
        findings += checking.check_index(index_name, index, segments, is_running=is_running)
    findings += checking.check_listed(checked, indexes, is_running=is_running)
    wholes = [each for each in checked if each.name.kind == "whole"]
    findings += checking.check_wholes(wholes, indexes, is_running=is_running)
    findings += _check_sums(folder)
    if said is not None:
        findings += _check_said(folder, said)
    for finding in findings:
        results.setdefault(finding.file, Result(finding.file, 0)).findings.append(finding)
    return Report(folder.path, sorted(results.values(), key=lambda result: result.name))


def is_merged(name: str) -> bool:
    return _MERGED.fullmatch(name) is not None


def _other(folder: Folder, name: str) -> Result | None:
    path = folder.path / name
    if name == SUMS:
        return None
    result = Result(name, path.stat().st_size)
    if is_merged(name):
        result.played = play(path)
        result.findings += [Finding(name, "plays", error) for error in result.played.errors]
    else:
        result.findings.append(Finding(name, "name", "recorded files are not named so"))
    return result


def _check_said(folder: Folder, said: Mapping[str, Said]) -> Iterator[Finding]:
    sizes = {file.name.text: file.size for file in folder.files}
    for name, known in said.items():
        size = sizes.get(name)
        if size is None and known.is_stored:
            yield Finding(name, "missing", "it was stored, and is not there")
        elif size is None:
            yield Finding(name, "missing", "it is still to be stored", is_fault=False)
        elif known.is_stored and size != known.size:
            yield Finding(name, "size", f"it has {size} bytes, and had {known.size} when it was stored")
    for name in sizes.keys() - said.keys():
        yield Finding(name, "name", "the task's records do not know it", is_fault=False)


def _check_sums(folder: Folder) -> Iterator[Finding]:
    path = folder.path / SUMS
    if SUMS not in folder.others:
        return
    with path.open("rb") as file:
        lines = file.read(_MAX_SUMS_BYTES).decode("utf-8", "replace").splitlines()
    for line in lines:
        found = _SUM.fullmatch(line)
        if found is None:
            yield Finding(SUMS, "checksum", f"{line[:80]!r} is no line of sha256sum")
            continue
        digest, name = found.groups()
        target = folder.path / name
        if "/" in name or not target.is_file():
            yield Finding(name, "missing", f"{SUMS} names it, and it is not there")
        else:
            with target.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                    yield Finding(name, "checksum", "it is not what it was: its SHA-256 is another one")
