"""``rtcloud serve``: puts the parts together, in one process and one event loop, and takes them apart on SIGTERM.

Order of the start: what the operator may have to mend first (directory, lock, ports: one line and exit 2), then the
database, then the parts. The ready line is printed when requests are answered. Order of the end: no new work, jobs
close their files, clients are told to come back, what is pending stays in spool and outbox.
"""

import asyncio
import contextlib
import logging
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import uvloop

from rtcloud import http, logs
from rtcloud.accounts.store import Accounts
from rtcloud.admin.local import DATABASE, SERVE_LOCK
from rtcloud.aio import spawn
from rtcloud.callbacks.targets import TargetError
from rtcloud.clock import SystemClock
from rtcloud.config import Config
from rtcloud.errors import ConfigError
from rtcloud.foundation import Foundation, Hangup, Stop
from rtcloud.store.bus import LocalBus
from rtcloud.store.database import open_database
from rtcloud.store.locks import hold
from rtcloud.store.sealing import SealError, open_sealer
from rtcloud.store.space import Space
from rtcloud.tls import Certificate

_log = logging.getLogger(__name__)


def run(load: Callable[[], Config]) -> int:
    """``load`` is called again when the settings may have changed."""
    config = load()
    logs.configure(config.log_level)
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(config, Hangup(load)))


async def _serve(config: Config, hangup: Hangup) -> int:
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
        certificate = _certificate(config)
        listener = http.bind(host, port) if with_rooms else None
        foundation = await _lay_foundation(stack, config, stop, hangup)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, hangup.happen)
        if listener is not None:
            scheme = "https" if certificate else "http"
            endpoint = f"{scheme}://{_shown(host)}:{listener.getsockname()[1]}"
            from rtcloud.front import open_rooms

            await open_rooms(stack, foundation, listener, endpoint, certificate)
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


def _certificate(config: Config) -> Certificate | None:
    if not config.tls_cert:
        return None
    certificate = Certificate(Path(config.tls_cert), Path(config.tls_key))
    certificate.context()  # says now what cannot be used
    return certificate


def _shown(host: str) -> str:
    if host in ("0.0.0.0", "::", ""):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def _lay_foundation(stack: contextlib.AsyncExitStack, config: Config, stop: Stop, hangup: Hangup) -> Foundation:
    clock = SystemClock()
    database = await asyncio.to_thread(open_database, config.directory / DATABASE)
    stack.push_async_callback(database.close)
    sealer = open_sealer(config.directory)
    try:
        accounts = await Accounts.load(database, sealer, clock)
    except SealError as error:
        raise ConfigError(
            f"{config.directory}: {error}: it is not the one that this directory was made with"
        ) from error
    await accounts.ensure_first(clock.now_ms())
    for setting in config.callbacks:
        app = setting.sdk_app_id or accounts.applications()[0].sdk_app_id
        try:
            await accounts.set_callbacks(
                app, url=setting.url, key=setting.key, groups=setting.groups, events=setting.events or None
            )
        except (TargetError, ValueError) as error:
            raise ConfigError(f"callbacks: {error}") from error
    space = Space(config.directory, config.disk_reserve << 20)
    watching = spawn(space.watch(), name="disk")
    stack.callback(watching.cancel)
    return Foundation(config, clock, database, sealer, accounts, LocalBus(), stop, space, hangup)


async def _start_worker(stack: contextlib.AsyncExitStack, foundation: Foundation) -> None:
    from rtcloud.worker import running_worker

    foundation.stop.depend_on(await stack.enter_async_context(running_worker(foundation)))
