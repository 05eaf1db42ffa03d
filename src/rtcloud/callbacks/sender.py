"""Delivers the outbox: strictly in order within a room, many rooms at once, each attempt as documented.

A row is marked only after the receiver's answer, so a crash in between sends it again: delivery is at least once,
never zero times, and order holds. One loop starts attempts and notes what they came to, many in one transaction; a
room's next event is looked for after its last was noted. A failing receiver costs its own rooms time, nobody else:
each address has a bounded number of attempts under way (``receiver``), and those whose last attempt was not answered
share half of the ``CONCURRENCY`` places.
"""

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from sqlalchemy.exc import OperationalError

from rtcloud.callbacks import housekeeping, outbox
from rtcloud.callbacks.events import body as make_body
from rtcloud.callbacks.outbox import Address, Backlog, Due, Outcome
from rtcloud.callbacks.posting import Answer, HttpPoster, Poster
from rtcloud.callbacks.receiver import FIRST_PLACES, Receiver
from rtcloud.callbacks.schedule import Schedule
from rtcloud.callbacks.signing import sign
from rtcloud.callbacks.targets import PURPOSE
from rtcloud.clock import Clock
from rtcloud.store.bus import Bus, Subscription
from rtcloud.store.database import Database, DatabaseClosedError
from rtcloud.store.sealing import Sealer, SealError

CONCURRENCY = 256
FAIL_AT_ONCE = 256  # attempts that an open breaker fails in one go
POLL_SECONDS = 1.0
GRACE_SECONDS = 1.0  # for attempts under way when it is stopped
HOUSEKEEPING_SECONDS = 10.0
IDLE_MS = 60_000  # after which an address is forgotten
KEPT_MS = 14 * 24 * 3_600_000
KEYS = 1024
TOLD_ONE_BY_ONE = 20

_UNREACHABLE = Answer(None, "not tried: the receiver did not answer the attempts before")

_log = logging.getLogger(__name__)


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
        poster: Poster | None = None,
        allow_private: bool = False,
        kept_ms: int = KEPT_MS,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self.counters = Counters()
        self.backlog = Backlog(0, 0, None)  # as of the last housekeeping
        self._database = database
        self._sealer = sealer
        self._bus = bus
        self._clock = clock
        self._schedule = schedule or Schedule()
        self._poster = poster or HttpPoster(timeout_s=self._schedule.timeout_ms / 1000, allow_private=allow_private)
        self._kept_ms = kept_ms
        self._poll_seconds = poll_seconds
        self._running_since_ms = clock.now_ms()
        self._receivers: dict[Address, Receiver] = {}
        self._busy: set[int] = set()  # rows being tried, or tried and not yet noted
        self._ended: list[tuple[Due, Answer]] = []
        self._keys: dict[bytes, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._poster.close()

    @property
    def sending(self) -> int:
        """How many attempts are under way, or not yet noted."""
        return len(self._busy)

    @property
    def open_breakers(self) -> int:
        return sum(receiver.open_until_ms is not None for receiver in self._receivers.values())

    @property
    def oldest_pending_s(self) -> float:
        oldest_ms = self.backlog.oldest_ms
        return 0.0 if oldest_ms is None else max(0, self._clock.now_ms() - oldest_ms) / 1000

    async def run(self) -> None:
        self._running_since_ms = self._clock.now_ms()
        with self._bus.subscribe(outbox.TOPIC) as hints:
            async with asyncio.TaskGroup() as attempts:
                tidying = attempts.create_task(self._keep_house(), name="callback housekeeping")
                try:
                    await self._deliver(attempts, hints)
                except asyncio.CancelledError:
                    await self._finish_attempts(hints)
                    raise
                finally:
                    tidying.cancel()

    # Delivery ---------------------------------------------------------------------------------------------------------

    async def _deliver(self, attempts: asyncio.TaskGroup, hints: Subscription) -> None:
        while True:
            try:
                await self._note_ended()
                if await self._start_due(attempts, hints):
                    continue
            except DatabaseClosedError:
                return
            except Exception:
                _log.exception("reading the outbox failed")
                await asyncio.sleep(self._poll_seconds)
            await hints.wait(self._poll_seconds)

    async def _finish_attempts(self, hints: Subscription) -> None:
        """What was sent and is answered soon need not be sent again after the next start."""
        with contextlib.suppress(TimeoutError, DatabaseClosedError):
            async with asyncio.timeout(GRACE_SECONDS):
                await self._note_ended()
                while self._busy:
                    await hints.wait(GRACE_SECONDS)
                    await self._note_ended()

    async def _start_due(self, attempts: asyncio.TaskGroup, hints: Subscription) -> bool:
        """True when some failed at once, and there may be more of them."""
        now_ms = self._clock.now_ms()
        places, unproven = self._places(now_ms)
        free = CONCURRENCY - len(self._busy)
        shut = dict.fromkeys((a for a, receiver in self._receivers.items() if receiver.is_open(now_ms)), FAIL_AT_ONCE)
        busy = frozenset(self._busy)
        found, failing = await self._database.read(
            lambda connection: (
                outbox.due(connection, now_ms, free, places=places, otherwise=FIRST_PLACES, busy=busy),
                outbox.due(connection, now_ms, FAIL_AT_ONCE, places=shut, otherwise=0) if shut else [],
            )
        )
        for callback in found:
            receiver = self._receivers.get(callback.address)
            if receiver is None:
                receiver = self._receivers[callback.address] = Receiver(self._schedule.interval_ms // 2)
            if not receiver.proven:
                if unproven >= CONCURRENCY // 2:
                    continue
                unproven += 1
            receiver.begin(now_ms)
            self._busy.add(callback.id)
            attempts.create_task(self._attempt(callback, receiver, hints), name=f"callback {callback.id}")
        self._busy.update(callback.id for callback in failing)
        self._ended += [(callback, _UNREACHABLE) for callback in failing]
        return bool(failing)

    def _places(self, now_ms: int) -> tuple[Mapping[Address, int], int]:
        """What each address may still be asked, and how many attempts of unproven ones are under way."""
        unproven = sum(receiver.under_way for receiver in self._receivers.values() if not receiver.proven)
        places = {address: receiver.places(now_ms) for address, receiver in self._receivers.items()}
        if unproven >= CONCURRENCY // 2:
            places = {address: places[address] if self._receivers[address].proven else 0 for address in places}
        return places, unproven

    async def _attempt(self, callback: Due, receiver: Receiver, hints: Subscription) -> None:
        answer = Answer(None, "the attempt was broken off")
        try:
            answer = await self._send(callback)
        except Exception as error:
            _log.exception("a callback attempt failed unexpectedly", extra={"callback_id": callback.id})
            answer = Answer(None, type(error).__name__)
        finally:
            was_open, now_ms = receiver.open_until_ms is not None, self._clock.now_ms()
            receiver.end(answered=answer.status is not None, now_ms=now_ms)
            if was_open != (receiver.open_until_ms is not None):
                said = "callback receiver answers again" if was_open else "callback receiver does not answer"
                host = urlsplit(callback.address.url).hostname  # paths and queries may hold secrets
                _log.log(logging.INFO if was_open else logging.WARNING, said, extra={"host": host})
        self._ended.append((callback, answer))
        hints.add("")

    async def _send(self, callback: Due) -> Answer:
        try:
            key = self._key(callback.key_sealed)
        except SealError as error:
            return Answer(0, str(error))  # ours alone: says nothing of the receiver
        body = make_body(callback.event_group, callback.event_type, self._clock.now_ms(), callback.event_info)
        headers = {"Content-Type": "application/json", "SdkAppId": str(callback.sdk_app_id)}
        if key:
            headers["Sign"] = sign(key, body)
        return await self._poster.post(callback.address, body, headers)

    def _key(self, sealed: bytes) -> str:
        key = self._keys.get(sealed)
        if key is None:
            if len(self._keys) >= KEYS:
                self._keys.clear()
            key = self._keys[sealed] = self._sealer.open(sealed, purpose=PURPOSE).decode()
        return key

    # What attempts came to --------------------------------------------------------------------------------------------

    async def _note_ended(self) -> None:
        while ended := tuple(self._ended):
            outcomes = [self._outcome(callback, answer) for callback, answer in ended]
            while True:
                try:
                    await self._database.write(lambda connection: outbox.record(connection, outcomes))  # noqa: B023
                    break
                except OperationalError:  # locked for long, or the disk is full: do not send them again for that
                    _log.exception("noting callback attempts failed")
                    await asyncio.sleep(self._poll_seconds)
            del self._ended[: len(ended)]
            self._busy.difference_update(callback.id for callback, _ in ended)
            self._tell(ended, outcomes)

    def _outcome(self, callback: Due, answer: Answer) -> Outcome:
        now_ms = self._clock.now_ms()
        if not answer.error:
            return Outcome(callback.id, callback.ordering, "delivered", now_ms)
        next_ms = self._schedule.next_attempt_ms(
            attempts=callback.attempts + 1,
            created_ms=callback.retries_from_ms,
            running_since_ms=self._running_since_ms,
            now_ms=now_ms,
        )
        if next_ms is None:
            return Outcome(callback.id, callback.ordering, "parked", now_ms, error=answer.error)
        return Outcome(callback.id, callback.ordering, "retry", now_ms, next_ms, answer.error)

    def _tell(self, ended: Sequence[tuple[Due, Answer]], outcomes: Sequence[Outcome]) -> None:
        parked = 0
        for (callback, _), outcome in zip(ended, outcomes, strict=True):
            if outcome.state == "delivered":
                self.counters.delivered += 1
                continue
            self.counters.failed_attempts += 1
            fields = {"callback_id": callback.id, "event_type": callback.event_type, "reason": outcome.error}
            if outcome.state == "retry":
                _log.debug("callback attempt failed", extra=fields)
                continue
            self.counters.parked += 1
            parked += 1
            if parked <= TOLD_ONE_BY_ONE:
                _log.warning("callback parked", extra=fields)
        if parked > TOLD_ONE_BY_ONE:
            _log.warning("more callbacks parked", extra={"count": parked - TOLD_ONE_BY_ONE})

    async def _keep_house(self) -> None:
        while True:
            try:
                self.counters.parked += await housekeeping.park_unaddressed(self._database)
                self.backlog = await self._database.read(outbox.measure)
                await self._forget_idle()
                await housekeeping.forget_delivered(self._database, self._clock.now_ms() - self._kept_ms)
            except DatabaseClosedError:
                return
            except Exception:
                _log.exception("tidying the outbox failed")
            await asyncio.sleep(HOUSEKEEPING_SECONDS)

    async def _forget_idle(self) -> None:
        since_ms = self._clock.now_ms() - IDLE_MS
        for address, receiver in tuple(self._receivers.items()):
            if receiver.is_idle(since_ms):
                del self._receivers[address]
                await self._poster.forget(address)
