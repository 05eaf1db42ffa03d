"""The shell of rooms with a fake media node and a database in memory: what is durable before what is heard."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from sqlalchemy import Connection, select

from rtcloud.callbacks.targets import set_targets
from rtcloud.errors import ServiceError
from rtcloud.media import node as media
from rtcloud.media.fake import FakeNode
from rtcloud.rooms import commands, facts
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Device, Role, Track
from rtcloud.rooms.running import Pass, ToSession
from rtcloud.rooms.scenes import Limits
from rtcloud.rooms.service import RoomService
from rtcloud.store import tables
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import SqliteDatabase, open_database
from rtcloud.store.sealing import Sealer

pytestmark = pytest.mark.anyio

REF = RoomRef(1400000000, True, "77")


@dataclass
class HandClock:
    ms: int = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.ms / 1000


@dataclass
class Heard:
    notices: list[ToSession] = field(default_factory=list)

    def __call__(self, notice: ToSession) -> None:
        self.notices.append(notice)

    def kinds(self) -> list[type]:
        return [type(n) for n in self.notices]


@dataclass
class Scene:
    rooms: RoomService
    node: FakeNode
    database: SqliteDatabase
    clock: HandClock

    async def enter(self, participant_id: str, user_id: str) -> Heard:
        heard = Heard()
        fact = facts.Entered(participant_id, user_id, Role.ANCHOR, Device(), True)
        await self.rooms.enter(REF, "rtc", fact, heard)
        return heard

    async def events(self) -> list[int]:
        return await self.database.read(
            lambda c: list(c.scalars(select(tables.callbacks.c.event_type).order_by(tables.callbacks.c.id)))
        )


@asynccontextmanager
async def running(database: SqliteDatabase, clock: HandClock, limits: Limits | None = None) -> AsyncIterator[Scene]:
    node, numbers = FakeNode(), itertools.count()
    rooms = RoomService(database, node, LocalBus(), clock, lambda prefix: f"{prefix}_{next(numbers)}", limits=limits)
    await rooms.start()
    yield Scene(rooms, node, database, clock)
    await rooms.close()


@pytest.fixture
async def database() -> AsyncIterator[SqliteDatabase]:
    database = open_database(None)
    sealer = Sealer(bytes(32))

    def prepare(connection: Connection) -> None:
        connection.execute(tables.accounts.insert().values(uin="1", created_ms=0))
        connection.execute(
            tables.applications.insert().values(
                sdk_app_id=REF.sdk_app_id,
                account_uin="1",
                name="a",
                secret_key_sealed=b"",
                settings="{}",
                created_ms=0,
            )
        )
        set_targets(connection, sealer, REF.sdk_app_id, url="http://127.0.0.1:9/")

    await database.write(prepare)
    yield database
    await database.close()


async def test_the_presence_is_written_before_the_welcome(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        alice = await scene.enter("PA_a", "alice")
        assert alice.kinds()[0] is commands.Welcome
        assert await scene.events() == [101, 103]


async def test_answers_follow_the_updates_they_belong_to(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        heard = await scene.enter("PA_a", "alice")
        sid = heard.notices[0].sid  # type: ignore[union-attr]
        scene.rooms.post("PA_a", facts.TrackAdded("PA_a", Track("TR_1", "c", "video", "camera")))
        scene.rooms.drive(media.Offer(room=sid, participant="PA_a", request=1, target="single", sdp="x"))
        await scene.rooms.remove_users(REF, ["nobody"])  # passes through the same queue
        await scene.rooms.remove_users(REF, ["nobody"])
        kinds = heard.kinds()
        assert kinds.index(commands.AcceptTrack) < kinds.index(media.Answered)


async def test_a_whole_stay_causes_its_callbacks_in_order(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        heard = await scene.enter("PA_a", "alice")
        sid = heard.notices[0].sid  # type: ignore[union-attr]
        scene.rooms.post("PA_a", facts.TrackAdded("PA_a", Track("TR_1", "c", "video", "camera")))
        scene.rooms.post("PA_a", facts.MediaStarted("PA_a", "TR_1", "h264"))
        scene.rooms.post("PA_a", facts.TrackMuted("PA_a", "TR_1", True))
        await scene.rooms.dismiss(REF)
        assert await scene.events() == [101, 103, 201, 202, 104, 102]
        assert heard.notices[-1] == commands.Dismiss("dismissed")
        assert media.CloseRoom(room=sid) in scene.node.commands


async def test_a_room_is_not_opened_by_whom_may_not(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        fact = facts.Entered("PA_b", "bob", Role.ANCHOR, Device(), True, may_create=False)
        assert not scene.rooms.is_open(REF)
        assert scene.rooms.refusal(REF, "rtc", "bob", Role.ANCHOR, may_create=False) == "may_not_create"
        early = Heard()
        await scene.rooms.enter(REF, "rtc", fact, early)
        assert early.notices == [commands.Dismiss("may_not_create")]
        assert await scene.events() == []
        assert not scene.rooms.is_open(REF)
        assert scene.rooms.counts == (0, 0)
        await scene.enter("PA_a", "alice")
        assert scene.rooms.is_open(REF)
        assert [scene.rooms.has_user(REF, name) for name in ("alice", "bob")] == [True, False]
        assert scene.rooms.refusal(REF, "rtc", "bob", Role.ANCHOR, may_create=False) is None
        bob = Heard()
        await scene.rooms.enter(REF, "rtc", fact, bob)
        assert bob.kinds()[0] is commands.Welcome
        await scene.rooms.dismiss(REF)
        assert not scene.rooms.is_open(REF)
        assert not scene.rooms.has_user(REF, "alice")


async def test_an_unknown_room_is_said_to_be_unknown(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        with pytest.raises(ServiceError, match="RoomNotExist"):
            await scene.rooms.dismiss(REF)


async def test_entering_a_room_that_just_ended_makes_a_new_one(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        await scene.enter("PA_a", "alice")
        scene.rooms.post("PA_a", facts.LeftRoom("PA_a"))
        await scene.enter("PA_b", "bob")
        assert await scene.events() == [101, 103, 104, 102, 101, 103]


async def test_a_room_that_cannot_end_yet_holds_back_the_next_of_its_name(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        await scene.enter("PA_a", "alice")
        scene.node.full = True
        scene.rooms.post("PA_a", facts.LeftRoom("PA_a"))
        entering = asyncio.ensure_future(scene.enter("PA_b", "bob"))
        await asyncio.sleep(0.05)
        assert await scene.events() == [101, 103]
        assert not entering.done()
        scene.node.full = False
        bob = await entering
        assert bob.kinds()[0] is commands.Welcome
        assert await scene.events() == [101, 103, 104, 102, 101, 103]


async def test_whom_a_full_room_refuses_leaves_no_trace(database: SqliteDatabase) -> None:
    async with running(database, HandClock(), Limits(call_users=1)) as scene:
        await scene.enter("PA_a", "alice")
        assert scene.rooms.refusal(REF, "rtc", "bob", Role.ANCHOR) == "full"
        bob = await scene.enter("PA_b", "bob")
        assert bob.notices == [commands.Dismiss("full")]
        assert scene.rooms.counts == (1, 1)
        assert await scene.events() == [101, 103]
        assert not scene.rooms.post("PA_b", facts.LeftRoom("PA_b"))


async def test_who_is_in_and_robots_enter_an_overloaded_node(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        await scene.enter("PA_a", "alice")
        scene.node.overloaded = "cpu"
        assert scene.rooms.refusal(REF, "rtc", "bob", Role.ANCHOR) == "busy"
        assert scene.rooms.refusal(RoomRef(REF.sdk_app_id, True, "78"), "rtc", "alice", Role.ANCHOR) == "busy"
        assert scene.rooms.refusal(REF, "rtc", "alice", Role.ANCHOR) is None
        assert scene.rooms.refusal(REF, "rtc", "recorder", Role.AUDIENCE, robot=True) is None
        scene.node.overloaded = ""
        assert scene.rooms.refusal(REF, "rtc", "bob", Role.ANCHOR) is None


async def test_users_are_silenced_where_they_are(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        with pytest.raises(ServiceError, match="RoomNotExist"):
            await scene.rooms.block_user(REF, "alice", frozenset({"audio"}))
        await scene.enter("PA_a", "alice")
        with pytest.raises(ServiceError, match="UserNotExist"):
            await scene.rooms.block_user(REF, "bob", frozenset({"audio"}))
        await scene.rooms.block_user(REF, "alice", frozenset({"audio"}))
        [order] = [order for order in scene.node.commands if isinstance(order, media.SetRights)]
        assert order.rights == media.Rights(send_audio=False)
        [person] = scene.rooms.people(REF)
        assert (person["user_id"], person["blocked"]) == ("alice", ["audio"])


async def test_a_block_and_metadata_survive_a_restart(database: SqliteDatabase) -> None:
    clock = HandClock()
    async with running(database, clock) as scene:
        await scene.enter("PA_a", "alice")
        await scene.rooms.block_user(REF, "alice", frozenset({"video"}))
        await scene.rooms.set_metadata(REF, "title")
    async with running(database, clock) as scene:
        welcome = (await scene.enter("PA_a2", "alice")).notices[0]
        assert isinstance(welcome, commands.Welcome)
        assert welcome.metadata == "title"
        assert welcome.participant.blocked == {"video"}
        [added] = [order for order in scene.node.commands if isinstance(order, media.AddParticipant)]
        assert added.rights == media.Rights(send_video=False, send_screen=False)


async def test_messages_of_the_server_go_to_all_or_to_some(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        with pytest.raises(ServiceError, match="RoomNotExist"):
            scene.rooms.send_data(REF, b"x")
        await scene.enter("PA_a", "alice")
        await scene.enter("PA_b", "bob")
        assert scene.rooms.send_data(REF, b"all") == 2
        assert scene.rooms.send_data(REF, b"some", user_ids=["bob", "nobody"], reliable=False) == 1
        assert scene.rooms.send_data(REF, b"none", user_ids=["nobody"]) == 0
        sent = [order for order in scene.node.commands if isinstance(order, media.SendData)]
        assert [(order.participants, order.reliable, order.packet) for order in sent] == [
            ([], True, b"all"),
            (["PA_b"], False, b"some"),
        ]


async def test_a_restart_keeps_presences_for_those_who_return(database: SqliteDatabase) -> None:
    clock = HandClock()
    async with running(database, clock) as scene:
        await scene.enter("PA_a", "alice")
        await scene.enter("PA_b", "bob")
    async with running(database, clock) as scene:
        await scene.enter("PA_a2", "alice")
        assert await scene.events() == [101, 103, 103]
        scene.rooms.post("PA_a2", facts.LeftRoom("PA_a2"))
        await scene.rooms.remove_users(REF, ["bob"])
        assert await scene.events() == [101, 103, 103, 104, 104, 102]


async def test_a_restart_closes_rooms_that_nobody_was_in(database: SqliteDatabase) -> None:
    clock = HandClock()
    async with running(database, clock) as scene:
        await scene.enter("PA_a", "alice")
    left = tables.presences.update().values(left_ms=clock.ms)
    await database.write(lambda c: c.execute(left) and None)
    async with running(database, clock) as scene:
        with pytest.raises(ServiceError, match="RoomNotExist"):
            await scene.rooms.dismiss(REF)
        assert (await scene.events())[-1] == 102


class RushingClock(HandClock):
    """Each look at it is a second later."""

    def monotonic(self) -> float:
        self.ms += 1000
        return self.ms / 1000


async def test_an_overloaded_media_node_refuses_the_join_and_keeps_the_others(database: SqliteDatabase) -> None:
    async with running(database, RushingClock()) as scene:
        alice = await scene.enter("PA_a", "alice")
        scene.node.full = True
        with pytest.raises(ServiceError):
            await scene.enter("PA_b", "bob")
        assert not scene.rooms.healthy
        assert alice.notices[-1] == commands.Dismiss("failed")
        scene.node.full = False
        await scene.enter("PA_a2", "alice")  # still in the room, as the database has it
        assert scene.rooms.healthy
        assert await scene.events() == [101, 103]


async def test_nobody_hears_of_a_room_before_the_welcome(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        alice = await scene.enter("PA_a", "alice")
        sid = alice.notices[0].sid  # type: ignore[union-attr]
        speakers = media.Speakers(room=sid, speakers=[])
        scene.rooms._by_sid[sid].post(Pass(None, speakers))
        bob = await scene.enter("PA_b", "bob")  # taken up together with what was said before
        assert bob.kinds()[0] is commands.Welcome
        assert speakers in alice.notices
        assert speakers not in bob.notices


async def test_a_session_that_cannot_be_told_leaves_and_the_room_goes_on(database: SqliteDatabase) -> None:
    async with running(database, HandClock()) as scene:
        await scene.enter("PA_a", "alice")

        def broken(notice: ToSession) -> None:
            raise ValueError("unspeakable")

        fact = facts.Entered("PA_b", "bob", Role.ANCHOR, Device(), True)
        await scene.rooms.enter(REF, "rtc", fact, broken)
        carol = await scene.enter("PA_c", "carol")
        await scene.rooms.remove_users(REF, ["nobody"])
        assert carol.kinds()[0] is commands.Welcome
        assert sorted(await scene.events()) == [101, 103, 103, 103, 104]


async def test_a_fact_that_no_room_can_handle_does_not_end_its_task(
    database: SqliteDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(database, HandClock()) as scene:
        alice = await scene.enter("PA_a", "alice")
        live = next(iter(scene.rooms._by_sid.values()))

        def broken(fact: object, now_ms: int) -> None:
            live.room.sessions.clear()
            raise ValueError("halfway")

        with monkeypatch.context() as patched:
            patched.setattr(live.room, "handle", broken)
            with pytest.raises(ServiceError, match="InternalError"):
                await scene.rooms.remove_users(REF, ["alice"])
        assert alice.notices[-1] == commands.Dismiss("failed")
        again = await scene.enter("PA_a2", "alice")
        assert again.kinds()[0] is commands.Welcome
