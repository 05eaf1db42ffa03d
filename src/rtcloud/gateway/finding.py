"""Which action of which model a request means, and whether it may be asked of that region. Pure."""

from collections.abc import Iterable

from rtcloud.apimodel.model import Action, Catalogue, Model
from rtcloud.errors import ServiceError
from rtcloud.gateway.common_parameters import CommonParameters


class Finder:
    def __init__(self, catalogue: Catalogue, *, strict_regions: bool) -> None:
        self._strict_regions = strict_regions
        self._services = tuple(dict.fromkeys(model.service for model in catalogue.models))
        self._versions: dict[tuple[str, str], tuple[Model, ...]] = {}
        for service in self._services:
            for version in catalogue.versions([service]):
                self._versions[service, version] = catalogue.having([service], version)

    def action(self, service: str | None, host: str, common: CommonParameters) -> tuple[Model, Action]:
        """``service`` is what a TC3 credential names; v1 names none: then any service having that action is meant."""
        services = self._meant(service, host)
        if not common.action:
            raise common.missing("Action")
        if not common.version:
            raise common.missing("Version")
        models = [model for each in services for model in self._versions.get((each, common.version), ())]
        if not models:
            known = sorted({version for each, version in self._versions if each in services})
            raise ServiceError("NoSuchVersion", f"{common.prefix}Version must be {' or '.join(known)}")
        for model in models:
            action = model.actions.get(common.action)
            if action is not None:
                return model, action
        if any(common.action in model.offline_actions for model in models):
            raise ServiceError("ActionOffline", f"{common.action} is no longer offered")
        raise ServiceError("InvalidAction", f"there is no action {common.action[:64]!a}")

    def _meant(self, service: str | None, host: str) -> Iterable[str]:
        """The Node and Java SDKs take the first part of their endpoint for the service, also when it is an address of
        ours, which names none: then it is as with v1."""
        if service is None:
            return self._services
        if service in self._services:
            return (service,)
        if service == host.partition(".")[0]:
            return self._services
        raise ServiceError("NoSuchProduct", f"there is no product {service[:64]!a}")

    def region(self, model: Model, action: Action, common: CommonParameters) -> str:
        """The region to count the call in. Models without regions ignore it."""
        region = common.region
        if not model.regions:
            return ""
        if not self._strict_regions:
            return region if region in model.regions else ""
        if not region:
            raise common.missing("Region")
        allowed = action.regions or model.regions
        if region not in allowed:
            names = ", ".join(sorted(allowed))
            raise ServiceError("UnsupportedRegion", f"{common.prefix}Region must be one of {names}")
        return region
