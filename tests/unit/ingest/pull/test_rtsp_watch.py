"""What an RTSP server may send to FFmpeg."""

import pytest

from rtcloud.ingest.pull.forwarding import HEAD_BYTES, CutError, Watch

OK = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 5\r\n\r\nhello"
FOUND = b"RTSP/1.0 302 Found\r\nLocation: rtsp://10.0.0.1/\r\n\r\n"


LOCATION = b"Location: rtsp://10.0.0.1/"


def test_answers_and_media_pass_in_pieces_of_any_size() -> None:
    data = OK + b"$\x00\x00\x10RTSP/1.0 302 xxx" + OK
    for size in (1, 7, 1000):
        watch = Watch()
        assert b"".join(watch.look(data[at : at + size]) for at in range(0, len(data), size)) == data


@pytest.mark.parametrize("before", [b"", OK, b"$\x01\x00\x03abc"])
@pytest.mark.parametrize("bad", [FOUND, b"REDIRECT rtsp://a RTSP/1.0\r\n\r\n", b"a" * (HEAD_BYTES + 1)])
def test_redirects_and_endless_heads_are_cut_off(before: bytes, bad: bytes) -> None:
    watch = Watch()
    watch.look(before)
    with pytest.raises(CutError):
        watch.look(bad)


@pytest.mark.parametrize(
    "bad",
    [
        b"RTSP/1.0 302 Found\n" + LOCATION + b"\n\n",
        b"RTSP/1.0 302 Found\n" + LOCATION + b"\n\n\r\n\r\n",
        b"RTSP/1.0  302 Found\r\n" + LOCATION + b"\r\n\r\n",
        b"RTSP/1.0 +302 Found\r\n" + LOCATION + b"\r\n\r\n",
        b"RTSP/1.0 0302 Found\r\n" + LOCATION + b"\r\n\r\n",
        b"RTSP/2.0 302 Found\r\n" + LOCATION + b"\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nX: y\n\nRTSP/1.0 302 Found\r\n\r\n",
        b"RTSP/1.0 200 OK\r\n$\x00\x00\x08RTSP/1.0 302 Found\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 99\r\nContent-Length: 0\r\n\r\n" + FOUND,
        b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n" + FOUND,
        b"RTSP/1.0 200 OK\r\nContent-Length : 99\r\n\r\n" + FOUND,
    ],
)
def test_what_ffmpeg_would_read_as_a_redirect_is_cut_off_in_every_spelling(bad: bytes) -> None:
    with pytest.raises(CutError):
        Watch().look(bad)


def test_nothing_of_a_head_goes_on_before_it_is_whole() -> None:
    watch = Watch()
    assert watch.look(OK[:-8]) == b""
    assert watch.look(OK[-8:]) == OK


def test_packets_that_ffmpeg_would_read_as_heads_are_dropped() -> None:
    assert Watch().look(b"$\x00\x00\x07RTSP/1." + OK) == OK


def test_line_ends_behind_a_body_are_dropped() -> None:
    assert Watch().look(OK + b"\r\n" + OK) == OK + OK
