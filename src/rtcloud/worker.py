"""The worker role: tasks, their jobs and their files, beside the rooms or in a process of its own."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Mapping

from rtcloud import operations
from rtcloud.accounts.tokens import JoinGrant, make_join_token
from rtcloud.aio import spawn
from rtcloud.config import Config, thousandths
from rtcloud.egress.publishing.events import RelayKind
from rtcloud.egress.recording.events import RecordingKind
from rtcloud.egress.storage import Storages
from rtcloud.errors import internal
from rtcloud.foundation import Foundation
from rtcloud.ingest.handling import HOWS, KINDS, note_code
from rtcloud.ingest.pull.events import IngestKind
from rtcloud.ingest.push.events import PushKind
from rtcloud.outgoing.dialing import Dialer
from rtcloud.outgoing.tunnel import Tunnel
from rtcloud.rooms.participant import Role, TerminalType, UserType
from rtcloud.store import sealing
from rtcloud.store.database import DatabaseClosedError
from rtcloud.store.objects import FILES, LocalObjects
from rtcloud.tasks import records
from rtcloud.tasks.supervisor import POLL_ALONE_SECONDS, POLL_SECONDS, Supervisor
from rtcloud.tasks.task import Identity
from rtcloud.vod.entry import DIRECTORY

#: A robot's token; the worker sends a fresh one before it runs out, and the signalling refreshes it too.
TOKEN_LIFE_MS = 600_000
RELOAD_SECONDS = 5.0

_log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def running_worker(foundation: Foundation) -> AsyncIterator[asyncio.Task[None]]:
    """Gives the supervisor's task. At the end jobs close their files (≤ 10 s) and their tasks are handed back."""
    dialer = Dialer(allow_private=foundation.config.allow_private)
    async with Tunnel(dialer) as tunnel, _running(foundation, dialer, tunnel.url) as supervising:
        yield supervising


@contextlib.asynccontextmanager
async def _running(foundation: Foundation, dialer: Dialer, tunnel: str) -> AsyncIterator[asyncio.Task[None]]:
    directory = foundation.config.directory.resolve()
    stores = Storages(
        LocalObjects(directory / FILES),
        library=LocalObjects(directory / DIRECTORY, "media library"),
        settings=foundation.config.storage,
        dialer=dialer,
        tunnel=tunnel,
    )
    foundation.hangup.add(lambda config: _renew(foundation, stores, config))
    is_alone = foundation.config.roles == ("worker",)
    supervisor = Supervisor(
        directory=directory,
        database=foundation.database,
        sealer=foundation.sealer,
        bus=foundation.bus,
        clock=foundation.clock,
        kinds=[RecordingKind(), RelayKind(), PushKind(), IngestKind()],
        stores=stores,
        make_robot_token=lambda identity: _robot_token(foundation, identity),
        allow_private=foundation.config.allow_private,
        capacity=thousandths(foundation.config.mixing_cores),
        space=foundation.space,
        keeps_spare=foundation.config.spare_job,
        poll=POLL_ALONE_SECONDS if is_alone else POLL_SECONDS,
        environment={name: value for name, value in os.environ.items() if name != sealing.ENVIRONMENT},
    )
    supervising = spawn(supervisor.run(), name="supervisor")
    reloading = spawn(_reload(foundation), name="accounts reload") if is_alone else None
    try:
        with operations.exposed(lambda: _figures(supervisor)):
            yield supervising
    finally:
        if reloading is not None:
            reloading.cancel()
        await supervisor.drain()
        await asyncio.wait([supervising])


def _renew(foundation: Foundation, stores: Storages, config: Config) -> None:
    """Settings of stores as they are now, tried at once by whatever waits."""
    stores.set(config.storage)
    foundation.bus.publish(records.KEYS_TOPIC)
    _log.info("the settings of stores were read again", extra={"settings": len(config.storage)})


def _figures(supervisor: Supervisor) -> operations.Figures:
    jobs, uploads = supervisor.context.counters, supervisor.uploader.counters
    return {
        "jobs_running": ("Jobs running now", False, jobs.running),
        "jobs_started": ("Jobs started", True, jobs.jobs_started),
        "jobs_restarted": ("Jobs started again after an end that nobody asked for", True, jobs.jobs_restarted),
        "jobs_killed_silent": ("Jobs killed because their heartbeat stopped", True, jobs.jobs_killed_silent),
        "jobs_killed_broken": ("Jobs killed because they broke the protocol", True, jobs.jobs_killed_broken),
        **_handled(jobs.noted),
        "files_uploaded": ("Files moved to their place", True, uploads.uploaded),
        "files_uploaded_bytes": ("Bytes of those files", True, uploads.bytes),
        "files_refused": ("Refusals of the store", True, uploads.refused),
        "files_uploading": ("Tasks whose files are on their way now", False, supervisor.uploader.uploading),
    }


def _handled(noted: Mapping[str, int]) -> operations.Figures:
    """Of streams that come in, by what became of them."""
    return {
        f"ingest_{kind}_{how}": (f"Streams of {kind} that came in, {said}", True, noted.get(note_code(kind, how), 0))
        for kind in KINDS
        for how, said in HOWS.items()
    }


def _robot_token(foundation: Foundation, identity: Identity) -> str:
    application = foundation.accounts.application(identity.ref.sdk_app_id)
    if application is None:
        raise internal(f"application {identity.ref.sdk_app_id} is gone")
    now_ms = foundation.clock.now_ms()
    grant = JoinGrant(
        room=identity.ref,
        user_id=identity.user_id,
        expires_ms=now_ms + TOKEN_LIFE_MS,
        role=Role.ANCHOR,
        scene=application.settings.scenes[0],  # if it opens the room
        can_publish_data=True,
        robot=identity.robot,
        user_type=UserType.NATIVE_SDK,
        terminal_type=TerminalType.LINUX,
        attributes=dict(identity.attributes),
    )
    return make_join_token(grant, secret_key=application.secret_keys(now_ms)[0], now_ms=now_ms)


async def _reload(foundation: Foundation) -> None:
    """A worker of its own learns of new applications from the database."""
    while True:
        await asyncio.sleep(RELOAD_SECONDS)
        try:
            await foundation.accounts.reload()
        except DatabaseClosedError:
            return
        except Exception:
            _log.exception("reading the applications again failed")
