"""The rooms of a relay, with connections that end as told."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import pytest

from rtcloud.client.types import Disconnected, RoomEvent
from rtcloud.egress.publishing.attending import Attending
from rtcloud.rooms.ids import RoomRef
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio

OWN, OTHER = RoomRef(1400000001, True, "1"), RoomRef(1400000001, True, "2")


@dataclass
class Hall:
    """A room without people, until ``end``."""

    token: str
    participants: dict[str, Any] = field(default_factory=dict)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = ""
    is_left: bool = False

    def end(self, reason: str) -> None:
        self.reason = reason
        self.ended.set()

    async def events(self) -> list[RoomEvent]:
        await self.ended.wait()
        return [Disconnected(self.reason)]

    async def frames(self) -> list[Any]:
        await self.ended.wait()
        return []

    async def leave(self) -> None:
        self.is_left = True
        self.ended.set()


class House:
    def __init__(self) -> None:
        self.entered: list[Hall] = []
        self.over: list[str] = []
        self.attending = Attending(
            self._connect, "ws://unused", changed=lambda: None, take=lambda frames, key: None, over=self.over.append
        )

    async def _connect(self, url: str, token: str) -> Any:
        self.entered.append(Hall(token))
        return self.entered[-1]

    @property
    def tokens(self) -> list[str]:
        return [hall.token for hall in self.entered]

    async def until_entered(self, *tokens: str) -> None:
        async def entered() -> bool:
            return self.tokens == list(tokens)

        await eventually(entered, f"{tokens} are entered", 5, seen=lambda: self.tokens)

    async def until_away(self) -> None:
        async def away() -> bool:
            return len(self.attending.views()) == 1

        await eventually(away, "only the relay's own room is attended", 5)


@pytest.mark.parametrize("reason", ["PARTICIPANT_REMOVED", "DUPLICATE_IDENTITY"])
async def test_a_robot_that_is_not_wanted_in_another_room_comes_back_only_when_named_anew(
    reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rtcloud.egress.publishing.attending.PAUSES", (0.0,))
    house = House()
    await house.attending.enter(OWN, "own")
    house.attending.attend({OTHER: "other"})
    await house.until_entered("own", "other")
    house.entered[1].end("SERVER_SHUTDOWN")
    await house.until_entered("own", "other", "other")
    house.entered[2].end(reason)
    await house.until_away()
    house.attending.attend({OTHER: "newer"})  # a fresh token alone is no invitation
    for _ in range(20):
        await asyncio.sleep(0)
    assert (house.tokens, house.over) == (["own", "other", "other"], [])
    house.attending.attend({})
    house.attending.attend({OTHER: "anew"})
    await house.until_entered("own", "other", "other", "anew")
    await house.attending.leave()
    assert house.entered[3].is_left


async def test_the_relays_own_room_is_never_entered_twice() -> None:
    house = House()
    await house.attending.enter(OWN, "own")
    house.entered[0].end("PARTICIPANT_REMOVED")

    async def over() -> bool:
        return house.over == ["PARTICIPANT_REMOVED"]

    await eventually(over, "it is over", 5, seen=lambda: house.over)
    assert house.tokens == ["own"]
    await house.attending.leave()
