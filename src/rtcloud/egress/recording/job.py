"""The recorder: one job process that joins a room as a robot and records it, mixed or each stream for itself.

It ends in one of four ways. Told or left (Stop, nobody there, removed, room dismissed, identity used again): the files
are closed, ``Left`` with the documented code, the MP4 is made, ``Ended``. Let go (end of stdin): leave at once, close
the files, no more. Cut off (connection lost for good) or failed: the files are closed and the exit status is 1, so that
the worker goes on with another attempt. Killed: ``recovery`` completes the files; the next attempt's MP4 has all.
"""

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from rtcloud.aio import spawn
from rtcloud.client.types import ClientRoom, Disconnected
from rtcloud.egress.recording import products
from rtcloud.egress.recording.naming import FileNames
from rtcloud.egress.recording.pipeline import Pipeline
from rtcloud.egress.recording.placing import Plan, Roster
from rtcloud.egress.recording.request import RecordingRequest, decode
from rtcloud.egress.recording.single_pipeline import SinglePipeline
from rtcloud.egress.wishes import Wishes
from rtcloud.mixer import layout
from rtcloud.mixer.mixing import KeyframeWanted, Mixer, MixFormat, Wish
from rtcloud.robots.entering import CONNECT_WITHIN, IDLE, LEAVE_CODES, Connect, leave, native_connect
from rtcloud.tasks import figures
from rtcloud.tasks.job import JobShell
from rtcloud.tasks.protocol import Ended, Figures, ImageMissing, Left, Noted, Started, Stop, Update

#: images that one attempt says are missing: the journal may not grow with every update
MAX_TOLD_MISSING = 1_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _End:
    """``leave_code`` None: the task goes on elsewhere. ``at_ms`` is server time, None for now."""

    leave_code: int | None
    in_room: bool
    at_ms: int | None = None
    drains: bool = True
    status: int = 0


async def run(shell: JobShell, connect: Connect | None = None) -> int:
    return await Recorder(shell, connect or native_connect(auto_subscribe=True)).run()


def mix_format(request: RecordingRequest) -> MixFormat:
    video, audio = request.mix_transcode_params.video_params, request.mix_transcode_params.audio_params
    stream_type = request.record_params.stream_type
    return MixFormat(
        width=layout.even(video.width),
        height=layout.even(video.height),
        fps=video.fps,
        video_bitrate=video.bit_rate,
        gop_seconds=video.gop,
        sample_rate=audio.sample_rate_hz,
        channels=audio.channel,
        audio_bitrate=audio.bit_rate,
        video=stream_type != 1,
        audio=stream_type != 2,
    )


class Recorder:
    def __init__(self, shell: JobShell, connect: Connect) -> None:
        order = shell.order
        self._shell = shell
        self._connect = connect
        self._request = decode(bytes(order.params))
        self._names = FileNames(
            order.sdk_app_id, order.numeric, order.room_id, order.attempt, record_id=self._request.filing.mark
        )
        self._roster = Roster(self._request, Path(order.images))
        self._plan = Plan()
        self._subscribed: dict[str, bool] = {}
        self._known: set[str] = set()
        self._loop = asyncio.get_running_loop()
        self._ending: asyncio.Future[_End] = self._loop.create_future()
        self._wishes = Wishes()
        self._anchors_seen = shell.clock.monotonic()
        self._changed = asyncio.Event()
        self._told_missing: set[str] = set()
        self._gauge = figures.Gauge(shell.clock, figures.cpu_seconds())

    async def run(self) -> int:
        if self._shell.order.finish:
            await self._make_products()
            self._shell.report(Ended(at_ms=self._now_ms()))
            return 0
        pipeline = self._pipeline()
        order = self._shell.order
        async with asyncio.timeout(CONNECT_WITHIN):
            room = await self._connect(order.signal_url, order.token)
        pipeline.start()
        self._shell.is_healthy = pipeline.is_healthy
        self._shell.report(Started(at_ms=self._now_ms()))
        self._tell_missing_images()
        aio_tasks = [
            spawn(self._follow_room(room), name="recorder-events"),
            spawn(self._arrange(room, pipeline), name="recorder-places"),
            spawn(self._receive(room, pipeline), name="recorder-frames"),
            spawn(self._fulfil(room), name="recorder-wishes"),
            spawn(self._obey(), name="recorder-instructions"),
            spawn(self._watch_idle(), name="recorder-idle"),
            spawn(figures.tell(self._shell.directory, self._figures), name="recorder-figures"),
            spawn(figures.show(self._shell.directory, pipeline.picture), name="recorder-preview"),
        ]
        try:
            return await self._end(room, pipeline, aio_tasks)
        finally:
            for task in aio_tasks:
                task.cancel()
            await asyncio.gather(*aio_tasks, return_exceptions=True)

    def _pipeline(self) -> Pipeline | SinglePipeline:
        shell, names, keep = self._shell, self._names, self._makes_whole
        if self._request.is_single:
            return SinglePipeline(
                self._request.record_params,
                shell.directory,
                names,
                shell.report,
                self._wish,
                self._note,
                shell.clock,
                keep=keep,
            )
        return Pipeline(
            mix_format(self._request),
            shell.directory,
            names,
            shell.report,
            self._wish,
            shell.clock,
            keep=keep,
            gauge=self._gauge,
        )

    def _note(self, code: str, message: str) -> None:
        """On the writing thread."""
        self._shell.report(Noted(at_ms=self._now_ms(), code=code, message=message))

    # The end ------------------------------------------------------------------------------------------------------

    async def _end(
        self, room: ClientRoom, pipeline: Pipeline | SinglePipeline, aio_tasks: list[asyncio.Task[None]]
    ) -> int:
        mixing = asyncio.wrap_future(pipeline.done)
        watched: list[asyncio.Future[Any]] = [self._ending, mixing, *aio_tasks]
        await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
        if not self._ending.done():
            failed = [future for future in watched if future.done()]
            _log.error("recorder failed", exc_info=failed[0].exception())
            await leave(room)
            if not mixing.done():
                await pipeline.stop(drains=False)
            return 1
        end = self._ending.result()
        if end.drains:
            await pipeline.stop(at_server_ms=end.at_ms)
            if end.in_room:
                await leave(room)
        else:
            leaving = spawn(leave(room), name="recorder-leave")
            await pipeline.stop(drains=False)
            await leaving
        if end.leave_code is None:
            return end.status
        self._shell.report(Left(at_ms=self._now_ms(), leave_code=end.leave_code))
        await self._make_products()
        self._shell.report(Ended(at_ms=self._now_ms()))
        return 0

    def _finish(self, end: _End) -> None:
        if not self._ending.done():
            self._ending.set_result(end)

    # What happens in the meantime -----------------------------------------------------------------------------------

    async def _follow_room(self, room: ClientRoom) -> None:
        self._changed.set()
        while events := await room.events():
            self._changed.set()
            for event in events:
                if isinstance(event, Disconnected):
                    code = LEAVE_CODES.get(event.reason)
                    self._finish(_End(code, in_room=False, status=1))
        await asyncio.Event().wait()  # the end is decided; whoever waits for it cancels this

    async def _receive(self, room: ClientRoom, pipeline: Pipeline | SinglePipeline) -> None:
        while frames := await room.frames():
            pipeline.put(frames)
        await asyncio.Event().wait()

    def _wish(self, wish: Wish) -> None:
        """On the mixing thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits for it
            self._loop.call_soon_threadsafe(self._wishes.put, wish)

    async def _fulfil(self, room: ClientRoom) -> None:
        while True:
            wish = await self._wishes.next()
            if isinstance(wish, KeyframeWanted):
                room.request_keyframe(wish.track_id)
            else:
                await room.set_subscription(wish.track_id, enabled=wish.enabled, width=wish.width, height=wish.height)

    async def _obey(self) -> None:
        while True:
            instruction = await self._shell.instructions.get()
            if instruction is None:
                self._finish(_End(None, in_room=True, drains=False))
            elif isinstance(instruction, Stop):
                self._finish(_End(instruction.leave_code, in_room=True, at_ms=instruction.at_ms or None))
            elif isinstance(instruction, Update):
                self._update(decode(bytes(instruction.params)))
            else:
                _log.info("instruction does not concern a recorder", extra={"instruction": type(instruction).__name__})

    async def _watch_idle(self) -> None:
        limit = self._request.record_params.max_idle_time
        while True:
            now = self._shell.clock.monotonic()
            if not self._plan.has_anchor and now - self._anchors_seen >= limit:
                self._finish(_End(IDLE, in_room=True))
            await asyncio.sleep(0.5)

    def _update(self, request: RecordingRequest) -> None:
        """ModifyCloudRecording: another layout, other people."""
        self._request = request
        self._roster.update(request)
        self._tell_missing_images()
        self._changed.set()

    def _tell_missing_images(self) -> None:
        request, images = self._request, Path(self._shell.order.images)
        for url in request.pictures:
            name = request.images.get(url)
            if name is not None and (images / name).is_file():
                continue
            if url not in self._told_missing and len(self._told_missing) < MAX_TOLD_MISSING:
                self._told_missing.add(url)
                self._shell.report(ImageMissing(at_ms=self._now_ms(), url=url))

    async def _arrange(self, room: ClientRoom, pipeline: Pipeline | SinglePipeline) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            await self._sync(room, pipeline)

    async def _sync(self, room: ClientRoom, pipeline: Pipeline | SinglePipeline) -> None:
        """Brings subscriptions and mixer in line with who is in the room now."""
        before, self._plan = self._plan, self._roster.plan(list(room.participants.values()))
        plan, at = self._plan, pipeline.now_us()
        if before.has_anchor:
            self._anchors_seen = self._shell.clock.monotonic()
        if isinstance(pipeline, SinglePipeline):
            pipeline.follow(plan.audio, plan.video, at)
        else:
            self._sync_mix(pipeline, before, at)
        wanted = plan.audio.keys() | plan.video.keys()
        published = [track.track_id for one in room.participants.values() for track in one.tracks]
        for track_id in published:
            if self._subscribed.get(track_id, True) != (track_id in wanted):
                self._subscribed[track_id] = track_id in wanted
                await room.subscribe(track_id, track_id in wanted)
        for track_id in self._subscribed.keys() - set(published):
            del self._subscribed[track_id]

    def _sync_mix(self, pipeline: Pipeline, before: Plan, at: int) -> None:
        plan = self._plan
        for track in plan.audio.values():
            if track.track_id not in self._known:
                pipeline.change(Mixer.add_audio, track.track_id, track.user_id)
        for track in plan.video.values():
            if before.video.get(track.track_id) != track:
                pipeline.change(Mixer.add_video, track.track_id, track.user_id, track.width, track.height)
        wanted = plan.audio.keys() | plan.video.keys()
        for track_id in self._known - wanted - plan.kept:
            pipeline.change(Mixer.remove, track_id, at)
        if plan.scene != before.scene or plan.video != before.video:
            pipeline.change(Mixer.show, plan.scene, at)
        self._known = set(wanted | plan.kept)

    # Files ----------------------------------------------------------------------------------------------------------

    @property
    def _makes_whole(self) -> bool:
        return bool(self._request.filing.extension)

    async def _make_products(self) -> None:
        """The files made from the whole recording, of all attempts."""
        extension, most = self._request.filing.extension, self._request.record_params.max_media_file_duration
        if self._request.is_single:
            await products.make_stream_products(self._shell, extension, max_minutes=most)
        else:
            await products.make_products(
                self._shell, self._names, extension, track_type=self._track_type, max_minutes=most
            )

    @property
    def _track_type(self) -> str:
        return ("audio_video", "audio", "video")[self._request.record_params.stream_type]

    def _figures(self) -> Figures:
        inputs = len(self._plan.audio) + len(self._plan.video)
        is_single = self._request.is_single  # nothing is mixed: there is no rate of its own
        has_video = self._request.record_params.stream_type != 1 and not is_single
        looked = self._gauge.look(figures.cpu_seconds(), inputs, {}, has_video=has_video)
        return msgspec.structs.replace(looked, bitrate=None) if is_single else looked

    def _now_ms(self) -> int:
        return self._shell.clock.now_ms()
