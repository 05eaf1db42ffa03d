"""File names as the documents give them."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.egress.recording.naming import RELAY, FileNames, encode_id, series_of, utc
from rtcloud.recordings.names import read_name


def test_numeric_room() -> None:
    names = FileNames(1400123456, True, "12345")
    assert names.index == "1400123456_12345.m3u8"
    assert names.segment(1_622_186_279_144) == "1400123456_12345_20210528071759144.ts"
    assert names.whole(None) == "1400123456_12345.mp4"
    assert names.whole(2) == "1400123456_12345_2.mp4"


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_later_attempts_have_their_prefix(attempt: int) -> None:
    names = FileNames(1400123456, True, "12345", attempt)
    assert names.index == f"ha{attempt}_1400123456_12345.m3u8"
    assert names.segment(0) == f"ha{attempt}_1400123456_12345_19700101000000000.ts"
    assert names.whole(None) == "1400123456_12345.mp4"


def test_string_room_is_base64_without_what_paths_cannot_carry() -> None:
    assert encode_id("1686119") == "MTY4NjExOQ.."  # of the documents' own example
    assert encode_id("???") == "Pz8-"
    assert FileNames(1, False, "room-1").index == "1_cm9vbS0x.m3u8"


def test_a_single_stream_carries_whose_it_is() -> None:
    names = FileNames(1400123456, True, "12345", 0, "1686119", "main", "audiovideo")
    stem = "1400123456_12345__UserId_s_MTY4NjExOQ..__UserId_e_main"
    assert names.index == f"{stem}_audiovideo.m3u8"
    assert names.segment(0) == f"{stem}_audiovideo_19700101000000000.ts"
    assert names.whole(None) == f"{stem}.mp4"
    assert names.whole(1, "aac") == f"{stem}_1.aac"


def test_the_example_of_the_documents() -> None:
    names = FileNames(1400123456, True, "12345", 0, "1686119", "main", "video")
    begin_ms = 1_995_788_751_825
    assert names.segment(begin_ms).startswith("1400123456_12345__UserId_s_MTY4NjExOQ..__UserId_e_main_video_20330")
    assert series_of(names.segment(begin_ms)) == names.series
    assert series_of(names.segment(begin_ms)) != replace(names, media="audio").series
    assert series_of(names.segment(begin_ms)) != replace(names, attempt=1).series


def test_a_relay_has_one_underscore_where_a_recording_has_two() -> None:
    names = FileNames(1400123456, True, "12345", 0, "1686119", "main", "audio", RELAY)
    assert names.index == "1400123456_12345_UserId_s_MTY4NjExOQ.._UserId_e_main_audio.m3u8"


def test_what_goes_to_vod_begins_with_its_own_id() -> None:
    names = FileNames(1400123456, True, "12345", 1, record_id="my-show_1")
    assert names.index == "my-show_1__UserId_u_ha1_1400123456_12345.m3u8"
    assert names.segment(0) == "my-show_1__UserId_u_ha1_1400123456_12345_19700101000000000.ts"
    assert names.whole(2) == "my-show_1__UserId_u_1400123456_12345_2.mp4"
    for text in (names.index, names.segment(0), names.whole(2)):
        read = read_name(text)
        assert read is not None, text
        assert (read.room, read.sdk_app_id) == ("12345", 1400123456)


def test_an_id_of_ones_own_never_makes_a_name_too_long() -> None:
    for room, user in (("r", "u"), ("r" * 64, "u" * 32), ("r" * 64, "u" * 64)):
        names = FileNames(4294967295, False, room, 3, user, "main", "audiovideo", record_id="o" * 64)
        assert len(names.segment(2**42)) <= 250
        assert names.segment(0).startswith(names.series)
        assert {len(each.partition("ha3_")[0]) for each in (names.index, names.segment(0))} == {
            names.whole(None).index("4294967295")
        }


def test_the_longest_name_is_a_file_name() -> None:
    names = FileNames(4294967295, False, "\N{GRINNING FACE}" * 16, 99, "u" * 64, "main", "audiovideo")
    assert len(names.segment(2**42)) <= 250


@given(st.text(min_size=1, max_size=64).filter(lambda text: text.isprintable()))
def test_any_room_gives_one_path_component(room_id: str) -> None:
    assert re.fullmatch(r"1_[A-Za-z0-9+.-]+\.m3u8", FileNames(1, False, room_id).index)


def test_utc_has_milliseconds() -> None:
    assert utc(1_622_186_279_144) == "20210528071759144"
