"""``rtcloud media top`` beside a server with two people, and /metrics of what it shows."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from rtcloud.stats import reading
from rtcloud.store.database import open_database
from tests.kit.robot import robot
from tests.kit.server import COMMAND, Server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

ROOM = 78


def typed(data: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(COMMAND), "media", "top", "--data", str(data), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)


async def test_who_sends_and_who_receives_is_seen_live_and_remembered(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        async with robot(**server.ticket("bob", ROOM)), robot(**server.ticket("alice", ROOM)) as alice:
            await alice.publish("#204080", 440)

            async def flows() -> dict[str, Any]:
                answer = await asyncio.to_thread(typed, server.data, "--json", "--receivers")
                assert answer.returncode == 0, answer.stderr
                found: dict[str, Any] = json.loads(answer.stdout)
                rates = {row["track"]: row["kbit/s"] for row in found.get("receivers", [])}
                return found if rates.get("video", 0) > 0 and rates.get("audio", 0) > 0 else {}

            begun = (await eventually(flows, "figures of both tracks", 20))["tracks"][0]["period"]

            async def goes_on() -> dict[str, Any]:
                """What is remembered of who sends is made of a period and of what its connection tells after it."""
                answer = await flows()
                return answer if answer and answer["tracks"][0]["period"] >= begun + 2 else {}

            answer = await eventually(goes_on, "two more periods", 20)
            (room,) = answer["rooms"]
            assert (room["application"], room["room"], room["people"]) == (server.sdk_app_id, str(ROOM), 2)
            assert room["tracks"] == 2
            tracks = {row["track"]: row for row in answer["tracks"]}
            assert {row["user"] for row in answer["tracks"]} == {"alice"}
            assert tracks["video"]["size"] == "320x180"
            assert (tracks["video"]["codec"], tracks["audio"]["codec"]) == ("h264", "opus")
            assert {(row["user"], row["of"]) for row in answer["receivers"]} == {("bob", "alice")}
            assert answer["threads"]

            shown = await asyncio.to_thread(typed, server.data, "--once", "--sort", "loss")
            assert shown.returncode == 0
            assert "320x180" in shown.stdout
            assert "\x1b" not in shown.stdout
            metrics = (await asyncio.to_thread(httpx.get, f"{server.url}/metrics")).text
            assert 'rtcloud_media_shard_cpu{shard="0"}' in metrics
            assert 'rtcloud_media_track_bitrate_bucket{le="+Inf"} ' in metrics
            assert "rtcloud_media_layers_received 2.0" in metrics
            assert "alice" not in metrics
        app = server.sdk_app_id
        assert server.stop() == 0

    refused = typed(server.data)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "rtcloud: no server runs here: nothing goes through it (rtcloud serve)\n"

    database = open_database(tmp_path / "data" / "rtcloud.db")
    try:
        _, (room_life,) = await database.read(lambda c: reading.rooms_of(c, app, 0, 2**50))
        _, stays = await database.read(lambda c: reading.users_of(c, room_life.sid, 0, 2**50))
        ids, joined_ms = [one.presence for one in stays], stays[0].joined_ms
        samples = await database.read(lambda c: reading.samples_of(c, ids, joined_ms, joined_ms + 60_000))
    finally:
        await database.close()
    got = samples[ids[0], "alice"]
    assert any(one.video_fps and one.audio_bitrate and one.jitter_ms is not None for one in got)
    sent = samples[ids[1], ""]
    assert any(one.video_fps and one.video_bitrate and one.video_stalled_ms is not None for one in sent)
