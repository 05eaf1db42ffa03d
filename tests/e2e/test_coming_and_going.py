"""Many come and go while others stay: those who stay lack nothing, and nothing of those who left remains."""

import pytest

from tests.kit.passing import Audience, Stayed
from tests.kit.server import Server, resident_mib
from tests.kit.waiting import wait_until

pytestmark = [pytest.mark.e2e, pytest.mark.alone]

STAYING, RATE = 100, 50.0
#: For a machine that has other things to do.
FEW_STAYING, SLOW_RATE = 40, 25.0
STAY_S = 1.0
#: Between two packets that somebody gets: what is promised. Judged in the long runs, on a machine that is quiet.
GAP_MS = 200.0
#: What shows a server that stands still, however busy the machine is.
STANDSTILL_MS = 1000.0
#: Of a process that does not grow: what allocators keep.
NOISE_MIB = 8.0


def check(stayed: Stayed, gap_ms: float) -> None:
    """Nothing lacks but what was under way when both ends were asked, and nothing came late."""
    print(f"\nsent {stayed.sent}, p99 {stayed.p99_ms:.1f} ms, latest {stayed.worst_ms:.1f} ms")
    assert min(stayed.received) >= stayed.sent - 20
    assert stayed.worst_ms <= gap_ms


def come_and_go(
    server: Server,
    room: int,
    rounds: int,
    each: int,
    *,
    staying: int = STAYING,
    rate: float = RATE,
    gap_ms: float = GAP_MS,
) -> None:
    """The process's size is compared from the end of the first round on."""
    with Audience(server, room, staying) as audience:
        sizes: list[float] = []
        for _ in range(rounds):
            passed = audience.let_pass(each, rate, STAY_S)
            assert passed.faults == []
            check(audience.account(), gap_ms)
            if sizes:
                within = sizes[0] + NOISE_MIB
                wait_until(
                    lambda within=within: resident_mib(server.pid) < within,  # type: ignore[misc]
                    f"the server's size stays ({sizes})",
                    seen=lambda: resident_mib(server.pid),
                )
            sizes.append(resident_mib(server.pid))
        print(f"\nMiB after each {each}: {[round(size, 1) for size in sizes]}")


def test_a_hundred_come_and_go_and_forty_who_stay_lack_nothing(server: Server) -> None:
    come_and_go(server, 9100, 2, 50, staying=FEW_STAYING, rate=SLOW_RATE, gap_ms=STANDSTILL_MS)


@pytest.mark.long
@pytest.mark.timeout(500)
def test_a_thousand_come_and_go_and_a_hundred_who_stay_lack_nothing(server: Server) -> None:
    come_and_go(server, 9101, 5, 200)


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", [1, 2])
def test_people_come_and_go_for_twenty_minutes(server: Server, part: int) -> None:
    """Each part is ten minutes less what coming takes."""
    come_and_go(server, 9101 + part, 17, 1500)
