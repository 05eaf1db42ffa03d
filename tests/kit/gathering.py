"""The gatherings that tests and benchmarks hold: a meeting, and a show before an audience."""

from tests.kit.crowd import NEVER, Account, Crowd, Member, Order, Use, Used, ticket
from tests.kit.server import Server

ROOM = 9001
RATE = 50.0  # joins a second
TALKING = 5  # at a time
PROCESSES = 2
SETTLE_S = 3.0
#: On two busy cores the crowd itself takes longest to take in each other's SDP.
SETTLED_A_SECOND = 15
ANCHORS = 10


def meeting(
    server: Server, people: int, publishers: int, turn_s: float, *, scene: str = "rtc", begins: float = 0.0
) -> list[Order]:
    """Publishers are spread among those who come; they talk five at a time, one after the other."""
    each = people // publishers
    come = max(people / RATE + SETTLE_S + people / SETTLED_A_SECOND, begins)
    turns = [come + number * (turn_s + 0.5) for number in range(publishers // TALKING)]
    members = [
        Member(
            user_id=f"user{index}",
            token=ticket(server, f"user{index}", ROOM, scene=scene),
            at=index / RATE,
            turn=index // each // TALKING if index % each == 0 else NEVER,
        )
        for index in range(people)
    ]
    return [
        Order(
            kind="callers",
            url=server.url,
            members=members[number::PROCESSES],
            ends=turns[-1] + turn_s + 1.0,
            turns=turns,
            turn_s=turn_s,
        )
        for number in range(PROCESSES)
    ]


def show(server: Server, audience: int, turn_s: float) -> list[Order]:
    """Anchors who talk in turns when everybody has come, and an audience that takes no media."""
    orders = meeting(server, ANCHORS, ANCHORS, turn_s, scene="live", begins=audience / RATE + SETTLE_S)
    watchers = [
        Member(
            user_id=f"watcher{index}",
            token=ticket(server, f"watcher{index}", ROOM, scene="live", audience=True),
            at=SETTLE_S / 2 + index / RATE,
        )
        for index in range(audience)
    ]
    return orders + [
        Order(kind="audience", url=server.url, members=watchers[number::PROCESSES], ends=orders[0].ends)
        for number in range(PROCESSES)
    ]


def hold(server: Server, orders: list[Order]) -> tuple[Used, Used, list[Account]]:
    """What the server used while they came, and then; and what everybody met with."""
    with Crowd(orders) as crowd:
        use = Use(server)
        crowd.begin()
        crowd.sleep_until(orders[0].turns[0])
        coming, use = use(), Use(server)
        crowd.sleep_until(orders[0].ends - 1)
        steady = use()
        return coming, steady, crowd.accounts()
