"""``rtcloud merge`` as it is typed."""

import json
from pathlib import Path

import pytest

from rtcloud import cli
from rtcloud.egress.recording.naming import encode_id, utc
from tests.kit.singles import BEGIN_MS, Track


def test_what_was_made_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Track(tmp_path, "alice").record(0, 1).record(20, 1).close()
    Track(tmp_path, "alice", "video").record(0, 1).close()
    first = tmp_path / f"{encode_id('alice')}_{utc(BEGIN_MS)}_av.mp4"
    second = tmp_path / f"{encode_id('alice')}_{utc(BEGIN_MS + 20_000)}.m4a"
    assert cli.main(["merge", "-f", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{first}: 1.0 s, 160x90\n{second}: 1.0 s\n"
    options = ["-m", "1", "-s", "-a", "1", "-p", "1", "-r", "641", "360"]
    assert cli.main(["merge", "-f", str(tmp_path), *options, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"files": [{"file": str(first), "seconds": 2.0, "size": [640, 360]}], "faults": []}


def test_nothing_to_merge_and_what_cannot_be_read_are_status_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["merge", "-f", str(tmp_path)]) == 1
    assert "no segments of single-stream recordings" in capsys.readouterr().err
    track = Track(tmp_path, "alice", segment_seconds=1).record(0, 2).close()
    track.segments[0].write_bytes(b"")
    assert cli.main(["merge", "-f", str(tmp_path)]) == 1
    said = capsys.readouterr()
    assert track.segments[0].name in said.err
    assert ".m4a" in said.out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-f", "nowhere"], "nowhere: No such file or directory"),
        (["-f", ".", "-r", "8", "8"], "-r: width and height are from 16 to 4096"),
        (["-f", ".", "-m", "2"], "invalid choice"),
        (["-f", ".", "-r", "8"], "expected 2 arguments"),
        ([], "-f"),
    ],
)
def test_a_mistake_is_one_line_and_status_two(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = cli.main(["merge", *options])
    except SystemExit as error:
        status = int(error.code or 0)
    assert status == 2
    printed = capsys.readouterr()
    assert (said in printed.err, printed.err.count("\n"), printed.out) == (True, 1, "")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Track(tmp_path, "alice").record(0, 1).close()
    name = f"{encode_id('alice')}_{utc(BEGIN_MS)}.m4a"
    (tmp_path / f".{name}.part").mkdir()
    assert cli.main(["merge", "-f", str(tmp_path)]) == 2
    assert name in capsys.readouterr().err
