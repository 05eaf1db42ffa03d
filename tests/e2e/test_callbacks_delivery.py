"""The sender against real HTTP receivers: order, retries, hostile answers, restarts. The schedule is the documented
one, made shorter."""

import asyncio
import contextlib
import json
import os
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import Connection, insert, update

from rtcloud.callbacks import outbox, parking
from rtcloud.callbacks.events import room_event
from rtcloud.callbacks.posting import HttpPoster
from rtcloud.callbacks.receiver import MOST_PLACES
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
from tests.kit.certificates import write_certificate
from tests.kit.receiver import check_sign

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
    drip: float = 0.0  # seconds before each byte
    closes: bool = False  # after each answer, without saying so
    connections: int = 0
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def types(self) -> list[int]:
        return [json.loads(body)["EventType"] for body in self.bodies]

    @contextlib.asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None = None) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
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
                for at in range(len(answer)) if self.drip else ():
                    await asyncio.sleep(self.drip)
                    writer.write(answer[at : at + 1])
                    await writer.drain()
                if not self.drip:
                    writer.write(answer)
                    await writer.drain()
                if self.closes:
                    return
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
async def sending(
    database: SqliteDatabase,
    schedule: Schedule = QUICK,
    *,
    poster: HttpPoster | None = None,
    allow_private: bool = False,
) -> AsyncIterator[Sender]:
    async with Sender(
        database,
        SEALER,
        LocalBus(),
        SystemClock(),
        schedule=schedule,
        poster=poster,
        allow_private=allow_private,
        poll_seconds=0.02,
    ) as sender:
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


def test_the_documents_own_programs_accept_the_signature(tmp_path: Path) -> None:
    """The samples for Python and Java; one byte or one letter changed is refused."""

    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver()
        async with receiver.listening():
            await fill(database, receiver.port)
            async with sending(database):
                await until_states(database, {"delivered": 3})
        body, signature = receiver.bodies[0], receiver.headers[0]["Sign"]
        assert check_sign(KEY, body.decode(), signature)
        assert not check_sign(KEY, body.decode() + " ", signature)
        for key, expected in ((KEY, "OK"), (KEY.lower(), "FAIL")):
            command = ["java", str(Path(__file__).parent.parent / "kit/CheckSign.java"), key, body.decode(), signature]
            utf8 = {**os.environ, "LC_ALL": "C.UTF-8"}
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, check=True, env=utf8
            )
            assert done.stdout.strip() == expected

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


def test_a_dripping_answer_is_given_up_in_time(tmp_path: Path) -> None:
    """Each byte comes soon enough; all of them do not."""

    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver(drip=0.05)
        async with receiver.listening():
            await fill(database, receiver.port, rooms=2)
            async with sending(database, Schedule(timeout_ms=300, interval_ms=100, lifetime_ms=500)) as sender:
                await until(lambda: sender.counters.parked == 6)
        assert sender.counters.delivered == 0
        assert len(receiver.bodies) <= sender.counters.failed_attempts

    run(scenario, tmp_path)


def test_a_redirect_leads_nowhere(tmp_path: Path) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        elsewhere = Receiver()
        async with elsewhere.listening():
            to = f"HTTP/1.1 307 Go\r\nLocation: http://127.0.0.1:{elsewhere.port}/\r\nContent-Length: 0\r\n\r\n"
            receiver = Receiver(answer=lambda number: to.encode() if number == 1 else OK)
            async with receiver.listening():
                await fill(database, receiver.port)
                async with sending(database):
                    await until_states(database, {"delivered": 3})
        assert elsewhere.bodies == []

    run(scenario, tmp_path)


def test_a_connection_is_kept_for_the_next_event(tmp_path: Path) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver()
        async with receiver.listening():
            await fill(database, receiver.port, rooms=100)
            async with sending(database):
                await until_states(database, {"delivered": 300})
        assert receiver.connections <= MOST_PLACES

    run(scenario, tmp_path)


def test_a_receiver_that_closes_after_each_answer_gets_each_event_once(tmp_path: Path) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        closing = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        receiver = Receiver(answer=lambda _: closing)
        async with receiver.listening():
            await fill(database, receiver.port, rooms=20)
            async with sending(database) as sender:
                await until_states(database, {"delivered": 60})
                assert sender.counters.failed_attempts == 0
        assert len(receiver.bodies) == 60

    run(scenario, tmp_path)


def test_a_connection_that_the_receiver_closed_meanwhile_is_not_used_again(tmp_path: Path) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver(closes=True)
        async with receiver.listening():
            await fill(database, receiver.port)
            async with sending(database) as sender:
                await until_states(database, {"delivered": 3})
                assert sender.counters.failed_attempts == 0
        assert receiver.connections == 3

    run(scenario, tmp_path)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.1", "0x7f000001", "2130706433"])
def test_an_address_of_an_api_request_reaches_no_private_network(tmp_path: Path, host: str) -> None:
    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver()
        async with receiver.listening():
            await fill(database, receiver.port)
            await database.write(lambda connection: set_untrusted(connection, f"http://{host}:{receiver.port}/"))
            async with sending(database, Schedule(timeout_ms=1000, interval_ms=50, lifetime_ms=100)):
                await until_states(database, {"parked": 3})
            (first, *_) = await database.read(parking.list_parked)
            assert "private" in first.last_error or "not tried" in first.last_error
            assert (receiver.connections, receiver.bodies) == (0, [])
            if host != "127.0.0.1":
                return
            await database.write(lambda connection: parking.replay(connection, SystemClock().now_ms()))
            async with sending(database, allow_private=True):
                await until_states(database, {"delivered": 3})

    def set_untrusted(connection: Connection, url: str) -> None:
        set_targets(connection, SEALER, APP, url=url, trusted=False)

    run(scenario, tmp_path)


@pytest.mark.parametrize(("host", "good"), [("127.0.0.1", True), ("localhost", False)])
def test_the_certificate_is_checked_for_the_name_in_the_url(tmp_path: Path, host: str, good: bool) -> None:
    chain, private = write_certificate(tmp_path, 1)
    ours = ssl.create_default_context(cafile=str(chain))
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    theirs.load_cert_chain(chain, private)

    async def scenario(database: SqliteDatabase) -> None:
        receiver = Receiver()
        async with receiver.listening(theirs):
            await fill(database, receiver.port)
            url = f"https://{host}:{receiver.port}/"
            await database.write(lambda connection: set_targets(connection, SEALER, APP, url=url))
            poster = HttpPoster(timeout_s=2, allow_private=False, ssl_context=ours)
            async with sending(database, Schedule(interval_ms=50, lifetime_ms=100), poster=poster):
                await until_states(database, {"delivered" if good else "parked": 3})
        assert len(receiver.bodies) == (3 if good else 0)

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
