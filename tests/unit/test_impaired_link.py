"""The bad network of browser tests: what it does to datagrams is what it was told to do, each time."""

from tests.kit.impaired import Conditions, Link


def sent(link: Link, count: int, size: int = 972, every_s: float = 0.001) -> list[float | None]:
    """How long each was under way."""
    delays: list[float | None] = []
    for number in range(count):
        arrives = link.send(size, number * every_s)
        delays.append(None if arrives is None else arrives - number * every_s)
    return delays


def test_the_same_seed_loses_the_same_datagrams() -> None:
    conditions = Conditions(loss=0.1, jitter_s=0.02)
    assert sent(Link(3, conditions), 500) == sent(Link(3, conditions), 500)
    assert sent(Link(3, conditions), 500) != sent(Link(4, conditions), 500)


def test_the_wanted_share_is_lost() -> None:
    link = Link(1, Conditions(loss=0.2))
    lost = sent(link, 20_000).count(None)
    assert 3_800 <= lost <= 4_200
    assert (link.dropped, link.passed) == (lost, 20_000 - lost)


def test_delay_and_jitter_keep_the_order() -> None:
    link = Link(1, Conditions(delay_s=0.05, jitter_s=0.02))
    arrivals = [link.send(500, number / 1000) for number in range(1000)]
    delays = [arrives - number / 1000 for number, arrives in enumerate(arrivals) if arrives is not None]
    assert all(0.0499 <= delay <= 0.0701 for delay in delays)
    assert arrivals == sorted(arrivals, key=lambda arrives: arrives or 0.0)
    assert max(delays) - min(delays) > 0.01


def test_a_bottleneck_passes_its_rate_and_drops_what_would_wait_too_long() -> None:
    # 1000 bytes with headers each millisecond, 8 Mb/s, into 1 Mb/s.
    delays = sent(Link(1, Conditions(rate=1_000_000, queue_s=0.2)), 4000)
    passed = [delay for delay in delays if delay is not None]
    assert 490 <= len(passed) <= 540
    assert 0.2 <= max(passed) <= 0.22


def test_an_outage_swallows_everything_and_what_changes_holds_from_then_on() -> None:
    link = Link(1)
    assert sent(link, 10).count(None) == 0
    link.out = True
    assert sent(link, 10).count(None) == 10
    link.out = False
    link.conditions = Conditions(loss=1.0)
    assert sent(link, 10).count(None) == 10
