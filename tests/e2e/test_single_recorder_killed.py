"""Single streams by the official SDK, through the death of the recorder: files, events, and lips in step with words."""

import asyncio
import statistics
from pathlib import Path

import pytest

from rtcloud.egress.recording.naming import encode_id
from tests.kit import probes
from tests.kit.acts import FLASH, Act
from tests.kit.cloud import BUCKET, Cloud
from tests.kit.receiver import Received, Receiver
from tests.kit.server import Server, end_by_signal
from tests.kit.stage import Stage
from tests.kit.waiting import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.interop,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

ROOM = 4711
#: of the first job, whose sound has no gap
WHOLE_S = 9.0


async def test_everybodys_files_and_events_survive_a_killed_recorder(server: Server, receiver: Receiver) -> None:
    server.set_callbacks(receiver.url, receiver.key)
    cloud = Cloud(server)
    with Stage(server) as stage:
        await asyncio.to_thread(stage.enter, ROOM, "alice", Act(0, flash=True))
        await asyncio.to_thread(stage.enter, ROOM, "bob", Act(1, picture=False))
        task_id = await asyncio.to_thread(cloud.start_recording, ROOM, output_format=1, RecordMode=1)
        folder = server.data / "files" / BUCKET / "calls" / task_id
        stems = {
            (user, media): f"{server.sdk_app_id}_{ROOM}__UserId_s_{encode_id(user)}__UserId_e_main_{media}"
            for user, media in (("alice", "audio"), ("alice", "video"), ("bob", "audio"))
        }

        async def has_indexes(prefix: str) -> bool:
            return all((folder / f"{prefix}{stem}.m3u8").exists() for stem in stems.values())

        await eventually(lambda: has_indexes(""), "the first job's indexes", within=30)
        files = (await asyncio.to_thread(cloud.describe_recording, task_id))["StorageFileList"]
        assert {(file["UserId"], file["TrackType"]): file["FileName"] for file in files} == {
            key: f"{stem}.m3u8" for key, stem in stems.items()
        }
        (job,) = server.jobs().values()
        end_by_signal(job)
        assert (await receiver.expect(306, within=10)).payload == {"Status": 0}
        await eventually(lambda: has_indexes("ha1_"), "the second job's indexes", within=30)
        await asyncio.to_thread(cloud.stop_recording, task_id)
        for user in ("alice", "bob"):
            await receiver.expect(310, lambda each, user=user: whose(each) == [user], within=40)  # type: ignore[misc]

    told, sliced, placed = receiver.of(310), receiver.of(307), receiver.of(304)
    assert (len(told), len(sliced), len(placed)) == (2, 6, 6)
    assert {(each.payload["FileName"], each.payload["UserId"], each.payload["TrackType"]) for each in sliced} == {
        (f"{prefix}{stem}.m3u8", user, media) for prefix in ("", "ha1_") for (user, media), stem in stems.items()
    }
    messages = {message["UserId"]: message for each in told for message in each.payload["FileMessage"]}
    assert {user: (each["TrackType"], each["MediaId"]) for user, each in messages.items()} == {
        "alice": ("audio_video", "main"),
        "bob": ("audio", "main"),
    }
    for index in folder.glob("*.m3u8"):
        assert "ENDLIST" in index.read_text()
        assert probes.decode_all(index) == ""
    mp4 = folder / messages["alice"]["FileName"]
    check_sync(mp4)
    assert (
        abs(probes.duration(mp4) - (messages["alice"]["EndTimeStamp"] - messages["alice"]["StartTimeStamp"]) / 1000)
        < 0.3
    )
    assert probes.decode_all(folder / messages["bob"]["FileName"]) == ""


def whose(made: Received) -> list[str]:
    return sorted({message["UserId"] for message in made.payload["FileMessage"]})


def check_sync(path: Path) -> None:
    assert probes.decode_all(path) == ""
    flashes, beeps = ([at for at in each if at < WHOLE_S] for each in (probes.flashes(path, FLASH), probes.beeps(path)))
    offsets = probes.offsets(flashes, beeps)
    assert len(offsets) > 5, (flashes, beeps)
    assert abs(statistics.median(offsets)) < 0.04
