"""A room as a Python program has it: the shell around the session, with the socket and the peer connection.

Everything happens on one event loop; orders of the session are carried out in order and never wait. Frames stay in
the peer's bounded queue until they are asked for. Events wait in a bounded list: what can be told anew (who speaks)
replaces the older, and when data messages pile up the oldest are dropped.
"""

import asyncio
import contextlib
import logging
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from livekit.protocol import models
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus, WebSocketException

from rtcloud.aio import spawn
from rtcloud.client import orders
from rtcloud.client.joining import ConnectError, socket_url
from rtcloud.client.orders import Finish, Order, PublicationState, Tell
from rtcloud.client.peer import Peer, PeerStats, StateChanged
from rtcloud.client.session import Session
from rtcloud.client.types import (
    Codec,
    DataReceived,
    EncodedFrame,
    Kind,
    Participant,
    RoomEvent,
    Source,
    SpeakersChanged,
)
from rtcloud.clock import Clock

MAX_EVENTS = 16384
#: Requests that wait for the socket; more means that it is stuck.
MAX_OUTGOING = 512
#: Of one message of the server.
MAX_MESSAGE = 4 << 20
PUBLISH_S = 10.0
SAY_GOODBYE_S = 1.0
MAX_DATA = 60_000
#: Topics of custom commands, and what one may hold.
COMMAND = "trtc.cmd."
COMMANDS = frozenset(f"{COMMAND}{number}" for number in range(1, 11))
MAX_COMMAND = 1000

_log = logging.getLogger(__name__)


class PublishError(Exception):
    """The server did not accept a publication."""


class LocalPublication:
    def __init__(self, room: "Room", state: PublicationState) -> None:
        self._room = room
        self._state = state

    @property
    def track_id(self) -> str:
        return self._state.track_id

    @property
    def cid(self) -> str:
        return self._state.cid

    def write(self, data: bytes, capture_us: int) -> bool:
        return not self._state.muted and self._room.write(self._state.cid, data, capture_us)

    async def mute(self, muted: bool) -> None:
        self._room.apply(self._room.session.mute(self._state.cid, muted))

    async def unpublish(self) -> None:
        self._room.apply(self._room.session.unpublish(self._state.cid))


class Room:
    """Made by ``rtcloud.client.connect``."""

    def __init__(self, url: str, session: Session, make_peer: Callable[[], Peer], clock: Clock) -> None:
        self.session = session
        self._url = url
        self._make_peer = make_peer
        self._clock = clock
        self._peer: Peer | None = None
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._accepted: dict[str, asyncio.Future[None]] = {}
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue(MAX_OUTGOING)
        self._connection: asyncio.Task[None] | None = None
        self._socket = 0
        self._timer: asyncio.TimerHandle | None = None
        self._events: deque[RoomEvent] = deque()
        self._data_events = 0
        self._has_events = asyncio.Event()
        self._has_frames = asyncio.Event()
        self._over = asyncio.Event()

    async def open(self) -> None:
        """Join. Raises ConnectError."""
        self.apply(self.session.start(self._clock.monotonic()))
        try:
            await self._ready
        except BaseException:
            await self.leave()
            raise

    # what the program sees ------------------------------------------------------------------------------------------

    @property
    def user_id(self) -> str:
        return self.session.user_id

    @property
    def room_name(self) -> str:
        return self.session.room_name

    @property
    def participants(self) -> dict[str, Participant]:
        return dict(self.session.roster.participants)

    async def events(self) -> Sequence[RoomEvent]:
        while not self._events and not self._over.is_set():
            self._has_events.clear()
            await self._has_events.wait()
        batch = list(self._events)
        self._events.clear()
        self._data_events = 0
        return batch

    async def frames(self) -> Sequence[EncodedFrame]:
        while True:
            self._has_frames.clear()
            if self._peer is not None and (frames := self._peer.frames()):
                return frames
            if self._over.is_set():
                return []
            await self._has_frames.wait()

    def stats(self) -> PeerStats:
        """Counters of the connection as it is now."""
        return self._peer.stats() if self._peer is not None else PeerStats()

    # what the program wants -----------------------------------------------------------------------------------------

    async def publish_audio(self, *, name: str = "", source: Source = "microphone") -> LocalPublication:
        return await self._publish("audio", source, "opus", name, 0, 0)

    async def publish_video(
        self, *, width: int, height: int, codec: Codec = "h264", name: str = "", source: Source = "camera"
    ) -> LocalPublication:
        if codec not in ("h264", "vp8"):
            raise ValueError(f"not a video codec: {codec}")
        return await self._publish("video", source, codec, name, width, height)

    async def _publish(
        self, kind: Kind, source: Source, codec: Codec, name: str, width: int, height: int
    ) -> LocalPublication:
        self._check()
        cid = secrets.token_hex(12)
        state = PublicationState(cid, kind, source, codec, name, width, height)
        accepted = self._accepted[cid] = asyncio.get_running_loop().create_future()
        self.apply(self.session.publish(state))
        try:
            async with asyncio.timeout(PUBLISH_S):
                await accepted
        except BaseException as error:
            self.apply(self.session.unpublish(cid))
            if isinstance(error, TimeoutError):
                raise PublishError("the server did not answer") from error
            raise
        finally:
            self._accepted.pop(cid, None)
        return LocalPublication(self, state)

    async def subscribe(self, track_id: str, subscribed: bool = True) -> None:
        self.apply(self.session.subscribe(track_id, subscribed))

    async def set_subscription(self, track_id: str, *, enabled: bool = True, width: int = 0, height: int = 0) -> None:
        self.apply(self.session.size(track_id, enabled, width, height))

    def request_keyframe(self, track_id: str) -> None:
        if self._peer is not None:
            self._peer.request_keyframe(track_id)

    async def send_data(self, data: bytes, *, topic: str = "", reliable: bool = True, to: Sequence[str] = ()) -> None:
        self._check()
        if len(data) > MAX_DATA:
            raise ValueError(f"a data message has at most {MAX_DATA} bytes")
        if topic.startswith(COMMAND):
            if topic not in COMMANDS:
                raise ValueError(f"not a custom command: {topic!r}; they are {COMMAND}1 to {COMMAND}10")
            if len(data) > MAX_COMMAND:
                raise ValueError(f"a custom command has at most {MAX_COMMAND} bytes")
        user = models.UserPacket(payload=data, topic=topic, destination_identities=to)
        kind = models.DataPacket.Kind.RELIABLE if reliable else models.DataPacket.Kind.LOSSY
        packet = models.DataPacket(kind=kind, user=user, destination_identities=to).SerializeToString()
        if (self._peer is None or not self._peer.send_data(packet, reliable)) and reliable:
            raise ConnectionError("the data channel is not open, or its buffer is full")

    def write(self, cid: str, data: bytes, capture_us: int) -> bool:
        return self._peer is not None and self._peer.write_frame(cid, data, capture_us)

    async def leave(self) -> None:
        self.apply(self.session.leave())
        connection = self._connection
        if connection is not None:
            # The goodbye goes out with what still waits; a server that does not take it is left alone.
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(SAY_GOODBYE_S):
                    await connection

    def _check(self) -> None:
        if self._over.is_set():
            raise ConnectionError("the room was left")

    # carrying out what the session orders -----------------------------------------------------------------------------

    def apply(self, wanted: Iterable[Order]) -> None:
        for order in wanted:
            self._carry_out(order)
        self._set_timer()

    def _carry_out(self, order: Order) -> None:
        match order:
            case Tell(event):
                self._tell(event)
            case orders.Send(request):
                self._send(request.SerializeToString())
            case orders.Open():
                self._hang()
                self._socket = order.number
                self._outgoing = asyncio.Queue(MAX_OUTGOING)
                self._connection = spawn(self._talk(order, self._outgoing), name=f"client socket {order.number}")
            case orders.Hang():
                self._hang()
            case orders.MakePeer():
                self._replace_peer(self._make_peer())
            case orders.Ready():
                if not self._ready.done():
                    self._ready.set_result(None)
            case orders.Accepted(cid):
                if (future := self._accepted.get(cid)) is not None and not future.done():
                    future.set_result(None)
            case orders.Refused(cid, reason):
                if (future := self._accepted.get(cid)) is not None and not future.done():
                    future.set_exception(PublishError(reason))
            case Finish():
                self._finish(order)
            case _ if self._peer is not None:
                self._tell_peer(self._peer, order)

    def _tell_peer(self, peer: Peer, order: Order) -> None:
        match order:
            case orders.AddTrack(publication):
                peer.add_track(publication.cid, publication.source, publication.kind, publication.codec)
            case orders.RemoveTrack(cid):
                peer.remove_track(cid)
            case orders.RequireSections(audio, video):
                peer.require_sections(audio, video)
            case orders.CreateOffer(restart_ice):
                peer.create_offer(restart_ice)
            case orders.AcceptAnswer(request, sdp, mid_to_track):
                peer.accept_answer(request, sdp, mid_to_track)

    def _replace_peer(self, peer: Peer | None) -> None:
        if self._peer is not None:
            self._peer.close()
        self._peer = peer
        if peer is not None:
            peer.start(self._peer_ready)

    def _peer_ready(self) -> None:
        peer = self._peer
        if peer is None:
            return
        for event in peer.events():
            if isinstance(event, StateChanged) and event.state == "failed":
                _log.warning("the media connection failed", extra={"why": event.reason})
            if self._peer is peer:  # an event may end this peer
                self.apply(self.session.peer_event(event, self._clock.monotonic()))
        self._has_frames.set()

    def _tell(self, event: RoomEvent) -> None:
        if isinstance(event, SpeakersChanged):
            self._events = deque(one for one in self._events if not isinstance(one, SpeakersChanged))
        elif isinstance(event, DataReceived):
            self._data_events += 1
        self._events.append(event)
        if len(self._events) > MAX_EVENTS:
            index = next((i for i, one in enumerate(self._events) if isinstance(one, DataReceived)), 0)
            del self._events[index]
            _log.warning("events of a room are not read; the oldest is dropped")
        self._has_events.set()

    def _send(self, request: bytes) -> None:
        try:
            self._outgoing.put_nowait(request)
        except asyncio.QueueFull:
            _log.warning("the signalling socket is stuck")
            self._hang()
            asyncio.get_running_loop().call_soon(self._lost, self._socket)

    def _hang(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection is not asyncio.current_task():
            connection.cancel()

    def _lost(self, number: int) -> None:
        self.apply(self.session.socket_lost(number, self._clock.monotonic()))

    def _finish(self, finish: Finish) -> None:
        self._over.set()
        error = ConnectError(finish.reason, finish.message, status=finish.status)
        if not self._ready.done():
            self._ready.set_exception(error)
            self._ready.exception()  # whoever opens the room awaits it; one who gave up need not
        for future in self._accepted.values():
            if not future.done():
                future.set_exception(PublishError(f"the room was left: {finish.reason}"))
        self._replace_peer(None)
        self._has_events.set()
        self._has_frames.set()
        self._outgoing_end()

    def _outgoing_end(self) -> None:
        with contextlib.suppress(asyncio.QueueFull):
            self._outgoing.put_nowait(b"")

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if (at := self.session.next_at()) is not None:
            delay = max(0.0, at - self._clock.monotonic())
            self._timer = asyncio.get_running_loop().call_later(delay, self._time_passed)

    def _time_passed(self) -> None:
        self._timer = None
        self.apply(self.session.time_passed(self._clock.monotonic()))

    # the socket -------------------------------------------------------------------------------------------------------

    async def _talk(self, order: orders.Open, outgoing: asyncio.Queue[bytes]) -> None:
        """One socket from its opening to its end, which the session is told unless it asked for it."""
        await asyncio.sleep(order.delay_s)
        try:
            url = socket_url(self._url, order.token, order.join_request)
            async with connect(
                url, max_size=MAX_MESSAGE, compression=None, ping_interval=None, close_timeout=1, proxy=None
            ) as socket:
                writer = spawn(_write(socket, outgoing), name=f"client writer {order.number}")
                try:
                    async for message in socket:
                        if isinstance(message, bytes):
                            self.apply(self.session.receive(order.number, message, self._clock.monotonic()))
                finally:
                    writer.cancel()
                    await asyncio.gather(writer, return_exceptions=True)
        except InvalidStatus as error:
            body = (error.response.body or b"").decode(errors="replace")[:500]
            self._refused(order.number, error.response.status_code, body)
            return
        except (OSError, InvalidHandshake, ValueError) as error:
            self._refused(order.number, 0, str(error))
            return
        except WebSocketException as error:
            _log.info("the signalling socket broke", extra={"error": str(error)})
        self._lost(order.number)

    def _refused(self, number: int, status: int, message: str) -> None:
        self.apply(self.session.socket_refused(number, status, message, self._clock.monotonic()))


async def _write(socket: ClientConnection, outgoing: asyncio.Queue[bytes]) -> None:
    """Until an empty message, which closes the socket. When the socket breaks the reader tells."""
    with contextlib.suppress(WebSocketException):
        while message := await outgoing.get():
            await socket.send(message)
        await socket.close()
