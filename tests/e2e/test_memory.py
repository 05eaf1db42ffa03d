"""What is left of a call in the data directory: read by what later actions ask with."""

import asyncio
import re
from pathlib import Path

import httpx
import pytest

from rtcloud.stats import reading
from rtcloud.stats.events import EventId
from rtcloud.store.database import open_database
from tests.kit.robot import robot
from tests.kit.server import Server
from tests.kit.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.anyio]

ROOM = 77
ALL_MS = 2**50


def sampled(server: Server) -> int:
    """How many measures it took."""
    metrics = httpx.get(f"{server.url}/metrics").text
    found = re.search(r"^rtcloud_memory_samples(?:_total)? (\d+)", metrics, re.MULTILINE)
    assert found is not None, metrics
    return int(found.group(1))


async def test_a_call_is_remembered(tmp_path: Path) -> None:
    with Server(tmp_path / "data") as server:
        app = server.sdk_app_id
        async with robot(**server.ticket("bob", ROOM)), robot(**server.ticket("alice", ROOM)) as alice:
            await alice.publish("#204080", 440)
            await asyncio.to_thread(wait_until, lambda: sampled(server) >= 4, "two measures of both", 20)
        assert server.join("mallory", ROOM, userSig="forged").status_code == 401
        assert server.stop() == 0

    database = open_database(tmp_path / "data" / "rtcloud.db")
    try:
        total, (room,) = await database.read(lambda c: reading.rooms_of(c, app, 0, ALL_MS))
        assert (total, room.creator, room.ref.room_id) == (1, "bob", str(ROOM))
        _, stays = await database.read(lambda c: reading.users_of(c, room.sid, 0, ALL_MS))
        assert [(one.user_id, one.client_address) for one in stays] == [("bob", "127.0.0.1"), ("alice", "127.0.0.1")]

        sent = await database.read(lambda c: reading.events_of(c, room.sid, "alice", 0, ALL_MS))
        told = [event.event_id for event in sent]
        assert (told[0], told[-1]) == (EventId.ENTERED, EventId.LEFT)
        wanted = {EventId.MEDIA_UP, EventId.FIRST_AUDIO_SENT, EventId.FIRST_VIDEO_SENT, EventId.VIDEO_ON}
        assert wanted <= set(told)
        received = await database.read(lambda c: reading.events_of(c, room.sid, "bob", 0, ALL_MS))
        sizes = {(event.param1, event.param2, event.peer) for event in received if event.event_id == EventId.RESOLUTION}
        assert (320, 180, "alice") in sizes

        ids = [one.presence for one in stays]
        joined_ms = stays[0].joined_ms
        samples = await database.read(lambda c: reading.samples_of(c, ids, joined_ms, joined_ms + 60_000))
        downlink, uplink = (samples[presence, ""] for presence in ids)
        assert any(sample.uplink_bitrate and sample.video_width == 320 for sample in uplink)
        assert any(sample.downlink_bitrate for sample in downlink)
        (refused,) = await database.read(lambda c: reading.refused_of(c, app, 0, ALL_MS))
        assert (refused.user_id, refused.room_id, refused.count) == ("mallory", str(ROOM), 1)
    finally:
        await database.close()
