"""What lies in a directory of recorded files, by name. Only regular files count; links are not followed."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rtcloud.recordings.index import MAX_BYTES, Index, read_index
from rtcloud.recordings.names import FileName, read_name


@dataclass(frozen=True, slots=True)
class RecordedFile:
    path: Path
    name: FileName
    size: int


@dataclass(slots=True)
class Folder:
    path: Path
    files: list[RecordedFile] = field(default_factory=list)  # in the order of their names
    others: list[str] = field(default_factory=list)  # names that are none of a recording

    def of(self, kind: str) -> list[RecordedFile]:
        return [file for file in self.files if file.name.kind == kind]

    def has_media(self) -> bool:
        return bool(self.files)


def read_folder(path: Path) -> Folder:
    """Raises OSError."""
    folder = Folder(path)
    for entry in sorted(path.iterdir()):
        if entry.is_symlink() or not entry.is_file():
            continue
        name = read_name(entry.name)
        if name is None:
            folder.others.append(entry.name)
        else:
            folder.files.append(RecordedFile(entry, name, entry.stat().st_size))
    return folder


def folders(path: Path) -> Iterator[Folder]:
    """The directory and those below it that hold recorded files."""
    for place in (path, *sorted(each for each in path.rglob("*") if each.is_dir() and not each.is_symlink())):
        folder = read_folder(place)
        if folder.has_media():
            yield folder


def open_index(file: RecordedFile) -> Index:
    """Raises OSError."""
    with file.path.open("rb") as stream:
        return read_index(stream.read(MAX_BYTES).decode("utf-8", "replace"))
