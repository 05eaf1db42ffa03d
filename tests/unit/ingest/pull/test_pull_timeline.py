"""Openings of a source, one after the other, on one timeline."""

from rtcloud.ingest.media import Kind, SourcePacket, StreamForm
from rtcloud.ingest.pull.timeline import Piece, Timeline

MS = 1_000
S = 1_000_000
FORMS: dict[Kind, StreamForm] = {"audio": StreamForm("audio", "opus"), "video": StreamForm("video", "vp8")}


def read(timeline: Timeline, begin_us: int, end_us: int, *, gop_us: int = S) -> list[Piece]:
    """Pictures each 40 ms with a keyframe each second, and sound each 20 ms."""
    pieces = []
    for at in range(begin_us, end_us, 20 * MS):
        kinds: list[Kind] = ["audio", "video"] if at % (40 * MS) == 0 else ["audio"]
        for kind in kinds:
            key = kind == "audio" or at % gop_us == 0
            pieces.append(timeline.place(SourcePacket(FORMS[kind], b"", at, at, key)))
    return [piece for piece in pieces if piece is not None]


def times(pieces: list[Piece], kind: Kind) -> list[int]:
    return [piece.packet.dts_us for piece in pieces if piece.packet.kind == kind]


def test_the_next_round_follows_the_last_without_a_gap() -> None:
    timeline = Timeline()
    pieces = []
    for _ in range(3):
        timeline.begin(0)
        pieces += read(timeline, 0, 2 * S)
    for kind, step in (("audio", 20 * MS), ("video", 40 * MS)):
        found = times(pieces, "audio" if kind == "audio" else "video")
        gaps = {later - earlier for earlier, later in zip(found, found[1:], strict=False)}
        assert max(gaps) <= step + 40 * MS
        assert min(gaps) > 0
    assert [piece.epoch for piece in pieces] == sorted(piece.epoch for piece in pieces)
    assert pieces[-1].epoch == 2


def test_a_source_goes_on_exactly_behind_what_came() -> None:
    timeline = Timeline()
    timeline.begin(0)
    before = read(timeline, 0, 5 * S + 300 * MS)
    assert timeline.position_us == 5 * S + 280 * MS
    timeline.go_on(0)
    after = read(timeline, 3 * S, 6 * S)
    for kind, step in (("audio", 20 * MS), ("video", 40 * MS)):
        found = times(before + after, "audio" if kind == "audio" else "video")
        assert {later - earlier for earlier, later in zip(found, found[1:], strict=False)} == {step}
    assert {piece.epoch for piece in before + after} == {0}


def test_a_source_that_goes_on_too_late_waits_for_a_keyframe() -> None:
    timeline = Timeline()
    timeline.begin(0)
    read(timeline, 0, 2 * S)
    timeline.go_on(0)
    after = read(timeline, 3_500 * MS, 5 * S)
    pictures = [piece for piece in after if piece.packet.kind == "video"]
    assert pictures[0].packet.keyframe
    assert pictures[0].epoch == 1


def test_pictures_begin_with_a_keyframe() -> None:
    timeline = Timeline()
    timeline.begin(0)
    pieces = read(timeline, 500 * MS, 2 * S)
    assert next(piece for piece in pieces if piece.packet.kind == "video").packet.keyframe


def test_what_cannot_seek_is_read_up_to_the_place_asked_for() -> None:
    timeline = Timeline()
    timeline.begin(S, 30 * S)
    pieces = read(timeline, S, 33 * S)
    assert times(pieces, "audio")[0] == 31 * S
    assert times(pieces, "video")[0] == 31 * S


def test_a_jump_of_the_sources_clock_is_no_jump_in_the_room() -> None:
    timeline = Timeline()
    timeline.begin(0)
    pieces = read(timeline, 0, 2 * S) + read(timeline, 1_000 * S, 1_002 * S)
    found = times(pieces, "audio")
    assert max(later - earlier for earlier, later in zip(found, found[1:], strict=False)) <= 100 * MS
