"""The cloud API's HTTP face: ``GET /`` and ``POST /`` on any host.

This module alone knows HTTP; what is done with a request is in ``pipeline``. Whatever happens, the answer is one JSON
envelope with status 200, as documented; an unexpected exception is logged with its RequestId and answered
``InternalError`` without a word of its content.
"""

import functools
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from prometheus_client import Counter, Histogram
from starlette.routing import Route

from rtcloud.actions.context import Services
from rtcloud.actions.registry import ACTIONS, Entry
from rtcloud.apimodel.model import Catalogue, load_catalogue
from rtcloud.errors import ServiceError
from rtcloud.gateway import envelope
from rtcloud.gateway.bodies import Body, BodyBudget, ClientGoneError, Receive
from rtcloud.gateway.heads import MAX_HEADERS, Head
from rtcloud.gateway.pipeline import GatewaySettings, Pipeline, Progress

__all__ = ["Gateway", "GatewaySettings", "routes"]

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_log = logging.getLogger(__name__)
_requests = Counter("rtcloud_api_requests", "API calls by action and answered code", ["action", "code"])
_seconds = Histogram("rtcloud_api_seconds", "Time from a call's headers to its answer", ["action"])


#: A metric's labels are looked up under a lock; there are few actions and codes.
_count = functools.cache(_requests.labels)
_timing = functools.cache(_seconds.labels)


class Gateway:
    """An ASGI application for the path ``/``."""

    def __init__(
        self,
        services: Services,
        *,
        settings: GatewaySettings | None = None,
        catalogue: Catalogue | None = None,
        actions: Mapping[str, Entry] = ACTIONS,
    ) -> None:
        self._clock = services.clock
        self._pipeline = Pipeline(services, settings or GatewaySettings(), catalogue or load_catalogue(), actions)
        self._budget = BodyBudget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = self._clock.monotonic()
        head = _head(scope)
        body = Body(receive, head.headers.get("content-length"), self._budget, head.address)
        progress = Progress(str(uuid.uuid4()))
        code = ""
        try:
            answer = envelope.success(await self._pipeline.answer(head, body, progress), progress.request_id)
        except ServiceError as refusal:
            code, answer = refusal.code, envelope.failure(refusal, progress.request_id)
        except ClientGoneError:
            return
        except Exception:
            _log.exception("api call failed", extra={"request_id": progress.request_id, "action": progress.action})
            fault = ServiceError("InternalError", "internal error; its cause is logged under this RequestId")
            code, answer = fault.code, envelope.failure(fault, progress.request_id)
        self._note(progress, code, self._clock.monotonic() - started)
        await _send(send, answer, close=not await _is_finished(body, head))

    def _note(self, progress: Progress, code: str, seconds: float) -> None:
        _count(progress.action, code).inc()
        _timing(progress.action).observe(seconds)
        if _log.isEnabledFor(logging.INFO):
            _log.info(
                "api call",
                extra={
                    "request_id": progress.request_id,
                    "action": progress.action,
                    "account": progress.account,
                    "user": progress.user,
                    "code": code,
                    "ms": round(seconds * 1000, 1),
                },
            )


def routes(gateway: Gateway) -> list[Route]:
    """What the server mounts: every method of ``/``, so that a wrong one gets a documented answer too."""
    return [Route("/", gateway, name="api")]


def _head(scope: Scope) -> Head:
    """Header names come in lower case; of a repeated one the first is taken."""
    given, client = scope["headers"], scope.get("client")
    is_crowded = len(given) > MAX_HEADERS
    kept = () if is_crowded else reversed(given)
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in kept}
    return Head(scope["method"], scope.get("query_string", b""), headers, client[0] if client else "", is_crowded)


async def _is_finished(body: Body, head: Head) -> bool:
    """Whether the request is over, so that another may follow on the connection."""
    if not body.complete and "expect" not in head.headers:  # a client that asks first has sent nothing yet
        try:
            await body.discard()
        except ClientGoneError:
            return False
    return body.complete


async def _send(send: Send, answer: bytes, *, close: bool) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})
