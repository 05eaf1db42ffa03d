"""Roles api, signal, media and sender: everything that has an address, in one process.

Started in the order in which one needs another; ended in the reverse order by the exit stack.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute

from rtcloud import http, media_metrics, operations
from rtcloud.accounts.sessions import Sessions
from rtcloud.accounts.store import write_credentials
from rtcloud.actions.context import Services
from rtcloud.admin import socket as admin_socket
from rtcloud.admin.command import Site
from rtcloud.aio import spawn
from rtcloud.apimodel.model import load_catalogue
from rtcloud.auto_recorder import AutoRecorder
from rtcloud.callbacks.sender import Sender
from rtcloud.config import (
    Config,
    local_addresses,
    media_places,
    parse_address,
    public_url,
    stun_servers,
    turn_secret,
)
from rtcloud.egress.filing import LIBRARY, Filing
from rtcloud.egress.publishing import request as publishing
from rtcloud.egress.recording import request as recording
from rtcloud.egress.storage import address_of
from rtcloud.errors import ConfigError
from rtcloud.foundation import Foundation, Stop
from rtcloud.gateway.server import Gateway, GatewaySettings
from rtcloud.gateway.server import routes as api_routes
from rtcloud.ice import IceServers, parsed
from rtcloud.images.fetching import Fetcher
from rtcloud.images.keeping import Images
from rtcloud.ingest.push.handing import Desk
from rtcloud.ingest.push.listening import PushServer
from rtcloud.media.node import MediaNode, NodeConfig
from rtcloud.media.stun import external_addresses
from rtcloud.outgoing.dialing import Dialer
from rtcloud.push_acceptor import PushAcceptor
from rtcloud.rooms.scenes import Limits
from rtcloud.rooms.service import RoomService
from rtcloud.signal.join import JoinService
from rtcloud.signal.server import SignalServer
from rtcloud.stats.observing import Observer
from rtcloud.stats.recorder import Recorder
from rtcloud.store import nodes
from rtcloud.store.objects import FILES
from rtcloud.store.space import Space
from rtcloud.tasks.store import TaskStore
from rtcloud.tls import Certificate
from rtcloud.vod.entry import ADDRESS, DIRECTORY
from rtcloud.vod.library import Library
from rtcloud.vod.serving import routes as library_routes
from rtcloud.watermarks.store import Watermarks
from rtcloud.whip.server import WhipServer


def new_id(prefix: str) -> str:
    """``PA_…``: 72 bits of chance, for people to tell apart and for nobody to guess."""
    return f"{prefix}_{secrets.token_hex(9)}"


async def open_rooms(
    stack: contextlib.AsyncExitStack,
    foundation: Foundation,
    listener: socket.socket,
    endpoint: str,
    certificate: Certificate | None,
) -> None:
    """Serves until the stack is closed. ``listener`` is bound; ``endpoint`` is its address as callers see it."""
    config, accounts, clock, stop = foundation.config, foundation.accounts, foundation.clock, foundation.stop
    node = await stack.enter_async_context(_media_node(config, listener))
    limits = Limits(
        call_users=config.call_users,
        call_speakers=config.call_speakers,
        live_audience=config.live_audience,
        live_anchors=config.live_anchors,
        screens=config.room_screens,
    )
    recorder = Recorder(foundation.database, clock, keep_days=config.keep_days)
    observer = Observer(recorder)
    _keep(stack, stop, recorder.run(), "recorder")  # until the rooms have ended
    rooms = RoomService(foundation.database, node, foundation.bus, clock, new_id, limits=limits, observer=observer)
    ice_servers = IceServers(
        tuple(map(parsed, config.ice_servers)), config.turn_urls, turn_secret(config), config.turn_ttl
    )
    signals = SignalServer(rooms, accounts.application, clock, new_id, ice_servers=ice_servers)
    credentials = accounts.credentials(endpoint)
    write_credentials(config.directory / "credentials.json", credentials)

    joins = JoinService(accounts.application, clock, rooms.refusal, observer.refused)
    routes: list[BaseRoute] = [*signals.routes(), *joins.routes()]
    whip = WhipServer(
        rooms,
        joins.grant,
        accounts.application,
        clock,
        new_id,
        observer.refused,
        lambda: stop.is_asked,
        ice_servers=ice_servers,
    )
    routes += whip.routes()
    stack.enter_context(operations.exposed(whip.figures))
    routes += operations.routes(
        lambda: {
            "rooms": rooms.healthy,
            "running": not stop.is_asked,
            "disk": not foundation.space.is_full,
            "media": not node.overload(""),
        }
    )
    images = await stack.enter_async_context(_images(foundation))
    library_url = public_url(config, endpoint) + ADDRESS
    services = _services(foundation, rooms, images, library_url)
    routes += library_routes(await stack.enter_async_context(_library(foundation)))
    routes += api_routes(Gateway(services, settings=_gateway_settings(config)))
    if config.demo:
        from rtcloud.gateway.demo import demo_routes

        routes += demo_routes(lambda: accounts.credentials(endpoint), config.directory / FILES, clock)

    acceptor = PushAcceptor(services, joins, Desk(config.directory.resolve()), observer.refused)
    pushes = PushServer(acceptor.admit, acceptor.desk)
    stack.enter_context(operations.exposed(pushes.figures))
    sender = await stack.enter_async_context(
        Sender(foundation.database, foundation.sealer, foundation.bus, clock, allow_private=config.allow_private)
    )
    stack.enter_context(operations.exposed(lambda: _figures(node, rooms, sender, recorder, foundation.space)))

    measured = rooms.measurements
    stack.enter_context(
        operations.exposed(
            lambda: media_metrics.figures(measured),
            lambda: media_metrics.spreads(measured),
            lambda: media_metrics.threads(rooms),
        )
    )

    stop.depend_on(await rooms.start())
    auto_recorder = AutoRecorder(services, rooms, foundation.database, foundation.bus, clock)
    stack.enter_context(operations.exposed(auto_recorder.figures))
    _keep(stack, stop, auto_recorder.run(), "automatic recording")
    _keep(stack, stop, sender.run(), "callback sender")
    signal_url = await _serve_http(stack, foundation, Starlette(routes=routes), listener, endpoint, certificate)
    _serve_pushes(stack, foundation, pushes, acceptor.desk, certificate)
    stack.push_async_callback(rooms.close)
    sessions = Sessions(foundation.sealer, accounts)
    directory, sealer = config.directory.resolve(), foundation.sealer
    data, bus = foundation.database, foundation.bus
    site = Site(accounts, data, bus, clock, sessions, rooms, directory, sealer, library_url, whip.publishers)
    admin = http.make_server(admin_socket.application(site), graceful_seconds=1)
    stop.depend_on(await stack.enter_async_context(_running(admin, admin_socket.listen(config.directory))))
    stack.callback((config.directory / admin_socket.NAME).unlink, missing_ok=True)
    now_ms = clock.now_ms()
    await foundation.database.write(lambda c: nodes.register(c, new_id("ND"), signal_url, now_ms))
    stack.push_async_callback(foundation.database.write, nodes.unregister)


def _serve_pushes(
    stack: contextlib.AsyncExitStack,
    foundation: Foundation,
    pushes: PushServer,
    desk: Desk,
    certificate: Certificate | None,
) -> None:
    """RTMP, and RTMPS with the certificate of HTTPS."""
    config, stop = foundation.config, foundation.stop
    if not (config.rtmp_listen or config.rtmps_listen):
        return
    plain, encrypted = (
        http.bind(*parse_address(address), key) if address else None
        for key, address in (("rtmp_listen", config.rtmp_listen), ("rtmps_listen", config.rtmps_listen))
    )
    _keep(stack, stop, desk.serve(desk.listen()), "rtmp hand-over")
    if plain is not None:
        _keep(stack, stop, pushes.listen(plain), "rtmp")
    if encrypted is not None and certificate is not None:
        context = certificate.context(protocols=())
        foundation.hangup.add(lambda _: certificate.reload(context))
        _keep(stack, stop, pushes.listen(encrypted, context), "rtmps")


async def _serve_http(
    stack: contextlib.AsyncExitStack,
    foundation: Foundation,
    app: Starlette,
    listener: socket.socket,
    endpoint: str,
    certificate: Certificate | None,
) -> str:
    """Where this machine's own robots join. With HTTPS they come over the loopback, where no name has to match."""
    stop = foundation.stop
    if certificate is None:
        stop.depend_on(await stack.enter_async_context(_running(http.make_server(app), listener)))
        return endpoint
    context = certificate.context()
    inner = http.bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{inner.getsockname()[1]}"
    stop.depend_on(await stack.enter_async_context(_running(http.make_server(app, tls=context), listener)))
    stop.depend_on(await stack.enter_async_context(_running(http.make_server(app), inner)))
    foundation.hangup.add(lambda _: certificate.reload(context))
    return url


def _services(foundation: Foundation, rooms: RoomService, images: Images, library_url: str) -> Services:
    stores = foundation.config.storage

    def reread(config: Config) -> None:
        nonlocal stores
        stores = config.storage

    def files_at(filing: Filing) -> str:
        return library_url if filing.bucket == LIBRARY else address_of(stores, filing.bucket)

    foundation.hangup.add(reread)
    database, sealer, accounts, clock = foundation.database, foundation.sealer, foundation.accounts, foundation.clock
    return Services(
        rooms=rooms,
        tasks=TaskStore(database, sealer, foundation.bus, clock),
        clock=clock,
        accounts=accounts,
        sessions=Sessions(sealer, accounts),
        watermarks=Watermarks(database),
        images=images,
        is_stopping=lambda: foundation.stop.is_asked,
        is_full=lambda: foundation.space.is_full,
        allow_private=foundation.config.allow_private,
        files_at=files_at,
    )


@contextlib.asynccontextmanager
async def _library(foundation: Foundation) -> AsyncIterator[Library]:
    """The media library, and the removal of what has expired in it."""
    library = Library(foundation.database, foundation.config.directory.resolve() / DIRECTORY, foundation.clock)
    sweeping = spawn(library.run(), name="media library")
    foundation.stop.depend_on(sweeping)
    try:
        with operations.exposed(lambda: _library_figures(library)):
            yield library
    finally:
        await _cancelled(sweeping)


def _library_figures(library: Library) -> operations.Figures:
    counters = library.counters
    return {
        "library_reads": ("Files of the media library given out, each request of a player", True, counters.served),
        "library_refusals": ("Requests for files that are not in the media library", True, counters.refused),
        "library_expired": ("Files of the media library that expired", True, counters.expired),
    }


@contextlib.asynccontextmanager
async def _images(foundation: Foundation) -> AsyncIterator[Images]:
    """Pictures that requests name, and the sweeping of those that no open task names any more."""
    config, database = foundation.config, foundation.database
    tasks = TaskStore(database, foundation.sealer, foundation.bus, foundation.clock)

    async def named() -> set[str]:
        images = [publishing.decode(params).images for params in await tasks.open_params(publishing.KIND)]
        images += [recording.decode(params).images for params in await tasks.open_params(recording.KIND)]
        return {name for each in images for name in each.values()}

    fetcher = Fetcher(Dialer(allow_private=config.allow_private))
    images = Images(config.directory / "images", fetcher, Watermarks(database), foundation.clock, named=named)
    sweeping = spawn(images.run(), name="images")
    foundation.stop.depend_on(sweeping)
    try:
        yield images
    finally:
        await _cancelled(sweeping)
        await images.close()


def _gateway_settings(config: Config) -> GatewaySettings:
    known = {name for model in load_catalogue().models for name in model.actions}
    if unknown := config.limits.keys() - known - {"*"}:
        raise ConfigError(f"limits: there is no action {', '.join(sorted(unknown))}")
    return GatewaySettings(
        strict_regions=config.strict_regions,
        per_second=config.limits,
        account_per_second=config.account_limit,
        account_region_per_second=config.account_region_limit,
    )


@contextlib.asynccontextmanager
async def _media_node(config: Config, listener: socket.socket) -> AsyncIterator[MediaNode]:
    from rtcloud.media.native import NativeNode

    host = str(listener.getsockname()[0])  # a name stands for the address that it was bound to
    places = media_places(config, host)
    hosts = [host for host, _ in places]
    settings = NodeConfig(
        listen=",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in places),
        advertise=list(config.media_addresses) or await _addresses(config, hosts),
        shards=config.media_shards,
        tcp=config.media_tcp,
        cpu_limit=config.media_cpu_limit,
        bitrate_limit=config.media_bandwidth_limit * 1_000_000,
        egress_gso=config.egress_gso,
        egress_padding=config.egress_padding,
        egress_hold_ms=config.egress_hold_ms,
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


async def _addresses(config: Config, hosts: Sequence[str]) -> list[str]:
    """Where clients reach this machine: as others see it, and as it sees itself."""
    local = list(dict.fromkeys(address for host in hosts for address in local_addresses(host)))
    servers = stun_servers(config)
    if not servers:
        return local
    families = [socket.AF_INET] if any("." in address for address in local) else []
    families += [socket.AF_INET6] if any(":" in address for address in local) else []
    return list(dict.fromkeys([*await external_addresses(servers, families), *local]))


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


def _keep(stack: contextlib.AsyncExitStack, stop: Stop, part: Coroutine[Any, Any, None], name: str) -> None:
    """Runs a part of the server until the stack is closed; without it the server stops."""
    task = spawn(part, name=name)
    stop.depend_on(task)
    stack.push_async_callback(_cancelled, task)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _figures(
    node: MediaNode, rooms: RoomService, sender: Sender, recorder: Recorder, space: Space
) -> operations.Figures:
    open_rooms, participants = rooms.counts
    remembered = recorder.counters
    media = node.status()
    refused: dict[str, tuple[str, bool, float]] = {
        f"media_refused_{name}": (f"Dropped by the media engine: {name.replace('_', ' ')}", True, count)
        for name, count in media.refused.items()
    }
    return refused | {
        "rooms": ("Rooms open now", False, open_rooms),
        "participants": ("Participants connected now", False, participants),
        "media_packets_received": ("Datagrams received", True, media.packets_received),
        "media_packets_sent": ("Datagrams sent", True, media.packets_sent),
        "media_bytes_received": ("Bytes received", True, media.bytes_received),
        "media_bytes_sent": ("Bytes sent", True, media.bytes_sent),
        "media_connections": ("Connections of clients that UDP does not reach", False, media.connections),
        "media_sent_bitrate": ("Bits sent a second, over 5 s", False, media.bitrate_sent),
        "media_busiest_shard": (
            "Share of a core that the busiest thread of media takes",
            False,
            max((shard.cpu for shard in media.shards), default=0.0),
        ),
        "media_shards_over": (
            "Threads of media above the limit of CPU, which take nobody else",
            False,
            sum(shard.over for shard in media.shards),
        ),
        "media_bitrate_over": ("1 while so much is sent that nobody else is taken", False, media.bitrate_over),
        "media_packets_dropped": ("Datagrams dropped, for whatever reason", True, media.packets_dropped),
        "media_commands_refused": ("Commands refused because a queue was full", True, media.commands_refused),
        "media_rooms_failed": ("Rooms ended by a caught fault", True, media.rooms_failed),
        "media_cpu_ms": ("CPU time of the media threads", True, media.threads_cpu_ms),
        "memory_events_written": ("Events of users written", True, remembered.events),
        "memory_events_left_out": ("Events that were too many to keep", True, remembered.events_left_out),
        "memory_samples": ("Quality samples taken", True, remembered.samples),
        "memory_samples_dropped": ("Quality samples that were too many to keep", True, remembered.samples_dropped),
        "memory_events_waiting": ("Events of users not yet written", False, recorder.waiting[0]),
        "memory_minutes_held": ("Minutes of quality samples of one stream held in memory", False, recorder.waiting[1]),
        "callbacks_delivered": ("Callbacks delivered", True, sender.counters.delivered),
        "callbacks_failed_attempts": ("Attempts that failed", True, sender.counters.failed_attempts),
        "callbacks_parked": ("Callbacks parked after their minute", True, sender.counters.parked),
        "callbacks_pending": ("Callbacks not delivered yet", False, sender.backlog.pending),
        "callbacks_parked_now": ("Parked callbacks that nobody replayed yet", False, sender.backlog.parked),
        "callbacks_oldest_pending_seconds": ("How long the oldest of them waits", False, sender.oldest_pending_s),
        "disk_free_bytes": ("Free on the data directory's disk", False, space.free),
        "disk_full": ("1 while recordings wait for room on that disk", False, space.is_full),
        "callbacks_open_breakers": ("Receivers that do not answer", False, sender.open_breakers),
    }
