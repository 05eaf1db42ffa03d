"""Merged files as a player meets them."""

import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rtcloud.egress.recording.naming import encode_id, utc
from rtcloud.recordings.folder import read_folder
from rtcloud.recordings.merging import Outcome, merge
from rtcloud.recordings.sections import Choice
from tests.kit import probes
from tests.kit.probes import Region
from tests.kit.singles import BEGIN_MS, Track

MIDDLE = Region(0.4, 0.4, 0.6, 0.6)
ALICE = encode_id("alice")


def merged(folder: Path, **choice: Any) -> Outcome:
    outcome = merge(read_folder(folder), Choice(**choice))
    assert not list(folder.glob(".*")), "no draft is left"
    for made in outcome.files:
        assert probes.decode_all(made.path) == ""
        assert abs(probes.duration(made.path) - made.seconds) <= 0.1
    return outcome


class Seen:
    """How bright the picture's middle is at a second, 0 to 255."""

    def __init__(self, path: Path) -> None:
        self._pictures = [(at, statistics.mean(probes.mean_color(p, MIDDLE))) for at, p in probes.pictures(path)]

    def __getitem__(self, second: float) -> float:
        return [level for at, level in self._pictures if at <= second + 0.001][-1]


def loudness(path: Path, hz: float, begin: float, end: float) -> float:
    samples, rate, start = probes.sound(path)
    return probes.tone_level(samples[round((begin - start) * rate) : round((end - start) * rate)], rate, hz)


def test_sound_and_pictures_become_one_file_on_one_clock(tmp_path: Path) -> None:
    Track(tmp_path, "alice", segment_seconds=3).record(0, 8).close()
    Track(tmp_path, "alice", "video", segment_seconds=3).record(2, 4, level=200).close()
    (made,) = merged(tmp_path).files
    assert made.path.name == f"{ALICE}_{utc(BEGIN_MS)}_av.mp4"
    assert (made.seconds, made.size) == (8.0, (160, 90))
    seen = Seen(made.path)
    assert seen[1.5] < 10, "black until there are pictures"
    assert all(abs(seen[at] - 214) < 6 for at in (2.5, 4.0, 5.5)), seen
    assert seen[7.5] < 10, "black after them"
    (stream,) = [each for each in probes.ffprobe(made.path)["streams"] if each["codec_type"] == "video"]
    assert stream["avg_frame_rate"] == "15/1"
    assert loudness(made.path, 440, 0.5, 7.5) > -6


def test_the_seams_between_segments_are_not_heard(tmp_path: Path) -> None:
    def purity(name: str, segment_seconds: float) -> float:
        """Decibels between the tone and everything else."""
        folder = tmp_path / name
        folder.mkdir()
        Track(folder, "alice", segment_seconds=segment_seconds).record(0.0004, 6).close()
        (made,) = merged(folder).files
        assert made.path.suffix == ".m4a"
        samples, rate, _ = probes.sound(made.path)
        inner = samples[rate // 2 : -rate // 2]
        spectrum = np.abs(np.fft.rfft(inner * np.hanning(len(inner)))) ** 2
        tone = spectrum[np.abs(np.fft.rfftfreq(len(inner), 1 / rate) - 440) < 10].sum()
        return float(10 * np.log10(tone / (spectrum.sum() - tone)))

    assert purity("cut", 1.111) > purity("whole", 10) - 0.5


def test_sections_become_files_and_short_gaps_silence(tmp_path: Path) -> None:
    track = Track(tmp_path, "alice").record(0, 2)
    track.record(5, 2)
    track.record(23, 2).close()
    outcome = merged(tmp_path)
    assert [made.path.name for made in outcome.files] == [
        f"{ALICE}_{utc(BEGIN_MS)}.m4a",
        f"{ALICE}_{utc(BEGIN_MS + 23_000)}.m4a",
    ]
    first, second = outcome.files
    assert (first.seconds, second.seconds) == (7.0, 2.0)
    assert loudness(first.path, 440, 0.2, 1.8) > -6
    assert loudness(first.path, 440, 2.2, 4.8) < -60
    assert loudness(first.path, 440, 5.2, 6.8) > -6


@pytest.mark.parametrize(("saves", "second"), [(False, 20.0), (True, 3.0)])
def test_one_file_for_a_user_with_or_without_what_is_between(tmp_path: Path, saves: bool, second: float) -> None:
    Track(tmp_path, "alice").record(0, 3).record(20, 3).close()
    Track(tmp_path, "alice", "video").record(20, 3, level=200).close()
    (made,) = merged(tmp_path, joined=True, saves=saves).files
    assert made.path.name == f"{ALICE}_{utc(BEGIN_MS)}_av.mp4"
    assert made.seconds == second + 3
    seen = Seen(made.path)
    assert seen[1.0] < 10
    assert abs(seen[second + 1.5] - 214) < 6
    assert loudness(made.path, 440, 0.2, 2.8) > -6
    assert loudness(made.path, 440, second + 0.2, second + 2.8) > -6
    if not saves:
        assert loudness(made.path, 440, 4, 19) < -60
        assert seen[10.0] < 10


def test_pictures_of_other_sizes_are_fitted_into_the_largest(tmp_path: Path) -> None:
    track = Track(tmp_path, "alice", "video").record(0, 2, level=200)
    track.size = (96, 128)
    track.record(2, 2, level=200)
    track.size = (320, 180)
    track.record(4, 2, level=200).close()
    (made,) = merged(tmp_path).files
    assert made.size == (320, 180)
    assert probes.codecs(made.path) == {"video": "h264"}
    shown = dict(probes.pictures(made.path, 0.5))
    upright = next(picture for at, picture in shown.items() if 2.5 < at < 3.5)
    assert probes.mean_color(upright, MIDDLE)[0] > 200
    assert max(probes.mean_color(upright, Region(0, 0, 0.2, 1))) < 10, "bars beside an upright picture"
    whole = next(picture for at, picture in shown.items() if 0.5 < at < 1.5)
    assert probes.mean_color(whole, Region(0, 0, 0.2, 1))[0] > 200


def test_size_and_frame_rate_can_be_chosen(tmp_path: Path) -> None:
    Track(tmp_path, "alice", "video").record(0, 2, level=200).close()
    (made,) = merged(tmp_path, size=(200, 200), fps=30).files
    (stream,) = probes.ffprobe(made.path)["streams"]
    assert (stream["width"], stream["height"], stream["avg_frame_rate"]) == (200, 200, "30/1")


def test_everybody_gets_a_file_and_the_screen_takes_the_cameras_place(tmp_path: Path) -> None:
    for user, hz in (("alice", 440), ("bob", 700)):
        Track(tmp_path, user).record(0, 3, hz=hz).close()
        Track(tmp_path, user, "video").record(0, 3, level=60).close()
    Track(tmp_path, "bob", "video", "aux").record(0, 3, level=200).close()
    alice, bob = merged(tmp_path, wanted=1).files
    assert loudness(alice.path, 440, 0.5, 2.5) > -6 > loudness(bob.path, 440, 0.5, 2.5) + 40
    assert Seen(bob.path)[1.5] < 100
    (bob,) = [made for made in merged(tmp_path, wanted=2).files if made.path.name.startswith(encode_id("bob"))]
    assert abs(Seen(bob.path)[1.5] - 214) < 6
    assert loudness(bob.path, 700, 0.5, 2.5) > -6


def test_attempts_after_a_crash_go_on_in_the_same_file(tmp_path: Path) -> None:
    Track(tmp_path, "alice", "audiovideo").record(0, 3, level=60).close()
    Track(tmp_path, "alice", "audiovideo", attempt=1).record(5, 3, level=200).close()
    (made,) = merged(tmp_path).files
    assert made.seconds == 8.0
    seen = Seen(made.path)
    assert [seen[at] > 100 for at in (1.0, 7.0)] == [False, True]
    assert loudness(made.path, 440, 5.5, 7.5) > -6


def test_picture_and_sound_stay_together_over_seams_and_gaps(tmp_path: Path) -> None:
    """Each stretch begins with sound and light at one moment."""
    sound, light = Track(tmp_path, "alice"), Track(tmp_path, "alice", "video")
    begins = [0.0, 4.537, 10.111]
    for begin in begins:
        sound.record(begin, 2)
        light.record(begin, 2, level=200)
    (made,) = merged(tmp_path, fps=120).files
    samples, rate, start = probes.sound(made.path)
    level = np.abs(samples)
    for begin in begins[1:]:
        around = round((begin - start - 0.5) * rate)
        heard = (around + np.argmax(level[around : around + rate] > 0.1)) / rate + start
        lit = min(at for at, p in probes.pictures(made.path) if at > begin - 0.5 and p.mean() > 100)
        assert abs(heard - begin) < 0.03
        assert abs(heard - lit) < 0.03


def test_an_index_that_is_missing_is_done_without(tmp_path: Path) -> None:
    Track(tmp_path, "alice").record(0, 3).index.unlink()
    (made,) = merged(tmp_path).files
    assert abs(made.seconds - 3) < 0.05


def test_a_broken_segment_is_told_and_the_rest_is_merged(tmp_path: Path) -> None:
    track = Track(tmp_path, "alice", segment_seconds=2).record(0, 6).close()
    track.segments[1].write_bytes(b"no media at all" * 100)
    outcome = merged(tmp_path)
    (made,) = outcome.files
    assert [track.segments[1].name in fault for fault in outcome.faults] == [True]
    assert loudness(made.path, 440, 0.2, 1.8) > -6
    assert loudness(made.path, 440, 2.2, 3.8) < -60
    assert loudness(made.path, 440, 4.2, 5.8) > -6


def test_a_mixed_recording_and_other_files_are_left_alone(tmp_path: Path) -> None:
    Track(tmp_path, "", "audiovideo").record(0, 2).close()
    (tmp_path / "notes.txt").write_text("hello")
    before = sorted(tmp_path.iterdir())
    assert merged(tmp_path).files == []
    assert sorted(tmp_path.iterdir()) == before


def test_merging_again_gives_the_same_files(tmp_path: Path) -> None:
    Track(tmp_path, "alice").record(0, 2).close()
    assert merged(tmp_path).files == merged(tmp_path).files


def test_a_stretch_with_the_camera_off_is_sound_whatever_its_name_says(tmp_path: Path) -> None:
    Track(tmp_path, "alice").record(0, 2).close()
    for path in list(tmp_path.iterdir()):
        path.rename(tmp_path / path.name.replace("_audio", "_audiovideo"))
    (made,) = merged(tmp_path).files
    assert made.path.suffix == ".m4a"
    Track(tmp_path, "alice", "audiovideo").record(2, 2, level=200).close()
    (made,) = merged(tmp_path).files
    assert (made.seconds, made.size) == (4.0, (160, 90))
    assert loudness(made.path, 440, 0.2, 3.8) > -6


def test_decades_between_two_segments_are_not_filled_with_black(tmp_path: Path) -> None:
    track = Track(tmp_path, "alice", segment_seconds=1).record(0, 2).close()
    late = track.segments[1]
    late.rename(late.with_name(late.name.replace("_2021", "_2051")))
    outcome = merged(tmp_path, joined=True)
    assert outcome.files == []
    assert ["days long" in fault for fault in outcome.faults] == [True]
    assert len(merged(tmp_path, joined=True, saves=True).files) == 1
