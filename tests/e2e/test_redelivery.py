"""A customer's callback server that is down for half a minute, and a server that is killed: nothing is lost."""

import asyncio
import contextlib
import json
import random
import sqlite3
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from rtcloud.client.types import Publication
from tests.kit.browser import BLUE, RED
from tests.kit.cloud import Cloud
from tests.kit.receiver import Received, Receiver
from tests.kit.robot import robot
from tests.kit.server import Server
from tests.kit.waiting import eventually

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.e2e,
    pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp"),
]

WHOLE_STORY = {101, 103, 201, 203, 301, 303, 304, 307, 305, 302, 310, 104, 102}
DOWN_S = 30.0
#: At least so much happens between two deaths, however slow the machine is.
EVENTS_A_ROUND = 20
SILENCE = b"\xf8\xff\xfe"  # an Opus packet of 20 ms


async def hold_call(server: Server, room: int) -> str:
    """A recorded call of two programs, from the first to enter to the last to leave; the TaskId."""
    cloud = Cloud(server)
    async with robot(**server.ticket("alice", room)) as alice, robot(**server.ticket("bob", room)) as bob:
        await alice.publish(RED, 440)
        await bob.publish(BLUE, 700)
        task_id = await asyncio.to_thread(cloud.start_recording, room, width=640, height=360)
        folder = server.data / "files/recordings/calls" / task_id

        async def recorded() -> bool:
            return any(folder.glob("*.m3u8")) and alice.frames["bob", "video"] > 30

        await eventually(recorded, "the recording's index appears", within=30)
        await asyncio.to_thread(cloud.stop_recording, task_id)

        async def finished() -> bool:
            return any(folder.glob("*.mp4"))

        await eventually(finished, "the MP4 appears", within=30)
    return task_id


def in_order_of_happening(received: list[Received]) -> bool:
    times = [each.info["EventMsTs"] for each in received if each.type < 300]
    return times == sorted(times)


async def whole_story(receiver: Receiver) -> None:
    async def told() -> bool:
        return set(receiver.types()) >= WHOLE_STORY

    await eventually(told, "the whole story", within=75, seen=receiver.types)
    assert all(each.signed for each in receiver.received)
    assert in_order_of_happening(receiver.received)


async def test_all_is_told_after_the_receiver_was_down_for_half_a_minute(server: Server, receiver: Receiver) -> None:
    server.set_callbacks(receiver.url, receiver.key)
    receiver.down()
    down_since = time.monotonic()
    await hold_call(server, 4001)
    assert receiver.received == []

    async def half_a_minute_passed() -> bool:
        return time.monotonic() - down_since >= DOWN_S

    await eventually(half_a_minute_passed, "the receiver stays down", within=DOWN_S + 5)
    receiver.up()
    await whole_story(receiver)


async def test_all_is_told_after_the_server_was_killed(tmp_path: Path, receiver: Receiver) -> None:
    with Server(tmp_path / "data") as server:
        server.set_callbacks(receiver.url, receiver.key)
        receiver.down()
        await hold_call(server, 4002)

        async def room_is_closed() -> bool:
            return json.loads(await asyncio.to_thread(server.admin, "rooms", "--json")) == []

        await eventually(room_is_closed, "the room is closed")
        server.kill()
        receiver.up()
        server.start()
        await whole_story(receiver)


async def test_a_killed_server_ends_the_stay_of_who_does_not_return(tmp_path: Path, receiver: Receiver) -> None:
    """Everybody in the room when the server died gets 90 s to come back; the room is then closed."""
    with Server(tmp_path / "data") as server:
        server.set_callbacks(receiver.url, receiver.key)
        async with robot(**server.ticket("alice", 4003)), robot(**server.ticket("bob", 4003)):
            await receiver.expect(103, lambda each: each.user_id == "bob")
            server.kill()
        server.start()
        async with robot(**server.ticket("alice", 4003)):
            left = await receiver.expect(104, lambda each: each.user_id == "bob", within=120)
            assert left.info["Reason"] == 2
            assert not receiver.of(104, lambda each: each.user_id == "alice")
            assert len(receiver.of(103, lambda each: each.user_id == "alice")) == 1
        await receiver.expect(102)


async def speak(audio: Publication) -> None:
    while True:
        audio.write(SILENCE, time.time_ns() // 1000)
        await asyncio.sleep(0.02)


async def come_and_go(server: Server, user_id: str, chance: random.Random) -> None:
    """One person, while there is a server: enters rooms, speaks, is muted, leaves."""
    while server.alive:
        room: int | str = chance.choice((1, 2, "1", "hall"))
        with contextlib.suppress(Exception):
            ticket = await asyncio.to_thread(server.ticket, user_id, room)
            async with robot(**ticket) as person:
                audio = await person.room.publish_audio()
                speaking = asyncio.create_task(speak(audio))
                for muted in chance.choice(((), (True,), (True, False))):
                    await asyncio.sleep(chance.random() / 2)
                    await audio.mute(muted)
                await asyncio.sleep(chance.random() / 2)
                speaking.cancel()
        await asyncio.sleep(chance.random() / 10)


async def send_away(server: Server, chance: random.Random) -> None:
    """The application's own server meanwhile: removes people and closes rooms through the API."""
    cloud = Cloud(server)
    while server.alive:
        await asyncio.sleep(chance.random() / 2)
        room = chance.choice((1, 2, "1", "hall"))
        with contextlib.suppress(Exception):
            if chance.random() < 0.5:
                await asyncio.to_thread(cloud.remove_users, room, f"user{chance.randrange(5)}")
            else:
                await asyncio.to_thread(cloud.dismiss_room, room)


async def live(server: Server, chance: random.Random, seconds: float) -> None:
    people = [asyncio.create_task(come_and_go(server, f"user{number}", chance)) for number in range(5)]
    people.append(asyncio.create_task(send_away(server, chance)))
    before = count_of_events(server)

    async def enough_happened() -> bool:
        return count_of_events(server) - before > EVENTS_A_ROUND

    await asyncio.sleep(seconds)
    await eventually(enough_happened, "people come and go", within=20, seen=lambda: count_of_events(server) - before)
    await asyncio.to_thread(server.kill)
    for person in people:
        person.cancel()
    await asyncio.gather(*people, return_exceptions=True)


def count_of_events(server: Server) -> int:
    ((count,),) = rows(server, "SELECT count(*) FROM callbacks")
    assert isinstance(count, int)
    return count


def rows(server: Server, statement: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(server.data / "rtcloud.db", timeout=10)) as connection:
        return connection.execute(statement).fetchall()


def told_of(server: Server) -> dict[str, list[tuple[int, str]]]:
    """Room → type and EventInfo of its events, as they happened."""
    found: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for ordering, event_type, info in rows(
        server, "SELECT ordering, event_type, event_info FROM callbacks ORDER BY id"
    ):
        found[str(ordering)].append((int(str(event_type)), str(info)))
    return found


def check_that_rows_are_told_of(server: Server) -> None:
    """What the other tables say happened is what there are events of."""
    events = Counter(type for told in told_of(server).values() for type, _ in told)
    for event_type, statement in {
        101: "SELECT count(*) FROM rooms",
        102: "SELECT count(*) FROM rooms WHERE destroyed_ms IS NOT NULL",
        103: "SELECT count(*) FROM presences",
        104: "SELECT count(*) FROM presences WHERE left_ms IS NOT NULL",
        203: "SELECT count(*) FROM publications WHERE kind = 'audio'",
    }.items():
        assert rows(server, statement) == [(events[event_type],)], event_type


def check_delivery(told: dict[str, list[tuple[int, str]]], received: list[Received], app: int) -> int:
    """Every event at least once, in order, none invented: the next of its room, or the one before once more. How many
    came once more."""
    at: Counter[str] = Counter()
    again = 0
    for each in received:
        room = each.info["RoomId"]
        ordering = f"{app}/{'n' if isinstance(room, int) else 's'}/{room}"
        happened, next_one = told[ordering], at[ordering]
        this = (each.type, json.dumps(each.info, separators=(",", ":"), ensure_ascii=False))
        if next_one < len(happened) and happened[next_one] == this:
            at[ordering] += 1
        else:
            assert next_one > 0, f"invented, or out of order: {this}"
            assert happened[next_one - 1] == this, f"invented, or out of order: {this}"
            again += 1
    assert at == {ordering: len(happened) for ordering, happened in told.items()}
    return again


@pytest.mark.parametrize("rounds", [5, pytest.param(50, marks=pytest.mark.long)])
async def test_every_event_arrives_in_order_though_the_server_is_killed_at_random(
    tmp_path: Path, receiver: Receiver, rounds: int
) -> None:
    chance = random.Random(rounds)
    receiver.delay_s = 0.15  # something is always under way
    server = Server(tmp_path / "data")
    await asyncio.to_thread(server.start)
    server.set_callbacks(receiver.url, receiver.key)
    for number in range(rounds):
        if number:
            await asyncio.to_thread(server.start)
        if number % 3 == 1:
            receiver.down()
        await live(server, chance, 0.3 + 2 * chance.random())
        if number % 3 == 1:
            receiver.up()
    check_that_rows_are_told_of(server)
    receiver.delay_s = 0.0
    with server:

        async def all_delivered() -> bool:
            if rows(server, "SELECT 1 FROM callbacks WHERE state = 'parked'"):
                await asyncio.to_thread(server.admin, "callbacks", "replay")
            return not rows(server, "SELECT 1 FROM callbacks WHERE state <> 'delivered'")

        await eventually(all_delivered, "everything is delivered", within=30 + 2 * rounds)
    check_that_rows_are_told_of(server)
    told = told_of(server)
    assert sum(map(len, told.values())) > EVENTS_A_ROUND * rounds
    assert all(each.signed for each in receiver.received)
    again = check_delivery(told, receiver.received, server.sdk_app_id)
    assert again <= rounds * 16, "a restart repeats what was under way, and nothing else"
