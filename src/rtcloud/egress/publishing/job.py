"""The relay: one job process that joins rooms as a robot, mixes them or takes one stream, and sends it on.

Where it goes: to CDNs (``outputs``), back into rooms (``Broadcast``), into files (``recorder``). The mixing thread
makes the packets; everything else happens on the event loop.

It ends in one of four ways. Told or left (Stop, nobody there, a robot of it removed, its room dismissed, an identity
used again): outputs are ended, rooms left, files closed, ``Left`` with the documented code, products made, ``Ended``.
Let go (end of stdin): leave at once, cut the outputs off without a word (the next attempt goes on with them), close the
files. Cut off from the relay's own room, or failed: the same, with exit status 1, so that the worker starts another
attempt. Killed: the next attempt goes on.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtcloud.aio import spawn
from rtcloud.egress.publishing.attending import Attending
from rtcloud.egress.publishing.carrying import Batch
from rtcloud.egress.publishing.cast import Cast
from rtcloud.egress.publishing.casting import Casting
from rtcloud.egress.publishing.flv import AudioFormat
from rtcloud.egress.publishing.mixed import mix_format
from rtcloud.egress.publishing.outputs import Outputs
from rtcloud.egress.publishing.producing import Production
from rtcloud.egress.publishing.recorder import FileRecorder, make_products
from rtcloud.egress.publishing.request import RelayRequest, decode
from rtcloud.egress.publishing.statuses import Fault
from rtcloud.egress.wishes import Wishes
from rtcloud.mixer.compositor import prepare
from rtcloud.mixer.encoding import EncodedPacket, VideoCodec
from rtcloud.outgoing.dialing import Dialer
from rtcloud.robots.broadcasting import Broadcast, Pictures, Program
from rtcloud.robots.entering import IDLE, LEAVE_CODES, Connect, native_connect
from rtcloud.rooms.ids import RoomRef
from rtcloud.tasks import figures
from rtcloud.tasks.job import JobShell
from rtcloud.tasks.protocol import RECORDING_FAILED, Ended, Figures, Left, Noted, Pass, Started, Stop, Token, Update

#: the outputs have so long to say goodbye
CLOSE_OUTPUTS_WITHIN = 3.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _End:
    """``leave_code`` None: the task goes on elsewhere. ``at_ms`` is server time, None for now."""

    leave_code: int | None
    at_ms: int | None = None
    drains: bool = True
    status: int = 0


async def run(shell: JobShell, connect: Connect | None = None) -> int:
    return await Relay(shell, connect or native_connect(auto_subscribe=False)).run()


class Relay:
    def __init__(self, shell: JobShell, connect: Connect) -> None:
        order = shell.order
        self._shell = shell
        self._connect = connect
        self._request = decode(bytes(order.params))
        self._casting = Casting(self._request, Path(order.images), order.task_id)
        self._cast = Cast()
        self._anchors_seen = shell.clock.monotonic()
        self._ending: asyncio.Future[_End] = asyncio.get_running_loop().create_future()
        self._changed = asyncio.Event()
        self._changed_us = 0
        self._wishes = Wishes()
        self._feedbacks: dict[tuple[RoomRef, str], Broadcast] = {}
        self._gauge = figures.Gauge(shell.clock, figures.cpu_seconds())
        self._outputs_begun = False
        self._refused = ""  # codec of a single stream because of which the outputs have ended

    async def run(self) -> int:
        order, request = self._shell.order, self._request
        if order.finish:
            await self._make_products()
            self._shell.report(Ended(at_ms=self._now_ms()))
            return 0
        self._recorder = self._open_recorder()
        self._production = Production(
            request,
            self._shell.clock,
            deliver=self._deliver,
            wish=self._wishes.put,
            refuse=self._refuse,
            keep=self._keep,
            close=self._close_files,
        )
        self._outputs = self._open_outputs()
        self._attending = Attending(
            self._connect, order.signal_url, changed=self._look, take=self._production.put, over=self._room_is_over
        )
        await self._attending.enter(request.ref, order.token)
        self._production.start()
        self._shell.is_healthy = self._production.is_healthy
        self._admit(order.passes)
        if not request.is_single:
            self._push()
        self._shell.report(Started(at_ms=self._now_ms()))
        aio_tasks = [
            spawn(self._arrange(), name="relay-casting"),
            spawn(self._fulfil(), name="relay-wishes"),
            spawn(self._obey(), name="relay-instructions"),
            spawn(self._watch_idle(), name="relay-idle"),
            spawn(figures.tell(self._shell.directory, self._figures), name="relay-figures"),
            spawn(figures.show(self._shell.directory, self._production.picture), name="relay-preview"),
        ]
        try:
            return await self._end(aio_tasks)
        finally:
            for task in aio_tasks:
                task.cancel()
            await asyncio.gather(*aio_tasks, return_exceptions=True)

    # The end ------------------------------------------------------------------------------------------------------

    async def _end(self, aio_tasks: list[asyncio.Task[None]]) -> int:
        mixing = asyncio.wrap_future(self._production.done)
        watched: list[asyncio.Future[Any]] = [self._ending, mixing, *aio_tasks]
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if not self._ending.done():
            failed = [future for future in watched if future.done()]
            _log.error("relay failed", exc_info=failed[0].exception())
            await self._let_go(mixing)
            return 1
        end = self._ending.result()
        if end.leave_code is None:
            await self._let_go(mixing)
            return end.status
        await self._production.stop(at_server_ms=end.at_ms)
        await asyncio.sleep(0)  # what the thread gave on last is taken
        await asyncio.gather(self._close_outputs(), self._leave())
        self._shell.report(Left(at_ms=self._now_ms(), leave_code=end.leave_code))
        await self._make_products()
        self._shell.report(Ended(at_ms=self._now_ms()))
        return 0

    async def _let_go(self, mixing: asyncio.Future[None]) -> None:
        self._outputs.cut()
        leaving = spawn(self._leave(), name="relay-leave")
        if not mixing.done():
            await self._production.stop(drains=False)
        await leaving

    async def _close_outputs(self) -> None:
        try:
            async with asyncio.timeout(CLOSE_OUTPUTS_WITHIN):
                await self._outputs.close()
        except TimeoutError:
            _log.warning("outputs do not end in time")

    async def _leave(self) -> None:
        robots = [feedback.close() for feedback in self._feedbacks.values()]
        await asyncio.gather(self._attending.leave(), *robots)

    def _finish(self, end: _End) -> None:
        if not self._ending.done():
            self._ending.set_result(end)

    def _room_is_over(self, reason: str) -> None:
        """The relay's own, or that of a robot that feeds back."""
        code = LEAVE_CODES.get(reason)
        self._finish(_End(code, status=1 if code is None else 0))

    # Who is there, and what is made of them -------------------------------------------------------------------------

    def _look(self) -> None:
        if not self._changed.is_set():
            self._changed_us = self._production.now_us()
            self._changed.set()

    async def _arrange(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            request, changed_us = self._request, self._changed_us
            cast = self._casting.plan(self._attending.views())
            if cast.scene is not None and cast.scene != self._cast.scene and request.images:
                form = mix_format(request)
                await asyncio.to_thread(prepare, cast.scene, form.width, form.height)
                if request is not self._request:
                    continue  # an update came meanwhile, and with it another look
            had_anchor, self._cast = self._cast.has_anchor, cast
            if had_anchor:
                self._anchors_seen = self._shell.clock.monotonic()
            self._production.follow(cast, changed_us)
            await self._attending.want(cast.audio.keys() | cast.video.keys())

    async def _fulfil(self) -> None:
        while True:
            await self._attending.fulfil(await self._wishes.next())

    async def _watch_idle(self) -> None:
        while True:
            now = self._shell.clock.monotonic()
            if not self._cast.has_anchor and now - self._anchors_seen >= self._request.agent_params.max_idle_time:
                self._finish(_End(IDLE))
            await asyncio.sleep(0.5)

    # Instructions ---------------------------------------------------------------------------------------------------

    async def _obey(self) -> None:
        while True:
            instruction = await self._shell.instructions.get()
            if instruction is None:
                self._finish(_End(None, drains=False))
            elif isinstance(instruction, Stop):
                self._finish(_End(instruction.leave_code, at_ms=instruction.at_ms or None))
            elif isinstance(instruction, Update):
                self._update(decode(bytes(instruction.params)), instruction.passes)
            elif isinstance(instruction, Token):
                self._admit(instruction.passes)

    def _update(self, request: RelayRequest, passes: Sequence[Pass]) -> None:
        before, self._request = self._request, request
        self._casting.update(request)
        self._production.update(request)
        self._outputs.carry(_video_codec(request))
        self._admit(passes)
        refused, self._refused = self._refused, self._refused if request.is_single else ""
        if self._outputs_begun:
            self._push(retry=refused != self._refused or request.publish_revision != before.publish_revision)
        self._look()

    def _admit(self, passes: Sequence[Pass]) -> None:
        """The rooms and robots of the request, with what lets them in."""
        request = self._request
        entries = {(RoomRef(request.sdk_app_id, one.numeric, one.room_id), one.user_id): one for one in passes}
        agent = request.agent_params.user_id
        self._attending.attend(
            {ref: one.token for (ref, user_id), one in entries.items() if ref in request.refs and user_id == agent}
        )
        wanted = {
            (RoomRef(request.sdk_app_id, one.room_id_type == 0, one.room_id), one.user_id)
            for one in request.feed_back_room_params
        }
        for key in self._feedbacks.keys() - wanted:
            spawn(self._feedbacks.pop(key).close(), name="relay-feedback-close")
        for key in wanted & entries.keys():
            if key in self._feedbacks:
                self._feedbacks[key].token = entries[key].token
            else:
                self._feedbacks[key] = self._feed_back(entries[key])

    def _feed_back(self, entry: Pass) -> Broadcast:
        request, video = self._request, self._request.video_params
        form = None if video is None else video.video_encode
        return Broadcast(
            entry.token,
            self._connect,
            self._shell.order.signal_url,
            Program(
                pictures=None if form is None else Pictures("h264", form.width, form.height),
                sound=request.audio_params is not None,
            ),
            want_keyframe=self._want_keyframe,
            over=self._room_is_over,
        )

    # What comes out -------------------------------------------------------------------------------------------------

    def _deliver(self, batch: Batch) -> None:
        if not self._outputs_begun:
            self._push()
        self._gauge.count([packet for packet, _ in batch.packets], batch.delay_us)
        for packet, _ in batch.packets:
            self._outputs.put(packet)
        for feedback in self._feedbacks.values():
            feedback.put(batch.packets)

    def _push(self, *, retry: bool = False) -> None:
        self._outputs_begun = True
        self._outputs.set_urls([one.publish_cdn_url for one in self._request.publish_cdn_params], retry=retry)
        if self._refused:
            self._outputs.refuse(Fault.CODEC_NOT_CARRIED, self._refused)

    def _want_keyframe(self) -> None:
        self._production.want_keyframe()

    def _refuse(self, codec: str) -> None:
        """A single stream's video cannot be relayed as it is; "" when it can again."""
        if codec and not self._request.is_single:
            return  # that was before the last update
        self._refused = codec
        if not codec:
            self._push(retry=True)
            return
        message = f"{codec} cannot be relayed without mixing"
        self._shell.report(Noted(at_ms=self._now_ms(), code="VideoCodec", message=message))
        self._push()

    def _open_outputs(self) -> Outputs:
        order, form = self._shell.order, mix_format(self._request)
        return Outputs(
            _video_codec(self._request),
            AudioFormat(form.sample_rate, form.channels) if form.audio else None,
            Dialer(allow_private=order.allow_private),
            self._shell.report,
            self._shell.clock,
            self._want_keyframe,
            resumes=order.attempt > 0,
        )

    # Files ----------------------------------------------------------------------------------------------------------

    def _open_recorder(self) -> FileRecorder | None:
        if self._request.record_params is None:
            return None
        shell = self._shell
        return FileRecorder(self._request, shell.order, shell.directory, shell.report, shell.clock)

    async def _make_products(self) -> None:
        """The files made from the whole recording, of all attempts."""
        if self._request.record_params is not None:
            await make_products(self._shell, self._request)

    def _keep(self, packet: EncodedPacket, at_us: int) -> None:
        """On the mixing thread. A full disk ends the recording, not the relay."""
        recorder = self._recorder
        if recorder is None:
            return
        try:
            recorder.put(packet, at_us)
        except OSError as error:
            self._stop_recording(error)

    def _close_files(self, length: int) -> None:
        """On the mixing thread."""
        if self._recorder is not None:
            try:
                self._recorder.close(length)
            except OSError as error:
                self._stop_recording(error)

    def _stop_recording(self, error: OSError) -> None:
        _log.error("the relay is not recorded any more", exc_info=error)
        self._recorder = None
        message = f"the files cannot be written: {error.strerror}"
        self._shell.report(Noted(at_ms=self._now_ms(), code=RECORDING_FAILED, message=message))

    def _figures(self) -> Figures:
        return self._gauge.look(
            figures.cpu_seconds(),
            self._attending.received,
            figures.statuses({url: one.status for url, one in self._outputs.figures.items()}),
            has_video=self._request.video_params is not None,
        )

    def _now_ms(self) -> int:
        return self._shell.clock.now_ms()


def _video_codec(request: RelayRequest) -> VideoCodec | None:
    """What outputs carry: a single stream's pictures go on as they came."""
    if request.video_params is None:
        return None
    return "h264" if request.is_single else request.video_codec
