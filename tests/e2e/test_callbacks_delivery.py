"""The sender against real HTTP receivers: order, retries, hostile answers, restarts. The schedule is the documented
one, made shorter."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, update

from rtcloud.callbacks import outbox, parking
from rtcloud.callbacks.events import room_event
from rtcloud.callbacks.schedule import Schedule
from rtcloud.callbacks.sender import Sender
from rtcloud.callbacks.signing import is_signed
from rtcloud.callbacks.targets import set_targets
from rtcloud.clock import SystemClock
from rtcloud.rooms.ids import RoomRef
from rtcloud.store import tables
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import SqliteDatabase, open_database
from rtcloud.store.sealing import Sealer

pytestmark = pytest.mark.e2e

APP = 1400
KEY = "0123456789abcdefABCDEF0123456789"
QUICK = Schedule(timeout_ms=1000, interval_ms=200, lifetime_ms=4000)
SEALER = Sealer(bytes(32))
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + b'{"code":0}'


@dataclass
class Receiver:
    """A hand-made HTTP server: what it answers is given byte by byte, what it got is kept."""

    answer: Callable[[int], bytes | None] = lambda _: OK  # by number of the request; None: say nothing
    port: int = 0
    delay: float = 0.0
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def types(self) -> list[int]:
        return [json.loads(body)["EventType"] for body in self.bodies]

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.split(": ", 1) for line in head[1:] if line)
                lower = {name.lower(): value for name, value in headers.items()}
                self.bodies.append(await reader.readexactly(int(lower["content-length"])))
                self.headers.append(headers)
                answer = self.answer(len(self.bodies))
                await asyncio.sleep(self.delay)
                if answer is None:
                    await reader.read()
                    return
                writer.write(answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


async def fill(database: SqliteDatabase, port: int, rooms: int = 1, *, key: str = KEY) -> None:
    def work(connection: Connection) -> None:
        connection.execute(insert(tables.accounts).values(uin="1", created_ms=1))
        values = {"account_uin": "1", "name": "", "secret_key_sealed": b"", "settings": "{}", "created_ms": 1}
        connection.execute(insert(tables.applications).values(sdk_app_id=APP, **values))
        set_targets(connection, SEALER, APP, url=f"http://127.0.0.1:{port}/in?a=1", key=key)
        now_ms = SystemClock().now_ms()
        for event_type in (101, 201, 203):
            for room in range(rooms):
                ref = RoomRef(APP, True, str(room))
                outbox.enqueue(connection, room_event(ref, event_type, now_ms, user_id="ü"), now_ms)

    await database.write(work)


@contextlib.asynccontextmanager
async def sending(database: SqliteDatabase, schedule: Schedule = QUICK) -> AsyncIterator[Sender]:
    async with Sender(database, SEALER, LocalBus(), SystemClock(), schedule=schedule, poll_seconds=0.02) as sender:
        running = asyncio.ensure_future(sender.run())
        try:
            yield sender
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


async def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


async def until_states(database: SqliteDatabase, expected: dict[str, int]) -> None:
    async with asyncio.timeout(20):
        while await database.read(outbox.count_by_state) != expected:
            await asyncio.sleep(0.01)


def run(scenario: Callable[[SqliteDatabase], object], tmp_path: Path) -> None:
    async def opened() -> None:
        database = open_database(tmp_path / "rtcloud.db")
        try:
            await scenario(database)  # type: ignore[misc]
        finally:
            await database.close()

    asyncio.run(opened())


def test_a_callback_is_what_the_documents_say(tmp_path: Path) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver()
        async with receiver.listening():
            await fill(database, receiver.port)
            async with sending(database):
                await until_states(database, {"delivered": 3})
        assert receiver.types == [101, 201, 203]
        body, headers = receiver.bodies[0], receiver.headers[0]
        assert is_signed(KEY, body, headers["Sign"])
        assert headers["SdkAppId"] == str(APP)
        assert headers["Content-Type"] == "application/json"
        decoded = json.loads(body)
        assert list(decoded) == ["EventGroupId", "EventType", "CallbackTs", "EventInfo"]
        assert decoded["CallbackTs"] >= decoded["EventInfo"]["EventMsTs"]
        assert body == json.dumps(decoded, separators=(",", ":"), ensure_ascii=False).encode()

    run(scenario, tmp_path)


def test_without_a_key_there_is_no_signature(tmp_path: Path) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver()
        async with receiver.listening():
            await fill(database, receiver.port, key="")
            async with sending(database):
                await until_states(database, {"delivered": 3})
        assert "Sign" not in receiver.headers[0]

    run(scenario, tmp_path)


def test_a_receiver_that_was_down_gets_everything_in_order(tmp_path: Path) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver()
        async with receiver.listening():
            pass  # the port is now known, and closed
        await fill(database, receiver.port, rooms=3)
        async with sending(database) as sender:
            await until(lambda: sender.counters.failed_attempts >= 9)
            async with receiver.listening():
                await until_states(database, {"delivered": 9})
        by_room = [json.loads(body) for body in receiver.bodies]
        for room in range(3):
            assert [body["EventType"] for body in by_room if body["EventInfo"]["RoomId"] == room] == [101, 201, 203]

    run(scenario, tmp_path)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        b"",
        b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"\x00\xff not http at all\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 50_000,
    ],
    ids=["silence", "nothing", "500", "204", "redirect", "garbage", "cut short", "endless headers"],
)
def test_any_other_answer_is_a_failure_and_is_tried_again(tmp_path: Path, bad: bytes | None) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver(answer=lambda number: bad if number <= 2 else OK)
        async with receiver.listening():
            await fill(database, receiver.port)
            async with sending(database) as sender:
                await until_states(database, {"delivered": 3})
        assert sender.counters.failed_attempts == 2
        assert receiver.types == [101, 101, 101, 201, 203]

    run(scenario, tmp_path)


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"
        receiver = Receiver(answer=lambda _: head + bytes(1_000_000))
        async with receiver.listening():
            await fill(database, receiver.port)
            async with sending(database):
                await until_states(database, {"delivered": 3})
        assert receiver.types == [101, 201, 203]

    run(scenario, tmp_path)


def test_a_refused_event_is_parked_and_its_room_goes_on(tmp_path: Path) -> None:
    no = b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n"

    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver()
        receiver.answer = lambda _: no if receiver.types[-1] == 101 else OK
        async with receiver.listening():
            await fill(database, receiver.port)
            async with sending(database) as sender:
                await until_states(database, {"delivered": 2, "parked": 1})
                assert sender.counters.parked == 1
                assert receiver.types[-2:] == [201, 203]
                receiver.answer = lambda _: OK
                now_ms = SystemClock().now_ms()
                assert (
                    await database.write(lambda connection: parking.replay(connection, now_ms, parking.Which(APP))) == 1
                )
                await until_states(database, {"delivered": 3})
        assert receiver.types[-1] == 101

    run(scenario, tmp_path)


def test_a_dead_room_does_not_hold_back_the_others(tmp_path: Path) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver()
        receiver.answer = lambda _: None if json.loads(receiver.bodies[-1])["EventInfo"]["RoomId"] == 0 else OK
        async with receiver.listening():
            await fill(database, receiver.port, rooms=50)
            async with sending(database, Schedule()) as sender:
                await until(lambda: sender.counters.delivered >= 147, 20)
                assert sender.counters.parked == 0

    run(scenario, tmp_path)


def test_what_was_pending_is_delivered_by_the_next_sender(tmp_path: Path) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver(answer=lambda _: None)
        async with receiver.listening():
            await fill(database, receiver.port)
            async with sending(database):
                await until(lambda: len(receiver.bodies) >= 1)
            assert await database.read(outbox.count_by_state) == {"pending": 3}
            receiver.answer = lambda _: OK
            long_ago = {
                "retries_from_ms": tables.callbacks.c.retries_from_ms - 3_600_000
            }  # the time between does not count
            await database.write(lambda connection: connection.execute(update(tables.callbacks).values(long_ago)))
            async with sending(database) as sender:
                await until_states(database, {"delivered": 3})
                assert sender.counters.parked == 0

    run(scenario, tmp_path)


def test_an_attempt_under_way_is_finished_when_the_sender_stops(tmp_path: Path) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver(delay=0.3)
        async with receiver.listening():
            await fill(database, receiver.port)
            async with sending(database, Schedule()):
                await until(lambda: len(receiver.bodies) == 1)
            assert await database.read(outbox.count_by_state) == {"delivered": 1, "pending": 2}
            async with sending(database, Schedule()):
                await until_states(database, {"delivered": 3})
        assert receiver.types == [101, 201, 203]

    run(scenario, tmp_path)


def test_a_removed_address_parks_what_was_meant_for_it(tmp_path: Path) -> None:
    from rtcloud.callbacks.targets import remove_targets

    async def scenario(database: SqliteDatabase) -> None:
        await fill(database, 1)
        await database.write(lambda connection: remove_targets(connection, APP))
        async with sending(database):
            await until_states(database, {"parked": 3})
        (first, *_) = await database.read(parking.list_parked)
        assert first.last_error == "the callback address was removed"

    run(scenario, tmp_path)
