"""Playlists on their way to the demuxer."""

import time

import pytest

from rtcloud.ingest.pull.playlists import MOST_BYTES, MOST_LINES, MOST_PREPARED, is_playlist, prepare

MASTER = """#EXTM3U
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="low",NAME="other",URI="low.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="high",NAME="a",URI="a.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="high",NAME="b",DEFAULT=YES,URI="sound/b.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=9000000,RESOLUTION=3840x2160,AUDIO="high"
uhd.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=500000,RESOLUTION=640x360,AUDIO="low"
small.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=3000000,RESOLUTION=1920x1080,CODECS="avc1.64,mp4a",AUDIO="high"
../hd.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=2000000,RESOLUTION=1920x1080,AUDIO="high"
hd-poor.m3u8
"""


def test_of_a_master_playlist_the_best_variant_is_left_with_its_sound() -> None:
    assert prepare(MASTER, "https://host/a/b/master.m3u8?key=1").splitlines() == [
        "#EXTM3U",
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="high",NAME="b",DEFAULT=YES,URI="https://host/a/b/sound/b.m3u8"',
        '#EXT-X-STREAM-INF:BANDWIDTH=3000000,RESOLUTION=1920x1080,CODECS="avc1.64,mp4a",AUDIO="high"',
        "https://host/a/hd.m3u8",
    ]


def test_when_all_variants_are_too_large_the_smallest_is_left() -> None:
    text = "#EXTM3U\n#EXT-X-STREAM-INF:RESOLUTION=7680x4320\na\n#EXT-X-STREAM-INF:RESOLUTION=3840x2160\nb\n"
    assert prepare(text, "http://host/").splitlines()[-1] == "http://host/b"


def test_every_address_of_a_media_playlist_is_made_absolute() -> None:
    text = (
        '#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="key?a=1"\n#EXT-X-MAP:URI="/init.mp4"\n#EXTINF:4,\n1.m4s\nhttp://b/2\n'
    )
    assert prepare(text, "https://host/x/y.m3u8").splitlines() == [
        "#EXTM3U",
        '#EXT-X-KEY:METHOD=AES-128,URI="https://host/x/key?a=1"',
        '#EXT-X-MAP:URI="https://host/init.mp4"',
        "#EXTINF:4,",
        "https://host/x/1.m4s",
        "http://b/2",
    ]


def test_a_master_playlist_without_an_address_is_empty() -> None:
    assert prepare("#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1", "http://host/") == "#EXTM3U\n"


def test_playlists_are_known_by_their_first_bytes() -> None:
    assert is_playlist(b"#EXTM3U\n")
    assert is_playlist(b"\xef\xbb\xbf#EXTM3U")
    assert not is_playlist(b"FLV\x01")


def test_short_addresses_do_not_become_long_ones_without_end() -> None:
    base = "http://host/" + "x/" * 2000
    with pytest.raises(ValueError, match="addresses"):
        prepare("#EXTM3U\n" + "a\n" * (MOST_PREPARED // 4000 + 1), base)
    assert len(prepare("#EXTM3U\n#EXT-X-KEY:" + 'URI="a",' * 10_000 + "\n", base)) < 100_000


def test_a_playlist_of_too_many_lines_is_refused() -> None:
    with pytest.raises(ValueError, match="lines"):
        prepare("a\n" * (MOST_LINES + 1), "http://host/")


def test_attributes_of_one_endless_word_cost_little() -> None:
    began = time.process_time()
    prepare("#EXTM3U\n#EXT-X-STREAM-INF:" + "A" * (MOST_BYTES - 100) + "\nlow.m3u8\n", "http://host/")
    prepare("#EXTM3U\n#EXT-X-STREAM-INF:" + ",A" * (MOST_BYTES // 2 - 100) + "\nlow.m3u8\n", "http://host/")
    assert time.process_time() - began < 5.0
