"""Who may push: the rules of joining and of tasks, as RTMP tells them."""

import asyncio
import struct
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import msgspec
import pytest

from rtcloud.accounts.entities import Application
from rtcloud.accounts.tokens import verify_join_token
from rtcloud.accounts.usersig import make_user_sig
from rtcloud.actions.context import Services
from rtcloud.ingest.push.admitting import PushRefusedError, Wish
from rtcloud.ingest.push.handing import Desk
from rtcloud.ingest.push.request import decode
from rtcloud.push_acceptor import TOKEN_LIFE_MS, PushAcceptor
from rtcloud.rooms.commands import LeaveCause
from rtcloud.rooms.ids import RoomRef
from rtcloud.rooms.participant import Role
from rtcloud.signal.join import JoinService
from rtcloud.tasks.task import NewTask
from tests.kit.actions import open_world
from tests.kit.api import FakeTasks
from tests.kit.clock import NOW_MS

pytestmark = pytest.mark.anyio


@dataclass
class House:
    services: Services
    app: Application
    full: bool = False
    stopping: bool = False
    scenes: list[str] = field(default_factory=list)
    refused: list[tuple[RoomRef, str, int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        services = replace(self.services, is_stopping=lambda: self.stopping)
        joins = JoinService(services.accounts.application, services.clock, self._refusal)
        self.acceptor = PushAcceptor(services, joins, Desk(Path("/data")), lambda *told: self.refused.append(told))

    def _refusal(
        self, ref: RoomRef, scene: str, user_id: str, role: Role, *, robot: bool = False, may_create: bool = True
    ) -> LeaveCause | None:
        self.scenes.append(scene)
        return "full" if self.full else None if may_create else "may_not_create"

    def wish(self, **fields: object) -> Wish:
        sig = make_user_sig(self.app.sdk_app_id, self.app.secret_key, "u", expire_s=60, now_ms=NOW_MS)
        return replace(Wish(self.app.sdk_app_id, "u", sig, "hall", False, ""), **fields)  # type: ignore[arg-type]

    def key(self, bits: int) -> str:
        """A PrivateMapKey for the room."""
        numbers = struct.pack(">IIIII", self.app.sdk_app_id, 0, NOW_MS // 1000 + 60, bits, 0)
        userbuf = b"\1\0\1u" + numbers + b"\0\4hall"
        return make_user_sig(self.app.sdk_app_id, self.app.secret_key, "u", expire_s=60, now_ms=NOW_MS, userbuf=userbuf)

    @property
    def tasks(self) -> list[NewTask]:
        return list(cast(FakeTasks, self.services.tasks).accepted.values())

    async def why(self, wish: Wish) -> str:
        with pytest.raises(PushRefusedError) as refused:
            await self.acceptor.admit(wish)
        assert wish.user_sig not in refused.value.words
        return f"{refused.value.why} {refused.value.code} {refused.value.words}"


async def test_a_push_is_a_task_with_a_token_of_its_users_own() -> None:
    async with open_world() as world:
        house = House(world.services, world.app)
        accepted = await house.acceptor.admit(house.wish())
        (task,) = house.tasks
        assert (task.kind, task.ref, task.user_id) == ("push", RoomRef(world.app.sdk_app_id, False, "hall"), "u")
        assert task.load > 0
        request = decode(task.params)
        assert (request.ticket, request.desk, request.b_frames) == (accepted.ticket, "/data/push.sock", "transcode")
        assert request.token not in repr(request)
        grant = verify_join_token(request.token, lambda app: world.app.secret_keys(NOW_MS), now_ms=NOW_MS)
        assert not grant.robot
        assert (grant.user_id, grant.role, grant.user_type, grant.terminal_type) == ("u", 20, 3, 4)
        assert grant.expires_ms == NOW_MS + TOKEN_LIFE_MS
        await accepted.withdraw()
        assert cast(FakeTasks, house.services.tasks).views[task.task_id].desired_state == "stopped"


async def test_each_rule_of_joining_is_told_as_rtmp_tells_it() -> None:
    async with open_world() as world:
        house = House(world.services, world.app)
        assert "unknown_application NetStream.Publish.Denied" in await house.why(house.wish(sdk_app_id=1))
        assert "bad_signature NetStream.Publish.Denied" in await house.why(house.wish(user_id="v"))
        assert "bad_signature NetStream.Publish.Denied" in await house.why(house.wish(user_sig="eJw"))
        assert "bad_address NetStream.Publish.BadName" in await house.why(house.wish(room="a\nb"))
        assert "bad_address NetStream.Publish.BadName" in await house.why(house.wish(room="0", numeric=True))
        assert "bad_address NetStream.Publish.BadName" in await house.why(house.wish(user_id="a b"))
        assert [code for _, _, code, _ in house.refused] == [70013, 70003, -10012, -10012, -102023]
        house.full = True
        assert "room_full NetStream.Publish.Rejected" in await house.why(house.wish())
        assert house.tasks == []


async def test_permission_control_wants_the_user_sig_to_be_a_key() -> None:
    async with open_world() as world:
        settings = msgspec.structs.replace(world.app.settings, permission_control=True, b_frames="refuse")
        await world.accounts.update_application(world.app.sdk_app_id, settings=settings)
        house = House(world.services, world.app)
        assert "not_allowed NetStream.Publish.Denied" in await house.why(house.wish())
        everything, sound_alone, screen_alone = 255, 0b111, 0b1000011
        await house.acceptor.admit(house.wish(user_sig=house.key(everything)))
        await house.acceptor.admit(house.wish(user_sig=house.key(sound_alone)))
        requests = [decode(task.params) for task in house.tasks]
        assert [request.kinds for request in requests] == [("audio", "video"), ("audio",)]
        assert [request.b_frames for request in requests] == ["refuse", "refuse"]
        assert "does not allow to send" in await house.why(house.wish(user_sig=house.key(screen_alone)))
        assert "not_allowed" in await house.why(house.wish(user_sig=house.key(everything), room="elsewhere"))


async def test_a_room_that_is_opened_has_a_scene_that_the_application_allows() -> None:
    async with open_world() as world:
        settings = msgspec.structs.replace(world.app.settings, scenes=("live",))
        await world.accounts.update_application(world.app.sdk_app_id, settings=settings)
        house = House(world.services, world.app)
        await house.acceptor.admit(house.wish())
        assert house.scenes == ["live"]
        assert "not_allowed" in await house.why(house.wish(scene="rtc"))


async def test_one_user_cannot_have_process_after_process_started() -> None:
    async with open_world() as world:
        house = House(world.services, world.app)
        for _ in range(10):
            await house.acceptor.admit(house.wish())
        assert "too_often NetStream.Publish.Rejected" in await house.why(house.wish())
        assert len(house.tasks) == 10


async def test_one_user_cannot_begin_more_often_by_coming_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_world() as world:
        house = House(world.services, world.app)
        accept = world.services.tasks.accept

        async def slowly(task: NewTask) -> None:
            await asyncio.sleep(0)
            await accept(task)

        monkeypatch.setattr(world.services.tasks, "accept", slowly)
        await asyncio.gather(*(house.acceptor.admit(house.wish()) for _ in range(20)), return_exceptions=True)
        assert len(house.tasks) == 10


async def test_a_machine_that_is_full_or_stops_takes_no_push() -> None:
    async with open_world() as world:
        cast(FakeTasks, world.services.tasks).capacity = 120
        house = House(world.services, world.app)
        await house.acceptor.admit(house.wish())
        await house.acceptor.admit(house.wish())
        assert "busy NetStream.Publish.Rejected" in await house.why(house.wish())
        cast(FakeTasks, world.services.tasks).capacity = 0
        house.stopping = True
        assert "busy NetStream.Publish.Rejected" in await house.why(house.wish())
        assert len(house.tasks) == 2
