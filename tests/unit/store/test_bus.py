import asyncio

from rtcloud.store.bus import HINTS, LocalBus


def test_subscribers_of_the_topic_get_the_hint() -> None:
    async def scenario() -> None:
        bus = LocalBus()
        with bus.subscribe("tasks") as one, bus.subscribe("tasks") as two, bus.subscribe("callbacks") as other:
            bus.publish("tasks", "T1")
            assert await one.wait(5) == ["T1"]
            assert await two.wait(5) == ["T1"]
            assert await other.wait(0) == []

    asyncio.run(scenario())


def test_a_waiting_subscriber_wakes() -> None:
    async def scenario() -> None:
        bus = LocalBus()
        with bus.subscribe("tasks") as hints:
            asyncio.get_running_loop().call_soon(bus.publish, "tasks", "T1")
            assert await hints.wait(30) == ["T1"]

    asyncio.run(scenario())


def test_old_hints_are_dropped_first() -> None:
    async def scenario() -> None:
        bus = LocalBus()
        with bus.subscribe("tasks") as hints:
            for number in range(HINTS * 2):
                bus.publish("tasks", str(number))
            assert await hints.wait(5) == [str(number) for number in range(HINTS, HINTS * 2)]

    asyncio.run(scenario())


def test_nobody_listening_costs_nothing() -> None:
    bus = LocalBus()
    bus.publish("tasks")
    with bus.subscribe("tasks"):
        pass
    assert bus._topics == {}
