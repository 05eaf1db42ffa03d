"""The way of a call through its stages, each a module of its own, apart from HTTP.

form → who signs, from where, and when → body → signature → service, version and action → region → parameters → limit of
calls → permission → is it built? → does what it names exist, and is it the caller's? → the action itself. A stage that
refuses raises ``ServiceError``; nothing was changed then.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec

from rtcloud.accounts.authentication import Keyring
from rtcloud.actions.context import Call, Services
from rtcloud.actions.registry import Entry
from rtcloud.apimodel.model import Action, Catalogue, Model
from rtcloud.apimodel.validation import validate
from rtcloud.errors import ServiceError
from rtcloud.gateway.authorising import Authoriser
from rtcloud.gateway.bodies import Body
from rtcloud.gateway.finding import Finder
from rtcloud.gateway.guard import Guard, GuardSettings
from rtcloud.gateway.heads import Head
from rtcloud.gateway.limits import RateLimiter
from rtcloud.gateway.proving import Proved, Prover, run_sized


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """``strict_regions``: refuse regions that the documents do not list for an action. ``per_second``: limits of calls
    that replace the documented ones, ``*`` for all others; 0 lifts one. ``account_per_second`` and
    ``account_region_per_second``: limits of all calls of an account, and of those in one region; 0 is none."""

    strict_regions: bool = True
    per_second: Mapping[str, int] = field(default_factory=dict)
    account_per_second: int = 0
    account_region_per_second: int = 0
    guard: GuardSettings = GuardSettings()


@dataclass(slots=True)
class Progress:
    """What is known of a request while it is worked on, for the log. ``action`` is only set to one of the model's."""

    request_id: str
    action: str = ""
    account: str = ""
    user: str = ""


class Pipeline:
    def __init__(
        self, services: Services, settings: GatewaySettings, catalogue: Catalogue, actions: Mapping[str, Entry]
    ) -> None:
        accounts, clock = services.accounts, services.clock
        self._services = services
        self._actions = actions
        self._prover = Prover(Keyring(accounts, services.sessions), accounts, Guard(settings.guard), clock)
        self._finder = Finder(catalogue, strict_regions=settings.strict_regions)
        self._limiter = RateLimiter(
            settings.per_second,
            account_per_second=settings.account_per_second,
            account_region_per_second=settings.account_region_per_second,
        )
        self._authoriser = Authoriser(accounts, services.tasks.application_of)

    async def answer(self, head: Head, body: Body, progress: Progress) -> msgspec.Struct:
        try:
            proved = await self._prover.prove(head, body)
            caller = proved.caller
            progress.account, progress.user = caller.account_uin, caller.user_uin
            host = head.headers.get("host", "")
            model, action = self._finder.action(proved.service, host, proved.common)
            progress.action = action.name
            region = self._finder.region(model, action, proved.common)
            parameters = await run_sized(proved.work, _parameters, proved, model, action)
        finally:
            body.release()
        self._limiter.check(caller.account_uin, action, region, self._services.clock.now_ms())
        subject = await self._authoriser.authorise(caller, action, parameters)
        entry = self._actions.get(action.name)
        if entry is None:
            raise ServiceError("UnsupportedOperation", f"{action.name} is not supported by this version")
        self._authoriser.check_exists(caller, action, subject)
        call = Call(action, caller, progress.request_id, region, subject.found)
        return await entry.run(self._services, call, msgspec.convert(parameters, entry.request))


def _parameters(proved: Proved, model: Model, action: Action) -> dict[str, object]:
    return validate(model, action, proved.decode(model, action))
