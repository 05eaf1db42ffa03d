"""What Chromium makes of the server's own packets: a call that goes on shows everything that is sent, and a picture
that is asked for in another size changes over without standing still.
"""

import asyncio
import itertools
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.conftest import Open
from tests.kit.browser import BLUE, GREEN, RED, YELLOW, Caller
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [pytest.mark.anyio, pytest.mark.interop, pytest.mark.e2e, pytest.mark.alone]

PEOPLE = {"alice": RED, "bob": GREEN, "carol": BLUE, "dave": YELLOW}
WIDTH, HEIGHT, FPS = 320, 180, 15
LOOK_S = 1.0
#: Frames that may be under way, or at a busy sender, when the statistics of both ends are read.
UNDER_WAY = FPS
FREEZE_MS = 300


@dataclass
class Watched:
    """One picture as one page has it. ``behind``: of the frames sent before it was looked at, those that had not come
    yet, look by look; ``frozen``: in which looks it stood still."""

    first: dict[str, Any]
    sent_first: int
    last: dict[str, Any] = field(default_factory=dict)
    behind: list[int] = field(default_factory=list)
    frozen: list[int] = field(default_factory=list)

    def look(self, stats: dict[str, Any], sent: int) -> None:
        before = self.last or self.first
        self.behind.append((sent - self.sent_first) - (stats["framesReceived"] - self.first["framesReceived"]))
        if stats["freezeCount"] > before["freezeCount"]:
            self.frozen.append(len(self.behind) - 1)
        self.last = stats

    def more(self, name: str) -> int:
        return int(self.last.get(name, 0)) - int(self.first.get(name, 0))

    def explained(self) -> list[int]:
        """Freezes for which packets were missing: what all had been sent when the page froze, it had not received. The
        others are the page's own, which decodes and draws on a machine that does much else."""
        return [at for at in self.frozen if max(self.behind[max(0, at - 1) : at + 1]) > UNDER_WAY]


async def frames_sent(caller: Caller) -> int:
    return sum(int(each.get("framesSent", 0)) for each in await caller.call("sent") if each["kind"] == "video")


async def watch_each_other(callers: dict[str, Caller], seconds: float) -> dict[tuple[str, str], Watched]:
    pairs = list(itertools.permutations(callers, 2))

    async def all_sent() -> dict[str, int]:
        counts = await asyncio.gather(*(frames_sent(caller) for caller in callers.values()))
        return dict(zip(callers, counts, strict=True))

    async def all_received() -> list[dict[str, Any]]:
        return await asyncio.gather(*(callers[viewer].received(shown, "video") for viewer, shown in pairs))

    # What was sent is read first: it can only be more by the time the other end is.
    sent = await all_sent()
    watched = {pair: Watched(stats, sent[pair[1]]) for pair, stats in zip(pairs, await all_received(), strict=True)}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        await asyncio.sleep(LOOK_S)
        sent = await all_sent()
        for pair, stats in zip(pairs, await all_received(), strict=True):
            watched[pair].look(stats, sent[pair[1]])
    return watched


async def call_of_four(server: Server, open_caller: Open, room: int, seconds: float) -> None:
    callers = {name: await open_caller(name) for name in PEOPLE}
    for name, caller in callers.items():
        await caller.join(server, room)
        await caller.publish(color=PEOPLE[name], hz=440, width=WIDTH, height=HEIGHT, fps=FPS)
    for viewer, shown in itertools.permutations(callers, 2):
        await callers[viewer].sees(shown, frames=2 * FPS)
    watched = await watch_each_other(callers, seconds)
    transport = (await callers["alice"].call("transports", "bob"))[0]
    total = {
        name: sum(each.more(name) for each in watched.values())
        for name in ("packetsReceived", "framesReceived", "framesDecoded", "packetsLost", "nackCount", "pliCount")
    }
    freezes = sum(len(each.frozen) for each in watched.values())
    print(f"\n{transport['srtpCipher']}, {transport['dtlsState']}; {total}, {freezes} freezes")
    for pair, each in watched.items():
        assert each.more("packetsLost") == 0, f"{pair}: {each.last}"
        assert each.more("framesReceived") >= 0.8 * FPS * seconds, f"{pair}: {each.last}"
        undecoded = each.more("framesReceived") - each.more("framesDecoded") - each.more("framesDropped")
        assert undecoded <= FPS, f"{pair}: {each.last}"
        assert each.explained() == [], f"{pair}: {each.behind}"
        assert each.behind[-1] <= UNDER_WAY, f"{pair}: {each.behind}"
    assert total["nackCount"] <= total["packetsReceived"] / 1000
    assert total["pliCount"] <= len(watched), total
    for caller in callers.values():
        assert [line for line in caller.console if "uncaught" in line or "decod" in line.lower()] == []
        assert await caller.events("reconnecting") == []


async def test_four_pages_see_all_that_is_sent_for_a_minute(shared_server: Server, open_caller: Open) -> None:
    await call_of_four(shared_server, open_caller, 1200, 60)


@pytest.mark.long
@pytest.mark.timeout(500)
async def test_four_pages_see_all_that_is_sent_for_five_minutes(shared_server: Server, open_caller: Open) -> None:
    await call_of_four(shared_server, open_caller, 1201, 300)


async def test_a_picture_changes_its_size_without_standing_still(shared_server: Server, open_caller: Open) -> None:
    alice, bob = await open_caller("alice"), await open_caller("bob")
    await alice.join(shared_server, 1202)
    await bob.join(shared_server, 1202)
    await alice.publish(codec="vp8", simulcast=True, width=640, height=360, fps=FPS)

    async def width() -> int:
        return int((await bob.received("alice", "video")).get("frameWidth", 0))

    async def is_big() -> bool:
        return await width() == 640

    await eventually(is_big, "bob gets the largest layer", within=30)
    for quality, wanted in (("low", 320), ("high", 640), ("low", 320), ("high", 640)):
        shown = await bob.call("showWhile", "alice", quality, 2000)
        widths = [each["width"] for each in shown]
        assert wanted in widths, f"{quality}: {sorted(set(widths))}"
        changed = widths.index(wanted)
        assert set(widths[changed:]) == {wanted}, "it stays"
        gaps = [after["at"] - before["at"] for before, after in itertools.pairwise(shown)]
        took, gap = shown[changed]["at"], max(gaps)
        print(f"\n{quality}: {wanted} wide after {took:.0f} ms, longest gap {gap:.0f} ms")
        assert gap <= FREEZE_MS, f"{quality}: {[round(each) for each in gaps]}"
