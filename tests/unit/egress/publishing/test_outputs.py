"""All addresses of a relay together, on connections in memory."""

import random

import pytest

from rtcloud.clock import SystemClock
from rtcloud.egress.publishing.outputs import Outputs
from rtcloud.egress.publishing.pushing import Timing
from rtcloud.rtmp.amf import Value
from rtcloud.tasks.protocol import OutputChanged
from tests.kit.waiting import eventually
from tests.unit.egress.publishing.test_pushing import Exchange

pytestmark = pytest.mark.anyio

URLS = ["rtmp://cdn.example/live/a", "rtmp://cdn.example/live/b"]


def codecs_asked(commands: list[list[Value]]) -> object:
    (connect,) = [command for command in commands if command[0] == "connect"]
    about = connect[2]
    assert isinstance(about, dict)
    return about.get("fourCcList")


async def test_another_codec_ends_every_push_and_begins_it_anew() -> None:
    dialer, reports = Exchange(), list[OutputChanged]()
    outputs = Outputs(
        "h265",
        None,
        dialer,
        reports.append,
        SystemClock(),
        lambda: None,
        chance=random.Random(1),
        timing=Timing(connect=1, stall=1, backoff=(0.01,), close=1),
    )

    def story(url: str) -> list[int]:
        return [report.status for report in reports if report.url == url]

    async def until(wanted: list[int]) -> None:
        async def told() -> bool:
            return all(story(url) == wanted for url in URLS)

        await eventually(told, f"{wanted} is told", 5, seen=lambda: reports)

    outputs.set_urls(URLS)
    await until([1, 2])
    outputs.carry("h265")
    outputs.carry("h264")
    await until([1, 2, 5, 0, 1, 2])
    assert [codecs_asked(connection.peer.commands) for connection in dialer.connections] == [["hvc1"]] * 2 + [None] * 2
    assert [connection.closed for connection in dialer.connections] == [True, True, False, False]
    await outputs.close()
    await until([1, 2, 5, 0, 1, 2, 5, 0])
