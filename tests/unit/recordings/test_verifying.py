"""What verifying finds: nothing in good recordings, and whatever is wrong in others."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from rtcloud.recordings.checking import Finding
from rtcloud.recordings.folder import read_folder
from rtcloud.recordings.merging import merge
from rtcloud.recordings.playing import play
from rtcloud.recordings.sections import Choice
from rtcloud.recordings.verifying import Said, verify
from tests.kit.singles import Track


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mixed")
    Track(folder, "", "audiovideo", segment_seconds=2).record(0, 5).close()
    return folder


@pytest.fixture
def folder(mixed: Path, tmp_path: Path) -> Path:
    """Of a mixed recording in which nothing is wrong: three segments."""
    return Path(shutil.copytree(mixed, tmp_path / "copy"))


def findings(folder: Path, said: dict[str, Said] | None = None, *, is_running: bool = False) -> list[Finding]:
    report = verify(read_folder(folder), said, is_running=is_running)
    found = [finding for result in report.results for finding in result.findings]
    assert report.is_good is not any(finding.is_fault for finding in found)
    return found


def faults(folder: Path) -> list[tuple[str, str]]:
    return [(finding.check, finding.message) for finding in findings(folder) if finding.is_fault]


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.ts"))


def index(folder: Path) -> Path:
    (path,) = folder.glob("*.m3u8")
    return path


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_a_good_mixed_recording_has_no_findings(folder: Path) -> None:
    told: list[str] = []
    report = verify(read_folder(folder), told=lambda result: told.append(result.name))
    assert report.is_good
    assert [result.findings for result in report.results] == [[]] * 4
    assert told == [path.name for path in segments(folder)]
    played = report.results[1].played
    assert played is not None
    assert [(stream.kind, stream.codec) for stream in played.streams] == [("video", "h264"), ("audio", "aac")]
    assert abs(played.seconds - 2) < 0.1


def test_a_good_single_recording_with_gaps_and_sizes_is_good_and_its_gap_is_noted(tmp_path: Path) -> None:
    Track(tmp_path, "alice", segment_seconds=2).record(0, 4).record(9, 2).close()
    track = Track(tmp_path, "alice", "video", segment_seconds=2).record(0, 4)
    track.size = (320, 180)
    track.record(4, 2).close()
    Track(tmp_path, "alice", "video", "aux", segment_seconds=2).record(1, 3).close()
    Track(tmp_path, "alice", attempt=1, segment_seconds=2).record(20, 3).close()
    (found,) = findings(tmp_path)
    assert (found.check, found.is_fault) == ("gap", False)
    assert "5.00 s are missing" in found.message
    merge(read_folder(tmp_path), Choice(joined=True))
    assert findings(tmp_path) == [found], "merged files are known"


def break_segment(folder: Path) -> None:
    path = segments(folder)[1]
    data = bytearray(path.read_bytes())
    for at in range(188 * 8, len(data), 188):
        data[at + 100 : at + 180] = bytes(80)
    path.write_bytes(data)


def empty_segment(folder: Path) -> None:
    segments(folder)[1].write_bytes(b"")


def cut_segment(folder: Path) -> None:
    path = segments(folder)[1]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 // 188 * 188])


def lose_segment(folder: Path) -> None:
    segments(folder)[1].unlink()


def forget_segment(folder: Path) -> None:
    edit(index(folder), f"#EXTINF:2.000\n{segments(folder)[1].name}\n", "")


def name_twice(folder: Path) -> None:
    edit(index(folder), "#EXT-X-ENDLIST", f"#EXTINF:2\n{segments(folder)[1].name}\n#EXT-X-ENDLIST")


def name_others(folder: Path) -> None:
    edit(index(folder), "#EXT-X-ENDLIST", "#EXTINF:2\n../../secret.ts\n#EXT-X-ENDLIST")


def lose_end(folder: Path) -> None:
    edit(index(folder), "#EXT-X-ENDLIST\n", "")


def lose_index(folder: Path) -> None:
    index(folder).unlink()


def misname(folder: Path) -> None:
    segments(folder)[2].rename(folder / "picture.ts")


def leave_draft(folder: Path) -> None:
    (folder / f"{index(folder).name}.tmp").write_text("#EXTM3U")


def lie_about_length(folder: Path) -> None:
    edit(index(folder), "#EXTINF:1.000", "#EXTINF:1.900")


def lie_about_target(folder: Path) -> None:
    edit(index(folder), "TARGETDURATION:2", "TARGETDURATION:1")


def lie_about_size(folder: Path) -> None:
    edit(index(folder), "WIDTH:160", "WIDTH:1600")


def lie_about_begin(folder: Path) -> None:
    edit(index(folder), "REC-TIME:16", "REC-TIME:17")


@pytest.mark.parametrize(
    ("wrong", "check", "words"),
    [
        (break_segment, "plays", " at "),
        (empty_segment, "plays", ""),
        (cut_segment, "length", "its index says 2.00 s"),
        (lose_segment, "missing", "is not there"),
        (forget_segment, "index", "no index names it"),
        (forget_segment, "gap", "2.00 s are missing before"),
        (name_twice, "index", "is named 2 times"),
        (name_twice, "index", "begins 3.00 s before"),
        (name_others, "index", "../../secret.ts is no segment of it"),
        (lose_end, "index", "has no end"),
        (lose_index, "index", "no index names it"),
        (misname, "name", "are not named so"),
        (leave_draft, "name", "are not named so"),
        (lie_about_length, "length", "its index says 1.90 s"),
        (lie_about_target, "index", "TARGETDURATION says 1"),
        (lie_about_size, "index", "its pictures are 160x90, its index says 1600x90"),
        (lie_about_begin, "index", "its first segment at 1622425551884"),
    ],
)
def test_whatever_is_wrong_is_a_fault(folder: Path, wrong: Callable[[Path], None], check: str, words: str) -> None:
    wrong(folder)
    assert any(found == check and words in message for found, message in faults(folder)), findings(folder)


def test_what_a_running_recording_lacks_is_only_noted(folder: Path) -> None:
    lose_end(folder)
    (found,) = findings(folder, is_running=True)
    assert not found.is_fault


def test_holes_and_shifts_are_faults_in_a_mix_and_notes_in_a_single_stream(tmp_path: Path) -> None:
    for user, is_fault in (("", True), ("alice", False)):
        folder = tmp_path / f"of {user}"
        folder.mkdir()
        track = Track(folder, user, "audiovideo", segment_seconds=5).record(0, 5).close()
        data = track.segments[0].read_bytes()
        packets = [data[at : at + 188] for at in range(0, len(data), 188)]
        sounds = [number for number, packet in enumerate(packets) if packet[2] == 1 and packet[1] & 0x1F == 1]
        dropped = set(sounds[len(sounds) // 2 :])  # no sound in the second half
        track.segments[0].write_bytes(b"".join(p for number, p in enumerate(packets) if number not in dropped))
        found = [finding for finding in findings(folder) if finding.check == "sync"]
        assert [(finding.is_fault, "sound end" in finding.message) for finding in found] == [(is_fault, True)]


def test_a_file_says_its_kind_in_its_name(tmp_path: Path) -> None:
    track = Track(tmp_path, "alice").record(0, 2).close()
    wrong = track.segments[0].name.replace("_audio_", "_video_")
    track.segments[0].rename(tmp_path / wrong)
    edit(track.index, track.segments[0].name, wrong)
    track.index.rename(tmp_path / track.index.name.replace("_audio", "_video"))
    assert ("name", "its name says video, but there is audio in it") in faults(tmp_path)


def test_sizes_are_compared_with_the_tasks_records(folder: Path) -> None:
    said = {path.name: Said(path.stat().st_size, True) for path in folder.iterdir()}
    assert findings(folder, said) == []
    first, second, third = (path.name for path in segments(folder))
    said[first] = Said(5, True)
    said[third.replace("2021", "2022")] = Said(7, True)
    said[third.replace("2021", "2023")] = Said(7, False)
    del said[second]
    found = {(finding.file, finding.check, finding.is_fault) for finding in findings(folder, said)}
    assert found == {
        (first, "size", True),
        (third.replace("2021", "2022"), "missing", True),
        (third.replace("2021", "2023"), "missing", False),
        (second, "name", False),
    }


def test_checksums_beside_the_files_are_compared(folder: Path) -> None:
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}" for path in segments(folder)]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    assert findings(folder) == []
    sums[0] = "0" * 64 + sums[0][64:]
    sums += ["0" * 64 + "  nothing.ts", "0" * 64 + "  ../copy/x", "nonsense"]
    (folder / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    assert {(finding.file, finding.check) for finding in findings(folder)} == {
        (segments(folder)[0].name, "checksum"),
        ("../copy/x", "missing"),
        ("SHA256SUMS", "checksum"),
        ("nothing.ts", "missing"),
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MP4 of 5 seconds."""
    folder = tmp_path_factory.mktemp("whole")
    Track(folder, "alice", "audiovideo").record(0, 5).close()
    (made,) = merge(read_folder(folder), Choice()).files
    return made.path


def test_a_whole_file_is_as_long_as_its_segments(folder: Path, whole: Path) -> None:
    mp4 = folder / f"{index(folder).stem}.mp4"
    shutil.copyfile(whole, mp4)
    assert findings(folder) == []
    mp4.rename(folder / f"{index(folder).stem}_1.mp4")
    assert findings(folder) == []
    shutil.copyfile(whole, folder / f"{index(folder).stem}_2.mp4")
    ((check, message),) = faults(folder)
    assert check == "length"
    assert "s, its segments 5.00 s" in message


def test_sound_alone_has_no_room_for_gaps(tmp_path: Path) -> None:
    track = Track(tmp_path, "alice").record(0, 2).record(6, 2).close()
    sources = "concat:" + "|".join(map(str, track.segments))
    aac = tmp_path / f"{track.stem.removesuffix('_audio')}.aac"
    subprocess.run(["ffmpeg", "-v", "error", "-i", sources, "-c", "copy", str(aac)], check=True)
    assert faults(tmp_path) == []
    subprocess.run(["ffmpeg", "-v", "error", "-y", "-i", sources, "-t", "3", "-c", "copy", str(aac)], check=True)
    ((check, message),) = faults(tmp_path)
    assert (check, message.endswith("its segments 8.00 s")) == ("length", True)


def test_parts_are_counted_from_one_without_a_hole(tmp_path: Path, whole: Path) -> None:
    for name in ("1400_7_2.mp4", "1400_7_3.mp4", "1400_8.mp4", "1400_8_1.mp4", "1400_9_1.mp4", "1400_9_2.mp4"):
        shutil.copyfile(whole, tmp_path / name)
    assert faults(tmp_path) == [("name", "the parts of it are 2, 3"), ("name", "the parts of it are 0, 1")]


def test_an_mp4_is_ready_to_stream(tmp_path: Path, whole: Path) -> None:
    command = ["ffmpeg", "-v", "error", "-i", str(whole), "-c", "copy", str(tmp_path / "1400_7.mp4")]
    subprocess.run(command, check=True)
    assert faults(tmp_path) == [("index", "its table of contents stands behind its media")]
    (tmp_path / "1400_7.mp4").write_bytes(whole.read_bytes()[:-5000])
    assert faults(tmp_path)[0][0] == "plays"


def test_nothing_of_a_file_that_is_no_media_plays(tmp_path: Path) -> None:
    for name in ("x.ts", "x.mp4", "x.aac"):
        (tmp_path / name).write_bytes(b"\x47" * 10_000)
        assert play(tmp_path / name).errors
    assert play(tmp_path / "nowhere.ts").errors == ["No such file or directory"]
