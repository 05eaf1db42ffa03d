"""The figures of ``rtcloud media top`` beside the browser's own getStats, of the same ten seconds."""

import asyncio
from collections import defaultdict
from typing import Any, cast

import pytest

from rtcloud.admin.media import MediaTop
from rtcloud.admin.socket import ask
from tests.conftest import Open
from tests.kit.browser import RED, Caller
from tests.kit.impaired import Conditions, impaired_path
from tests.kit.server import Server
from tests.kit.waiting import eventually

# Both ends of a window are compared to within 5 %: nothing else may hold one of them up.
pytestmark = [pytest.mark.anyio, pytest.mark.interop, pytest.mark.e2e, pytest.mark.alone, pytest.mark.long]

ROOM = 1400
PERIODS = 5
AGREE = 0.05

#: So long a round trip is, so that it can be measured to 5 %.
ROUND_TRIP_MS = 300
LOSS = 0.1
PAIRS = """async () => {
  const found = [];
  for (const participant of window.kit.room.remoteParticipants.values())
    for (const publication of participant.trackPublications.values())
      for (const each of ((await publication.track?.getRTCStatsReport()) ?? new Map()).values())
        if (each.type === "candidate-pair") found.push(each);
  return found;
}"""

Stats = dict[str, Any]


class Watcher:
    """Adds up each period of the room as it becomes known."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._period = 0
        self.periods = 0
        self.seconds = 0.0
        self.rows: defaultdict[tuple[str, str], list[Stats]] = defaultdict(list)

    async def next(self) -> None:
        """Returns as soon as a new period is told, which this adds."""
        answer = await eventually(self._newer, "a new period", 10)
        self._period = answer["tracks"][0]["period"]
        self.seconds += answer["tracks"][0]["period ms"] / 1000
        for kind in ("tracks", "receivers"):
            for row in answer[kind]:
                self.rows[kind, row["track"]].append(row)

    def forget(self) -> None:
        self.seconds = 0.0
        self.rows.clear()

    def sum(self, kind: str, track: str, name: str) -> float:
        """Over the periods that are compared, the first ones."""
        return float(sum(row[name] for row in self.rows[kind, track][:PERIODS]))

    async def _newer(self) -> Stats:
        asked = MediaTop(room=str(ROOM), receivers=True)
        answer = cast(Stats, await asyncio.to_thread(ask, self._server.data, asked))
        tracks = answer["tracks"]
        return answer if tracks and tracks[0]["period"] != self._period else {}


async def counted(alice: Caller, bob: Caller) -> dict[tuple[str, str], Stats]:
    """What the browsers say: sent and received, by kind."""
    sent, received = await asyncio.gather(alice.call("sent"), bob.call("received", "alice"))
    return {
        **{("tracks", row["kind"]): row for row in sent},
        **{("receivers", row["kind"]): row for row in received},
    }


async def round_trip_ms(caller: Caller) -> float:
    """The newest that the page's own checks of its connection measured."""
    pairs: list[Stats] = await caller.page.evaluate(PAIRS)
    return float(next(pair["currentRoundTripTime"] for pair in pairs if pair.get("nominated"))) * 1000


async def test_figures_agree_with_those_of_browsers(shared_server: Server, open_caller: Open) -> None:
    async with impaired_path(shared_server.media_port) as path:
        alice, bob = await open_caller("alice"), await open_caller("bob")
        path.up.conditions = path.down.conditions = Conditions(delay_s=ROUND_TRIP_MS / 2000)
        await path.redirect(bob.page)
        await asyncio.gather(alice.join(shared_server, ROOM), bob.join(shared_server, ROOM))
        await alice.publish(color=RED, hz=440, codec="vp8")
        await bob.sees("alice")
        await bob.hears("alice")
        watcher = Watcher(shared_server)
        await watcher.next()
        await watcher.next()
        before = await counted(alice, bob)
        checked: list[float] = []
        watcher.forget()
        for _ in range(PERIODS):
            await watcher.next()
            checked.append(await round_trip_ms(bob))
        after = await counted(alice, bob)
        window = watcher.seconds
        path.down.conditions = Conditions(delay_s=ROUND_TRIP_MS / 2000, loss=LOSS)
        while not (said := watcher.rows["receivers", "video"][-1]["lost in all"]):
            await watcher.next()
        lossy = await counted(alice, bob)
    assert window >= 9.9

    for kind, theirs in (("tracks", "Sent"), ("receivers", "Received")):
        for track in ("audio", "video"):
            old, new = before[kind, track], after[kind, track]
            seconds = (new["timestamp"] - old["timestamp"]) / 1000
            for name in ("bytes", "packets"):
                ours = watcher.sum(kind, track, name) / window
                wanted = (new[f"{name}{theirs}"] - old[f"{name}{theirs}"]) / seconds
                assert ours == pytest.approx(wanted, rel=AGREE), (kind, track, name, seconds)
            bitrate = watcher.sum(kind, track, "bytes") * 8 / window / 1000
            told = watcher.sum(kind, track, "kbit/s") / PERIODS
            assert told == pytest.approx(bitrate, rel=AGREE)
    for kind, frames in (("tracks", "framesEncoded"), ("receivers", "framesReceived")):
        rows = watcher.rows[kind, "video"][:PERIODS]
        old, new = before[kind, "video"], after[kind, "video"]
        wanted = (new[frames] - old[frames]) / (new["timestamp"] - old["timestamp"]) * 1000
        assert sum(row["fps"] for row in rows) / len(rows) == pytest.approx(wanted, rel=AGREE), kind
    for track in ("audio", "video"):
        received = watcher.rows["receivers", track][:PERIODS]
        assert received[-1]["lost in all"] == after["receivers", track]["packetsLost"] == 0
        assert sum(row["lost %"] for row in watcher.rows["tracks", track][:PERIODS]) == 0
        trips = [row["rtt ms"] for row in received if row["rtt ms"] is not None]  # no report came in some period
        # The least of either: each measures now and then, and what waits for a busy machine comes on top.
        assert min(trips) == pytest.approx(min(checked), rel=AGREE), (track, trips, checked)
        assert received[-1]["quality"] >= 3, "a round trip above 200 ms"
    assert 0 < said <= lossy["receivers", "video"]["packetsLost"], "what it reported is no more than it counts now"
    video, size = watcher.rows["receivers", "video"][PERIODS - 1], after["receivers", "video"]
    assert video["size"] == f"{size['frameWidth']}x{size['frameHeight']}"
    assert watcher.rows["tracks", "video"][-1]["codec"] == "vp8"
