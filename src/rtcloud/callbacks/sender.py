"""Delivers the outbox: strictly in order within a room, many rooms at once, each attempt as documented.

A row is marked only after the receiver's answer, so a crash in between sends it again: delivery is at least once,
never zero times, and order holds. A failing receiver costs its own rooms time, nobody else: the rooms of one
application take at most ``PER_APPLICATION`` of the ``CONCURRENCY`` places. Answers are read up to 64 KiB, and ignored.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import httpx
import msgspec
from sqlalchemy.exc import OperationalError

from rtcloud.callbacks import outbox
from rtcloud.callbacks.outbox import Due
from rtcloud.callbacks.schedule import Schedule
from rtcloud.callbacks.signing import sign
from rtcloud.callbacks.targets import PURPOSE
from rtcloud.clock import Clock
from rtcloud.store.bus import Bus, Subscription
from rtcloud.store.database import Database, DatabaseClosedError
from rtcloud.store.sealing import Sealer, SealError

CONCURRENCY = 128
PER_APPLICATION = 16
POLL_SECONDS = 1.0
GRACE_SECONDS = 1.0  # for attempts under way when it is stopped
ANSWER_BYTES = 64 * 1024

_log = logging.getLogger(__name__)


class Envelope(msgspec.Struct, rename="pascal"):
    """The body, keys in the documented order."""

    event_group_id: int
    event_type: int
    callback_ts: int
    event_info: msgspec.Raw


@dataclass(slots=True)
class Counters:
    """For /metrics; only ever grow."""

    delivered: int = 0
    failed_attempts: int = 0
    parked: int = 0


class Sender:
    """``async with Sender(…) as sender: await sender.run()``; what is pending when ``run`` is cancelled stays so."""

    def __init__(
        self,
        database: Database,
        sealer: Sealer,
        bus: Bus,
        clock: Clock,
        *,
        schedule: Schedule | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self.counters = Counters()
        self._database = database
        self._sealer = sealer
        self._bus = bus
        self._clock = clock
        self._schedule = schedule or Schedule()
        self._poll_seconds = poll_seconds
        self._running_since_ms = clock.now_ms()
        self._rooms: dict[str, int] = {}  # ordering → application, of what is being sent
        self._client = httpx.AsyncClient(
            transport=transport,
            follow_redirects=False,
            trust_env=False,
            timeout=httpx.Timeout(self._schedule.timeout_ms / 1000),
            limits=httpx.Limits(max_connections=CONCURRENCY, max_keepalive_connections=CONCURRENCY),
            headers={"User-Agent": "rtcloud"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    @property
    def sending(self) -> int:
        """How many attempts are under way."""
        return len(self._rooms)

    async def run(self) -> None:
        self._running_since_ms = self._clock.now_ms()
        with self._bus.subscribe(outbox.TOPIC) as hints:
            async with asyncio.TaskGroup() as attempts:
                try:
                    await self._deliver(attempts, hints)
                except asyncio.CancelledError:
                    await self._finish_attempts(hints)
                    raise

    async def _deliver(self, attempts: asyncio.TaskGroup, hints: Subscription) -> None:
        while True:
            try:
                await self._start_due(attempts, hints)
            except DatabaseClosedError:
                return
            except Exception:
                _log.exception("reading the outbox failed")
            await hints.wait(self._poll_seconds)

    async def _finish_attempts(self, hints: Subscription) -> None:
        """What was sent and is answered soon need not be sent again after the next start."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE_SECONDS):
                while self._rooms:
                    await hints.wait(GRACE_SECONDS)

    async def _start_due(self, attempts: asyncio.TaskGroup, hints: Subscription) -> None:
        while (free := CONCURRENCY - len(self._rooms)) > 0:
            applications = Counter(self._rooms.values())
            full = [app for app, number in applications.items() if number >= PER_APPLICATION]
            busy, now_ms = list(self._rooms), self._clock.now_ms()
            found = await self._database.read(
                lambda connection: outbox.due(connection, now_ms, free, busy=busy, full=full)  # noqa: B023 called at once
            )
            for callback in found:
                if applications[callback.sdk_app_id] < PER_APPLICATION:
                    applications[callback.sdk_app_id] += 1
                    self._rooms[callback.ordering] = callback.sdk_app_id
                    attempts.create_task(self._attempt(callback, hints), name=f"callback {callback.id}")
            if len(found) < free:
                return

    async def _attempt(self, callback: Due, hints: Subscription) -> None:
        try:
            error = await self._send(callback)
            while True:
                try:
                    await self._record(callback, error)
                    break
                except OperationalError:  # locked for long, or the disk is full: do not send it again for that
                    _log.exception("noting a callback attempt failed", extra={"callback_id": callback.id})
                    await asyncio.sleep(self._poll_seconds)
        except DatabaseClosedError:
            pass  # stays pending, is sent again after the next start
        except Exception:
            _log.exception("a callback attempt failed unexpectedly", extra={"callback_id": callback.id})
            await asyncio.sleep(self._poll_seconds)  # the row still looks due: do not spin on it
        finally:
            del self._rooms[callback.ordering]
            hints.add("")

    async def _send(self, callback: Due) -> str | None:
        """One attempt; None when the receiver answered 200, else what went wrong."""
        if callback.url is None or callback.key_sealed is None:
            return "the callback address was removed"
        try:
            key = self._sealer.open(callback.key_sealed, purpose=PURPOSE).decode()
        except SealError as error:
            return str(error)
        envelope = Envelope(
            callback.event_group, callback.event_type, self._clock.now_ms(), msgspec.Raw(callback.event_info.encode())
        )
        body = msgspec.json.encode(envelope)
        headers = {"Content-Type": "application/json", "SdkAppId": str(callback.sdk_app_id)}
        if key:
            headers["Sign"] = sign(key, body)
        try:
            async with asyncio.timeout(self._schedule.timeout_ms / 1000):
                return await self._post(callback.url, body, headers)
        except TimeoutError:
            return "no answer in time"
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            return f"{type(error).__name__}: {error}"

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> str | None:
        async with self._client.stream("POST", url, content=body, headers=headers) as response:
            received = 0
            async for chunk in response.aiter_raw():
                received += len(chunk)
                if received > ANSWER_BYTES:
                    break
        return None if response.status_code == httpx.codes.OK else f"HTTP status {response.status_code}"

    async def _record(self, callback: Due, error: str | None) -> None:
        now_ms = self._clock.now_ms()
        if error is None:
            await self._database.write(lambda connection: outbox.mark_delivered(connection, callback.id, now_ms))
            self.counters.delivered += 1
            return
        self.counters.failed_attempts += 1
        next_ms = self._schedule.next_attempt_ms(
            attempts=callback.attempts + 1,
            created_ms=callback.created_ms,
            running_since_ms=self._running_since_ms,
            now_ms=now_ms,
        )
        fields = {"callback_id": callback.id, "event_type": callback.event_type, "reason": error}
        if next_ms is None or callback.url is None:
            await self._database.write(
                lambda connection: outbox.mark_parked(connection, callback.id, now_ms, error=error)
            )
            self.counters.parked += 1
            _log.warning("callback parked", extra=fields)
        else:
            await self._database.write(
                lambda connection: outbox.mark_retry(connection, callback.id, now_ms, next_ms=next_ms, error=error)
            )
            _log.info("callback attempt failed", extra=fields)
