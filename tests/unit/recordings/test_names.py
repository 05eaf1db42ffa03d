"""Names of recorded files, read back; and indexes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtcloud.egress.recording.naming import FileNames, encode_id, utc
from rtcloud.recordings.index import read_index
from rtcloud.recordings.names import decode_id, read_name, read_utc

SEGMENT = "1400123456_12345__UserId_s_MTY4NjExOQ..__UserId_e_main_video_20330531094551825.ts"


def test_the_documents_own_example_is_read() -> None:
    name = read_name(SEGMENT)
    assert name is not None
    assert (name.kind, name.attempt, name.sdk_app_id, name.room) == ("segment", 0, 1400123456, "12345")
    assert (decode_id(name.user), name.media_id, name.media) == ("1686119", "main", "video")
    assert name.begin_ms == 2_001_145_551_825
    assert utc(name.begin_ms) == "20330531094551825"


@pytest.mark.parametrize(
    ("text", "kind", "attempt", "part"),
    [
        ("1400_77.m3u8", "index", 0, None),
        ("ha3_1400_77.m3u8", "index", 3, None),
        ("ha12_1400_77.m3u8", "index", 12, None),
        ("1400_77_20330531094551825.ts", "segment", 0, None),
        ("1400_cm9vbQ...mp4", "whole", 0, None),
        ("1400_77_12.mp4", "whole", 0, 12),
        ("1400_77.aac", "whole", 0, None),
        ("1400_77__UserId_s_YQ..__UserId_e_aux.mp4", "whole", 0, None),
        ("1400_77__UserId_s_YQ..__UserId_e_aux_2.aac", "whole", 0, 2),
        ("1400_77_UserId_s_YQ.._UserId_e_main_audiovideo.m3u8", "index", 0, None),
        ("lesson_1__UserId_u_1400_77.mp4", "whole", 0, None),
        ("ha1_1400_77__UserId_s_YQ..__UserId_e_main_audio_20330531094551825.ts", "segment", 1, None),
    ],
)
def test_every_documented_form_is_known(text: str, kind: str, attempt: int, part: int | None) -> None:
    name = read_name(text)
    assert name is not None
    assert (name.kind, name.attempt, name.part) == (kind, attempt, part)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1400.m3u8",
        "1400_77_x.mp4",
        "1400_77_0.mp4",
        "1400_77_2.m3u8",
        "1400_77.ts",
        "1400_77_20331331094551825.ts",
        "1400_77_2033053109455182.ts",
        "1400_77_video.mp4",
        "1400_77_video.m3u8",
        "1400_77__UserId_s_YQ..__UserId_e_main.m3u8",
        "1400_77__UserId_s_YQ..__UserId_e_side_video.m3u8",
        "ha0_1400_77.m3u8",
        "0_77.m3u8",
        "1400_77.m3u8.tmp",
        "1400_77.m3u8#1",
        "YQ.._20210531014551884_av.mp4",
    ],
)
def test_whatever_else_lies_there_is_no_recorded_file(text: str) -> None:
    assert read_name(text) is None


IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=32)


@given(st.booleans(), IDS, st.sampled_from(["", "main", "aux"]), IDS, st.integers(0, 3), st.integers(0, 4 * 10**12))
def test_what_we_name_is_read_back(
    numeric: bool, room: str, media_id: str, user: str, attempt: int, at_ms: int
) -> None:
    single = {"user_id": user, "media_id": media_id, "media": "video"} if media_id else {}
    names = FileNames(1400123456, numeric, "4294967294" if numeric else room, attempt, **single)
    for text, kind in ((names.index, "index"), (names.segment(at_ms), "segment")):
        name = read_name(text)
        assert name is not None
        assert (name.kind, name.attempt) == (kind, attempt)
        assert name.room == (names.room_id if numeric else encode_id(room))
        assert (decode_id(name.user) if media_id else name.user) == names.user_id
        assert name.begin_ms == (at_ms if kind == "segment" else None)
    whole = read_name(names.whole(2))
    assert whole is not None
    assert whole.part == 2


@given(st.text(max_size=100))
def test_no_text_breaks_the_reader(text: str) -> None:
    assert read_name(text) is None or text.isascii()
    read_utc(text)
    decode_id(text)
    read_index(text)


def test_an_index_is_read_with_its_changes_of_size() -> None:
    index = read_index(
        "#EXTM3U\n#EXT-X-TARGETDURATION:13\n#EXT-X-TRTC-START-REC-TIME:1622425551884\n"
        "#EXT-X-TRTC-VIDEO-METADATA:WIDTH:1920 HEIGHT:1080\n#EXTINF:12.074\na.ts\n"
        "#EXT-X-DISCONTINUITY\n#EXT-X-TRTC-VIDEO-METADATA:WIDTH:640 HEIGHT:360\n#EXTINF:3,\nb.ts\n#EXT-X-ENDLIST\n"
    )
    assert (index.begin_ms, index.target_seconds, index.ended, index.faults) == (1622425551884, 13, True, [])
    assert [(entry.name, entry.seconds, entry.discontinuity, entry.size) for entry in index.entries] == [
        ("a.ts", 12.074, False, (1920, 1080)),
        ("b.ts", 3.0, True, (640, 360)),
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "#EXTM3U"),
        ("a.ts", "#EXTM3U"),
        ("#EXTM3U\na.ts", "a.ts has no length"),
        ("#EXTM3U\n#EXTINF:long\na.ts", "no number"),
        ("#EXTM3U\n#EXTINF:inf\na.ts", "no number"),
        ("#EXTM3U\n#EXT-X-TRTC-VIDEO-METADATA:1920x1080", "no size"),
    ],
)
def test_what_is_wrong_in_an_index_is_said(text: str, fault: str) -> None:
    assert any(fault in each for each in read_index(text).faults)
