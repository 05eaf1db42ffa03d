"""Which segments make which merged file: the documents' rules of merging single streams. Pure.

Two segments of a user belong to different *sections* when more than 15 seconds lie between them in which there is
neither sound nor picture; streams that are not wanted count as nothing. Separate files or one: ``Choice.joined``.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

GAP_MS = 15_000
FPS_RANGE = (5, 120)
DEFAULT_FPS = 15

#: main stream only, main or else sub stream, sub stream only
Wanted = Literal[0, 1, 2]


@dataclass(frozen=True, slots=True)
class Choice:
    joined: bool = False  # one file for each user
    saves: bool = False  # joined without the blanks between sections
    wanted: Wanted = 0
    fps: int = DEFAULT_FPS
    size: tuple[int, int] | None = None  # None: as large as the largest picture

    @property
    def frame_rate(self) -> int:
        return min(max(self.fps, FPS_RANGE[0]), FPS_RANGE[1])


@dataclass(frozen=True, slots=True)
class Piece:
    """A segment on the clock. ``user`` is as it stands in file names."""

    user: str
    stream: str  # the application and the room, and the user
    media_id: str  # main, aux
    media: str  # audio, video, audio_video
    begin_ms: int
    end_ms: int
    path: str
    stamp: str  # of its name

    @property
    def has_sound(self) -> bool:
        return self.media != "video"

    @property
    def has_pictures(self) -> bool:
        return self.media != "audio"


@dataclass(frozen=True, slots=True)
class Section:
    begin_ms: int
    end_ms: int
    sounds: tuple[Piece, ...]  # of one stream follow one another; different streams are heard together
    pictures: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """One file to be made. ``spans`` are the stretches of the clock that it shows, one after the other."""

    name: str
    spans: tuple[tuple[int, int], ...]
    sections: tuple[Section, ...]

    @property
    def has_pictures(self) -> bool:
        return any(section.pictures for section in self.sections)

    @property
    def seconds(self) -> float:
        return sum(end - begin for begin, end in self.spans) / 1000

    @property
    def has_sound(self) -> bool:
        return any(section.sounds for section in self.sections)


def plan(pieces: Iterable[Piece], choice: Choice) -> list[Plan]:
    """The files to make, user by user."""
    users: dict[tuple[str, str], list[Piece]] = defaultdict(list)
    for piece in pieces:
        if piece.end_ms > piece.begin_ms:
            users[piece.user, piece.stream].append(piece)
    plans = []
    for _, owned in sorted(users.items()):
        wanted = [piece for piece in owned if _is_wanted(piece, choice.wanted)]
        groups = list(_groups(wanted))
        sections = [_section(group, choice.wanted) for group in groups]
        if not sections:
            continue
        stamps = [group[0].stamp for group in groups]
        if not choice.joined:
            plans += [
                _plan(owned[0].user, stamp, (section,), choice) for stamp, section in zip(stamps, sections, strict=True)
            ]
        else:
            plans.append(_plan(owned[0].user, stamps[0], tuple(sections), choice))
    return plans


def _plan(user: str, stamp: str, sections: tuple[Section, ...], choice: Choice) -> Plan:
    spans = tuple((section.begin_ms, section.end_ms) for section in sections)
    if not choice.saves:
        spans = ((spans[0][0], spans[-1][1]),)
    has_pictures = any(section.pictures for section in sections)
    return Plan(f"{user}_{stamp}_av.mp4" if has_pictures else f"{user}_{stamp}.m4a", spans, sections)


def _is_wanted(piece: Piece, wanted: Wanted) -> bool:
    """Sound of the main stream goes with either picture; the sub stream's own goes with the sub stream's."""
    if piece.media_id == "aux":
        return wanted != 0
    return wanted != 2 or piece.has_sound


def _groups(pieces: list[Piece]) -> Iterator[list[Piece]]:
    group: list[Piece] = []
    end_ms = 0
    for piece in sorted(pieces, key=lambda piece: (piece.begin_ms, piece.end_ms, piece.path)):
        if group and piece.begin_ms - end_ms > GAP_MS:
            yield group
            group = []
        group.append(piece)
        end_ms = max(end_ms, piece.end_ms)
    if group:
        yield group


def _section(group: list[Piece], wanted: Wanted) -> Section:
    main = [piece for piece in group if piece.media_id == "main"]
    aux = [piece for piece in group if piece.media_id == "aux"]
    mains_pictures = [piece for piece in main if piece.has_pictures] if wanted != 2 else []
    pictures = mains_pictures if mains_pictures or wanted == 0 else [piece for piece in aux if piece.has_pictures]
    heard = "aux" if pictures and pictures[0].media_id == "aux" or wanted == 2 else "main"
    return Section(
        begin_ms=min(piece.begin_ms for piece in group),
        end_ms=max(piece.end_ms for piece in group),
        sounds=tuple(piece for piece in group if piece.has_sound and piece.media_id in ("main", heard)),
        pictures=tuple(pictures),
    )
