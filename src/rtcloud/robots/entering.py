"""The robot of a job in a room: how it comes, how it goes, and with which documented code a task is left for good."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from rtcloud.client.types import ClientRoom

Connect = Callable[[str, str], Awaitable[ClientRoom]]

CONNECT_WITHIN = 15.0
LEAVE_WITHIN = 2.0
#: leave code: nobody was there
IDLE = 99
#: of a robot that was sent away for good, by the reason
LEAVE_CODES = {"PARTICIPANT_REMOVED": 1, "ROOM_DELETED": 2, "DUPLICATE_IDENTITY": 101}
#: media is waited for longer than this anyway; gathered it costs a fraction
GATHER_S = 0.04
#: pauses before a room is tried again; who was there for ``STEADY`` begins anew
PAUSES = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
STEADY = 60.0

_log = logging.getLogger(__name__)


def native_connect(*, auto_subscribe: bool) -> Connect:
    from rtcloud.client import connect  # loads the engine, which a test with rooms of its own does without

    def connecting(url: str, token: str) -> Awaitable[ClientRoom]:
        return connect(url, token, auto_subscribe=auto_subscribe, gather_s=GATHER_S)

    return connecting


async def leave(room: ClientRoom) -> None:
    """Bounded, and never raises."""
    try:
        async with asyncio.timeout(LEAVE_WITHIN):
            await room.leave()
    except Exception:
        _log.warning("leaving the room failed", exc_info=True)
