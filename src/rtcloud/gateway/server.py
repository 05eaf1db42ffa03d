"""The cloud API's HTTP face: ``POST /`` on any host.

The way of a request: headers → who signs, and when (before a byte of the body is read) → body → signature → action and
version → parameters against the model → limit of calls → permission → action → envelope. Each stage is a module of its
own; this one alone knows HTTP. Whatever happens, the answer is one JSON envelope with status 200, as documented; an
unexpected exception is logged with its RequestId and answered ``InternalError`` without a word of its content.
"""

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from prometheus_client import Counter, Histogram
from starlette.routing import Route

from rtcloud.accounts.entities import Application, KeyPair, User
from rtcloud.accounts.policies import is_allowed
from rtcloud.accounts.store import Accounts
from rtcloud.actions.context import Call, Services
from rtcloud.actions.registry import ACTIONS, Entry
from rtcloud.apimodel import faults
from rtcloud.apimodel.model import Action, Model, load_model
from rtcloud.apimodel.validation import validate
from rtcloud.errors import ServiceError
from rtcloud.gateway import envelope, signing
from rtcloud.gateway.bodies import Body, BodyBudget, ClientGoneError, Receive
from rtcloud.gateway.limits import RateLimiter

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Authorise = Callable[[User, str], bool]

LARGE_BODY = 256 * 1024  # from here on, hashing and decoding leave the event loop

_log = logging.getLogger(__name__)
_requests = Counter("rtcloud_api_requests", "API calls by action and answered code", ["action", "code"])
_seconds = Histogram("rtcloud_api_seconds", "Time from a call's headers to its answer", ["action"])


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """``strict_regions``: refuse regions that the documents do not list for an action. ``per_second``: limits of calls
    that replace the documented ones; 0 lifts one."""

    strict_regions: bool = True
    per_second: Mapping[str, int] = field(default_factory=dict)


def preset_policies(user: User, action: str) -> bool:
    """The default authorisation: the preset policies on the user."""
    return is_allowed(user.policies, action)


@dataclass(slots=True)
class _Progress:
    """What is known of a request while it is worked on, for the log."""

    request_id: str
    action: str = ""
    account: str = ""


class Gateway:
    """An ASGI application for the path ``/``."""

    def __init__(
        self,
        accounts: Accounts,
        services: Services,
        *,
        settings: GatewaySettings | None = None,
        model: Model | None = None,
        actions: Mapping[str, Entry] = ACTIONS,
        authorise: Authorise = preset_policies,
    ) -> None:
        self._accounts = accounts
        self._services = services
        self._settings = settings or GatewaySettings()
        self._model = model or load_model()
        self._actions = actions
        self._authorise = authorise
        self._limiter = RateLimiter(self._settings.per_second)
        self._budget = BodyBudget()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        clock = self._services.clock
        started = clock.monotonic()
        headers = _headers(scope)
        body = Body(receive, headers.get("content-length"), self._budget)
        progress = _Progress(str(uuid.uuid4()))
        code = ""
        try:
            answer = envelope.success(await self._answer(scope["method"], headers, body, progress), progress.request_id)
        except ServiceError as refusal:
            code, answer = refusal.code, envelope.failure(refusal, progress.request_id)
        except ClientGoneError:
            return
        except Exception:
            _log.exception("api call failed", extra={"request_id": progress.request_id, "action": progress.action})
            fault = ServiceError("InternalError", "internal error; its cause is logged under this RequestId")
            code, answer = fault.code, envelope.failure(fault, progress.request_id)
        seconds = clock.monotonic() - started
        _requests.labels(progress.action, code).inc()
        _seconds.labels(progress.action).observe(seconds)
        _log.info(
            "api call",
            extra={
                "request_id": progress.request_id,
                "action": progress.action,
                "account": progress.account,
                "code": code,
                "ms": round(seconds * 1000, 1),
            },
        )
        await _send(send, answer, close=not await _is_finished(body, headers))

    async def _answer(self, method: str, headers: Mapping[str, str], body: Body, progress: _Progress) -> msgspec.Struct:
        _check_form(method, headers)
        authorization = signing.parse_authorization(headers.get("authorization"))
        now_ms = self._services.clock.now_ms()
        signing.check_time(authorization, headers.get("x-tc-timestamp"), self._model.service, now_ms)
        pair = self._accounts.key_pair(authorization.secret_id)
        if pair is None or not pair.enabled:
            raise ServiceError("AuthFailure.SecretIdNotFound", "the SecretId does not exist or is disabled")
        if headers.get("x-tc-token"):
            raise ServiceError("AuthFailure.TokenFailure", "X-TC-Token belongs to a temporary key; this key is not one")
        progress.account = pair.user.account_uin
        content = await body.read()
        try:
            await self._check_signature(authorization, pair, method, headers, content)
            action, entry = self._find(headers, progress)
            region = self._region(headers, action)
            parameters = validate(self._model, action, await _decoded(content))
        finally:
            self._budget.give(len(content))
        del content
        self._limiter.check(pair.user.account_uin, action, region, self._services.clock.now_ms())
        application = self._authorised(pair.user, action, parameters)
        call = Call(action, application, progress.request_id)
        return await entry.run(self._services, call, msgspec.convert(parameters, entry.request))

    async def _check_signature(
        self,
        authorization: signing.Authorization,
        pair: KeyPair,
        method: str,
        headers: Mapping[str, str],
        content: bytes,
    ) -> None:
        if headers.get("x-tc-content-sha256") == signing.UNSIGNED_PAYLOAD:
            payload_hash = signing.hash_payload(signing.UNSIGNED_PAYLOAD.encode())
        elif len(content) >= LARGE_BODY:
            payload_hash = await asyncio.to_thread(signing.hash_payload, content)
        else:
            payload_hash = signing.hash_payload(content)
        signing.check_signature(
            authorization,
            pair.secret_key,
            method=method,
            query="",
            headers=headers,
            payload_hash=payload_hash,
            timestamp=headers["x-tc-timestamp"],
        )

    def _find(self, headers: Mapping[str, str], progress: _Progress) -> tuple[Action, Entry]:
        name, version = headers.get("x-tc-action"), headers.get("x-tc-version")
        if not name:
            raise ServiceError("MissingParameter", "X-TC-Action is required")
        if not version:
            raise ServiceError("MissingParameter", "X-TC-Version is required")
        if version != self._model.version:
            raise ServiceError("NoSuchVersion", f"X-TC-Version must be {self._model.version}")
        if name in self._model.offline_actions:
            progress.action = name
            raise ServiceError("ActionOffline", f"{name} is no longer offered")
        action = self._model.actions.get(name)
        if action is None:
            raise ServiceError("InvalidAction", f"there is no action {name[:64]!a}")
        progress.action = name
        entry = self._actions.get(name)
        if entry is None:
            raise ServiceError("UnsupportedOperation", f"{name} is not supported by this version")
        return action, entry

    def _region(self, headers: Mapping[str, str], action: Action) -> str:
        region = headers.get("x-tc-region", "")
        if not self._settings.strict_regions:
            return region if region in self._model.regions else ""
        if not region:
            raise ServiceError("MissingParameter", "X-TC-Region is required")
        if region not in (action.regions or self._model.regions):
            allowed = ", ".join(sorted(action.regions or self._model.regions))
            raise ServiceError("UnsupportedRegion", f"X-TC-Region must be one of {allowed}")
        return region

    def _authorised(self, user: User, action: Action, parameters: Mapping[str, Any]) -> Application:
        if not self._authorise(user, action.name):
            raise ServiceError("AuthFailure.UnauthorizedOperation", f"no policy of the user grants {action.name}")
        sdk_app_id: int = parameters["SdkAppId"]
        application = self._accounts.application(sdk_app_id)
        if application is None:
            raise faults.no_such_application(action, sdk_app_id)
        if application.account_uin != user.account_uin:
            raise faults.not_your_application(action, sdk_app_id)
        return application


def routes(gateway: Gateway) -> list[Route]:
    """What the server mounts: every method of ``/``, so that a wrong one gets a documented answer too."""
    return [Route("/", gateway, name="api")]


def _headers(scope: Scope) -> dict[str, str]:
    """By lower-case name; of a repeated one the first."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers


def _check_form(method: str, headers: Mapping[str, str]) -> None:
    if method != "POST":
        raise ServiceError("UnsupportedProtocol", f"{method} requests are not supported: use POST with a JSON body")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and headers.get("authorization"):
        raise ServiceError("UnsupportedProtocol", "Content-Type must be application/json")


async def _decoded(content: bytes) -> object:
    try:
        if len(content) >= LARGE_BODY:
            return await asyncio.to_thread(msgspec.json.decode, content)
        return msgspec.json.decode(content or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise ServiceError("InvalidParameter", "the body is not JSON in UTF-8") from None


async def _is_finished(body: Body, headers: Mapping[str, str]) -> bool:
    """Whether the request is over, so that another may follow on the connection."""
    if not body.complete and "expect" not in headers:  # a client that asks first has sent nothing yet
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
