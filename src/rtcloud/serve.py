"""``rtcloud serve``: puts the parts together, in one process and one event loop, and takes them apart on SIGTERM.

Order of the start: what the operator may have to mend first (directory, lock, ports: one line and exit 2), then the
database, then the parts. The ready line is printed when requests are answered. Order of the end: no new work, jobs
close their files, clients are told to come back, what is pending stays in spool and outbox.
"""

import asyncio
import contextlib
import logging
import os
import resource
import secrets
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import uvloop
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from rtcloud import http, logs, operations
from rtcloud.accounts.store import Accounts, write_credentials
from rtcloud.admin import socket as admin_socket
from rtcloud.admin.commands import Site
from rtcloud.admin.local import DATABASE, SERVE_LOCK
from rtcloud.aio import spawn
from rtcloud.callbacks.sender import Sender
from rtcloud.callbacks.targets import TargetError
from rtcloud.clock import Clock, SystemClock
from rtcloud.config import Config, local_addresses
from rtcloud.errors import ConfigError
from rtcloud.media.node import MediaNode, NodeConfig
from rtcloud.rooms.service import RoomService
from rtcloud.signal.join import JoinService
from rtcloud.signal.server import SignalServer
from rtcloud.store import nodes
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import Database, open_database
from rtcloud.store.locks import hold
from rtcloud.store.sealing import Sealer, SealError, open_sealer

_log = logging.getLogger(__name__)


def run(config: Config) -> int:
    logs.configure(config.log_level)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config))


def new_id(prefix: str) -> str:
    """``PA_…``: 72 bits of chance, for people to tell apart and for nobody to guess."""
    return f"{prefix}_{secrets.token_hex(9)}"


class Stop:
    """Asked for by a signal, or caused by the end of a part without which the rest is only a shell."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._parts: list[asyncio.Task[None]] = []
        self.failed = False

    @property
    def is_asked(self) -> bool:
        return self._asked.is_set()

    def ask(self) -> None:
        """Asked again, the process ends at once: jobs see the end of their stdin, and close their files."""
        if self._asked.is_set():
            os._exit(1)
        self._asked.set()

    def depend_on(self, part: asyncio.Task[None]) -> None:
        self._parts.append(part)

    def _ended(self, part: asyncio.Task[None]) -> None:
        if not self._asked.is_set():
            _log.critical("a part of the server ended, stopping", extra={"part": part.get_name()})
            self.failed = True
            self._asked.set()

    async def wait(self) -> None:
        for part in self._parts:
            part.add_done_callback(self._ended)
        await self._asked.wait()


@dataclass(frozen=True, slots=True)
class Foundation:
    """What every role stands on."""

    config: Config
    clock: Clock
    database: Database
    sealer: Sealer
    accounts: Accounts
    bus: LocalBus
    stop: Stop


async def _serve(config: Config) -> int:
    """The exit status."""
    stop = Stop()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.ask)
    async with contextlib.AsyncExitStack() as stack:
        _prepare(config.directory)
        with_rooms = "signal" in config.roles
        if with_rooms:
            stack.enter_context(hold(config.directory / SERVE_LOCK))
        host, port = config.listen_address
        listener = http.bind(host, port) if with_rooms else None
        foundation = await _lay_foundation(stack, config, stop)
        if listener is not None:
            endpoint = f"http://{_shown(host)}:{listener.getsockname()[1]}"
            await _open_rooms(stack, foundation, listener, endpoint)
            if "worker" in config.roles:
                await _start_worker(stack, foundation)
            print(f"rtcloud ready {endpoint}", flush=True)
        else:
            await _start_worker(stack, foundation)
            print("rtcloud ready worker", flush=True)
        await stop.wait()
    return 1 if stop.failed else 0


def _prepare(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        probe = directory / ".writable"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise ConfigError(f"data: {directory}: {error.strerror or error}") from error


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def _lay_foundation(stack: contextlib.AsyncExitStack, config: Config, stop: Stop) -> Foundation:
    clock = SystemClock()
    database = await asyncio.to_thread(open_database, config.directory / DATABASE)
    stack.push_async_callback(database.close)
    sealer = open_sealer(config.directory)
    try:
        accounts = await Accounts.load(database, sealer)
    except SealError as error:
        raise ConfigError(
            f"{config.directory}: {error}: it is not the one that this directory was made with"
        ) from error
    await accounts.ensure_first(clock.now_ms())
    for setting in config.callbacks:
        app = setting.sdk_app_id or accounts.applications()[0].sdk_app_id
        try:
            await accounts.set_callbacks(app, url=setting.url, key=setting.key, groups=setting.groups)
        except (TargetError, ValueError) as error:
            raise ConfigError(f"callbacks: {error}") from error
    return Foundation(config, clock, database, sealer, accounts, LocalBus(), stop)


async def _open_rooms(
    stack: contextlib.AsyncExitStack, foundation: Foundation, listener: socket.socket, endpoint: str
) -> None:
    """Roles api, signal, media and sender."""
    config, accounts, clock, stop = foundation.config, foundation.accounts, foundation.clock, foundation.stop
    node = await stack.enter_async_context(_media_node(config, listener))
    rooms = RoomService(foundation.database, node, foundation.bus, clock, new_id)
    signals = SignalServer(rooms, accounts.sdk_secret_key, clock, new_id)
    credentials = accounts.credentials(endpoint)
    write_credentials(config.directory / "credentials.json", credentials)

    routes: list[BaseRoute] = [*signals.routes(), *JoinService(accounts.sdk_secret_key, clock).routes()]
    routes += operations.routes(lambda: {"rooms": rooms.healthy, "running": not stop.is_asked})
    routes += _api_routes(foundation, rooms)
    if config.demo:
        from rtcloud.gateway.demo import demo_routes

        routes += demo_routes(credentials, config.directory / "files", clock)

    sender = await stack.enter_async_context(Sender(foundation.database, foundation.sealer, foundation.bus, clock))
    stack.enter_context(operations.exposed(lambda: _figures(node, rooms, sender)))

    stop.depend_on(await rooms.start())
    delivering = spawn(sender.run(), name="callback sender")
    stop.depend_on(delivering)
    stack.push_async_callback(_cancelled, delivering)
    stop.depend_on(await stack.enter_async_context(_running(http.make_server(Starlette(routes=routes)), listener)))
    stack.push_async_callback(rooms.close)
    site = Site(accounts, foundation.database, foundation.bus, clock, rooms.describe)
    admin = http.make_server(admin_socket.application(site), graceful_seconds=1)
    stop.depend_on(await stack.enter_async_context(_running(admin, admin_socket.listen(config.directory))))
    stack.callback((config.directory / admin_socket.NAME).unlink, missing_ok=True)
    now_ms = clock.now_ms()
    await foundation.database.write(lambda c: nodes.register(c, new_id("ND"), endpoint, now_ms))
    stack.push_async_callback(foundation.database.write, nodes.unregister)


def _api_routes(foundation: Foundation, rooms: RoomService) -> list[BaseRoute]:
    from rtcloud.actions.context import Services
    from rtcloud.gateway.server import Gateway, GatewaySettings, routes
    from rtcloud.tasks.store import TaskStore

    tasks = TaskStore(foundation.database, foundation.sealer, foundation.bus, foundation.clock)
    services = Services(rooms=rooms, tasks=tasks, clock=foundation.clock, is_stopping=lambda: foundation.stop.is_asked)
    settings = GatewaySettings(strict_regions=foundation.config.strict_regions)
    return list(routes(Gateway(foundation.accounts, services, settings=settings)))


async def _start_worker(stack: contextlib.AsyncExitStack, foundation: Foundation) -> None:
    from rtcloud.worker import running_worker

    foundation.stop.depend_on(await stack.enter_async_context(running_worker(foundation)))


@contextlib.asynccontextmanager
async def _media_node(config: Config, listener: socket.socket) -> AsyncIterator[MediaNode]:
    from rtcloud.media.native import NativeNode

    host = str(listener.getsockname()[0])  # a name stands for the address that it was bound to
    shown = f"[{host}]" if ":" in host else host
    settings = NodeConfig(
        listen=f"{shown}:{config.media_port}",
        advertise=list(config.media_addresses) or local_addresses(host),
        shards=config.media_shards,
    )
    try:
        node = NativeNode(settings)
    except OSError as error:
        raise ConfigError(f"media_port: {settings.listen}: {error.strerror or error}") from error
    except ValueError as error:
        raise ConfigError(f"media: {error}") from error
    try:
        yield node
    finally:
        await node.close()


@contextlib.asynccontextmanager
async def _running(server: http.HttpServer, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
    serving = spawn(server.serve(sockets=[listener]), name="http")
    while not server.started:
        if serving.done():
            serving.result()
        await asyncio.sleep(0.005)
    try:
        yield serving
    finally:
        server.should_exit = True
        await serving


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _figures(node: MediaNode, rooms: RoomService, sender: Sender) -> operations.Figures:
    open_rooms, participants = rooms.counts
    media = node.status()
    return {
        "rooms": ("Rooms open now", False, open_rooms),
        "participants": ("Participants connected now", False, participants),
        "media_packets_received": ("Datagrams received", True, media.packets_received),
        "media_packets_sent": ("Datagrams sent", True, media.packets_sent),
        "media_bytes_received": ("Bytes received", True, media.bytes_received),
        "media_bytes_sent": ("Bytes sent", True, media.bytes_sent),
        "media_packets_dropped": ("Datagrams dropped: malformed, unknown, queue full", True, media.packets_dropped),
        "media_commands_refused": ("Commands refused because a queue was full", True, media.commands_refused),
        "media_rooms_failed": ("Rooms ended by a caught fault", True, media.rooms_failed),
        "media_cpu_ms": ("CPU time of the media threads", True, media.threads_cpu_ms),
        "callbacks_delivered": ("Callbacks delivered", True, sender.counters.delivered),
        "callbacks_failed_attempts": ("Attempts that failed", True, sender.counters.failed_attempts),
        "callbacks_parked": ("Callbacks parked after their minute", True, sender.counters.parked),
    }
