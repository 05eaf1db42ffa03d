"""The pipeline's thread: what waits is bounded, what is dropped leaves whole pictures, and no failure is lost."""

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from rtcloud.ingest import running
from rtcloud.ingest.media import Handling, RoomPacket, SourcePacket, StreamForm
from rtcloud.ingest.pipeline import Pipeline, PipelineSettings
from rtcloud.ingest.running import PipelineThread
from rtcloud.robots.broadcasting import Program
from tests.kit.media_files import every, grey, merged, tone, video
from tests.kit.waiting import eventually

pytestmark = pytest.mark.anyio

VIDEO, AUDIO = StreamForm("video", "h264"), StreamForm("audio", "aac")


class Slow(Pipeline):
    """Writes down what comes, and does nothing while it may go no further."""

    def __init__(self) -> None:
        super().__init__(PipelineSettings(), lambda handling: None)
        self.came: list[SourcePacket] = []
        self.cuts: list[int] = []
        self.may_go, self.is_held = threading.Event(), threading.Event()

    def put(self, packet: SourcePacket) -> list[RoomPacket]:
        self.is_held.set()
        assert self.may_go.wait(20)
        self.came.append(packet)
        return []

    def cut(self) -> None:
        self.cuts.append(len(self.came))


def packet(kind: str, number: int, *, keyframe: bool = False, size: int = 1) -> SourcePacket:
    return SourcePacket(VIDEO if kind == "video" else AUDIO, bytes(size), number, number, keyframe)


@asynccontextmanager
async def held() -> AsyncIterator[tuple[Slow, PipelineThread]]:
    """A thread that stands still with its first packet until ``may_go`` is set."""
    slow = Slow()
    thread = PipelineThread(slow, lambda packets, program: None)
    assert thread.put(packet("audio", -1))
    await eventually(lambda: _soon(slow.is_held.is_set()), "the thread begins")
    try:
        yield slow, thread
    finally:
        slow.may_go.set()
        await thread.close()


async def test_a_thread_that_hangs_in_a_codec_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    async with held() as (slow, thread):
        assert thread.is_healthy()
        monkeypatch.setattr(running, "STUCK_AFTER", 0.0)
        assert not thread.is_healthy()
        slow.may_go.set()

        async def goes_on() -> bool:
            return thread.is_healthy()

        await eventually(goes_on, "it goes on")


async def _soon(value: bool) -> bool:
    return value


async def test_what_goes_in_comes_out_on_the_loop_in_order() -> None:
    got: list[RoomPacket] = []
    told: list[Handling] = []
    programs: list[Program] = []
    threads = set()

    def deliver(packets: list[RoomPacket], program: Program) -> None:
        got.extend(packets)
        programs.append(program)
        threads.add(threading.current_thread())

    thread = PipelineThread(Pipeline(PipelineSettings(), told.append), deliver)
    options = {"preset": "ultrafast", "tune": "zerolatency"}
    for each in merged(video("libx264", grey(320, 180), every(30, 1), options=options), tone("aac", 1)):
        await thread.put_wait(each)
    thread.flush()
    await eventually(lambda: _soon(len(got) >= 30 + 50), "everything comes out")
    await thread.close()
    assert threads == {threading.main_thread()}
    assert [each.how for each in told] in (["copied", "transcoded"], ["transcoded", "copied"])
    assert programs[-1].sound
    assert programs[-1].pictures is not None


async def test_a_live_source_loses_pictures_up_to_a_keyframe_and_keeps_its_sound() -> None:
    async with held() as (slow, thread):
        taken = [thread.put(packet("video", index, keyframe=index % 50 == 0)) for index in range(220)]
        assert taken == [index < 192 for index in range(220)]
        assert all(thread.put(packet("audio", index)) for index in range(10))
        slow.may_go.set()
        await eventually(lambda: _soon(len(slow.came) >= 203), "the queue is worked off")
        assert not thread.put(packet("video", 220))
        assert thread.put(packet("audio", 11))
        assert thread.put(packet("video", 250, keyframe=True))
        assert thread.put(packet("video", 251))
        assert thread.dropped == 29


async def test_what_waits_is_bounded_in_bytes_for_pictures_before_sound() -> None:
    async with held() as (_, thread):
        assert thread.put(packet("video", 0, keyframe=True, size=running.MAX_BYTES - running.SPARE_BYTES))
        assert not thread.put(packet("video", 1, keyframe=True))
        assert thread.put(packet("audio", 1, size=running.SPARE_BYTES))
        assert not thread.put(packet("audio", 2))


async def test_a_packet_larger_than_the_bound_is_taken_alone() -> None:
    async with held() as (_, thread):
        assert thread.put(packet("video", 0, keyframe=True, size=running.MAX_BYTES + 1))
        assert not thread.put(packet("audio", 0))


async def test_a_source_that_can_wait_loses_nothing() -> None:
    async with held() as (slow, thread):
        putting = asyncio.gather(*(thread.put_wait(packet("video", index)) for index in range(600)))
        await asyncio.sleep(0)
        assert not putting.done()
        slow.may_go.set()
        await asyncio.wait_for(putting, 20)
        await eventually(lambda: _soon(len(slow.came) == 601), "the queue is worked off")
        assert [each.dts_us for each in slow.came] == [-1, *range(600)]
        assert thread.dropped == 0


async def test_a_cut_stays_between_the_packets_around_it() -> None:
    async with held() as (slow, thread):
        thread.put(packet("audio", 0))
        thread.cut()
        thread.put(packet("audio", 1))
        slow.may_go.set()
        await eventually(lambda: _soon(len(slow.came) == 3), "the queue is worked off")
        assert slow.cuts == [2]


async def test_closing_does_not_wait_for_what_waits() -> None:
    async with held() as (slow, thread):
        for index in range(100):
            thread.put(packet("audio", index))
        waiting = asyncio.gather(
            *(thread.put_wait(packet("audio", index)) for index in range(300)), return_exceptions=True
        )
        await asyncio.sleep(0)
        closing = asyncio.ensure_future(thread.close())
        await asyncio.sleep(0)
        slow.may_go.set()
        await asyncio.wait_for(closing, 20)
        assert len(slow.came) == 1
        assert any(isinstance(each, RuntimeError) for each in await asyncio.wait_for(waiting, 20))
        assert not thread.put(packet("audio", 0))


class Broken(Pipeline):
    def put(self, packet: SourcePacket) -> list[RoomPacket]:
        raise ZeroDivisionError("of the pipeline")


async def test_a_failure_is_not_lost() -> None:
    thread = PipelineThread(Broken(PipelineSettings(), lambda handling: None), lambda packets, program: None)
    await thread.put_wait(packet("audio", 0))
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(asyncio.wrap_future(thread.done), 20)
    assert not thread.put(packet("audio", 1))
    with pytest.raises(ZeroDivisionError):
        await thread.put_wait(packet("audio", 1))
    with pytest.raises(ZeroDivisionError):
        await thread.close()
