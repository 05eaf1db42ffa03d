"""The 15-second rule and the options of merging, without any media."""

from typing import Any

import pytest

from rtcloud.recordings.sections import Choice, Piece, Plan, plan


def piece(begin: float, end: float, media: str = "audio", media_id: str = "main", user: str = "YQ..") -> Piece:
    return Piece(
        user=user,
        stream="1400_77",
        media_id=media_id,
        media=media,
        begin_ms=round(begin * 1000),
        end_ms=round(end * 1000),
        path=f"{user}{media_id}{media}{begin}",
        stamp=f"{begin:g}",
    )


def made(*pieces: Piece, **choice: Any) -> list[str]:
    return [each.name for each in plan(pieces, Choice(**choice))]


def only(*pieces: Piece, **choice: Any) -> Plan:
    (found,) = plan(pieces, Choice(**choice))
    return found


def test_more_than_fifteen_seconds_of_nothing_part_two_sections() -> None:
    assert made(piece(0, 10), piece(25, 30)) == ["YQ.._0.m4a"]
    assert made(piece(0, 10), piece(25.001, 30)) == ["YQ.._0.m4a", "YQ.._25.001.m4a"]


def test_pictures_bridge_a_gap_of_sound() -> None:
    sounds = piece(0, 10), piece(40, 50)
    assert made(*sounds) == ["YQ.._0.m4a", "YQ.._40.m4a"]
    assert made(*sounds, piece(5, 38, "video")) == ["YQ.._0_av.mp4"]


def test_a_stream_that_is_not_wanted_bridges_nothing() -> None:
    pieces = piece(0, 10), piece(40, 50), piece(5, 38, "video", "aux")
    assert made(*pieces, wanted=0) == ["YQ.._0.m4a", "YQ.._40.m4a"]
    assert made(*pieces, wanted=1) == ["YQ.._0_av.mp4"]
    assert made(*pieces, wanted=2) == ["YQ.._0_av.mp4"]
    mains = piece(0, 10), piece(40, 50), piece(5, 38, "video")
    assert made(*mains, wanted=2) == ["YQ.._0.m4a", "YQ.._40.m4a"]


def test_a_long_segment_covers_the_short_ones_after_it() -> None:
    assert made(piece(0, 100, "video"), piece(1, 5), piece(105, 110)) == ["YQ.._0_av.mp4"]


def test_users_are_merged_apart() -> None:
    assert made(piece(0, 10), piece(0, 10, user="Yg.."), piece(5, 9, "video", user="Yg..")) == [
        "YQ.._0.m4a",
        "Yg.._0_av.mp4",
    ]


def test_joined_is_one_file_with_its_blanks_or_without() -> None:
    pieces = piece(10, 20), piece(50, 60, "video")
    assert made(*pieces) == ["YQ.._10.m4a", "YQ.._50_av.mp4"]
    assert made(*pieces, saves=True) == made(*pieces)
    blank = only(*pieces, joined=True)
    assert (blank.name, blank.spans) == ("YQ.._10_av.mp4", ((10_000, 60_000),))
    saved = only(*pieces, joined=True, saves=True)
    assert (saved.name, saved.spans) == ("YQ.._10_av.mp4", ((10_000, 20_000), (50_000, 60_000)))


@pytest.mark.parametrize(("wanted", "shown"), [(0, ["main"]), (1, ["main"]), (2, ["aux"])])
def test_which_pictures_go_with_the_sound(wanted: Any, shown: list[str]) -> None:
    pieces = piece(0, 10), piece(0, 10, "video"), piece(0, 10, "video", "aux")
    (section,) = only(*pieces, wanted=wanted).sections
    assert [each.media_id for each in section.pictures] == shown
    assert [each.media_id for each in section.sounds] == ["main"]


def test_the_sub_stream_is_shown_where_there_is_no_main_picture() -> None:
    pieces = piece(0, 10), piece(0, 10, "video", "aux"), piece(50, 60), piece(50, 60, "video")
    first, second = only(*pieces, wanted=1, joined=True).sections
    assert [each.media_id for each in first.pictures] == ["aux"]
    assert [each.media_id for each in second.pictures] == ["main"]


def test_the_screens_own_sound_is_heard_with_the_screen() -> None:
    pieces = piece(0, 10), piece(0, 10, "audio_video", "aux")
    heard = {
        wanted: {each.media_id for each in only(*pieces, wanted=wanted).sections[0].sounds} for wanted in (0, 1, 2)
    }
    assert heard == {0: {"main"}, 1: {"main", "aux"}, 2: {"main", "aux"}}


def test_only_the_streams_that_are_not_wanted_give_nothing() -> None:
    assert made(piece(0, 10, "video", "aux")) == []
    assert made(piece(0, 10, "video"), wanted=2) == []
    assert made(piece(5, 5)) == []


def test_frame_rates_stay_within_five_and_a_hundred_and_twenty() -> None:
    assert [Choice(fps=fps).frame_rate for fps in (-1, 4, 5, 15, 120, 1000)] == [5, 5, 5, 15, 120, 120]
