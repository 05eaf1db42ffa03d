"""What becomes of streams that come in, as notes, figures and metrics say it."""

import pytest

from rtcloud.ingest.handling import COPIED, HOWS, KINDS, TRANSCODED, line, load_of, note, note_code
from rtcloud.ingest.media import Handling
from rtcloud.tasks.context import NOTES, Counters


@pytest.mark.parametrize(
    ("handling", "code", "said"),
    [
        (Handling("video", "copied", "", "h264 1280x720", "h264 1280x720"), "VideoCopied", "h264 1280x720, copied"),
        (
            Handling("video", "transcoded", "B-frames", "h264 1280x720", "h264 1280x720"),
            "VideoTranscoded",
            "h264 1280x720, transcoded: B-frames → h264 1280x720",
        ),
        (Handling("video", "refused", "B-frames", "h264 1280x720"), "VideoRefused", "h264 1280x720, refused: B-frames"),
        (Handling("audio", "left_out", "unknown codec", "atrac"), "AudioLeftOut", "atrac, left out: unknown codec"),
    ],
)
def test_a_stream_is_told_of_in_one_line(handling: Handling, code: str, said: str) -> None:
    assert line(handling) == said
    told = note(handling, 7)
    assert (told.at_ms, told.code, told.message) == (7, code, said)


def test_only_pictures_change_what_a_job_takes() -> None:
    loads = {
        (kind, how): load_of(note(Handling(kind, how, "", "x"), 0))  # type: ignore[arg-type]
        for kind in KINDS
        for how in HOWS
    }
    assert {key: load for key, load in loads.items() if load is not None} == {
        ("video", "copied"): COPIED,
        ("video", "transcoded"): TRANSCODED,
    }


def test_kinds_of_notes_are_counted_and_not_without_bound() -> None:
    counters = Counters()
    for number in range(2 * NOTES):
        counters.note(f"Made{number}")
        counters.note(note_code("video", "transcoded"))
    assert counters.noted["VideoTranscoded"] == 2 * NOTES
    assert len(counters.noted) == NOTES
