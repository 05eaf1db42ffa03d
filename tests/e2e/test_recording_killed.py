"""Recordings whose recorder, worker and server are killed at random moments: what is lost, what is told, what is left.

The figures: of media that had reached the job at most 2 s are lost; it goes on within 5 s when the job was killed,
within 15 s with another worker (or the same one, started again), and with the first packets after a killed server is
back. They are those of a machine that has nothing else to do; on others they grow with its slowness. No file is broken,
and nothing is told that is not so.
"""

import re
import statistics
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from tencentcloud.trtc.v20190722 import models

from rtcloud.egress.recording.naming import encode_id
from rtcloud.recordings.names import read_name
from tests.kit import probes
from tests.kit.acts import read_clock
from tests.kit.cloud import BUCKET, Cloud
from tests.kit.coverage import BLOCK_S, Part, Seen, holes, segments, watch
from tests.kit.deaths import Ask, Death, Plan, Victim, draw
from tests.kit.receiver import Received
from tests.kit.rounds import ALICE, BOB, START_S, TAKEN_OVER_S, Played, Round, together
from tests.kit.server import COMMAND, end_by_signal
from tests.kit.site import Fallen, Site
from tests.kit.stage import Stage
from tests.kit.waiting import wait_until
from tests.kit.workers import job_of

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.alone,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
    pytest.mark.timeout(600),  # rounds wait for as long as a busy machine makes them
]

LOST_S = 2.0
#: longer than what a busy machine leaves out
PICTURE_HOLE_S, SOUND_HOLE_S = 1.0, 0.6
SYNC_S = 0.04
#: between our clock and what the files say
CLOCK_S = 0.3
#: what FFmpeg says of every AAC file, which has no table of contents; and of a gap of more than a thousand frames
NO_FAULT = re.compile(r"Estimating duration from bitrate|DTS discontinuity in stream")
BACKGROUND = probes.Region(0.55, 0.55, 1, 1)
STATUSES = ("Idle", "InProgress", "Exited", "")


#: who dies, how many workers there are, and whether rounds can be played side by side
KINDS: dict[str, tuple[tuple[Victim, ...], int, bool]] = {
    "job": (("job",), 1, True),
    "worker": (("worker", "worker and job"), 2, False),
    "only worker": (("worker", "worker and job"), 1, False),
    "server": (("server",), 1, False),
    "everything": (("server and worker", "everything"), 2, False),
    "all in one": (("server",), 0, False),
}
ROUNDS = 3
#: a round of 60 for each of these, three at a time
GROUPS = {"job": 7, "worker": 3, "only worker": 2, "server": 2, "everything": 3, "all in one": 3}


@pytest.mark.parametrize(
    ("kind", "seeds"), [("job", (3, 5, 10)), ("worker", (3,)), ("all in one", (7,)), ("everything", (6,))]
)
def test_what_dies_while_it_records_is_hardly_missed(tmp_path: Path, kind: str, seeds: tuple[int, ...]) -> None:
    play_rounds(tmp_path, kind, seeds)


def test_the_other_worker_goes_on_whether_one_is_killed_or_asked_to_go(tmp_path: Path) -> None:
    deaths = (Death("worker", "recording", 2.0, 1.0), Death("drained", "again", 1.0, 1.0))
    plan = Plan(0, (Ask(single=True, form=1),), deaths, 3.0)
    with Site(tmp_path / "site", 2).open() as site:
        played = Round(site, plan, 5100).play()
        for fallen in played.fallen:
            assert set(fallen.heirs) <= set(fallen.others), fallen
        check(played)
        (task_id,) = played.task_ids
        names = (read_name(path.name) for path in played.folder(task_id).glob("*.ts"))
        assert {name.attempt for name in names if name is not None} == {0, 1, 2}


def test_a_change_holds_in_the_next_attempt_whether_it_came_before_or_after_the_kill(site: Site) -> None:
    cloud = Cloud(site.server)
    with Stage(site.server) as stage:
        stage.enter_all(5200, {"alice": ALICE, "bob": BOB})
        early, late = (_start_grid(cloud, number) for number in range(2))
        wait_until(lambda: all(has_segment(site.data, task_id) for task_id in (early, late)), "both record", 40)
        jobs = {task_id: job_of(site.data, task_id) for task_id in (early, late)}
        assert all(jobs.values())
        _move_alice(cloud, early)
        end_by_signal(jobs[early] or 0)
        end_by_signal(jobs[late] or 0)
        _move_alice(cloud, late)
        for task_id in (early, late):
            site.receiver.wait_for(306, lambda event, task_id=task_id: event.info["TaskId"] == task_id, within=40)  # type: ignore[misc]
        wait_until(lambda: all(has_segment(site.data, task_id, 1) for task_id in (early, late)), "both go on", 40)
        time.sleep(2.5)
        for task_id in (early, late):
            cloud.stop_recording(task_id)
        for task_id in (early, late):
            site.receiver.wait_for(305, lambda event, task_id=task_id: event.info["TaskId"] == task_id, within=60)  # type: ignore[misc]
    for task_id in (early, late):
        folder = site.data / "files" / BUCKET / "calls" / task_id
        (index,) = folder.glob("ha1_*.m3u8")
        pictures = probes.pictures(index)
        begin = 0 if task_id == early else len(pictures) // 2
        for _, picture in pictures[begin:]:
            assert np.abs(BACKGROUND.of(picture).astype(int) - (0, 255, 0)).mean() < 30
        # The place in the corner shows her, at the moment too.
        assert read_clock(probes.Region(0, 0, 0.5, 0.5).of(pictures[-1][1]), ALICE.fps) is not None
        assert verify(site, task_id) == ""


def test_what_a_recorder_left_that_died_four_times_is_delivered_all_the_same(site: Site) -> None:
    cloud = Cloud(site.server)
    with Stage(site.server) as stage:
        stage.enter_all(5300, {"alice": ALICE, "bob": BOB})
        task_id = cloud.start_recording(5300, output_format=3, RecordMode=1, MaxIdleTime=60)
        for attempt in range(4):
            wait_until(partial(has_segment, site.data, task_id, attempt), f"attempt {attempt} records", 60)
            time.sleep(1.5)
            end_by_signal(job_of(site.data, task_id) or 0)
        for user in ("alice", "bob"):
            site.receiver.wait_for(310, lambda event, user=user: _tells_of(event, task_id, user), within=60)  # type: ignore[misc]
    types = [event.type for event in site.receiver.received if event.info.get("TaskId") == task_id]
    (left,) = site.receiver.of(302, lambda event: event.info["TaskId"] == task_id)
    assert left.payload == {"LeaveCode": 3}
    assert types.count(306) == 3
    folder = site.data / "files" / BUCKET / "calls" / task_id
    assert len(list(folder.iterdir())) == 2
    for path in folder.iterdir():
        assert probes.decode_all(path) == ""
        assert probes.duration(path) >= 4 * 1.0  # with the gaps between the attempts
    assert verify(site, task_id) == ""


@pytest.mark.long
@pytest.mark.parametrize(("kind", "group"), [(kind, group) for kind, count in GROUPS.items() for group in range(count)])
def test_whenever_it_dies_it_is_hardly_missed(tmp_path: Path, kind: str, group: int) -> None:
    first = 1000 * (1 + list(KINDS).index(kind)) + ROUNDS * group
    play_rounds(tmp_path, kind, tuple(range(first, first + ROUNDS)))


def check(played: Played) -> None:
    """Everything that a user gets."""
    try:
        for task_id, ask in zip(played.task_ids, played.plan.asks, strict=True):
            _check_events(played, task_id, ask)
            _check_described(played, played.described[task_id])
            _check_files(played, task_id, ask)
            _check_content(played, task_id, ask)
        assert not [path.name for path in (played.site.data / "spool").iterdir() if path.name in played.task_ids]
    except AssertionError as error:
        told = {task_id: [event.type for event in played.events(task_id)] for task_id in played.task_ids}
        story = [(each.death, each.at - played.created, each.back - played.created) for each in played.fallen]
        end = played.deleted - played.created
        raise AssertionError(f"{error}\n{played.plan}\ndeaths {story}, Delete at {end:.2f}\n{told}") from error


def play_rounds(tmp_path: Path, kind: str, seeds: tuple[int, ...]) -> None:
    victims, workers, side_by_side = KINDS[kind]
    site = Site(tmp_path / "site", workers)
    with site.open():
        rounds = [Round(site, draw(seed, victims), 5000 + number) for number, seed in enumerate(seeds)]
        for played in together(rounds) if side_by_side else map(Round.play, rounds):
            check(played)
    wait_until(lambda: not site.processes(), "the end of every process", 15, site.processes)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """For tests that kill nothing but jobs; each uses rooms of its own."""
    opened = Site(tmp_path_factory.mktemp("site"), 1)
    with opened.open():
        yield opened
    wait_until(lambda: not opened.processes(), "the end of every process", 15, opened.processes)


def verify(site: Site, task_id: str) -> str:
    """What ``rtcloud recording verify`` found to be wrong."""
    command = [str(COMMAND), "recording", "verify", task_id, "--data", str(site.data)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def has_segment(data: Path, task_id: str, attempt: int = 0) -> bool:
    """Media of the attempt is on disk."""
    return any(path.stat().st_size for path in (data / "spool" / task_id / str(attempt)).glob("*.ts"))


def _start_grid(cloud: Cloud, number: int) -> str:
    return cloud.start_recording(
        5200,
        robot=f"recorder-{number}",
        width=ALICE.width * 2,
        height=ALICE.height * 2,
        fps=ALICE.fps,
        output_format=0,
        layout={"MixLayoutMode": 3, "PureAudioDisableLayout": True},
    )


def _move_alice(cloud: Cloud, task_id: str) -> None:
    """Into the left upper corner, before green."""
    corner = {"Left": 0, "Top": 0, "Width": ALICE.width, "Height": ALICE.height, "UserId": "alice"}
    layout = {"MixLayoutMode": 4, "MixLayoutList": [corner], "BackGroundColor": "#00FF00"}
    cloud.ask(models.ModifyCloudRecordingRequest(), {"TaskId": task_id, "MixLayoutParams": layout})


def _tells_of(event: Received, task_id: str, user: str) -> bool:
    if event.info["TaskId"] != task_id:
        return False
    return any(message["UserId"] == user for message in event.payload["FileMessage"])


# -- what is told ------------------------------------------------------------------------------------------------------


def _check_events(played: Played, task_id: str, ask: Ask) -> None:
    ends = [*([305] if ask.keeps_hls else []), *([310] if ask.extension else [])]
    for last in (302, *ends):
        played.site.receiver.wait_for(last, lambda event: event.info.get("TaskId") == task_id, within=20)
    streams = 2 if ask.single else 1
    if ask.extension:  # one is told as soon as it is placed, while the other may still be made
        wait_until(lambda: len(played.of(task_id, 310)) >= streams, "every file's 310", 20)
    wait_until(lambda: not played.site.has_to_tell(), "the last callbacks", 20)
    types = [event.type for event in played.events(task_id)]
    assert all(event.signed for event in played.events(task_id))
    counts = {301: 1, 302: 1, 303: 1, 305: int(ask.keeps_hls), 308: 0, 309: 0}
    counts[310] = streams if ask.extension else 0
    assert {each: types.count(each) for each in counts} == counts, types
    assert played.of(task_id, 301) == [{"Status": 0}]
    assert played.of(task_id, 302) == [{"LeaveCode": 0}]
    assert played.of(task_id, 305) == [{"LeaveCode": 0, "Status": 0}] * counts[305]

    before = [each for each in played.fallen if each.death.moment not in ("making", "delete")]
    moves = [each for each in before if each.death.victim != "server" or not played.site.workers]
    sure = sum(each.death.moment != "create" for each in moves)
    assert sure <= types.count(306) <= len(before), types
    assert all(payload == {"Status": 0} for payload in played.of(task_id, 306))

    sliced = [payload["FileName"] for payload in played.of(task_id, 307)]
    placed = [payload["FileList"] for payload in played.of(task_id, 304)]
    assert len(set(sliced)) == len(sliced)
    assert sorted(placed) == sorted(sliced)
    assert bool(sliced) == ask.keeps_hls
    made = [name for payload in played.of(task_id, 310) for name in payload["FileList"]]
    assert len(made) == counts[310]
    assert all(payload["Status"] == 0 for payload in played.of(task_id, 310))
    assert all((played.folder(task_id) / name).is_file() for name in (*sliced, *made))

    order = [types.index(each) for each in (301, 302, *ends)]
    assert types[0] == 301
    assert order == sorted(order) or order[:2] == sorted(order[:2]) < [min(order[2:])], types
    last_told = {
        each: max(index for index, kind in enumerate(types) if kind == each) for each in (304, 306) if each in types
    }
    assert last_told.get(306, 0) < types.index(302), types
    assert last_told.get(304, 0) < types.index(305) if ask.keeps_hls else 304 not in types, types


def _check_described(played: Played, said: list[tuple[str, tuple[str, ...]]]) -> None:
    """States never go back, but to Idle while a task is handed over; and files only come."""
    handed_over = sum(each.death.victim == "drained" for each in played.fallen)
    backward = [pair for pair in pairwise(said) if STATUSES.index(pair[0][0]) > STATUSES.index(pair[1][0])]
    assert all((before[0], after[0]) == ("InProgress", "Idle") for before, after in backward), said
    assert len(backward) <= handed_over, said
    assert said[-1] == ("", ()), said
    lists = [set(files) for status, files in said if status]
    assert all(before <= after for before, after in pairwise(lists)), said


# -- what is there -----------------------------------------------------------------------------------------------------


def _check_files(played: Played, task_id: str, ask: Ask) -> None:
    folder = played.folder(task_id)
    names = {path.name: read_name(path.name) for path in folder.iterdir()}
    assert all(names.values()), names
    extensions = {"m3u8", "ts"} if ask.keeps_hls else set()
    assert {name.extension for name in names.values() if name} == extensions | ({ask.extension} - {""}), names
    wholes = [name for name in names.values() if name and name.kind == "whole"]
    assert len(wholes) == len({name.stream for name in wholes}), "one for each stream"
    for text, name in names.items():
        assert name is not None
        if name.kind == "segment":
            continue
        complaints = [line for line in probes.decode_all(folder / text).splitlines() if not NO_FAULT.search(line)]
        assert not complaints, text
        if name.kind == "index":
            assert (folder / text).read_text().endswith("#EXT-X-ENDLIST\n")
    assert verify(played.site, task_id) == ""


def _check_content(played: Played, task_id: str, ask: Ask) -> None:
    folder = played.folder(task_id)
    messages = {message["UserId"]: message for payload in played.of(task_id, 310) for message in payload["FileMessage"]}
    for user, acts in ({"alice": (ALICE,), "bob": (BOB,)} if ask.single else {"": (ALICE, BOB)}).items():
        tones = [act.hz for act in acts]
        if ask.keeps_hls:
            seen = watch(segments(folder, encode_id(user) if user else ""), ALICE, tones)
            _check_seen(played, seen, has_pictures=ALICE in acts)
        if ask.extension:
            message = messages[user]
            seconds = (message["EndTimeStamp"] - message["StartTimeStamp"]) / 1000
            assert seconds <= played.stopped - played.created + 0.5
            seen = watch([Part(folder / message["FileName"], message["StartTimeStamp"] / 1000)], ALICE, tones)
            _check_seen(played, seen, has_pictures=ALICE in acts and ask.extension == "mp4")


def _check_seen(played: Played, seen: Seen, *, has_pictures: bool) -> None:
    for hz, moments in seen.sounds.items():
        _check_holes(played, [each - BLOCK_S / 2 for each in moments], SOUND_HOLE_S, f"sound of {hz} Hz")
    beeps = statistics.median(seen.beeps) if seen.beeps else None
    if beeps is not None:
        wrong = [each for each in seen.beeps if abs(each - beeps) > 0.1]
        assert len(wrong) <= 1 + len(played.fallen), (wrong, len(seen.beeps))
    if has_pictures:
        _check_holes(played, seen.pictures, PICTURE_HOLE_S, "pictures")
        late = statistics.median(seen.late)
        misplaced = [each for each in seen.late if abs(each - late) > 0.1]
        assert len(misplaced) <= len(seen.late) / 50, misplaced
        assert beeps is not None
        assert abs(beeps - late) < SYNC_S, (beeps, late)


def _check_holes(played: Played, moments: list[float], longer_than: float, what: str) -> None:
    """Nothing is missing but around a death, and there not more than the figures say."""
    assert moments, what
    after_s = moments[-1] - played.stopped
    assert after_s <= CLOCK_S * played.site.slowness.over(played.deleted, played.stopped), (what, after_s)
    for begin, end in holes(moments, played.created, played.deleted, longer_than):
        explained = [each for each in played.fallen if begin - CLOCK_S <= each.at <= end + CLOCK_S]
        slower = played.site.slowness.over(begin, end)
        story = f"{what}: nothing from {begin - played.created:.2f} to {end - played.created:.2f} s after Create"
        story += f" (slower: {slower:.1f})"
        if end == played.deleted:
            late = [each for each in played.fallen if each.death.moment in ("making", "delete")]
            most = LOST_S if late or explained else longer_than + CLOCK_S
            assert end - begin <= most * slower, story
            continue
        if begin > played.created:
            if end - begin <= longer_than * slower:
                continue  # pictures are left out where there is no time for them
            assert explained, story
            assert min(each.at for each in explained) - begin <= LOST_S * slower + CLOCK_S, story
        limits = [(played.created, START_S), *((each.back, _gap(each)) for each in explained)]
        assert end <= max(since + limit * slower for since, limit in limits) + CLOCK_S, story


def _gap(fallen: Fallen) -> float:
    """Seconds within which media must be there again."""
    return TAKEN_OVER_S if fallen.death.ends_worker else START_S
