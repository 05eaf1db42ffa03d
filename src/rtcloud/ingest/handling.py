"""How the operator is told what becomes of each stream that comes in: notes, metrics, and lines of a task's figures.
Pure. Pushes and pulls say it in the same words."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import get_args

from rtcloud.ingest.media import Handling, Kind
from rtcloud.tasks.protocol import Noted

KINDS: tuple[Kind, ...] = get_args(Kind)
HOWS: Mapping[str, str] = MappingProxyType(
    {
        "copied": "whose packets go on as they are",
        "transcoded": "encoded anew",
        "refused": "that are not taken, and their push with them",
        "left_out": "that nobody in a room could use",
    }
)

#: Thousandths of a core that a job takes whose pictures are copied, and one that encodes them: the largest that rooms
#: get take twice what docs/performance.md says of 1280 × 720.
COPIED, TRANSCODED = 50, 480


def note_code(kind: str, how: str) -> str:
    """As ``VideoTranscoded``, ``AudioLeftOut``."""
    return (f"{kind}_{how}").title().replace("_", "")


def note(handling: Handling, at_ms: int) -> Noted:
    return Noted(at_ms=at_ms, code=note_code(handling.kind, handling.how), message=line(handling))


def load_of(note: Noted) -> int | None:
    """What the job that says so takes, if it says that."""
    return {note_code("video", "copied"): COPIED, note_code("video", "transcoded"): TRANSCODED}.get(note.code)


def line(handling: Handling) -> str:
    """As ``h264 1280x720, transcoded: B-frames``, of ``Figures.streams``."""
    said = f"{handling.source}, {handling.how.replace('_', ' ')}"
    if handling.why:
        said += f": {handling.why}"
    return said if handling.how != "transcoded" or not handling.result else f"{said} → {handling.result}"
