"""Every RecordMode × StreamType × OutputFormat × AvMerge by the official SDK, over MediaId, allow- and blocklists: the
files that the documents name and no others, each playable and as long as what was recorded, and callbacks and
DescribeCloudRecording that agree with them.

In the room are people of every kind: camera and microphone, microphone alone, a shared screen with its sound, a camera
that changes its size, VP8. The room's name is one whose base64 needs both replacements.
"""

import itertools
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import av
import pytest
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException

from tests.kit import probes
from tests.kit.acts import Act
from tests.kit.cloud import BUCKET, Cloud
from tests.kit.receiver import Received, Receiver
from tests.kit.recorded_names import RULES, UTC, Asked, Expected, Sending, encoded, expected, table
from tests.kit.server import Server
from tests.kit.stage import Person, Stage
from tests.kit.waiting import wait_until

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.alone,
    pytest.mark.timeout(500),
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = "ab?>class~"
BOTH = ("audio", "video")
SENDING: Sending = {
    "ta-alice": {"main": BOTH},
    "ta-bob": {"main": ("audio",)},
    "tb-carol": {"main": BOTH, "aux": BOTH},
    "tb-dave": {"main": BOTH},
    "v8??": {"main": BOTH},
}
TURNING, TURNED = Act(3, 320, 180, 10), Act(3, 240, 320, 10)
SIZES = {("ta-alice", "main"): (320, 180), ("tb-carol", "main"): (320, 180), ("tb-carol", "aux"): (400, 300)}
SIZES |= {("v8??", "main"): (320, 180)}
WIDTH, HEIGHT, FPS = 160, 90, 10  # everybody's cameras have this rate, too
#: recordings side by side, and how long each lasts; the first ones until an index was written in the meantime
AT_ONCE, SECONDS, LONG_SECONDS = 4, 5.0, 12.0
TOLERANCE_S = 0.3
KEYFRAME_S = 1.0  # of everybody's pictures
_NUMBERS = itertools.count()  # of robots: each needs a name of its own

LISTS = (
    (("SubscribeAudioUserIds", ("ta-.*$",)),),
    (("UnSubscribeVideoUserIds", ("tb-.*$",)), ("UnSubscribeAudioUserIds", ("v8??",))),
    (("SubscribeVideoUserIds", ("tb-carol", "v8??")), ("SubscribeAudioUserIds", ("tb-carol",))),
)


def _all() -> list[Asked]:
    """Every valid combination, with MediaId spread over them, and lists for some."""
    found = []
    for mode, stream_type, output_format, merge in itertools.product((1, 2), (0, 1, 2), range(5), (0, 1)):
        if (mode == 2 and merge) or (stream_type == 2 and output_format in (2, 4)):
            continue
        found.append(Asked(mode, stream_type, output_format, merge))
    spread = [replace(each, media_id=(0, 1, 0, 2, 0)[index % 5]) for index, each in enumerate(found)]
    # A list leaves somebody over only where everything is asked for.
    lists = [replace(Asked(1 + index % 2, 0, (1, 0, 3)[index]), users=users) for index, users in enumerate(LISTS)]
    return [*spread, *lists]


def _pairs(asked: Asked) -> set[tuple[tuple[str, object], ...]]:
    values = [(name, getattr(asked, name)) for name in Asked.__dataclass_fields__ if name != "users"]
    return {*itertools.combinations(values, 2), *([(("users", asked.users),)] if asked.users else [])}


def _some(cases: Sequence[Asked]) -> list[Asked]:
    """So many that every two values of two parameters that go together are once together."""
    missing, found = set().union(*map(_pairs, cases)), []
    while missing:
        found.append(max(cases, key=lambda each: len(_pairs(each) & missing)))
        missing -= _pairs(found[-1])
    return found


ALL = _all()
CHOSEN = _some(ALL)
OTHERS = [each for each in ALL if each not in CHOSEN]


@dataclass(frozen=True)
class Hall:
    """A server, and the room with everybody in it."""

    server: Server
    receiver: Receiver
    cloud: Cloud
    dave: Person
    shown: list[Act]  # what dave's camera has shown


@dataclass
class Recording:
    asked: Asked
    task_id: str
    folder: Path
    answered_ms: int
    deleted_ms: tuple[int, int] = (0, 0)  # between these two
    described: tuple[dict[str, Any], ...] | None = None
    turned: tuple[tuple[int, int], ...] = ()  # sizes of dave's pictures, in their order

    def is_from(self, begin_ms: float, seconds: float) -> bool:
        """Whether it lasted so long from then on until it was stopped."""
        first, last = ((at - begin_ms) / 1000 for at in self.deleted_ms)
        return first - TOLERANCE_S <= seconds <= last + TOLERANCE_S

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir()) if self.folder.exists() else []


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    data = tmp_path_factory.mktemp("matrix") / "data"
    with Server(data, "--mixing-cores", "0") as server, Receiver() as receiver, Stage(server) as stage:
        server.set_callbacks(receiver.url, receiver.key)
        people = stage.enter_all(
            ROOM,
            {
                "ta-alice": Act(0, fps=10),
                "ta-bob": Act(1, picture=False),
                "tb-carol": Act(2, fps=10),
                "tb-dave": TURNING,
                "v8??": Act(4, fps=10, codec="vp8"),
            },
        )
        people[2].share(Act(5, 400, 300, 10, screen=True, sound=False))
        people[2].share(Act(5, screen=True, picture=False))
        try:
            yield Hall(server, receiver, Cloud(server), people[3], [TURNING])
        except BaseException:
            print(server.tail())
            raise


@pytest.mark.parametrize("cases", [CHOSEN, pytest.param(OTHERS, marks=pytest.mark.long)], ids=["chosen", "others"])
def test_every_mode_and_format_leaves_exactly_the_documented_files(hall: Hall, cases: list[Asked]) -> None:
    waves = [cases[first : first + AT_ONCE] for first in range(0, len(cases), AT_ONCE)]
    recordings = [each for number, wave in enumerate(waves) for each in _record(hall, wave, described=number == 0)]
    faults = []
    with ThreadPoolExecutor(2) as pool:
        checks = [(each, pool.submit(_check, hall, each)) for each in recordings]
        for recording, check in checks:
            if (fault := check.exception()) is not None:
                faults.append(f"{recording.asked}: {type(fault).__name__} {fault}")
    assert not faults, f"{len(faults)} of {len(recordings)}\n" + "\n\n".join(faults)


def _record(hall: Hall, wave: Sequence[Asked], *, described: bool) -> list[Recording]:
    """Side by side; in their middle dave's camera changes its size."""
    recordings = []
    for asked in wave:
        task_id = hall.cloud.start_recording(
            *(ROOM,),
            robot=f"recorder-{next(_NUMBERS)}",
            width=WIDTH,
            height=HEIGHT,
            fps=FPS,
            output_format=asked.output_format,
            **asked.fields,
        )
        folder = hall.server.data / "files" / BUCKET / "calls" / task_id
        recordings.append(Recording(asked, task_id, folder, _now_ms()))
    for each in recordings:
        spool = hall.server.data / "spool" / each.task_id / "0"
        files = sum(file.what == "segment" for file in _expected(hall, each, output_format=0))
        wait_until(lambda: len([*spool.glob("*.ts")]) >= files, f"{files} files of {each.asked}", 60)  # noqa: B023
    time.sleep(SECONDS / 2)  # and by then each has everybody's first keyframe
    before, after = hall.shown[-1], TURNED if hall.shown[-1] == TURNING else TURNING
    hall.dave.turn(after)
    hall.shown.append(after)
    time.sleep(LONG_SECONDS - SECONDS / 2 if described else SECONDS / 2)
    for each in recordings:
        each.turned = ((before.width, before.height), (after.width, after.height))
        if described:
            wanted = sum(file.what == "index" for file in _expected(hall, each))
            wait_until(lambda: len(_told(hall, each, 307)) == wanted, f"{wanted} events 307 of {each.asked}", 20)  # noqa: B023
            answer = hall.cloud.describe_recording(each.task_id)
            assert answer["Status"] == "InProgress"
            each.described = tuple(answer["StorageFileList"])
        asked_ms = _now_ms()
        hall.cloud.stop_recording(each.task_id)
        each.deleted_ms = (asked_ms, _now_ms())
    for each in recordings:
        last = [302, *(event for event, is_told in _ends(each.asked) if is_told)]
        for event in last:
            hall.receiver.wait_for(event, lambda told: told.info["TaskId"] == each.task_id, 60)  # noqa: B023
    return recordings


def _ends(asked: Asked) -> list[tuple[int, bool]]:
    return [(305, asked.output_format < 3), (310, asked.output_format > 0)]


def _expected(hall: Hall, recording: Recording, **otherwise: Any) -> list[Expected]:
    return expected(replace(recording.asked, **otherwise), hall.server.sdk_app_id, ROOM, SENDING)


def _told(hall: Hall, recording: Recording, event: int) -> list[Received]:
    return hall.receiver.of(event, lambda told: told.info["TaskId"] == recording.task_id)


# What must be so -----------------------------------------------------------------------------------------------------


def _check(hall: Hall, recording: Recording) -> None:
    wanted = _expected(hall, recording)
    wholes = [each for each in wanted if each.what in ("mp4", "aac")]
    wait_until(lambda: len(_told(hall, recording, 310)) == _streams(wholes), f"{_streams(wholes)} events 310", 20)
    names = recording.names
    rows = table(wanted, names)
    assert "MISSING" not in rows, rows
    assert "STRAY" not in rows, rows
    indexes, played = {}, {}
    for each in wanted:
        of_it = [recording.folder / name for name in names if each.names(name)]
        if each.what == "index":
            assert len(of_it) == 1
            (segments,) = [other for other in wanted if other.what == "segment" and _is_of(other, each)]
            indexes[of_it[0].name] = each, _check_index(recording, of_it[0], each, segments, names)
        elif each.what != "segment":
            assert len(of_it) == 1
            played[of_it[0].name] = each, _check_whole(recording, of_it[0], each)
    _check_events(hall, recording, indexes, played)


def _is_of(segment: Expected, index: Expected) -> bool:
    return (segment.user_id, segment.media_id, segment.holds) == (index.user_id, index.media_id, index.holds)


def _streams(wholes: Sequence[Expected]) -> int:
    return len({(each.user_id, each.media_id) for each in wholes})


def _check_index(recording: Recording, path: Path, index: Expected, segment: Expected, names: Sequence[str]) -> int:
    """The moment at which it begins, in Unix milliseconds."""
    lines = path.read_text().splitlines()
    listed = [line for line in lines if not line.startswith("#")]
    assert sorted(listed) == [name for name in names if segment.names(name)]
    lengths = [float(line.partition(":")[2]) for line in lines if line.startswith("#EXTINF:")]
    assert lines[:2] == ["#EXTM3U", "#EXT-X-VERSION:3"]
    assert lines[-1] == "#EXT-X-ENDLIST"
    assert int(_tag(lines, "#EXT-X-TARGETDURATION")) >= max(lengths)
    begin_ms = int(_tag(lines, "#EXT-X-TRTC-START-REC-TIME"))
    assert recording.answered_ms - 200 <= begin_ms
    found = re.fullmatch(segment.pattern, listed[0])
    assert found is not None
    assert found.group(1) == _utc(begin_ms)
    assert recording.is_from(begin_ms, sum(lengths)), (
        f"{path.name}: {lengths} from {begin_ms} to {recording.deleted_ms}"
    )
    sizes = [tuple(map(int, re.findall(r"\d+", line))) for line in lines if "VIDEO-METADATA" in line]
    assert sizes == list(_sizes(recording, index)), path.name
    assert lines.count("#EXT-X-DISCONTINUITY") == max(0, len(sizes) - 1)
    assert not probes.ffprobe(path)["format"].get("tags", {}).get("error")
    played = Played.joined([Played.of(path.parent / name) for name in listed])
    assert {*played.spans} == {*_sent(index)}, path.name
    assert played.fills(sum(lengths)), f"{path.name}: {lengths}, {played.spans}"
    assert _without_repetitions(played.sizes) == sizes
    return begin_ms


def _check_whole(recording: Recording, path: Path, file: Expected) -> "Played":
    streams = {stream["codec_type"]: stream["codec_name"] for stream in probes.ffprobe(path)["streams"]}
    codecs = {"audio": "aac", "video": "h264"}
    assert streams == {kind: codecs[kind] for kind in file.holds}, path.name
    complaints = [line for line in probes.decode_all(path).splitlines() if "from bitrate" not in line]  # of any ADTS
    assert not complaints, complaints
    played = Played.of(path)
    assert _without_repetitions(played.sizes) == list(_sizes(recording, file))
    return played


def _check_events(
    hall: Hall,
    recording: Recording,
    indexes: dict[str, tuple[Expected, int]],
    wholes: dict[str, tuple[Expected, "Played"]],
) -> None:
    sliced = Counter(
        (
            told.payload["FileName"],
            told.payload["UserId"],
            told.payload["TrackType"],
            int(told.payload["BeginTimeStamp"]),
        )
        for told in _told(hall, recording, 307)
    )
    wanted = {(name, each.user_id, each.track_type, begin) for name, (each, begin) in indexes.items()}
    assert sliced == Counter(wanted)
    assert Counter(told.payload["FileList"] for told in _told(hall, recording, 304)) == Counter([*indexes])
    if recording.described is not None:
        listed = {
            (file["FileName"], file["UserId"], file["TrackType"], file["BeginTimeStamp"])
            for file in recording.described
        }
        assert listed == wanted
    for event, codes in ((301, {"Status": 0}), (302, {"LeaveCode": 0}), (303, {"Status": 0})):
        assert [told.payload for told in _told(hall, recording, event)] == [codes], event
    assert len(_told(hall, recording, 305)) == bool(indexes)
    messages = []
    for told in _told(hall, recording, 310):
        assert told.payload["Status"] == 0
        assert told.payload["FileList"] == [each["FileName"] for each in told.payload["FileMessage"]]
        messages += told.payload["FileMessage"]
    assert len(messages) == len(wholes)
    for message in messages:
        file, played = wholes[message["FileName"]]
        assert (message["UserId"], message["TrackType"]) == (file.user_id, file.track_type)
        if file.user_id:
            assert message["MediaId"] == file.media_id
        begin_ms, end_ms = message["StartTimeStamp"], message["EndTimeStamp"]
        assert recording.is_from(begin_ms, (end_ms - begin_ms) / 1000), f"{message} {recording.deleted_ms}"
        assert played.fills((end_ms - begin_ms) / 1000), f"{message}: {played.spans}"


@dataclass(frozen=True)
class Played:
    """When each kind begins and ends, in seconds of the file; ``sizes`` of all pictures. Any complaint of a decoder is
    raised."""

    spans: dict[str, tuple[float, float]]
    sizes: list[tuple[int, int]]

    @classmethod
    def of(cls, path: Path) -> "Played":
        spans: dict[str, tuple[float, float]] = {}
        sizes: list[tuple[int, int]] = []
        with av.open(str(path), options={"err_detect": "explode"}) as container:
            for packet in container.demux():
                for frame in packet.decode():
                    assert isinstance(frame, av.VideoFrame | av.AudioFrame)
                    at, length = float(frame.time or 0), 1 / FPS
                    if isinstance(frame, av.VideoFrame):
                        sizes.append((frame.width, frame.height))
                    else:
                        length = frame.samples / frame.sample_rate
                    begin, end = spans.get(packet.stream.type, (at, at))
                    spans[packet.stream.type] = (min(begin, at), max(end, at + length))
        return cls(spans, sizes)

    @classmethod
    def joined(cls, parts: Sequence["Played"]) -> "Played":
        """Of segments that follow each other on one clock."""
        kinds = {kind for part in parts for kind in part.spans}
        spans = {kind: [part.spans[kind] for part in parts if kind in part.spans] for kind in kinds}
        return cls(
            {
                kind: (min(begins), max(ends))
                for kind, each in spans.items()
                for begins, ends in [zip(*each, strict=True)]
            },
            [size for part in parts for size in part.sizes],
        )

    def fills(self, seconds: float) -> bool:
        """All of that time; pictures from their first keyframe on."""
        first, last = (choose(span[end] for span in self.spans.values()) for end, choose in ((0, min), (1, max)))
        return abs(last - first - seconds) <= TOLERANCE_S and all(
            abs(end - last) <= TOLERANCE_S and begin - first <= TOLERANCE_S + KEYFRAME_S * (kind == "video")
            for kind, (begin, end) in self.spans.items()
        )


def _sent(file: Expected) -> tuple[str, ...]:
    """What media a file of it has in truth: a merged one of somebody without camera has no picture."""
    return tuple(kind for kind in file.holds if not file.user_id or kind in SENDING[file.user_id][file.media_id])


def _sizes(recording: Recording, file: Expected) -> Sequence[tuple[int, int]]:
    if "video" not in _sent(file):
        return ()
    if not file.user_id:
        return ((WIDTH, HEIGHT),)
    return recording.turned if file.user_id == "tb-dave" else (SIZES[file.user_id, file.media_id],)


def _without_repetitions(sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    return [size for size, _ in itertools.groupby(sizes)]


def _tag(lines: Sequence[str], name: str) -> str:
    (found,) = [line.partition(":")[2] for line in lines if line.startswith(f"{name}:")]
    return found


def _utc(at_ms: int) -> str:
    return time.strftime("%Y%m%d%H%M%S", time.gmtime(at_ms // 1000)) + f"{at_ms % 1000:03d}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


# What is refused, and what the documents of ours say -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"RecordMode": 1, "StreamType": 2, "output_format": 2}, "InvalidParameter"),
        ({"RecordMode": 2, "StreamType": 2, "output_format": 4}, "InvalidParameter"),
        ({"RecordMode": 3}, "InvalidParameter.OutOfRange"),
        ({"RecordMode": None}, "MissingParameter.RecordMode"),
        ({"StreamType": 3}, "InvalidParameter.OutOfRange"),
        ({"output_format": 5}, "InvalidParameter.OutOfRange"),
        ({"AvMerge": 2}, "InvalidParameter.OutOfRange"),
        ({"MediaId": 3}, "InvalidParameter.OutOfRange"),
        ({"MaxMediaFileDuration": 1441}, "InvalidParameter.OutOfRange"),
        ({"MaxIdleTime": 4}, "InvalidParameter.OutOfRange"),
        (
            {"SubscribeStreamUserIds": {"SubscribeAudioUserIds": ["a"], "UnSubscribeAudioUserIds": ["b"]}},
            "InvalidParameter",
        ),
        (
            {"SubscribeStreamUserIds": {"SubscribeVideoUserIds": [str(each) for each in range(33)]}},
            "InvalidParameter.OutOfRange",
        ),
    ],
)
def test_what_cannot_be_recorded_answers_the_documented_code(hall: Hall, fields: dict[str, Any], code: str) -> None:
    with pytest.raises(TencentCloudSDKException) as refused:
        hall.cloud.start_recording(ROOM, robot="refused", **fields)
    assert refused.value.get_code() == code, refused.value.get_message()
    assert not hall.receiver.of(301, lambda told: told.user_id == "refused")


def test_the_guide_says_the_same_names() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guide" / "recording.md").read_text()
    for (_, what), rule in RULES.items():
        assert f"`{rule.replace('.aac', '.mp4')}`" in guide, (what, rule)  # of AAC it says: likewise
    assert encoded(ROOM) == "YWI-PmNsYXNzfg.."
    assert UTC in expected(Asked(2), 1, 1, {})[1].pattern
